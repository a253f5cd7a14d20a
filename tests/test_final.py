"""The final training of a chosen network, on train and validation."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.objectives import Epoch, LazySplit, OnnxNetwork, Split, Teacher, quality
from paretonas.search.data import load_data
from paretonas.search.delivery.final_training import plan_of
from paretonas.search.delivery.joining import joined
from paretonas.search.evaluate import evaluate
from paretonas.search.trial import Trial

BRIEF = pn.TrainingSpace(epochs=2, finetune_epochs=1)
SPACE = pn.ConvSpace(
    layers=2, stages=1, widths=12, activations="relu", sharing="none", pruning=0.3, hidden_layers=0, training=BRIEF
)  # one network
OBJECTIVES = ["accuracy", "parameters"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A network that was pruned (trial 0), half of it by competing units (1), and the first one in 8 bits (2)."""
    url = f"sqlite:///{tmp_path_factory.mktemp('final') / 'nas.db'}"
    study = pn.create_study("one", space=SPACE, objectives=OBJECTIVES, storage=url)
    study.optimize(1, show_progress=False)
    study.shrink(0, pruning=0.4, compression=pn.Compression(scope="global"), finetune_epochs=1)
    study.shrink(0, compression=pn.Compression(bits=8), finetune_epochs=0)
    return study


def tensors(trial: Trial) -> list[Tensor]:
    return list(trial.load(quantized=False).state_dict().values())


def test_it_is_trained_on_both_splits_with_the_same_compression(study: pn.Study) -> None:
    """The weights are those that the candidate gets from both splits; the test split is judged with them."""
    trial, epochs = study.pick(0), []
    final = study.train_final(0, epochs=3, on_epoch=lambda epoch: epochs.append((epoch.phase, epoch.number)))
    assert epochs == [("train", 0), ("train", 1), ("train", 2), ("finetune", 0)]
    assert [(point.phase, point.number) for point in final.learning_curve] == epochs
    assert final.candidate.pruning == trial.candidate.pruning
    assert final.architecture == trial.architecture
    plan = plan_of(trial, epochs=3, from_weights=False, seed=None)
    data = load_data(study.definition.task)
    anew = evaluate(plan.candidate, joined(data), ["parameters"], seed=0).deployed
    assert all(torch.equal(a, b) for a, b in zip(tensors(final), anew.network.state_dict().values(), strict=True))
    assert final.test_metrics() == {"test_accuracy": quality(anew.network, data.test, data, ["accuracy"])["accuracy"]}
    assert final.values["parameters"] == trial.values["parameters"]
    assert "accuracy" not in final.values  # of what it learned from it says nothing
    assert final.trained_on == "train and validation (1,437 examples, 4 epochs)"


def test_it_is_no_trial_of_the_study(study: pn.Study) -> None:
    """Neither the trials nor the front change, and its files are the store's own."""
    trials, front = len(study.trials), [trial.number for trial in study.pareto_front]
    study.train_final(0, epochs=1)
    assert len(study.trials) == trials
    assert len(study.optuna.get_trials(deepcopy=False)) == trials
    assert [trial.number for trial in study.pareto_front] == front
    assert pn.doctor(study.store.url) == []


def test_what_was_trained_so_before_is_answered(study: pn.Study) -> None:
    """Nothing is trained, and the newest of a trial is what it gives; another seed is another training."""
    first = study.train_final(0, epochs=1)
    again: list[Epoch] = []
    assert study.train_final(0, epochs=1, on_epoch=again.append) == first
    assert again == []
    other = study.train_final(0, epochs=1, seed=7)
    assert other.evaluation.seed == 7
    assert study.final(0) == other
    assert pn.load_study(storage=study.store.url).final(0).record == other.record


@pytest.mark.parametrize("trial", [0, 2])
def test_an_interrupted_training_goes_on_to_the_same_weights(study: pn.Study, trial: int) -> None:
    """From its last checkpoint, bit for bit, with its whole curve; checkpoints are gone in the end."""

    def cut(epoch: Epoch) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    whole = study.train_final(trial, epochs=4, seed=20)
    again = {**whole.record, "state": "running"}
    study.optuna.set_user_attr(plan_of(study.pick(trial), epochs=4, from_weights=False, seed=20).attribute, again)
    with pytest.raises(KeyboardInterrupt):
        study.train_final(trial, epochs=4, seed=20, on_epoch=cut, checkpoint_every=1e-6)
    seen: list[int] = []
    final = study.train_final(trial, epochs=4, seed=20, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen[0] > 0
    assert len(final.learning_curve) == len(whole.learning_curve)
    assert all(torch.equal(a, b) for a, b in zip(tensors(final), tensors(whole), strict=True))
    assert final.test_metrics() == whole.test_metrics()
    assert pn.doctor(study.store.url) == []


def test_competing_units_leave_before(study: pn.Study) -> None:
    """The network that was chosen is trained, not another one that the same recipe would give."""
    chosen = study.pick(1)
    final = study.train_final(1, epochs=1)
    assert final.architecture == chosen.architecture == final.candidate.architecture
    assert final.candidate.pruning == 0
    assert final.values["parameters"] == chosen.values["parameters"]
    assert not final.inherited


def test_a_network_of_8_bits_stays_one(study: pn.Study, tmp_path: Path) -> None:
    """It is deployed, judged and exported as int8, and its 32-bit weights are there too."""
    final = study.train_final(2, epochs=2)
    assert isinstance(final.load(), OnnxNetwork)
    data = load_data(study.definition.task)
    assert final.test_metrics()["test_accuracy"] == quality(final.load(), data.test, data, ["accuracy"])["accuracy"]
    folder = final.export(tmp_path / "out")
    assert (folder / "net.int8.onnx").exists()


def test_it_can_begin_with_the_weights_of_the_search(study: pn.Study) -> None:
    """Its first epoch is better than that of one from scratch."""
    scores = {}
    for from_weights in (False, True):
        final = study.train_final(0, epochs=1, from_weights=from_weights, seed=3)
        assert final.record["from_weights"] is from_weights
        scores[from_weights] = final.learning_curve[0].loss
    assert scores[True] < scores[False]


def test_it_is_loaded_and_exported_as_a_trial_is(study: pn.Study, tmp_path: Path) -> None:
    """The card says on what it was trained; another project loads it by one line."""
    final = study.train_final(0, epochs=2)
    folder = final.export(tmp_path / "out")
    card = json.loads((folder / "net.json").read_text())
    assert any("trained on train and validation (1,437 examples" in note for note in card["notes"])
    assert card["values"]["test_accuracy"] == final.test_metrics()["test_accuracy"]
    assert "accuracy" not in card["values"]
    loaded = pn.load_model(study.store.url, pick=0, final=True).state_dict()
    newest = study.final(0).load().state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in newest.items())


def test_weights_that_are_gone_are_trained_again(study: pn.Study) -> None:
    """The doctor names the file; the same call makes it anew, the same."""
    final = study.train_final(0, epochs=1, seed=30)
    before = tensors(final)
    store = study.store
    assert final.evaluation.weights is not None
    store.artifacts.remove(final.evaluation.weights)
    assert [finding.kind for finding in pn.doctor(store.url)] == ["final"]
    seen: list[int] = []
    again = study.train_final(0, epochs=1, seed=30, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen
    assert all(torch.equal(a, b) for a, b in zip(tensors(again), before, strict=True))
    assert pn.doctor(store.url) == []


def test_both_splits_are_joined_in_order() -> None:
    """In memory, read row by row, or one of each; with several heads too."""
    x, y = torch.arange(12.0).view(6, 2), torch.arange(6)
    for heads in (False, True):
        labels = {"a": y, "b": -y} if heads else y
        halves = [
            Split(x[rows], {head: part[rows] for head, part in labels.items()} if isinstance(labels, dict) else y[rows])
            for rows in (slice(0, 4), slice(4, 6))
        ]
        lazy = LazySplit(_Rows(halves[1]))
        cases: list[list[Split | LazySplit]] = [[*halves], [halves[0], lazy], [LazySplit(_Rows(halves[0])), lazy]]
        for parts in cases:
            data = load_data(pn.Digits())
            both = joined(type(data)(data.spec, data.targets, parts[0], parts[1], data.test, data.preprocessing))
            assert len(both.train) == 6
            ((found, answers),) = both.train.batches(6, torch.tensor([5, 0, 3, 4, 1, 2]))
            assert found.tolist() == x[[5, 0, 3, 4, 1, 2]].tolist()
            first = answers["a"] if isinstance(answers, dict) else answers
            assert first.tolist() == [5, 0, 3, 4, 1, 2]


class _Rows(TensorDataset):
    """A split, row by row."""

    def __init__(self, split: Split) -> None:
        super().__init__(split.x)
        self.split = split

    def __getitem__(self, row: int) -> Any:
        labels = self.split.y
        at = {head: part[row] for head, part in labels.items()} if isinstance(labels, dict) else labels[row]
        return self.split.x[row], at


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs of the training must be a whole number from 1"),
        ({"seed": -1}, "a seed is a whole number"),
    ],
)
def test_what_cannot_be_is_refused(study: pn.Study, wrong: dict[str, Any], said: str) -> None:
    """With the rule."""
    with pytest.raises(UsageError, match=said):
        study.train_final(0, **wrong)


def test_what_is_not_there_is_said(study: pn.Study) -> None:
    """And how it is made."""
    other = study.train(0, epochs=1, seed=40)
    with pytest.raises(StudyError, match=f"trial {other.number} was not trained on train and validation yet"):
        study.final(other.number)


def test_the_command_trains_and_hands_out(study: pn.Study, cli: Callable[..., Any], tmp_path: Path) -> None:
    """The final training is what ``train`` means; the same, as a trial, is asked for."""
    store = ("--storage", study.store.url)
    answer = cli("train", "--pick", "0", "--epochs", "2", "--to", str(tmp_path / "net"), *store)
    assert answer.returncode == 0, answer.stderr
    assert "trained on train and validation (1,437 examples" in answer.stdout
    assert "is no trial of the study: paretonas train 0 --as-trial" in answer.stdout
    assert (tmp_path / "net" / "net.py").exists()
    document = json.loads(cli("train", "0", "--epochs", "2", "--json", *store).stdout)
    assert document["final"]["splits"] == "train and validation"
    assert document["final"]["examples"] == 1437
    assert "test_accuracy" in document["values"]
    answer = cli("export", "--pick", "0", "--final", "--to", str(tmp_path / "again"), *store)
    assert answer.returncode == 0, answer.stderr
    for wrong in (("train", "0", "--pick", "0"), ("train", "0", "--as-trial", "--from-weights")):
        assert cli(*wrong, *store).returncode == 2


def test_ctrl_c_leaves_a_training_that_the_same_command_goes_on_with(
    study: pn.Study, start: Callable[..., Any]
) -> None:
    """It says so, and ends with 130."""
    asked = ("train", "0", "--epochs", "60", "--seed", "50", "--checkpoint-every", "0.01", "--storage", study.store.url)
    process = start(*asked)
    plan, store = plan_of(study.pick(0), epochs=60, from_weights=False, seed=50), study.store
    until = time.monotonic() + 240
    from paretonas.search.delivery.final_training import _slot
    from paretonas.storage.shared_files import file_id

    while not all(store.has_artifact(file_id(_slot(plan, slot))) for slot in (0, 1)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on" in said
    seen: list[int] = []
    final = study.train_final(0, epochs=60, seed=50, on_epoch=lambda epoch: seen.append(epoch.number))
    assert seen[0] > 0
    assert len(final.learning_curve) == 61


def test_whoever_learned_from_a_teacher_does_so_again(url: str) -> None:
    """The same teacher answers for both splits, which is another training than one without."""
    space = pn.MLPSpace(
        layers=1, widths=[4, 8, 16], pruning=0.0, training=pn.TrainingSpace(epochs=2, distillation=0.9, temperature=4.0)
    )
    study = pn.create_study(
        "taught", space=space, objectives=OBJECTIVES, storage=url, teacher="best", stopping="none", sampler="random"
    )
    study.optimize(3, show_progress=False)
    pupil = next(t for t in study.trials if t.number > 0 and t.candidate.training.taught)
    final = study.train_final(pupil.number)
    plan = plan_of(pupil, epochs=None, from_weights=False, seed=None)
    data = joined(load_data(study.definition.task))
    assert plan.candidate.training.taught
    untaught = evaluate(plan.candidate, data, ["parameters"], seed=0).deployed.network
    before = study.optuna.trials[pupil.number].user_attrs["teacher"]
    teacher = Teacher(study.pick(int(before.split()[1])).load(), data)
    taught = evaluate(plan.candidate, data, ["parameters"], seed=0, teacher=teacher).deployed.network
    weights = tensors(final)
    assert any(not torch.equal(a, b) for a, b in zip(weights, untaught.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(weights, taught.state_dict().values(), strict=True))
