"""One finished trial: what it is, what it reached, and the way out with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError, StudyError
from ..objectives import accuracy
from ..spaces import Architecture, Candidate, Network, build
from ..spaces.architecture import Json
from ..storage import CurvePoint, Evaluation
from .export import TEST_ACCURACY, export

if TYPE_CHECKING:
    from .study import Study


@dataclass(frozen=True)
class Trial:
    """A trial of a study, read from the store."""

    study: "Study"
    evaluation: Evaluation

    @property
    def number(self) -> int:
        """As in Optuna and in optuna-dashboard."""
        return self.evaluation.trial_number

    @property
    def state(self) -> str:
        """``complete`` or ``failed``."""
        return self.evaluation.state

    @property
    def reason(self) -> str | None:
        """Why it failed."""
        return None if self.evaluation.kind is None else f"{self.evaluation.kind}: {self.evaluation.reason}"

    @property
    def values(self) -> Mapping[str, float]:
        """What the search measured, by name; the test split is not part of it."""
        return {name: value for name, value in self.evaluation.values.items() if name != TEST_ACCURACY}

    @property
    def candidate(self) -> Candidate:
        return self.evaluation.candidate

    @property
    def architecture(self) -> Architecture:
        """The network as it leaves: after pruning."""
        return self.candidate.deployed

    @property
    def learning_curve(self) -> list[CurvePoint]:
        """A point for each epoch; empty if the result was taken from another study."""
        return self.study.store.curve(self.evaluation.id)

    def load(self) -> Network:
        """The trained network, in evaluation mode, on the CPU."""
        if self.evaluation.weights is None:
            raise StudyError(f"trial {self.number} has no weights: {self.reason}")
        network = build(self.architecture)
        try:
            network.load_state_dict(self.study.store.artifacts.load_weights(self.evaluation.weights))
        except RuntimeError as error:
            raise StoreError(
                f"the weights {self.evaluation.weights} do not fit trial {self.number}: the artifact was exchanged"
            ) from error
        return network.eval()

    def test_accuracy(self) -> float:
        """The accuracy on the test split, which the search never sees; kept in the store once known."""
        known = self.study.store.evaluation(self.evaluation.id).values
        if TEST_ACCURACY in known:
            return known[TEST_ACCURACY]
        value = accuracy(self.load(), self.study.definition.resolved_task.load().test)
        self.study.store.add_measurement(self.evaluation.id, TEST_ACCURACY, value, {})
        return value

    def export(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write ``net.py``, ``net.safetensors`` and ``net.json`` into ``folder`` and check that they agree with this
        trial. Raises ExportError if one of them exists and ``force`` is not given.
        """
        return export(self, Path(folder), force=force)

    def to_json(self) -> Json:
        return {
            "trial": self.number,
            "state": self.state,
            **({"reason": self.reason} if self.reason else {}),
            "values": dict(self.values),
            "network": str(self.architecture),
            "pruning": self.candidate.pruning,
            "architecture": self.architecture.to_json(),
        }
