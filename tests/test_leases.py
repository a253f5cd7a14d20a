"""Leases: who is dead is told by counts and by this process's own clock, and what was taken up is nobody else's."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState
from simulated import begun, study_on

import paretonas as pn
from paretonas.errors import LeaseLost, StoreError
from paretonas.search.data import data_of
from paretonas.search.leases import SLOWEST, Lease, Observer, beat_of, in_hand
from paretonas.search.recovery import MOST_ATTEMPTS, take_up
from paretonas.search.study import Study
from paretonas.storage import CurvePoint, Held, Store, WorkerState
from paretonas.storage.identity import me

SPACE = pn.MLPSpace(layers=(1, 3), widths=[4, 8, 16])
ELSEWHERE = "elsewhere/1/2/3"  # a worker of another host


class Clock:
    """A clock that is set by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def worker(beat: int, *, name: str = ELSEWHERE, lease: float = 60.0, state: str = "alive") -> dict[str, WorkerState]:
    return {name: WorkerState(name, "elsewhere", beat, lease, state, datetime.now(UTC))}


def watched(observer: Observer, clock: Clock, beat: int, seconds: float, step: float) -> bool:
    """Look every ``step`` seconds, for so long, at a worker that counted to ``beat``; whether it is dead then."""
    for _ in range(round(seconds / step)):
        clock.now += step
        observer.look(worker(beat))
    return observer.is_dead(ELSEWHERE, worker(beat)[ELSEWHERE])


def test_a_worker_is_dead_after_a_lease_of_watching() -> None:
    """Not earlier; and a count more begins the lease anew."""
    clock = Clock()
    observer = Observer(clock)
    observer.look(worker(7))
    assert not watched(observer, clock, 7, 60, step=5)
    assert watched(observer, clock, 7, 5, step=5)
    assert not watched(observer, clock, 8, 60, step=5)
    assert watched(observer, clock, 8, 10, step=5)


def test_a_worker_that_was_never_seen_is_given_a_lease() -> None:
    """Whatever its row says, it is watched first; so is one that has no row."""
    clock = Clock()
    observer = Observer(clock)
    clock.now += 10**6
    observer.look({**worker(7), "old/1/2": None})
    assert not observer.is_dead(ELSEWHERE, worker(7)[ELSEWHERE])
    assert not observer.is_dead("old/1/2", None)


def test_who_slept_has_not_watched() -> None:
    """An hour between two looks counts as two beats, because the database may have been away for the worker too."""
    clock = Clock()
    observer = Observer(clock)
    observer.look(worker(7))
    assert not watched(observer, clock, 7, 3 * 3600, step=3600)
    assert watched(observer, clock, 7, 4 * 3600, step=3600)  # seven looks in all


@given(
    st.lists(st.tuples(st.floats(0.0, 7200.0), st.booleans()), max_size=60), st.sampled_from([0.5, 3.0, 60.0, 600.0])
)
def test_a_worker_that_counts_is_never_dead(gaps: list[tuple[float, bool]], lease: float) -> None:
    """Whenever it is looked at, whoever sleeps, and for however long the database is away for both of them."""
    clock = Clock()
    observer, beat, since = Observer(clock), 0, 0.0
    for gap, away in gaps:
        clock.now += gap
        since += min(gap, beat_of(lease)) if away else gap
        if since >= beat_of(lease):  # it counts as often as it says, once the database is there
            beat, since = beat + 1, 0.0
        observer.look(worker(beat, lease=lease))
        assert not observer.is_dead(ELSEWHERE, worker(beat, lease=lease)[ELSEWHERE])


def test_the_count_goes_up_several_times_within_a_lease() -> None:
    """However long the lease, there is a sign of life every few seconds."""
    assert [beat_of(lease) for lease in (0.6, 60.0, 3600.0)] == [pytest.approx(0.05), SLOWEST, SLOWEST]


def test_a_process_of_this_host_that_is_gone_is_dead_at_once() -> None:
    """Nobody needs to watch it, and one that said that it ended neither."""
    code = "from paretonas.storage.identity import me; print(me(), flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    assert process.stdout is not None
    name = process.stdout.readline().strip()
    observer = Observer()
    observer.look(worker(3, name=name))
    assert not observer.is_dead(name, worker(3, name=name)[name])
    process.kill()
    process.communicate()
    assert observer.is_dead(name, worker(3, name=name)[name])
    assert observer.is_dead(ELSEWHERE, worker(3, state="ended")[ELSEWHERE])
    assert observer.is_dead("", None)


# With a store


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return study_on(tmp_path, SPACE, sampler="random")


def beat(study: Study) -> int:
    return next(one.beat for one in study.store.workers(study.id) if one.name == study.store.worker)


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lease_counts_up_until_it_ends(study: Study) -> None:
    """Whatever the database says meanwhile; then the worker says that it ended, and may begin again."""
    renew = study.store.renew
    failed: list[bool] = []

    def failing() -> None:
        if len(failed) < 3:
            failed.append(True)
            raise StoreError("the database is out for lunch")
        renew()

    study.store.renew = failing  # type: ignore[method-assign]
    with Lease(study, 0.6):
        first = beat(study)
        until(lambda: beat(study) > first + 2)
        assert len(failed) == 3
    [state] = study.store.workers(study.id)
    assert (state.name, state.state, state.lease) == (study.store.worker, "ended", 0.6)
    with Lease(study, 0.6):
        assert study.store.workers(study.id)[0].state == "alive"


def test_the_inner_one_of_two_leases_does_not_end_the_outer_one(study: Study) -> None:
    """As of a network that is shrunk by a thread while another one searches."""
    with Lease(study, 5.0):
        with Lease(study, 5.0):
            pass
        assert study.store.workers(study.id)[0].state == "alive"
    assert study.store.workers(study.id)[0].state == "ended"


@pytest.fixture
def theirs(study: Study) -> Study:
    """The same study, for a worker of another host."""
    return Study(Store(study.store.url, worker=ELSEWHERE), study.id, study.name, study.definition)


def test_only_what_nobody_renews_is_taken_up(study: Study, theirs: Study) -> None:
    """A living worker keeps what it has for as long as it likes; of a dead one it is taken within its lease."""
    with Lease(study, 0.6) as lease:
        with Lease(theirs, 0.6):
            candidate = begun(theirs)
            began = time.monotonic()
            while time.monotonic() - began < 2.0:
                assert take_up(study, lease) is None
                time.sleep(0.02)
            theirs.store.leave = lambda: None  # type: ignore[method-assign] # it dies without a word
        died = time.monotonic()
        while (hand := take_up(study, lease)) is None:
            assert time.monotonic() - died < 5
            time.sleep(0.05)
        assert time.monotonic() - died > 0.3
        assert hand.candidate == candidate
        [held] = study.store.held(study.id)
        assert (held.worker, held.attempts, held.trial_number) == (study.store.worker, 2, 0)


def test_who_lost_its_lease_cannot_write(study: Study, theirs: Study) -> None:
    """Nothing of what it still does with the evaluation arrives."""
    begun(theirs)
    [one] = study.store.held(study.id)
    assert study.store.take_up(one.evaluation, of=ELSEWHERE, died=True)
    with pytest.raises(LeaseLost):
        theirs.store.add_epoch(one.evaluation, CurvePoint("train", 0, 1.0, 0.5, 0.1))
    with pytest.raises(LeaseLost):
        theirs.store.fail(one.evaluation, kind="crashed", reason="it thinks so", seconds=1.0)
    assert study.store.evaluation(one.evaluation).state == "running"
    assert study.store.curve(one.evaluation) == []


def test_what_this_process_has_in_hand_is_not_taken_from_it(study: Study) -> None:
    """Another thread of it may search, too; what an earlier search left is taken up without counting a death."""
    begun(study)
    [one] = study.store.held(study.id)
    with Lease(study) as lease:
        with in_hand(study.store, one.evaluation):
            assert take_up(study, lease) is None
        assert take_up(study, lease) is not None
    assert study.store.held(study.id)[0].attempts == 1


def test_a_candidate_that_its_workers_die_of_is_given_up(study: Study) -> None:
    """After three retries it failed as ``crashed``, Optuna knows it, and nobody takes it up."""
    candidate = begun(study)
    [one] = study.store.held(study.id)
    last = study.store.worker
    for number in range(MOST_ATTEMPTS):
        host, pid, _, boot = me().split("/")
        name = f"{host}/{pid}/{number}/{boot}"  # of an earlier process of this number
        dead = Study(Store(study.store.url, worker=name), study.id, study.name, study.definition)
        assert dead.store.take_up(one.evaluation, of=last, died=number > 0)
        last = name
    with Lease(study) as lease:
        assert take_up(study, lease) is None
    ended = study.store.evaluation(one.evaluation)
    assert (ended.state, ended.kind, ended.candidate) == ("failed", "crashed", candidate)
    assert str(ended.reason).startswith(f"its worker died {MOST_ATTEMPTS} times")
    [told] = study.optuna.get_trials()
    assert (told.state, told.user_attrs["failed"][:8]) == (TrialState.PRUNED, "crashed:")


def test_a_stopped_process_loses_its_trial_and_does_no_harm(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """A worker that stands still for longer than its lease is taken for dead; when it goes on, it drops its trial."""
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    space = pn.MLPSpace(layers=2, widths=[8, 12, 16], pruning=0.0, training=pn.TrainingSpace(epochs=60))
    study = pn.create_study("s", space=space, objectives=["accuracy", "parameters"], storage=url, sampler="random")
    data_of(study.definition, "cpu")
    process = start("worker", "--storage", url, "--trials", "3", "--lease", "2", "--quiet")

    def running() -> list[Held]:
        return [one for one in study.store.held(study.id) if one.state == "running"]

    until(lambda: any(study.store.curve(one.evaluation) for one in running()), 120)
    process.send_signal(signal.SIGSTOP)
    [stopped] = running()
    try:
        study.optimize(3, lease=2, show_progress=False)
    finally:
        process.send_signal(signal.SIGCONT)
    assert (process.communicate(timeout=120)[1], process.returncode) == ("", 0)
    ended = study.store.evaluation(stopped.evaluation)
    assert (ended.state, ended.worker, ended.attempts) == ("complete", study.store.worker, 2)
    assert [point.number for point in study.store.curve(stopped.evaluation)] == list(range(60))
    assert [trial.state for trial in study.trials] == ["complete"] * 3
    assert {trial.state for trial in study.optuna.get_trials()} == {TrialState.COMPLETE}
