"""Workers on a real Ray cluster, whose nodes are on this machine: one dies, what cannot be is refused, all end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from optuna.trial import TrialState

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.objectives import Epoch
from paretonas.search.data import load_data
from paretonas.search.definition import Definition
from paretonas.search.evaluate import evaluate

if TYPE_CHECKING:
    from databases import Server

    from paretonas.search.trial import Trial

Start = Callable[..., subprocess.Popen[str]]
Cli = Callable[..., subprocess.CompletedProcess[str]]
PATIENCE = 150  # seconds
LONG = 150  # epochs of a trial that lasts some seconds
pytest_plugins = ["databases"]


def search(url: str, *more: str, trials: int = 2, epochs: int = 2) -> tuple[str, ...]:
    """A search on a cluster for networks of which each is alike long to train."""
    asked = ("run", "--on", "ray", "--space", "mlp", "--objectives", "accuracy,parameters", "--sampler", "random")
    return (*asked, "--storage", url, "--trials", str(trials), "--epochs", str(epochs), "--stopping", "none", *more)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a test connects to a database is closed after it."""
    from databases import closing

    with closing():
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder of the tests' own, where Ray leaves a token; nothing else says where a cluster is."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(folder))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield folder


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[Any]:
    """A cluster whose head has room for one worker of one thread."""
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray is not installed")
    assert home.exists()
    made = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()


def wait_for(what: str, found: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + PATIENCE
    while not found():
        if process.poll() is not None:
            pytest.fail(f"the search ended with {process.communicate()} before {what}")
        if time.monotonic() > until:
            pytest.fail(f"{PATIENCE} seconds went by without {what}")
        time.sleep(0.1)


def wait_for_study(url: str, process: subprocess.Popen[str]) -> pn.Study:
    opened: list[pn.Study] = []

    def is_there() -> bool:
        try:
            opened.append(pn.load_study(storage=url))
        except pn.errors.ParetonasError:
            return False
        return True

    wait_for("a study", is_there, process)
    return opened[0]


def training(study: pn.Study) -> dict[str, int]:
    """Trials that have finished an epoch, by the worker that has them in hand."""
    held = [one for one in study.store.held(study.id) if one.worker and study.store.curve(one.evaluation)]
    return {one.worker: one.trial_number or 0 for one in held}


def is_within(worker: str, node: Any) -> bool:
    """Whether a worker, ``host/pid/...``, is a process of a node."""
    [raylet] = node.all_processes["raylet"]
    return int(worker.split("/")[1]) in {one.pid for one in psutil.Process(raylet.process.pid).children()}


def trains_within(study: pn.Study, node: Any) -> bool:
    return any(is_within(worker, node) for worker in training(study))


def assert_undisturbed(trial: "Trial", definition: Definition) -> None:
    """Each epoch once, with the score that it has when nothing disturbs the training."""
    scores: list[float] = []

    def keep(epoch: Epoch) -> None:
        scores.append(epoch.score)

    data = load_data(definition.task)
    again = evaluate(trial.candidate, data, ["accuracy"], seed=definition.seed, on_epoch=keep)
    assert trial.values["accuracy"] == again.measured["accuracy"].value
    assert [point.score for point in trial.learning_curve] == scores


@pytest.mark.slow
def test_a_node_takes_its_worker_and_nothing_else(
    cluster: Any, start: Start, server: "Server", tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Its worker is replaced where there is room, its trial is gone on with, the total is exact, and no password is in
    what Ray writes.
    """
    times, trials = (4, 12) if request.config.getoption("--long") else (1, 3)
    url, node = server.new(), cluster.add_node(num_cpus=1)
    process = start(
        *search(url, "--workers", "2", "--ray-address", cluster.address, trials=trials, epochs=LONG),
        *("--artifacts", str(tmp_path / "artifacts"), "--checkpoint-every", "0.1", "--quiet"),
    )
    study, killed = wait_for_study(url, process), []
    for _ in range(times):
        wait_for("its node trains", partial(trains_within, study, node), process)
        killed += [number for worker, number in training(study).items() if is_within(worker, node)]
        cluster.remove_node(node, allow_graceful=False)
        node = cluster.add_node(num_cpus=1)
    _, err = process.communicate(timeout=PATIENCE * times)
    cluster.remove_node(node)
    assert process.returncode == 0, err
    assert study.store.counts(study.id) == {"complete": trials}
    assert study.store.held(study.id) == []
    assert study.optuna.get_trials(states=(TrialState.RUNNING, TrialState.WAITING)) == []
    assert len(study.store.workers(study.id)) >= 2 + times
    assert [str(finding) for finding in pn.doctor(url, artifacts=tmp_path / "artifacts")] == []
    assert killed
    for number in killed:
        trial = pn.load_study(storage=url, artifacts=tmp_path / "artifacts").pick(number)
        assert_undisturbed(trial, study.definition)
    logs = [file for file in Path(cluster.head_node.get_session_dir_path()).rglob("*") if file.is_file()]
    assert len(logs) > 3
    assert not [file for file in logs if server.password.encode() in file.read_bytes()]


@pytest.mark.long
def test_an_interruption_reaches_the_cluster(cluster: Any, start: Start, url: str) -> None:
    """Ctrl-C has each worker put back what it has in hand, and the one that waits for room ends."""
    process = start(*search(url, "--workers", "2", "--ray-address", cluster.address, "--quiet", epochs=100 * LONG))
    study = wait_for_study(url, process)
    wait_for("a trial trains", lambda: bool(training(study)), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.count("\n")) == (130, "", 1), err
    assert {(one.state, one.worker) for one in study.store.held(study.id)} == {("running", "")}
    assert {worker.state for worker in study.store.workers(study.id)} == {"ended"}


def test_what_no_node_has_is_not_waited_for(cluster: Any, start: Start, url: str) -> None:
    """A worker that asks for more than any node has ends the search with one line that says what there is."""
    process = start(*search(url, "--ray-address", cluster.address, "--threads", "3", "--quiet"))
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
    assert "a worker needs 3 CPUs on one node, and the nodes of the Ray cluster have 1 CPUs" in err


@pytest.mark.long
def test_a_node_without_paretonas_is_named(
    cluster: Any, start: Start, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing there, and what to do, in one line."""
    shadow = tmp_path / "shadow"
    (shadow / "paretonas").mkdir(parents=True)
    (shadow / "paretonas" / "__init__.py").write_text("import torch_that_is_missing\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join((str(shadow), os.environ.get("PYTHONPATH", ""))))
        node = cluster.add_node(num_cpus=2)
    process = start(*search(url, "--ray-address", cluster.address, "--threads", "2", "--quiet"))
    out, err = process.communicate(timeout=PATIENCE)
    cluster.remove_node(node)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1), err
    assert "a node of the Ray cluster has no module 'torch_that_is_missing': install paretonas" in err


def test_a_file_is_not_shared_by_machines(cluster: Any, url: str) -> None:
    """SQLite is refused where a node is on another machine than the search, in one line."""
    script = "import platform, sys; platform.node = lambda: 'elsewhere'; from paretonas.search.cli import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", script, *search(url, "--ray-address", cluster.address, "--quiet")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1), answer.stderr
    assert "workers on several machines need a database server" in answer.stderr


@pytest.mark.long
def test_a_cluster_is_started_where_there_is_none(
    start: Start, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the search, which says nothing of it."""
    pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    process = start(*search(url, "--ray-address", "local", "--workers", "2", "--quiet"))
    wait_for_study(url, process)
    _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    assert pn.load_study(storage=url).store.counts(1) == {"complete": 2}


def test_a_cluster_needs_ray(cli: Cli, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, one line names the extra that brings it, and nothing has begun."""
    monkeypatch.setitem(sys.modules, "ray", None)
    answer = cli(*search(url))
    assert (answer.returncode, answer.stderr.count("\n")) == (2, 1)
    assert "pip install 'paretonas[ray]'" in answer.stderr
    assert pn.load_study(storage=url).trials == []


def test_shares_of_gpus_go_with_a_cluster_that_trains_on_them(url: str) -> None:
    """What does not go together is refused before anything is connected."""
    study = pn.create_study("s", space=pn.MLPSpace(), objectives=["accuracy", "parameters"], storage=url)
    for settings, said in (
        ({"gpus_per_worker": 0.5}, "on='ray'"),
        ({"ray_address": "auto"}, "on='ray'"),
        ({"on": "ray", "gpus_per_worker": 0.5}, "train on cpu"),
        ({"on": "ray", "gpus_per_worker": 0}, "gpus_per_worker must be above 0"),
        ({"on": "slurm"}, "unknown place of workers 'slurm'"),
    ):
        with pytest.raises(UsageError, match=said):
            study.optimize(1, **settings)
