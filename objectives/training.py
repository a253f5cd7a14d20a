"""Training a network, one epoch at a time."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..errors import CandidateFailed
from ..spaces import Training
from .tasks import Data, Split

FINETUNE_RATE = 0.3  # peak learning rate of fine-tuning after pruning, as a share of that of training


@dataclass(frozen=True)
class Epoch:
    """loss: mean cross-entropy over the epoch's batches. accuracy: on the validation split after it. seconds: both."""

    phase: Literal["train", "finetune"]
    number: int
    loss: float
    accuracy: float
    seconds: float


def train(
    network: nn.Module,
    data: Data,
    training: Training,
    *,
    seed: int,
    phase: Literal["train", "finetune"] = "train",
) -> Iterator[Epoch]:
    """Train ``network`` in place and yield a record after each epoch; whoever stops asking stops the training.

    The order of the examples follows from ``seed`` alone, so on one CPU with one thread count the same call gives
    the same weights. An incomplete last batch waits for the next epoch's shuffle. Raises CandidateFailed
    (``diverged``) after the first epoch whose mean loss is not finite.
    """
    epochs = training.epochs if phase == "train" else training.finetune_epochs
    rate = training.learning_rate * (1.0 if phase == "train" else FINETUNE_RATE)
    rows = len(data.train.y)
    batch = min(training.batch_size, rows)
    steps = rows // batch
    optimizer = _optimizer(network, training, rate)
    if epochs:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * steps)
    order = torch.Generator().manual_seed(seed)
    with _channels_last(network):
        for number in range(epochs):
            began = time.perf_counter()
            network.train()
            total = torch.zeros((), device=data.train.x.device)
            for picked in torch.randperm(rows, generator=order)[: steps * batch].view(steps, batch):
                index = picked.to(data.train.x.device)
                scores, target = network(data.train.x[index]), data.train.y[index]
                loss = nn.functional.cross_entropy(scores, target, label_smoothing=training.label_smoothing)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                total += loss.detach()
            mean = total.item() / steps
            if not math.isfinite(mean):
                raise CandidateFailed("diverged", f"the loss became {mean} in epoch {number + 1} of {epochs} ({phase})")
            yield Epoch(phase, number, mean, accuracy(network, data.validation), time.perf_counter() - began)


def _optimizer(network: nn.Module, training: Training, rate: float) -> torch.optim.Optimizer:
    weights, decay = network.parameters(), training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
    return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)


@contextmanager
def _channels_last(network: nn.Module) -> Iterator[None]:
    """Convolutions train a fifth faster so (benchmarks/training.py); what leaves has the ordinary layout again."""
    network.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        network.to(memory_format=torch.contiguous_format)


@torch.no_grad()
def accuracy(network: nn.Module, split: Split, *, batch: int = 1024) -> float:
    """The share of examples whose highest score is their label; ``network`` is left in evaluation mode."""
    network.eval()
    right = 0
    for x, y in zip(torch.split(split.x, batch), torch.split(split.y, batch), strict=True):
        right += int((network(x).argmax(1) == y).sum())
    return right / len(split.y)
