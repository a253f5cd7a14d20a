"""The part of the store that keeps files which no worker has in hand: pictures for people, teachers' answers, and what
final trainings leave.
"""

import json
import mimetypes
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import torch
from safetensors.torch import load, save
from sqlalchemy import select

from .artifact_store import PUT, VIEW, ArtifactStore, hash_of, row_of
from .patience import patient
from .sql import ARTIFACTS, EVALUATIONS, OF_STUDY

ANSWERS = "answers"
OF_NOBODY = uuid5(NAMESPACE_URL, "https://paretonas/answers")

_VIEWS = (
    select(ARTIFACTS.c.evaluation_id, ARTIFACTS.c.name)
    .join(EVALUATIONS, EVALUATIONS.c.id == ARTIFACTS.c.evaluation_id)
    .where(OF_STUDY, ARTIFACTS.c.name.startswith(VIEW))
)


class SharedFiles(ArtifactStore):
    """Files that whoever makes them may write; who makes the same one again makes the same file."""

    def save_view(self, evaluation: int, name: str, content: bytes, *, study: int, trial: int) -> str:
        """Keep a file for people beside an evaluation that has ended, in the place of an earlier one; gives its id.

        study, trial: Optuna's ids, at which optuna-dashboard then shows the file.
        """
        artifact, earlier = self._note(evaluation, VIEW + name, content, of_anybody=True)
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
        found: dict[int, set[str]] = {}
        with self.asking() as connection:
            for identity, name in connection.execute(_VIEWS, {"study": study}):
                found.setdefault(identity, set()).add(name.removeprefix(VIEW))
        return found

    def keep_answers(self, name: str, answers: Mapping[str, torch.Tensor]) -> None:
        """Keep what a teacher answers, by head, for all workers of the store."""
        content = save({head: tensor.cpu().contiguous() for head, tensor in answers.items()})
        self.keep_file(name, ANSWERS, content)

    def answers(self, name: str) -> dict[str, torch.Tensor] | None:
        """What was kept of a teacher; None if nothing was, or it cannot be read: then it is made anew."""
        artifact = file_id(name)
        known = self._artifact(artifact)
        if known is None or self.artifacts.size(artifact) != known.bytes:
            return None
        content = self.artifacts.read(artifact)
        return load(content) if hash_of(content) == known.sha256 else None

    def keep_file(self, identity: str, name: str, content: bytes) -> str:
        """Keep a file that no evaluation owns, in the place of an earlier one of the same identity; gives its id.

        identity: what its id is made of, equal for equal things.
        """
        artifact = file_id(identity)
        row, known = row_of(artifact, None, name, content), self._artifact(artifact)
        if known is None or known.sha256 != row["sha256"]:
            self._keep(row)
        self.artifacts.write(artifact, content)
        return artifact

    @patient
    def _keep(self, row: dict[str, Any]) -> None:
        self._change(PUT, **row)


def file_id(identity: str) -> str:
    """The id of a file that no evaluation owns."""
    return str(uuid5(OF_NOBODY, identity))
