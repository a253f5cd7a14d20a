"""What a drawing says of each step of a network: its layers and their widths, its words, and what it was before."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from .architecture import Architecture, Head, Scalar
from .block import Block
from .blocks import BLOCKS
from .builder import Form, forms
from .difference import aligned, times
from .module import ModuleArchitecture
from .parameter_rules import block_parameters

USUAL: Mapping[str, tuple[Scalar, ...]] = {  # numbers that are not worth a word
    "stride": (1,),
    "groups": (1,),
    "norm": ("batch", "layer"),
    "norm_place": ("pre",),
    "kernels": ("own",),
    "positions": ("learned",),
    "causal": (False,),
    "rotary": (False,),
    "skip": ("identity", "projection", "none"),
}
DRAWN = ("width", "hidden", "heads", "head_width", "bottleneck", "squeeze", "vocabulary", "length", "categories")
INPUT = -1
Place = int | str  # of a step: the index of a block, INPUT, or a word for what is none


@dataclass(frozen=True)
class Sketch:
    """A network to be drawn, what it was before something left (None if nothing did), and what stands above it."""

    architecture: Architecture
    before: Architecture | None
    title: str


@dataclass(frozen=True)
class Layer:
    """Something in a step that has a width. was: its width before units left."""

    name: str
    width: int
    was: int

    @property
    def widest(self) -> int:
        return max(self.width, self.was)


@dataclass(frozen=True)
class Step:
    """A step of the network as it is drawn.

    after: the place of the step that it follows; None for the input. kind: ``input``, ``layers``, ``plain`` (without a
    width of its own), ``own`` (a module of the user's own) or ``head``. weights: the block whose weights it uses, where
    others use them too. count: its parameters, in words. skips: which layers, from and to, a residual sum goes around,
    and how. gone: it left in pruning.
    """

    place: Place
    after: Place | None
    kind: str
    name: str
    words: str = ""
    count: str = ""
    layers: tuple[Layer, ...] = ()
    weights: int | None = None
    skips: tuple[tuple[int, int, str], ...] = ()
    gone: bool = False


def steps_of(sketch: Sketch) -> list[Step]:
    """Input, blocks and heads; each comes after the one that it follows. What left stands where it was."""
    network, before = sketch.architecture, sketch.before
    comes_in = "tokens" if network.vocabulary is not None else times(network.input_shape)
    if network.vocabulary is not None:
        comes_in = f"{times(network.input_shape)} tokens of {network.vocabulary:,}"
    steps = [Step(INPUT, None, "input", f"input {comes_in}")]
    if isinstance(network, ModuleArchitecture):
        arguments = ", ".join(f"{name}={value}" for name, value in network.arguments.items())
        steps.append(Step("module", INPUT, "own", network.factory.partition(":")[2], arguments))
        return steps + [_head(network, head, "module", None) for head in network.heads]
    seen = _seen(network)
    was, gone = _before(network, before)
    last: dict[int, Place] = {}  # where a block's source was replaced by what left behind it
    shared = {network.owner(index) for index, block in enumerate(network.blocks) if block.shares is not None}
    shared |= {head.tied for head in network.heads if head.tied is not None}
    for index, block in enumerate(network.blocks):
        after: Place = network.source(index)
        for number in gone.get(index, ()):
            assert before is not None
            steps.append(_gone(before, number, after))
            after = steps[-1].place
        last[index] = after
        owner = network.owner(index)
        told = partial(_told, seen, network, index)
        steps.append(_step(index, block, after, was.get(index), owner if owner in shared else None, told))
    for head in network.heads:
        after = network.head_source(head)
        for number in gone.get(len(network.blocks), ()) if head == network.heads[0] else ():
            assert before is not None
            steps.append(_gone(before, number, after))
            after = steps[-1].place
        steps.append(_head(network, head, after, seen))
    return steps


def _seen(network: Architecture) -> tuple[Form, ...] | None:
    """The shapes on the way; None where code of the user's own may not or cannot run."""
    try:
        return forms(network)
    except Exception:  # noqa: BLE001 - own blocks may raise anything, and a drawing does without their shapes
        return None


def _before(network: Architecture, before: Architecture | None) -> tuple[dict[int, Block], dict[int, list[int]]]:
    """What each block was, and which blocks left, by the block that they stood before."""
    was: dict[int, Block] = {}
    gone: dict[int, list[int]] = {}
    waiting: list[int] = []
    for old, new in [] if before is None else aligned(before, network):
        assert before is not None
        if new is None:
            assert old is not None
            waiting.append(old)
            continue
        gone[new], waiting = waiting, []
        if old is not None and before.blocks[old].op == network.blocks[new].op:
            was[new] = before.blocks[old]
    gone[len(network.blocks)] = waiting
    return was, gone


def _told(seen: tuple[Form, ...] | None, network: Architecture, index: int) -> tuple[int, str, int | None]:
    """Of a block: the width that comes, the shape that leaves in words, its parameters. 0, "", None where unknown."""
    if seen is None:
        return 0, "", None
    block, came = network.blocks[index], seen[network.source(index) + 1].width
    uses = 1 + sum(other.shares == index for other in network.blocks)
    count = block_parameters(block.alone, came, uses) if block.shares is None else None
    return came, times(seen[index + 1].shape), count


def _step(
    index: int,
    block: Block,
    after: Place,
    was: Block | None,
    weights: int | None,
    told: Callable[[], tuple[int, str, int | None]],
) -> Step:
    came, leaves, count = told()
    layers = _layers(block, came, was or block)
    words = [_words(block)]
    words += [f"to {leaves}"] if leaves else []
    kind = "own" if block.op not in BLOCKS else "layers" if layers else "plain"
    name = f"{index} {block.op.partition(':')[2] or block.op}"
    said = " · ".join(filter(None, words))
    return Step(
        index, after, kind, name, said, _parameters(count, block.shares), layers, weights, _skips(block, layers)
    )


def _gone(before: Architecture, number: int, after: Place) -> Step:
    block = before.blocks[number]
    layers = tuple(Layer(layer.name, 0, layer.was) for layer in _layers(block, 0, block))
    name = block.op.partition(":")[2] or block.op
    return Step(f"gone {number}", after, "layers", name, "left in pruning", layers=layers, gone=True)


def _head(network: Architecture, head: Head, after: Place, seen: tuple[Form, ...] | None) -> Step:
    words, count = f"{head.outputs:,} output{'s' if head.outputs != 1 else ''}", None
    if head.tied is None and seen is not None:
        count = (seen[network.head_source(head) + 1].width + 1) * head.outputs
    layers = (Layer("outputs", head.outputs, head.outputs),)
    return Step(f"head {head.name}", after, "head", head.name, words, _parameters(count, head.tied), layers, head.tied)


def _parameters(count: int | None, owner: int | None) -> str:
    """How many there are, or whose they are; empty where that is unknown."""
    if owner is not None:
        return f"weights of block {owner}"
    return f"{count:,} parameters" if count else ""


def _layers(block: Block, came: int, was: Block) -> tuple[Layer, ...]:
    """The widths inside a block, in the order in which they are gone through."""
    now, then = _widths(block, came), _widths(was, came)
    return tuple(Layer(name, width, then.get(name, width)) for name, width in now.items())


def _widths(block: Block, came: int) -> dict[str, int]:
    numbers = {name: int(value) for name, value in block.args.items() if isinstance(value, int)}
    found: dict[str, int] = {}
    if block.op.startswith("separable") and came:
        found["each channel"] = came
    if numbers.get("heads"):
        found["attention"] = numbers["heads"] * numbers.get("head_width", 1)
    for name in ("bottleneck", "hidden", "squeeze", "width"):
        if numbers.get(name):
            found[name] = numbers[name]
    if block.op == "residual_linear" and came:
        found["width"] = came
    return found


def _skips(block: Block, layers: tuple[Layer, ...]) -> tuple[tuple[int, int, str], ...]:
    last = len(layers) - 1
    if block.op == "transformer":
        return ((0, 0, "identity"), (1, 1, "identity"))
    if block.op == "residual_linear":
        return ((0, last, "identity"),)
    skip = str(block.args.get("skip", "none"))
    return () if skip == "none" or not layers else ((0, last, skip),)


def _words(block: Block) -> str:
    """The numbers that the bars do not show."""
    said = [f"{block.args['heads']} heads"] if "heads" in block.args else []
    for name, value in block.args.items():
        if name in DRAWN or value in USUAL.get(name, ()):
            continue
        if isinstance(value, bool):
            said.append(name if value else f"no {name}")
        else:
            said.append(str(value) if name == "activation" else f"{name} {value}")
    return ", ".join(said)
