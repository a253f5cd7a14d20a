"""Real faults in real processes: kill -9, Ctrl-C, a worker that dies, a folder without room. Nothing is lost."""

import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import optuna
import psutil
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState
from torch import nn

import paretonas as pn
from paretonas import own
from paretonas.errors import StudyError
from paretonas.search import workers
from paretonas.search.data import load_data
from paretonas.search.evaluate import evaluate
from paretonas.search.leases import Lease
from paretonas.search.recovery import clean_up, take_up
from paretonas.search.worker import Budget
from paretonas.search.workers import run_workers
from paretonas.spaces.choices import Suggester
from paretonas.storage import CurvePoint
from paretonas.storage.artifact_store import VIEW
from paretonas.storage.upkeep import files

Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
SEARCH = ("run", "--space", "mlp", "--objectives", "accuracy,parameters", "--trials", "3", "--quiet")
LONG = 40  # epochs of a trial that lasts a second or so, so that a fault can strike in the middle of it
PATIENCE = 120  # seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The database of the test."""
    return tmp_path / "nas.db"


@pytest.fixture
def search(file: Path) -> tuple[str, ...]:
    """A search for three candidates, each of them long enough to be interrupted."""
    return (*SEARCH, "--storage", f"sqlite:///{file}", "--epochs", str(LONG))


@pytest.fixture
def short_search(file: Path) -> tuple[str, ...]:
    """A search for three candidates."""
    return (*SEARCH, "--storage", f"sqlite:///{file}", "--epochs", "2")


def load(file: Path, artifacts: Path | None = None) -> pn.Study:
    return pn.load_study(storage=f"sqlite:///{file}", artifacts=artifacts)


def wait_for_training(file: Path, alive: Callable[[], bool], *, at_least: int = 1) -> str:
    """Wait until some trial is in its first epochs of many; returns the name of its worker, ``host/pid/...``."""
    query = f"""
        SELECT worker FROM paretonas_evaluations e JOIN paretonas_epochs p ON p.evaluation_id = e.id
        WHERE e.state = 'running' GROUP BY e.id HAVING count(*) BETWEEN {at_least} AND {at_least + 9}
    """  # noqa: S608 - our own numbers
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and alive():
        try:
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as connection:
                if (row := connection.execute(query).fetchone()) is not None:
                    return str(row[0])
        except sqlite3.OperationalError:
            pass  # the database or its tables are not made yet
        time.sleep(0.01)
    pytest.fail("no trial was seen in the middle of its training")


def in_state(study: pn.Study, state: TrialState) -> list[FrozenTrial]:
    return study.optuna.get_trials(states=(state,))


def assert_finished(study: pn.Study, total: int) -> None:
    """Exactly ``total`` candidates came to an end, all different, and no ghost is left, here or in Optuna."""
    assert len(study.trials) == total
    assert len({trial.candidate.key for trial in study.trials}) == total
    assert {evaluation.state for evaluation in study.store.evaluations(study.id)} == {"complete"}
    assert study.store.open_places(study.id) == []
    assert in_state(study, TrialState.RUNNING) == in_state(study, TrialState.WAITING) == []
    numbers = [trial.number for trial in in_state(study, TrialState.COMPLETE) if "duplicate_of" not in trial.user_attrs]
    assert numbers == [trial.number for trial in study.trials]


def epochs(study: pn.Study, number: int) -> list[CurvePoint]:
    """The learning curve of a trial, whatever state it is in."""
    return study.store.curve(study.store.numbered(study.id, [number])[number].id)


def assert_gone_on_with(study: pn.Study, interrupted: list[FrozenTrial]) -> None:
    """What was interrupted finished as the trial that it was, each epoch once, with what it would have reached."""
    assert interrupted
    for before in interrupted:
        trial = study.pick(before.number)
        assert study.optuna.get_trials()[before.number].params == before.params
        points = trial.learning_curve
        assert [point.number for point in points if point.phase == "train"] == list(
            range(trial.candidate.training.epochs)
        )
        data = load_data(study.definition.task)
        again = evaluate(trial.candidate, data, ["accuracy", "parameters"], seed=trial.evaluation.seed)
        assert {name: one.value for name, one in again.measured.items()} == {
            name: trial.values[name] for name in again.measured
        }
        kept = trial.load().state_dict()
        assert all(torch.equal(tensor, kept[name]) for name, tensor in again.deployed.network.state_dict().items())


@pytest.mark.long
def test_a_killed_search_goes_on(file: Path, search: tuple[str, ...], start: Start, cli: Cli) -> None:
    """After kill -9 in the middle of a trial, the same command goes on with it from its last checkpoint."""
    search = (*search, "--checkpoint-every", "0.01")
    process = start(*search)
    wait_for_training(file, lambda: process.poll() is None, at_least=5)
    process.kill()
    process.wait()
    study = load(file)
    killed = in_state(study, TrialState.RUNNING)
    assert len(killed) == 1
    before = epochs(study, killed[0].number)
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    after = epochs(study, killed[0].number)
    same = sum(one == other for one, other in zip(before, after, strict=False))  # with the seconds that they took
    assert 1 <= same <= len(before)
    assert_gone_on_with(study, killed)


@pytest.mark.parametrize("by", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.long)])
def test_an_interrupted_search_goes_on(
    file: Path, search: tuple[str, ...], start: Start, cli: Cli, by: signal.Signals
) -> None:
    """Ctrl-C in the middle of a trial ends with one line and exit code 130, so does SIGTERM; its trial is nobody's."""
    process = start(*search)
    wait_for_training(file, lambda: process.poll() is None)
    process.send_signal(by)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("paretonas: interrupted: ")
    assert err.count("\n") == 1
    study = load(file)
    interrupted = in_state(study, TrialState.RUNNING)
    [held] = study.store.held(study.id)
    assert (held.state, held.worker, [held.trial_number]) == ("running", "", [trial.number for trial in interrupted])
    assert {worker.state for worker in study.store.workers(study.id)} == {"ended"}
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_gone_on_with(study, interrupted)
    assert study.store.numbered(study.id, [interrupted[0].number])[interrupted[0].number].attempts == 1


def test_an_interruption_reaches_all_workers(file: Path, search: tuple[str, ...], start: Start) -> None:
    """Ctrl-C ends every worker process, each leaves what it had in hand, and the exit code is 130."""
    process = start(*search, "--workers", "2")
    wait_for_training(file, lambda: process.poll() is None)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.count("\n") == 1
    assert len(children) == 2
    assert not any(child.is_running() for child in children)
    study = load(file)
    held = study.store.held(study.id)
    assert held
    assert {(one.state, one.worker) for one in held} == {("running", "")}
    assert {trial.number for trial in in_state(study, TrialState.RUNNING)} == {one.trial_number for one in held}


@pytest.mark.long
def test_a_killed_worker_is_replaced(file: Path) -> None:
    """If one of two workers is killed in mid-trial, the same call finishes all of it, that trial too."""
    space = pn.MLPSpace(training=pn.TrainingSpace(epochs=LONG, finetune_epochs=1))
    study = pn.create_study(
        "s", space=space, objectives=["accuracy", "parameters"], storage=f"sqlite:///{file}", sampler="random"
    )
    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(study.optimize, 4, workers=2, show_progress=False)
        worker = wait_for_training(file, lambda: not searching.done())
        [killed] = [one.trial_number for one in study.store.held(study.id) if one.worker == worker]
        psutil.Process(int(worker.split("/")[1])).kill()
        searching.result(PATIENCE)
    assert_finished(study, 4)
    assert_gone_on_with(study, [study.optuna.get_trials()[killed or 0]])
    assert len(study.store.workers(study.id)) == 3


def deadly_factory(width: int) -> nn.Module:
    """Some of its networks take their process with them, as the system does when memory is short."""
    if width >= 900 and os.environ.get(own.VARIABLE):  # in a worker, not in the test
        os.kill(os.getpid(), signal.SIGKILL)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, 10))


def test_a_candidate_that_kills_its_workers_is_given_up(file: Path) -> None:
    """After three retries it failed as ``crashed``; the workers are replaced, and the others are found."""
    space = pn.ModuleSpace(deadly_factory, width=[8, 16, 999], training=pn.TrainingSpace(epochs=1, finetune_epochs=1))
    study = pn.create_study(
        "s", space=space, objectives=["accuracy", "parameters"], storage=f"sqlite:///{file}", sampler="ehvi"
    )
    study.enqueue({"argument.width": 999})
    study.optimize(3, workers=2, show_progress=False)
    assert sorted(trial.state for trial in study.trials) == ["complete", "complete", "failed"]
    [failed] = [trial for trial in study.trials if trial.state == "failed"]
    assert str(failed.reason).startswith("crashed: its worker died 4 times")
    assert failed.evaluation.attempts == 4
    assert study.store.held(study.id) == []
    assert in_state(study, TrialState.RUNNING) == in_state(study, TrialState.WAITING) == []


def test_workers_that_only_die_are_not_replaced_for_ever(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What kills them before anything is tried ends the search, which says how they ended."""
    space = pn.FunctionSpace(f"{__name__}:deadly_suggestion")
    own.trust([f"{__name__}:deadly_suggestion"])
    study = pn.create_study(
        "s", space=space, objectives=["accuracy", "parameters"], storage=f"sqlite:///{file}", sampler="random"
    )
    monkeypatch.setattr(workers, "DEATHS", 1)  # of a worker that does not begin anything it is clear soon
    with pytest.raises(StudyError, match=r"workers ended early \(exit -9\)"):
        run_workers(study, 1, Budget(3), on_tick=lambda: None)
    assert len(study.store.workers(study.id)) == 3  # this search, which asked, and two that died


def deadly_suggestion(trial: Suggester, data: pn.DataSpec) -> pn.Architecture:
    """Takes its process with it when a study asks."""
    if isinstance(trial, optuna.Trial):
        os.kill(os.getpid(), signal.SIGKILL)
    width = trial.suggest_int("width", 4, 8)
    return data.architecture([pn.Block("flatten"), pn.Block("linear", width=width)])


@pytest.mark.long
def test_a_worker_that_starts_does_not_disturb_one_at_work(file: Path, start: Start) -> None:
    """Looking for what is left behind, again and again, while another process searches takes nothing from it."""
    space = pn.MLPSpace(training=pn.TrainingSpace(epochs=1, finetune_epochs=1))
    study = pn.create_study(
        "s", space=space, objectives=["accuracy", "parameters"], storage=f"sqlite:///{file}", sampler="random"
    )
    process = start("worker", "--storage", f"sqlite:///{file}", "--trials", "8", "--lease", "3", "--quiet")
    deadline = time.monotonic() + PATIENCE
    with Lease(study) as lease:
        while process.poll() is None and time.monotonic() < deadline:
            assert clean_up(study, lease) == 0
            assert take_up(study, lease) is None
    assert (process.returncode, process.communicate()[1]) == (0, "")
    assert_finished(study, 8)
    assert in_state(study, TrialState.FAIL) == []


def test_who_is_asked_to_stop_finishes_its_trial(file: Path, search: tuple[str, ...], start: Start, cli: Cli) -> None:
    """And ends without an error; who helps is refused until the search is begun again."""
    process = start(*search)
    wait_for_training(file, lambda: process.poll() is None)
    study = load(file)
    study.stop()
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    done = len(study.trials)
    assert 1 <= done < 3
    assert study.store.held(study.id) == []
    refused = cli("worker", "--storage", f"sqlite:///{file}", "--trials", "3", "--quiet")
    assert refused.returncode == 1
    assert "was asked to stop: paretonas run, or Study.optimize, goes on with it" in refused.stderr
    assert cli(*search).returncode == 0
    assert_finished(study, 3)


def assert_no_room(cli: Cli, search: tuple[str, ...], folder: Path) -> None:
    """The search ends with exit code 1 and one sentence that names the folder; the trial in hand is nobody's."""
    answer = cli(*search)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert answer.stderr.count("\n") == 1
    assert "could not be written" in answer.stderr
    assert str(folder) in answer.stderr


def test_an_artifact_folder_that_is_a_file_is_said(file: Path, short_search: tuple[str, ...], cli: Cli) -> None:
    """Weights that cannot be kept end the search; once they can, the same command goes on."""
    folder = file.with_name("weights")
    folder.write_text("not a folder")
    search = (*short_search, "--artifacts", str(folder))
    assert_no_room(cli, search, folder)
    study = load(file, folder)
    interrupted = in_state(study, TrialState.RUNNING)
    assert (study.trials, [one.worker for one in study.store.held(study.id)]) == ([], [""])
    folder.unlink()
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_gone_on_with(study, interrupted)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB in memory; needs the right to mount."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    place = tmp_path / "disk"
    place.mkdir()
    if mount is None or umount is None:
        pytest.skip("no mount command")
    options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run([umount, "-l", str(place)], check=True)


def test_a_full_disk_is_said(file: Path, short_search: tuple[str, ...], small_disk: Path, cli: Cli) -> None:
    """Without room for the weights the search ends in one sentence; with room again the same command goes on."""
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as full:
        try:
            while full.write(bytes(4096)):
                pass
        except OSError:
            pass
    folder = small_disk / "weights"
    search = (*short_search, "--artifacts", str(folder))
    assert_no_room(cli, search, folder)
    study = load(file, folder)
    interrupted = in_state(study, TrialState.RUNNING)
    assert (study.trials, [one.worker for one in study.store.held(study.id)]) == ([], [""])
    ballast.unlink()
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_gone_on_with(study, interrupted)
    views = {file.id for file in files(study.store) if file.name.startswith(VIEW)}
    assert {path.name for path in folder.iterdir() if path.is_file()} - views == {
        trial.evaluation.weights for trial in study.trials
    }
