"""A folder of images: sizes, modes, splits in memory and not, and what is refused or skipped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from paretonas.errors import StudyError, UsageError
from paretonas.objectives import Data, ImageFolder, LazySplit, Split

Write = Callable[..., Path]
COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 60), "red": (230, 20, 10)}
FORMATS = (
    ("RGB", "png"), ("L", "png"), ("RGBA", "png"), ("P", "png"), ("CMYK", "jpg"), ("RGB", "jpg"), ("L", "jpg"),
    ("1", "png"), ("LA", "png"), ("RGB", "bmp"),
)  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Ten pictures of each colour, in as many modes, formats and sizes."""
    draw = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for at, (mode, suffix) in enumerate(FORMATS):
            size = (int(draw.integers(5, 60)), int(draw.integers(5, 60)))
            noise = draw.integers(-10, 10, (size[1], size[0], 3))
            pixels = (np.array(colour) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).convert(mode).save(tmp_path / name / f"{at}.{suffix}")
    return tmp_path


def splits(data: Data) -> list[Split | LazySplit]:
    return [data.train, data.validation, data.test]


def examples(split: Split | LazySplit) -> tuple[torch.Tensor, torch.Tensor]:
    """All of them as one batch."""
    [(x, y)] = split.batches(1000)
    assert isinstance(y, torch.Tensor)
    return x, y


def pixels(data: Data, split: Split | LazySplit) -> torch.Tensor:
    """The pixels before normalisation, from 0 to 255."""
    done = data.preprocessing["input"]
    mean, std = (torch.tensor(done[word]).view(-1, 1, 1) for word in ("mean", "std"))
    return (examples(split)[0] * std + mean) * 255


@pytest.mark.parametrize("channels", ["rgb", "gray"])
def test_mixed_sizes_and_modes_become_one_shape(pictures: Path, channels: Any) -> None:
    """Each picture is a square of the wished channels, and the splits are stratified."""
    data = ImageFolder(folder=pictures, size=16, channels=channels).load()
    assert data.spec.input_shape == ((3, 16, 16) if channels == "rgb" else (1, 16, 16))
    assert data.targets[0].names == ("blue", "green", "red")
    assert data.spec.ineffective == ()
    for split, size in zip(splits(data), (18, 6, 6), strict=True):
        x, y = examples(split)
        assert x.shape == (size, *data.spec.input_shape)
        assert x.dtype == torch.float32
        assert torch.bincount(y).tolist() == [size / 3] * 3


def test_colours_stay(tmp_path: Path) -> None:
    """In every mode that has colours the picture looks the same."""
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for mode in ("RGB", "RGBA", "P", "CMYK"):
            suffix = "tif" if mode == "CMYK" else "png"
            plain = Image.new("RGB", (9, 7), colour)
            plain.convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / name / f"{mode}.{suffix}")
    data = ImageFolder(folder=tmp_path, size=4).load()
    for split in splits(data):
        for picture, label in zip(pixels(data, split), examples(split)[1].tolist(), strict=True):
            wished = torch.tensor(list(COLOURS.values())[label]).view(3, 1, 1)
            assert (picture - wished).abs().max() < 3


def test_the_shorter_side_is_resized_and_the_middle_kept(tmp_path: Path) -> None:
    """Of a wide picture the ends are cut; one that lies on its side is turned; 16 bits become 8."""
    wide = np.zeros((10, 30), dtype=np.uint8)
    wide[:, 10:20] = 200
    half = np.zeros((10, 20), dtype=np.uint8)
    half[:5, 5:15] = 200
    turned = Image.fromarray(np.rot90(half).copy())
    exif = Image.Exif()
    exif[0x0112] = 6
    deep_steps = Image.fromarray(np.full((8, 8), 200 * 256, dtype=np.uint16))
    for name, image, note in (
        ("deep", deep_steps, Image.Exif()),
        ("half", turned, exif),
        ("wide", Image.fromarray(wide), Image.Exif()),
    ):
        (tmp_path / name).mkdir()
        for at in range(3):
            image.save(tmp_path / name / f"{at}.png", exif=note)
    data = ImageFolder(folder=tmp_path, size=8, channels="gray").load()
    deep, upright, middle = pixels(data, data.train)[:, 0].round()
    assert (deep == 200).all()
    assert (middle[:, 1:-1] == 200).all()
    assert middle.min() > 150
    assert (upright[:3] == 200)[:, 1:-1].all()
    assert (upright[5:] == 0).all()


def test_pixels_are_normalised_by_the_train_split(pictures: Path) -> None:
    """Each channel has mean 0 and deviation 1 there; the card tells how."""
    data = ImageFolder(folder=pictures, size=8).load()
    x, _ = examples(data.train)
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    done = data.preprocessing["input"]
    assert (done["channels"], done["size"], done["skipped"]) == ("rgb", 8, 0)
    assert examples(data.test)[0].mean((0, 2, 3)).abs().max() > 1e-3


@pytest.mark.parametrize("channels", ["rgb", "gray"])
def test_pictures_that_stay_on_disk_are_the_same(pictures: Path, channels: Any) -> None:
    """The same description, and the same batches in the same order, as in memory."""
    kept = ImageFolder(folder=pictures, size=12, channels=channels, in_memory=True).load()
    read = ImageFolder(folder=pictures, size=12, channels=channels, in_memory=False).load()
    assert (kept.spec, kept.targets, kept.preprocessing) == (read.spec, read.targets, read.preprocessing)
    order = torch.tensor([5, 0, 3, 3, 1])
    for one, other in zip(splits(kept), splits(read), strict=True):
        assert isinstance(one, Split)
        assert isinstance(other, LazySplit)
        for rows in (None, order):
            for (x, y), (lazy_x, lazy_y) in zip(one.batches(4, rows), other.batches(4, rows), strict=True):
                assert isinstance(y, torch.Tensor)
                assert isinstance(lazy_y, torch.Tensor)
                assert torch.equal(x, lazy_x)
                assert torch.equal(y, lazy_y)


def test_the_free_memory_decides_by_default(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs more than a quarter of it stays on disk."""
    needed = 30 * 3 * 16 * 16 * 4

    class Memory:
        available = 4 * needed

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    assert isinstance(ImageFolder(folder=pictures, size=16).load().train, Split)
    Memory.available -= 1
    assert isinstance(ImageFolder(folder=pictures, size=16).load().train, LazySplit)


def test_the_seed_decides_who_goes_where(pictures: Path) -> None:
    """The same seed gives the same test split."""
    one, same, other = (ImageFolder(folder=pictures, seed=seed).load() for seed in (0, 0, 1))
    assert torch.equal(examples(one.test)[0], examples(same.test)[0])
    assert not torch.equal(examples(one.test)[0], examples(other.test)[0])


def test_mirrored_pictures_only_if_said(pictures: Path) -> None:
    """By default no picture is mirrored."""
    for flip in (False, True):
        data = ImageFolder(folder=pictures, size=8, flip=flip).load()
        assert data.augment is not None
        x = examples(data.train)[0]
        changed = data.augment(x, 1e-6, torch.Generator().manual_seed(0))
        assert ((changed - x).abs().amax((1, 2, 3)) > 1e-3).any().item() is flip


def break_some(folder: Path) -> None:
    """One file that is cut off, one of noise, one empty, and one that is no picture."""
    whole = (folder / "red" / "0.png").read_bytes()
    (folder / "red" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "green" / "noise.jpg").write_bytes(bytes(range(256)) * 4)
    (folder / "blue" / "empty.png").write_bytes(b"")
    (folder / "blue" / "text.gif").write_text("a picture of a thousand words")


def test_corrupt_pictures_are_named_counted_and_refused(pictures: Path) -> None:
    """In one sentence that tells how to skip them."""
    break_some(pictures)
    with pytest.raises(UsageError, match=r"4 of 34 images in .* cannot be read: .*give on_bad = 'skip'") as refusal:
        ImageFolder(folder=pictures).load()
    for name in ("red/cut.png", "green/noise.jpg", "blue/empty.png", "blue/text.gif"):
        assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("in_memory", [True, False])
def test_corrupt_pictures_are_skipped_with_a_warning(pictures: Path, *, in_memory: bool) -> None:
    """The others are what they were without them; the card counts the skipped."""
    before = ImageFolder(folder=pictures, size=8, in_memory=in_memory).load()
    break_some(pictures)
    with pytest.warns(UserWarning, match="4 of 34 images in .* cannot be read: blue/empty.png .*; they are skipped"):
        after = ImageFolder(folder=pictures, size=8, in_memory=in_memory, on_bad="skip").load()
    assert after.preprocessing["input"]["skipped"] == 4
    for one, other in zip(splits(before), splits(after), strict=True):
        assert torch.equal(examples(one)[0], examples(other)[0])
        assert torch.equal(examples(one)[1], examples(other)[1])


def test_a_picture_that_breaks_later_is_named(pictures: Path) -> None:
    """When it is read from disk batch by batch."""
    data = ImageFolder(folder=pictures, size=8, in_memory=False).load()
    for file in (pictures / "red").iterdir():
        file.write_bytes(b"gone")
    with pytest.raises(StudyError, match=r"the image .*red.* could be read before, and now not"):
        list(data.train.batches(30))


def test_other_files_are_no_pictures(pictures: Path) -> None:
    """Notes and hidden files and folders are left alone; pictures in deeper folders are found."""
    (pictures / "notes.txt").write_text("mine")
    (pictures / "red" / "notes.txt").write_text("mine")
    (pictures / "red" / ".hidden.png").write_bytes(b"")
    (pictures / ".cache").mkdir()
    (pictures / "red" / "more").mkdir()
    (pictures / "red" / "0.png").rename(pictures / "red" / "more" / "0.PNG")
    data = ImageFolder(folder=pictures).load()
    assert sum(len(split) for split in splits(data)) == 30


def test_the_fingerprint_is_of_names_and_sizes(pictures: Path) -> None:
    """Another file or size changes it; another place of the folder does not."""
    before = ImageFolder(folder=pictures).fingerprint()
    moved = pictures.rename(pictures.with_name("moved"))
    assert ImageFolder(folder=moved).fingerprint() == before
    (moved / "red" / "0.png").write_bytes(b"other")
    changed = ImageFolder(folder=moved).fingerprint()
    assert changed != before
    (moved / "red" / "0.png").rename(moved / "red" / "zero.png")
    assert ImageFolder(folder=moved).fingerprint() != changed


def test_bad_folders_are_refused_in_one_sentence(tmp_path: Path) -> None:
    """Not there, without labels, a label without pictures, one label, a class with one picture, nothing readable."""

    def refused(message: str, **fields: Any) -> None:
        with pytest.raises(UsageError, match=message) as refusal:
            ImageFolder(folder=tmp_path / "set", **fields).load()
        assert "\n" not in str(refusal.value)

    refused("there is no folder")
    red, blue = tmp_path / "set" / "red", tmp_path / "set" / "blue"
    (tmp_path / "set").mkdir()
    refused("needs a sub-folder of images for each label, it has none")
    red.mkdir()
    blue.mkdir()
    for at in range(3):
        Image.new("RGB", (4, 4)).save(red / f"{at}.png")
    refused("there are none in 'blue'")
    blue.rmdir()
    refused("at least 2 classes, there is red")
    blue.mkdir()
    Image.new("RGB", (4, 4)).save(blue / "0.png")
    refused("each class of .* needs at least 3 examples, one for each of train, validation, test: 'blue' has 1")
    (blue / "0.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="1 of 4 images"):
        refused("'blue' has 0", on_bad="skip")
