"""What tells two networks apart, block by block, and in words."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ..errors import InvalidArchitecture, UntrustedCode, UsageError
from .architecture import Architecture, Shape
from .block import Block, Scalar
from .module import ModuleArchitecture
from .parameter_rules import count_parameters

GAP = 1.0  # what it costs to leave a block without a partner
OTHER_OP = 1.5  # to have one of another op for a partner: less than two that have none
COMPARED = {
    "width": ("narrower", "wider"),
    "hidden": ("fewer hidden units", "more hidden units"),
    "heads": ("fewer attention heads", "more attention heads"),
    "kernel": ("a smaller kernel", "a larger kernel"),
    "stride": ("a smaller stride", "a larger stride"),
    "squeeze": ("a narrower squeeze", "a wider squeeze"),
}
TIMES = "\N{MULTIPLICATION SIGN}"
Pair = tuple[int | None, int | None]


@dataclass(frozen=True)
class _Change:
    """What is said of a block: its place, its op, and the words, which several blocks may have in common.

    second: whether its place is one of the second network, where it is new.
    """

    index: int
    op: str
    words: str
    second: bool = False


def aligned(one: Architecture, other: Architecture) -> list[Pair]:
    """Which blocks of two networks stand for each other, in order; None where a block has no partner.

    The cheapest alignment (Needleman and Wunsch 1970), where partners differ as little as possible.
    """
    return list(_aligned(one.blocks, other.blocks))


@lru_cache(maxsize=64)
def _aligned(ours: tuple[Block, ...], theirs: tuple[Block, ...]) -> tuple[Pair, ...]:
    cost = [[GAP * (row + column) for column in range(len(theirs) + 1)] for row in range(len(ours) + 1)]
    for row, block in enumerate(ours, 1):
        for column, partner in enumerate(theirs, 1):
            cost[row][column] = min(
                cost[row - 1][column - 1] + _distance(block, partner),
                cost[row - 1][column] + GAP,
                cost[row][column - 1] + GAP,
            )
    pairs: list[Pair] = []
    row, column = len(ours), len(theirs)
    while row or column:
        matched = row and column and cost[row - 1][column - 1] + _distance(ours[row - 1], theirs[column - 1])
        if row and column and matched == cost[row][column]:
            row, column = row - 1, column - 1
            pairs.append((row, column))
        elif row and cost[row - 1][column] + GAP == cost[row][column]:
            row -= 1
            pairs.append((row, None))
        else:
            column -= 1
            pairs.append((None, column))
    return tuple(reversed(pairs))


def _distance(block: Block, partner: Block) -> float:
    """From 0 for equal blocks to below GAP for those of one op."""
    if block.op != partner.op:
        return OTHER_OP
    names = block.args.keys() | partner.args.keys()
    differing = sum(_apart(block.args.get(name), partner.args.get(name)) for name in sorted(names))
    return 0.5 * (differing + ((block.shares is None) != (partner.shares is None))) / (len(names) + 1)


def _apart(one: Scalar | None, other: Scalar | None) -> float:
    """From 0 for equal numbers to 1 for those of other sizes, and other words."""
    if type(one) is int and type(other) is int and min(one, other) > 0:
        return 1 - min(one, other) / max(one, other)
    return float(one != other)


def difference(one: Architecture, other: Architecture) -> list[str]:
    """What changes from one network to the other, a sentence each: ``block 3 (conv): narrower, 32 to 20``.

    Blocks are counted from 0, as in the exported source; their numbers are those of the first network, of what is new
    those of the second. Empty for equal networks. Nothing is built, and own code is run only where it is trusted.
    """
    if one == other:
        return []
    said = []
    if one.input_shape != other.input_shape:
        said.append(f"input: {times(one.input_shape)} to {times(other.input_shape)}")
    if isinstance(one, ModuleArchitecture) or isinstance(other, ModuleArchitecture):
        return said + _of_modules(one, other) + _of_heads(one, other)
    said += _in_words(_changes(one, other)) + _of_heads(one, other)
    before, after = parameters_of(one), parameters_of(other)
    if before is not None and after is not None and before != after:
        said.append(f"in all {before:,} parameters become {after:,}{_ratio(before, after)}")
    return said


def _ratio(before: int, after: int) -> str:
    if not before:
        return ""
    return f" ({after / before - 1:+.0%})" if after < 2 * before else f" ({after / before:.3g} times as many)"


def parameters_of(architecture: Architecture) -> int | None:
    """Trainable numbers; None where that needs code of the user's own that may not run here, or nothing fits."""
    if isinstance(architecture, ModuleArchitecture):
        return None
    try:
        return count_parameters(architecture)
    except (InvalidArchitecture, UntrustedCode, UsageError):
        return None


def times(shape: Shape) -> str:
    """A shape in words, with a multiplication sign between its sizes."""
    return TIMES.join(map(str, shape))


def _changes(one: Architecture, other: Architecture) -> Iterable[_Change]:
    pairs = aligned(one, other)
    partner = {theirs: ours for ours, theirs in pairs if ours is not None and theirs is not None}
    for ours, theirs in pairs:
        if ours is None:
            assert theirs is not None
            yield _Change(theirs, other.blocks[theirs].op, "new" + _sized(other.blocks[theirs]), second=True)
        elif theirs is None:
            yield _Change(ours, one.blocks[ours].op, "left out" + _sized(one.blocks[ours]))
        else:
            block, changed = one.blocks[ours], other.blocks[theirs]
            if block.op != changed.op:
                yield _Change(ours, block.op, f"becomes {changed.op}{_sized(changed)}")
                continue
            yield from (_Change(ours, block.op, words) for words in _of_numbers(block, changed))
            yield from (_Change(ours, block.op, words) for words in _of_places(one, other, ours, theirs, partner))


def _sized(block: Block) -> str:
    return "" if block.width is None else f", width {block.width}"


def _of_numbers(block: Block, changed: Block) -> list[str]:
    said = []
    for name in dict.fromkeys((*block.args, *changed.args)):
        before, after = block.args.get(name), changed.args.get(name)
        if before == after:
            continue
        if name in COMPARED and isinstance(before, int) and isinstance(after, int):
            said.append(f"{COMPARED[name][after > before]}, {before:,} to {after:,}")
        else:
            said.append(f"{name} {before} to {after}")
    return said


def _of_places(
    one: Architecture, other: Architecture, ours: int, theirs: int, partner: dict[int, int]
) -> Iterable[str]:
    """What changed of whose weights a block uses, and of what it follows."""
    shares, shared = one.blocks[ours].shares, other.blocks[theirs].shares
    if shares is not None and shared is None:
        yield f"own weights, not those of block {shares}"
    elif shared is not None and (shares is None or partner.get(shared) != shares):
        yield f"uses the weights of block {shared}"
    before, after = one.source(ours), other.source(theirs)
    explicit = one.blocks[ours].follows is not None or other.blocks[theirs].follows is not None
    if explicit and partner.get(after, after) != before:
        yield f"follows {_place(after)}, not {_place(before)}"


def _place(index: int) -> str:
    return "the input" if index < 0 else f"block {index}"


def _in_words(changes: Iterable[_Change]) -> list[str]:
    """A sentence for each change; blocks of one op of which the same is said are named together."""
    found: dict[tuple[str, str, bool], list[int]] = {}
    for change in changes:
        found.setdefault((change.op, change.words, change.second), []).append(change.index)
    return [
        f"{_named(indices)}{' of the second' if second else ''} ({op}): {words}"
        for (op, words, second), indices in found.items()
    ]


def _named(indices: Sequence[int]) -> str:
    """As in ``block 3``, ``blocks 1, 2 and 5``."""
    if len(indices) == 1:
        return f"block {indices[0]}"
    return f"blocks {', '.join(map(str, indices[:-1]))} and {indices[-1]}"


def _of_modules(one: Architecture, other: Architecture) -> list[str]:
    """Of networks of which one at least is a module of the user's own."""
    if not isinstance(one, ModuleArchitecture) or not isinstance(other, ModuleArchitecture):
        return [f"another kind of network: {one} to {other}"]
    if one.factory != other.factory:
        return [f"made by {other.factory}, not by {one.factory}"]
    names = dict.fromkeys((*one.arguments, *other.arguments))
    return [
        f"{name}: {one.arguments.get(name)} to {other.arguments.get(name)}"
        for name in names
        if one.arguments.get(name) != other.arguments.get(name)
    ]


def _of_heads(one: Architecture, other: Architecture) -> list[str]:
    ours, theirs = ({head.name: head for head in each.heads} for each in (one, other))
    said = [f"{_head(name)}: left out" for name in ours if name not in theirs]
    said += [f"{_head(name)}: new, {head.outputs:,} outputs" for name, head in theirs.items() if name not in ours]
    for name in (name for name in ours if name in theirs):
        before, after = ours[name], theirs[name]
        if before.outputs != after.outputs:
            said.append(f"{_head(name)}: outputs {before.outputs:,} to {after.outputs:,}")
        if (before.tied is None) != (after.tied is None):
            words = "own weights" if after.tied is None else f"uses the weights of block {after.tied}"
            said.append(f"{_head(name)}: {words}")
    return said


def _head(name: str) -> str:
    return "head" if name == "head" else f"head {name}"
