"""Unstructured sparsity: which weights become zero, as masks by parameter name, so that the network stays plain."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .blocks.sequences import LearnedPositions
from .compression import check_pattern

Masks = Mapping[str, Tensor]  # by parameter name, of its shape: bool, True stays
WHOLE = (nn.LayerNorm, nn.RMSNorm, LearnedPositions)  # though their weights may have two dimensions
INPUTS_FIRST = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Sparsity:
    """What becomes zero when a training phase begins, and stays so.

    share: of the weights that can be masked, above 0 and below 1; with a pattern N:M it is 1 - N/M, and may be left 0.
    pattern: the smallest weights of all (``global``) or of each layer (``layer``), or all but N of each M in a row.
    gradual: the share grows while the phase lasts instead (Zhu & Gupta 2017).
    """

    share: float
    pattern: str = "global"
    gradual: bool = False

    def __post_init__(self) -> None:
        _final_share(self.share, self.pattern)

    def masks(self, network: nn.Module, *, progress: float = 1.0) -> dict[str, Tensor]:
        """Masks for this part of the final share, 0 to 1: those of N:M leave the largest of their zeros for later."""
        if progress >= 1:
            return masks_of(network, self.share, pattern=self.pattern)
        share = progress * _final_share(self.share, self.pattern)
        weights = {name: weight for name, weight, _ in _maskable(network)}
        if ":" not in self.pattern:
            return _smallest(weights, share, self.pattern)
        final = masks_of(network, self.share, pattern=self.pattern)
        leaving = {name: weights[name].abs().masked_fill(mask, torch.inf) for name, mask in final.items()}
        return _smallest(leaving, share, "global")


def masks_of(network: nn.Module, sparsity: float, *, pattern: str = "global") -> dict[str, Tensor]:
    """Masks that zero this share of the weights, those of the smallest magnitude (Han et al. 2015, section 3).

    The weights are the parameters of two or more dimensions: of convolutions, linear layers, attention and token
    embeddings. Biases, normalisation, learned positions and parameters of a user's own without "weight" in their name
    (as a class token) stay whole and do not count. ``layer`` leaves at least one weight in each. ``N:M`` leaves N of
    every M weights along the inputs (Mishra et al. 2021), and layers whose inputs are no multiple of M whole. A weight
    that is used twice has one mask. UsageError for a share outside 0 to 1, an impossible pattern, and if nothing can
    be masked.
    """
    share = _final_share(sparsity, pattern)
    found = list(_maskable(network))
    if ":" not in pattern:
        masks = _smallest({name: weight for name, weight, _ in found}, share, pattern)
    else:
        stay, of = map(int, pattern.split(":"))
        masks = {name: _n_of_m(weight, stay, of, dim) for name, weight, dim in found if weight.shape[dim] % of == 0}
    if not masks:
        raise UsageError(
            f"no layer of this network can be masked with the pattern {pattern!r}"
            + (": it needs inputs that are a multiple of the second number" if ":" in pattern else "")
        )
    return masks


@torch.no_grad()
def apply_masks(network: nn.Module, masks: Masks) -> None:
    """Set what the masks leave out to zero, in place."""
    for name, mask in masks.items():
        weight = network.get_parameter(name)
        assert weight.shape == mask.shape, f"the mask of {name} is for another network"
        weight.masked_fill_(~mask.to(weight.device), 0.0)


def nonzero_parameters(network: nn.Module) -> int:
    """How many parameters are not zero; a shared one counts once."""
    return sum(int(parameter.count_nonzero()) for parameter in network.parameters())


def _final_share(sparsity: float, pattern: str) -> float:
    check_pattern(pattern)
    number = isinstance(sparsity, int | float) and not isinstance(sparsity, bool)
    if ":" in pattern:
        stay, of = map(int, pattern.split(":"))
        share = 1 - stay / of
        if not number or (sparsity != 0 and not abs(sparsity - share) < 0.01):
            raise UsageError(f"the pattern {pattern} has a sparsity of {share:g}, {sparsity!r} was given: leave it out")
        return share
    if not number or not 0 < sparsity < 1:
        raise UsageError(f"a sparsity is a share of the weights above 0 and below 1, {sparsity!r} was given")
    return float(sparsity)


def _maskable(network: nn.Module) -> Iterator[tuple[str, Tensor, int]]:
    """Name, weight and the dimension of its inputs, each weight once."""
    seen: set[nn.Parameter] = set()
    for path, module in network.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.dim() < 2 or "weight" not in name or isinstance(module, WHOLE) or parameter in seen:
                continue
            seen.add(parameter)
            yield f"{path}.{name}" if path else name, parameter.detach(), 0 if isinstance(module, INPUTS_FIRST) else 1


def _smallest(weights: Mapping[str, Tensor], share: float, pattern: str) -> dict[str, Tensor]:
    """Masks without the smallest magnitudes, of all weights together or of each layer."""
    if pattern == "layer":
        return {
            name: _without_smallest(weight.flatten(), min(round(share * weight.numel()), weight.numel() - 1)).view(
                weight.shape
            )
            for name, weight in weights.items()
        }
    if not weights:
        return {}
    together = torch.cat([weight.flatten() for weight in weights.values()])
    mask = _without_smallest(together, round(share * len(together)))
    parts = torch.split(mask, [weight.numel() for weight in weights.values()])
    return {name: part.view(weights[name].shape) for name, part in zip(weights, parts, strict=True)}


def _without_smallest(weights: Tensor, count: int) -> Tensor:
    """A mask (N,) without the ``count`` smallest magnitudes of weights (N,)."""
    mask = torch.ones_like(weights, dtype=torch.bool)
    mask[weights.abs().topk(count, largest=False).indices] = False
    return mask


def _n_of_m(weight: Tensor, stay: int, of: int, dim: int) -> Tensor:
    """A mask that leaves the ``stay`` largest magnitudes of each ``of`` in a row along ``dim``."""
    rows = weight.abs().movedim(dim, -1)
    groups = rows.reshape(-1, of)
    mask = torch.zeros_like(groups, dtype=torch.bool)
    mask.scatter_(1, groups.topk(stay, dim=1).indices, value=True)
    return mask.view(rows.shape).movedim(-1, dim).contiguous()
