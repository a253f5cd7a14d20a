"""What a search is after, as plain data: so the strategy serves a study and a table alike."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..objectives import Objective

STOPPINGS = ("forecast", "rungs", "none")  # how it is decided whether a training goes on, see stopping.py
BEST = {
    "accuracy": 1.0,
    "balanced_accuracy": 1.0,
    "f1": 1.0,
    "r2": 1.0,
    "token_accuracy": 1.0,
    "mae": 0.0,
    "rmse": 0.0,
    "perplexity": 1.0,
}  # what no network exceeds, by metric


@dataclass(frozen=True)
class Goal:
    """An objective. quality: it says how well a network answers, and is known after training; otherwise it is a cost.

    best: what no network exceeds; None if there is no such value.
    """

    name: str
    direction: Literal["minimize", "maximize"]
    quality: bool
    best: float | None = None

    def loss(self, value: float) -> float:
        """What is minimised."""
        return value if self.direction == "minimize" else -value


def goals_of(objectives: Iterable[Objective]) -> tuple[Goal, ...]:
    """The goals that objectives are."""
    return tuple(
        Goal(o.name, o.direction, o.quality, BEST.get(o.name.split(".")[-1]) if o.quality else None) for o in objectives
    )
