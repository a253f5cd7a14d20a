"""Where files are kept: a folder, or a bucket of S3-compatible storage, both laid out as Optuna's artifact stores."""

import json
import os
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import torch
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from safetensors.torch import save
from sqlalchemy import make_url

from ..errors import StoreError
from ..spaces import Architecture
from .disk import flush

if TYPE_CHECKING:
    from optuna.artifacts._protocol import ArtifactStore

PARTS = "parts"  # a folder in the artifact folder: what is not written to its end
S3 = "s3://"
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Kept:
    """A file that a place has. name: its id, or what else was put there. part: the name of the attempt to write it,
    where it was not written to its end.
    """

    name: str
    bytes: int
    part: str = ""


class Artifacts(ABC):
    """A place for files by UUID. where: as ``--artifacts`` takes it. Raises StoreError, in one sentence."""

    where: str
    optuna: "ArtifactStore"  # what optuna-dashboard reads

    @abstractmethod
    def prepare(self) -> None:
        """Make the place ready for whoever writes there by other ways, such as optuna-dashboard."""

    @abstractmethod
    def write(self, artifact: str, content: bytes) -> None:
        """Keep a file, whole or not at all, whoever dies meanwhile."""

    @abstractmethod
    def size(self, artifact: str) -> int | None:
        """Its bytes; None if it is not there."""

    @abstractmethod
    def remove(self, artifact: str) -> None:
        """Remove a file, and what was begun of it; one that is gone is fine."""

    @abstractmethod
    def kept(self) -> Iterator[Kept]:
        """All that is there."""

    @abstractmethod
    def remove_kept(self, kept: Kept) -> None:
        """Remove what ``kept`` listed."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """Room that is left; None where nobody can tell."""

    def read(self, artifact: str) -> bytes:
        """What a file holds."""
        with self.explained(artifact, "read"), self.optuna.open_reader(check_id(artifact)) as file:
            return file.read()

    @contextmanager
    def explained(self, artifact: str, done: str) -> Iterator[None]:
        """Turn what the folder or the bucket says into one sentence."""
        try:
            yield
        except StoreError:
            raise
        except ArtifactNotFound as error:
            raise StoreError(
                f"the artifact {artifact} is not in {self.where}: bring it back, or say where it is with --artifacts"
            ) from error
        except Exception as error:
            said = str(error).strip().split("\n")[0]
            named = f"the artifact {artifact}" if artifact else "what is there"
            raise StoreError(
                f"{named} could not be {done} in {self.where}: {said}: check that the place exists, is writable and "
                "has room; the same command goes on"
            ) from error


class Folder(Artifacts):
    """A folder on this machine, or on a share that all machines have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.where = str(folder)
        self.optuna = FileSystemArtifactStore(str(folder))

    def prepare(self) -> None:
        with self.explained("", "made"):
            self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, artifact: str, content: bytes) -> None:
        file, parts = self.folder / check_id(artifact), self.folder / PARTS
        part = parts / f"{artifact}.{uuid4().hex}"
        with self.explained(artifact, "written"):
            parts.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as opened:
                    opened.write(content)
                    opened.flush()
                    os.fsync(opened.fileno())
                part.replace(file)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise
            with suppress(OSError):  # not every system can flush a folder
                flush(self.folder)
            self._remove_parts(artifact)

    def size(self, artifact: str) -> int | None:
        with self.explained(artifact, "found"):
            try:
                return (self.folder / check_id(artifact)).stat().st_size
            except FileNotFoundError:
                return None

    def remove(self, artifact: str) -> None:
        with self.explained(artifact, "removed"):
            (self.folder / check_id(artifact)).unlink(missing_ok=True)
            self._remove_parts(artifact)

    def kept(self) -> Iterator[Kept]:
        with self.explained("", "listed"):
            for file in _files(self.folder):
                yield Kept(file.name, file.stat().st_size)
            for file in _files(self.folder / PARTS):
                yield Kept(file.name.partition(".")[0], file.stat().st_size, file.name)

    def remove_kept(self, kept: Kept) -> None:
        with self.explained(kept.name, "removed"):
            (self.folder / PARTS / kept.part if kept.part else self.folder / kept.name).unlink(missing_ok=True)

    def free_bytes(self) -> int | None:
        there = next((place for place in (self.folder, *self.folder.absolute().parents) if place.exists()), None)
        return None if there is None else shutil.disk_usage(there).free

    def _remove_parts(self, artifact: str) -> None:
        """What processes that died had begun of this file."""
        for part in (self.folder / PARTS).glob(f"{artifact}.*"):
            part.unlink(missing_ok=True)


def artifacts_at(where: str | Path | None, url: str) -> Artifacts:
    """The folder or the bucket that ``--artifacts`` names; without a name the folder of the database ``url``."""
    if isinstance(where, str) and where.startswith(S3):
        from .bucket import Bucket

        return Bucket(where)
    if isinstance(where, str) and "://" in where:
        raise StoreError(f"artifacts are kept in a folder or at {S3}BUCKET/PREFIX, {where.partition(':')[0]}:// came")
    return Folder(Path(where) if where is not None else default_folder(url))


def default_folder(url: str) -> Path:
    """Beside a SQLite file, named after it; in the current folder for a database server."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        file = Path(parsed.database)
        return file.with_name(f"{file.stem}-artifacts")
    return Path("paretonas-artifacts")


def check_id(artifact: str) -> str:
    """The id, which can lead nowhere but into the place. StoreError for others."""
    if not ID.fullmatch(artifact):
        raise StoreError(f"an artifact is named by a UUID, the store says {artifact!r}: the store was tampered with")
    return artifact


def weights_in_bytes(architecture: Architecture, state: Mapping[str, torch.Tensor]) -> bytes:
    """Tensors, and the architecture that they belong to as metadata, as safetensors.

    A tensor that a user's own module has under two names is written under each: safetensors refuses shared ones.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    return save(tensors, metadata={"architecture": json.dumps(architecture.to_json())})


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files of a folder; those that vanish meanwhile may be among them."""
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        yield from (entry for entry in entries if entry.is_file())
