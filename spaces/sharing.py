"""Weights in common: over the layers of a network, and over the tasks of several heads."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from .architecture import Head
from .block import Block, can_share, has_weights, is_told_use

SHARING = ("none", "stage", "all", "cycle", "groups")
RESHAPING = ("flatten", "columns")  # blocks that give another width than came without naming it
UNNAMED = -1  # what leaves them: no other width equals it


def share_weights(
    blocks: Sequence[Block], in_width: int, stages: Sequence[int], sharing: str, sets: int = 1
) -> list[Block]:
    """Let blocks of equal shape use the weights of one of them; blocks without weights stay as they are.

    in_width: what comes into the first block. stages: the stage of each block. sharing: ``none``; ``all`` of a shape
    have one set of weights (Universal Transformer, Dehghani et al. 2019; ALBERT, Lan et al. 2020); ``stage``: one in
    each stage; ``cycle`` and ``groups`` of n blocks have ``sets`` sets, of which the i-th block uses number i mod sets,
    or i * sets / n, rounded down (Takase & Kiyono 2021).
    """
    owners = weight_owners(kinds(blocks, in_width), stages, sharing, sets)
    return with_owners(blocks, owners)


def kinds(blocks: Sequence[Block], in_width: int) -> tuple[int, ...]:
    """A number for each block: equal for those that could share weights, because their shape is equal."""
    known: dict[object, int] = {}
    found, width = [], in_width
    for index, block in enumerate(blocks):
        shape = (width, block.alone) if can_share(block.op) else index
        found.append(known.setdefault(shape, len(known)))
        width = UNNAMED if block.op in RESHAPING else block.width or width
    return tuple(found)


def weight_owners(kinds: Sequence[int], stages: Sequence[int], sharing: str, sets: int) -> tuple[int, ...]:
    """For each block the index of the one whose weights it uses, its own if it is the first to use them."""
    if sharing == "none":
        return tuple(range(len(kinds)))
    total, seen = Counter(kinds), Counter[int]()
    first: dict[tuple[int, int], int] = {}
    owners = []
    for index, (kind, stage) in enumerate(zip(kinds, stages, strict=True)):
        place = seen[kind]
        numbers = {"stage": stage, "all": 0, "cycle": place % sets, "groups": place * sets // total[kind]}
        owners.append(first.setdefault((kind, numbers[sharing]), index))
        seen[kind] += 1
    return tuple(owners)


def with_owners(blocks: Sequence[Block], owners: Sequence[int]) -> list[Block]:
    """The blocks, each using the weights of its owner."""
    return [
        block if owner == index else block.replace(follows=block.follows, shares=owner)
        for index, (block, owner) in enumerate(zip(blocks, owners, strict=True))
    ]


def blocks_in_common(blocks: Sequence[Block], share: float) -> int:
    """How many of the first blocks make a trunk that holds a ``share`` (0 to 1) of the layers with weights.

    What each task would do alike behind it belongs to the trunk too: blocks without weights, and blocks that have
    nothing of their own because they use weights of the trunk.
    """
    layers = [index for index, block in enumerate(blocks) if _learns(block)]
    count = int(share * len(layers) + 0.5)
    common = layers[count] if count < len(layers) else len(blocks)
    while common < len(blocks) and not _is_private(blocks[common], common):
        common += 1
    return common


def part_tasks(blocks: Sequence[Block], heads: Sequence[Head], common: int) -> tuple[list[Block], tuple[Head, ...]]:
    """The first ``common`` blocks, then a copy of the others for each head; each head follows its own.

    A copy shares weights as its original does: with the trunk, or inside its own tower.
    """
    parted, ends = list(blocks[:common]), []
    for head in heads:
        moved = len(parted) - common
        for index, block in enumerate(blocks[common:], start=common):
            follows = common - 1 if index == common else None
            parted.append(block.replace(follows=follows, shares=_moved(block.shares, common, moved)))
        ends.append(replace(head, follows=len(parted) - 1, tied=_moved(head.tied, common, moved)))
    return parted, tuple(ends)


def _is_private(block: Block, common: int) -> bool:
    """Whether two tasks that each had a copy of the block behind a trunk would have different ones."""
    if not _learns(block):
        return False
    owns = block.shares is None or block.shares >= common
    return owns or (is_told_use(block.op) and block.args.get("norm") != "none")


def _learns(block: Block) -> bool:
    """Whether a block has weights; those that take tokens or category codes are told no width that comes in."""
    return has_weights(block.op) or block.width is not None or block.op == "columns"


def _moved(index: int | None, common: int, by: int) -> int | None:
    return index if index is None or index < common else index + by
