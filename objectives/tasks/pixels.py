"""Pixels of 0 to 255 as what networks take: scaled, and normalised by channel."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...spaces.architecture import Json

COLOURS = {1: "gray", 3: "rgb"}


def moments(pixels: Tensor) -> Tensor:
    """The sum of each channel of each image and that of its squares: (N, C, H, W) uint8 to (N, 2, C) int64, exact."""
    wide = [part.long() for part in torch.split(pixels, 256)]
    return torch.cat([torch.stack([part.sum((2, 3)), part.square().sum((2, 3))], 1) for part in wide])


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation by channel, of pixels scaled to 0..1; a constant channel is divided by 1."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, sums: Tensor, pixels: int) -> "Normalisation":
        """From the moments (N, 2, C) of the train split's images, each of so many pixels."""
        first, second = sums.sum(0).double() / (len(sums) * pixels)
        mean, std = first / 255, (second - first.square()).clamp(min=0).sqrt() / 255
        return cls(tuple(mean.tolist()), tuple(value or 1.0 for value in std.tolist()))

    def apply(self, pixels: Tensor) -> Tensor:
        """(..., C, H, W) uint8 to float32."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return pixels.to(torch.float32).div_(255).sub_(mean).div_(std)

    @property
    def black(self) -> tuple[float, ...]:
        """What a black pixel becomes, by channel."""
        return tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))

    def to_json(self, size: int) -> Json:
        return {
            "kind": "image",
            "channels": COLOURS[len(self.mean)],
            "size": size,
            "pixel_scale": 1 / 255,
            "mean": list(self.mean),
            "std": list(self.std),
        }
