"""How important each unit of a user's own module is: the criteria of ``importance.py``."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UsageError, one_of
from .importance import CRITERIA, rank_of
from .module_groups import ModuleGroup, joined


def module_scores(
    module: nn.Module,
    groups: Sequence[ModuleGroup],
    criterion: str = "l1",
    *,
    gradients: Iterable[Mapping[str, Tensor]] | None = None,
    seed: int = 0,
) -> dict[str, Tensor]:
    """The importance of each unit of each group, (units,) on the CPU; see ``unit_scores`` for the arguments."""
    one_of("criterion", criterion, CRITERIA)
    if criterion == "random":
        draw = torch.Generator().manual_seed(seed)
        return {group.layer: torch.rand(group.size, generator=draw) for group in groups}
    if criterion == "taylor":
        return _taylor(module, groups, gradients)
    rank = rank_of(criterion)
    scores = {}
    for group in groups:
        scales = _scales(module, group) if criterion == "bn_scale" else []
        scores[group.layer] = torch.stack(scales).sum(0) if scales else rank(_rows(module, group, reads=False))
    return scores


def _taylor(
    module: nn.Module, groups: Sequence[ModuleGroup], gradients: Iterable[Mapping[str, Tensor]] | None
) -> dict[str, Tensor]:
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    first = {name: names[id(it)] for name, it in module.named_parameters(remove_duplicate=False)}
    squares = {group.layer: torch.zeros(group.size) for group in groups}
    count = 0
    for each in gradients or ():
        count += 1
        by_any_name = {name: each[known] for name, known in first.items() if known in each}
        for group in groups:
            rows = _rows(module, group, reads=True, times=by_any_name)
            squares[group.layer] += sum((part.sum((1, 2)) for part in rows), torch.zeros(group.size)).square()
    if not count:
        raise UsageError('the criterion "taylor" needs the gradients of the loss, none came: give loss_gradients(…)')
    return {layer: (square / count).sqrt() for layer, square in squares.items()}


def _rows(
    module: nn.Module, group: ModuleGroup, *, reads: bool, times: Mapping[str, Tensor] | None = None
) -> list[Tensor]:
    """What the matrices that make the units, or read them, have of each: (units, places, numbers).

    times: what the weights are multiplied by; those that are not named are left out.
    """
    found = []
    for part in group.parts:
        for tensor, dim in part.tensors.items():
            name = joined(part.layer, tensor)
            owner, _, attribute = name.rpartition(".")
            weight: Tensor = getattr(module.get_submodule(owner), attribute)
            if weight.dim() < 2 or part.reads != reads or (times is not None and name not in times):
                continue
            found.append(_of_units(weight if times is None else weight * times[name], part.at, dim))
    return found


def _scales(module: nn.Module, group: ModuleGroup) -> list[Tensor]:
    return [
        _of_units(module.get_parameter(joined(part.layer, "weight")), part.at, 0).abs().sum((1, 2))
        for part in group.parts
        if "weight" in part.tensors and isinstance(module.get_submodule(part.layer), _BatchNorm)
    ]


def _of_units(tensor: Tensor, at: Tensor, dim: int) -> Tensor:
    """(units, places of a unit, all else), on the CPU."""
    along = tensor.detach().cpu().movedim(dim, 0)
    places = at % len(along)  # a grouped convolution has the inputs of one group only
    return along[places].reshape(*places.shape, -1)
