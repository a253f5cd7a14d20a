"""The part of the store that keeps the files of evaluations: weights, int8 models, checkpoints."""

import hashlib
import json
import mimetypes
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid5

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from safetensors.torch import load
from sqlalchemy import Connection, Row, bindparam, delete, or_, select, update

from ..errors import StoreError
from ..spaces import Architecture
from .artifacts import Artifacts, check_id, weights_in_bytes
from .core import Database
from .patience import patient
from .records import ENDED
from .sql import ARTIFACTS, EVALUATIONS, THIS, Put

WEIGHTS = "net.safetensors"
INT8 = "net.int8.onnx"
CHECKPOINT = "checkpoint"
VIEW = "view/"  # before the name of what is made for people, of an evaluation that has ended
SLOTS = ("checkpoint/0", "checkpoint/1")  # written in turn: the last whole one is never touched

_file = ARTIFACTS.c
PUT = Put(ARTIFACTS)
_DROP_OTHERS = delete(ARTIFACTS).where(
    *(_file[name] == bindparam(name) for name in ("evaluation_id", "name")), _file.id != bindparam("id")
)
_PROGRESS = update(EVALUATIONS).where(THIS, EVALUATIONS.c.attempts > 1).values(attempts=1)
_TOKEN = select(EVALUATIONS.c.token).where(THIS)
_ALL = select(_file.id).where(_file.evaluation_id == bindparam("evaluation"))
_OWN = _ALL.where(_file.name.not_like(f"{VIEW}%"))
NAMED = _ALL.where(_file.name == bindparam("name"))
_ARTIFACT = select(_file.sha256, _file.bytes).where(_file.id == bindparam("artifact"))
_KNOWN = select(_file.id).where(_file.id.in_(bindparam("these", expanding=True)))
_FORGET = delete(ARTIFACTS).where(_file.id.in_(bindparam("these", expanding=True)))
_FILES_OF = select(*(EVALUATIONS.c[name] for name in ("token", "state", "weights", "quantized"))).where(THIS)


class ArtifactStore(Database):
    """Files of evaluations. The database says what each one is, and its hash is checked when it is read.

    A file's id is made of its evaluation's token, its name and its hash, and its row is written first: so a file is
    never changed once it is whole, whoever makes the same one again makes the same file, and none is there that the
    database does not know. Only a worker who has the evaluation in hand writes; others get LeaseLost.
    """

    artifacts: Artifacts

    def save_artifact(self, evaluation: int, name: str, content: bytes, *, trial: optuna.Trial | None = None) -> str:
        """Keep a file of an evaluation in hand, in the place of an earlier one of this name; gives its id.

        trial: Optuna's, at which optuna-dashboard then shows it. StoreError if there is no room.
        """
        artifact, earlier = self._note(evaluation, name, content)
        self.artifacts.write(artifact, content)
        self._remove(earlier)
        if trial is not None:
            kind, encoding = mimetypes.guess_type(name)
            said = {"artifact_id": artifact, "filename": name, "mimetype": kind or "application/octet-stream"}
            with suppress(UpdateFinishedTrialError):  # by another worker
                trial.storage.set_trial_system_attr(
                    trial._trial_id,  # noqa: SLF001 - Optuna has no public name for it
                    f"artifacts:{artifact}",
                    json.dumps({**said, "encoding": encoding}),
                )
        return artifact

    def save_weights(
        self,
        evaluation: int,
        trial: optuna.Trial | None,
        architecture: Architecture,
        state: Mapping[str, torch.Tensor],
    ) -> str:
        """Keep the weights of an evaluation in hand as safetensors; gives their id."""
        return self.save_artifact(evaluation, WEIGHTS, weights_in_bytes(architecture, state), trial=trial)

    def read_artifact(self, artifact: str) -> bytes:
        """What a file holds. StoreError if it is gone, or is not what was written."""
        content = self.artifacts.read(artifact)
        known = self._artifact(artifact)
        if known is not None and hash_of(content) != known.sha256:
            raise StoreError(
                f"the artifact {artifact} in {self.artifacts.where} is not what was written there (its hash differs): "
                "bring the right file back, or have paretonas doctor --fix forget it"
            )
        return content

    def load_weights(self, artifact: str) -> dict[str, torch.Tensor]:
        """The tensors of an artifact. StoreError if they are gone, changed, or no safetensors."""
        content = self.read_artifact(artifact)
        try:
            return load(content)
        except Exception as error:
            raise StoreError(
                f"the weights {artifact} in {self.artifacts.where} are no safetensors: {error}: bring the right file "
                "back, or have paretonas doctor --fix forget it"
            ) from error

    def has_artifact(self, artifact: str) -> bool:
        """Whether a file is there, of the size that was written."""
        size, known = self.artifacts.size(artifact), self._artifact(artifact)
        return size is not None and (known is None or known.bytes == size)

    def remove_artifact(self, artifact: str) -> None:
        """Remove a file, and what the database knows of it."""
        self._remove([artifact])

    # Checkpoints, which are of no use once their evaluation has ended

    def save_checkpoint(self, evaluation: int, content: bytes) -> None:
        """Keep the training state of an evaluation in hand in the place of the last one, which holds until then.

        Workers that died of it before are forgotten: whoever comes further than they did is not kept from ending.
        """
        artifact = self._free_slot(evaluation)
        self.artifacts.write(artifact, content)
        self._point_to(evaluation, artifact, content)

    def checkpoint(self, evaluation: int) -> bytes | None:
        """The last training state of an evaluation. None if there is none, or it cannot be read, which is said."""
        artifact = self._checkpoint_of(evaluation)
        try:
            return None if artifact is None else self.read_artifact(artifact)
        except StoreError as error:
            warnings.warn(f"a training begins anew, because its checkpoint is lost: {error}", stacklevel=2)
            return None

    def drop_checkpoint(self, evaluation: int) -> None:
        """Remove the training states of an evaluation in hand, or of one that has ended, and then also the files of it
        that nobody refers to.
        """
        self._remove(self._of_no_use(evaluation))

    # Weights that are not kept

    def let_go(self, evaluations: Collection[int]) -> None:
        """Remove the weights of evaluations that have ended, but for files that another study took over."""
        self._forget_weights(evaluations)
        self._remove(file for evaluation in evaluations for file in self._of_no_use(evaluation))

    def _remove(self, artifacts: Iterable[str]) -> None:
        """Files first: what dies in between is known of, and done again."""
        gone = list(artifacts)
        for artifact in gone:
            self.artifacts.remove(artifact)
        if gone:
            self._forget(gone)

    # The database's side: each is one transaction

    @patient
    def _note(self, evaluation: int, name: str, content: bytes, *, of_anybody: bool = False) -> tuple[str, list[str]]:
        """The row of a file that is to be written; its id, and those of earlier ones of its name.

        of_anybody: whoever has the evaluation in hand, or had it.
        """
        row = row_of("", evaluation, name, content)
        with self.writing() as connection:
            if of_anybody:
                token = connection.execute(_TOKEN, {"evaluation": evaluation}).scalar_one()
            else:
                token = self._held_by_me(connection, evaluation)[1]
            artifact = str(uuid5(UUID(token), f"{name}/{row['sha256']}"))
            earlier = [other for other in _ids_of(connection, evaluation, name) if other != artifact]
            connection.execute(PUT, {**row, "id": artifact})
        return artifact, earlier

    @patient
    def _free_slot(self, evaluation: int) -> str:
        with self.writing() as connection:
            token = self._held_by_me(connection, evaluation)[1]
            used = _ids_of(connection, evaluation, CHECKPOINT)
            return next(artifact for artifact in slots_of(token) if artifact not in used)

    @patient
    def _point_to(self, evaluation: int, artifact: str, content: bytes) -> None:
        row = row_of(artifact, evaluation, CHECKPOINT, content)
        with self.writing() as connection:
            self.in_hand(connection, evaluation)
            connection.execute(_DROP_OTHERS, row)
            connection.execute(PUT, row)
            connection.execute(_PROGRESS, {"evaluation": evaluation})

    @patient
    def _checkpoint_of(self, evaluation: int) -> str | None:
        with self.asking() as connection:
            return next(iter(_ids_of(connection, evaluation, CHECKPOINT)), None)

    @patient
    def _of_no_use(self, evaluation: int) -> set[str]:
        """The checkpoints of an evaluation; of one that has ended also the other files that nobody refers to, but
        for what is made for people.
        """
        with self.asking() as connection:
            row = connection.execute(_FILES_OF, {"evaluation": evaluation}).one_or_none()
            if row is None:
                return set()
            slots = set(slots_of(row.token))
            if row.state not in ENDED:
                self.in_hand(connection, evaluation)
                return slots
            files = set(connection.scalars(_OWN, {"evaluation": evaluation}))
            others = files - slots - {row.weights, row.quantized}
            return slots | (others - used_of(connection, others) if others else others)

    @patient
    def _forget(self, artifacts: list[str]) -> None:
        with self.asking() as connection:
            if connection.scalars(_KNOWN, {"these": artifacts}).all():  # reading waits for nobody
                connection.execute(_FORGET, {"these": artifacts})

    @patient
    def _artifact(self, artifact: str) -> Row[str, int] | None:
        with self.asking() as connection:
            return connection.execute(_ARTIFACT, {"artifact": check_id(artifact)}).one_or_none()

    @patient
    def _forget_weights(self, evaluations: Collection[int]) -> None:
        ended = EVALUATIONS.c.id.in_(evaluations) & EVALUATIONS.c.state.in_(ENDED)
        self._change(update(EVALUATIONS).where(ended).values(weights=None, quantized=None))


def slots_of(token: str) -> tuple[str, ...]:
    """The ids of the checkpoints of an evaluation."""
    return tuple(str(uuid5(UUID(token), slot)) for slot in SLOTS)


def used_of(connection: Connection, artifacts: set[str]) -> set[str]:
    """Those of the ids that an evaluation refers to."""
    columns = (EVALUATIONS.c.weights, EVALUATIONS.c.quantized)
    named = select(*columns).where(or_(*(column.in_(artifacts) for column in columns)))
    return {artifact for row in connection.execute(named) for artifact in row} & artifacts


def _ids_of(connection: Connection, evaluation: int, name: str) -> Sequence[str]:
    """The files of an evaluation that have a name."""
    return connection.scalars(NAMED, {"evaluation": evaluation, "name": name}).all()


def row_of(artifact: str, evaluation: int | None, name: str, content: bytes) -> dict[str, Any]:
    """What the database is told of a file."""
    return {
        "id": artifact,
        "evaluation_id": evaluation,
        "name": name,
        "sha256": hash_of(content),
        "bytes": len(content),
    }


def hash_of(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
