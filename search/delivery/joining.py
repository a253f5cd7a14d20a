"""Two splits as one, for a training that needs none to judge on."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from ...objectives import Data, Labels, LazySplit, Split
from ...objectives.tasks.splits import of_each


def joined(data: Data) -> Data:
    """The same data with the validation split among those that are trained on, after the train split.

    What was learned of the train split to prepare examples stays, so that what was exported before prepares them alike.
    """
    return replace(data, train=_both(data.train, data.validation))


def _both(one: Split | LazySplit, other: Split | LazySplit) -> Split | LazySplit:
    if isinstance(one, Split) and isinstance(other, Split):
        return Split(torch.cat([one.x, other.x]), _labels(one.y, other.y))
    lazy = next(split for split in (one, other) if isinstance(split, LazySplit))
    return LazySplit(ConcatDataset([_rows(one), _rows(other)]), lazy.device)


def _labels(one: Labels, other: Labels) -> Labels:
    if isinstance(one, dict):
        assert isinstance(other, dict)
        return {head: torch.cat([labels, other[head]]) for head, labels in one.items()}
    assert isinstance(other, Tensor)
    return torch.cat([one, other])


@dataclass(frozen=True)
class _Rows(Dataset[Any]):
    """What lies in memory, row by row, on the CPU."""

    split: Split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> tuple[Tensor, Labels]:
        return self.split.x[row].cpu(), of_each(self.split.y, lambda labels: labels[row].cpu())


def _rows(split: Split | LazySplit) -> Dataset[Any]:
    return split.dataset if isinstance(split, LazySplit) else _Rows(split)
