"""Reading a task's file or folder: that it is there, what is in it by label, and whether it changed."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ...errors import UsageError
from .splits import shortened


def existing_file(file: str | Path) -> Path:
    """The file, if it is one; else UsageError."""
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give the path of the data")
    return path


def file_bytes(file: str | Path) -> bytes:
    """All that is in the file. UsageError if it is not there, is empty or cannot be read."""
    path = existing_file(file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the file {path} cannot be read: {error.strerror}") from error
    if not content:
        raise UsageError(f"the file {path} is empty: data are needed")
    return content


def decoded(content: bytes, file: str | Path) -> str:
    """The text of a file. UsageError with the position of the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"text is read as UTF-8, and byte {error.start} (from 0) of {file} is 0x{content[error.start]:02x}, which "
            "is not: save the file as UTF-8"
        ) from error


def file_fingerprint(file: str | Path) -> str:
    """SHA-256 of the content."""
    try:
        with existing_file(file).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"the file {file} cannot be read: {error.strerror}") from error


def folder_fingerprint(folder: str | Path) -> str:
    """SHA-256 of the relative names and the sizes of the files, without reading them."""
    root = _existing_folder(folder)
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class LabelledFiles:
    """The files of a folder with a sub-folder for each label. labels: (N,), which of the names."""

    folder: Path
    files: tuple[Path, ...]
    labels: Tensor
    names: tuple[str, ...]

    def without(self, bad: Mapping[int, str], *, skip: bool, what: str) -> "LabelledFiles":
        """The files less the bad ones, with a warning, or UsageError; both count them and name the first few.

        bad: what is wrong, by the file's place.
        """
        if not bad:
            return self
        some = shortened([f"{self.files[at].relative_to(self.folder)} ({bad[at]})" for at in sorted(bad)])
        message = f"{len(bad)} of {len(self.files)} {what}s in {self.folder} cannot be read: {some}"
        if not skip:
            raise UsageError(f"{message}; mend or remove them, or give on_bad = 'skip'")
        warnings.warn(f"{message}; they are skipped", stacklevel=3)
        good = [at for at in range(len(self.files)) if at not in bad]
        return replace(self, files=tuple(self.files[at] for at in good), labels=self.labels[good])


def labelled_files(folder: str | Path, suffixes: Sequence[str], what: str) -> LabelledFiles:
    """All files with one of the suffixes, by sub-folder, sorted. UsageError if a sub-folder has none."""
    root = _existing_folder(folder)
    labels = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not labels:
        raise UsageError(
            f"{root} needs a sub-folder of {what}s for each label, it has none: move the {what}s into some"
        )
    found = [[path for path in sorted(label.rglob("*")) if _is_wanted(path, suffixes)] for label in labels]
    empty = [repr(label.name) for label, files in zip(labels, found, strict=True) if not files]
    if empty:
        raise UsageError(
            f"each sub-folder of {root} needs {what}s ({', '.join(suffixes)}), there are none in {shortened(empty)}: "
            "add some or remove it"
        )
    sizes = torch.tensor([len(files) for files in found])
    files = tuple(path for some in found for path in some)
    names = tuple(label.name for label in labels)
    return LabelledFiles(root, files, torch.arange(len(labels)).repeat_interleave(sizes), names)


def _is_wanted(path: Path, suffixes: Sequence[str]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")


def _existing_folder(folder: str | Path) -> Path:
    path = Path(folder)
    if not path.is_dir():
        raise UsageError(f"there is no folder {path}: give the path of the data")
    return path
