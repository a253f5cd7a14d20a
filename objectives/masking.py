"""Weights that stay zero while a network trains, whatever gradients, momentum and weight decay ask for."""

import torch
from torch import nn

from ..spaces.sparsity import Masks, Sparsity, apply_masks

GROWN = 0.75  # of the phase, after which a gradual sparsity is final and the rest of the weights can settle
UPDATES = 20  # of the masks until then, or at every step if there are fewer


class KeepZero:
    """Sets the masked weights to zero; to be called after each of the phase's ``steps``.

    Masks are made of the weights as they are now; gradual ones grow until GROWN of the steps. masks: those in force.
    taken: steps until now.
    """

    def __init__(self, network: nn.Module, sparsity: Sparsity | Masks, *, steps: int) -> None:
        self._network = network
        self._growing = sparsity if isinstance(sparsity, Sparsity) and sparsity.gradual and steps > 0 else None
        self._last = max(1, int(GROWN * steps))  # step that changes the masks
        self.taken = 0
        self._take(_masks(network, sparsity) if self._growing is None else {})

    def __call__(self) -> None:
        self.taken += 1
        self._hold()  # first, or the step just taken would have moved zeros up in the ranking
        if self._growing and self._grows():
            self._take(self._growing.masks(self._network, progress=grown_share(self.taken / self._last)))

    def load(self, masks: Masks, *, taken: int) -> None:
        """Go on with these masks after so many steps."""
        self.taken = taken
        self._take(masks)

    def _grows(self) -> bool:
        every = max(1, self._last // UPDATES)
        return self.taken == self._last or (self.taken < self._last and self.taken % every == 0)

    def _take(self, masks: Masks) -> None:
        apply_masks(self._network, masks)
        self.masks = masks
        weights = [(self._network.get_parameter(name), mask) for name, mask in masks.items()]
        self._zero = [(weight, ~mask.to(weight.device)) for weight, mask in weights]

    @torch.no_grad()
    def _hold(self) -> None:
        for weight, zero in self._zero:
            weight.masked_fill_(zero, 0.0)


def grown_share(passed: float) -> float:
    """Part of the final sparsity after this part of the time, each 0 to 1 (Zhu & Gupta 2017, eq. 1, from zero)."""
    return 1 - (1 - passed) ** 3


def _masks(network: nn.Module, sparsity: Sparsity | Masks) -> Masks:
    return sparsity.masks(network) if isinstance(sparsity, Sparsity) else sparsity
