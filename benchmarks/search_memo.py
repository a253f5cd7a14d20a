"""Trainings that are kept in a file, so that a second run of ``search.py --real`` replays them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Training:
    """What came of training a candidate from the weights of a seed.

    scores: the validation score after each epoch. planned: epochs in all. values: by objective, None if it did not
    come to its end. failed: why it cannot be trained, "" if it can.
    """

    task: str
    seed: int
    key: str
    scores: tuple[float, ...]
    planned: int
    values: Mapping[str, float] | None
    seconds: float
    failed: str = ""

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to learn by training it again."""
        return bool(self.failed) or self.values is not None


@dataclass
class Memo:
    """Trainings by task, seed and candidate; several processes may append to one file. path: None keeps nothing."""

    path: Path | None
    known: dict[tuple[str, int, str], Training] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is not None and self.path.exists():
            for line in self.path.read_text().splitlines():
                self._know(line)

    def _know(self, line: str) -> None:
        try:
            found = json.loads(line)
        except json.JSONDecodeError:  # the last line of a process that was killed
            return
        training = Training(**{**found, "scores": tuple(found["scores"])})
        before = self.known.get((training.task, training.seed, training.key))
        if before is None or not before.ended:
            self.known[training.task, training.seed, training.key] = training

    def find(self, task: str, seed: int, key: str) -> Training | None:
        return self.known.get((task, seed, key))

    def keep(self, training: Training) -> None:
        self.known[training.task, training.seed, training.key] = training
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(asdict(training)) + "\n")
