"""MNIST-1D, made by its published recipe (Greydanus & Kobak 2020, "Scaling down deep learning with MNIST-1D")."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from .augment import augment_signals
from .base import HEAD, Data, HeldOutTask, Target, make_data
from .splits import Split, divide

Signals = NDArray[np.float64]

STROKES = (  # the height of a pen that writes the digits 0 to 9, as published
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
EXAMPLES = 500  # of each digit
TEST = 0.2
PADDING = (36, 60)  # zeros behind a digit, drawn from these
SCALE = 0.4  # the size varies by half of this
TRANSLATION = 48  # places a signal turns round, drawn from below this
CORRELATED_NOISE, SMOOTHING = 0.25, 2.0  # where there is no digit: smoothed over so many places
NOISE = 0.02
SHEAR = 0.75
LENGTH = 40


@dataclass(frozen=True, kw_only=True)
class MNIST1D(HeldOutTask):
    """4,000 noisy signals of 40 numbers to train on, each one of ten digits, and 1,000 for the test.

    validation: share of the 4,000 that is held out. seed: of all that is drawn.
    """

    name: ClassVar[str] = "mnist1d"

    def load(self) -> Data:
        signals = [_signals(digit, np.random.default_rng([self.seed, digit])) for digit in range(10)]
        x = torch.from_numpy(np.concatenate(signals)).to(torch.float32).unsqueeze(1)
        y = torch.arange(10).repeat_interleave(EXAMPLES)
        rest, test = divide(y, (TEST,), seed=self.seed)
        train, validation = (rest[rows] for rows in divide(y[rest], self.shares, seed=self.seed))
        std, mean = torch.std_mean(x[train], correction=0)
        x = (x - mean) / std
        return make_data(
            (1, LENGTH),
            [Target(HEAD, "classes", names=tuple(str(digit) for digit in range(10)))],
            [Split(x[rows], y[rows]) for rows in (train, validation, test)],
            done={"kind": "signal", "mean": [mean.item()], "std": [std.item()]},
            augment=augment_signals,
        )


def _signals(digit: int, draw: np.random.Generator) -> Signals:
    """All examples of a digit, (EXAMPLES, LENGTH), in the recipe's order of steps."""
    from scipy.ndimage import gaussian_filter1d

    stroke = np.array(STROKES[digit], dtype=float)
    stroke = (stroke - stroke.mean()) / stroke.std()
    template = (stroke - stroke[0]) / 6
    paddings = draw.integers(PADDING[0], PADDING[1] + 1, EXAMPLES)
    long = len(template) + PADDING[1]
    # A padded digit is stretched to the common length, so that less padding makes it wider.
    signals = np.stack([_resized(np.pad(template + 1e-8, (0, padding)), long) for padding in paddings])
    signals *= 1 + SCALE * (draw.random((EXAMPLES, 1)) - 0.5)
    turns = draw.integers(0, TRANSLATION, (EXAMPLES, 1))
    signals = np.take_along_axis(signals, (np.arange(long) - turns) % long, 1)
    correlated = gaussian_filter1d(CORRELATED_NOISE * draw.standard_normal(signals.shape), SMOOTHING, axis=1)
    signals = np.where(signals == 0, correlated, signals) + NOISE * draw.standard_normal(signals.shape)
    signals -= SHEAR * (draw.random((EXAMPLES, 1)) - 0.5) * np.linspace(-0.5, 0.5, long)
    return np.stack([_resized(signal, LENGTH) for signal in signals])


def _resized(signal: Signals, length: int) -> Signals:
    """Linear interpolation to another length."""
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(signal)), signal)
