"""Training a network, one epoch at a time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ..errors import CandidateFailed
from ..spaces import Training
from ..spaces.sparsity import Masks, Sparsity
from . import lane
from .distillation import Lesson, Student
from .features import Answers
from .masking import keep_zero
from .metrics import by_target, default_metrics, quality
from .regularisation import dropout
from .tasks import Data, Labels, Target

TOO_FEW = "Expected more than 1 value per channel"  # torch's word for a batch normalisation that cannot be

Phase = Literal["train", "finetune"]
Schedule = torch.optim.lr_scheduler.LRScheduler
BatchLoss = Callable[[Answers, Labels, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Epoch:
    """loss: the mean over the epoch's batches. score: the first default metric on the validation split after it.

    seconds: of both.
    """

    phase: Phase
    number: int
    loss: float
    score: float
    seconds: float


def train(
    network: nn.Module,
    data: Data,
    training: Training,
    *,
    seed: int,
    phase: Phase = "train",
    lesson: Lesson | None = None,
    sparsity: Sparsity | Masks | None = None,
) -> Iterator[Epoch]:
    """Train ``network`` in place, where it and the data are, and yield a record after each epoch.

    Whoever stops asking stops the training. All that is random follows from ``seed``, and the global random state is
    left as it was; so on one CPU with one thread count the same call gives the same weights. An incomplete last batch
    waits for the next epoch's shuffle. lesson: what a teacher adds to the loss. sparsity: what becomes zero and stays
    zero at every step, or masks of what stays so from before. Raises CandidateFailed: ``diverged`` after the first
    epoch whose mean loss or score is not finite, ``invalid`` if the network does not answer what the data ask for, or
    normalises over a batch of one example.
    """
    epochs = training.epochs if phase == "train" else training.finetune_epochs
    rate = training.learning_rate * (1.0 if phase == "train" else training.finetune_rate)
    rows = len(data.train)
    batch = min(training.batch_size, rows)
    steps = rows // batch
    student = Student(network, data, lesson, seed=seed) if lesson and (lesson.weight or lesson.features) else None
    learned = [*network.parameters(), *(student.projections.parameters() if student else ())]
    optimizer = _optimizer(learned, training, rate)
    if epochs:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=epochs * steps)
    shuffle, noise = (torch.Generator().manual_seed(seed) for _ in range(2))  # noise leaves the order as it is
    score = default_metrics(data)[0]
    lost = _loss_of_batches(data, training, student)
    after_step = keep_zero(network, sparsity, steps=epochs * steps) if sparsity else lambda: None
    attended = student.attended() if student else nullcontext()
    with attended, _channels_last(network), dropout(network, training.dropout):
        for number in range(epochs):
            with lane.training():  # left while the caller has its turn
                began = time.perf_counter()
                network.train()
                order = torch.randperm(rows, generator=shuffle)[: steps * batch]
                with _randomness(_device(network), int(torch.randint(2**62, (), generator=noise))) as drawn:
                    batches = _changed(data.train.batches(batch, order), data, training.augment, drawn)
                    numbered = zip(batches, torch.split(order, batch), strict=True)
                    loss = _epoch(network, numbered, lost, optimizer, schedule, after_step) / steps
                    if not math.isfinite(loss):
                        where = f"epoch {number + 1} of {epochs} ({phase})"
                        raise CandidateFailed("diverged", f"the loss became {loss} in {where}")
                    value = quality(network, data.validation, data, [score])[score]
            yield Epoch(phase, number, loss, value, time.perf_counter() - began)


def loss_of(answers: Answers, labels: Labels, data: Data, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """The mean loss of a batch, summed over the heads (multi-task learning, Caruana 1997).

    Cross-entropy for classes and, at all positions, for tokens; mean squared error of the standardised number.
    """
    first, *others = (
        _loss(target, answer, label, label_smoothing) for target, answer, label in by_target(answers, labels, data)
    )
    return sum(others, start=first)


def _loss(target: Target, answers: torch.Tensor, labels: torch.Tensor, label_smoothing: float) -> torch.Tensor:
    if target.kind == "number":
        return nn.functional.mse_loss(answers[:, 0], labels)
    if target.kind == "tokens":
        answers, labels = answers.flatten(0, 1), labels.flatten()
    return nn.functional.cross_entropy(answers, labels, label_smoothing=label_smoothing)


def _loss_of_batches(data: Data, training: Training, student: Student | None) -> BatchLoss:
    """The loss of a batch from answers, labels, examples and their numbers in the train split."""
    changed = data.augment is not None and training.augment > 0

    def lost(answers: Answers, labels: Labels, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        hard = loss_of(answers, labels, data, label_smoothing=training.label_smoothing)
        return hard if student is None else student.loss(hard, answers, labels, x, None if changed else rows)

    return lost


def _epoch(
    network: nn.Module,
    batches: Iterable[tuple[tuple[torch.Tensor, Labels], torch.Tensor]],
    lost: BatchLoss,
    optimizer: torch.optim.Optimizer,
    schedule: Schedule,
    after_step: Callable[[], None],
) -> float:
    """Take a step on each batch; the sum of the losses, read once at the end so that a GPU need not wait.

    Between two batches whoever measures time on this host goes first.
    """
    total = torch.zeros((), device=_device(network))
    for (x, labels), rows in batches:
        loss = lost(_answers(network, x), labels, x, rows)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        after_step()
        schedule.step()
        total += loss.detach()
        lane.give_way()
    return total.item()


def _answers(network: nn.Module, x: torch.Tensor) -> Answers:
    try:
        return network(x)  # type: ignore[no-any-return]
    except ValueError as error:
        if len(x) > 1 or not str(error).startswith(TOO_FEW):
            raise
        raise CandidateFailed(
            "invalid",
            "batch normalisation needs several values of each channel, and a batch of 1 example gives one: train with "
            "a batch_size of 2 or more and at least as many examples, or use another normalisation",
        ) from error


def _changed(
    batches: Iterator[tuple[torch.Tensor, Labels]], data: Data, strength: float, generator: torch.Generator
) -> Iterator[tuple[torch.Tensor, Labels]]:
    """The batches with the data's random changes of this strength, if there are any."""
    if data.augment is None or not strength:
        return batches
    augment = data.augment
    return ((augment(x, strength, generator), labels) for x, labels in batches)


@contextmanager
def _randomness(device: torch.device, seed: int) -> Iterator[torch.Generator]:
    """Let modules draw from ``seed``, then give the global random state back. Yields a generator on the device."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        torch.default_generator.manual_seed(seed)
        if on_gpu:
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield torch.Generator(device).manual_seed(seed)


def _device(network: nn.Module) -> torch.device:
    return next(network.parameters()).device


def _optimizer(weights: Iterable[nn.Parameter], training: Training, rate: float) -> torch.optim.Optimizer:
    decay = training.weight_decay
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
