"""Trainable numbers of each block, as a rule.

A block without a rule here is built on the meta device, which gives the same for all (tests/test_pool.py) and takes a
hundred times as long.
"""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache

import torch

from .architecture import Architecture
from .block import Block, block_class, has_weights, is_told_use
from .blocks.common import make_activation
from .blocks.maps import NORMS_2D, NORMS_OVER_SIGNALS
from .blocks.rows import NORMS_1D
from .blocks.sequences import SEQUENCE_NORMS
from .builder import head_form, in_widths

NORMS = {**NORMS_OVER_SIGNALS, **NORMS_2D, **NORMS_1D, **SEQUENCE_NORMS}
SOME = 8  # features of the normalisation that is counted for all


@lru_cache(maxsize=1024)
def count_parameters(architecture: Architecture) -> int:
    """Trainable numbers of a network of blocks; a weight that is used in several places counts once.

    Raises InvalidArchitecture if the blocks do not fit together.
    """
    widths, total = in_widths(architecture), 0
    users = Counter(block.shares for block in architecture.blocks)
    for index, block in enumerate(architecture.blocks):
        if block.shares is None:
            total += block_parameters(block.alone, widths[index], 1 + users[index])
    for head in architecture.heads:
        if head.tied is None:
            total += (head_form(architecture, head).width + 1) * head.outputs
    return total


@lru_cache(maxsize=4096)
def block_parameters(block: Block, came: int, uses: int) -> int:
    """Trainable numbers of a block that owns its weights. came: the width that comes in; uses: places that use it."""
    if block.op in PARAMETER_RULES:
        return PARAMETER_RULES[block.op](block, came, uses)
    leading = (came,) if has_weights(block.op) else ()
    told = {"uses": uses} if uses > 1 and is_told_use(block.op) else {}
    with torch.device("meta"):
        module = block_class(block.op)(*leading, **block.args, **told)
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@lru_cache(maxsize=256)
def _of_norm(norm: str) -> int:
    """Numbers for each feature."""
    return sum(parameter.numel() for parameter in NORMS[norm](SOME).parameters()) // SOME


@lru_cache(maxsize=256)
def _of_activation(word: str) -> int:
    return sum(parameter.numel() for parameter in make_activation(word).parameters())


def _number(block: Block, name: str) -> int:
    return int(block.args[name])


def _normed(block: Block, width: int, uses: int) -> int:
    """Of normalisations behind a convolution, or of the bias that it has without them."""
    norm = str(block.args["norm"])
    return width if norm == "none" else _of_norm(norm) * width * uses


def _activation(block: Block) -> int:
    return _of_activation(str(block.args["activation"]))


def _kernel(block: Block) -> int:
    return _number(block, "kernel") ** (1 if block.op.endswith("1d") else 2)


def _conv(block: Block, came: int, uses: int) -> int:
    width = _number(block, "width")
    filters = came // _number(block, "groups") * width * _kernel(block)
    return filters + _normed(block, width, uses) + _activation(block)


def _residual(block: Block, came: int, uses: int) -> int:
    width, hidden = _number(block, "width"), _number(block, "hidden")
    total = (came + width) * hidden * _kernel(block) + _normed(block, hidden, uses) + _normed(block, width, uses)
    if block.args["skip"] == "projection":
        total += came * width + _normed(block, width, uses)
    return total + 2 * _activation(block)


def _separable(block: Block, came: int, uses: int) -> int:
    width, shared = _number(block, "width"), block.args["kernels"] == "shared"
    filters = 1 if shared else came
    biases = _normed(block, came, uses)
    if shared and block.args["norm"] == "none":
        biases = 1
    return filters * _kernel(block) + biases + came * width + _normed(block, width, uses) + 2 * _activation(block)


def _inverted_residual(block: Block, came: int, uses: int) -> int:
    width, hidden, squeeze = (_number(block, name) for name in ("width", "hidden", "squeeze"))
    filters = hidden * (came + _kernel(block) + width)
    excitation = 2 * hidden * squeeze + squeeze + hidden if squeeze else 0
    norms = 2 * _normed(block, hidden, uses) + _normed(block, width, uses)
    return filters + excitation + norms + 2 * _activation(block)


def _linear(block: Block, came: int, uses: int) -> int:
    width, norm = _number(block, "width"), str(block.args["norm"])
    bias = 0 if norm == "batch" else width
    return came * width + bias + _of_norm(norm) * width * uses + _activation(block)


def _residual_linear(block: Block, came: int, uses: int) -> int:
    hidden = _number(block, "hidden")
    norms = _of_norm(str(block.args["norm"])) * came * uses
    return 2 * came * hidden + hidden + came + norms + _activation(block)


def _columns(block: Block, _: int, __: int) -> int:
    counts = [int(count) for count in str(block.args["categories"]).split(",")]
    return sum(count * min(_number(block, "features"), count) for count in counts)


def _positions(block: Block, width: int) -> int:
    return _number(block, "length") * width if block.args["positions"] == "learned" else 0


def _embedding(block: Block, _: int, __: int) -> int:
    width, bottleneck = _number(block, "width"), _number(block, "bottleneck")
    inner = bottleneck or width
    project = bottleneck * width + width if bottleneck else 0
    norm = _of_norm(str(block.args["norm"])) * inner
    return _number(block, "vocabulary") * inner + _positions(block, inner) + norm + project


def _patches(block: Block, came: int, _: int) -> int:
    width, size = _number(block, "width"), _number(block, "size") ** (2 if block.op == "patches2d" else 1)
    return came * width * size + width + _positions(block, width)


def _transformer(block: Block, came: int, _: int) -> int:
    inner, hidden = _number(block, "heads") * _number(block, "head_width"), _number(block, "hidden")
    attention = 4 * came * inner + 3 * inner + came
    feed_forward = 2 * came * hidden + hidden + came
    return attention + feed_forward + 2 * _of_norm(str(block.args["norm"])) * came + _activation(block)


def _sequence_norm(block: Block, came: int, _: int) -> int:
    return _of_norm(str(block.args["norm"])) * came


def _nothing(_: Block, __: int, ___: int) -> int:
    return 0


POOLS = ("max_pool", "average_pool", "global_average_pool")
PARAMETER_RULES: dict[str, Callable[[Block, int, int], int]] = {
    **dict.fromkeys(
        (*POOLS, *(f"{op}1d" for op in POOLS), "flatten", "mean_positions", "first_position"),
        _nothing,
    ),
    **dict.fromkeys(("conv", "conv1d"), _conv),
    **dict.fromkeys(("residual", "residual1d"), _residual),
    **dict.fromkeys(("separable", "separable1d"), _separable),
    **dict.fromkeys(("inverted_residual", "inverted_residual1d"), _inverted_residual),
    "linear": _linear,
    "residual_linear": _residual_linear,
    "columns": _columns,
    "embedding": _embedding,
    **dict.fromkeys(("patches", "patches2d"), _patches),
    "transformer": _transformer,
    "sequence_norm": _sequence_norm,
}
