"""What a study spent on training, and what it saved."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from ..spaces.architecture import Json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..storage import Evaluation
    from .study import Study


@dataclass(frozen=True)
class Spending:
    """In epochs. stopped, reused, dominated: what was not trained because a candidate was stopped early, was known from
    another study, or could not have added to the front; trials: how many candidates that was.
    """

    epochs: int
    stopped: int
    reused: int
    dominated: int
    trials: int

    @property
    def saved(self) -> int:
        return self.stopped + self.reused + self.dominated

    def to_json(self) -> Json:
        return asdict(self)

    def __str__(self) -> str:
        if not self.saved:
            return f"{self.epochs} epochs were trained"
        ways = {
            "by stopping early": self.stopped,
            "by results of other studies": self.reused,
            "by not training what could not add to the front": self.dominated,
        }
        said = ", ".join(f"{epochs} {way}" for way, epochs in ways.items() if epochs)
        share = self.saved / (self.epochs + self.saved)
        return (
            f"{self.epochs} epochs were trained and {self.saved} saved ({share:.0%}), on {self.trials} trials: {said}"
        )


def spending(study: "Study") -> Spending:
    """What a study spent until now."""
    return spending_on(study.store.evaluations(study.id), study.store.epochs(study.id))


def spending_on(evaluations: "Iterable[Evaluation]", trained: "Mapping[int, int]") -> Spending:
    """What was spent on evaluations. trained: their epochs, by id."""
    saved = dict.fromkeys(("stopped", "reused", "dominated"), 0)
    trials = 0
    for evaluation in evaluations:
        way = "reused" if evaluation.reused is not None else evaluation.kind
        if way in saved:
            left = evaluation.candidate.epochs - trained.get(evaluation.id, 0)
            saved[way] += left
            trials += left > 0
    return Spending(sum(trained.values()), **saved, trials=trials)
