"""Networks as plain data: described, suggested, built, pruned and written as source."""

from .architecture import Architecture, Block, DataSpec, Head
from .builder import Network, build, example_input, shapes
from .candidate import Candidate, Training
from .catalog import SPACES, as_space, space_from_json, space_to_json
from .choices import ChoiceLike, Options, Range, Real, Suggester, Whole, Words
from .compression import Compression, Start
from .compression_space import CompressionSpace
from .conv import ConvSpace
from .difference import difference
from .drawing import draw, draw_png
from .groups import width_groups
from .importance import unit_scores
from .mac_rules import count_macs
from .mlp import MLPSpace
from .module import ModuleArchitecture
from .moves import Move, moved, moved_architecture, possible_moves
from .own_space import FunctionSpace, ModuleSpace
from .pruning import global_target, prune, pruned_architecture, target_within
from .sharing import share_weights
from .source import write_source
from .space import Space, fits
from .sparsity import Masks, Sparsity, apply_masks, masks_of, nonzero_parameters
from .training_space import TrainingSpace
from .transformer import TransformerSpace
from .widening import part_copies

__all__ = [
    "SPACES",
    "Architecture",
    "Block",
    "Candidate",
    "ChoiceLike",
    "Compression",
    "CompressionSpace",
    "ConvSpace",
    "DataSpec",
    "FunctionSpace",
    "Head",
    "MLPSpace",
    "Masks",
    "ModuleArchitecture",
    "ModuleSpace",
    "Move",
    "Network",
    "Options",
    "Range",
    "Real",
    "Space",
    "Sparsity",
    "Start",
    "Suggester",
    "Training",
    "TrainingSpace",
    "TransformerSpace",
    "Whole",
    "Words",
    "apply_masks",
    "as_space",
    "build",
    "count_macs",
    "difference",
    "draw",
    "draw_png",
    "example_input",
    "fits",
    "global_target",
    "masks_of",
    "moved",
    "moved_architecture",
    "nonzero_parameters",
    "part_copies",
    "possible_moves",
    "prune",
    "pruned_architecture",
    "shapes",
    "share_weights",
    "space_from_json",
    "space_to_json",
    "target_within",
    "unit_scores",
    "width_groups",
    "write_source",
]
