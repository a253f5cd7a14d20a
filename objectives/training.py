"""Training a network, one epoch at a time."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from ..errors import CandidateFailed
from ..spaces import Training
from ..spaces.sparsity import Masks, Sparsity
from . import lane
from .checkpoint import Checkpoint, Phase, load_tensors
from .distillation import Lesson, Student
from .features import Answers
from .loop import Loop, begin
from .metrics import by_target, default_metrics, quality
from .regularisation import dropout
from .tasks import Data, Labels, Target

TOO_FEW = "Expected more than 1 value per channel"  # torch's word for a batch normalisation that cannot be

BatchLoss = Callable[[Answers, Labels, torch.Tensor, torch.Tensor], torch.Tensor]


def _not_training() -> Checkpoint:
    raise AssertionError("only an epoch that train yields has the state of a training")


@dataclass(frozen=True)
class Epoch:
    """loss: the mean over the epoch's batches. score: the first default metric on the validation split after it.

    seconds: of both. checkpoint: copies the state of the training after it, until the next epoch is asked for.
    """

    phase: Phase
    number: int
    loss: float
    score: float
    seconds: float
    checkpoint: Callable[[], Checkpoint] = field(default=_not_training, repr=False, compare=False)


def train(
    network: nn.Module,
    data: Data,
    training: Training,
    *,
    seed: int,
    phase: Phase = "train",
    lesson: Lesson | None = None,
    sparsity: Sparsity | Masks | None = None,
    resume: Checkpoint | None = None,
    on_batch: Callable[[], None] = lambda: None,
) -> Iterator[Epoch]:
    """Train ``network`` in place, where it and the data are, and yield a record after each epoch.

    Whoever stops asking stops the training. All that is random follows from ``seed``, and the global random state is
    left as it was; so on one CPU with one thread count the same call gives the same weights. An incomplete last batch
    waits for the next epoch's shuffle. lesson: what a teacher adds to the loss. sparsity: what becomes zero and stays
    zero at every step, or masks of what stays so from before. resume: the state that the same call had after an epoch;
    what comes after it is trained and yielded, the same to the last bit. on_batch: is called before each step, and may
    raise. Raises CandidateFailed: ``diverged`` after the first epoch whose mean loss or score is not finite,
    ``invalid`` if the network does not answer what the data ask for, or normalises over a batch of one example;
    BrokenCheckpoint, before it trains, if ``resume`` is of another training.
    """
    epochs = training.epochs if phase == "train" else training.finetune_epochs
    rate = training.learning_rate * (1.0 if phase == "train" else training.finetune_rate)
    rows = len(data.train)
    batch = min(training.batch_size, rows)
    steps = rows // batch
    student = Student(network, data, lesson, seed=seed) if lesson and (lesson.weight or lesson.features) else None
    loop = begin(network, training, student, seed=seed, rate=rate, steps=epochs * steps, sparsity=sparsity)
    score = default_metrics(data)[0]
    lost = _loss_of_batches(data, training, student)
    attended = student.attended() if student else nullcontext()
    with attended, _channels_last(network), dropout(network, training.dropout):
        if resume is not None:
            loop.load(resume)
        for number in range(loop.done, epochs):
            with lane.training():  # left while the caller has its turn
                began = time.perf_counter()
                network.train()
                order = torch.randperm(rows, generator=loop.shuffle)[: steps * batch]
                with _randomness(_device(network), int(torch.randint(2**62, (), generator=loop.noise))) as drawn:
                    batches = _changed(data.train.batches(batch, order), data, training.augment, drawn)
                    numbered = zip(batches, torch.split(order, batch), strict=True)
                    loss = _epoch(loop, numbered, lost, on_batch) / steps
                    if not math.isfinite(loss):
                        where = f"epoch {number + 1} of {epochs} ({phase})"
                        raise CandidateFailed("diverged", f"the loss became {loss} in {where}")
                    value = quality(network, data.validation, data, [score])[score]
                loop.done += 1
            yield Epoch(phase, number, loss, value, time.perf_counter() - began, partial(loop.save, phase))


def restore(network: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give a network the weights and statistics that one like it had after training, laid out as they are then."""
    with _channels_last(network):
        load_tensors(network, tensors)


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
    loop: Loop,
    batches: Iterable[tuple[tuple[torch.Tensor, Labels], torch.Tensor]],
    lost: BatchLoss,
    on_batch: Callable[[], None],
) -> float:
    """Take a step on each batch; the sum of the losses, read once at the end so that a GPU need not wait.

    Between two batches whoever measures time on this host goes first.
    """
    network, optimizer, schedule, zeros = loop.network, loop.optimizer, loop.schedule, loop.zeros
    assert schedule is not None
    total = torch.zeros((), device=_device(network))
    for (x, labels), rows in batches:
        on_batch()
        loss = lost(_answers(network, x), labels, x, rows)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if zeros is not None:
            zeros()
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


@contextmanager
def _channels_last(network: nn.Module) -> Iterator[None]:
    """Convolutions train a fifth faster so (benchmarks/training.py); what leaves has the ordinary layout again."""
    network.to(memory_format=torch.channels_last)
    try:
        yield
    finally:
        network.to(memory_format=torch.contiguous_format)
