"""Signals: a folder of WAV files as log-mel features, and MNIST-1D."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import parts
from scipy.io import wavfile

from paretonas.errors import UsageError
from paretonas.objectives import MNIST1D, AudioFolder, Data
from paretonas.objectives.tasks.log_mel import LogMel

TONES = {"high": 3000.0, "low": 300.0, "middle": 1000.0}
TYPES = (np.int16, np.int32, np.uint8, np.float32)


def tone(hertz: float, rate: int, seconds: float, kind: Any) -> Any:
    """A tone at half of the full scale, as samples of a type."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)
    if kind is np.float32:
        return wave.astype(np.float32)
    if kind is np.uint8:
        return (wave * 127 + 128).round().astype(np.uint8)
    return (wave * np.iinfo(kind).max).round().astype(kind)


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """Twelve tones of each pitch: four types of samples, three rates and lengths, one and two channels."""
    for name, hertz in TONES.items():
        (tmp_path / name).mkdir()
        for at in range(12):
            rate, seconds = ((16_000, 1.0), (8000, 0.5), (22_050, 1.3))[at % 3]
            wave = tone(hertz + at, rate, seconds, TYPES[at % 4])
            wave = np.stack([wave, wave], 1) if at % 2 else wave
            wavfile.write(tmp_path / name / f"{at}.wav", rate, wave)
    return tmp_path


def test_files_become_log_mel_features(words: Path) -> None:
    """Bands by frames of one length, stratified; the card has all that is needed to make them again."""
    data = AudioFolder(folder=words, mels=20).load()
    assert data.spec.input_shape == (20, 101)
    assert data.targets[0].names == ("high", "low", "middle")
    assert data.spec.ineffective == ()
    assert [torch.bincount(y).tolist() for _, y in parts(data)] == [[8] * 3, [2] * 3, [2] * 3]
    assert all(x.dtype == torch.float32 and x.shape[1:] == (20, 101) for x, _ in parts(data))
    done = data.preprocessing["input"]
    assert {name: done[name] for name in ("rate", "seconds", "mels", "window_ms", "hop_ms", "fft", "skipped")} == {
        "rate": 16_000, "seconds": 1.0, "mels": 20, "window_ms": 25.0, "hop_ms": 10.0, "fft": 512, "skipped": 0,
    }  # fmt: skip
    assert len(done["mean"]) == len(done["std"]) == 20


def test_features_are_normalised_by_the_train_split(words: Path) -> None:
    """Each band has mean 0 and deviation 1 there."""
    train, _, test = (x for x, _ in parts(AudioFolder(folder=words, mels=20).load()))
    assert train.mean((0, 2)).abs().max() < 1e-4
    assert (train.std((0, 2), correction=0) - 1).abs().max() < 1e-4
    assert test.mean((0, 2)).abs().max() > 1e-3


def test_a_tone_is_loudest_in_its_band() -> None:
    """Of bands whose centres are equally far apart in mel."""
    how = LogMel(16_000, 1.0, 40, 25.0, 10.0)
    mel = 2595 * np.log10(1 + np.array([150.0, 700.0, 2000.0, 6000.0]) / 700)
    centres = np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 42)[1:-1]
    for place, hertz in zip(mel, (150.0, 700.0, 2000.0, 6000.0), strict=True):
        features = how.features(torch.from_numpy(tone(hertz, 16_000, 1.0, np.float32)))
        assert int(features[:, 50].argmax()) == np.abs(centres - place).argmin()


def test_types_rates_and_channels_give_the_same_features(tmp_path: Path) -> None:
    """A tone is what it is, however it was written."""
    how = LogMel(16_000, 0.5, 20, 25.0, 10.0)
    found = []
    for at, (kind, rate) in enumerate([*((kind, 16_000) for kind in TYPES), (np.int16, 44_100), (np.int16, 11_025)]):
        wave = tone(500.0, rate, 0.8, kind)
        wavfile.write(tmp_path / f"{at}.wav", rate, np.stack([wave, wave], 1) if at == 1 else wave)
        features = how.read(tmp_path / f"{at}.wav")
        assert isinstance(features, torch.Tensor)
        assert features.shape == (20, 51)
        found.append(features[:, 10:40])
    loud = found[0] > found[0].max() - 8
    for features in found[1:]:
        assert (features - found[0])[loud].abs().max() < 0.1


def test_short_files_are_filled_up_with_silence(tmp_path: Path) -> None:
    """At the end."""
    wavfile.write(tmp_path / "a.wav", 16_000, tone(500.0, 16_000, 0.2, np.int16))
    features = LogMel(16_000, 1.0, 20, 25.0, 10.0).read(tmp_path / "a.wav")
    assert isinstance(features, torch.Tensor)
    assert (features[:, 30:] == np.log(np.float32(1e-6))).all()
    assert features[:, 10].max() > 0


def break_some(folder: Path) -> None:
    """One file that is cut off, one of noise, one empty, one without samples and one whose samples are no numbers."""
    whole = (folder / "low" / "0.wav").read_bytes()
    (folder / "low" / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "low" / "noise.wav").write_bytes(bytes(range(256)))
    (folder / "high" / "empty.wav").write_bytes(b"")
    wavfile.write(folder / "high" / "silent.wav", 8000, np.zeros(0, dtype=np.int16))
    wavfile.write(folder / "high" / "nan.wav", 8000, np.full(100, np.nan, dtype=np.float32))


def test_corrupt_files_are_named_counted_and_refused(words: Path) -> None:
    """In one sentence that tells how to skip them."""
    break_some(words)
    with pytest.raises(UsageError, match=r"5 of 41 WAV files in .* cannot be read: .*on_bad = 'skip'") as refusal:
        AudioFolder(folder=words).load()
    for name in ("low/cut.wav", "low/noise.wav", "high/empty.wav", "high/silent.wav", "high/nan.wav"):
        assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_corrupt_files_are_skipped_with_a_warning(words: Path) -> None:
    """The others are what they were without them; the card counts the skipped."""
    before = AudioFolder(folder=words).load()
    break_some(words)
    with pytest.warns(UserWarning, match="5 of 41 WAV files in .* cannot be read: .*; they are skipped"):
        after = AudioFolder(folder=words, on_bad="skip").load()
    assert after.preprocessing["input"]["skipped"] == 5
    for (x, y), (same_x, same_y) in zip(parts(before), parts(after), strict=True):
        assert torch.equal(x, same_x)
        assert torch.equal(y, same_y)


def test_other_chunks_do_no_harm(tmp_path: Path) -> None:
    """Programs write notes of their own into WAV files."""
    wavfile.write(tmp_path / "a.wav", 16_000, tone(500.0, 16_000, 0.2, np.int16))
    written = (tmp_path / "a.wav").read_bytes()
    chunk = b"note" + (4).to_bytes(4, "little") + b"mine"
    size = (len(written) + len(chunk) - 8).to_bytes(4, "little")
    (tmp_path / "b.wav").write_bytes(written[:4] + size + written[8:] + chunk)
    how = LogMel(16_000, 1.0, 20, 25.0, 10.0)
    one, other = how.read(tmp_path / "a.wav"), how.read(tmp_path / "b.wav")
    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    assert torch.equal(one, other)


def test_a_folder_without_sounds_is_refused(tmp_path: Path) -> None:
    """A label without a WAV file is named."""
    (tmp_path / "yes").mkdir()
    with pytest.raises(UsageError, match=r"needs WAV files \(.wav\), there are none in 'yes'"):
        AudioFolder(folder=tmp_path).load()


@pytest.fixture(scope="module")
def signals() -> Data:
    return MNIST1D().load()


def test_mnist1d_is_of_the_published_size(signals: Data) -> None:
    """4,000 signals of 40 numbers of which a part validates, and 1,000 for the test, ten digits alike."""
    assert signals.spec.input_shape == (1, 40)
    assert [torch.bincount(y).tolist() for _, y in parts(signals)] == [[320] * 10, [80] * 10, [100] * 10]
    train = parts(signals)[0][0]
    assert abs(train.mean().item()) < 1e-5
    assert abs(train.std(correction=0).item() - 1) < 1e-5
    assert len(MNIST1D(validation=0.1).load().validation) == 400


def test_mnist1d_follows_its_seed(signals: Data) -> None:
    """The same seed gives the same signals, another one others."""
    assert torch.equal(parts(MNIST1D().load())[2][0], parts(signals)[2][0])
    assert not torch.equal(parts(MNIST1D(seed=1).load())[2][0], parts(signals)[2][0])


def test_mnist1d_is_neither_noise_nor_easy(signals: Data) -> None:
    """A linear classifier, of least squares, is right in about a quarter; published is 32 %, of a logistic one."""
    (x, y), _, (test_x, test_y) = parts(signals)
    weights = torch.linalg.lstsq(x[:, 0], torch.nn.functional.one_hot(y).float()).solution
    right = ((test_x[:, 0] @ weights).argmax(1) == test_y).float().mean()
    assert 0.2 < right < 0.35


def test_mnist1d_has_the_published_spectrum(signals: Data) -> None:
    """The mean strength of each third frequency, as the authors' own generator gives it (seed 42), within 5 %."""
    published = torch.tensor([9.67, 8.92, 5.52, 3.69, 2.11, 1.43, 1.28])
    found = torch.fft.rfft(parts(signals)[0][0][:, 0]).abs().mean(0)[::3]
    assert (found / published - 1).abs().max() < 0.05
