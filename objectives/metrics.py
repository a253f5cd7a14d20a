"""How well a network answers: the metrics of each kind of target, and one pass over a split for all of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite, prod
from typing import Literal

import torch
from torch import nn

from ..errors import CandidateFailed, UsageError, one_of, there_is
from .tasks import Data, Labels, LazySplit, Split, Target

Direction = Literal["maximize", "minimize"]
Kind = Literal["classes", "number", "tokens"]
BATCH = 1024  # examples judged at once ...
NUMBERS = 2**23  # ... unless more numbers than this, in or out, would come together: 32 MB
TOKEN = 256  # numbers that a token is taken for, because a network makes a vector of each


@dataclass(frozen=True)
class Metric:
    """A figure for the answers to one target.

    measure: takes what ``condense`` keeps of the answers, the labels, and the target.
    """

    name: str
    kind: Kind
    unit: str
    direction: Direction
    measure: Callable[[torch.Tensor, torch.Tensor, Target], float]


def _accuracy(predicted: torch.Tensor, labels: torch.Tensor, _: Target) -> float:
    return int((predicted == labels).sum()) / len(labels)


def _balanced_accuracy(predicted: torch.Tensor, labels: torch.Tensor, _: Target) -> float:
    """Mean recall over the classes that the labels have, as scikit-learn defines it."""
    counts = _confusion(predicted, labels)
    there = counts.sum(1) > 0
    return float((counts.diag()[there] / counts.sum(1)[there]).mean())


def _f1(predicted: torch.Tensor, labels: torch.Tensor, _: Target) -> float:
    """Mean F1 over the classes that are labels or answers, as scikit-learn's ``average="macro"``."""
    counts = _confusion(predicted, labels)
    both = counts.sum(0) + counts.sum(1)
    return float((2 * counts.diag()[both > 0] / both[both > 0]).mean())


def _mae(predicted: torch.Tensor, labels: torch.Tensor, target: Target) -> float:
    return float((predicted.double() - labels).abs().mean()) * target.std


def _rmse(predicted: torch.Tensor, labels: torch.Tensor, target: Target) -> float:
    return float((predicted.double() - labels).square().mean().sqrt()) * target.std


def _r2(predicted: torch.Tensor, labels: torch.Tensor, _: Target) -> float:
    """1 - residual / total sum of squares; for labels that are all equal 1 or 0, as scikit-learn defines it."""
    residual = float((predicted.double() - labels).square().sum())
    total = float((labels.double() - labels.double().mean()).square().sum())
    return 1 - residual / total if total else float(residual == 0)


def _perplexity(condensed: torch.Tensor, _: torch.Tensor, __: Target) -> float:
    return float(condensed[:, 0].double().mean().exp())


def _token_accuracy(condensed: torch.Tensor, _: torch.Tensor, __: Target) -> float:
    return float(condensed[:, 1].double().mean())


ALL = (
    Metric("accuracy", "classes", "share of right answers", "maximize", _accuracy),
    Metric("balanced_accuracy", "classes", "mean share of right answers of a class", "maximize", _balanced_accuracy),
    Metric("f1", "classes", "mean F1 score of a class", "maximize", _f1),
    Metric("mae", "number", "mean absolute error, in the target's unit", "minimize", _mae),
    Metric("rmse", "number", "root of the mean squared error, in the target's unit", "minimize", _rmse),
    Metric("r2", "number", "share of the target's variance that is explained", "maximize", _r2),
    Metric("perplexity", "tokens", "e to the mean cross-entropy of a token", "minimize", _perplexity),
    Metric("accuracy", "tokens", "share of right answers", "maximize", _token_accuracy),
)
METRICS: dict[str, dict[str, Metric]] = {
    kind: {metric.name: metric for metric in ALL if metric.kind == kind} for kind in ("classes", "number", "tokens")
}  # the first of each kind is its default


def condense(kind: Kind, answers: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """What the metrics need of the answers (N, ..., outputs) of a batch.

    classes: the class of the highest score, (N,). number: itself, (N,). tokens: cross-entropy and share of right
    answers, the means of each sequence, (N, 2), so that a vocabulary of scores for each position need not be kept.
    """
    if kind == "classes":
        return answers.argmax(1)
    if kind == "number":
        return answers[:, 0]
    losses = nn.functional.cross_entropy(answers.flatten(0, 1), labels.flatten(), reduction="none")
    right = (answers.argmax(2) == labels).float()
    return torch.stack([losses.view_as(labels).mean(1), right.mean(1)], dim=1)


def by_target(
    answers: torch.Tensor | dict[str, torch.Tensor], labels: Labels, data: Data
) -> list[tuple[Target, torch.Tensor, torch.Tensor]]:
    """What a network gives for a batch and the labels, for each target.

    CandidateFailed (``invalid``) if the answers have not the shape that the data ask for, as a user's own module may.
    """
    first = data.targets[0].head
    answered = answers if isinstance(answers, dict) else {first: answers}
    labelled = labels if isinstance(labels, dict) else {first: labels}
    found = []
    for target, head in zip(data.targets, data.spec.heads, strict=True):
        answer, label = answered.get(target.head), labelled[target.head]
        if not isinstance(answer, torch.Tensor) or answer.shape != (*label.shape, head.outputs):
            came = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
            raise CandidateFailed(
                "invalid",
                f"the network must answer a tensor of {(*label.shape, head.outputs)} for {target.head!r}, {came} came; "
                "with several heads it gives a dict of them",
            )
        found.append((target, answer, label))
    return found


@torch.no_grad()
def predict(
    network: nn.Module, split: Split | LazySplit, data: Data, *, batch: int | None = None
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Condensed answers and labels of all examples in order, by head; ``network`` is left in evaluation mode.

    batch: examples at once, by default as many as the memory for them allows. CandidateFailed (``diverged``) if an
    answer is not a number.
    """
    network.eval()
    parts: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {target.head: [] for target in data.targets}
    for x, y in split.batches(batch or _batch(data)):
        for target, answers, labels in by_target(network(x), y, data):
            if answers.isnan().any():
                raise CandidateFailed("diverged", "the network answers nan")
            parts[target.head].append((condense(target.kind, answers, labels), labels))
    return {
        head: (torch.cat([answers for answers, _ in found]).cpu(), torch.cat([labels for _, labels in found]).cpu())
        for head, found in parts.items()
    }


def quality(
    network: nn.Module, split: Split | LazySplit, data: Data, names: Iterable[str], *, batch: int | None = None
) -> dict[str, float]:
    """The metrics of these names, in one pass over ``split``; ``network`` is left in evaluation mode.

    UsageError for a metric that the data do not allow, CandidateFailed (``diverged``) for one that is not finite.
    """
    judges = {name: _judge(name, data) for name in names}
    predicted = predict(network, split, data, batch=batch) if judges else {}
    values = {name: metric.measure(*predicted[target.head], target) for name, (target, metric) in judges.items()}
    for name, value in values.items():
        if not isfinite(value):
            raise CandidateFailed("diverged", f"{name} became {value}")
    return values


def metric_of(name: str) -> tuple[str | None, Metric]:
    """The head that is named, if any, and the metric: of ``"digit.mae"`` or ``"mae"``.

    Where several kinds of target have a metric of this name, they differ in neither unit nor direction.
    """
    head, _, word = name.rpartition(".")
    one_of("metric", word, dict.fromkeys(metric.name for metric in ALL))
    return head or None, next(metric for metric in ALL if metric.name == word)


def qualities(data: Data) -> tuple[str, ...]:
    """The names of all metrics that these data allow."""
    return tuple(_named(data, target, name) for target in data.targets for name in METRICS[target.kind])


def default_metrics(data: Data) -> tuple[str, ...]:
    """The name of the first metric of each target."""
    return tuple(_named(data, target, next(iter(METRICS[target.kind]))) for target in data.targets)


def check_fits(name: str, data: Data) -> None:
    """UsageError unless these data allow the metric of this name."""
    there = qualities(data)
    if name not in there:
        raise UsageError(f"{name!r} cannot be measured on these data: {there_is(name, there)}")


def _judge(name: str, data: Data) -> tuple[Target, Metric]:
    check_fits(name, data)
    head, metric = metric_of(name)
    target = next(target for target in data.targets if head in (None, target.head))
    return target, METRICS[target.kind][metric.name]


def _named(data: Data, target: Target, metric: str) -> str:
    return metric if len(data.targets) == 1 else f"{target.head}.{metric}"


def _confusion(predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How often each label (row) got each answer (column)."""
    size = int(torch.maximum(predicted, labels).max()) + 1
    return torch.bincount(labels * size + predicted, minlength=size**2).view(size, size).double()


def _batch(data: Data) -> int:
    """Examples judged at once."""
    spec = data.spec
    come = prod(spec.input_shape) * (TOKEN if spec.vocabulary is not None else 1)
    leave = max(head.outputs for head in spec.heads) * (spec.input_shape[-1] if spec.per_position else 1)
    return max(1, min(BATCH, NUMBERS // max(come, leave)))
