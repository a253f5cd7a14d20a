"""What TensorBoard reads of a search: read back by its own code."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.search.views import tensorboard as ours
from paretonas.storage import CurvePoint

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TRAINING = pn.TrainingSpace(epochs=2, finetune_epochs=1)
SPACE = pn.MLPSpace(layers=(1, 2), widths=[4, 8, 16], pruning=(0.0, 0.5), training=TRAINING)
Scalars = dict[str, list[Any]]  # step and value


def search(url: str, name: str = "watched") -> pn.Study:
    return pn.create_study(name, space=SPACE, objectives=["accuracy", "parameters"], storage=url)


def scalars(folder: Path) -> Scalars:
    """Step and value of all that TensorBoard reads in a folder, by tag."""
    read = accumulators.EventAccumulator(str(folder))
    read.Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def hyperparameters(folder: Path) -> dict[str, object]:
    """Of the session that a result is."""
    from tensorboard.plugins.hparams import metadata

    read = accumulators.EventAccumulator(str(folder))
    read.Reload()
    content = read.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    started = metadata.parse_session_start_info_plugin_data(content)
    return {name: value.string_value or value.number_value for name, value in started.hparams.items()}


def check(study: pn.Study, folder: Path) -> None:
    """Every curve and result of the study is there, once."""
    trials = [trial for trial in study.trials if trial.state != "refused"]
    assert sorted(path.name for path in folder.iterdir()) == [f"trial-{trial.number:05d}" for trial in trials]
    for trial in trials:
        place = folder / f"trial-{trial.number:05d}"
        curve = trial.learning_curve
        if curve:
            read = scalars(place)
            assert read["loss"] == [(step, pytest.approx(p.loss, rel=1e-6)) for step, p in enumerate(curve, 1)]
            assert [value for _, value in read["validation_score"]] == pytest.approx([p.score for p in curve])
        measured = trial.evaluation.values
        assert scalars(place / ours.RESULT) == {n: [(0, pytest.approx(v, rel=1e-6))] for n, v in measured.items()}
        genes = study.optuna.trials[trial.number].params
        said = hyperparameters(place / ours.RESULT)
        assert genes.keys() <= said.keys()
        assert said["network"] == str(trial.architecture).replace(" \u00b7 ", ", ")
        for name, value in genes.items():
            assert said[name] == (pytest.approx(value) if isinstance(value, int | float) else value)


def test_curves_genes_and_objectives_are_written(url: str, tmp_path: Path) -> None:
    """Of each trial, also of those before, and only once when the search goes on."""
    study = search(url)
    study.optimize(1, show_progress=False)
    study.optimize(3, show_progress=False, tensorboard=tmp_path / "log")
    check(study, tmp_path / "log" / "watched")
    study.optimize(4, show_progress=False, tensorboard=tmp_path / "log")
    check(study, tmp_path / "log" / "watched")


@pytest.mark.long
def test_the_leader_writes_for_all_workers(url: str, tmp_path: Path) -> None:
    """By the option of the command line."""
    study = search(url, "digits-mlp")
    study.optimize(1, show_progress=False)
    arguments = ["--study", "digits-mlp", "--storage", url, "--tensorboard", str(tmp_path / "log"), "--quiet"]
    file = tmp_path / "study.toml"
    file.write_text(STUDY_FILE)
    command = [sys.executable, "-m", "paretonas", "run", str(file), "--trials", "5", "--workers", "2", *arguments]
    subprocess.run(command, check=True, capture_output=True, text=True)
    check(study, tmp_path / "log" / "digits-mlp")


STUDY_FILE = """
objectives = ["accuracy", "parameters"]

[space]
type = "mlp"
layers = { low = 1, high = 2 }
widths = [4, 8, 16]
pruning = { low = 0.0, high = 0.5 }

[space.training]
epochs = 2
finetune_epochs = 1
"""


def test_a_trial_that_is_taken_up_again_has_one_curve(url: str, tmp_path: Path) -> None:
    """What was written after the epoch from which another process goes on is replaced."""
    study = search(url)
    study.optimize(1, show_progress=False)
    (trial,) = study.trials
    first = [CurvePoint("train", number, 9.0 - number, 0.1, 0.5) for number in range(3)]
    second = [*first[:1], *(CurvePoint("train", number, 5.0 - number, 0.2, 0.5) for number in range(1, 4))]
    folder = tmp_path / "curve"
    curve = ours._Curve(folder)
    for points in (first[:2], first, first, second[:2], second):
        curve.write(points)
    curve.close()
    assert scalars(folder)["loss"] == [(step, point.loss) for step, point in enumerate(second, 1)]
    again = ours._Curve(folder)  # of a search that was killed and knows nothing of the other
    time.sleep(1.1)  # the files are told apart by the second in which they began
    again.write(first)
    again.close()
    assert scalars(folder)["loss"] == [(step, point.loss) for step, point in enumerate(first, 1)]
    assert trial.learning_curve


def test_a_killed_search_leaves_no_double_points(
    url: str, tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    """After kill -9 of the leader in the middle of a trial the same command writes the rest."""
    space = pn.MLPSpace(layers=1, widths=[8], activations=["relu", "gelu"], pruning=0.0,
                        training=pn.TrainingSpace(epochs=60))  # fmt: skip
    study = pn.create_study("killed", space=space, objectives=["accuracy", "parameters"], storage=url)
    log = tmp_path / "log"
    script = tmp_path / "script.py"
    script.write_text(
        f"import paretonas as pn\nstudy = pn.load_study(storage={url!r})\n"
        f"study.optimize(2, tensorboard={str(log)!r}, checkpoint_every=0.1, show_progress=False)\n"
    )
    process = start(by=[sys.executable, str(script)])
    wait_until(lambda: any(scalars(file.parent).get("loss") for file in log.glob("killed/trial-*/events.*")))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    study.optimize(2, show_progress=False, tensorboard=log)
    check(study, log / "killed")


def test_who_goes_on_in_the_same_second_is_read_last(tmp_path: Path) -> None:
    """Even if the name of what an earlier process wrote sorts behind all others of its second."""
    earlier, later = ([CurvePoint("train", 1, loss, 0.5, 1.0) for loss in losses] for losses in ((5.0, 4.0), (2.0,)))
    write_curve(tmp_path, earlier)
    (file,) = tmp_path.glob("events.*")
    file.rename(tmp_path / f"events.out.tfevents.{int(time.time())}.zzz.1.0")
    (tmp_path / "events.out.tfevents.kept").write_bytes(b"")  # by somebody else
    write_curve(tmp_path, later)
    assert scalars(tmp_path)["loss"] == [(1, 2.0)]


def write_curve(folder: Path, points: list[CurvePoint]) -> None:
    curve = ours._Curve(folder)
    curve.write(points)
    curve.close()


def test_tensorboards_own_page_compares_the_trials(url: str, tmp_path: Path) -> None:
    """The HParams page of a real server has a session for each trial, with all objectives as metrics."""
    study = search(url, "a/b <c>")
    study.optimize(3, show_progress=False, tensorboard=tmp_path / "log")
    assert len(list((tmp_path / "log").iterdir())) == 1  # whatever the study is called
    with TensorBoardServer(tmp_path) as place:
        runs = ask(place, "data/runs")
        assert len(runs) == 2 * len(study.trials)
        experiment = ask(place, "data/plugin/hparams/experiment", {"experimentName": ""})
        groups = ask(
            place,
            "data/plugin/hparams/session_groups",
            {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [], "startIndex": 0,
             "sliceSize": 10},
        )  # fmt: skip
    assert {"accuracy", "parameters"} <= {info["name"]["tag"] for info in experiment["metricInfos"]}
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert names >= {name for trial in study.optuna.trials for name in trial.params}
    found = {
        round(value["value"], 6)
        for group in groups["sessionGroups"]
        for value in group["metricValues"]
        if value["name"]["tag"] == "accuracy"
    }
    assert found == {round(float(f"{trial.values['accuracy']:.7g}"), 6) for trial in study.trials}


def wait_until(there: Callable[[], bool]) -> None:
    """Look again and again, for two minutes at most."""
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.1)


class TensorBoardServer:
    """A server of its own on a free port of this machine, as long as it is needed."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "server.txt"
        self._command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder / "log"), "--port", "0",
                         "--host", "127.0.0.1", "--load_fast", "false"]  # fmt: skip

    def __enter__(self) -> str:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        wait_until(lambda: "http://127.0.0.1:" in self._log.read_text())
        place = "http://127.0.0.1:" + self._log.read_text().split("http://127.0.0.1:")[1].split("/")[0]
        wait_until(lambda: ask(place, "data/runs") != [])
        time.sleep(1)
        return place

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def ask(place: str, what: str, body: object = None) -> Any:
    request = urllib.request.Request(  # noqa: S310 - our own server
        f"{place}/{what}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - same
        return json.load(answer)


# bad input


def test_a_folder_that_cannot_be_written_is_refused(url: str, tmp_path: Path) -> None:
    """Before anything is tried."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot take what TensorBoard reads"):
        search(url).optimize(1, show_progress=False, tensorboard=tmp_path / "file")


def test_without_the_package_it_says_what_to_install(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is tried."""
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'paretonas\[tensorboard\]'"):
        search(url).optimize(1, tensorboard=tmp_path)


def test_a_full_disk_is_said_once_and_the_search_goes_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TensorBoard reads is not worth a search."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    study = search(url)
    monkeypatch.setattr(ours, "write_result", full)
    with pytest.warns(UserWarning, match="nothing more is written to .*: No space left on device"):
        study.optimize(2, show_progress=False, tensorboard=tmp_path)
    assert len(study.trials) == 2
