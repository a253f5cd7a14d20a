"""Networks as plain data: described, suggested, built, pruned and written as source."""

from .architecture import Architecture, Block, DataSpec, Head
from .builder import Network, build, shapes
from .candidate import Candidate, Training
from .catalog import SPACES, space_from_json
from .choices import Options, Range, Suggester
from .conv import ConvSpace
from .mlp import MLPSpace
from .pruning import prune, pruned_architecture
from .source import write_source
from .space import Space, fits
from .training_space import TrainingSpace

__all__ = [
    "SPACES",
    "Architecture",
    "Block",
    "Candidate",
    "ConvSpace",
    "DataSpec",
    "Head",
    "MLPSpace",
    "Network",
    "Options",
    "Range",
    "Space",
    "Suggester",
    "Training",
    "TrainingSpace",
    "build",
    "fits",
    "prune",
    "pruned_architecture",
    "shapes",
    "space_from_json",
    "write_source",
]
