"""Networks that were trained to their end on train and validation, and judged once on the test split."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import StudyError
from ...spaces import Candidate
from ...spaces.architecture import Json
from ...storage import CurvePoint, Evaluation
from ..trial import Trial
from .card import TEST

if TYPE_CHECKING:
    from ..study import Study

PREFIX = "final:"  # user attributes of the Optuna study: a final training each
SPLITS = "train and validation"


@dataclass(frozen=True)
class Final(Trial):
    """A network that was trained to its end on train and validation: used, exported and loaded as a trial is.

    It is no trial of the study: what it reaches on the validation split would say nothing, since it learned from it.
    So its figures are its costs, and those of the test split. record: how it was made, as the store has it.
    """

    record: Json

    @property
    def trained_on(self) -> str:
        """Which splits it learned from."""
        return f"{SPLITS} ({self.record['examples']:,} examples, {self.record['epochs']} epochs)"

    @property
    def learning_curve(self) -> list[CurvePoint]:
        """A point for each epoch; its scores are of examples that it learned from."""
        return [CurvePoint(**point) for point in self.record["curve"]]

    def test_metrics(self) -> dict[str, float]:
        """As they were measured when the training ended, once."""
        return {TEST + name: value for name, value in self.record["test"].items()}

    def to_json(self) -> Json:
        kept = ("from_weights", "epochs", "examples", "seed", "seconds")
        return {**super().to_json(), "final": {"splits": SPLITS, **{name: self.record[name] for name in kept}}}


def finals_of(study: "Study", trial: int | None = None) -> list[Final]:
    """The final trainings that came to their end, of one trial or of all, the newest last."""
    records = [record for name, record in study.optuna.user_attrs.items() if name.startswith(PREFIX)]
    done = [record for record in records if record["state"] == "complete" and trial in (None, record["trial"])]
    return [final_from(study, record) for record in sorted(done, key=lambda record: float(record["ended"]))]


def final_of(trial: Trial) -> Final:
    """The newest final training of a trial. StudyError if there is none."""
    found = finals_of(trial.study, trial.number)
    if not found:
        raise StudyError(
            f"trial {trial.number} was not trained on {SPLITS} yet: paretonas train {trial.number}, or "
            f"study.train_final({trial.number}), does it"
        )
    return found[-1]


def final_from(study: "Study", record: Json) -> Final:
    """As the store has it."""
    evaluation = Evaluation(
        id=0,
        trial_number=record["trial"],
        state="complete",
        key=Candidate.from_json(record["candidate"]).key,
        candidate_json=json.dumps(record["candidate"]),
        deployed_json=json.dumps(record["deployed"]),
        seed=record["seed"],
        worker=record["worker"],
        values=record["values"],
        details_json={name: json.dumps(record["details"].get(name, {})) for name in record["values"]},
        kind=None,
        reason=None,
        seconds=record["seconds"],
        weights=record["weights"],
        quantized=record["quantized"],
        reused=None,
        token="",
        attempts=1,
    )
    return Final(study, evaluation, record)
