"""Changing the trained networks of a study: smaller, larger, by the search, and with a teacher."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState
from torch import nn

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.objectives import Epoch, OnnxNetwork, parameters
from paretonas.search import teacher as teaching
from paretonas.search.data import load_data
from paretonas.search.study import Study
from paretonas.spaces import Network
from paretonas.storage import CurvePoint, Store
from paretonas.storage.upkeep import files

BRIEF = pn.TrainingSpace(epochs=2, finetune_epochs=1)
SPACE = pn.ConvSpace(
    layers=3, stages=1, widths=12, activations="relu", sharing="none", pruning=0.0, training=BRIEF
)  # three layers, of which the last two can leave
OBJECTIVES = ["accuracy", "parameters"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A study of one trained network, to which the tests add."""
    url = f"sqlite:///{tmp_path_factory.mktemp('reshape') / 'nas.db'}"
    study = pn.create_study("one", space=SPACE, objectives=OBJECTIVES, storage=url)
    study.optimize(1, show_progress=False)
    return study


def weights(trial: Any) -> dict[str, torch.Tensor]:
    """The trained weights of a trial."""
    state: dict[str, torch.Tensor] = trial.load(quantized=False).state_dict()
    return state


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_units_leave_a_trained_network(study: pn.Study, scope: str) -> None:
    """The result is a trial with the smaller network, and the parent stays as it was."""
    before = weights(study.pick(0))
    found = study.shrink(0, pruning=0.5, compression=pn.Compression(scope=scope, criterion="taylor"))
    assert found.values["parameters"] == parameters(found.load()) < 0.6 * study.pick(0).values["parameters"]
    assert {point.phase for point in found.learning_curve} == {"finetune"}
    after = weights(study.pick(0))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert found.candidate.start is not None
    assert found.candidate.start.trial == 0


def test_units_leave_until_a_bound_holds(study: pn.Study) -> None:
    """As few of them as hold it, and the same call again finds the same trial."""
    found = study.shrink(0, max_parameters=1000)
    assert 700 < found.values["parameters"] <= 1000
    trials = len(study.trials)
    assert study.shrink(0, max_parameters=1000).number == found.number
    assert len(study.trials) == trials
    assert study.shrink(0, max_macs=40_000, finetune_epochs=0).values["macs"] <= 40_000
    with pytest.raises(UsageError, match="smallest network"):  # a clock that no objective of the study reads
        study.shrink(0, max_latency_ms=1e-6)


def test_layers_leave_a_trained_network(study: pn.Study) -> None:
    """Which ones, the data decide; the figures are those of the network that is left."""
    found = study.shrink(0, compression=pn.Compression(removed_layers=2))
    assert sum(block.op == "conv" for block in found.architecture.blocks) == 1
    assert found.values["parameters"] == parameters(found.load())


@pytest.mark.parametrize("schedule", ["one_shot", "gradual", "rewind"])
def test_weights_become_zero_and_stay_so(study: pn.Study, schedule: str) -> None:
    """In what is stored, and in what is exported; they are counted apart."""
    recipe = pn.Compression(sparsity=0.8, schedule=schedule)
    if schedule == "rewind":
        with pytest.raises(UsageError, match="one_shot or gradual"):
            study.shrink(0, compression=recipe)
        return
    found = study.shrink(0, compression=recipe)
    whole = study.pick(0).values["parameters"]
    assert found.values["parameters"] == whole
    zeros = sum(int((tensor == 0).sum()) for _, tensor in found.load().named_parameters())
    assert found.values["nonzero_parameters"] == whole - zeros
    assert 0.75 < zeros / whole < 0.8


def test_eight_bits_are_measured_as_they_are_deployed(study: pn.Study, tmp_path: Path) -> None:
    """What is loaded, judged and exported is the int8 network; the one of 32 bits is beside it."""
    found = study.shrink(0, compression=pn.Compression(bits=8))
    deployed, twin = found.load(), found.load(quantized=False)
    assert isinstance(deployed, OnnxNetwork)
    assert isinstance(twin, Network)
    x, _ = next(load_data(study.definition.task).validation.batches(64))
    agree = (deployed(x).argmax(1) == twin(x).argmax(1)).float().mean()
    assert agree > 0.9
    assert not torch.equal(deployed(x), twin(x))
    assert found.test_metrics()["test_accuracy"] > 0.3
    folder = found.export(tmp_path / "net")
    exported = OnnxNetwork((folder / "net.int8.onnx").read_bytes())
    assert torch.equal(exported(x), deployed(x))
    card = json.loads((folder / "net.json").read_text())
    assert any("int8" in note for note in card["notes"])
    assert (folder / "net.py").exists()


@pytest.mark.parametrize("how", [{"widen": 1.5}, {"layers": 1}, {"widen": 2.0, "layers": 2}])
def test_a_trained_network_grows(study: pn.Study, how: dict[str, Any]) -> None:
    """It has more parameters, is trained on, and is a trial more."""
    found = study.grow(0, **how, epochs=1)
    assert found.values["parameters"] > study.pick(0).values["parameters"]
    assert len(found.architecture.blocks) == len(study.pick(0).architecture.blocks) + how.get("layers", 0)
    assert [(point.phase, point.number) for point in found.learning_curve] == [("train", 0)]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda study: study.shrink(0), "would stay as it is"),
        (lambda study: study.shrink(0, max_parameters=10**9), "would stay as it is"),
        (lambda study: study.shrink(0, pruning=0.5, max_parameters=500), "leave one of them"),
        (lambda study: study.shrink(0, pruning=1.0), "below 1, 1.0 was given"),
        (lambda study: study.shrink(0, max_parameters=3), "smallest network"),
        (lambda study: study.grow(0), "how to grow"),
        (lambda study: study.grow(0, widen=1.0), "more than 1"),
        (lambda study: study.grow(0, layers=-1), "layers from 1"),
    ],
)
def test_what_cannot_be_is_refused(study: pn.Study, call: Callable[[pn.Study], Any], said: str) -> None:
    """With the rule, and no trial is made."""
    trials = len(study.trials)
    with pytest.raises(UsageError, match=said):
        call(study)
    assert len(study.trials) == trials


def test_too_many_layers_cannot_leave(study: pn.Study) -> None:
    """The trial fails, and its reason is said."""
    with pytest.raises(StudyError, match="invalid: 9 layers were to leave"):
        study.shrink(0, compression=pn.Compression(removed_layers=9))


def test_the_search_changes_what_it_found(url: str) -> None:
    """About the share of the proposals that was asked for begins with a trained network of the front; it repeats."""

    def searched(name: str) -> list[Any]:
        study = pn.create_study(name, space=pn.ConvSpace(layers=(1, 3), widths=[4, 8], training=BRIEF),
                                objectives=OBJECTIVES, storage=url, moves=0.7, sampler="tpe")  # fmt: skip
        study.optimize(8, show_progress=False)
        return [trial.candidate for trial in study.trials]

    found = searched("first")
    moved = [candidate for candidate in found if candidate.start is not None]
    assert 2 <= len(moved) < 8
    assert all(candidate.start.moves for candidate in moved)
    assert [candidate.key for candidate in searched("second")] == [candidate.key for candidate in found]


def test_moves_do_not_go_with_every_sampler(url: str) -> None:
    """NSGA-II needs the genes of each trial."""
    with pytest.raises(UsageError, match="ehvi, tpe, random"):
        pn.create_study("no", space=SPACE, storage=url, moves=0.5, sampler="nsga2")


# Teachers

TAUGHT = replace(SPACE, layers=1, widths=4, training=replace(BRIEF, distillation=0.9, temperature=4.0))


def make_teacher() -> nn.Module:
    """A network for digits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


def make_wrong_teacher() -> nn.Module:
    """A network with other classes."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


@pytest.mark.parametrize("teacher", ["one:0", make_teacher])
def test_a_teacher_has_a_say(study: pn.Study, teacher: Any) -> None:
    """Candidates that learn from it come out otherwise, its name is kept, and its answers are kept for a trial's."""
    store: dict[str, Any] = {"objectives": OBJECTIVES, "storage": study.store.url}
    name = teacher if isinstance(teacher, str) else "own"
    alone = pn.create_study("alone", space=TAUGHT, **store)
    taught = pn.create_study(f"taught by {name}", space=TAUGHT, teacher=teacher, **store)
    for one in (alone, taught):
        one.optimize(1, show_progress=False)
    assert alone.trials[0].candidate.training.distillation == 0
    assert taught.trials[0].candidate.training.distillation == 0.9
    first, second = (weights(one.trials[0]) for one in (alone, taught))
    assert any(not torch.equal(first[tensor], second[tensor]) for tensor in first)
    assert "teacher" in taught.optuna.trials[0].user_attrs
    kept = [file for file in files(study.store) if file.name == "answers"]
    assert bool(kept) or not isinstance(teacher, str)
    again = pn.load_study(taught.name, storage=study.store.url)
    assert again.definition.teacher == taught.definition.teacher


def test_the_best_so_far_teaches(url: str) -> None:
    """The first candidate has nobody to learn from, the others have."""
    space = replace(TAUGHT, widths=[4, 6, 8, 10])
    study = pn.create_study("best", space=space, objectives=OBJECTIVES, storage=url, teacher="best")
    study.optimize(3, show_progress=False)
    attributes = [trial.user_attrs for trial in study.optuna.trials]
    teachers = [found.get("teacher") for found in attributes if "duplicate_of" not in found]
    assert teachers[0] is None
    assert all(teachers[1:])


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ("worst", "a teacher is 'best'"),
        ("nobody:3", "no study 'nobody'"),
        ("one:999", "no finished trial 999"),
        (make_wrong_teacher, "7"),
    ],
)
def test_a_teacher_that_cannot_teach_is_refused(study: pn.Study, teacher: Any, said: str) -> None:
    """Before the study is made."""
    with pytest.raises((UsageError, StudyError), match=said):
        pn.create_study("refused", space=TAUGHT, storage=study.store.url, teacher=teacher)
    assert "refused" not in study.store.study_names()


def after(epochs: int) -> Callable[[Epoch], None]:
    """Interrupts once so many epochs were trained."""
    seen: list[Epoch] = []

    def interrupt(epoch: Epoch) -> None:
        seen.append(epoch)
        if len(seen) == epochs:
            raise KeyboardInterrupt

    return interrupt


def test_who_is_interrupted_goes_on_with_its_teacher(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though another one is the best by then; and the first trial, which had none, has none when it goes on."""
    space = replace(TAUGHT, widths=[4, 6, 8, 10], training=replace(TAUGHT.training, epochs=6))
    studies = [
        pn.create_study(name, space=space, objectives=OBJECTIVES, storage=url.replace("nas", name), teacher="best",
                        sampler="random", stopping="none")
        for name in ("alone", "disturbed")
    ]  # fmt: skip
    alone, disturbed = studies
    alone.optimize(3, show_progress=False)
    keep = Store.add_epoch
    for number in (2, 9):  # epochs that are kept before the interruption: of the first trial, and of the second one
        left = [number]

        def interrupting(self: Store, evaluation: int, point: CurvePoint, left: list[int] = left) -> None:
            keep(self, evaluation, point)
            left[0] -= 1
            if not left[0]:
                raise KeyboardInterrupt

        monkeypatch.setattr(Store, "add_epoch", interrupting)
        with pytest.raises(KeyboardInterrupt):
            disturbed.optimize(3, show_progress=False, checkpoint_every=1e-3)
    monkeypatch.setattr(Store, "add_epoch", keep)
    monkeypatch.setattr(teaching, "_kept", {})
    disturbed.optimize(3, show_progress=False)
    for one, other in zip(alone.trials, disturbed.trials, strict=True):
        assert one.candidate == other.candidate
        assert [one.values[name] for name in OBJECTIVES] == [other.values[name] for name in OBJECTIVES]
        assert all(torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())
    teachers = [[trial.user_attrs.get("teacher", "nobody")[:8] for trial in one.optuna.trials] for one in studies]
    assert teachers[0] == teachers[1]
    assert teachers[0][0] == "nobody"


def test_an_interrupted_change_is_gone_on_with(url: str) -> None:
    """By the same call again, or by whoever searches next; it is one trial, and what it would have been."""
    study = pn.create_study("one", space=SPACE, objectives=OBJECTIVES, storage=url)
    study.optimize(1, show_progress=False)
    with pytest.raises(KeyboardInterrupt):
        study.shrink(0, pruning=0.5, finetune_epochs=3, on_epoch=after(2))
    assert [trial.number for trial in study.trials] == [0]
    assert study.shrink(0, pruning=0.5, finetune_epochs=3).number == 1
    with pytest.raises(KeyboardInterrupt):
        study.train(0, seed=4, on_epoch=after(1))
    study.optimize(1, show_progress=False)  # which has all that is asked for, but for what was begun
    assert [trial.state for trial in study.trials] == ["complete"] * 3
    assert study.store.held(study.id) == []
    assert [len(study.pick(number).learning_curve) for number in (1, 3)] == [3, 2]
    assert study.train(0, seed=4).number == 3
    assert study.optuna.get_trials()[3].state is TrialState.COMPLETE


def test_what_another_worker_trains_is_not_trained_here(url: str) -> None:
    """The call says who does, and leaves nothing behind."""
    study = pn.create_study("one", space=SPACE, objectives=OBJECTIVES, storage=url)
    study.optimize(1, show_progress=False)
    there = Study(Store(url, worker="elsewhere/1/2/3"), study.id, study.name, study.definition)
    with pytest.raises(KeyboardInterrupt):
        there.train(0, seed=4, on_epoch=after(1))
    [held] = study.store.held(study.id)
    there.store.enlist(study.id, 60)
    assert there.store.take_up(held.evaluation, of="", died=False)
    with pytest.raises(StudyError, match="trial 1 is the same, and is being trained by elsewhere/1/2/3: wait for it"):
        study.train(0, seed=4)
    assert [one.trial_number for one in study.store.held(study.id)] == [1]


# The commands


def test_the_command_shrinks_and_exports(study: pn.Study, cli: Callable[..., Any], tmp_path: Path) -> None:
    """A table of before and after, and the files."""
    answer = cli("shrink", "0", "--pruning", "0.4", "--bits", "8", "--to", str(tmp_path / "out"), "--storage",
                 study.store.url, "--study", "one")  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "before" in answer.stdout
    assert "test_accuracy" in answer.stdout
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "net.py", "net.safetensors", "net.json", "net.int8.onnx", "README.md", "train.py"
    }  # fmt: skip


def test_the_command_grows(study: pn.Study, cli: Callable[..., Any]) -> None:
    """And says everything as JSON."""
    answer = cli("grow", "0", "--widen", "1.25", "--epochs", "1", "--json", "--storage", study.store.url,
                 "--study", "one")  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["parent"]["trial"] == 0
    assert document["values"]["parameters"] > document["parent"]["values"]["parameters"]
