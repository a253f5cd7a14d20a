"""From an architecture to a module: a pure function, and the shapes on the way."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn

from ..errors import InvalidArchitecture
from .architecture import Architecture, Block, Shape, can_share, has_weights
from .blocks import BLOCKS
from .shape_rules import SHAPE_RULES


@dataclass(frozen=True)
class Call:
    """One step of the forward pass: which module, and which of its uses."""

    module: str
    use: int
    owner: int


def calls(architecture: Architecture) -> tuple[Call, ...]:
    """The forward pass in order; blocks that share weights call the same module."""
    uses: dict[int, int] = {}
    steps = []
    for index, block in enumerate(architecture.blocks):
        owner = index if block.shares is None else block.shares
        uses[owner] = uses.get(owner, 0) + 1
        steps.append(Call(f"block{owner}", uses[owner] - 1, owner))
    return tuple(steps)


class Network(nn.Module):
    """The module of an architecture; ``forward`` takes (N, *input_shape) and gives (N, outputs), or a dict by head."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        widths = in_widths(architecture)
        self._calls: list[tuple[str, int | None]] = []
        for call in calls(architecture):
            op = architecture.blocks[call.owner].op
            if not hasattr(self, call.module):
                self.add_module(call.module, make_block(architecture, call.owner, widths[call.owner]))
            self._calls.append((call.module, call.use if can_share(op) else None))
        for head in architecture.heads:
            self.add_module(head.name, nn.Linear(widths[-1], head.outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor | dict[str, torch.Tensor]:
        for name, use in self._calls:
            module = self._modules[name]
            assert module is not None
            x = module(x) if use is None else module(x, use)
        heads = {head.name: self._modules[head.name](x) for head in self.architecture.heads}  # type: ignore[misc]
        return heads if len(heads) > 1 else next(iter(heads.values()))


def build(architecture: Architecture, *, seed: int | None = None) -> Network:
    """Build the module, with weights drawn from ``seed``; the global random state is left as it was.

    Raises InvalidArchitecture, naming block and shape, if the blocks do not fit together.
    """
    if seed is None:
        return Network(architecture)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Network(architecture)


def in_widths(architecture: Architecture) -> tuple[int, ...]:
    """Channels or features that come into each block, and, last, into the heads."""
    return tuple(shape[0] for shape in shapes(architecture))


@lru_cache(maxsize=1024)
def shapes(architecture: Architecture) -> tuple[Shape, ...]:
    """The shape, without the batch, that comes into each block and, last, into the heads.

    Nothing is allocated.
    """
    seen = [architecture.input_shape]
    for index, block in enumerate(architecture.blocks):
        if block.shares is not None and seen[block.shares][0] != seen[-1][0]:
            raise InvalidArchitecture(
                f"block {index} shares the weights of block {block.shares}, but {seen[-1][0]} channels or features "
                f"come to it and {seen[block.shares][0]} to the other: only layers of equal shape can share"
            )
        try:
            seen.append(_shape_after(block.replace(), seen[-1]))
        except (RuntimeError, TypeError, ValueError, IndexError, KeyError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error).split("\n")[0]
            raise InvalidArchitecture(
                f"block {index} ({block.op}) cannot take the shape {_times(seen[-1])} that comes to it: {reason}"
            ) from error
    if len(seen[-1]) != 1:
        raise InvalidArchitecture(
            f"the heads need features in one row, {_times(seen[-1])} comes: end the blocks with flatten or "
            "global_average_pool"
        )
    return tuple(seen)


@lru_cache(maxsize=4096)
def _shape_after(block: Block, shape: Shape) -> Shape:
    with torch.device("meta"):
        module = _construct(block, shape[0], uses=1).eval()  # a number that its constructor does not know raises here
    after = SHAPE_RULES[block.op](shape, block.args) if block.op in SHAPE_RULES else run_on_meta(module, shape)
    if block.width not in (None, after[0]):
        raise ValueError(f"it gives {_times(after)}, where {block.width} channels or features are to come first")
    return after


def run_on_meta(module: nn.Module, shape: Shape) -> Shape:
    """The shape that a block on the meta device gives, without the batch."""
    batch = shape[0] + 1  # differs from the channels, so that torch cannot take the one for the other
    after = tuple(module(torch.empty(batch, *shape, device="meta")).shape)
    if after[0] != batch:
        raise ValueError(f"it gives {_times(after)} for a batch of {batch}")
    return after[1:]


def make_block(architecture: Architecture, index: int, in_width: int) -> nn.Module:
    """The module of one block that owns its weights."""
    uses = sum(other.shares == index for other in architecture.blocks) + 1
    return _construct(architecture.blocks[index], in_width, uses)


def _construct(block: Block, in_width: int, uses: int) -> nn.Module:
    leading = (in_width,) if has_weights(block.op) else ()
    sharing = {"uses": uses} if uses > 1 else {}
    return BLOCKS[block.op](*leading, **block.args, **sharing)


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))
