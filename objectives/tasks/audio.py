"""A folder of WAV files with a sub-folder for each label, as log-mel features."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from ...errors import UsageError
from .augment import augment_log_mel
from .base import HEAD, Data, DividedTask, Target, make_data
from .fields import check_above_zero, check_least
from .files import folder_fingerprint, labelled_files
from .log_mel import LogMel
from .splits import Split, check_classes, divide


@dataclass(frozen=True, kw_only=True)
class AudioFolder(DividedTask):
    """WAV files of any rate and length, one sub-folder for each label.

    rate: samples per second they are brought to. seconds: of an example; longer files are cut at the end, shorter ones
    filled up with silence. mels: bands. window_ms, hop_ms: of the short-time Fourier transform. on_bad: what to do
    with files that cannot be read.
    """

    name: ClassVar[str] = "audio_folder"
    folder: str | Path
    rate: int = 16_000
    seconds: float = 1.0
    mels: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0
    on_bad: Literal["refuse", "skip"] = "refuse"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, self.where, rate=1, mels=1)
        check_above_zero(self, self.where, "seconds", "window_ms", "hop_ms")
        how = self._how
        if not 1 <= how.hop <= how.window <= how.samples:
            raise UsageError(
                f"a hop of {self.where} is at least one sample and no longer than the window, and that no longer than "
                f"the example: {how.hop}, {how.window} and {how.samples} samples were given"
            )
        if (how.filters.sum(1) == 0).any():
            raise UsageError(
                f"each band of {self.where} needs a frequency of its own, {self.mels} mels are too many for a window "
                f"of {self.window_ms:g} ms: take fewer mels or a longer window"
            )

    @property
    def _how(self) -> LogMel:
        return LogMel(self.rate, self.seconds, self.mels, self.window_ms, self.hop_ms)

    def fingerprint(self) -> str:
        return folder_fingerprint(self.folder)

    def load(self) -> Data:
        found, how = labelled_files(self.folder, (".wav",), "WAV file"), self._how
        read = [how.read(file) for file in found.files]
        bad = {at: answer for at, answer in enumerate(read) if isinstance(answer, str)}
        good = found.without(bad, skip=self.on_bad == "skip", what="WAV file")
        check_classes(good.labels, good.names, str(good.folder))
        parts = divide(good.labels, self.shares, seed=self.seed)
        x = torch.stack([answer for answer in read if isinstance(answer, Tensor)])
        std, mean = torch.std_mean(x[parts[0]], (0, 2), correction=0)
        std = torch.where(std > 0, std, 1.0)  # a band that is silent everywhere
        x = x.sub_(mean.unsqueeze(1)).div_(std.unsqueeze(1))
        measured = {"mean": mean.tolist(), "std": std.tolist(), "skipped": len(bad)}
        return make_data(
            (how.mels, how.frames),
            [Target(HEAD, "classes", names=good.names)],
            [Split(x[rows], good.labels[rows]) for rows in parts],
            done={"kind": "log_mel", **asdict(how), "fft": how.fft, **measured},
            augment=augment_log_mel,
        )
