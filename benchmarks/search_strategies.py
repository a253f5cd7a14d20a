"""Who proposes the rows of a table, in ``search.py``: a sampler of Optuna's, or the strategy of this package."""

from typing import Protocol

import moocore
import numpy as np
import numpy.typing as npt
import optuna
from optuna.trial import TrialState
from search_runs import OURS, optuna_study  # type: ignore[import-not-found]
from search_table import Table  # type: ignore[import-not-found]

from paretonas.search.forecast import Curve, forecast
from paretonas.search.gain import Option, Seen, expected_gains
from paretonas.search.running import guess

MISSES = 20  # settings in a row that the table does not have, before a random row is taken
OPTIONS = 500  # that ours looks at: as many as a study draws, half of them fresh, the others near the front


class Strategy(Protocol):
    """Proposes rows, and is told what came of each."""

    missing: int  # settings proposed that the table does not have

    def ask(self) -> int | None:
        """A row to train, None if there is none left."""

    def hear(self, row: int, curve: Curve) -> None:
        """How far a row has come that still runs."""

    def tell(self, row: int, curve: Curve | None, state: str) -> None:
        """state: finished, stopped or failed. curve: as far as it was trained, None in a table without curves."""


def strategy(name: str, table: Table, seed: int) -> Strategy:
    """The strategy of this name. ``rungs`` draws at random; what stops it is the simulation's."""
    if name == OURS:
        return Ours(table, seed)
    return Baseline(table, "random" if name == "rungs" else name, seed)


class Baseline:
    """A sampler of Optuna's by ask and tell, a categorical for each gene. It may repeat a row, which is trained again.

    A setting that the table does not have is told as failed and is no evaluation; after 20 in a row a random row of the
    table is told in its place, since some samplers never leave such a region.
    """

    def __init__(self, table: Table, sampler: str, seed: int) -> None:
        self.missing = 0
        self._table = table
        self._study = optuna_study(sampler, seed, [goal.direction for goal in table.goals])
        self._draw = np.random.default_rng(seed)
        self._running: list[tuple[int, optuna.Trial]] = []

    def ask(self) -> int | None:
        for _ in range(MISSES):
            trial = self._study.ask()
            row: int | None = self._table.row_of.get(self._suggested(trial))
            if row is not None:
                self._running.append((row, trial))
                return row
            self._study.tell(trial, state=TrialState.FAIL)
            self.missing += 1
        row = int(self._draw.integers(len(self._table)))
        self._study.enqueue_trial(dict(zip(self._table.gene_names, self._table.genes[row], strict=True)))
        trial = self._study.ask()
        self._suggested(trial)
        self._running.append((row, trial))
        return row

    def _suggested(self, trial: optuna.Trial) -> tuple[str, ...]:
        return tuple(str(trial.suggest_categorical(name, words)) for name, words in self._table.options.items())

    def hear(self, row: int, curve: Curve) -> None:
        """Nothing: Optuna takes no reports where there are several objectives."""

    def tell(self, row: int, curve: Curve | None, state: str) -> None:  # noqa: ARG002 - Optuna takes no curve here
        at = next(at for at, (running, _) in enumerate(self._running) if running == row)
        _, trial = self._running.pop(at)
        if state == "finished":
            self._study.tell(trial, list(self._table.values_of(row).values()))
        else:
            self._study.tell(trial, state=TrialState.FAIL)


class Ours:
    """The largest expected gain among rows that were not begun; stopped and running ones inform it."""

    def __init__(self, table: Table, seed: int) -> None:
        self.missing = 0
        self._table, self._seed = table, seed
        self._draw = np.random.default_rng(seed)
        self._new = np.ones(len(table), dtype=bool)
        self._seen: dict[int, Seen] = {}
        self._curves: dict[int, Curve] = {}  # of what ended
        self._running: dict[int, Curve] = {}

    def ask(self) -> int | None:
        rows = self._options()
        if not len(rows):
            return None
        table = self._table
        begun = [*self._curves.values(), *self._running.values()]
        for running, curve in self._running.items():
            expected = guess(curve, begun, table.goals)
            self._seen[running] = Seen(table.features[running], table.costs_of(running), "running", expected)
        options = [Option(table.features[row], table.costs_of(row)) for row in rows]
        gains = expected_gains(
            list(self._seen.values()), options, table.goals, seed=self._seed * 100_003 + len(self._seen)
        )
        row = int(rows[int(np.argmax(gains))])
        self._new[row] = False
        self._seen[row] = Seen(table.features[row], table.costs_of(row), "running")
        return row

    def hear(self, row: int, curve: Curve) -> None:
        self._running[row] = curve

    def tell(self, row: int, curve: Curve | None, state: str) -> None:
        del self._seen[row]  # in the order of their end
        self._running.pop(row, None)
        features, costs = self._table.features[row], self._table.costs_of(row)
        if state == "finished":
            self._seen[row] = Seen(features, self._table.values_of(row), "finished")
        elif state == "stopped" and curve is not None:
            expected = forecast(curve, list(self._curves.values()), self._table.goals)
            self._seen[row] = Seen(features, costs, "stopped", expected)
        else:
            self._seen[row] = Seen(features, costs, "failed")
        if curve is not None and state != "failed":
            self._curves[row] = curve

    def _options(self) -> npt.NDArray[np.int_]:
        """Rows that were not begun, in random order: all, or random ones and neighbours of the front."""
        rows = self._draw.permutation(np.flatnonzero(self._new))
        if len(rows) <= OPTIONS:
            return rows
        near = [row for row in self._neighbours() if self._new[row]][: OPTIONS // 2]
        chosen = dict.fromkeys([*near, *rows[: OPTIONS - len(near)].tolist()])
        return np.array(list(chosen))

    def _neighbours(self) -> list[int]:
        """Rows that differ in one gene from a point of the front, in random order."""
        table = self._table
        finished = [row for row, one in self._seen.items() if one.state == "finished"]
        if not finished:
            return []
        front = np.flatnonzero(moocore.is_nondominated(table.losses[finished]))
        found: dict[int, None] = {}
        for row in (finished[place] for place in front):
            for at, words in enumerate(table.options.values()):
                genes = table.genes[row]
                others = (table.row_of.get((*genes[:at], word, *genes[at + 1 :])) for word in words)
                found.update(dict.fromkeys(other for other in others if other is not None))
        rows: list[int] = self._draw.permutation(list(found)).tolist()
        return rows
