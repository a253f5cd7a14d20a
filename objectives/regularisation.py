"""Dropout from outside: hooks on a network that exist while it trains, so that what is exported knows nothing of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from ..spaces import Network
from ..spaces.blocks.rows import LinearBlock, ResidualLinear
from ..spaces.blocks.sequences import Attention, FeedForward, ImagePatches, SignalPatches, TokenEmbedding

DROPPED = (LinearBlock, TokenEmbedding, SignalPatches, ImagePatches, Attention, FeedForward)  # what leaves these


@contextmanager
def dropout(network: nn.Module, share: float) -> Iterator[None]:
    """Zero this share of features in training mode within this block (Srivastava et al. 2014).

    They are what leaves a linear block, an embedding, or a residual branch of rows and sequences before it is added,
    as in transformers (Vaswani et al. 2017, section 5.4), and what comes into a head that has weights of its own. In a
    module of the user's own the rate of each ``nn.Dropout`` is set. A share of 0 leaves everything as it is.
    """
    if not share:
        yield
        return
    if not isinstance(network, Network):
        with _rates(network, share):
            yield
        return
    hooks = _hooks(network, share)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _hooks(network: Network, share: float) -> list[RemovableHandle]:
    after, before = partial(_drop_output, share), partial(_drop_input, share)
    leaving: list[nn.Module] = [module for module in network.modules() if isinstance(module, DROPPED)]
    leaving += [module.leave for module in network.modules() if isinstance(module, ResidualLinear)]
    hooks = [module.register_forward_hook(after) for module in leaving]
    blocks = network.architecture.blocks
    for head in network.architecture.heads:
        source = network.architecture.head_source(head)
        if head.tied is None and not (source >= 0 and blocks[source].op == "linear"):  # that one drops already
            hooks.append(network.get_submodule(head.name).register_forward_pre_hook(before))
    return hooks


def _drop_output(share: float, module: nn.Module, _: Any, output: torch.Tensor) -> torch.Tensor:
    return nn.functional.dropout(output, share, training=module.training)


def _drop_input(share: float, module: nn.Module, inputs: tuple[torch.Tensor]) -> torch.Tensor:
    return nn.functional.dropout(inputs[0], share, training=module.training)


@contextmanager
def _rates(network: nn.Module, share: float) -> Iterator[None]:
    """Set the rate of the module's own dropout, and set it back."""
    own = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    before = [module.p for module in own]
    for module in own:
        module.p = share
    try:
        yield
    finally:
        for module, rate in zip(own, before, strict=True):
            module.p = rate
