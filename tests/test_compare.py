"""A network that one has beside the front of a study."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up import copied
from torch import Tensor, nn

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.search.delivery.comparing import beside, comparisons, references_of

BRIEF = pn.TrainingSpace(epochs=1)
SPACE = pn.MLPSpace(layers=(1, 2), widths=[4, 16, 64], pruning=0.0, training=BRIEF)
OBJECTIVES = ["accuracy", "parameters", "size_bytes", "activation_bytes"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A finished study of four networks, without a clock."""
    url = f"sqlite:///{tmp_path_factory.mktemp('compare') / 'nas.db'}"
    study = pn.create_study("four", space=SPACE, objectives=OBJECTIVES, storage=url, stopping="none")
    study.optimize(4, show_progress=False)
    return study


@pytest.fixture(scope="module")
def timed(small: pn.Study, tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A copy of the small study, which has a clock; references are written into it."""
    return copied(small, tmp_path_factory.mktemp("timed"))


class Padded(nn.Module):
    """Answers as another network does, and has more numbers."""

    def __init__(self, network: nn.Module, more: int) -> None:
        super().__init__()
        self.network, self.more = network, nn.Parameter(torch.zeros(more))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)  # type: ignore[no-any-return]


def test_a_trials_own_network_is_measured_as_the_trial_was(study: pn.Study) -> None:
    """All figures are equal to the last digit, on both splits, and nothing dominates anything."""
    trial = study.pick("best")
    found = study.compare(trial.load(), name="the same")
    assert {name: found.values[name] for name in trial.values} == dict(trial.values)
    assert found.values["test_accuracy"] == trial.test_metrics()["test_accuracy"]
    (same,) = [point for point in found.points if point.trial == trial.number]
    assert same.verdict == "equals it"
    assert not found.dominating
    assert found.feasible


def test_points_that_dominate_are_named_with_by_how_much(study: pn.Study) -> None:
    """The same answers from more numbers are dominated, by the difference."""
    trial = study.pick("best")
    found = study.compare(Padded(trial.load(), 1000), name="padded")
    (better,) = [point for point in found.dominating if point.trial == trial.number]
    assert better.differences["accuracy"] == 0
    assert better.differences["parameters"] == -1000
    assert better.ratios["parameters"] == pytest.approx(trial.values["parameters"] / found.values["parameters"])
    assert f"trial {trial.number} (accuracy +0.0000, parameters {better.ratios['parameters']:.2f} times" in str(found)
    assert "padded is dominated by" in str(found)


def test_a_module_of_ones_own_is_counted_by_formula(study: pn.Study) -> None:
    """Parameters, MACs and bytes of a plain module; what it costs in activations is what it holds at once."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 7), nn.ReLU(), nn.Linear(7, 10)).train()
    values = study.compare(net, name="plain").values
    assert values["parameters"] == 64 * 7 + 7 + 7 * 10 + 10
    assert values["macs"] == 64 * 7 + 7 * 10
    assert values["size_bytes"] == 4 * values["parameters"]
    assert values["activation_bytes"] >= 4 * (64 + 7)
    assert net.training  # it is not touched


def test_a_reference_is_kept_in_the_study(study: pn.Study) -> None:
    """Whoever opens it finds it, without running anything; the same name takes its place."""
    study.compare(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), name="kept")
    again = pn.load_study("four", storage=study.store.url)
    assert references_of(again)["kept"]["parameters"] == 650
    study.compare(nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Linear(2, 10)), name="kept")
    again = pn.load_study("four", storage=study.store.url)
    assert references_of(again)["kept"]["parameters"] == 160
    assert [one.name for one in comparisons(again)].count("kept") == 1


def test_times_within_their_noise_are_equal(timed: pn.Study) -> None:
    """A reference that is slower by 4 % is not dominated for that; by 10 % it is."""
    trial = timed.pareto_front[0]
    for slower, verdict in ((1.04, "equals it"), (1.1, "dominates it"), (0.97, "equals it"), (0.8, "is dominated")):
        values = {**trial.values, "latency_ms": trial.values["latency_ms"] * slower}
        found = beside(timed, "nearly", {"values": values, "conditions": {}})
        assert found.points[0].verdict == verdict


def test_a_reference_is_timed_under_the_studys_conditions(timed: pn.Study) -> None:
    """Its latency is a record with the threads, the backend and the processor of the trials'."""
    found = timed.compare(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), name="timed")
    mine, theirs = found.conditions["latency_ms"], timed.pareto_front[0].evaluation.details["latency_ms"]
    assert [mine[name] for name in ("backend", "threads", "hardware", "batch")] == [
        theirs[name] for name in ("backend", "threads", "hardware", "batch")
    ]
    assert found.values["latency_ms"] > 0


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (nn.Linear(3, 4), r"the reference Linear takes batches of \(1, 8, 8\)"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(64, 3)),
            r"cannot be judged: the network must answer a tensor of \(360, 10\)",
        ),
        ("nowhere_at_all:net", "there is no module 'nowhere_at_all'"),
        ("no name", "own code is named as in 'my.module:make_net'"),
        (3, "a reference is an nn.Module or the name of one"),
    ],
)
def test_what_does_not_fit_is_refused(study: pn.Study, net: Any, said: str) -> None:
    """In one sentence, and nothing is kept of it."""
    before = references_of(study)
    with pytest.raises(UsageError, match=said):
        study.compare(net)
    assert references_of(study) == before


def test_an_empty_front_is_said(url: str) -> None:
    """The reference is measured all the same."""
    empty = pn.create_study("empty", space=SPACE, objectives=["accuracy", "parameters"], storage=url)
    found = empty.compare(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), name="alone")
    assert str(found) == "alone: the front is empty, so there is nothing to compare it with"
    assert found.values["parameters"] == 650


def test_the_commands_compare(
    study: pn.Study, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``front`` and ``pick`` take the name of a module, or of a function that gives one, and show it as JSON too."""
    code = (
        "from torch import nn\n\n\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n\n\nbad = 3\n"
    )
    (tmp_path / "present_model.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    store = ("--storage", study.store.url)
    answer = cli("front", "--compare", "present_model:net", *store)
    assert answer.returncode == 0, answer.stderr
    assert "The front beside present_model:net" in answer.stdout
    assert "test_accuracy" in answer.stdout
    document = json.loads(cli("front", "--json", *store).stdout)["references"]["present_model:net"]
    assert document["values"]["parameters"] == 650
    assert {point["trial"] for point in document["front"]} == {trial.number for trial in study.pareto_front}
    answer = cli("pick", "best", "--compare", "present_model:net", "--json", *store)
    (point,) = json.loads(answer.stdout)["references"]["present_model:net"]["front"]
    assert point["trial"] == study.pick("best").number
    answer = cli("front", "--compare", "present_model:bad", *store)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "int came" in answer.stderr
