"""The blocks that networks are made of.

Each is plain PyTorch and imports nothing but torch, because export writes this source, unchanged, into the
user's file. A new block is a class here (or in a file like this one) and one line in ``BLOCKS``. The conventions:

- a block with weights takes ``in_width`` (channels or features that come in) first and ``width`` (what goes out)
  second; every other argument is a keyword with a default and a JSON value;
- a block that can be shared takes ``uses``, the number of places that use its weights, and its ``forward`` takes
  ``use``, which of them is calling. Weights are shared; normalisation is private to each use, because batch
  statistics of one depth are wrong at another;
- a block without weights takes neither.
"""

import torch
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
}
NORMS_1D: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "none": nn.Identity}
NORMS_2D: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "none": nn.Identity}


class ConvBlock(nn.Module):
    """Convolution, normalisation, activation: (N, in_width, H, W) to (N, width, H, W)."""

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        kernel: int = 3,
        norm: str = "batch",
        activation: str = "relu",
        uses: int = 1,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_width, width, kernel, padding=kernel // 2, bias=norm == "none")
        self.norms = nn.ModuleList(NORMS_2D[norm](width) for _ in range(uses))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        x = self.norms[use](self.conv(x))
        return self.activation(x)  # type: ignore[no-any-return]


class LinearBlock(nn.Module):
    """Linear map, normalisation, activation: (N, in_width) to (N, width)."""

    def __init__(
        self, in_width: int, width: int, *, norm: str = "batch", activation: str = "relu", uses: int = 1
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, width, bias=norm == "none")
        self.norms = nn.ModuleList(NORMS_1D[norm](width) for _ in range(uses))
        self.activation = ACTIVATIONS[activation]()

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        x = self.norms[use](self.linear(x))
        return self.activation(x)  # type: ignore[no-any-return]


class MaxPool(nn.MaxPool2d):
    """Largest of each size x size square: (N, C, H, W) to (N, C, H / size, W / size)."""

    def __init__(self, size: int = 2) -> None:
        super().__init__(size)


class AveragePool(nn.AvgPool2d):
    """Mean of each size x size square: (N, C, H, W) to (N, C, H / size, W / size)."""

    def __init__(self, size: int = 2) -> None:
        super().__init__(size)


class GlobalAveragePool(nn.Module):
    """Mean of each channel: (N, C, H, W) to (N, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class Flatten(nn.Module):
    """Everything in one row, channel by channel: (N, ...) to (N, features)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


BLOCKS: dict[str, type[nn.Module]] = {
    "conv": ConvBlock,
    "linear": LinearBlock,
    "max_pool": MaxPool,
    "average_pool": AveragePool,
    "global_average_pool": GlobalAveragePool,
    "flatten": Flatten,
}
