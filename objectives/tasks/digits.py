"""scikit-learn's handwritten digits, which need no file."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from .augment import augment_images
from .base import HEAD, Data, Target, Task, make_data
from .splits import Split

NAMES = tuple(str(digit) for digit in range(10))
DONE = {"kind": "image", "channels": "gray", "size": 8, "pixel_scale": 1 / 16, "mean": [0.0], "std": [1.0]}


@dataclass(frozen=True, kw_only=True)
class Digits(Task):
    """1,797 handwritten digits of 8x8 pixels, scaled to 0..1, split 60/20/20 with equal shares of each label."""

    name: ClassVar[str] = "digits"

    def load(self) -> Data:
        splits = [Split(x, y) for x, y in _read()]
        return make_data((1, 8, 8), [Target(HEAD, "classes", names=NAMES)], splits, done=DONE, augment=_AUGMENT)


@dataclass(frozen=True, kw_only=True)
class DigitsParity(Task):
    """The same pictures asked two things at once: which digit it is, and whether it is even or odd."""

    name: ClassVar[str] = "digits_parity"

    def load(self) -> Data:
        splits = [Split(x, {"digit": y, "parity": y % 2}) for x, y in _read()]
        targets = [Target("digit", "classes", names=NAMES), Target("parity", "classes", names=("even", "odd"))]
        return make_data((1, 8, 8), targets, splits, done=DONE, augment=_AUGMENT)


_AUGMENT = partial(augment_images, black=(0.0,))


def _read() -> list[tuple[Tensor, Tensor]]:
    """The pictures and labels of train, validation and test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=0)
    x = torch.tensor(pixels / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels, dtype=torch.int64)
    return [(x[rows], y[rows]) for rows in (train, validation, test)]
