"""A strategy on a table, as one worker or several would run it: what training takes is looked up, not spent."""

import heapq
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from search_runs import OURS, Begun, Run  # type: ignore[import-not-found]
from search_strategies import strategy  # type: ignore[import-not-found]
from search_table import Table  # type: ignore[import-not-found]

from paretonas.search.forecast import Curve
from paretonas.search.stopping import reason_to_stop

RULES = {OURS: "forecast", "rungs": "rungs"}  # what stops a training; the other strategies train in full
NEWEST = 500  # curves that a rule is told


@dataclass(frozen=True)
class Job:
    """A strategy with a seed on a table, until it has begun ``trials`` and spent the cost of as many full trainings.

    workers: how many train at a time, asynchronously; each network then takes a random time for an epoch.
    """

    table: Table
    strategy: str
    seed: int
    trials: int
    workers: int = 1
    stopping: str | None = None

    @property
    def rule(self) -> str:
        rule = RULES.get(self.strategy, "none") if self.stopping is None else self.stopping
        return rule if self.table.epochs else "none"


@dataclass(order=True)
class Running:
    """A row in training. clock: when its next checkpoint is reached; number: of the proposal, so that ties are one way.

    pace: time for an epoch. reached: checkpoints so far.
    """

    clock: float
    number: int
    row: int
    pace: float
    proposal_s: float
    reached: int = 0


def simulate(job: Job) -> tuple[Run, int]:
    """All that a strategy began, in the order of their end, and how many settings it proposed that have no row."""
    table, asked = job.table, strategy(job.strategy, job.table, job.seed)
    pace = np.random.default_rng([job.seed, 1])
    running: list[Running] = []
    ended: list[Begun] = []
    curves: list[Curve] = []
    spent, begun, clock, exhausted = 0.0, 0, 0.0, False
    while True:
        while len(running) < job.workers and not exhausted and _goes_on(job, begun, spent):
            began = time.process_time()
            row = asked.ask()
            if row is None:
                exhausted = True
                break
            seconds = time.process_time() - began
            speed = float(pace.uniform(0.5, 1.5)) if job.workers > 1 else 1.0
            heapq.heappush(running, Running(clock + speed * _step(table, 0), begun, row, speed, seconds))
            begun += 1
        if not running:
            return ended, asked.missing
        one = heapq.heappop(running)
        clock = one.clock
        spent += _step(table, one.reached)
        one.reached += 1
        state = _state(job, one, curves)
        if state == "running":
            asked.hear(one.row, _curve(table, one))
            one.clock += one.pace * _step(table, one.reached)
            heapq.heappush(running, one)
            continue
        curve = _curve(table, one) if table.epochs else None
        if curve is not None and state != "failed":
            curves.append(curve)
        asked.tell(one.row, curve, state)
        ended.append(_begun(table, one, state))


def _goes_on(job: Job, begun: int, spent: float) -> bool:
    return begun < job.trials or (job.rule != "none" and job.workers == 1 and spent < job.trials * job.table.cost)


def _step(table: Table, reached: int) -> int:
    """What the next checkpoint costs."""
    if not table.epochs:
        return 1
    return int(table.epochs[reached]) - int(table.epochs[reached - 1] if reached else 0)


def _state(job: Job, one: Running, curves: Sequence[Curve]) -> str:
    table = job.table
    if table.fails[one.row]:
        return "failed"  # at its first epoch, as for want of memory
    if one.reached >= max(len(table.epochs), 1):
        return "finished"
    if job.rule != "none" and reason_to_stop(job.rule, _curve(table, one), curves[-NEWEST:], table.goals):
        return "stopped"
    return "running"


def _curve(table: Table, one: Running) -> Curve:
    finished = one.reached == len(table.epochs)
    known = table.values_of(one.row) if finished else table.costs_of(one.row)
    scores = tuple(table.curves[one.row, : one.reached].tolist())
    return Curve(scores, len(table.epochs), known, finished, table.features[one.row])


def _begun(table: Table, one: Running, state: str) -> Begun:
    cost = table.epochs[one.reached - 1] if table.epochs else 1
    values = table.values_of(one.row) if state == "finished" else None
    return Begun(str(one.row), cost, values, state, one.proposal_s)
