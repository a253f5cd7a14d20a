"""From an architecture to a module: a pure function, and the shapes on the way."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from ..errors import InvalidArchitecture, UntrustedCode
from .architecture import Architecture, DataSpec, Head, Shape
from .block import Block, Scalar, block_class, chooses_width, has_weights, is_told_use
from .blocks import BLOCKS
from .module import ModuleArchitecture
from .shape_rules import SHAPE_RULES

INPUT = -1  # where an index of a block is expected: what comes into the network


@dataclass(frozen=True)
class Form:
    """What leaves a block, or comes into the network.

    shape: without the batch. width: channels or features. sequence: whether these come last, (length, width).
    """

    shape: Shape
    width: int
    sequence: bool = False


@dataclass(frozen=True)
class Call:
    """One step of the forward pass: which module, which of its uses, and after which step."""

    module: str
    use: int
    owner: int
    source: int


def calls(architecture: Architecture) -> tuple[Call, ...]:
    """The forward pass in order; blocks that share weights call the same module."""
    uses: dict[int, int] = {}
    steps = []
    for index in range(len(architecture.blocks)):
        owner = architecture.owner(index)
        uses[owner] = uses.get(owner, 0) + 1
        steps.append(Call(f"block{owner}", uses[owner] - 1, owner, architecture.source(index)))
    return tuple(steps)


def branchings(architecture: Architecture) -> frozenset[int]:
    """The steps (or INPUT) whose output is taken by others than the next step."""
    late = {call.source for index, call in enumerate(calls(architecture)) if call.source != index - 1}
    last = len(architecture.blocks) - 1
    return frozenset(late | {architecture.head_source(head) for head in architecture.heads} - {last})


class Network(nn.Module):
    """The module of an architecture; ``forward`` takes (N, *input_shape) and gives (N, outputs), or a dict by head.

    Heads over sequences give (N, length, outputs).
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = in_widths(architecture)
        kept = branchings(architecture)
        self._calls: list[tuple[str, int | None, int | None, int | None]] = []
        for index, call in enumerate(calls(architecture)):
            op = architecture.blocks[call.owner].op
            if not hasattr(self, call.module):
                self.add_module(call.module, make_block(architecture, call.owner, widths[call.owner]))
            use = call.use if is_told_use(op) else None
            source = None if call.source == index - 1 else call.source
            self._calls.append((call.module, use, source, index if index in kept else None))
        for head in architecture.heads:
            if head.tied is None:
                self.add_module(head.name, nn.Linear(head_form(architecture, head).width, head.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        kept = {INPUT: x}
        for name, use, source, keep in self._calls:
            module = self._modules[name]
            assert module is not None
            if source is not None:
                x = kept[source]
            x = module(x) if use is None else module(x, use)
            if keep is not None:
                kept[keep] = x
        heads = {
            head.name: self._answer(head, x if head.follows is None else kept[head.follows])
            for head in self.architecture.heads
        }
        return heads if len(heads) > 1 else next(iter(heads.values()))

    def _answer(self, head: Head, x: torch.Tensor) -> torch.Tensor:
        if head.tied is None:
            return self.get_submodule(head.name)(x)  # type: ignore[no-any-return]
        return self.get_submodule(f"block{head.tied}").logits(x)  # type: ignore[operator, no-any-return]


def build(architecture: Architecture, *, seed: int | None = None) -> nn.Module:
    """Build the module, with weights drawn from ``seed``; the global random state is left as it was.

    Raises InvalidArchitecture, naming block and shape, if the blocks do not fit together.
    """
    make = architecture.make if isinstance(architecture, ModuleArchitecture) else lambda: Network(architecture)
    if seed is None:
        return make()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # of the CPU alone, where modules are made
        return make()


def example_input(architecture: Architecture | DataSpec, batch: int, *, seed: int = 0) -> torch.Tensor:
    """A random batch that the network takes: numbers from 0 to 1, category codes, or tokens."""
    draw = torch.Generator().manual_seed(seed)
    shape = (batch, *architecture.input_shape)
    if architecture.vocabulary is not None:
        return torch.randint(architecture.vocabulary, shape, generator=draw)
    x = torch.rand(shape, generator=draw)
    for column, count in enumerate(reversed(architecture.categories), start=1):
        x[:, -column] = torch.randint(count, (batch,), generator=draw)
    return x


def in_widths(architecture: Architecture) -> tuple[int, ...]:
    """Channels or features that come into each block."""
    seen = forms(architecture)
    return tuple(seen[architecture.source(index) + 1].width for index in range(len(architecture.blocks)))


def head_form(architecture: Architecture, head: Head) -> Form:
    """What comes into a head."""
    return forms(architecture)[architecture.head_source(head) + 1]


def shapes(architecture: Architecture) -> tuple[Shape, ...]:
    """The shape, without the batch, of the input and of what leaves each block.

    Nothing is allocated. Raises InvalidArchitecture if the blocks do not fit together.
    """
    if isinstance(architecture, ModuleArchitecture):
        return (architecture.input_shape,)
    return tuple(form.shape for form in forms(architecture))


@lru_cache(maxsize=1024)
def forms(architecture: Architecture) -> tuple[Form, ...]:
    """The form of the input and of what leaves each block; nothing is allocated."""
    seen = [Form(architecture.input_shape, architecture.input_shape[0])]
    for index, block in enumerate(architecture.blocks):
        source = architecture.source(index)
        came = seen[source + 1]
        _check_input(architecture, index, source)
        if block.shares is not None:
            _check_sharing(index, block.shares, came, seen[architecture.source(block.shares) + 1])
        try:
            seen.append(_form_after(block.alone, came))
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError, AssertionError) as error:
            if isinstance(error, InvalidArchitecture | UntrustedCode):
                raise
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]
            raise InvalidArchitecture(
                f"block {index} ({block.op}) cannot take the shape {_times(came.shape)} that comes to it: {reason}"
            ) from error
    for head in architecture.heads:
        _check_head(architecture, head, seen[architecture.head_source(head) + 1])
    return tuple(seen)


def _check_input(architecture: Architecture, index: int, source: int) -> None:
    """Tokens and category codes go into the block that is made for them, and nothing else does."""
    block = architecture.blocks[index]
    for number, there in (
        ("vocabulary", architecture.vocabulary),
        ("categories", ",".join(map(str, architecture.categories)) or None),
    ):
        wanted = block.args.get(number)
        if (wanted is not None or (number == "vocabulary" and source == INPUT)) and (
            wanted != there or (wanted is not None and source != INPUT)
        ):
            raise InvalidArchitecture(
                f"block {index} ({block.op}) is for {number} {wanted}, the input"
                f"{'' if source == INPUT else ', which it does not follow,'} has {number} {there}"
            )


def _check_sharing(index: int, owner: int, came: Form, there: Form) -> None:
    if came.width != there.width:
        raise InvalidArchitecture(
            f"block {index} shares the weights of block {owner}, but {came.width} channels or features come to it and "
            f"{there.width} to the other: only layers of equal shape can share"
        )


def _check_head(architecture: Architecture, head: Head, came: Form) -> None:
    if len(came.shape) != 1 and not came.sequence:
        raise InvalidArchitecture(
            f"the heads need features in one row, {_times(came.shape)} comes: end the blocks with flatten or "
            "global_average_pool"
        )
    if head.tied is not None:
        block = architecture.blocks[head.tied]
        if (block.args.get("vocabulary"), block.width) != (head.outputs, came.width):
            raise InvalidArchitecture(
                f"head {head.name!r} ({came.width} features, {head.outputs} outputs) cannot use the weights of block "
                f"{head.tied} ({block.op}, vocabulary {block.args.get('vocabulary')}, width {block.width})"
            )


@lru_cache(maxsize=4096)
def _form_after(block: Block, came: Form) -> Form:
    kind = block_class(block.op)
    takes = getattr(kind, "takes_sequence", False if block.op in BLOCKS else came.sequence)
    if takes != came.sequence:
        raise ValueError("it takes " + ("sequences (length, width)" if takes else "no sequences"))
    rule = SHAPE_RULES.get(block.op)
    if rule:
        _check_words(block.op, tuple((name, value) for name, value in block.args.items() if type(value) is not int))
        after = rule(came.shape, block.args)
    else:
        with torch.device("meta"):
            after = run_on_meta(make_alone(block, came.width).eval(), came.shape, tokens="vocabulary" in block.args)
    sequence = getattr(kind, "gives_sequence", False) or (came.sequence and len(after) == len(came.shape))
    width = after[-1 if sequence else 0]
    if block.width not in (None, width):
        raise ValueError(f"it gives {_times(after)}, where {block.width} channels or features are to come")
    return Form(after, width, sequence)


@lru_cache(maxsize=4096)
def _check_words(op: str, words: tuple[tuple[str, Scalar], ...]) -> None:
    """Whether a block's constructor knows its words and flags. Its whole numbers are for the shape rule to check."""
    width = {"width": 1} if chooses_width(op) else {}
    with torch.device("meta"):
        make_alone(Block.from_json({"op": op, **width, **dict(words)}), 1)


def run_on_meta(module: nn.Module, shape: Shape, *, tokens: bool = False) -> Shape:
    """The shape that a block on the meta device gives, without the batch. tokens: whether it takes token ids."""
    batch = shape[0] + 1  # differs from the channels, so that torch cannot take the one for the other
    kind = torch.int64 if tokens else torch.float32
    after = tuple(module(torch.empty(batch, *shape, device="meta", dtype=kind)).shape)
    if after[0] != batch:
        raise ValueError(f"it gives {_times(after)} for a batch of {batch}")
    return after[1:]


def make_block(architecture: Architecture, index: int, in_width: int) -> nn.Module:
    """The module of one block that owns its weights."""
    uses = sum(other.shares == index for other in architecture.blocks) + 1
    return _construct(architecture.blocks[index], in_width, uses)


def make_alone(block: Block, in_width: int) -> nn.Module:
    """The module of a block that nothing shares."""
    return _construct(block, in_width, uses=1)


def _construct(block: Block, in_width: int, uses: int) -> nn.Module:
    leading = (in_width,) if has_weights(block.op) else ()
    sharing = {"uses": uses} if uses > 1 and is_told_use(block.op) else {}
    return block_class(block.op)(*leading, **block.args, **sharing)


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))
