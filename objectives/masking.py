"""Weights that stay zero while a network trains, whatever gradients, momentum and weight decay ask for."""

from collections.abc import Callable

import torch
from torch import nn

from ..spaces.sparsity import Masks, Sparsity, apply_masks

GROWN = 0.75  # of the phase, after which a gradual sparsity is final and the rest of the weights can settle
UPDATES = 20  # of the masks until then, or at every step if there are fewer


def keep_zero(network: nn.Module, sparsity: Sparsity | Masks, *, steps: int) -> Callable[[], None]:
    """Set the masked weights to zero, and give what is to be called after each of the phase's ``steps``.

    Masks are made of the weights as they are now; gradual ones grow until GROWN of the steps.
    """
    gradual = isinstance(sparsity, Sparsity) and sparsity.gradual and steps > 0
    hold = _Hold(network)
    if not gradual:
        hold.take(sparsity.masks(network) if isinstance(sparsity, Sparsity) else sparsity)
        return hold
    assert isinstance(sparsity, Sparsity)
    last = max(1, int(GROWN * steps))
    every = max(1, last // UPDATES)
    taken = 0

    def grow() -> None:
        nonlocal taken
        taken += 1
        hold()  # first, or the step just taken would have moved zeros up in the ranking
        if taken == last or (taken < last and taken % every == 0):
            hold.take(sparsity.masks(network, progress=grown_share(taken / last)))

    return grow


def grown_share(passed: float) -> float:
    """Part of the final sparsity after this part of the time, each 0 to 1 (Zhu & Gupta 2017, eq. 1, from zero)."""
    return 1 - (1 - passed) ** 3


class _Hold:
    """Calling it sets what the last masks leave out to zero."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._zero: list[tuple[nn.Parameter, torch.Tensor]] = []

    def take(self, masks: Masks) -> None:
        apply_masks(self._network, masks)
        weights = [(self._network.get_parameter(name), mask) for name, mask in masks.items()]
        self._zero = [(weight, ~mask.to(weight.device)) for weight, mask in weights]

    @torch.no_grad()
    def __call__(self) -> None:
        for weight, zero in self._zero:
            weight.masked_fill_(zero, 0.0)
