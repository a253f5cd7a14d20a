"""What optuna-dashboard shows of our studies, read back by its own functions and seen by a browser."""

import json
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from browsing import browse, needs_chromium
from made_up import copied
from optuna_dashboard import get_note, save_note
from optuna_dashboard._custom_plot_data import get_plotly_graph_objects
from optuna_dashboard._note import get_note_from_system_attrs, save_note_with_version
from optuna_dashboard.artifact._backend import list_trial_artifacts

import paretonas as pn
from paretonas.search.views import publish
from paretonas.search.views.dashboard import publish_all
from paretonas.search.views.publish import Publisher, published
from paretonas.storage import CurvePoint

COUNTED = ["accuracy", "parameters"]
BRIEF = pn.TrainingSpace(epochs=1)
SPACE = pn.MLPSpace(layers=1, widths=[4, 8, 16], activations=["relu", "tanh"], pruning=0.0, training=BRIEF)
FIGURES = {"front-1", "hypervolume", "curves", "importance"}


@pytest.fixture
def shown(small: pn.Study, tmp_path: Path) -> pn.Study:
    """A copy of the small study, published whole."""
    study = copied(small, tmp_path)
    Publisher(study).catch_up()
    return study


def attributes(study: pn.Study) -> dict[str, object]:
    """All that Optuna keeps of the study beside its trials."""
    found = study.store.optuna.get_study_system_attrs(study.optuna._study_id)
    return {name: value for name, value in found.items() if name != publish.STATE}


def note_of(study: pn.Study, number: int) -> str:
    """The note of a trial, as optuna-dashboard reads it."""
    trial = study.optuna.get_trials()[number]
    return str(get_note_from_system_attrs(attributes(study), trial._trial_id)["body"])


def artifacts_of(study: pn.Study, number: int) -> dict[str, str]:
    """Files of a trial by name, as optuna-dashboard reads them, with their ids."""
    trial = study.optuna.get_trials()[number]
    listed = list_trial_artifacts(attributes(study), trial.system_attrs, trial)
    return {one["filename"]: one["artifact_id"] for one in listed}


def test_the_study_has_a_note(shown: pn.Study) -> None:
    """Space, task, budget and the present front with its knee stand in the note that optuna-dashboard reads."""
    note = get_note(shown.optuna)
    assert note.startswith("## small")
    assert "conv: layers 1 to 3" in note
    assert "accuracy (share), maximize; parameters (count), minimize" in note
    assert str(shown.spending) in note
    for trial in shown.pareto_front:
        assert re.search(rf"^\| {trial.number} \| {trial.values['accuracy']:.4f} ", note, re.MULTILINE)
    assert re.search(rf"^\| {shown.pick('knee').number} \|.*\| [a-z, ]*knee", note, re.MULTILINE)


def test_each_trial_has_a_note(shown: pn.Study) -> None:
    """What became of it, its costs with units, and a row for each layer and head."""
    front = {trial.number for trial in shown.pareto_front}
    for trial in shown.trials:
        note = note_of(shown, trial.number)
        became = "on the front" if trial.number in front else "complete, dominated"
        assert note.startswith(f"### Trial {trial.number}: {became}")
        assert f"| parameters | {trial.values['parameters']:,.0f} | trainable numbers, after pruning |" in note
        network = trial.architecture
        assert len(re.findall(r"^\| \d+ \| ", note, re.MULTILINE)) == len(network.blocks)
        assert f"| head head | {network.heads[0].outputs} |" in note
        better = re.search(r"Dominated by trial (\d+), which has", note)
        assert better is None or (trial.number not in front and int(better[1]) in front)


def test_a_stopped_and_a_failed_trial_say_why(url: str, mixed: pn.Study, tmp_path: Path) -> None:
    """The epoch where a trial was stopped and the reason are in its note; so is why one failed."""
    study = copied(mixed, tmp_path / "mixed")
    Publisher(study).catch_up()
    for trial in (trial for trial in study.trials if trial.state == "failed"):
        assert note_of(study, trial.number).startswith(f"### Trial {trial.number}: failed: out\\_of\\_memory")
        assert str(trial.evaluation.reason).split(maxsplit=1)[0] in note_of(study, trial.number)
    long = pn.create_study("long", space=SPACE.replace_training(epochs=6), objectives=COUNTED, storage=url)
    long.optimize(6, show_progress=False)
    place = long.store.take_place(long.id, 7)
    assert place is not None
    candidate = pn.Candidate(long.trials[0].candidate.architecture, 0.0, pn.Training(epochs=9))
    number = long.optuna.ask().number
    long.store.begin(place, candidate, trial=number, task="digits", seed=0, threads=1, device="cpu")
    for epoch in range(4):
        long.store.add_epoch(place, CurvePoint("train", epoch, 2.0, 0.1, 0.1))
    long.store.stop(place, {"accuracy": (0.1, {}), "parameters": (999.0, {})}, reason="it leads nowhere", seconds=1.0)
    Publisher(long).catch_up()
    note = note_of(long, number)
    assert note.startswith(f"### Trial {number}: stopped at epoch 4 of 9\n")
    assert "Why: it leads nowhere." in note
    assert "learning_curve.png" in artifacts_of(long, number)


def test_each_trial_has_its_files(shown: pn.Study) -> None:
    """Source, weights, learning curve and confusion matrix can be read; the source runs and the pictures are PNG."""
    for trial in shown.trials:
        files = artifacts_of(shown, trial.number)
        assert files.keys() == {"net.py", "net.safetensors", "learning_curve.png", "confusion_matrix.png"}
        content = {name: shown.store.read_artifact(artifact) for name, artifact in files.items()}
        compile(content["net.py"], "net.py", "exec")
        assert all(content[name].startswith(b"\x89PNG") for name in files if name.endswith(".png"))


def test_the_figures_are_in_the_study(shown: pn.Study) -> None:
    """Front, hypervolume, curves and importance are plotly figures that optuna-dashboard finds."""
    found = get_plotly_graph_objects(attributes(shown))
    assert found.keys() == {"front-1", "front-2", "front-3", "hypervolume", "curves", "importance"}
    front = json.loads(found["front-1"])
    [points] = [trace for trace in front["data"] if trace["name"] == "front"]
    assert len(points["x"]) == len(shown.pareto_front)


def test_objectives_have_units_in_optuna(shown: pn.Study) -> None:
    """Optuna, and so its dashboard, names the objectives with their units."""
    assert shown.optuna.metric_names == ["accuracy (share)", "parameters (count)", "latency_ms (per example)"]


def test_what_is_published_is_not_written_again(shown: pn.Study) -> None:
    """A second time, also by another process, nothing changes."""
    before = attributes(shown)
    Publisher(shown).catch_up()
    assert attributes(shown) == before


def test_what_became_of_a_trial_is_renewed(shown: pn.Study) -> None:
    """When the front changes, the notes of those that left it say so."""
    first = shown.pareto_front[0]
    shown.store.set_front(shown.id, {trial.evaluation.id for trial in shown.pareto_front[1:]})
    Publisher(shown).catch_up()
    assert note_of(shown, first.number).startswith(f"### Trial {first.number}: complete, dominated")


def test_a_note_that_people_changed_stays(shown: pn.Study) -> None:
    """What somebody wrote in optuna-dashboard is never overwritten, of the study nor of a trial."""
    save_note(shown.optuna, "our own words")
    first = shown.pareto_front[0]
    trial = shown.optuna.get_trials()[first.number]
    save_note_with_version(shown.store.optuna, shown.optuna._study_id, trial._trial_id, 2, "keep this one")
    shown.store.set_front(shown.id, {one.evaluation.id for one in shown.pareto_front[1:]})
    Publisher(shown).catch_up()
    assert get_note(shown.optuna) == "our own words"
    assert note_of(shown, first.number) == "keep this one"


def test_doctor_finds_nothing_to_mend(shown: pn.Study) -> None:
    """The files for people are known, and letting weights go does not take them."""
    assert pn.doctor(shown.store.url) == []
    trial = shown.trials[0]
    shown.store.let_go([trial.evaluation.id])
    files = artifacts_of(shown, trial.number)
    assert shown.store.has_artifact(files["confusion_matrix.png"])
    assert not shown.store.has_artifact(files["net.safetensors"])
    assert [found.kind for found in pn.doctor(shown.store.url)] == []


def test_a_search_publishes_itself(url: str) -> None:
    """When ``optimize`` ends, the notes, the figures and the front's files are there; a second call writes nothing."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    study.optimize(3, show_progress=False)
    assert published(study)[0] == 3
    assert all(note_of(study, trial.number) for trial in study.trials)
    assert get_plotly_graph_objects(attributes(study)).keys() >= FIGURES - {"importance"}
    before = study.store.optuna.get_study_system_attrs(study.optuna._study_id)
    study.optimize(3, show_progress=False)
    assert study.store.optuna.get_study_system_attrs(study.optuna._study_id) == before


def test_no_picture_ends_a_search(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If publishing fails, the search says so once and has all its trials."""

    def fail(_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(publish, "figures_of", fail)
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    with pytest.warns(UserWarning, match=r"will not show all of 's' \(RuntimeError: no ink\): paretonas dashboard"):
        study.optimize(3, show_progress=False)
    assert len(study.trials) == 3


def test_a_helper_publishes_nothing(url: str) -> None:
    """Only who leads a search publishes it."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False, helping=True)
    assert published(study)[0] == -1


def test_a_study_without_trials_is_published(url: str) -> None:
    """Its note says that nothing has ended."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    Publisher(study).catch_up()
    assert "No trial has come to an end yet." in get_note(study.optuna)


def test_the_dashboard_publishes_what_searches_did_not(url: str) -> None:
    """A study that only helpers worked on is published while the dashboard is served, and then it stops."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False, helping=True)
    over = threading.Event()
    thread = threading.Thread(target=publish_all, args=(study.store, over))
    thread.start()
    for _ in range(600):
        if published(study)[2]:
            break
        over.wait(0.1)
    over.set()
    thread.join(30)
    assert not thread.is_alive()
    assert published(study)[0] == 2
    assert all(artifacts_of(study, trial.number).keys() >= {"net.py"} for trial in study.trials)


@needs_chromium
def test_a_browser_sees_a_running_study(url: str, start: Callable[..., subprocess.Popen[str]]) -> None:
    """With the dashboard open while a search runs: names with units, our figures, the note and the files of a trial
    are on the page, during the search and after it, and the search has all its trials.
    """
    study = pn.create_study("<b>bold</b>", space=SPACE.replace_training(epochs=3), objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False, helping=True)
    dashboard = start("dashboard", "--storage", url, "--port", "18300")
    assert dashboard.stderr is not None
    where = re.search(r"http://127\.0\.0\.1:\d+", dashboard.stderr.readline())
    assert where is not None
    search = start("worker", "--storage", url, "--trials", "6", "--quiet")
    at = f"{where[0]}/dashboard/studies/{study.optuna._study_id}"
    during = browse(at, seconds=30)
    assert "accuracy (share)" in during.dom
    assert search.wait(240) == 0
    assert len(study.trials) == 6
    Publisher(study).catch_up()
    after = browse(at, seconds=30)
    assert after.count("Hypervolume over spent epochs") >= 1
    assert after.count("Pareto front of &lt;b&gt;bold&lt;/b&gt;") >= 1
    assert re.findall(r'class="point"', after.dom)
    knee = study.pick("knee")
    page = browse(f"{at}/trials?numbers={knee.number}", seconds=30)
    assert f"Trial {knee.number}: on the front" in page.dom
    assert "trainable numbers, after pruning" in page.dom
    for name in ("net.py", "net.safetensors", "learning_curve.png", "confusion_matrix.png"):
        assert name in page.dom
    note = browse(f"{at}/note", seconds=30)
    assert "Present front" in note.dom
    assert "<h2><b>bold" not in note.dom
    dashboard.send_signal(signal.SIGINT)
    dashboard.wait(60)
