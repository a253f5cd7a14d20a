"""A network as the operators that its blocks call, and what each works on: what its latency is the sum of."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch

from ..spaces import Architecture, Block, Head, ModuleArchitecture, build, example_input
from ..spaces.builder import Form, forms, head_form, make_alone
from ..spaces.mac_rules import POOLS, count_as_it_runs

LANES = 16  # float32 numbers in a vector register: kernels compute so many channels at once
ROWS = 4  # libraries have routines of their own for channels in multiples of it, and for so few that come in


@dataclass(frozen=True)
class Operator:
    """One call of an operator for one example.

    kind: what it is, of a ``variant`` that may have a routine of its own. values: numbers that come and leave. filled:
    macs with the channels filled up to LANES; ragged: the same where they are no multiple of ROWS. unfolded: numbers
    of the input laid out window by window.
    """

    kind: str
    variant: str = ""
    values: int = 0
    macs: int = 0
    weights: int = 0
    filled: int = 0
    ragged: int = 0
    unfolded: int = 0


def operators(architecture: Architecture) -> Iterator[Operator]:
    """In the order of the blocks; those of a shared block come each time it runs. A module of the user's own, which is
    built and run, is one operator, and one for each layer in it.
    """
    if isinstance(architecture, ModuleArchitecture):
        yield from _of_module(architecture)
        return
    seen = forms(architecture)
    for index, block in enumerate(architecture.blocks):
        yield from _of_block(block.alone, seen[architecture.source(index) + 1], seen[index + 1])
    for head in architecture.heads:
        yield from _of_head(architecture, head)


def _of_module(architecture: ModuleArchitecture) -> Iterator[Operator]:
    module = build(architecture, seed=0).eval()
    yield Operator(architecture.factory, macs=count_as_it_runs(module, example_input(architecture, 1)))
    for layer in module.modules():
        if not list(layer.children()):
            yield Operator("layer", type(layer).__name__, weights=_weights(layer))


@lru_cache(maxsize=4096)
def _of_block(block: Block, came: Form, left: Form) -> tuple[Operator, ...]:
    return tuple(OPERATORS.get(block.op, _own)(block, came, left))


def _of_head(architecture: Architecture, head: Head) -> Iterator[Operator]:
    came = head_form(architecture, head)
    width, positions = came.width, _positions(came)
    if head.tied is not None and (bottleneck := int(architecture.blocks[head.tied].args.get("bottleneck", 0))):
        yield _product(positions, width, bottleneck)
        width = bottleneck
    yield _product(positions, width, head.outputs)


def _positions(form: Form) -> int:
    """Pixels, steps or places in a sequence; 1 for features in a row."""
    return prod(form.shape) // form.width


def _with_width(form: Form, width: int) -> Form:
    """Another number of channels or features in each position."""
    shape = (*form.shape[:-1], width) if form.sequence else (width, *form.shape[1:])
    return Form(shape, width, form.sequence)


def _weights(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


def _number(block: Block, name: str) -> int:
    return int(block.args[name])


def _convolution(block: Block, came: Form, left: Form, kernel: int, *, groups: int = 1) -> Iterator[Operator]:
    """A convolution and its norm. came, left: of the convolution, which may be inside the block."""
    dimensions = len(came.shape) - 1
    window, pixels = kernel**dimensions, _positions(left)
    each, made = came.width // groups, left.width // groups
    weights = left.width * each * window
    depthwise = groups == came.width == left.width > 1
    filled = 0 if depthwise else groups * _filled(each) * _filled(made) * window * pixels
    yield Operator(
        "depthwise convolution" if depthwise else "convolution",
        "x".join([str(kernel)] * dimensions),
        values=prod(came.shape) + prod(left.shape),
        macs=weights * pixels,
        weights=weights,
        filled=filled,
        ragged=filled if made % ROWS or (each % ROWS and each > ROWS) else 0,
        unfolded=0 if depthwise else came.width * window * pixels,
    )
    yield from _norm(block, left)


def _filled(channels: int) -> int:
    return -(-channels // LANES) * LANES


def _norm(block: Block, form: Form) -> Iterator[Operator]:
    if block.args["norm"] != "none":
        yield Operator("norm", str(block.args["norm"]), prod(form.shape))


def _activation(block: Block, form: Form) -> Operator:
    return Operator("activation", str(block.args["activation"]).split("(", maxsplit=1)[0], prod(form.shape))


def _sum(form: Form) -> Operator:
    return Operator("sum", values=prod(form.shape))


def _product(positions: int, came: int, left: int) -> Operator:
    """A linear layer: a matrix times a vector, where reading the weights takes longest, or times a matrix."""
    kind = "linear" if positions == 1 else "linear over positions"
    return Operator(kind, "", positions * (came + left), positions * came * left, came * left)


def _conv(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    yield from _convolution(block, came, left, _number(block, "kernel"), groups=_number(block, "groups"))
    yield _activation(block, left)


def _residual(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    inner, kernel = _with_width(left, _number(block, "hidden")), _number(block, "kernel")
    yield from _convolution(block, came, inner, kernel)
    yield _activation(block, inner)
    yield from _convolution(block, inner, left, kernel)
    if block.args["skip"] == "projection":
        yield from _convolution(block, came, left, 1)
    yield _sum(left)
    yield _activation(block, left)


def _separable(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    inner = _with_width(left, came.width)
    yield from _convolution(block, came, inner, _number(block, "kernel"), groups=came.width)
    yield _activation(block, inner)
    yield from _convolution(block, inner, left, 1)
    yield _activation(block, left)


def _inverted_residual(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    hidden, squeeze = _number(block, "hidden"), _number(block, "squeeze")
    wide, inner = _with_width(came, hidden), _with_width(left, hidden)
    yield from _convolution(block, came, wide, 1)
    yield _activation(block, wide)
    yield from _convolution(block, wide, inner, _number(block, "kernel"), groups=hidden)
    yield _activation(block, inner)
    if squeeze:
        yield from (_product(1, hidden, squeeze), _product(1, squeeze, hidden))
        yield Operator("excitation", values=prod(inner.shape))
    yield from _convolution(block, inner, left, 1)
    if block.args["skip"] == "identity":
        yield _sum(left)


def _linear(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    yield _product(1, came.width, left.width)
    yield from _norm(block, left)
    yield _activation(block, left)


def _residual_linear(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    inner = _with_width(came, _number(block, "hidden"))
    yield from _norm(block, came)
    yield _product(1, came.width, inner.width)
    yield _activation(block, inner)
    yield _product(1, inner.width, left.width)
    yield _sum(left)


def _transformer(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    length, hidden = came.shape[0], _with_width(came, _number(block, "hidden"))
    inner = _with_width(came, _number(block, "heads") * _number(block, "head_width"))
    yield _product(length, came.width, 3 * inner.width)
    if block.args["rotary"]:
        yield Operator("rotary", values=2 * prod(inner.shape))
    variant = "causal" if block.args["causal"] else "full"
    yield Operator("attention", variant, 4 * prod(inner.shape), macs=2 * length * prod(inner.shape))
    yield _product(length, inner.width, came.width)
    yield _product(length, came.width, hidden.width)
    yield _activation(block, hidden)
    yield _product(length, hidden.width, left.width)
    for _ in range(2):
        yield from _norm(block, came)
        yield _sum(left)


def _embedding(block: Block, _: Form, left: Form) -> Iterator[Operator]:
    bottleneck = _number(block, "bottleneck")
    inner = _with_width(left, bottleneck or left.width)
    yield Operator("embedding", values=prod(inner.shape))
    yield from _added_positions(block, inner)
    yield from _norm(block, inner)
    if bottleneck:
        yield _product(_positions(left), bottleneck, left.width)


def _patches(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    weights = left.width * came.width * _number(block, "size") ** (len(came.shape) - 1)
    yield Operator("patches", "", prod(came.shape) + prod(left.shape), weights * _positions(left), weights)
    yield from _added_positions(block, left)


def _added_positions(block: Block, form: Form) -> Iterator[Operator]:
    if block.args["positions"] != "none":
        yield _sum(form)


def _sequence_norm(block: Block, came: Form, _: Form) -> Iterator[Operator]:
    yield from _norm(block, came)


def _without_weights(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    yield Operator(block.op.removesuffix("1d"), values=prod(came.shape) + prod(left.shape))


def _own(block: Block, came: Form, left: Form) -> Iterator[Operator]:
    """A block of the user's own, counted by torch on the meta device."""
    with torch.device("meta"):
        module = make_alone(block, came.width).eval()
        kind = torch.int64 if block.args.get("vocabulary") is not None else torch.float32
        example = torch.empty(1, *came.shape, dtype=kind)
    values = prod(came.shape) + prod(left.shape)
    yield Operator(block.op, "", values, count_as_it_runs(module, example), _weights(module))


OPERATORS: dict[str, Callable[[Block, Form, Form], Iterator[Operator]]] = {
    **dict.fromkeys(("conv", "conv1d"), _conv),
    **dict.fromkeys(("residual", "residual1d"), _residual),
    **dict.fromkeys(("separable", "separable1d"), _separable),
    **dict.fromkeys(("inverted_residual", "inverted_residual1d"), _inverted_residual),
    "linear": _linear,
    "residual_linear": _residual_linear,
    "transformer": _transformer,
    "embedding": _embedding,
    **dict.fromkeys(("patches", "patches2d"), _patches),
    "sequence_norm": _sequence_norm,
    **dict.fromkeys((*POOLS, *(f"{op}1d" for op in POOLS)), _without_weights),
    **dict.fromkeys(("flatten", "columns", "mean_positions", "first_position"), _without_weights),
}
