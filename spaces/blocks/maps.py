"""Blocks for maps: images (N, C, H, W) and, with a name in 1d, signals (N, C, L).

Shapes are given for images; over signals there is one size instead of height and width.
"""

import torch
from torch import nn

from .common import make_activation

NORMS_2D: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm2d, "none": nn.Identity}
NORMS_OVER_SIGNALS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "none": nn.Identity}


class OverImages(nn.Module):
    """The layers that blocks for images are made of."""

    Conv: type[nn.Conv1d | nn.Conv2d] = nn.Conv2d
    convolve = staticmethod(nn.functional.conv2d)
    norm_by_name = NORMS_2D

    def _conv(
        self, in_width: int, width: int, kernel: int, *, norm: str, stride: int = 1, groups: int = 1
    ) -> nn.Conv1d | nn.Conv2d:
        """A convolution that keeps the size of the map, but for its stride; a norm behind it has a bias of its own."""
        return self.Conv(
            in_width, width, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=norm == "none"
        )

    def _norms(self, norm: str, width: int, uses: int) -> nn.ModuleList:
        """A normalisation for each use."""
        return nn.ModuleList(self.norm_by_name[norm](width) for _ in range(uses))


class OverSignals(OverImages):
    """The layers that blocks for signals are made of."""

    Conv = nn.Conv1d
    convolve = staticmethod(nn.functional.conv1d)
    norm_by_name = NORMS_OVER_SIGNALS


class ConvBlock(OverImages):
    """Convolution, normalisation, activation: (N, in_width, H, W) to (N, width, H / stride, W / stride).

    groups: into so many groups the channels are cut, and a filter sees one of them (Krizhevsky et al. 2012).
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm: str = "batch",
        activation: str = "relu",
        uses: int = 1,
    ) -> None:
        super().__init__()
        self.conv = self._conv(in_width, width, kernel, norm=norm, stride=stride, groups=groups)
        self.norms = self._norms(norm, width, uses)
        self.activation = make_activation(activation)

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        x = self.norms[use](self.conv(x))
        return self.activation(x)  # type: ignore[no-any-return]


class ResidualBlock(OverImages):
    """Two convolutions added to what came: (N, in_width, H, W) to (N, width, H / stride, W / stride).

    He et al. 2016, "Deep Residual Learning", fig. 2. hidden: channels between the convolutions. skip: what is added,
    the input (``identity``) or a 1 x 1 convolution of it (``projection``).
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        hidden: int = 64,
        kernel: int = 3,
        stride: int = 1,
        norm: str = "batch",
        activation: str = "relu",
        skip: str = "identity",
        uses: int = 1,
    ) -> None:
        super().__init__()
        check_skip(skip, ("identity", "projection"), in_width, width, kernel, stride)
        self.conv1 = self._conv(in_width, hidden, kernel, norm=norm, stride=stride)
        self.norms1 = self._norms(norm, hidden, uses)
        self.activation1 = make_activation(activation)
        self.conv2 = self._conv(hidden, width, kernel, norm=norm)
        self.norms2 = self._norms(norm, width, uses)
        self.activation2 = make_activation(activation)
        self.project = skip == "projection"
        if self.project:
            self.conv3 = self._conv(in_width, width, 1, norm=norm, stride=stride)
            self.norms3 = self._norms(norm, width, uses)

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        y = self.activation1(self.norms1[use](self.conv1(x)))
        y = self.norms2[use](self.conv2(y))
        skip = self.norms3[use](self.conv3(x)) if self.project else x
        return self.activation2(y + skip)  # type: ignore[no-any-return]


class SeparableBlock(OverImages):
    """A convolution of each channel alone, then one of 1 x 1 that mixes them, each with normalisation and activation.

    (N, in_width, H, W) to (N, width, H / stride, W / stride); Howard et al. 2017, "MobileNets", fig. 2. kernels: each
    channel has its ``own`` kernel, or all have one that is ``shared``.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        kernel: int = 3,
        stride: int = 1,
        kernels: str = "own",
        norm: str = "batch",
        activation: str = "relu",
        uses: int = 1,
    ) -> None:
        super().__init__()
        if kernels not in ("own", "shared"):
            raise ValueError(f"kernels are own or shared, {kernels!r} was given")
        self.shared = kernels == "shared"
        filters = 1 if self.shared else in_width
        self.depthwise = self._conv(filters, filters, kernel, norm=norm, stride=stride, groups=filters)
        self.norms1 = self._norms(norm, in_width, uses)
        self.activation1 = make_activation(activation)
        self.pointwise = self._conv(in_width, width, 1, norm=norm)
        self.norms2 = self._norms(norm, width, uses)
        self.activation2 = make_activation(activation)

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        x = self._convolve_with_one_kernel(x) if self.shared else self.depthwise(x)
        x = self.activation1(self.norms1[use](x))
        return self.activation2(self.norms2[use](self.pointwise(x)))  # type: ignore[no-any-return]

    def _convolve_with_one_kernel(self, x: torch.Tensor) -> torch.Tensor:
        one, width = self.depthwise, x.shape[1]
        weight = one.weight.expand(width, *one.weight.shape[1:])
        bias = None if one.bias is None else one.bias.expand(width)
        return self.convolve(x, weight, bias, one.stride, one.padding, groups=width)  # type: ignore[arg-type]


class InvertedResidual(OverImages):
    """To ``hidden`` channels, a convolution of each alone, and back without activation; added to what came or not.

    (N, in_width, H, W) to (N, width, H / stride, W / stride); Sandler et al. 2018, "MobileNetV2", with the squeeze and
    excitation of Howard et al. 2019, "MobileNetV3", fig. 4. squeeze: channels inside that; 0 for none. skip:
    ``identity`` or ``none``.
    """

    def __init__(
        self,
        in_width: int,
        width: int,
        *,
        hidden: int = 64,
        kernel: int = 3,
        stride: int = 1,
        squeeze: int = 0,
        norm: str = "batch",
        activation: str = "relu",
        skip: str = "none",
        uses: int = 1,
    ) -> None:
        super().__init__()
        check_skip(skip, ("identity", "none"), in_width, width, kernel, stride)
        self.expand = self._conv(in_width, hidden, 1, norm=norm)
        self.norms1 = self._norms(norm, hidden, uses)
        self.activation1 = make_activation(activation)
        self.depthwise = self._conv(hidden, hidden, kernel, norm=norm, stride=stride, groups=hidden)
        self.norms2 = self._norms(norm, hidden, uses)
        self.activation2 = make_activation(activation)
        self.excitation = SqueezeExcitation(hidden, squeeze) if squeeze else nn.Identity()
        self.reduce = self._conv(hidden, width, 1, norm=norm)
        self.norms3 = self._norms(norm, width, uses)
        self.skip = skip == "identity"

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        y = self.activation1(self.norms1[use](self.expand(x)))
        y = self.activation2(self.norms2[use](self.depthwise(y)))
        y = self.norms3[use](self.reduce(self.excitation(y)))
        return x + y if self.skip else y  # type: ignore[no-any-return]


class SqueezeExcitation(nn.Module):
    """Each channel times a weight, 0 to 1, that follows from the means of all channels (Hu et al. 2018).

    (N, width, ...) to the same shape. squeeze: units of the layer between the means and the weights.
    """

    def __init__(self, width: int, squeeze: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, squeeze)
        self.excite = nn.Linear(squeeze, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.excite(self.squeeze(x.flatten(2).mean(2)).relu()).sigmoid()
        return x * weights.reshape(*weights.shape, *[1] * (x.dim() - 2))  # type: ignore[no-any-return]


def check_skip(skip: str, known: tuple[str, ...], in_width: int, width: int, kernel: int, stride: int) -> None:
    """ValueError if what leaves the convolutions cannot be added to what the skip gives."""
    if skip not in known:
        raise ValueError(f"skip is {' or '.join(known)}, {skip!r} was given")
    if skip == "identity" and (in_width, stride) != (width, 1):
        raise ValueError(
            f"an identity skip needs equal widths and stride 1, {in_width} channels come, {width} leave at stride "
            f"{stride}"
        )
    if skip != "none" and kernel % 2 == 0:
        raise ValueError(f"a skip needs an odd kernel, which keeps the size of the map, {kernel} was given")


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


class ConvBlock1d(OverSignals, ConvBlock):
    """``ConvBlock`` over signals: (N, in_width, L) to (N, width, L / stride)."""


class ResidualBlock1d(OverSignals, ResidualBlock):
    """``ResidualBlock`` over signals: (N, in_width, L) to (N, width, L / stride)."""


class SeparableBlock1d(OverSignals, SeparableBlock):
    """``SeparableBlock`` over signals: (N, in_width, L) to (N, width, L / stride)."""


class InvertedResidual1d(OverSignals, InvertedResidual):
    """``InvertedResidual`` over signals: (N, in_width, L) to (N, width, L / stride)."""


class MaxPool1d(nn.MaxPool1d):
    """Largest of each ``size`` values in a row: (N, C, L) to (N, C, L / size)."""

    def __init__(self, size: int = 2) -> None:
        super().__init__(size)


class AveragePool1d(nn.AvgPool1d):
    """Mean of each ``size`` values in a row: (N, C, L) to (N, C, L / size)."""

    def __init__(self, size: int = 2) -> None:
        super().__init__(size)


class GlobalAveragePool1d(nn.Module):
    """Mean of each channel: (N, C, L) to (N, C)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(2)
