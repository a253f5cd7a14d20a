"""A table of trained networks, read for ``search.py``: what training would give is looked up."""

import csv
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paretonas.errors import UsageError, there_is
from paretonas.search.goals import BEST, Goal

Matrix = npt.NDArray[np.float64]
Row = Mapping[str, str]
MISSING = ("", "nan", "none", "null", "n/a")  # in a column of numbers, a cell that says nothing


@dataclass(frozen=True)
class Table:
    """genes: the word of each gene, by row. values: (rows, goals). curves: (rows, checkpoints) of the first quality.

    epochs: of each checkpoint, () without curves. fails: rows whose training fails. notes: what was left out.
    """

    name: str
    gene_names: tuple[str, ...]
    genes: tuple[tuple[str, ...], ...]
    goals: tuple[Goal, ...]
    values: Matrix
    curves: Matrix
    epochs: tuple[int, ...]
    fails: npt.NDArray[np.bool_]
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def cost(self) -> int:
        """Of a full training: epochs, or 1 where there are no curves."""
        return self.epochs[-1] if self.epochs else 1

    @cached_property
    def row_of(self) -> dict[tuple[str, ...], int]:
        """The row that has these genes."""
        return {genes: row for row, genes in enumerate(self.genes)}

    @cached_property
    def options(self) -> dict[str, list[str]]:
        """The words of each gene, numbers in their order."""
        columns = zip(*self.genes, strict=True)
        return {name: sorted(set(column), key=_in_order) for name, column in zip(self.gene_names, columns, strict=True)}

    @cached_property
    def features(self) -> list[dict[str, float | str | bool]]:
        """Of each row: its genes, as words."""
        return [dict(zip(self.gene_names, genes, strict=True)) for genes in self.genes]

    @cached_property
    def losses(self) -> Matrix:
        """(rows, goals), 0 the best and 1 the worst of the table; costs as logarithms. NaN where training fails."""
        losses = np.full_like(self.values, np.nan)
        there = ~self.fails
        for column, goal in enumerate(self.goals):
            known = self.values[there, column]
            if goal.direction == "minimize" and known.min() >= 0:
                positive = known[known > 0]
                known = np.log(np.maximum(known, positive.min() if len(positive) else 1.0))
            else:
                known = known if goal.direction == "minimize" else -known
            low, high = known.min(), known.max()
            losses[there, column] = (known - low) / (high - low if high > low else 1.0)
        return losses

    def costs_of(self, row: int) -> dict[str, float]:
        """What is known of a row before training."""
        return {g.name: float(v) for g, v in zip(self.goals, self.values[row], strict=True) if not g.quality}

    def values_of(self, row: int) -> dict[str, float]:
        """What is known of a row after training."""
        return {goal.name: float(value) for goal, value in zip(self.goals, self.values[row], strict=True)}


def read_table(
    path: Path,
    genes: Sequence[str],
    maximize: Sequence[str],
    minimize: Sequence[str],
    *,
    curve: str | None = None,
    failing: str | None = None,
) -> Table:
    """The table in a CSV file. UsageError says what is wrong with it.

    curve: how the columns of the learning curve begin; by default the first objective and ``@``, if there are any.
    failing: a cost above whose median a training fails, as for want of memory.
    """
    rows, columns = _rows(path)
    named = [*maximize, *minimize]
    if not named:
        raise UsageError("something to search for is needed: name columns with --maximize and --minimize")
    if twice := [name for name in dict.fromkeys([*genes, *named]) if [*genes, *named].count(name) > 1]:
        raise UsageError(f"a column is one gene or one objective, {twice[0]} is named twice: name it once")
    main, checkpoints = _checkpoints(columns, named, curve)
    for name in (*genes, *(name for name in named if not (checkpoints and name == main))):
        if name not in columns:
            raise UsageError(f"the table {path} has no column {name!r}: {there_is(name, columns)}")
    read = [checkpoints[-1] if checkpoints and name == main else name for name in named]
    whole = [row for row in rows if all(row[gene].strip() for gene in genes) and not _misses(row, read, checkpoints)]
    distinct = {tuple(row[gene].strip() for gene in genes): row for row in reversed(whole)}
    order = list(dict.fromkeys(tuple(row[gene].strip() for gene in genes) for row in whole))
    if not distinct:
        raise UsageError(f"a table needs rows without empty cells, {path} has {len(rows)} rows and none is whole")
    values = np.array([[_number(path, distinct[key], column) for column in read] for key in order])
    curves = np.array([[_number(path, distinct[key], column) for column in checkpoints] for key in order])
    learnt = {*maximize, main} if checkpoints or not maximize else {*maximize}  # main is then the first minimized
    goals = tuple(
        _goal(name, values[:, at], maximized=name in maximize, learnt=name in learnt) for at, name in enumerate(named)
    )
    fails = ~np.isfinite(values).all(1) | ~np.isfinite(curves).all(1)
    if failing is not None:
        fails |= _above_median(values, goals, failing)
    if fails.all():
        raise UsageError(f"something has to be finite: every row of {path} has an infinite value")
    return Table(
        path.name, tuple(genes), tuple(order), goals, values, curves,
        tuple(int(column.rsplit("@", 1)[-1]) for column in checkpoints) if checkpoints else (), fails,
        tuple(_notes(len(rows), len(whole), len(order), fails, goals, values)),
    )  # fmt: skip


def _rows(path: Path) -> tuple[list[Row], list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            rows: list[Row] = [{key.strip(): word for key, word in row.items() if key is not None} for row in reader]
            return rows, [name.strip() for name in reader.fieldnames or ()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"a table is a CSV file, {path} cannot be read as one: {error}") from error


def _checkpoints(columns: Sequence[str], named: Sequence[str], curve: str | None) -> tuple[str, list[str]]:
    """The objective that has a learning curve, and the columns of it, by epoch."""
    begins = f"{named[0]}@" if curve is None else curve
    found = {int(name[len(begins) :]): name for name in columns if re.fullmatch(re.escape(begins) + r"\d+", name)}
    main = begins.rstrip("@") if begins.rstrip("@") in named else named[0]
    if curve and not found:
        raise UsageError(f"a learning curve is columns such as {begins}1, the table has none: leave --curve out")
    if found and begins and begins.rstrip("@") not in named:
        raise UsageError(f"the curve is of an objective, {begins} is of none of {', '.join(named)}: name one of these")
    if found and min(found) < 1:
        raise UsageError(f"the epochs of a curve begin with 1, there is {found[min(found)]}: number them from 1")
    return main, [found[epoch] for epoch in sorted(found)]


def _goal(name: str, values: Matrix, *, maximized: bool, learnt: bool) -> Goal:
    goal = Goal(name, "maximize" if maximized else "minimize", learnt, BEST.get(name) if learnt else None)
    finite = values[np.isfinite(values)]
    if goal.best is not None and any(goal.loss(value) < goal.loss(goal.best) for value in finite):
        goal = replace(goal, best=None)  # as of an accuracy in per cent
    return goal


def _number(path: Path, row: Row, column: str) -> float:
    try:
        return float(row[column])
    except ValueError:
        raise UsageError(f"an objective is a number, {path} has {row[column]!r} in column {column}: mend it") from None


def _above_median(values: Matrix, goals: Sequence[Goal], failing: str) -> npt.NDArray[np.bool_]:
    costs = {goal.name: at for at, goal in enumerate(goals) if not goal.quality}
    if failing not in costs:
        raise UsageError(f"what makes a training fail is a cost, {failing!r} is none: {there_is(failing, list(costs))}")
    column = values[:, costs[failing]]
    above: npt.NDArray[np.bool_] = column > np.median(column)
    return above


def _notes(
    rows: int, whole: int, distinct: int, fails: npt.NDArray[np.bool_], goals: Sequence[Goal], values: Matrix
) -> Iterable[str]:
    if rows > whole:
        yield f"{rows - whole} rows with empty cells are left out"
    if whole > distinct:
        yield f"{whole - distinct} rows repeat the genes of an earlier one and are left out"
    if fails.any():
        yield f"{int(fails.sum())} of {distinct} networks fail when they are trained"
    for column, goal in enumerate(goals):
        if np.ptp(values[~fails, column]) == 0:
            yield f"{goal.name} is {values[~fails, column][0]:g} in every row and tells nothing"


def _misses(row: Row, *columns: Sequence[str]) -> bool:
    return any(row[name].strip().lower() in MISSING for names in columns for name in names)


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _in_order(word: str) -> tuple[float, str]:
    return (float(word) if _is_number(word) else math.inf, word)
