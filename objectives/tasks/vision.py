"""torchvision's classic image sets, from a local folder."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UsageError
from .augment import augment_images
from .base import HEAD, Data, HeldOutTask, Target, make_data
from .pixels import Normalisation, moments
from .splits import PARTS, Split, check_classes, divide

SETS = {  # torchvision's class, and whether a mirrored picture keeps its label
    "mnist": ("MNIST", False),
    "fashion_mnist": ("FashionMNIST", False),
    "kmnist": ("KMNIST", False),
    "cifar10": ("CIFAR10", True),
    "cifar100": ("CIFAR100", True),
    "svhn": ("SVHN", False),
}


@dataclass(frozen=True, kw_only=True)
class Vision(HeldOutTask):
    """A set of torchvision: its own test split, and a stratified part of its train split for validation.

    root: the folder that holds it, as torchvision lays it out. download: fetch it there if it is missing.
    validation: share of the train split. seed: who goes there.
    """

    name: ClassVar[str] = "vision"
    data: Literal["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn"]
    root: str | Path = "data"
    download: bool = False
    validation: float = 0.1

    def load(self) -> Data:
        pixels, labels, names = self._read(train=True)
        held_pixels, held_labels, _ = self._read(train=False)
        check_classes(labels, names, f"{self.data}'s train split", parts=2)
        train, validation = divide(labels, self.shares, seed=self.seed)
        normal = Normalisation.of(moments(pixels[train]), pixels[0, 0].numel())
        splits = [Split(normal.apply(pixels[rows]), labels[rows]) for rows in (train, validation)]
        splits.append(Split(normal.apply(held_pixels), held_labels))
        return make_data(
            tuple(pixels.shape[1:]),
            [Target(HEAD, "classes", names=names)],
            splits,
            done=normal.to_json(pixels.shape[-1]),
            augment=partial(augment_images, black=normal.black, flip=SETS[self.data][1]),
        )

    def _read(self, *, train: bool) -> tuple[Tensor, Tensor, tuple[str, ...]]:
        """Pixels (N, C, H, W) uint8, labels (N,) and the names of the classes."""
        try:
            read = self._open(train=train)
        except Exception as error:  # torchvision lets through whatever a missing or broken file gives
            text = f"{type(error).__name__}: {error}".split("\n", maxsplit=1)[0]
            raise UsageError(
                f"{self.data} is read from root = {self.root!r}, where it is missing or broken ({text}): give the "
                "root that holds it, or download = true to fetch it there"
            ) from error
        pixels = torch.as_tensor(read.data)
        labels = torch.as_tensor(read.labels if self.data == "svhn" else read.targets)
        if pixels.dim() == 3:
            pixels = pixels.unsqueeze(1)
        elif pixels.shape[-1] == 3:
            pixels = pixels.permute(0, 3, 1, 2)
        if not len(labels):
            raise UsageError(
                f"each split needs at least one example, {self.data}'s {PARTS[0 if train else 2]} has none"
            )
        known = getattr(read, "classes", None) or [str(label) for label in range(10)]
        return pixels.contiguous(), labels.to(torch.int64), tuple(known)

    def _open(self, *, train: bool) -> Any:
        from torchvision import datasets

        part = {"split": "train" if train else "test"} if self.data == "svhn" else {"train": train}
        return getattr(datasets, SETS[self.data][0])(self.root, download=self.download, **part)
