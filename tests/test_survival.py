"""Real faults in real processes: kill -9 at any moment, databases that go away, clocks that lie. Nothing is lost."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from dying import MOMENTS, run_until
from optuna.trial import TrialState

import paretonas as pn
from paretonas.objectives import Epoch
from paretonas.search.data import data_of
from paretonas.search.evaluate import evaluate

if TYPE_CHECKING:
    from databases import Server

pytest_plugins = ["databases"]

Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
SEARCH = ("--space", "mlp", "--quiet", "--sampler", "random", "--stopping", "none", "--checkpoint-every", "0.02")
PLAIN = ("--objectives", "accuracy,parameters")
TIMED = ("--objectives", "accuracy,parameters,latency_ms")
PATIENCE = 300  # seconds
SEARCHES = 0.05  # of the kills at random, after which all start anew
# Moments of the short form
IN_A_FILE = ("a place is taken", "a checkpoint is made", "the network is timed", "Optuna is told")
ON_A_SERVER = ("the candidate is begun", "a checkpoint is kept", "the result is kept")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the artifacts of a database server's studies are."""
    monkeypatch.chdir(tmp_path)


def search(url: str, trials: int, *more: str, objectives: tuple[str, ...] = PLAIN, epochs: int = 12) -> tuple[str, ...]:
    """A search for random candidates, the same ones in each store."""
    return ("run", *SEARCH, *objectives, "--storage", url, "--trials", str(trials), "--epochs", str(epochs), *more)


def assert_whole(url: str, total: int) -> pn.Study:
    """Exactly ``total`` candidates came to an end, all different; no ghost, no file of nobody, no lost weights."""
    study = pn.load_study(storage=url)
    assert len(study.trials) == total
    assert len({trial.candidate.key for trial in study.trials}) == total
    assert study.store.counts(study.id) == {"complete": total}
    assert study.optuna.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)) == []
    told = study.optuna.get_trials(states=(TrialState.COMPLETE,))
    numbers = [trial.number for trial in told if "duplicate_of" not in trial.user_attrs]
    assert numbers == [trial.number for trial in study.trials]
    assert [str(finding) for finding in pn.doctor(url)] == []
    return study


def assert_as_undisturbed(study: pn.Study) -> None:
    """Each network is as accurate, after each epoch too, as when nothing disturbs its training."""
    data = data_of(study.definition, "cpu")
    for trial in study.trials:
        scores: list[float] = []

        def keep(epoch: Epoch, scores: list[float] = scores) -> None:
            scores.append(epoch.score)

        result = evaluate(trial.candidate, data, ["accuracy"], seed=study.definition.seed, on_epoch=keep)
        assert trial.values["accuracy"] == result.measured["accuracy"].value
        assert [point.score for point in trial.learning_curve] == scores


# A process that dies at a moment


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """Two candidates that nothing disturbed."""
    study = pn.create_study(
        "s",
        space=pn.MLPSpace().replace_training(epochs=12),
        objectives=["accuracy", "parameters"],
        sampler="random",
        stopping="none",
        storage=f"sqlite:///{tmp_path_factory.mktemp('undisturbed') / 'nas.db'}",
    )
    study.optimize(2, show_progress=False)
    return study


def dies(moment: str, number: int, *command: str) -> None:
    """Run a command line, in a process of its own, that kills itself at the moment."""
    processes = get_context("forkserver")  # which imports torch once for all of them
    processes.set_forkserver_preload(["dying"])
    process = processes.Process(target=run_until, args=(moment, number, command, str(Path.cwd())))
    process.start()
    process.join(PATIENCE)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_at_any_moment_changes_nothing(
    moment: str, place: str, undisturbed: pn.Study, cli: Cli, request: pytest.FixtureRequest
) -> None:
    """Whatever the process was doing when it died, the same command ends with what an undisturbed one has."""
    if moment not in (ON_A_SERVER if "postgresql" in place else IN_A_FILE) and not request.config.getoption("--long"):
        pytest.skip("another moment; runs if --long is given")
    objectives = TIMED if moment == "the network is timed" else PLAIN
    command = search(place, 2, objectives=objectives)
    dies(moment, 5 if "batch" in moment or "epoch" in moment else 2 if "checkpoint" in moment else 1, *command)
    assert cli(*command).returncode == 0
    study = assert_whole(place, 2)
    for trial, other in zip(study.trials, undisturbed.trials, strict=True):
        assert trial.candidate == other.candidate
        assert trial.values["accuracy"] == other.values["accuracy"]
        assert [p.score for p in trial.learning_curve] == [p.score for p in other.learning_curve]
        for name, tensor in trial.load().state_dict().items():
            assert tensor.equal(other.load().state_dict()[name]), name


def test_an_export_that_was_killed_is_made_again(undisturbed: pn.Study, tmp_path: Path, cli: Cli) -> None:
    """What a killed export left does not stop the next one, which checks what it wrote."""
    command = ("export", "--storage", undisturbed.store.url, "--pick", "best", "--to", str(tmp_path / "net"))
    process = subprocess.Popen(
        [sys.executable, "-m", "paretonas", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and not list(tmp_path.rglob("net.*")) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.wait()
    answer = cli(*command)
    assert answer.returncode == 0, answer.stderr
    assert {path.name for path in (tmp_path / "net").iterdir()} >= {"net.py", "net.safetensors", "net.json"}


# Processes that die at random


def kill_at_random(url: str, command: tuple[str, ...], start: Start, workers: int, kills: int, seed: int) -> int:
    """Run the command until it comes to its end; meanwhile kill workers that are at work, and now and then the search
    with them, so often. How often it was. Before each kill all workers but one are at work again.
    """
    random_, done = random.Random(seed), 0  # noqa: S311 - no secret
    process = start(*command)
    deadline = time.monotonic() + PATIENCE + 20 * kills
    while time.monotonic() < deadline:
        time.sleep(random_.uniform(0.1, 3.0))
        if process.poll() is not None:
            if process.returncode == 0:
                return done
            process = start(*command)
        elif done < kills and len(busy := at_work(url, process.pid)) >= workers - 1:
            victim = psutil.Process(process.pid) if random_.random() < SEARCHES else random_.choice(busy)
            victim.kill()
            done += 1
    pytest.fail("the search did not come to its end")


def at_work(url: str, search: int) -> list[psutil.Process]:
    """The workers of a search that have something in hand."""
    try:
        study = opened(url)
        pids = {int(one.worker.split("/")[1]) for one in study.store.held(study.id) if one.worker}
        return [child for child in psutil.Process(search).children() if child.pid in pids]
    except (pn.ParetonasError, psutil.NoSuchProcess):  # there is no study yet; it has ended
        return []


@cache
def opened(url: str) -> pn.Study:
    """The study of a store that is looked at often."""
    return pn.load_study(storage=url)


@pytest.mark.slow
@pytest.mark.parametrize("place", [pytest.param("sqlite", marks=pytest.mark.long), "postgresql"], indirect=True)
def test_kills_at_random_moments_lose_nothing(place: str, start: Start, request: pytest.FixtureRequest) -> None:
    """However often workers and the search are killed: exactly what was asked for, as if nothing had happened."""
    long = request.config.getoption("--long")
    workers, trials, kills, epochs = (4, 240, 100, 100) if long else (2, 4, 3, 100)
    command = search(place, trials, "--workers", str(workers), "--max-failed", "1", epochs=epochs)
    done = kill_at_random(place, command, start, workers, kills, seed=len(place))
    print(f"{done} kills, {workers} workers, {trials} trials")
    assert done >= (kills if long else 2)
    assert_as_undisturbed(assert_whole(place, trials))


def test_workers_end_with_their_search(url: str, start: Start) -> None:
    """If the search is killed its workers put back what they have and end, so that no more work than were asked for."""
    process = start(*search(url, 50, "--workers", "2", epochs=300))
    workers = wait_for_workers(process, url)
    process.kill()
    _, alive = psutil.wait_procs(workers, PATIENCE)
    assert not alive
    study = pn.load_study(storage=url)
    assert [one.worker for one in study.store.held(study.id) if one.state == "running"] == [""] * 2
    assert {worker.state for worker in study.status().workers} == {"ended"}


# A database that goes away


@pytest.mark.slow
def test_a_database_that_is_restarted_ends_no_worker(start: Start, request: pytest.FixtureRequest) -> None:
    """While PostgreSQL is away workers wait for it; none of them dies, and nothing is lost."""
    from databases import closing, serving

    long = request.config.getoption("--long")
    times, seconds, trials, epochs = (10, 30.0, 30, 400) if long else (2, 3.0, 4, 100)
    with serving() as server, closing():
        url = server.new()
        process = start(*search(url, trials, "--workers", "2", epochs=epochs))
        workers = wait_for_workers(process, url)
        for number in range(times):
            stop_and_start(server, seconds, signal.SIGQUIT if number % 2 else signal.SIGINT)
            time.sleep(seconds)
            if process.poll() is None:
                assert set(psutil.Process(process.pid).children()) <= workers
        _, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, server.password in err) == (0, False)
        study = assert_whole(url, trials)
        assert all(one.attempts == 1 for one in attempts(study))
        assert_as_undisturbed(study)


def wait_for_workers(process: subprocess.Popen[str], url: str) -> set[psutil.Process]:
    """The two workers of a search, as soon as both train."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            study = pn.load_study(storage=url)
            if study.store.counts(study.id).get("running", 0) == 2:
                return set(psutil.Process(process.pid).children())
        except pn.ParetonasError:
            pass  # there is no study yet
        time.sleep(0.1)
    pytest.fail("two workers were not seen at work")


def stop_and_start(server: "Server", seconds: float, how: signal.Signals) -> None:
    server.stop(how)
    time.sleep(seconds)
    server.start()


def attempts(study: pn.Study) -> list["Attempt"]:
    """How often each evaluation was taken up."""
    from sqlalchemy import text

    with study.store.session() as session:
        rows = session.execute(text("SELECT worker, attempts FROM paretonas_evaluations ORDER BY id")).all()
    return [Attempt(str(worker), int(count)) for worker, count in rows]


class Attempt:
    """Who ended an evaluation, and in which attempt."""

    def __init__(self, worker: str, attempts: int) -> None:
        self.worker, self.attempts = worker, attempts


# Hosts and clocks


@pytest.fixture
def stand_in(tmp_path: Path, start: Start) -> Callable[..., subprocess.Popen[str]]:
    """Start a command line as if on another host, or with another clock."""

    def call(changes: str, *command: str) -> subprocess.Popen[str]:
        script = tmp_path / "elsewhere.py"
        script.write_text(f"{changes}\nfrom paretonas.search.cli import main\nmain()\n")
        return start(*command, by=[sys.executable, str(script)])

    return call


ELSEWHERE = "import platform\nplatform.node = lambda: 'another-host'"
LATE = "import time\n_time = time.time\ntime.time = lambda: _time() + 3600"


def wait_for_epochs(url: str) -> None:
    """Wait until some candidate is in the middle of its training."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            study = pn.load_study(storage=url)
            for one in study.store.held(study.id):
                if len(study.store.curve(one.evaluation)) >= 3:
                    return
        except pn.ParetonasError:
            pass  # there is no study yet
        time.sleep(0.05)
    pytest.fail("no candidate was seen in the middle of its training")


@pytest.mark.parametrize("place", [pytest.param("sqlite", marks=pytest.mark.long), "postgresql"], indirect=True)
def test_a_dead_worker_of_another_host_is_followed_within_its_lease(
    place: str, stand_in: Callable[..., subprocess.Popen[str]], cli: Cli
) -> None:
    """Its count stands still for the lease that it promised; then the next worker goes on with its trial."""
    lease = 3.0
    command = search(place, 1, "--lease", str(lease), epochs=150)
    other = stand_in(ELSEWHERE, *command)
    wait_for_epochs(place)
    other.kill()
    other.wait()
    began = time.monotonic()
    assert cli(*command).returncode == 0
    study = assert_whole(place, 1)
    [one] = attempts(study)
    assert not one.worker.startswith("another-host")
    waited = time.monotonic() - began - sum(point.seconds for point in study.trials[0].learning_curve)
    assert waited < 3 * lease


@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_a_clock_that_is_an_hour_late_takes_nothing_from_anybody(
    place: str, start: Start, stand_in: Callable[..., subprocess.Popen[str]]
) -> None:
    """Leases are no times of day: a worker of another host whose clock is wrong leaves others their trials."""
    command = search(place, 6, "--lease", "3", epochs=60)
    one, other = start(*command), stand_in(f"{ELSEWHERE}\n{LATE}", *command)
    for process in (one, other):
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    study = assert_whole(place, 6)
    ended = attempts(study)
    assert {each.attempts for each in ended} == {1}
    assert len({each.worker for each in ended}) == 2
    assert_as_undisturbed(study)


@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_two_that_start_in_the_same_second_make_one_store(place: str, start: Start) -> None:
    """An empty database gets one schema and one study, and as many trials as were asked for."""
    processes = [start(*search(place, 4, epochs=2)) for _ in range(2)]
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    study = assert_whole(place, 4)
    assert study.store.study_names() == ["digits-mlp"]
