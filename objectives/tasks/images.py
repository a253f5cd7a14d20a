"""A folder of images with a sub-folder for each label."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import psutil
from torch.utils.data import Subset

from .augment import augment_images
from .base import HEAD, Data, DividedTask, Target, make_data
from .fields import check_least
from .files import folder_fingerprint, labelled_files
from .image_files import SUFFIXES, ImageFiles, scan
from .pixels import Normalisation
from .splits import LazySplit, Split, check_classes, divide

MEMORY_SHARE = 0.25  # of the free memory, which the examples may take


@dataclass(frozen=True, kw_only=True)
class ImageFolder(DividedTask):
    """Images of any sizes and modes, one sub-folder for each label; turned upright, resized and cropped to a square.

    size: its side in pixels, taken from the middle after the shorter side was resized to it. on_bad: what to do with
    images that cannot be read. flip: a mirrored image keeps its label, so augmentation may mirror it. in_memory: keep
    all examples in memory, or read them batch by batch; by default what a quarter of the free memory allows. Either way
    all files are read once at first, to find bad ones and to measure the train split.
    """

    name: ClassVar[str] = "image_folder"
    folder: str | Path
    size: int = 32
    channels: Literal["rgb", "gray"] = "rgb"
    on_bad: Literal["refuse", "skip"] = "refuse"
    flip: bool = False
    in_memory: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, self.where, size=1)

    def fingerprint(self) -> str:
        return folder_fingerprint(self.folder)

    def load(self) -> Data:
        found = labelled_files(self.folder, SUFFIXES, "image")
        shape = (3 if self.channels == "rgb" else 1, self.size, self.size)
        scanned = scan(found.files, shape, keep=self._fits(len(found.files) * shape[0] * self.size**2 * 4))
        good = found.without(scanned.bad, skip=self.on_bad == "skip", what="image")
        check_classes(good.labels, good.names, str(good.folder))
        parts = divide(good.labels, self.shares, seed=self.seed)
        normal = Normalisation.of(scanned.moments[parts[0]], self.size**2)
        splits: list[Split | LazySplit]
        if scanned.pixels is None:
            files = ImageFiles(good, shape, normal)
            splits = [LazySplit(Subset(files, rows.tolist())) for rows in parts]
        else:
            splits = [Split(normal.apply(scanned.pixels[rows]), good.labels[rows]) for rows in parts]
        return make_data(
            shape,
            [Target(HEAD, "classes", names=good.names)],
            splits,
            done={**normal.to_json(self.size), "fit": "shorter side, centre crop", "skipped": len(scanned.bad)},
            augment=partial(augment_images, black=normal.black, flip=self.flip),
        )

    def _fits(self, needed: int) -> bool:
        """Whether examples of so many bytes are kept in memory."""
        if self.in_memory is not None:
            return self.in_memory
        return needed <= MEMORY_SHARE * psutil.virtual_memory().available
