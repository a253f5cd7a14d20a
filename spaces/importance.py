"""How important each unit of a network is, so that those that matter least can leave.

The filter of a unit is all the weights that make it: its rows, in every layer that adds to it, and in an embedding its
column. All users of a shared weight are in it once.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UsageError, one_of
from .builder import Network
from .groups import Axis, Groups, Unit, network_axes, width_groups

CRITERIA = ("l1", "l2", "geometric_median", "bn_scale", "taylor", "random")
Filters = list[Tensor]  # each (units, rows of a unit, numbers in a row)


def unit_scores(
    network: Network, criterion: str = "l1", *, gradients: Iterable[Mapping[str, Tensor]] | None = None, seed: int = 0
) -> dict[Unit, Tensor]:
    """The importance of each unit of each group that may lose some: (units,) on the CPU; the lowest leave first.

    ``l1``, ``l2``: the norm of the filter (Li et al. 2017, "Pruning Filters for Efficient ConvNets", section 3.1).
    ``geometric_median``: the sum of the distances to the other filters (He et al. 2019, FPGM, eq. 6).
    ``bn_scale``: the absolute scales of its batch normalisations (Liu et al. 2017, "Network Slimming", section 3);
    where a group has none, the l1 norm.
    ``taylor``: what the loss changes to first order if the weights that read the unit become 0, which is the sum of
    weight times gradient (Molchanov et al. 2019, eq. 8); of several gradients the root of the mean square. gradients:
    of the loss of each example, by the parameter's name. In their mean, which training brings to 0, little is left.
    ``random``: the control, from ``seed``.
    """
    one_of("criterion", criterion, CRITERIA)
    groups = width_groups(network.architecture)
    if criterion == "random":
        draw = torch.Generator().manual_seed(seed)
        return {group: torch.rand(size, generator=draw) for group, size in groups.prunable.items()}
    if criterion == "taylor":
        return _taylor(network, groups, gradients)
    rank = rank_of(criterion)
    scores = {group: rank(filters) for group, filters in _filters(network, groups).items()}
    return {**scores, **_scales(network, groups)} if criterion == "bn_scale" else scores


def rank_of(criterion: str) -> Callable[[Filters], Tensor]:
    """How a criterion makes one score of the filters (units, places, numbers) of each unit of a group."""
    return {"l2": _l2, "geometric_median": _distances}.get(criterion, _l1)


def _l1(filters: Filters) -> Tensor:
    score = torch.zeros(len(filters[0]))
    for rows in filters:
        score += rows.abs().sum(2).cpu().sum(1)
    return score


def _l2(filters: Filters) -> Tensor:
    return _flat(filters).square().sum(1).sqrt()


def _distances(filters: Filters) -> Tensor:
    flat = _flat(filters)
    return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


def _flat(filters: Filters) -> Tensor:
    return torch.cat([rows.flatten(1).float().cpu() for rows in filters], 1)


def _filters(network: Network, groups: Groups) -> dict[Unit, Filters]:
    """The filters of the units of each group."""
    state = network.state_dict()
    found: dict[Unit, Filters] = {group: [torch.zeros(size, 1, 0)] for group, size in groups.prunable.items()}
    for axis in network_axes(network.architecture):
        weight = state[axis.tensor]
        if weight.dim() > 1 and _makes(axis, groups):
            found[axis.group].append(_of_units(weight, axis, groups))
    return found


def _makes(axis: Axis, groups: Groups) -> bool:
    """Whether a matrix makes the units along this axis. What follows the width that comes only reads them.

    But in sequences, where the rows of a transformer's branches are added to what comes.
    """
    if axis.group in groups.sequences:
        return axis.dim == 0 or axis.number == "width"
    return axis.dim == 0 and axis.number != "in_width"


def _scales(network: Network, groups: Groups) -> dict[Unit, Tensor]:
    """The sum of the absolute scales of the batch normalisations of each group that has one."""
    found: dict[Unit, Tensor] = {}
    for axis in network_axes(network.architecture):
        module, _, name = axis.tensor.rpartition(".")
        if name == "weight" and isinstance(network.get_submodule(module), _BatchNorm):
            scale = _of_units(network.state_dict()[axis.tensor], axis, groups).abs().sum((1, 2)).cpu()
            found[axis.group] = found.get(axis.group, 0) + scale
    return found


def _taylor(network: Network, groups: Groups, gradients: Iterable[Mapping[str, Tensor]] | None) -> dict[Unit, Tensor]:
    state, axes = network.state_dict(), network_axes(network.architecture)
    read = [axis for axis in axes if state[axis.tensor].dim() > 1 and not _makes(axis, groups)]
    squares = {group: torch.zeros(size) for group, size in groups.prunable.items()}
    count = 0
    for each in gradients or ():
        count += 1
        changes: dict[Unit, Tensor] = {}
        for axis in read:
            if axis.tensor in each:
                change = _of_units(state[axis.tensor] * each[axis.tensor], axis, groups).sum((1, 2))
                changes[axis.group] = changes[axis.group] + change if axis.group in changes else change
        for group, change in changes.items():
            squares[group] = squares[group].to(change.device) + change.square()
    if not count:
        raise UsageError('the criterion "taylor" needs the gradients of the loss, none came: give loss_gradients(…)')
    return {group: (square / count).sqrt().cpu() for group, square in squares.items()}


def _of_units(tensor: Tensor, axis: Axis, groups: Groups) -> Tensor:
    """(units, places of a unit along the axis, all else)."""
    along = tensor.detach().movedim(axis.dim, 0)
    return along.reshape(groups.size[axis.group], along.shape[0] // groups.size[axis.group], -1)
