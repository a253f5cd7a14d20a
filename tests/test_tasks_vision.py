"""torchvision's sets, read by torchvision's own readers from small files in their own formats."""

import hashlib
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import parts

from paretonas.errors import UsageError
from paretonas.objectives import Vision

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
IMAGES = {"train": 60, "test": 20}
FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}


def labels_of(part: str, classes: int) -> list[int]:
    return [at % classes for at in range(IMAGES[part])]


def pixels_of(part: str, shape: tuple[int, ...]) -> Pixels:
    draw = np.random.default_rng(len(part))
    return draw.integers(0, 200, (IMAGES[part], *shape), dtype=np.uint8)


def write_mnist(root: Path, name: str) -> None:
    """The four IDX files of MNIST and its like (LeCun et al. 1998)."""
    folder = root / FOLDERS[name] / "raw"
    folder.mkdir(parents=True)
    for part, word in (("train", "train"), ("test", "t10k")):
        pixels, labels = pixels_of(part, (28, 28)), np.array(labels_of(part, 10), dtype=np.uint8)
        for array, kind in ((pixels, "images-idx3"), (labels, "labels-idx1")):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (folder / f"{word}-{kind}-ubyte").write_bytes(head + array.tobytes())


def write_cifar(root: Path, monkeypatch: pytest.MonkeyPatch, *, many: bool) -> None:
    """CIFAR's pickled batches; torchvision's list of their checksums is that of these files."""
    from torchvision import datasets

    reader = datasets.CIFAR100 if many else datasets.CIFAR10
    word = "fine_labels" if many else "labels"
    folder = root / reader.base_folder
    folder.mkdir(parents=True)

    def put(name: str, content: dict[str, Any]) -> list[str]:
        written = pickle.dumps(content)
        (folder / name).write_bytes(written)
        return [name, hashlib.md5(written, usedforsecurity=False).hexdigest()]

    for part in ("train", "test"):
        pixels = pixels_of(part, (3 * 32 * 32,))
        listed = put(f"{part}_part", {"data": pixels, word: labels_of(part, 10)})
        monkeypatch.setattr(reader, f"{part}_list", [listed])
    key = reader.meta["key"]
    meta = put("meta", {key: [f"class {at}" for at in range(10)]})
    monkeypatch.setattr(reader, "meta", {"filename": meta[0], "md5": meta[1], "key": key})


def write_svhn(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SVHN's MATLAB files, where the digit 0 has the label 10."""
    from scipy.io import savemat
    from torchvision import datasets

    root.mkdir()
    listed = {}
    for part in ("train", "test"):
        file = root / f"{part}_32x32.mat"
        labels = np.array([label or 10 for label in labels_of(part, 10)], dtype=np.uint8).reshape(-1, 1)
        savemat(file, {"X": pixels_of(part, (3, 32, 32)).transpose(2, 3, 1, 0), "y": labels})
        listed[part] = ["", file.name, hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a small set as its makers would, and give its root."""

    def call(name: str) -> Path:
        root = tmp_path / name
        if name in FOLDERS:
            write_mnist(root, name)
        elif name == "svhn":
            write_svhn(root, monkeypatch)
        else:
            write_cifar(root, monkeypatch, many=name == "cifar100")
        return root

    return call


SETS = ["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn"]


@pytest.mark.parametrize("name", SETS)
def test_each_set_is_read(write: Callable[[str], Path], name: Any) -> None:
    """Its test split as it is, and a stratified part of its train split for validation."""
    data = Vision(data=name, root=write(name), validation=0.2).load()
    shape = (1, 28, 28) if name in FOLDERS else (3, 32, 32)
    assert data.spec.input_shape == shape
    assert [head.outputs for head in data.spec.heads] == [10]
    assert [len(y) for _, y in parts(data)] == [50, 10, 20]
    assert all((torch.bincount(y) == len(y) / 10).all() for _, y in parts(data))
    x, y = parts(data)[2]
    assert y.tolist() == labels_of("test", 10)
    done = data.preprocessing["input"]
    mean, std = (torch.tensor(done[word]).view(-1, 1, 1) for word in ("mean", "std"))
    raw = ((x * std + mean) / done["pixel_scale"]).round().to(torch.uint8)
    assert np.array_equal(raw.numpy(), pixels_of("test", shape).reshape(20, *shape))


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_pixels_are_normalised_by_the_train_split(write: Callable[[str], Path], name: Any) -> None:
    """Each channel has mean 0 and deviation 1 there, and not exactly so elsewhere."""
    train, validation, test = (x for x, _ in parts(Vision(data=name, root=write(name)).load()))
    assert train.mean((0, 2, 3)).abs().max() < 1e-5
    assert (train.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    assert min(x.mean((0, 2, 3)).abs().min() for x in (validation, test)) > 1e-5


def test_the_seed_decides_who_validates(write: Callable[[str], Path]) -> None:
    """The test split is the same with each."""
    root = write("mnist")
    one, same, other = (parts(Vision(data="mnist", root=root, seed=seed).load()) for seed in (0, 0, 1))
    assert torch.equal(one[1][0], same[1][0])
    assert not torch.equal(one[1][0], other[1][0])
    assert torch.equal(one[2][1], other[2][1])


def test_only_pictures_that_may_be_mirrored_are(write: Callable[[str], Path]) -> None:
    """CIFAR's keep their label in the mirror, digits do not."""
    for name, mirrored in (("cifar10", True), ("mnist", False)):
        data = Vision(data=name, root=write(name)).load()  # type: ignore[arg-type]
        assert data.augment is not None
        x = parts(data)[0][0]
        changed = data.augment(x, 1e-6, torch.Generator().manual_seed(0))
        found = [bool((changed[at] - x[at].flip(2)).abs().max() < 1e-4) for at in range(len(x))]
        assert (15 < sum(found) < 40) is mirrored
        assert any(found) is mirrored


@pytest.mark.parametrize("name", SETS)
def test_a_missing_set_is_refused_in_one_sentence(tmp_path: Path, name: Any) -> None:
    """With its root and how to fetch it."""
    with pytest.raises(UsageError, match=f"{name} is read from root = '{tmp_path}'.*download = true") as refusal:
        Vision(data=name, root=tmp_path).load()
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_a_broken_set_is_refused_in_one_sentence(write: Callable[[str], Path], name: Any) -> None:
    """Whatever its reader makes of files that were cut off."""
    root = write(name)
    for file in root.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"missing or broken \(.*\): give the root") as refusal:
        Vision(data=name, root=root).load()
    assert "\n" not in str(refusal.value)


def test_a_failed_download_is_refused_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a network."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network here")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(UsageError, match="missing or broken"):
        Vision(data="cifar10", root=tmp_path, download=True).load()


def test_what_is_there_is_not_fetched_again(write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With download, a complete folder is read without a network."""
    root = write("cifar10")
    monkeypatch.setattr(socket, "create_connection", None)
    assert len(Vision(data="cifar10", root=root, download=True).load().test) == 20
