"""Multiply-accumulates of each block for one example, as a rule.

A block without a rule here is counted by torch on the meta device, which gives the same for all (tests/test_costs.py)
and takes a hundred times as long.
"""

from collections.abc import Callable
from functools import lru_cache
from math import prod

import torch

from .architecture import Architecture, Shape
from .block import Block
from .builder import Form, build, example_input, forms, head_form, make_alone
from .module import ModuleArchitecture


def count_macs(architecture: Architecture) -> int:
    """Multiply-accumulates of convolutions, linear layers and attention for one example.

    A shared layer counts each time it runs. Nothing is allocated, but for a module of the user's own.
    """
    if isinstance(architecture, ModuleArchitecture):  # for real, since a factory may look at its numbers
        return count_as_it_runs(build(architecture, seed=0).eval(), example_input(architecture, 1))
    return _count_macs(architecture)


@lru_cache(maxsize=1024)
def _count_macs(architecture: Architecture) -> int:
    seen = forms(architecture)
    total = sum(
        _macs(block.alone, seen[architecture.source(index) + 1], seen[index + 1].shape)
        for index, block in enumerate(architecture.blocks)
    )
    for head in architecture.heads:
        came = head_form(architecture, head)
        positions = came.shape[0] if came.sequence else 1
        if head.tied is None:
            total += positions * came.width * head.outputs
        else:
            bottleneck = int(architecture.blocks[head.tied].args.get("bottleneck", 0))
            total += positions * (came.width * bottleneck + (bottleneck or came.width) * head.outputs)
    return total


@lru_cache(maxsize=4096)
def _macs(block: Block, came: Form, left: Shape) -> int:
    if block.op in FREE:
        return 0
    if block.op in MAC_RULES:
        return MAC_RULES[block.op](block, came, left)
    with torch.device("meta"):
        module = make_alone(block, came.width).eval()
    tokens = block.args.get("vocabulary") is not None
    return count_as_it_runs(module, torch.empty(1, *came.shape, device="meta", dtype=torch.int64 if tokens else None))


def count_as_it_runs(module: torch.nn.Module, example: torch.Tensor) -> int:
    """Multiply-accumulates of a module on a batch, counted by torch, which has 2 FLOPs to a MAC."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(example)
    return int(counter.get_total_flops()) // 2


def _number(block: Block, name: str) -> int:
    return int(block.args[name])


def _kernel(block: Block, came: Form) -> int:
    """Weights of one filter for one channel."""
    return int(_number(block, "kernel") ** (len(came.shape) - 1))


def _conv(block: Block, came: Form, left: Shape) -> int:
    return came.width // _number(block, "groups") * prod(left) * _kernel(block, came)


def _residual(block: Block, came: Form, left: Shape) -> int:
    hidden, pixels = _number(block, "hidden"), prod(left[1:])
    project = came.width * prod(left) if block.args["skip"] == "projection" else 0
    return hidden * pixels * (came.width + left[0]) * _kernel(block, came) + project


def _separable(block: Block, came: Form, left: Shape) -> int:
    return came.width * prod(left[1:]) * (_kernel(block, came) + left[0])


def _inverted_residual(block: Block, came: Form, left: Shape) -> int:
    hidden, squeeze, pixels = _number(block, "hidden"), _number(block, "squeeze"), prod(left[1:])
    expand = came.width * hidden * prod(came.shape[1:])
    return expand + hidden * pixels * (_kernel(block, came) + left[0]) + 2 * hidden * squeeze


def _linear(_: Block, came: Form, left: Shape) -> int:
    return came.width * left[0]


def _residual_linear(block: Block, came: Form, _: Shape) -> int:
    return 2 * came.width * _number(block, "hidden")


def _embedding(block: Block, _: Form, left: Shape) -> int:
    return prod(left) * _number(block, "bottleneck")


def _patches(block: Block, came: Form, left: Shape) -> int:
    return came.width * prod(left) * int(_number(block, "size") ** (len(came.shape) - 1))


def _transformer(block: Block, came: Form, _: Shape) -> int:
    length, inner = came.shape[0], _number(block, "heads") * _number(block, "head_width")
    return length * (4 * came.width * inner + 2 * length * inner + 2 * came.width * _number(block, "hidden"))


POOLS = ("max_pool", "average_pool", "global_average_pool")
FREE = frozenset(
    (*POOLS, *(f"{op}1d" for op in POOLS), "flatten", "columns", "sequence_norm", "mean_positions", "first_position")
)
MAC_RULES: dict[str, Callable[[Block, Form, Shape], int]] = {
    **dict.fromkeys(("conv", "conv1d"), _conv),
    **dict.fromkeys(("residual", "residual1d"), _residual),
    **dict.fromkeys(("separable", "separable1d"), _separable),
    **dict.fromkeys(("inverted_residual", "inverted_residual1d"), _inverted_residual),
    "linear": _linear,
    "residual_linear": _residual_linear,
    "embedding": _embedding,
    **dict.fromkeys(("patches", "patches2d"), _patches),
    "transformer": _transformer,
}
