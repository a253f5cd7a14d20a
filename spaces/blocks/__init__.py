"""The blocks that networks are made of.

Each is plain PyTorch and imports nothing but torch, because export writes this source, unchanged, into the
user's file. A new block is a class in one of these files and one line in ``BLOCKS``; a user's own block is named
``"module:Class"`` and needs no line. The conventions:

- a block with weights takes ``in_width`` (channels or features that come in) first and, if it chooses what goes out,
  ``width`` second; one without ``width`` keeps what came. Every other argument is a keyword with a default and a JSON
  value; whole numbers are at least 1, or at least 0 where the default is 0;
- sizes inside the block are called ``hidden`` (channels or units) and ``heads`` (of attention). The dimension of a
  tensor that grows with one of these, or with a width, holds its units one after the other, so that pruning can take
  any of them out;
- a block with something private to each place that uses its weights takes ``uses``, the number of these places, and its
  ``forward`` takes ``use``, which of them is calling. Batch normalisation is private, because batch statistics of one
  depth are wrong at another. A block without ``uses`` is shared whole;
- a block that sums what came to what it made says how in ``skip``: ``none``, ``identity`` (what comes and what leaves
  have one width) or ``projection``;
- one that takes sequences (N, length, width) has ``takes_sequence = True``, one that makes them of something else
  ``gives_sequence = True``.
"""

from torch import nn

from . import common, maps, rows, sequences
from .common import ACTIVATIONS
from .maps import NORMS_2D
from .rows import NORMS_1D
from .sequences import POSITIONS, SEQUENCE_NORMS

BLOCKS: dict[str, type[nn.Module]] = {
    # images
    "conv": maps.ConvBlock,
    "residual": maps.ResidualBlock,
    "separable": maps.SeparableBlock,
    "inverted_residual": maps.InvertedResidual,
    "max_pool": maps.MaxPool,
    "average_pool": maps.AveragePool,
    "global_average_pool": maps.GlobalAveragePool,
    # signals
    "conv1d": maps.ConvBlock1d,
    "residual1d": maps.ResidualBlock1d,
    "separable1d": maps.SeparableBlock1d,
    "inverted_residual1d": maps.InvertedResidual1d,
    "max_pool1d": maps.MaxPool1d,
    "average_pool1d": maps.AveragePool1d,
    "global_average_pool1d": maps.GlobalAveragePool1d,
    # rows
    "linear": rows.LinearBlock,
    "residual_linear": rows.ResidualLinear,
    "columns": rows.ColumnEmbedding,
    "flatten": rows.Flatten,
    # sequences
    "embedding": sequences.TokenEmbedding,
    "patches": sequences.SignalPatches,
    "patches2d": sequences.ImagePatches,
    "transformer": sequences.TransformerBlock,
    "sequence_norm": sequences.SequenceNorm,
    "mean_positions": sequences.MeanPositions,
    "first_position": sequences.FirstPosition,
}
SOURCES = (common, maps, rows, sequences)  # in the order in which export writes them

__all__ = ["ACTIVATIONS", "BLOCKS", "NORMS_1D", "NORMS_2D", "POSITIONS", "SEQUENCE_NORMS", "SOURCES"]
