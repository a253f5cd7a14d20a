"""Studies on every kind of data: two tasks at once, a table, text; and data that changed."""

import csv
import importlib.util
import json
import math
import random
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.objectives import Data, Table
from paretonas.search import data as search_data
from paretonas.spaces import TransformerSpace, example_input

BRIEF = pn.TrainingSpace(epochs=2, finetune_epochs=1)
ROWS = pn.MLPSpace(layers=(1, 2), widths=[8, 16], training=BRIEF)
SEQUENCES = TransformerSpace(layers=1, widths=[8, 16], heads=[1, 2], head_widths=8, training=BRIEF)


def write_csv(file: Path, header: list[str], rows: list[list[object]]) -> Path:
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return file


def priced(folder: Path, *, seed: int = 0) -> Path:
    """Houses: size and place give a price of about 100 to 400, with some noise."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    houses = [(draw.uniform(50, 150), draw.choice(["hill", "river", "town"])) for _ in range(200)]
    worth = {"hill": 100, "river": 50, "town": 0}
    rows: list[list[object]] = [[size, place, 2 * size + worth[place] + draw.gauss(0, 5)] for size, place in houses]
    return write_csv(folder / "houses.csv", ["size", "place", "price"], rows)


def houses(folder: Path) -> dict[str, Any]:
    return {"type": "table", "file": str(priced(folder)), "target": "price"}


def exported(trial: Any, folder: Path) -> tuple[ModuleType, dict[str, Any], Any]:
    """The module of an export, its card and the network with its weights."""
    trial.export(folder)
    spec = importlib.util.spec_from_file_location("exported_net", folder / "net.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.Net().eval()
    network.load_state_dict(load_file(folder / "net.safetensors"))
    return module, json.loads((folder / "net.json").read_text(encoding="utf-8")), network


# Two tasks at once


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """Digit and parity told by one network, with the objectives that the data suggest. To be read only."""
    url = f"sqlite:///{tmp_path_factory.mktemp('both') / 'nas.db'}"
    study = pn.create_study("both", space=ROWS, task="digits_parity", storage=url)
    study.optimize(4, show_progress=False)
    return study


def test_two_tasks_have_a_metric_each(both: pn.Study) -> None:
    """The default objectives are each task's first metric and the costs; the front is over all of them."""
    assert both.definition.objectives == ("digit.accuracy", "parity.accuracy", "parameters", "latency_ms")
    assert {trial.state for trial in both.trials} == {"complete"}
    for trial in both.trials:
        assert list(trial.values) == ["digit.accuracy", "parity.accuracy", "parameters", "macs", "latency_ms"]
        assert trial.learning_curve[-1].score == trial.values["digit.accuracy"]
        assert {head.name for head in trial.architecture.heads} == {"digit", "parity"}
    assert max(trial.values["parity.accuracy"] for trial in both.trials) > 0.6
    for name in ("digit.accuracy", "parity.accuracy"):
        assert max(t.values[name] for t in both.trials) == max(t.values[name] for t in both.pareto_front)


def test_two_tasks_are_picked_by_either(both: pn.Study) -> None:
    """``best`` is in the first task; bounds are on any measure by name."""
    assert both.pick("best").values["digit.accuracy"] == max(t.values["digit.accuracy"] for t in both.trials)
    highest = max(t.values["parity.accuracy"] for t in both.pareto_front)
    assert both.pick(within={"parity.accuracy": highest}).values["parity.accuracy"] == highest
    assert both.pick("knee").test_metrics().keys() == {"test_digit.accuracy", "test_parity.accuracy"}
    with pytest.raises(UsageError, match=r"did not measure accuracy: it has digit\.accuracy"):
        both.pick(min_accuracy=0.5)


def test_two_tasks_leave_as_one_network_with_two_answers(both: pn.Study, tmp_path: Path) -> None:
    """The exported network answers a dict by head; the card says what each answer is."""
    _, card, network = exported(both.pick("best"), tmp_path / "out")
    batch = torch.rand(3, 1, 8, 8)
    with torch.inference_mode():
        answers, ours = network(batch), both.pick("best").load()(batch)
    assert {head: tuple(answer.shape) for head, answer in answers.items()} == {"digit": (3, 10), "parity": (3, 2)}
    assert all(torch.equal(answers[head], ours[head]) for head in ours)
    assert card["targets"]["parity"] == {"kind": "classes", "classes": ["even", "odd"]}
    assert card["values"].keys() >= {"digit.accuracy", "test_digit.accuracy", "test_parity.accuracy"}
    text = (tmp_path / "out" / "net.py").read_text(encoding="utf-8")
    assert "Out: 'parity': (N, 2), scores of the classes even, odd." in text


# A table


@pytest.fixture(scope="module")
def valued(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """Prices of houses, with two figures of quality. To be read only."""
    folder = tmp_path_factory.mktemp("valued")
    url = f"sqlite:///{folder / 'nas.db'}"
    study = pn.create_study(
        "valued", space=ROWS, task=houses(folder), objectives=["mae", "r2", "parameters"], storage=url
    )
    study.optimize(4, show_progress=False)
    return study


def test_a_number_is_told_with_its_errors(valued: pn.Study) -> None:
    """Errors are in the target's unit, and the best is the lowest."""
    errors = [trial.values["mae"] for trial in valued.trials]
    assert all(0 < error < 500 for error in errors)
    assert valued.pick("best").values["mae"] == min(errors)
    assert valued.pick(within={"mae": min(errors)}).values["mae"] == min(errors)
    assert valued.pick("best").test_metrics().keys() == {"test_mae", "test_r2"}


def test_a_network_of_numbers_leaves_with_its_scale(valued: pn.Study, tmp_path: Path) -> None:
    """What is in the card is enough to make a price of an answer: its error on the test rows is the one reported."""
    trial = valued.pick("best")
    _, card, network = exported(trial, tmp_path / "out")
    target = card["targets"]["head"]
    data = search_data.load_data(valued.definition.task)
    with torch.inference_mode():
        prices = network(data.test.x)[:, 0].double() * target["std"] + target["mean"]  # type: ignore[union-attr]
    truth = data.test.y.double() * target["std"] + target["mean"]  # type: ignore[union-attr]
    assert float((prices - truth).abs().mean()) == pytest.approx(card["values"]["test_mae"], rel=1e-5)
    assert card["preprocessing"]["input"]["categorical"]
    assert card["task"]["type"] == "table"
    text = (tmp_path / "out" / "net.py").read_text(encoding="utf-8")
    assert "In: (N, 2) float32, of whose columns the last 1 hold category codes below" in text
    assert f"which times {target['std']:g} plus {target['mean']:g} is the value" in text


def test_a_metric_of_other_data_is_refused(url: str, tmp_path: Path) -> None:
    """The message lists what can be measured."""
    with pytest.raises(UsageError, match="'accuracy' cannot be measured on these data: there is mae, rmse, r2"):
        pn.create_study("s", space=ROWS, task=houses(tmp_path), objectives=["accuracy", "parameters"], storage=url)
    with pytest.raises(UsageError, match="'mae' cannot be measured"):
        pn.create_study("s", space=ROWS, objectives=["mae", "parameters"], storage=url)


# Text


def test_texts_are_told_apart(url: str, tmp_path: Path) -> None:
    """A transformer over tokens is searched, picked and exported with example tokens."""
    draw = random.Random(0)  # noqa: S311 - no secret
    words = {"up": ["good", "fine", "sun"], "down": ["bad", "rain", "cold"]}
    rows: list[list[object]] = []
    for _ in range(80):
        label = draw.choice(sorted(words))
        rows.append([" ".join(draw.choices(words[label], k=4)), label])
    file = write_csv(tmp_path / "texts.csv", ["text", "label"], rows)
    task = {"type": "text_table", "file": str(file), "text": "text", "label": "label", "length": 24}
    study = pn.create_study("texts", space=SEQUENCES, task=task, objectives=["balanced_accuracy", "macs"], storage=url)
    study.optimize(2, show_progress=False)
    trial = study.pick("best")
    assert list(trial.values) == ["balanced_accuracy", "accuracy", "parameters", "macs"]
    _, card, network = exported(trial, tmp_path / "out")
    batch = example_input(trial.architecture, 3)
    assert batch.dtype == torch.int64
    with torch.inference_mode():
        assert torch.equal(network(batch), trial.load()(batch))
    assert card["targets"]["head"]["classes"] == ["down", "up"]
    assert card["preprocessing"]["input"]["tokenizer"] == "bytes"
    assert "In: (N, 24) int64, tokens below" in (tmp_path / "out" / "net.py").read_text(encoding="utf-8")


def test_language_is_modelled(url: str, tmp_path: Path) -> None:
    """Perplexity is what a language model is judged by: the lowest is the best, and below that of guessing."""
    file = tmp_path / "book.txt"
    file.write_text("the cat sat on the mat. " * 150, encoding="utf-8")
    study = pn.create_study(
        "language",
        space=SEQUENCES,
        task={"type": "text_file", "file": str(file), "length": 16},
        objectives=["perplexity", "parameters"],
        storage=url,
    )
    study.optimize(2, show_progress=False)
    best = study.pick("best")
    assert best.values["perplexity"] == min(trial.values["perplexity"] for trial in study.trials)
    assert 1 < best.values["perplexity"] < 256
    assert math.isfinite(best.test_metrics()["test_perplexity"])
    _, _, network = exported(best, tmp_path / "out")
    with torch.inference_mode():
        assert network(example_input(best.architecture, 2)).shape[:2] == (2, 16)


# Data that change


def test_data_that_changed_are_refused(url: str, tmp_path: Path) -> None:
    """A worker says so in one sentence and tries nothing; what needs no data goes on working."""
    task = houses(tmp_path)
    study = pn.create_study("s", space=ROWS, task=task, objectives=["mae", "parameters"], storage=url)
    study.optimize(1, show_progress=False)
    priced(tmp_path, seed=1)
    again = pn.create_study("s", space=ROWS, task=task, objectives=["mae", "parameters"], storage=url)
    for refused in (lambda: again.optimize(2, show_progress=False), lambda: again.pick("best").test_metrics()):
        with pytest.raises(StudyError, match="the data of task 'table' changed since the study began") as caught:
            refused()
        assert "\n" not in str(caught.value)
    again.optimize(1, show_progress=False)
    assert len(again.trials) == 1
    assert again.pick("knee").load() is not None
    priced(tmp_path, seed=0)
    again.optimize(2, show_progress=False)
    assert len(again.trials) == 2


def test_a_study_is_looked_at_without_its_data(url: str, tmp_path: Path) -> None:
    """Opening, front, picks and networks ask for no file; only going on and the test split do."""
    task = houses(tmp_path)
    study = pn.create_study("s", space=ROWS, task=task, storage=url)
    study.optimize(1, show_progress=False)
    Path(task["file"]).unlink()
    again = pn.create_study("s", space=ROWS, task=task, storage=url)
    assert again.definition.objectives == ("mae", "parameters", "latency_ms")
    assert [trial.number for trial in again.pareto_front] == [0]
    assert again.pick("best").load()(torch.zeros(2, 2)).shape == (2, 1)
    with pytest.raises(UsageError, match=r"there is no file .*houses\.csv"):
        again.optimize(2, show_progress=False)


def test_results_are_taken_over_only_from_the_same_data(url: str, tmp_path: Path) -> None:
    """Another study of the same file takes them over; after the file changed it does not."""
    space, objectives = pn.MLPSpace(layers=1, widths=8, pruning=0.0, training=BRIEF), ["mae", "parameters"]
    reused = []
    for name, seed in (("first", 0), ("second", 0), ("third", 1)):
        priced(tmp_path, seed=seed)
        task = {"type": "table", "file": str(tmp_path / "houses.csv"), "target": "price"}
        study = pn.create_study(name, space=space, task=task, objectives=objectives, storage=url)
        study.optimize(1, show_progress=False)
        reused.append(study.trials[0].evaluation.reused)
    assert reused == [None, 1, None]


def test_a_task_object_sees_that_its_file_changed(url: str, tmp_path: Path) -> None:
    """The same object says another key, gives the data of now, and a study made with it is of them."""
    task = Table(**{name: value for name, value in houses(tmp_path).items() if name != "type"})
    keys, means = [], []
    for name, seed in (("first", 0), ("second", 1)):
        priced(tmp_path, seed=seed)
        study = pn.create_study(name, space=ROWS, task=task, objectives=["mae", "parameters"], storage=url)
        assert study.definition.fingerprint == task.fingerprint()
        study.optimize(1, show_progress=False)
        keys.append(task.key)
        means.append(search_data.load_data(task).targets[0].mean)
        assert means[-1] == task.load().targets[0].mean
    assert len(set(keys)) == len(set(means)) == 2


def test_data_are_read_once(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating a study, its trials and its test metrics load a file once between them."""
    task = Table(**{name: value for name, value in houses(tmp_path).items() if name != "type"})
    loads, load = [], Table.load

    def counted(self: Table) -> Data:
        loads.append(self)
        return load(self)

    monkeypatch.setattr(Table, "load", counted)
    study = pn.create_study("s", space=ROWS, task=task, objectives=["mae", "macs"], storage=url)
    study.optimize(2, show_progress=False)
    study.pick("best").test_metrics()
    assert len(loads) == 1
