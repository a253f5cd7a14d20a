"""WAV files as log-mel features: how loud each band of frequencies is, frame by frame."""

import warnings
from dataclasses import dataclass
from functools import cached_property
from math import ceil, gcd
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FLOOR = 1e-6  # of the power, so that silence has a logarithm


@dataclass(frozen=True)
class LogMel:
    """How features are made. rate: samples per second. mels: bands. window_ms, hop_ms: of the Fourier transform."""

    rate: int
    seconds: float
    mels: int
    window_ms: float
    hop_ms: float

    @property
    def samples(self) -> int:
        """Samples of an example."""
        return round(self.rate * self.seconds)

    @property
    def window(self) -> int:
        """Samples of the Hann window."""
        return round(self.rate * self.window_ms / 1000)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return round(self.rate * self.hop_ms / 1000)

    @property
    def frames(self) -> int:
        """Frames of an example; the first is centred on its first sample."""
        return 1 + self.samples // self.hop

    @property
    def fft(self) -> int:
        """Length of the Fourier transform: the window, filled up with zeros to a power of 2."""
        return int(2 ** ceil(np.log2(self.window)))

    @cached_property
    def filters(self) -> Tensor:
        """(mels, fft // 2 + 1): triangles of equal width in mel, where mel(f) = 2595 log10(1 + f / 700 Hz)."""
        frequency = torch.linspace(0, self.rate / 2, self.fft // 2 + 1, dtype=torch.float64)
        top = 2595 * torch.log10(torch.tensor(1 + self.rate / 2 / 700, dtype=torch.float64))
        edges = 700 * (10 ** (torch.linspace(0, 1, self.mels + 2, dtype=torch.float64) * top / 2595) - 1)
        low, middle, high = (edges[at : at + self.mels].unsqueeze(1) for at in range(3))
        rising, falling = (frequency - low) / (middle - low), (high - frequency) / (high - middle)
        return torch.minimum(rising, falling).clamp(min=0).to(torch.float32)

    def features(self, wave: Tensor) -> Tensor:
        """The logarithm of the power in each band: (samples,) to (mels, frames)."""
        spectrum = torch.stft(
            wave,
            self.fft,
            hop_length=self.hop,
            win_length=self.window,
            window=torch.hann_window(self.window),
            pad_mode="constant",
            return_complex=True,
        )
        return (self.filters @ spectrum.abs().square() + FLOOR).log()

    def read(self, file: Path) -> Tensor | str:
        """The features of a file, or why it cannot be read."""
        try:
            return self.features(self._wave(file))
        except Exception as error:  # noqa: BLE001 - scipy's reader lets through whatever a broken file gives
            return str(error).split("\n", maxsplit=1)[0] or type(error).__name__

    def _wave(self, file: Path) -> Tensor:
        """The samples of a file, from -1 to 1: one channel, at the rate, cut or filled up with silence."""
        from scipy.io import wavfile
        from scipy.signal import resample_poly

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks of other programs
            warnings.filterwarnings("error", "Reached EOF", wavfile.WavFileWarning)
            rate, samples = wavfile.read(file)
        wave = _floats(samples[: ceil(self.seconds * rate)]).reshape(-1, *samples.shape[1:2])
        wave = wave.mean(1) if wave.ndim == 2 else wave
        if not len(wave) or not np.isfinite(wave).all():
            raise ValueError("it has no samples, or some that are no number")
        common = gcd(rate, self.rate)
        resampled = resample_poly(wave, self.rate // common, rate // common)[: self.samples]
        return torch.from_numpy(np.pad(resampled, (0, self.samples - len(resampled)))).to(torch.float32)


def _floats(samples: np.ndarray) -> np.ndarray:
    """Samples of any of WAV's types as numbers from -1 to 1."""
    if samples.dtype.kind == "f":
        return samples.astype(np.float64)
    if samples.dtype == np.uint8:
        return samples / 128.0 - 1.0
    return samples / -float(np.iinfo(samples.dtype).min)
