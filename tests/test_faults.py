"""Real faults in real processes: kill -9, Ctrl-C, a worker that dies, a folder without room. Nothing is lost."""

import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

import paretonas as pn
from paretonas.errors import StudyError
from paretonas.search.recovery import recover

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


def load(file: Path) -> pn.Study:
    return pn.load_study(storage=f"sqlite:///{file}")


def wait_for_training(file: Path, alive: Callable[[], bool]) -> str:
    """Wait until some trial is in its first epochs of many; returns the name of its worker, ``host/pid/start``."""
    query = """
        SELECT worker FROM paretonas_evaluations e JOIN paretonas_epochs p ON p.evaluation_id = e.id
        WHERE e.state = 'running' GROUP BY e.id HAVING count(*) BETWEEN 1 AND 10
    """
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


def assert_tried(study: pn.Study, interrupted: list[FrozenTrial]) -> None:
    """What was interrupted was proposed again with the same parameters, and finished."""
    assert interrupted
    finished = [trial.params for trial in in_state(study, TrialState.COMPLETE)]
    for trial in interrupted:
        assert trial.params in finished
        assert study.optuna.get_trials()[trial.number].state is TrialState.FAIL


def test_a_killed_search_goes_on(file: Path, search: tuple[str, ...], start: Start, cli: Cli) -> None:
    """After kill -9 in the middle of a trial, the same command finishes with exactly what was asked."""
    process = start(*search)
    wait_for_training(file, lambda: process.poll() is None)
    process.kill()
    process.wait()
    study = load(file)
    killed = in_state(study, TrialState.RUNNING)
    assert len(killed) == 1
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_tried(study, killed)


def test_an_interrupted_search_goes_on(file: Path, search: tuple[str, ...], start: Start, cli: Cli) -> None:
    """Ctrl-C in the middle of a trial ends with one line and exit code 130; its parameters wait in the queue."""
    process = start(*search)
    wait_for_training(file, lambda: process.poll() is None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("paretonas: interrupted: the trial in hand was put back")
    assert err.count("\n") == 1
    study = load(file)
    assert in_state(study, TrialState.RUNNING) == []
    assert all(evaluation.state == "complete" for evaluation in study.store.evaluations(study.id))
    waiting, interrupted = in_state(study, TrialState.WAITING), in_state(study, TrialState.FAIL)
    assert len(waiting) == len(interrupted) == 1
    assert waiting[0].system_attrs["fixed_params"] == interrupted[0].params
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_tried(study, interrupted)


def test_an_interruption_reaches_all_workers(file: Path, search: tuple[str, ...], start: Start) -> None:
    """Ctrl-C ends every worker process, puts back what each had in hand, and exits with 130."""
    process = start(*search, "--workers", "2")
    wait_for_training(file, lambda: process.poll() is None)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.count("\n") == 1
    assert len(workers) == 2
    assert not any(worker.is_running() for worker in workers)
    study = load(file)
    assert in_state(study, TrialState.RUNNING) == []
    assert in_state(study, TrialState.WAITING)
    assert study.store.open_places(study.id) == []


def test_a_killed_worker_is_made_up_for(file: Path) -> None:
    """If one of two workers is killed in mid-trial, the other goes on and the same call finishes what is left."""
    space = pn.MLPSpace(training=pn.TrainingSpace(epochs=LONG, finetune_epochs=1))
    study = pn.create_study(
        "s", space=space, objectives=["accuracy", "parameters"], storage=f"sqlite:///{file}", sampler="random"
    )
    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(study.optimize, 4, workers=2, show_progress=False)
        worker = wait_for_training(file, lambda: not searching.done())
        psutil.Process(int(worker.split("/")[-2])).kill()
        with pytest.raises(StudyError, match=r"workers ended early \(exit .*-9"):
            searching.result(PATIENCE)
    lost = in_state(study, TrialState.FAIL)
    assert "interrupted" in lost[0].user_attrs
    assert len(study.trials) == 3
    study.optimize(4, show_progress=False)
    assert_finished(study, 4)
    assert_tried(study, [trial for trial in lost if "interrupted" in trial.user_attrs])


def test_a_worker_that_starts_does_not_disturb_one_at_work(file: Path, start: Start) -> None:
    """Cleaning up, again and again, while another process searches takes none of its trials away."""
    space = pn.MLPSpace(training=pn.TrainingSpace(epochs=1, finetune_epochs=1))
    study = pn.create_study(
        "s", space=space, objectives=["accuracy", "parameters"], storage=f"sqlite:///{file}", sampler="random"
    )
    process = start("worker", "--storage", f"sqlite:///{file}", "--trials", "8", "--quiet")
    deadline = time.monotonic() + PATIENCE
    taken_away = 0
    while process.poll() is None and time.monotonic() < deadline:
        taken_away += recover(study)
    assert (process.returncode, process.communicate()[1]) == (0, "")
    assert taken_away == 0
    assert_finished(study, 8)
    assert in_state(study, TrialState.FAIL) == []


def assert_no_room(cli: Cli, search: tuple[str, ...], folder: Path) -> None:
    """The search ends with exit code 1 and one sentence that names the folder; the trial in hand was put back."""
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
    study = load(file)
    interrupted = in_state(study, TrialState.FAIL)
    assert (study.trials, in_state(study, TrialState.RUNNING)) == ([], [])
    folder.unlink()
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_tried(study, interrupted)


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
    study = load(file)
    interrupted = in_state(study, TrialState.FAIL)
    assert (study.trials, in_state(study, TrialState.RUNNING)) == ([], [])
    ballast.unlink()
    assert cli(*search).returncode == 0
    assert_finished(study, 3)
    assert_tried(study, interrupted)
    assert {path.name for path in folder.iterdir()} == {trial.evaluation.weights for trial in study.trials}
