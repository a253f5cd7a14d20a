"""The data that candidates are trained and judged on."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..spaces import DataSpec


@dataclass(frozen=True)
class Split:
    """x: examples (N, *input_shape), float32. y: labels (N,), int64."""

    x: torch.Tensor
    y: torch.Tensor

    def to(self, device: torch.device) -> "Split":
        return Split(self.x.to(device), self.y.to(device))


@dataclass(frozen=True)
class Data:
    """The three splits. The search trains on the first and judges on the second; only picked points see the third."""

    train: Split
    validation: Split
    test: Split


@dataclass(frozen=True)
class Task:
    """A data set with fixed splits."""

    name: str
    title: str
    spec: DataSpec
    load: Callable[[], Data]


def load_digits() -> Data:
    """1,797 handwritten digits of 8x8 pixels, scaled to 0..1, split 60/20/20 with equal shares of each label."""
    from sklearn.datasets import load_digits as read
    from sklearn.model_selection import train_test_split

    pixels, labels = read(return_X_y=True)
    rest, test = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=0)
    x = torch.tensor(pixels / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels, dtype=torch.int64)
    return Data(*(Split(x[rows], y[rows]) for rows in (train, validation, test)))


TASKS: dict[str, Task] = {
    "digits": Task("digits", "scikit-learn's handwritten digits, 8x8, 10 classes", DataSpec((1, 8, 8), 10), load_digits)
}
