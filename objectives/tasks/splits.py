"""The parts of the data that candidates are trained and judged on, and how rows are dealt out to them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ...errors import UsageError

Labels = Tensor | dict[str, Tensor]  # with several heads: by the head's name
CPU = torch.device("cpu")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Examples that lie in memory. x: (N, *input_shape). y: (N,), or (N, length) where each position is answered."""

    x: Tensor
    y: Labels

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device) -> Self:
        return type(self)(self.x.to(device), of_each(self.y, lambda labels: labels.to(device)))

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Labels]]:
        """Batches of ``size`` rows, the last one of what is left. order: row numbers, by default all as they lie."""
        if order is None:
            for first in range(0, len(self), size):
                yield self._batch(slice(first, first + size))
        else:
            for rows in torch.split(order.to(self.x.device), size):
                yield self._batch(rows)

    def _batch(self, rows: slice | Tensor) -> tuple[Tensor, Labels]:
        return _at(self.x, rows), of_each(self.y, lambda labels: _at(labels, rows))


@dataclass(frozen=True)
class LazySplit:
    """Examples that are read batch by batch, because they do not fit into memory; otherwise as Split.

    dataset: gives ``(x, y)`` of a row as tensors on the CPU, y a dict with several heads. device: where batches go.
    """

    dataset: Dataset[Any]
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def to(self, device: torch.device) -> Self:
        return type(self)(self.dataset, device)

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[tuple[Tensor, Labels]]:
        """As ``Split.batches``; torch's global random state is left as it was."""
        rows = torch.arange(len(self)) if order is None else order.cpu()
        batches = [part.tolist() for part in torch.split(rows, size)]
        for x, y in DataLoader(self.dataset, batch_sampler=batches, generator=torch.Generator()):
            yield x.to(self.device), of_each(y, lambda labels: labels.to(self.device))


def _at(values: Tensor, rows: slice | Tensor) -> Tensor:
    return values[rows] if isinstance(rows, slice) else values.index_select(0, rows)


def of_each(labels: Labels, change: Callable[[Tensor], Tensor]) -> Labels:
    """The labels with ``change`` done to those of each head."""
    return {head: change(part) for head, part in labels.items()} if isinstance(labels, dict) else change(labels)


def divide(strata: Tensor, shares: Sequence[float], *, seed: int) -> list[Tensor]:
    """Deal the rows of each stratum out at random: what is left over, and each share; row numbers in rising order.

    strata: (N,) whole numbers from 0. Of each stratum, which needs a row for each part, a share gets its rounded part,
    and every part at least one row.
    """
    draw = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in range(1 + len(shares))]
    counts = [count for count in torch.bincount(strata).tolist() if count]
    for rows in torch.split(torch.argsort(strata, stable=True), counts):
        assert len(rows) >= len(parts)
        sizes = [max(1, round(len(rows) * share)) for share in shares]
        while sum(sizes) >= len(rows):
            sizes[sizes.index(max(sizes))] -= 1
        shuffled = rows[torch.randperm(len(rows), generator=draw)]
        dealt = torch.split(shuffled, [len(rows) - sum(sizes), *sizes])
        for part, some in zip(parts, dealt, strict=True):
            part.append(some)
    return [torch.cat(part).sort().values for part in parts]


def strata_of(labels: Sequence[Tensor], rows: int, *, parts: int) -> Tensor:
    """A stratum for each combination of labels, (N,); the first label alone decides if a combination is too rare.

    Without labels, as in regression, all rows are one stratum.
    """
    if not labels:
        return torch.zeros(rows, dtype=torch.int64)
    _, combination, counts = torch.unique(torch.stack(list(labels), 1), dim=0, return_inverse=True, return_counts=True)
    return combination if int(counts.min()) >= parts else labels[0]


def check_rows(rows: int, where: str, *, parts: int = 3) -> None:
    """UsageError unless every part can have an example."""
    if rows < parts:
        raise UsageError(
            f"{where} needs at least {parts} examples, one for each of {', '.join(PARTS[:parts])}, and it has {rows}: "
            "add examples"
        )


def check_classes(labels: Tensor, names: Sequence[str], where: str, *, parts: int = 3) -> None:
    """UsageError unless there are two classes, each with an example for every part."""
    if len(names) < 2:
        raise UsageError(f"{where} needs at least 2 classes, there is {', '.join(names) or 'none'}: add another one")
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    rare = [f"{name!r} has {count}" for name, count in zip(names, counts, strict=True) if count < parts]
    if rare:
        raise UsageError(
            f"each class of {where} needs at least {parts} examples, one for each of {', '.join(PARTS[:parts])}: "
            f"{shortened(rare)}; add examples or take the class out"
        )


def check_in_train(labels: Tensor, names: Sequence[str], where: str) -> None:
    """UsageError if the train split has no example of a class. labels: those of the train split."""
    counts = torch.bincount(labels, minlength=len(names)).tolist()
    absent = [repr(name) for name, count in zip(names, counts, strict=True) if not count]
    if absent:
        raise UsageError(
            f"the train split needs an example of each class of {where}, and it has none of {shortened(absent)}: add "
            "examples or choose another seed"
        )


def shortened(words: Sequence[str], most: int = 5) -> str:
    """The first few of the words, and how many more there are."""
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
