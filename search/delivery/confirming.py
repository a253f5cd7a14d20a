"""Repeating chosen points with further seeds, so that chance does not choose between them."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from ...errors import LeaseLost, StudyError, UsageError
from ...objectives import Epoch, cpu_threads
from ...spaces import Candidate, Start
from ...storage import ENDED, Evaluation
from ..bench import StoreBench
from ..data import data_of
from ..leases import Lease
from ..places import start_process
from ..proposals import one_candidate
from ..recovery import clean_up, take_up
from ..telling import note
from ..trying import TICK, InHand, try_candidate
from ..worker import following, terminable
from .confirmation import Confirmation, confirmation
from .retraining import ancestors

if TYPE_CHECKING:
    from ..study import Study
    from ..trial import Trial

REPEATS = "repeats"  # user attribute of a trial that repeats another: the number of that one
MOST = 1000  # seeds of one point
Progress = Callable[[int, int, Epoch | None], None]


@dataclass(frozen=True)
class Run:
    """One repetition of a trial: all of its way, with the weights that it began with trained anew.

    steps: the candidates, from the root to the trial. A start in them names the key of the step before, and the trial
    that was begun with first.
    """

    trial: int
    seed: int
    steps: tuple[Candidate, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(step.key for step in self.steps)


@dataclass(frozen=True)
class Standing:
    """How far a run is. number: of its last trial that ended. pending: what is next; () if it is over."""

    number: int | None
    pending: Candidate | None
    failed: str | None = None
    held: Evaluation | None = None


def seeds_of(study: "Study", count: int) -> tuple[int, ...]:
    """The further seeds: those after the study's own, so that the same number asks for the same ones."""
    if type(count) is not int or not 1 <= count <= MOST:
        raise UsageError(f"the number of seeds is a whole number from 1 to {MOST}, {count!r} was given")
    first = study.definition.seed + 1
    if first + count > 2**31:
        raise UsageError(
            f"seeds are below 2**31, and the study's is {study.definition.seed}: there are not {count} more"
        )
    return tuple(range(first, first + count))


def run_of(trial: "Trial", seed: int) -> Run:
    """The repetition of a trial with a seed."""
    steps: list[Candidate] = []
    for one in reversed([trial, *ancestors(trial)]):
        start = one.candidate.start
        if start is not None:
            if not steps:
                raise StudyError(
                    f"trial {trial.number} cannot be repeated: trial {start.trial}, whose weights it began with, is "
                    f"gone; paretonas train {trial.number} --as-trial trains its network from scratch"
                )
            start = Start(start.trial, steps[-1].key, start.moves)
        steps.append(replace(one.candidate, seed=seed, start=start))
    return Run(trial.number, seed, tuple(steps))


def standing(run: Run, known: Mapping[str, Evaluation]) -> Standing:
    """How far a run is. known: what was begun, by key."""
    before: Evaluation | None = None
    for step in run.steps:
        found = known.get(step.key)
        if found is None or found.state not in ENDED:
            start = (
                step.start if before is None or step.start is None else replace(step.start, trial=before.trial_number)
            )
            return Standing(None if before is None else before.trial_number, replace(step, start=start), held=found)
        if found.state != "complete":
            reason = f"{found.kind}: {found.reason}"
            return Standing(found.trial_number, None, failed=reason)
        before = found
    assert before is not None
    return Standing(before.trial_number, None)


def repeat(study: "Study", runs: Sequence[Run], *, on_progress: Progress, turn: int = 0) -> dict[Run, Standing]:
    """Have all runs come to their ends, here and by whoever else works on the same; what is known is not run again.

    What is interrupted goes on from its last checkpoint when this is called again. turn: where in the list to begin, so
    that several workers begin with different ones. Returns where each run came to.
    """
    definition = study.definition
    threads = threadpool_limits(definition.threads, user_api="blas")
    with study.store.explained(), terminable(), following(), cpu_threads(definition.threads), threads:
        if not _pending(study, runs):
            return _standings(study, runs)
        with Lease(study) as lease:
            data, bench = data_of(definition, definition.device), StoreBench(study.store, definition)
            clean_up(study, lease)
            while pending := _pending(study, runs):
                done, total = len(runs) - len(pending), len(runs)
                on_progress(done, total, None)
                hand = _next(study, pending, lease, turn)
                if hand is None:  # others are at work on what is left
                    time.sleep(TICK)
                    continue
                with _dropped():
                    tell = partial(on_progress, done, total)
                    try_candidate(study, hand, data, bench, lease, on_epoch=tell)
            on_progress(len(runs), len(runs), None)
    return _standings(study, runs)


@contextmanager
def _dropped() -> Iterator[None]:
    """What another worker took up is its own."""
    try:
        yield
    except LeaseLost:
        return


def _standings(study: "Study", runs: Sequence[Run]) -> dict[Run, Standing]:
    known = study.store.keyed(study.id, {key for run in runs for key in run.keys})
    return {run: standing(run, known) for run in runs}


def _pending(study: "Study", runs: Sequence[Run]) -> list[tuple[Run, Standing]]:
    return [(run, at) for run, at in _standings(study, runs).items() if at.pending is not None]


def _next(study: "Study", pending: Sequence[tuple[Run, Standing]], lease: Lease, turn: int) -> InHand | None:
    """A step that nobody who lives has in hand, from now on in this worker's; None if there is none."""
    first = turn % len(pending)
    for run, at in (*pending[first:], *pending[:first]):
        if at.held is not None and lease.is_at_work(at.held.id):
            continue
        assert at.pending is not None
        hand = take_up(study, lease, only=at.held.id) if at.held is not None else _begun(study, at.pending, lease)
        if isinstance(hand, InHand):
            note(hand.trial, REPEATS, run.trial)
            return hand
    return None


def _begun(study: "Study", candidate: Candidate, lease: Lease) -> InHand | int | None:
    """A place for a candidate; the trial that has it; None if another worker began it in this moment."""
    try:
        return one_candidate(study, candidate, lease)
    except StudyError:
        known = study.store.keyed(study.id, [candidate.key]).get(candidate.key)
        if known is None or not lease.is_at_work(known.id):
            raise
        return None


def confirm(
    trials: Sequence["Trial"], *, chosen: str, seeds: int, workers: int = 1, on_progress: Progress, turn: int = 0
) -> Confirmation:
    """See ``Study.confirm``. chosen: by what these trials of one study were chosen, in words. turn: of a helper."""
    numbers = [trial.number for trial in trials]
    if not numbers or len(set(numbers)) < len(numbers):
        raise UsageError(f"what is confirmed is one trial or several, each once, {numbers} was given")
    if type(workers) is not int or workers < 1:
        raise UsageError(f"workers is a whole number from 1, {workers!r} was given")
    study = trials[0].study
    runs = [run_of(trial, seed) for seed in seeds_of(study, seeds) for trial in trials]
    missing = len(_pending(study, runs))
    with _helped(study, numbers, seeds, min(workers, missing) - 1):
        standings = repeat(study, runs, on_progress=on_progress, turn=turn)
    return confirmation(study, chosen, standings)


def confirmed(trials: Sequence["Trial"], seeds: Collection[int]) -> Confirmation | None:
    """What is known of repetitions of some trials of one study with these seeds; None if nothing is. Nothing is run."""
    runs = []
    for trial in trials:
        with suppress(StudyError):  # what it began with is gone
            runs += [run_of(trial, seed) for seed in sorted(seeds)]
    over = {run: at for run, at in (_standings(trials[0].study, runs) if runs else {}).items() if at.pending is None}
    return confirmation(trials[0].study, "what was trained again", over) if over else None


@contextmanager
def _helped(study: "Study", numbers: Sequence[int], seeds: int, count: int) -> Iterator[None]:
    """So many processes on this machine that work on the same; what one that dies leaves, the others go on with."""
    command = ["confirm", *map(str, numbers), "--seeds", str(seeds), "--study", study.name, "--quiet"]
    with tempfile.TemporaryFile() as log:
        helpers: list[subprocess.Popen[bytes]] = []
        try:
            turns = map(str, range(1, count + 1))
            helpers.extend(start_process(study, [*command, "--turn", turn], log) for turn in turns)
            yield
        finally:
            for helper in helpers:
                if helper.poll() is None:
                    helper.send_signal(signal.SIGINT)
            for helper in helpers:
                helper.wait()
