"""Trained weights as safetensors in a folder, found from the trial."""

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

import optuna
import torch
from optuna.artifacts import FileSystemArtifactStore, upload_artifact
from safetensors.torch import load, save
from sqlalchemy import make_url

from ..errors import StoreError
from ..spaces import Architecture

WEIGHTS = "net.safetensors"


def default_folder(url: str) -> Path:
    """Beside a SQLite file, named after it; in the current folder for a database server."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        file = Path(parsed.database)
        return file.with_name(f"{file.stem}-artifacts")
    return Path("paretonas-artifacts")


class Artifacts:
    """The artifact folder, in the layout of Optuna's ``FileSystemArtifactStore`` (optuna-dashboard shows it)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save_weights(self, trial: optuna.Trial, architecture: Architecture, state: dict[str, torch.Tensor]) -> str:
        """Keep the weights of a running trial; returns the artifact's id. Raises StoreError if the folder is full."""
        return self.save(trial, WEIGHTS, weights_in_bytes(architecture, state))

    def save(self, trial: optuna.Trial, name: str, content: bytes) -> str:
        """Keep a file of a running trial; returns the artifact's id. Raises StoreError if the folder is full."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.folder) as place:
                file = Path(place) / name
                file.write_bytes(content)
                return upload_artifact(
                    artifact_store=self._store(), file_path=str(file), study_or_trial=trial, storage=trial.storage
                )
        except Exception as error:
            if isinstance(error, OSError) or "I/O error" in str(error):
                raise StoreError(
                    f"the weights of trial {trial.number} could not be written to {self.folder}: {error}: "
                    "make room or make the folder writable; the same command goes on"
                ) from error
            raise

    def load_weights(self, artifact: str) -> dict[str, torch.Tensor]:
        """The tensors of an artifact. Raises StoreError if they are gone or no safetensors."""
        content = self.load(artifact)
        try:
            return load(content)
        except Exception as error:
            raise self._unreadable(artifact, error) from error

    def load(self, artifact: str) -> bytes:
        """What an artifact holds. Raises StoreError if it is gone."""
        if not re.fullmatch(r"[0-9a-f-]{36}", artifact):
            raise StoreError(
                f"an artifact is named by a UUID, the store says {artifact!r}: the store was tampered with"
            )
        try:
            with self._store().open_reader(artifact) as file:
                return file.read()
        except Exception as error:
            raise self._unreadable(artifact, error) from error

    def _unreadable(self, artifact: str, error: Exception) -> StoreError:
        return StoreError(
            f"the weights {artifact} cannot be read from {self.folder}: {error}: bring the folder back, or say where "
            "it is with --artifacts"
        )

    def keep_answers(self, name: str, answers: Mapping[str, torch.Tensor]) -> None:
        """Keep what a teacher answers, by head, for all workers of the store; whoever is first is kept."""
        file = self._answers_file(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as part:
            part.write(save({head: tensor.cpu().contiguous() for head, tensor in answers.items()}))
        Path(part.name).replace(file)

    def answers(self, name: str) -> dict[str, torch.Tensor] | None:
        """What was kept of a teacher, None if nothing was."""
        file = self._answers_file(name)
        try:
            return load(file.read_bytes())
        except FileNotFoundError:
            return None
        except Exception as error:
            raise StoreError(f"{file} cannot be read: {error}: delete it, it is made anew") from error

    def _answers_file(self, name: str) -> Path:
        return self.folder / "teachers" / f"{name}.safetensors"

    def has(self, artifact: str) -> bool:
        """Whether the folder holds an artifact."""
        return (self.folder / artifact).is_file()

    def _store(self) -> FileSystemArtifactStore:
        return FileSystemArtifactStore(str(self.folder))


def weights_in_bytes(architecture: Architecture, state: dict[str, torch.Tensor]) -> bytes:
    """Tensors, and the architecture that they belong to as metadata, as safetensors.

    A tensor that a user's own module has under two names is written under each: safetensors refuses shared ones.
    """
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    return save(tensors, metadata={"architecture": json.dumps(architecture.to_json())})
