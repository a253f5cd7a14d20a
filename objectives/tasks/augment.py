"""Changes to a batch of examples that keep their labels: batched, of a strength from 0 to 1, drawn from a generator."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

SHIFT = 0.125  # of the length or the side, as in the usual 4 of CIFAR's 32 pixels
MASK = 0.2  # of the frames and of the bands


def augment_images(
    x: Tensor, strength: float, generator: torch.Generator, *, black: Sequence[float], flip: bool = False
) -> Tensor:
    """Shift, contrast and brightness, and a mirrored half if ``flip``. x: (N, C, H, W). black: its value by channel."""
    if strength == 0:
        return x
    fill = torch.tensor(black, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
    x = _shifted(_shifted(x, 2, strength, generator, fill), 3, strength, generator, fill)
    if flip:
        mirrored = _even(x, generator) < 0
        x = torch.where(mirrored, x.flip(3), x)
    contrast, brightness = 1 + 0.4 * strength * _even(x, generator), 0.2 * strength * _even(x, generator)
    return x * contrast + brightness


def augment_signals(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Shift, scale and noise. x: (N, C, L), of a standard deviation near 1."""
    if strength == 0:
        return x
    x = _shifted(x, 2, strength, generator, x.new_zeros(()))
    return x * (1 + 0.2 * strength * _even(x, generator)) + 0.1 * strength * _normal(x.shape, x, generator)


def augment_log_mel(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Shift and noise as for signals, and a mask over time and one over bands (SpecAugment, Park et al. 2019).

    x: (N, bands, frames), normalised, so that 0 is the mean and a change of level is a sum.
    """
    if strength == 0:
        return x
    x = _shifted(x, 2, strength, generator, x.new_zeros(()))
    x = x + 0.2 * strength * _even(x, generator) + 0.1 * strength * _normal(x.shape, x, generator)
    return _masked(_masked(x, 1, strength, generator), 2, strength, generator)


def augment_rows(x: Tensor, strength: float, generator: torch.Generator, *, numeric: int) -> Tensor:
    """Gaussian noise on the first ``numeric`` columns, which are standardised; category codes stay. x: (N, F)."""
    if strength == 0:
        return x
    noise = 0.1 * strength * _normal((len(x), numeric), x, generator)
    return x + nn.functional.pad(noise, (0, x.shape[1] - numeric))


def _shifted(x: Tensor, dim: int, strength: float, generator: torch.Generator, fill: Tensor) -> Tensor:
    """Each example moved along ``dim`` by up to SHIFT of it; what comes in is ``fill``."""
    length = x.shape[dim]
    most = round(SHIFT * strength * length)
    if not most:
        return x
    moves = torch.randint(-most, most + 1, (len(x), 1), generator=generator, device=generator.device).to(x.device)
    source = torch.arange(length, device=x.device) - moves
    shape = [len(x), *(length if at == dim else 1 for at in range(1, x.dim()))]
    inside = ((source >= 0) & (source < length)).view(shape)
    moved = x.gather(dim, source.clamp(0, length - 1).view(shape).expand(x.shape))
    return torch.where(inside, moved, fill)


def _masked(x: Tensor, dim: int, strength: float, generator: torch.Generator) -> Tensor:
    """Each example with 0 over a random stretch of up to MASK along ``dim``."""
    length = x.shape[dim]
    shape = [len(x), *(1 for _ in range(1, x.dim()))]
    width, start = (_even(x, generator).view(shape) / 2 + 0.5 for _ in range(2))
    width = width * MASK * strength * length
    start = start * (length - width)
    places = torch.arange(length, device=x.device).view([-1 if at == dim else 1 for at in range(x.dim())])
    return x.masked_fill((places >= start) & (places + 1 <= start + width), 0.0)


def _even(x: Tensor, generator: torch.Generator) -> Tensor:
    """A number from -1 to 1 for each example, shaped to be broadcast."""
    drawn = torch.rand([len(x), *(1 for _ in range(1, x.dim()))], generator=generator, device=generator.device)
    return (drawn * 2 - 1).to(x)


def _normal(shape: Sequence[int], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).to(like)
