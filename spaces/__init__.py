"""Networks as plain data: described, suggested, built, pruned and written as source."""

from .architecture import Architecture, Block, DataSpec, Head
from .builder import Network, build, example_input, shapes
from .candidate import Candidate, Training
from .catalog import SPACES, as_space, space_from_json, space_to_json
from .choices import ChoiceLike, Options, Range, Real, Suggester, Whole, Words
from .conv import ConvSpace
from .mac_rules import count_macs
from .mlp import MLPSpace
from .module import ModuleArchitecture
from .own_space import FunctionSpace, ModuleSpace
from .pruning import prune, pruned_architecture
from .sharing import share_weights
from .source import write_source
from .space import Space, fits
from .training_space import TrainingSpace
from .transformer import TransformerSpace

__all__ = [
    "SPACES",
    "Architecture",
    "Block",
    "Candidate",
    "ChoiceLike",
    "ConvSpace",
    "DataSpec",
    "FunctionSpace",
    "Head",
    "MLPSpace",
    "ModuleArchitecture",
    "ModuleSpace",
    "Network",
    "Options",
    "Range",
    "Real",
    "Space",
    "Suggester",
    "Training",
    "TrainingSpace",
    "TransformerSpace",
    "Whole",
    "Words",
    "as_space",
    "build",
    "count_macs",
    "example_input",
    "fits",
    "prune",
    "pruned_architecture",
    "shapes",
    "share_weights",
    "space_from_json",
    "space_to_json",
    "write_source",
]
