"""Reading image files of any size and mode as squares of pixels."""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import StudyError
from ...spaces.architecture import Shape
from .files import LabelledFiles
from .pixels import Normalisation, moments

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
READERS = 4  # threads, which decode at the same time because Pillow releases Python's lock
CHUNK = 256  # images that are read before they are counted


@dataclass(frozen=True)
class Scan:
    """What reading all files once told. bad: what is wrong, by place. The rest is of the good ones, in their order.

    moments: (N, 2, C), see ``pixels.moments``. pixels: (N, C, S, S) uint8 if they were to be kept.
    """

    bad: dict[int, str]
    moments: Tensor
    pixels: Tensor | None


def scan(files: Sequence[Path], shape: Shape, *, keep: bool) -> Scan:
    """Read every file. shape: (1 or 3, side, side)."""
    bad: dict[int, str] = {}
    kept: list[Tensor] = [torch.empty((0, *shape), dtype=torch.uint8)]
    summed: list[Tensor] = [torch.empty((0, 2, shape[0]), dtype=torch.int64)]
    for first in range(0, len(files), CHUNK):
        read = _read(files[first : first + CHUNK], shape)
        bad |= {first + at: answer for at, answer in enumerate(read) if isinstance(answer, str)}
        good = [answer for answer in read if isinstance(answer, Tensor)]
        if good:
            pixels = torch.stack(good)
            summed.append(moments(pixels))
            kept += [pixels] if keep else []
    return Scan(bad, torch.cat(summed), torch.cat(kept) if keep else None)


@dataclass(frozen=True)
class ImageFiles(Dataset[tuple[Tensor, Tensor]]):
    """Files as examples of a shape, read when they are asked for; a batch is decoded by several threads."""

    found: LabelledFiles
    shape: Shape
    normal: Normalisation

    def __len__(self) -> int:
        return len(self.found.files)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int]) -> list[tuple[Tensor, Tensor]]:
        read = _read([self.found.files[row] for row in rows], self.shape)
        for row, pixels in zip(rows, read, strict=True):
            if isinstance(pixels, str):
                raise StudyError(f"the image {self.found.files[row]} could be read before, and now not: {pixels}")
        return [
            (self.normal.apply(pixels), self.found.labels[row])
            for row, pixels in zip(rows, read, strict=True)
            if isinstance(pixels, Tensor)
        ]


def _read(files: Sequence[Path], shape: Shape) -> list[Tensor | str]:
    """The pixels of each file, (C, S, S) uint8, or why it cannot be read."""
    with warnings.catch_warnings(), ThreadPoolExecutor(READERS) as readers:
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files, which are read all the same
        return list(readers.map(lambda file: _read_one(file, shape), files))


def _read_one(file: Path, shape: Shape) -> Tensor | str:
    from PIL import Image, ImageOps

    channels, side, _ = shape
    try:
        with Image.open(file) as image:
            upright = _eight_bits(ImageOps.exif_transpose(image))
            square = ImageOps.fit(
                upright.convert("RGB" if channels == 3 else "L"), (side, side), Image.Resampling.BILINEAR
            )
    except Exception as error:  # noqa: BLE001 - Pillow's decoders let through whatever a broken file gives
        return str(error).split("\n", maxsplit=1)[0].replace(f" {str(file)!r}", "") or type(error).__name__
    return torch.from_numpy(np.array(square).reshape(side, side, channels)).permute(2, 0, 1)


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Grey steps of 16 bits brought to 8, which Pillow would clip, and palettes to colours."""
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, dtype=np.int64) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGBA") if image.mode == "P" else image
