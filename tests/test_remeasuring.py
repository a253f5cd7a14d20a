"""The front is timed again in one run, and a device that vanishes loses nothing."""

import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from optuna.trial import TrialState
from own_objectives import OnBoard

import paretonas as pn
from paretonas.errors import StudyError
from paretonas.search.front import renew_front
from paretonas.search.remeasuring import near_front

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=0)
SPACE = pn.MLPSpace(layers=(1, 3), widths=[4, 16, 64], pruning=0.0, training=BRIEF)
TIMED = ["accuracy", "parameters", "latency_ms"]


def test_the_front_is_of_one_run(url: str) -> None:
    """After a search its points were timed together; asked again, nothing happens until it is wished for."""
    study = pn.create_study("s", space=SPACE, objectives=TIMED, storage=url)
    study.optimize(6, show_progress=False)
    front = study.pareto_front
    details = [trial.evaluation.details["latency_ms"] for trial in front]
    assert len({detail["run"] for detail in details}) == 1
    assert details[0]["together"] >= len({trial.architecture.key for trial in front})
    study.remeasure_front()
    assert [trial.values for trial in study.pareto_front] == [trial.values for trial in front]
    study.remeasure_front(again=True)
    again = {trial.evaluation.details["latency_ms"]["run"] for trial in study.pareto_front}
    assert not again & {detail["run"] for detail in details}
    for trial in front:  # what Optuna was told stays
        assert study.optuna.get_trials()[trial.number].state is TrialState.COMPLETE


def test_what_noise_keeps_off_the_front_is_timed_again(url: str) -> None:
    """A trial that is dominated by less than the noise is near; one that is dominated clearly is not."""
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", "latency_ms"], storage=url)
    study.optimize(3, show_progress=False)
    for trial, (accuracy, latency) in zip(study.trials, [(0.5, 1.0), (0.5, 1.03), (0.5, 1.2)], strict=True):
        study.store.add_measurement(trial.evaluation.id, "accuracy", accuracy, {})
        study.store.add_measurement(trial.evaluation.id, "latency_ms", latency, {})
    renew_front(study)
    assert [trial.number for trial in study.pareto_front] == [study.trials[0].number]
    assert {trial.number for trial in near_front(study, "latency_ms")} == {t.number for t in study.trials[:2]}


def test_an_untimed_study_is_left_as_it_is(url: str) -> None:
    """No clock among the objectives, nothing to time."""
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(2, show_progress=False)
    values = [trial.values for trial in study.trials]
    study.remeasure_front(again=True)
    assert [trial.values for trial in study.trials] == values


def test_the_front_by_command(url: str, cli: Callable[..., CompletedProcess[str]]) -> None:
    """``front --remeasure`` times it again; the conditions stand under the table."""
    study = pn.create_study("s", space=SPACE, objectives=TIMED, storage=url)
    study.optimize(2, show_progress=False)
    runs = {trial.evaluation.details["latency_ms"]["run"] for trial in study.pareto_front}
    shown = cli("front", "--remeasure", "--storage", url)
    assert shown.returncode == 0, shown.stderr
    assert "latency_ms: torch " in shown.stdout
    assert ", threads 1" in shown.stdout
    assert not runs & {trial.evaluation.details["latency_ms"]["run"] for trial in study.pareto_front}


def test_a_lost_device_stops_the_study_and_loses_nothing(url: str, tmp_path: Path) -> None:
    """One sentence; the trial is put back, and the same line again goes on with it."""
    gone = tmp_path / "gone"
    gone.write_text("0")
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", OnBoard(str(gone))], storage=url)
    study.optimize(1, show_progress=False)
    gone.write_text("1")
    with pytest.raises(StudyError, match=r"the board on port 3 does not answer: the trial in hand was put back"):
        study.optimize(3, show_progress=False)
    [waiting] = study.store.held(study.id)
    assert (waiting.worker, waiting.state) == ("", "running")
    study.optimize(3, show_progress=False)
    assert [trial.state for trial in study.trials] == ["complete"] * 3
    assert waiting.trial_number in [trial.number for trial in study.trials]


def test_a_lost_device_can_be_waited_for(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long each time; back in time the study ends as if nothing had been, else it stops."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    gone = tmp_path / "gone"
    gone.write_text("3")
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", OnBoard(str(gone))], storage=url)
    study.optimize(2, show_progress=False, on_lost_device="wait")
    assert [trial.state for trial in study.trials] == ["complete"] * 2
    assert waits == [2.0, 4.0, 8.0]
    gone.write_text("99")
    with pytest.raises(StudyError, match="does not answer"):
        study.optimize(3, show_progress=False, on_lost_device="wait")
