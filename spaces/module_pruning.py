"""Structured pruning of a user's own module: units leave physically, and what is left is a module of the same class.

A cut is believed only if it gives the answers of the whole module in which the units that leave are set to zero; that
is tried on the module itself before anything leaves, and again on what is left.
"""

import copy
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .module_groups import SIZES, STATISTICS, ModuleGroup, Whole, first_line, joined, module_groups

SHOWN = 3  # layers that stay whole, in a message; all of them are in the card
LEAST = 0.1  # share of each group that stays, as in pruning.py
TOLERANCE = 1e-3  # of the answers' spread: more than that is no rounding
Leaving = Mapping[str, Sequence[int]]  # the units that leave, by the layer that calls their group
Sizes = dict[str, dict[str, int]]  # the attributes of layers that pruning changed, by the layer's name


def prunable_groups(module: nn.Module, example: Tensor) -> tuple[list[ModuleGroup], Whole]:
    """The groups of ``module_groups`` of which a cut is proven, and why other layers stay whole."""
    groups, whole = module_groups(module, example)
    if _fault(module, groups, _half(groups), example) is None:
        return groups, whole
    proven = []
    for group in groups:
        fault = _fault(module, [group], _half([group]), example)
        if fault is None:
            proven.append(group)
        else:
            whole[group.layer] = fault
    return proven, whole


def leaving_order(groups: Sequence[ModuleGroup], scores: Mapping[str, Tensor]) -> list[tuple[str, int]]:
    """All units that may leave, the least important first, each with its group.

    Scores are divided by the mean of their group, so that layers of other sizes compete fairly. A tenth of each group
    stays, and at least one unit.
    """
    waiting: list[tuple[float, str, int]] = []
    for group in groups:
        score = scores[group.layer].double()
        relative, units = (score / score.mean().clamp_min(1e-30)).sort()
        loses = group.size - max(1, math.ceil(group.size * LEAST))
        named = [group.layer] * loses
        waiting += zip(relative.tolist(), named, units.tolist(), strict=False)
    return [(layer, unit) for _, layer, unit in sorted(waiting, key=lambda one: one[0])]


def pruned_within(
    module: nn.Module,
    example: Tensor,
    groups: Sequence[ModuleGroup],
    scores: Mapping[str, Tensor],
    fits: Callable[[nn.Module], bool],
    *,
    whole: Whole | None = None,
) -> tuple[nn.Module, Leaving]:
    """The least pruned copy for which ``fits`` holds, by bisection, and which units left it.

    whole: why other layers lose none. UsageError if the smallest that there is does not fit, or if what is left does
    not answer as it should.
    """
    order = leaving_order(groups, scores)
    step = bisect_left(
        range(len(order) + 1), 1, key=lambda step: int(fits(without(module, groups, _grouped(order[:step]))))
    )
    if step > len(order):
        smallest = without(module, groups, _grouped(order))
        least = sum(parameter.numel() for parameter in smallest.parameters() if parameter.requires_grad)
        reasons = "".join(f"; {layer} stays whole: {why}" for layer, why in list((whole or {}).items())[:SHOWN])
        raise UsageError(
            "pruning must reach the bound, and the smallest module that it reaches, of "
            f"{least} parameters, does not fit: allow more, or begin with a smaller one{reasons}"
        )
    leaving = _grouped(order[:step])
    fault = _fault(module, groups, leaving, example)
    if fault is not None:
        raise UsageError(f"the units chosen cannot leave {', '.join(leaving)} together: {fault}")
    return without(module, groups, leaving), leaving


def without(module: nn.Module, groups: Sequence[ModuleGroup], leaving: Leaving) -> nn.Module:
    """A copy of the module without these units. What is one parameter stays one."""
    smaller, gone = copy.deepcopy(module), _gone(groups, leaving)
    cut: dict[int, nn.Parameter] = {}
    kept = []  # of what was replaced, so that no other gets its id
    for (layer, tensor), dims in gone.tensors.items():
        owner, name = _owner(smaller, layer, tensor)
        old = getattr(owner, name)
        kept.append(old)
        new = old.detach()
        for dim, places in dims.items():
            new = new.index_select(dim, _stay(new.shape[dim], places).to(new.device))
        if isinstance(old, nn.Parameter):
            new = cut.setdefault(id(old), nn.Parameter(new, requires_grad=old.requires_grad))
        setattr(owner, name, new)
    for (layer, size), places in gone.sizes.items():
        owner = smaller.get_submodule(layer)
        old = getattr(owner, size)
        setattr(owner, size, (old[0] - len(places),) if isinstance(old, tuple) else old - len(places))
    return smaller


@dataclass(frozen=True)
class _Gone:
    """Where units lie that leave: in the dimensions of the tensors, and among what the layers' attributes count."""

    tensors: dict[tuple[str, str], dict[int, set[int]]]
    sizes: dict[tuple[str, str], set[int]]


def _gone(groups: Sequence[ModuleGroup], leaving: Leaving) -> _Gone:
    gone = _Gone({}, {})
    for group in groups:
        for part in group.parts if leaving.get(group.layer) else ():
            places = part.at[list(leaving[group.layer])].flatten().tolist()
            for tensor, dim in part.tensors.items():
                gone.tensors.setdefault((part.layer, tensor), {}).setdefault(dim, set()).update(places)
            for size in part.sizes:
                gone.sizes.setdefault((part.layer, size), set()).update(places)
    return gone


def _stay(size: int, places: set[int]) -> Tensor:
    """Which indices of a dimension are not among the places. A grouped convolution has the inputs of one group only."""
    gone = {place % size for place in places}
    return torch.tensor([index for index in range(size) if index not in gone], dtype=torch.int64)


def changed_sizes(module: nn.Module, smaller: nn.Module) -> Sizes:
    """The attributes that differ between a module and what is left of it. A tuple of one number is that number."""
    found: Sizes = {}
    for name, layer in smaller.named_modules():
        for size in SIZES:
            was, now = (_number(getattr(one, size, None)) for one in (module.get_submodule(name), layer))
            if now is not None and was != now:
                found.setdefault(name, {})[size] = now
    return found


def channels(groups: Sequence[ModuleGroup], leaving: Leaving) -> list[tuple[str, bool, list[int]]]:
    """What left, as torch-pruning's history says it: the layer, whether of its outputs, and which of them."""
    said = []
    for group in groups:
        if leaving.get(group.layer):
            (at,) = (part.at for part in group.parts if part.layer == group.layer and not part.reads)
            said.append((group.layer, True, sorted(at[list(leaving[group.layer])].flatten().tolist())))
    return said


def resize(module: nn.Module, sizes: Sizes, tensors: Mapping[str, Tensor]) -> None:
    """Give a module the sizes and tensors of one of its class that was pruned, in place.

    UsageError if they are not of such a module; then it may be changed in part.
    """
    there = module.state_dict()
    if there.keys() != tensors.keys():
        other = sorted(there.keys() ^ tensors.keys())
        raise UsageError(f"the tensors are of another module, they differ in {', '.join(other[:3])}: make the same one")
    for name, tensor in tensors.items():
        was = there[name].shape
        if len(was) != tensor.dim() or any(new > old for new, old in zip(tensor.shape, was, strict=True)):
            raise UsageError(
                f"a pruned module is smaller than the one that it is of, {name} has the shape {tuple(tensor.shape)} "
                f"and here {tuple(was)}: make the module with the same arguments"
            )
    made: dict[int, nn.Parameter] = {}
    kept = []
    for name, tensor in tensors.items():
        owner, attribute = _owner(module, *name.rpartition(".")[::2])
        old = getattr(owner, attribute)
        kept.append(old)
        if isinstance(old, nn.Parameter):
            new = made.setdefault(id(old), nn.Parameter(tensor, requires_grad=old.requires_grad))
        setattr(owner, attribute, new if isinstance(old, nn.Parameter) else tensor)
    for layer, numbers in sizes.items():
        owner = module.get_submodule(layer)
        for size, number in numbers.items():
            setattr(owner, size, (number,) if isinstance(getattr(owner, size), tuple) else number)


def _half(groups: Sequence[ModuleGroup]) -> Leaving:
    """About half of the units, at random, such that what is left has no divisor in common with what was there."""
    draw = torch.Generator().manual_seed(0)
    leaving = {}
    for group in groups:
        stays = next(count for count in range(group.size // 2 + 1, group.size) if math.gcd(count, group.size) == 1)
        leaving[group.layer] = torch.randperm(group.size, generator=draw)[stays:].tolist()
    return leaving


def _grouped(units: Sequence[tuple[str, int]]) -> dict[str, list[int]]:
    grouped: dict[str, list[int]] = {}
    for layer, unit in units:
        grouped.setdefault(layer, []).append(unit)
    return grouped


@torch.no_grad()
def _fault(module: nn.Module, groups: Sequence[ModuleGroup], leaving: Leaving, example: Tensor) -> str | None:
    """What is wrong with a cut. None if it answers as the module in which the units that leave are zero."""
    try:
        found = _by_name(without(module, groups, leaving).eval()(example))
        wanted = _by_name(_silenced(module, groups, leaving).eval()(example))
    except Exception as error:  # noqa: BLE001 - whatever the module raises is why these units stay
        return f"it does not run without some of its units ({first_line(error)})"
    for head, want in wanted.items():
        if head not in found or found[head].shape != want.shape:
            return "without some of its units the answers have another shape"
        allowed = TOLERANCE * float(want.std(unbiased=False)) + 1e-5 * float(want.abs().max())
        if float((found[head] - want).abs().max()) > allowed:
            return "to take some of its units out is not the same as to set them to zero"
    return None


def _silenced(module: nn.Module, groups: Sequence[ModuleGroup], leaving: Leaving) -> nn.Module:
    """A copy with these units at zero, in which normalisations over features leave them out."""
    silent, gone = copy.deepcopy(module), _gone(groups, leaving)
    for (layer, tensor), dims in gone.tensors.items():
        owner, name = _owner(silent, layer, tensor)
        value = getattr(owner, name)
        for dim, places in dims.items() if name not in STATISTICS else ():
            zero = torch.tensor(sorted({place % value.shape[dim] for place in places}), device=value.device)
            value.data.index_fill_(dim, zero, 0)
    for (layer, size), places in gone.sizes.items():
        norm = silent.get_submodule(layer)
        if isinstance(norm, nn.LayerNorm | nn.RMSNorm | nn.GroupNorm):
            norm.forward = partial(_normalised, norm, _stay(_number(getattr(norm, size)) or 0, places))  # type: ignore[method-assign]
    return silent


def _normalised(layer: nn.LayerNorm | nn.RMSNorm | nn.GroupNorm, stays: Tensor, x: Tensor) -> Tensor:
    """What a normalisation gives for the features that stay, and zeros."""
    dim = 1 if isinstance(layer, nn.GroupNorm) else -1
    kept, answer = x.index_select(dim, stays), torch.zeros_like(x)
    weight = None if layer.weight is None else layer.weight[stays]
    if isinstance(layer, nn.RMSNorm):
        return answer.index_copy(dim, stays, nn.functional.rms_norm(kept, (len(stays),), weight, layer.eps))
    bias = None if layer.bias is None else layer.bias[stays]
    if isinstance(layer, nn.GroupNorm):
        normed = nn.functional.group_norm(kept, layer.num_groups, weight, bias, layer.eps)
    else:
        normed = nn.functional.layer_norm(kept, (len(stays),), weight, bias, layer.eps)
    return answer.index_copy(dim, stays, normed)


def _by_name(answers: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    return answers if isinstance(answers, dict) else {"": answers}


def _owner(module: nn.Module, layer: str, tensor: str) -> tuple[nn.Module, str]:
    """The layer that has a tensor, and its name there. layer: its own, or a parameter's with no tensor."""
    owner, _, name = joined(layer, tensor).rpartition(".")
    return module.get_submodule(owner), name


def _number(size: Any) -> int | None:
    """A size as a number, None if it is none."""
    if isinstance(size, tuple) and len(size) == 1:
        size = size[0]
    return size if isinstance(size, int) else None
