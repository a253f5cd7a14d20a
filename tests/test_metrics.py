"""Metrics and objectives: against scikit-learn and formulas, in one pass, and what data allow."""

from collections.abc import Sequence
from typing import Literal

import pytest
import torch
from sklearn import metrics as sk
from torch import nn

from paretonas.errors import CandidateFailed, UsageError
from paretonas.objectives import (
    COSTS,
    COUNTED,
    METRICS,
    Deployed,
    check_objectives,
    default_metrics,
    metric_of,
    objective_of,
    predict,
    qualities,
    quality,
)
from paretonas.objectives.tasks import Data, Labels, Split, Target
from paretonas.spaces import Architecture, Block, DataSpec, Head, build

CLASSES = Target("head", "classes", names=("a", "b", "c", "d", "e"))
NUMBER = Target("head", "number", mean=10.0, std=4.0)
TOKENS = Target("head", "tokens")
SEVERAL = (Target("digit", "classes"), Target("size", "number", std=2.0))


def data_of(x: torch.Tensor, y: Labels, spec: DataSpec, targets: Sequence[Target]) -> Data:
    """Data whose splits are all the same."""
    split = Split(x, y)
    return Data(spec, tuple(targets), split, split, split, preprocessing={})


def judged(outputs: torch.Tensor, y: torch.Tensor, target: Target, *, batch: int | None = None) -> dict[str, float]:
    """All metrics of a network that gives these outputs."""
    shape = tuple(outputs.shape[1:])
    tokens = target.kind == "tokens"
    spec = DataSpec(shape[:1], shape[-1], vocabulary=shape[-1] if tokens else None, per_position=tokens)
    data = data_of(outputs, y, spec, [target])
    return quality(nn.Identity(), data.test, data, qualities(data), batch=batch)


def two_headed() -> Data:
    """Three rows, a class and a number asked of each."""
    spec = DataSpec((3,), (Head(3, "digit"), Head(1, "size")))
    return data_of(torch.eye(3), {"digit": torch.tensor([0, 1, 1]), "size": torch.zeros(3)}, spec, SEVERAL)


class TwoHeaded(nn.Module):
    """Answers the row as scores and its first number as the size; counts its calls."""

    calls = 0

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        self.calls += 1
        return {"digit": x, "size": x[:, :1]}


# against scikit-learn


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("answered", "labelled"), [(5, 5), (2, 5), (5, 2), (1, 1)])
def test_classes_are_judged_as_scikit_learn_does(seed: int, answered: int, labelled: int) -> None:
    """Accuracy, balanced accuracy and macro F1, also where a class is never answered or never there."""
    draw = torch.Generator().manual_seed(seed)
    outputs, y = torch.rand(40, 5, generator=draw), torch.randint(labelled, (40,), generator=draw)
    outputs[:, answered:] -= 2
    found, predicted, there = judged(outputs, y, CLASSES), outputs.argmax(1), sorted(set(y.tolist()))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, predicted))
    assert found["balanced_accuracy"] == pytest.approx(sk.recall_score(y, predicted, labels=there, average="macro"))
    assert found["f1"] == pytest.approx(sk.f1_score(y, predicted, average="macro"))


@pytest.mark.parametrize("seed", range(6))
def test_numbers_are_judged_in_their_own_unit(seed: int) -> None:
    """The errors are those of the numbers before standardising; the share of explained variance has no unit."""
    draw = torch.Generator().manual_seed(seed)
    outputs, y = torch.randn(30, 1, generator=draw), torch.randn(30, generator=draw)
    found = judged(outputs, y, NUMBER)
    true, told = y.double() * 4 + 10, outputs[:, 0].double() * 4 + 10
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(true, told))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(true, told))
    assert found["r2"] == pytest.approx(sk.r2_score(true, told))


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_numbers_that_are_all_equal(error: float) -> None:
    """There is no variance to explain: 1 if each is told, else 0, as scikit-learn has it."""
    y = torch.full((4,), 2.0)
    assert judged(y[:, None] + error, y, NUMBER)["r2"] == sk.r2_score(y, y + error) == 1 - error


# by formula


def test_perplexity_is_that_of_chance_where_all_tokens_score_the_same() -> None:
    """Seven tokens that are equally likely have perplexity 7."""
    y = torch.randint(7, (5, 4), generator=torch.Generator().manual_seed(0))
    assert judged(torch.zeros(5, 4, 7), y, TOKENS)["perplexity"] == pytest.approx(7)


@pytest.mark.parametrize("batch", [1, 3, 1024])
def test_tokens_are_judged_at_all_positions(batch: int) -> None:
    """Perplexity is e to the mean of -log p over all positions, in whatever batches."""
    draw = torch.Generator().manual_seed(1)
    outputs, y = torch.randn(8, 6, 9, generator=draw), torch.randint(9, (8, 6), generator=draw)
    found = judged(outputs, y, TOKENS, batch=batch)
    told = outputs.double().softmax(2).gather(2, y[..., None])
    assert found["perplexity"] == pytest.approx(float(told.log().neg().mean().exp()))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y.flatten(), outputs.argmax(2).flatten()))


@pytest.mark.parametrize("batch", [1, 3, 4, 1024])
def test_accuracy_is_the_share_of_right_answers(batch: int) -> None:
    """Three of four highest scores are at the label, in whatever batches they are judged."""
    assert judged(torch.eye(4), torch.tensor([0, 1, 2, 0]), CLASSES, batch=batch)["accuracy"] == 0.75


# one pass


def test_several_heads_are_judged_in_one_pass() -> None:
    """Each metric has its head's name before it; the network runs once."""
    network, data = TwoHeaded(), two_headed()
    found = quality(network, data.validation, data, ["size.mae", "digit.accuracy", "size.rmse"])
    assert found == pytest.approx({"size.mae": 2 / 3, "digit.accuracy": 2 / 3, "size.rmse": 2 / 3**0.5})
    assert network.calls == 1


def test_no_metric_needs_no_pass() -> None:
    """Nothing asked is nothing done."""
    network, data = TwoHeaded(), two_headed()
    assert quality(network, data.validation, data, []) == {}
    assert network.calls == 0


def test_scores_of_a_large_vocabulary_are_not_kept() -> None:
    """Two figures for each sequence are; and no more scores are made at once than 8 million."""
    sizes = []

    class Probe(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return torch.zeros(*x.shape, 2**15)

    spec = DataSpec((64,), 2**15, vocabulary=2**15, per_position=True)
    x = torch.zeros(10, 64, dtype=torch.int64)
    data = data_of(x, x, spec, [TOKENS])
    answers, _ = predict(Probe(), data.test, data)["head"]
    assert answers.shape == (10, 2)
    assert sizes == [4, 4, 2]


def test_judging_is_in_evaluation_mode() -> None:
    """It moves no statistics, and leaves the network in evaluation mode."""
    network = build(Architecture((3,), (Block("linear", width=4),), (Head(2),)), seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    data = data_of(torch.rand(6, 3), torch.tensor([0, 1] * 3), DataSpec((3,), 2), [CLASSES])
    quality(network, data.validation, data, ["accuracy"])
    assert not network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


# what cannot be judged


@pytest.mark.parametrize("target", [CLASSES, NUMBER])
def test_an_answer_that_is_no_number_fails_the_candidate(target: Target) -> None:
    """It has diverged, whether or not the metric would show it."""
    outputs = torch.zeros(4, 1)
    outputs[2] = torch.nan
    with pytest.raises(CandidateFailed, match="the network answers nan") as raised:
        judged(outputs, torch.zeros(4, dtype=torch.int64), target)
    assert raised.value.kind == "diverged"


def test_a_metric_that_is_not_finite_fails_the_candidate() -> None:
    """A perplexity can be too large for a number."""
    outputs = torch.tensor([[[0.0, 1e6]]])
    with pytest.raises(CandidateFailed, match="perplexity became inf") as raised:
        judged(outputs, torch.zeros(1, 1, dtype=torch.int64), TOKENS)
    assert raised.value.kind == "diverged"


@pytest.mark.parametrize(
    ("network", "came"),
    [
        (nn.Flatten(0), r"\(9,\) came"),
        (nn.LSTM(3, 3), "tuple came"),
        (nn.Linear(3, 2), r"\(3, 2\) came"),
        (TwoHeaded(), "NoneType came"),
    ],
)
def test_an_answer_of_another_shape_fails_the_candidate(network: nn.Module, came: str) -> None:
    """A module of the user's own can give anything; the reason says what is wanted."""
    data = data_of(torch.eye(3), torch.tensor([0, 1, 2]), DataSpec((3,), 3), [CLASSES])
    with pytest.raises(CandidateFailed, match=rf"must answer a tensor of \(3, 3\) for 'head', {came}") as raised:
        quality(network, data.test, data, ["accuracy"])
    assert raised.value.kind == "invalid"


# names


def test_the_first_metric_of_a_kind_is_the_default() -> None:
    """accuracy, mae and perplexity; all others follow it."""
    assert [next(iter(metrics)) for metrics in METRICS.values()] == ["accuracy", "mae", "perplexity"]
    assert default_metrics(two_headed()) == ("digit.accuracy", "size.mae")
    assert qualities(two_headed()) == (
        "digit.accuracy",
        "digit.balanced_accuracy",
        "digit.f1",
        "size.mae",
        "size.rmse",
        "size.r2",
    )


def test_metrics_of_one_name_have_one_unit_and_direction() -> None:
    """So an objective can be known before the data are."""
    for metrics in METRICS.values():
        for metric in metrics.values():
            _, found = metric_of(metric.name)
            assert (found.unit, found.direction) == (metric.unit, metric.direction)


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("accuracy", "maximize"),
        ("r2", "maximize"),
        ("mae", "minimize"),
        ("perplexity", "minimize"),
        ("parameters", "minimize"),
        ("latency_ms", "minimize"),
        ("digit.f1", "maximize"),
    ],
)
def test_an_objective_is_known_by_its_name(name: str, direction: Literal["maximize", "minimize"]) -> None:
    """Costs, metrics, and metrics of a head, without any data."""
    objective = objective_of(name)
    assert (objective.name, objective.direction) == (name, direction)
    assert objective.clock == (name == "latency_ms")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("acuracy", "unknown objective 'acuracy': did you mean 'accuracy'"),
        ("latancy", "did you mean 'latency_ms'"),
        ("digit.acuracy", "unknown metric 'acuracy': did you mean 'accuracy'"),
        ("digit.parameters", "unknown metric 'parameters'"),
    ],
)
def test_an_unknown_objective_is_refused_with_the_nearest(name: str, said: str) -> None:
    """In one sentence."""
    with pytest.raises(UsageError, match=said):
        objective_of(name)


def test_a_metric_that_the_data_do_not_allow_is_refused() -> None:
    """With all that they do allow."""
    data = two_headed()
    check_objectives(["digit.accuracy", "size.r2", *COSTS], data)
    for name in ("accuracy", "digit.mae", "letter.accuracy", "perplexity"):
        with pytest.raises(UsageError, match=f"'{name}' cannot be measured on these data: .*there is digit.accuracy, "):
            check_objectives([name, "parameters"], data)
        with pytest.raises(UsageError, match="cannot be measured"):
            quality(TwoHeaded(), data.test, data, [name])


def test_costs_need_no_data() -> None:
    """They follow from the network and what it was built from."""
    architecture = Architecture((3,), (), (Head(2),))
    network = build(architecture, seed=0)
    deployed = Deployed(network, architecture)
    assert [COUNTED[name].count(deployed).value for name in ("parameters", "macs")] == [8, 6]
