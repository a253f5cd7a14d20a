"""Training from scratch what inherited its weights: one trial more, whose figures compare."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.search.data import load_data
from paretonas.search.delivery.retraining import ancestors, from_scratch, inheritance, inherited_values
from paretonas.search.evaluate import evaluate
from paretonas.spaces import Candidate

BRIEF = pn.TrainingSpace(epochs=3, finetune_epochs=1)
SPACE = pn.ConvSpace(
    layers=3, stages=1, widths=12, activations="relu", sharing="none", pruning=0.0, training=BRIEF
)  # one network
OBJECTIVES = ["accuracy", "parameters"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """One trained network (trial 0), half of it (1), that one made wider (2), and the first one in 8 bits (3)."""
    url = f"sqlite:///{tmp_path_factory.mktemp('retraining') / 'nas.db'}"
    study = pn.create_study("one", space=SPACE, objectives=OBJECTIVES, storage=url)
    study.optimize(1, show_progress=False)
    study.shrink(0, pruning=0.5, compression=pn.Compression(scope="global", sparsity=0.5))
    study.grow(1, widen=1.5, epochs=1)
    study.shrink(0, compression=pn.Compression(bits=8), pruning=0.3)
    return study


def test_the_network_that_is_left_is_trained_without_what_it_inherited(study: pn.Study) -> None:
    """All epochs, from the weights that the seed gives, whatever its ancestors had; and the parent stays."""
    parent = study.pick(2)
    assert [trial.number for trial in ancestors(parent)] == [1, 0]
    assert parent.candidate.training.epochs == 1
    found = study.train(2)
    assert found.number > 3
    assert not found.inherited
    assert found.architecture == parent.architecture
    assert found.values["parameters"] == parent.values["parameters"]
    assert [(point.phase, point.number) for point in found.learning_curve] == [("train", 0), ("train", 1), ("train", 2)]
    assert found.candidate == Candidate(parent.architecture, training=study.pick(0).candidate.training)
    anew = evaluate(found.candidate, load_data(study.definition.task), ["accuracy"], seed=study.definition.seed)
    weights = found.load().state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in anew.deployed.network.state_dict().items())
    assert study.pick(2).values == parent.values


def test_what_left_before_is_not_there_from_the_start(study: pn.Study) -> None:
    """Of a network that was pruned, made sparse and cut to 8 bits, the architecture and the bits stay."""
    sparse, eight = study.pick(1), study.pick(3)
    dense = from_scratch(sparse)
    assert dense.architecture == dense.deployed == sparse.architecture
    assert not dense.compression.sparse
    assert dense.training.epochs == 3
    found = study.train(3, epochs=1)
    assert found.candidate.precision == eight.candidate.precision == "int8 static"
    assert found.architecture == eight.architecture
    assert len(found.learning_curve) == 1


def test_epochs_and_seed_are_what_is_asked_for(study: pn.Study) -> None:
    """Each seed is a training of its own, and repeats; the study's own seed is no other training."""
    one, other = study.train(0, epochs=2, seed=11), study.train(0, epochs=2, seed=12)
    assert one.number != other.number
    assert (one.evaluation.seed, other.evaluation.seed) == (11, 12)
    assert study.train(0, epochs=2, seed=11).number == one.number
    for trial in (one, other):
        assert len(trial.learning_curve) == 2
    states = [trial.load().state_dict() for trial in (one, other)]
    assert any(not torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
    assert Candidate.from_json(json.loads(json.dumps(one.candidate.to_json()))) == one.candidate
    assert from_scratch(study.pick(0), seed=study.definition.seed).key == study.pick(0).candidate.key


def test_a_seed_gives_what_a_study_of_that_seed_gives(study: pn.Study, url: str) -> None:
    """The weights and the order of the data follow from it, as there."""
    found = study.train(0, seed=5)
    there = pn.create_study("there", space=SPACE, objectives=OBJECTIVES, storage=url, seed=5)
    there.optimize(1, show_progress=False)
    assert there.pick(0).values == found.values


def test_what_was_trained_from_scratch_is_answered(study: pn.Study) -> None:
    """It is the trial itself; nothing is trained, and nothing is added to the front."""
    trials = len(study.trials)
    assert study.train(0).number == 0
    assert len(study.trials) == trials


def test_values_are_said_to_be_inherited_where_weights_were(study: pn.Study) -> None:
    """Quality is, costs are not; and the whole line of ancestors is named, with what was done."""
    first, grown = study.pick(0), study.pick(2)
    assert inherited_values(first) == []
    assert "accuracy" in inherited_values(grown)
    assert not {"parameters", "macs"} & set(inherited_values(grown))
    assert inheritance(first) == "trial 0 inherited nothing: it began with random weights"
    assert inheritance(grown).endswith(
        "of trial 2 are inherited: its weights began as those of trial 1 (widen), which began as those of trial 0 "
        "(as they were)"
    )
    assert [trial.inherited for trial in (first, study.pick(1), grown)] == [False, True, True]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs of the training must be a whole number from 1, 0 was given"),
        ({"seed": -1}, "a seed is a whole number from 0"),
        ({"seed": True}, "True was given"),
    ],
)
def test_what_cannot_be_is_refused(study: pn.Study, wrong: dict[str, Any], said: str) -> None:
    """With the rule, and no trial is made."""
    trials = len(study.trials)
    with pytest.raises(UsageError, match=said):
        study.train(0, **wrong)
    assert len(study.trials) == trials


def test_the_command_prints_both(study: pn.Study, cli: Callable[..., Any]) -> None:
    """Side by side, with what was inherited; one that inherited nothing is told from one that did."""
    store = ("--storage", study.store.url, "--study", "one")
    answer = cli("train", "2", "--as-trial", "--epochs", "1", *store)
    assert answer.returncode == 0, answer.stderr
    lines = {line.split("│")[1].strip(): line for line in answer.stdout.splitlines() if line.count("│") > 3}
    assert "(inherited)" in lines["accuracy"]
    assert "(inherited)" not in lines["parameters"]
    assert "from scratch" in answer.stdout
    assert "those of trial 1 (widen)" in answer.stdout
    answer = cli("train", "0", "--as-trial", *store)
    assert "trial 0 inherited nothing" in answer.stdout
    assert "--epochs or --seed" in answer.stdout


def test_the_command_speaks_json(study: pn.Study, cli: Callable[..., Any]) -> None:
    """One document with both."""
    answer = cli(
        "train",
        "2",
        "--as-trial",
        "--seed",
        "3",
        "--epochs",
        "1",
        "--json",
        "--storage",
        study.store.url,
        "--study",
        "one",
    )
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["inherited"] is False
    assert document["parent"]["trial"] == 2
    assert "accuracy" in document["parent"]["inherited"]
    assert document["values"]["parameters"] == document["parent"]["values"]["parameters"]
    assert document["values"].keys() == document["parent"]["values"].keys()
