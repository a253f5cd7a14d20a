"""The part of the store that keeps files: weights, int8 models, checkpoints, and what teachers answer."""

import hashlib
import json
import mimetypes
import warnings
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from uuid import NAMESPACE_URL, UUID, uuid5

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from safetensors.torch import load, save
from sqlalchemy import Select, delete, or_, select, update
from sqlalchemy.orm import Session

from ..errors import StoreError
from ..spaces import Architecture
from .artifacts import Artifacts, check_id, weights_in_bytes
from .core import Database
from .patience import patient
from .records import ENDED
from .tables import ArtifactRow, EvaluationRow

WEIGHTS = "net.safetensors"
INT8 = "net.int8.onnx"
CHECKPOINT = "checkpoint"
VIEW = "view/"  # before the name of what is made for people, of an evaluation that has ended
SLOTS = ("checkpoint/0", "checkpoint/1")  # written in turn: the last whole one is never touched
ANSWERS = "answers"
OF_NOBODY = uuid5(NAMESPACE_URL, "https://paretonas/answers")


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

    def save_view(self, evaluation: int, name: str, content: bytes, *, study: int, trial: int) -> str:
        """Keep a file for people beside an evaluation that has ended, in the place of an earlier one; gives its id.

        study, trial: Optuna's ids, at which optuna-dashboard then shows the file. Whoever makes it may write it.
        """
        artifact, earlier = self._note_view(evaluation, VIEW + name, content)
        self.artifacts.write(artifact, content)
        self._remove(earlier)
        said = {"artifact_id": artifact, "filename": name, "encoding": None}
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        for other in earlier:
            self.optuna.set_study_system_attr(study, f"dashboard:artifacts:{trial}:{other}", json.dumps(None))
        place = f"dashboard:artifacts:{trial}:{artifact}"  # of a trial that has ended, Optuna takes no attribute
        self.optuna.set_study_system_attr(study, place, json.dumps({**said, "mimetype": kind}))
        return artifact

    @patient
    def views(self, study: int) -> dict[int, set[str]]:
        """The names of the files for people that evaluations of a study have, by evaluation."""
        named = select(ArtifactRow.evaluation_id, ArtifactRow.name).where(ArtifactRow.name.startswith(VIEW))
        found: dict[int, set[str]] = {}
        with self.session() as session:
            for identity, name in session.execute(named.join(EvaluationRow).where(EvaluationRow.study_id == study)):
                found.setdefault(int(identity or 0), set()).add(name.removeprefix(VIEW))
        return found

    def read_artifact(self, artifact: str) -> bytes:
        """What a file holds. StoreError if it is gone, or is not what was written."""
        content = self.artifacts.read(artifact)
        known = self._artifact(artifact)
        if known is not None and _hash(content) != known.sha256:
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
        """Keep the training state of an evaluation in hand in the place of the last one, which holds until then."""
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

    # What teachers answer, for all workers of the store

    def keep_answers(self, name: str, answers: Mapping[str, torch.Tensor]) -> None:
        """Keep what a teacher answers, by head."""
        content = save({head: tensor.cpu().contiguous() for head, tensor in answers.items()})
        self.keep_file(name, ANSWERS, content)

    def answers(self, name: str) -> dict[str, torch.Tensor] | None:
        """What was kept of a teacher; None if nothing was, or it cannot be read: then it is made anew."""
        artifact = file_id(name)
        known = self._artifact(artifact)
        if known is None or self.artifacts.size(artifact) != known.bytes:
            return None
        content = self.artifacts.read(artifact)
        return load(content) if _hash(content) == known.sha256 else None

    # What belongs to no evaluation

    def keep_file(self, identity: str, name: str, content: bytes) -> str:
        """Keep a file that no evaluation owns, in the place of an earlier one of the same identity; gives its id.

        identity: what its id is made of, equal for equal things.
        """
        artifact = file_id(identity)
        row, known = _row(artifact, None, name, content), self._artifact(artifact)
        if known is None or known.sha256 != row.sha256:
            self._forget([artifact])
            self._add_unless_there(row)
        self.artifacts.write(artifact, content)
        return artifact

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
    def _note(self, evaluation: int, name: str, content: bytes) -> tuple[str, list[str]]:
        """The row of a file that is to be written; its id, and those of earlier ones of its name."""
        with self.writing() as session:
            artifact = str(uuid5(UUID(self._token(session, evaluation)), f"{name}/{_hash(content)}"))
            earlier = [other for other in session.scalars(_named(evaluation, name)) if other != artifact]
            session.merge(_row(artifact, evaluation, name, content))
        return artifact, earlier

    @patient
    def _note_view(self, evaluation: int, name: str, content: bytes) -> tuple[str, list[str]]:
        """The row of a file for people; its id, and those of earlier ones of its name."""
        with self.writing() as session:
            token = session.scalars(select(EvaluationRow.token).where(EvaluationRow.id == evaluation)).one()
            artifact = str(uuid5(UUID(token), f"{name}/{_hash(content)}"))
            earlier = [other for other in session.scalars(_named(evaluation, name)) if other != artifact]
            session.merge(_row(artifact, evaluation, name, content))
        return artifact, earlier

    @patient
    def _free_slot(self, evaluation: int) -> str:
        with self.writing() as session:
            token = self._token(session, evaluation)
            used = set(session.scalars(_named(evaluation, CHECKPOINT)))
            return next(artifact for artifact in slots_of(token) if artifact not in used)

    @patient
    def _point_to(self, evaluation: int, artifact: str, content: bytes) -> None:
        with self.writing() as session:
            self._token(session, evaluation)
            others = [other for other in session.scalars(_named(evaluation, CHECKPOINT)) if other != artifact]
            session.execute(delete(ArtifactRow).where(ArtifactRow.id.in_(others)))
            session.merge(_row(artifact, evaluation, CHECKPOINT, content))

    @patient
    def _checkpoint_of(self, evaluation: int) -> str | None:
        with self.session() as session:
            return session.scalar(_named(evaluation, CHECKPOINT))

    @patient
    def _of_no_use(self, evaluation: int) -> set[str]:
        """The checkpoints of an evaluation; of one that has ended also the other files that nobody refers to."""
        one = EvaluationRow
        with self.session() as session:
            columns = select(one.token, one.state, one.weights, one.quantized).where(one.id == evaluation)
            row = session.execute(columns).one_or_none()
            if row is None:
                return set()
            slots = set(slots_of(row.token))
            if row.state not in ENDED:
                self.in_hand(session, evaluation)
                return slots
            mine = (ArtifactRow.evaluation_id == evaluation) & ArtifactRow.name.not_like(f"{VIEW}%")
            files = set(session.scalars(select(ArtifactRow.id).where(mine)))
            others = files - slots - {row.weights, row.quantized}
            return slots | (others - used_of(session, others) if others else others)

    @patient
    def _forget(self, artifacts: list[str]) -> None:
        known = ArtifactRow.id.in_(artifacts)
        with self.session() as session:
            if not session.scalars(select(ArtifactRow.id).where(known)).all():
                return
        with self.writing() as session:
            session.execute(delete(ArtifactRow).where(known))

    @patient
    def _artifact(self, artifact: str) -> ArtifactRow | None:
        with self.session() as session:
            return session.get(ArtifactRow, check_id(artifact))

    @patient
    def _forget_weights(self, evaluations: Collection[int]) -> None:
        ended = EvaluationRow.id.in_(evaluations) & EvaluationRow.state.in_(ENDED)
        with self.writing() as session:
            session.execute(update(EvaluationRow).where(ended).values(weights=None, quantized=None))

    def _token(self, session: Session, evaluation: int) -> str:
        """The token of an evaluation that this worker has in hand, else LeaseLost."""
        self.in_hand(session, evaluation)
        token = session.scalar(select(EvaluationRow.token).where(EvaluationRow.id == evaluation))
        assert token is not None
        return token


def file_id(identity: str) -> str:
    """The id of a file that no evaluation owns."""
    return str(uuid5(OF_NOBODY, identity))


def slots_of(token: str) -> tuple[str, ...]:
    """The ids of the checkpoints of an evaluation."""
    return tuple(str(uuid5(UUID(token), slot)) for slot in SLOTS)


def used_of(session: Session, artifacts: set[str]) -> set[str]:
    """Those of the ids that an evaluation refers to."""
    columns = (EvaluationRow.weights, EvaluationRow.quantized)
    named = select(*columns).where(or_(*(column.in_(artifacts) for column in columns)))
    return {artifact for row in session.execute(named) for artifact in row} & artifacts


def _named(evaluation: int, name: str) -> Select[str]:
    return select(ArtifactRow.id).where(ArtifactRow.evaluation_id == evaluation, ArtifactRow.name == name)


def _row(artifact: str, evaluation: int | None, name: str, content: bytes) -> ArtifactRow:
    return ArtifactRow(id=artifact, evaluation_id=evaluation, name=name, sha256=_hash(content), bytes=len(content))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
