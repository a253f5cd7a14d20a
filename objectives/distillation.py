"""Distillation: a trained network, the teacher, shows its students more than the labels tell."""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ..errors import CandidateFailed, UsageError
from ..spaces import Network
from .features import Answers, Place, by_head, caught, feature_places, run
from .metrics import by_target
from .tasks import Data, Labels, Target

KEPT = 2**28  # bytes of a teacher's outputs that are kept: 256 MB
BATCH = 256  # examples that a teacher answers at once where its outputs are kept


@dataclass(frozen=True)
class Shown:
    """What a teacher shows of some examples, by head. outputs: (N, ..., outputs). features: (N, ..., features)."""

    outputs: dict[str, Tensor]
    features: dict[str, Tensor]

    def at(self, rows: Tensor) -> "Shown":
        """Of these rows alone."""
        return Shown(
            {head: kept.index_select(0, rows) for head, kept in self.outputs.items()},
            {head: kept.index_select(0, rows) for head, kept in self.features.items()},
        )

    @property
    def size_bytes(self) -> int:
        """What it takes in memory."""
        return sum(part.numel() * part.element_size() for part in (*self.outputs.values(), *self.features.values()))


class Teacher:
    """A trained network that answers for students on these data and their device.

    network: a copy of it is kept, in evaluation mode; itself it is never changed. outputs: those for the train split,
    by head, if they are there from before. UsageError for a network that takes other inputs or gives other answers.
    """

    def __init__(self, network: nn.Module, data: Data, *, outputs: Mapping[str, Tensor] | None = None) -> None:
        check_teacher(network, data)
        self._data = data
        self._device = next(data.train.batches(1))[0].device
        self.network = copy.deepcopy(network).to(self._device).eval().requires_grad_(requires_grad=False)
        self._given = None if outputs is None else _checked(outputs, data, self._device)

    def outputs(self) -> dict[str, Tensor] | None:
        """Of all examples of the train split in order, by head, answered once; None if they take more than 256 MB."""
        return self._outputs

    def show(self, x: Tensor, rows: Tensor | None = None, *, features: bool = False) -> Shown:
        """Outputs, and features if they are wanted, of examples.

        rows: their numbers in the train split, if x is as it lies there: then what is kept is shown.
        """
        kept = None if rows is None else self._kept(features=features)
        if kept is None:
            return self._run(x, features=features)
        assert rows is not None
        return kept.at(rows.to(self._device))

    @cached_property
    def _places(self) -> dict[str, Place]:
        return feature_places(self.network, self._data)

    def _kept(self, *, features: bool) -> Shown | None:
        if self._outputs is None or (features and self._features is None):
            return None
        return Shown(self._outputs, (self._features or {}) if features else {})

    @cached_property
    def _outputs(self) -> dict[str, Tensor] | None:
        if self._given is not None:
            return self._given
        kept = self._run_all(features=False)
        if kept is None:
            return None
        _check_finite(kept.outputs)
        return kept.outputs

    @cached_property
    def _features(self) -> dict[str, Tensor] | None:
        kept = self._run_all(features=True)
        return None if kept is None else kept.features

    def _run_all(self, *, features: bool) -> Shown | None:
        train = self._data.train
        one = self._run(next(train.batches(1))[0], features=features)
        if one.size_bytes * len(train) > KEPT:
            return None
        parts = [self._run(x, features=features) for x, _ in train.batches(BATCH)]
        return Shown(
            {head: torch.cat([part.outputs[head] for part in parts]) for head in one.outputs},
            {head: torch.cat([part.features[head] for part in parts]) for head in one.features},
        )

    def _run(self, x: Tensor, *, features: bool) -> Shown:
        if not features:
            return Shown(by_head(_answers(self.network, x), self._data), {})
        with caught(self.network, self._places) as found:
            return Shown(by_head(_answers(self.network, x), self._data), dict(found))


def check_teacher(network: nn.Module, data: Data) -> None:
    """UsageError unless the network takes these examples and gives finite answers of the right shape for each head."""
    if not isinstance(network, nn.Module):
        raise UsageError(f"a teacher is a trained nn.Module, {type(network).__name__} was given")
    if isinstance(network, Network):
        came, wanted = (
            (spec.input_shape, spec.vocabulary, spec.categories) for spec in (network.architecture, data.spec)
        )
        if came != wanted:
            names = "(shape, vocabulary, categories)"
            raise UsageError(f"a teacher takes the inputs of its students, {names} {wanted}, this one takes {came}")
    x, labels = next(data.train.batches(2))
    try:
        found = by_target(_answers(network, x), labels, data)
    except CandidateFailed as error:
        raise UsageError(f"a teacher answers what its students are asked for: {error}") from error
    _check_finite({target.head: answer for target, answer, _ in found})


def _answers(network: nn.Module, x: Tensor) -> Answers:
    """UsageError if the teacher cannot take these examples."""
    try:
        return run(network, x)
    except Exception as error:
        raise UsageError(
            f"a teacher takes the inputs of its students, of shape {tuple(x.shape[1:])} and {x.dtype}, this one fails "
            f"at them: {type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
        ) from error


def _check_finite(outputs: Mapping[str, Tensor]) -> None:
    for head, numbers in outputs.items():
        if not numbers.isfinite().all():
            raise UsageError(f"a teacher gives finite numbers, for {head!r} it gives others: train it anew")


def _checked(outputs: Mapping[str, Tensor], data: Data, device: torch.device) -> dict[str, Tensor]:
    """Kept outputs, on the device; UsageError if they are of other data."""
    _, labels = next(data.train.batches(1))
    for target, head in zip(data.targets, data.spec.heads, strict=True):
        label = labels[target.head] if isinstance(labels, dict) else labels
        shape = (len(data.train), *label.shape[1:], head.outputs)
        if target.head not in outputs or outputs[target.head].shape != shape:
            came = {head: tuple(kept.shape) for head, kept in outputs.items()}
            raise UsageError(f"the outputs kept for {target.head!r} must have the shape {shape}, {came} was given")
    _check_finite(outputs)
    return {target.head: outputs[target.head].to(device) for target in data.targets}


@dataclass(frozen=True)
class Lesson:
    """How a teacher takes part in the training of a student.

    weight: of the teacher's answers, from 0 to 1; the labels have the rest. temperature: above 0, divides the scores of
    both before softmax (Hinton et al. 2015, section 2). features: weight, from 0, of the squared difference between
    the teacher's features and a learned projection of the student's (Romero et al. 2015, eq. 3), which is thrown away.
    """

    teacher: Teacher
    weight: float
    temperature: float = 4.0
    features: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise UsageError(f"the weight of a teacher's answers is from 0 to 1, {self.weight!r} was given")
        if not 0 < self.temperature < math.inf:
            raise UsageError(f"the temperature of distillation is above 0 and finite, {self.temperature!r} was given")
        if not 0 <= self.features < math.inf:
            raise UsageError(f"the weight of a teacher's features is finite and 0 or more, {self.features!r} was given")


class Student:
    """A network at a lesson. Its ``projections`` are to be trained along with it, and thrown away."""

    def __init__(self, network: nn.Module, data: Data, lesson: Lesson, *, seed: int) -> None:
        self._network, self._data, self._lesson = network, data, lesson
        self._places = feature_places(network, data) if lesson.features else {}
        self._seen: dict[str, Tensor] = {}
        self.projections = nn.ModuleDict()
        if lesson.features:
            self.projections = _projections(network, self._places, data, lesson.teacher, seed)

    @contextmanager
    def attended(self) -> Iterator[None]:
        """Within this block the student's features are seen."""
        with caught(self._network, self._places) as self._seen:
            yield

    def loss(self, hard: Tensor, answers: Answers, labels: Labels, x: Tensor, rows: Tensor | None) -> Tensor:
        """The loss of a batch that led to these answers. hard: that for the labels. rows: as ``Teacher.show`` takes."""
        lesson, data = self._lesson, self._data
        shown = lesson.teacher.show(x, rows, features=lesson.features > 0)
        soft = [
            soft_loss(target, answer, shown.outputs[target.head], lesson.temperature)
            for target, answer, _ in by_target(answers, labels, data)
        ]
        loss = (1 - lesson.weight) * hard + lesson.weight * torch.stack(soft).sum()
        if lesson.features:
            apart = [
                nn.functional.mse_loss(self.projections[f"of_{head}"](self._seen[head]), shown.features[head])
                for head in self._places
            ]
            loss = loss + lesson.features * torch.stack(apart).mean()
        return loss


def soft_loss(target: Target, answers: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """How far answers (N, ..., outputs) are from the teacher's.

    T^2 KL(teacher || student) of the softened classes or tokens (Hinton et al. 2015, section 2), mean over examples and
    positions; T^2 keeps the size of the gradient. For numbers the mean squared error.
    """
    if target.kind == "number":
        return nn.functional.mse_loss(answers, taught)
    student, teacher = (scores.flatten(0, -2).div(temperature).log_softmax(1) for scores in (answers, taught))
    return temperature**2 * nn.functional.kl_div(student, teacher, log_target=True, reduction="batchmean")


def _projections(
    network: nn.Module, places: dict[str, Place], data: Data, teacher: Teacher, seed: int
) -> nn.ModuleDict:
    """A linear map from the student's features to the teacher's for each head, drawn from the seed."""
    x = next(data.train.batches(2))[0]
    with caught(network, places) as seen:
        run(network, x)
    wanted = teacher.show(x, features=True).features
    made = {}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for head in places:
            features = wanted[head]
            if seen[head].shape[:-1] != features.shape[:-1]:
                raise UsageError(
                    f"features are compared example by example and position by position, those of the student have "
                    f"the shape {tuple(seen[head].shape)} and the teacher's {tuple(features.shape)}: set "
                    "feature_distillation to 0"
                )
            made[f"of_{head}"] = nn.Linear(seen[head].shape[-1], features.shape[-1])
    return nn.ModuleDict(made).to(x.device)
