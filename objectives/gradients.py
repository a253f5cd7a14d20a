"""The gradient of the loss, by which units are ranked."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .tasks import Data
from .training import loss_of


def loss_gradients(
    network: nn.Module, data: Data, *, examples: int = 256, seed: int = 0
) -> Iterator[dict[str, Tensor]]:
    """The gradient of the loss by each parameter's name, for one random example of the train split after the other.

    The network answers as in evaluation, without dropout and with the batch normalisation's kept statistics, and is
    left as it was. It and the data are on one device. examples: all, if there are fewer; seed: which ones.
    """
    if examples < 1:
        raise UsageError(f"a gradient needs at least 1 example, {examples} were asked for")
    rows = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:examples]
    named = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    for x, labels in data.train.batches(1, rows):
        with _evaluation(network), torch.enable_grad():
            loss = loss_of(network(x), labels, data)
            found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
        yield dict(zip(named, found, strict=True))


@contextmanager
def _evaluation(network: nn.Module) -> Iterator[None]:
    """Every module answers as in evaluation, and is as it was afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
