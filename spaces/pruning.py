"""Structured pruning: channels, hidden units and attention heads leave physically, and the result is an ordinary
architecture.

Which units leave together follows from the architecture alone (``groups.py``), which of them leave from their
importance (``importance.py``), and how many from a ratio or a bound.
"""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..errors import InvalidArchitecture, UsageError, one_of
from .architecture import Architecture
from .block import Block
from .builder import Network, build
from .groups import INNER, Groups, Unit, network_axes, width_groups
from .importance import unit_scores

SCOPES = ("layer", "global")
LEAST = 0.1  # share of each group that stays however the units of all layers compete: no layer collapses
Scores = Mapping[Unit, Tensor]


def pruned_architecture(architecture: Architecture, ratio: float) -> Architecture:
    """The architecture after ``ratio`` (0 up to, not including, 1) of each layer's units has left.

    Units are channels, hidden units and attention heads; at least one of each layer stays. The input, the answers, the
    width of sequences, the units of a squeeze and excitation and the channels of grouped convolutions are never pruned
    so, nor is what cannot be built.
    """
    if ratio == 0:
        return architecture
    _check_ratio(ratio)
    return _pruned_architecture(architecture, ratio)


@lru_cache(maxsize=256)
def _pruned_architecture(architecture: Architecture, ratio: float) -> Architecture:
    groups = _groups_to_prune(architecture, ratio)
    return architecture if groups is None else _resized(architecture, _shares(groups, ratio))


def prunes(architecture: Architecture, ratio: float) -> bool:
    """Whether ``pruned_architecture`` would be another one; asked in every trial, so without making that."""
    groups = _groups_to_prune(architecture, ratio)
    return groups is not None and any(size < groups.size[group] for group, size in _shares(groups, ratio).items())


def _groups_to_prune(architecture: Architecture, ratio: float) -> Groups | None:
    """None where nothing is to be pruned, or cannot be built: whoever builds it hears why."""
    if ratio != 0:
        _check_ratio(ratio)
    try:
        return width_groups(architecture) if ratio else None
    except InvalidArchitecture:
        return None


def _shares(groups: Groups, ratio: float) -> dict[Unit, int]:
    """How many units stay of each group, if each loses the same share."""
    return {group: _staying(size, ratio) for group, size in groups.prunable.items() if group not in groups.spared}


def _staying(size: int, ratio: float) -> int:
    """How many units of a layer stay."""
    return max(1, size - int(size * ratio))


def global_target(architecture: Architecture, scores: Scores, ratio: float) -> Architecture:
    """The architecture after ``ratio`` (above 0, below 1) of all units has left, those with the lowest scores.

    scores: from ``unit_scores``, which are divided by the mean of their group here, so that layers of other sizes
    compete fairly. A tenth of each group stays, and at least one unit, so that less may leave than was asked for.
    """
    _check_ratio(ratio)
    order = _order(architecture, scores)
    units = sum(width_groups(architecture).prunable.values())
    return _without(architecture, order[: int(units * ratio)])


def target_within(
    architecture: Architecture, scores: Scores, fits: Callable[[Architecture], bool], *, scope: str = "global"
) -> Architecture:
    """The least pruned architecture for which ``fits`` holds, by bisection: it is asked a dozen times.

    A smaller network is taken to fit wherever a larger one does. scope: one unit after the other leaves, in the order
    of ``global_target``, or each ``layer`` loses the same share. UsageError if even the smallest does not fit.
    """
    one_of("scope", scope, SCOPES)
    order = _order(architecture, scores) if scope == "global" else []
    ratios = _ratios(width_groups(architecture)) if scope == "layer" else []
    most = max(len(order), len(ratios) - 1)

    def target(step: int) -> Architecture:
        if scope == "layer":
            return pruned_architecture(architecture, ratios[step])
        return _without(architecture, order[:step])

    step = bisect_left(range(most + 1), x=True, key=lambda step: bool(fits(target(step))))
    if step > most:
        with torch.device("meta"):
            least = sum(parameter.numel() for parameter in build(target(most)).parameters())
        raise UsageError(
            f"pruning must reach the bound, and the smallest network that it reaches, of {least} parameters, does not "
            "fit: allow more, or begin with a smaller network"
        )
    return target(step)


def prune(network: nn.Module, target: Architecture, scores: Scores | None = None) -> Network:
    """A new, smaller network with those units of ``network`` that have the highest scores.

    network: one that was built of blocks; it is not changed. target: its own architecture with smaller sizes. scores:
    from ``unit_scores``, by default of the l1 norms.
    """
    assert isinstance(network, Network)
    architecture, groups = network.architecture, width_groups(network.architecture)
    kept = _kept_units(groups, _sizes(architecture, groups, target), unit_scores(network) if scores is None else scores)
    state = network.state_dict()
    for axis in network_axes(architecture):
        value, stay = state[axis.tensor], kept[axis.group]
        places = value.shape[axis.dim] // groups.size[axis.group]
        spread = (stay[:, None] * places + torch.arange(places)).flatten()
        state[axis.tensor] = value.index_select(axis.dim, spread.to(value.device))
    smaller = build(target, seed=0)
    assert isinstance(smaller, Network)
    smaller.load_state_dict({name: value.clone() for name, value in state.items()}, assign=True)
    return smaller.to(next(network.parameters()).device).train(network.training)


def _kept_units(groups: Groups, sizes: Mapping[Unit, int], scores: Scores) -> dict[Unit, Tensor]:
    """The numbers of the units of each group that stay, in their order."""
    return {group: torch.topk(scores[group], sizes[group]).indices.sort().values for group in groups.prunable}


def _sizes(architecture: Architecture, groups: Groups, target: Architecture) -> dict[Unit, int]:
    """How many units of each group the target has. UsageError unless it is the architecture with smaller sizes."""
    sizes = {
        groups.of(architecture.owner(index), number): int(smaller.args[number])
        for index, (block, smaller) in enumerate(zip(architecture.blocks, target.blocks, strict=False))
        for number in ("width", *INNER)
        if block.args.get(number) and number in smaller.args
    }
    fits = all(sizes.get(group, 0) <= size for group, size in groups.prunable.items())
    if not fits or _resized(architecture, sizes) != target:
        raise UsageError(
            f"a network is pruned to its own architecture with smaller sizes, {target} was given for {architecture}: "
            "use pruned_architecture, global_target or target_within"
        )
    return sizes


def _resized(architecture: Architecture, sizes: Mapping[Unit, int]) -> Architecture:
    """The architecture with other sizes of its groups; those that are not named stay."""
    groups = width_groups(architecture)

    def left(block: Block, index: int) -> dict[str, int]:
        owner = architecture.owner(index)
        units = {name: groups.of(owner, name) for name in ("width", *INNER) if block.args.get(name)}
        return {name: sizes[group] for name, group in units.items() if group in sizes and group not in groups.fixed}

    return architecture.with_blocks(
        [block.resized(**left(block, index)) for index, block in enumerate(architecture.blocks)]
    )


def _order(architecture: Architecture, scores: Scores) -> list[Unit]:
    """The group of each unit that may leave, the least important first."""
    waiting: list[tuple[float, Unit]] = []
    for group, size in width_groups(architecture).prunable.items():
        stays = max(1, math.ceil(size * LEAST))
        score = scores[group].double()
        relative = score / score.mean().clamp_min(1e-30)
        waiting += [(value, group) for value in relative.sort().values[: size - stays].tolist()]
    return [group for _, group in sorted(waiting, key=lambda pair: pair[0])]


def _without(architecture: Architecture, leaving: list[Unit]) -> Architecture:
    """The architecture without a unit of each of these groups."""
    lost, groups = Counter(leaving), width_groups(architecture)
    return _resized(architecture, {group: size - lost[group] for group, size in groups.prunable.items()})


def _ratios(groups: Groups) -> list[float]:
    """The ratios at which another unit leaves some layer, from 0."""
    sizes = {size for group, size in groups.prunable.items() if group not in groups.spared}
    steps = {math.nextafter(lost / size, 1) for size in sizes for lost in range(1, size)}
    return [0.0, *sorted(steps)]


def _check_ratio(ratio: float) -> None:
    if not isinstance(ratio, int | float) or not 0 < ratio < 1:
        raise UsageError(f"a pruning ratio is above 0 and below 1, {ratio!r} was given")
