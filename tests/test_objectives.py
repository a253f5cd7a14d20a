"""Objectives by name, with their settings, and those of the user's own."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from subprocess import Popen

import pytest
from own_objectives import Energy, Layers, NoUnit, Worst

import paretonas as pn
from paretonas import own
from paretonas.errors import UntrustedCode, UsageError
from paretonas.objectives import BACKENDS, COSTS, is_cost, objective_of, own_names, split_names
from paretonas.search.bench import StoreBench

CONDITIONS = ("backend", "version", "hardware", "threads", "batch", "precision")
BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=0)
SPACE = pn.MLPSpace(layers=(1, 3), widths=[4, 8, 16], pruning=0.0, training=BRIEF)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("latency_ms", "latency_ms"),
        ("latency", "latency_ms"),
        ("latency,batch=1", "latency_ms"),
        ("latency_ms,batch=8", "latency,batch=8"),
        ("latency:torch", "latency:torch"),
        ("latency:onnxruntime,threads=1,batch=1", "latency:onnxruntime,threads=1"),
        ("latency:onnxruntime, batch=4 , threads=2", "latency:onnxruntime,threads=2,batch=4"),
        ("throughput", "throughput"),
        ("throughput,batch=64", "throughput"),
        ("throughput:onnxruntime,batch=1", "throughput:onnxruntime,batch=1"),
        ("parameters", "parameters"),
        ("digit.accuracy", "digit.accuracy"),
    ],
)
def test_an_objective_has_one_name(given: str, name: str) -> None:
    """Settings in any order and defaults that are spelled out make the same name, which reads back to itself."""
    assert objective_of(given).name == name
    assert objective_of(name) == objective_of(given)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("latancy", "did you mean 'latency_ms'"),
        ("latency:onxruntime", "did you mean 'onnxruntime'"),
        ("latency:torch,cores=2", "unknown setting of latency 'cores': there is threads, batch"),
        ("latency,batch=0", "batch of latency is a whole number from 1, 0 was given"),
        ("latency,batch=1.5", "whole number"),
        ("latency,batch", "written as threads=1,batch=8"),
        ("latency,batch=2,batch=3", "written as threads=1,batch=8"),
        ("parameters,batch=2", "parameters has no settings"),
        ("digit.speed", "unknown metric 'speed'"),
    ],
)
def test_a_wrong_objective_is_said(given: str, says: str) -> None:
    """What is wrong, and what there is."""
    with pytest.raises(UsageError, match=says):
        objective_of(given)


def test_settings_stay_with_their_objective_in_a_list() -> None:
    """Commas part objectives, and settings within one."""
    names = ["accuracy", "latency:onnxruntime,threads=1,batch=8", "parameters"]
    assert split_names(", ".join(names)) == names


def test_directions_and_kinds() -> None:
    """Throughput is the one cost that is to become large."""
    assert {name for name, cost in COSTS.items() if cost.direction == "maximize"} == {"throughput"}
    assert all(is_cost(f"latency:{word}") and is_cost(f"throughput:{word}") for word in BACKENDS)
    assert not is_cost("accuracy")
    assert objective_of("throughput").unit.startswith("examples a second in batches of 64")


def test_own_objectives_are_named_and_read_back() -> None:
    """By module, class and settings; numbers come back as numbers."""
    own.trust(["own_objectives:Energy", "own_objectives:Layers"])
    assert Energy(2.5).name == "own_objectives:Energy,watts=2.5,board=pi"
    assert objective_of("own_objectives:Energy,watts=2.5") == Energy(2.5)
    assert objective_of("own_objectives:Energy,board=jetson,watts=3") == Energy(3, "jetson")
    assert own_names(["accuracy", "latency:torch,batch=2", Energy(1).name]) == {"own_objectives:Energy"}


def test_own_objectives_are_checked() -> None:
    """Settings that do not fit, a class of something else, one without a unit; and nothing runs untrusted."""
    own.trust(["own_objectives:Energy", "own_objectives:NoUnit", "own_objectives:Path"])
    with pytest.raises(UsageError, match="cannot be made with"):
        objective_of("own_objectives:Energy,volts=3")
    with pytest.raises(UsageError, match=r"is a class of pn\.Objective"):
        objective_of("own_objectives:Path")
    with pytest.raises(UsageError, match="needs a unit and a direction"):
        objective_of("own_objectives:NoUnit")
    assert NoUnit.__name__ == "NoUnit"
    with pytest.raises(UntrustedCode, match="--allow-code own_objectives:OnBoard"):
        objective_of("own_objectives:OnBoard,file=x")


def test_a_study_of_own_objectives(url: str, start: Callable[..., Popen[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Early and late ones, costs and qualities; another process that trusts them goes on and shows them."""
    objectives: list[str | pn.Objective] = ["accuracy", Worst(), Layers(), Energy(2.0), "parameters"]
    study = pn.create_study("own", space=SPACE, objectives=objectives, storage=url)
    study.optimize(3, show_progress=False)
    for trial in study.trials:
        blocks = len(trial.architecture.blocks)
        assert trial.values[Layers().name] == blocks
        assert 0 <= trial.values[Worst().name] <= 1
        energy = trial.values[Energy(2.0).name]
        assert 0 < energy < 1
        assert trial.evaluation.details[Energy(2.0).name] == {"watts": 2.0}
    assert pn.create_study("own", space=SPACE, objectives=objectives, storage=url).definition == study.definition
    names = [name.split(",")[0] for name in (Worst().name, Layers().name, Energy(2.0).name)]
    refused = start("front", "--storage", url)
    assert "allow it with --allow-code" in refused.communicate()[1]
    assert refused.returncode == 2
    trust = [part for name in names for part in ("--allow-code", name)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    shown = start("front", "--storage", url, *trust, "--json")
    out, err = shown.communicate()
    assert shown.returncode == 0, err
    assert set(json.loads(out)["objectives"]) == set(study.definition.objectives)


def test_a_study_on_two_backends(url: str) -> None:
    """Each has its figure and conditions; throughput is that of a batch."""
    objectives = ["accuracy", "latency_ms", "latency:onnxruntime,threads=1", "throughput,batch=16"]
    study = pn.create_study("two", space=SPACE, objectives=objectives, storage=url)
    study.optimize(2, show_progress=False)
    for trial in study.trials:
        details = trial.evaluation.details
        assert details["latency_ms"]["backend"] == "torch"
        assert details["latency:onnxruntime,threads=1"]["backend"] == "onnxruntime"
        throughput = details["throughput,batch=16"]
        assert trial.values["throughput,batch=16"] == pytest.approx(16 / throughput["latency_ms"] * 1000)
        assert throughput["batch"] == 16
    assert study.pick(max_latency_ms=1000).number in {trial.number for trial in study.trials}


def test_a_settled_latency_is_taken_from_the_store(url: str) -> None:
    """Whatever study measured it; one that is not settled gets one sitting more, which the store keeps."""
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", "latency_ms"], storage=url)
    bench = StoreBench(study.store, study.definition)
    architecture = SPACE.sample(bench.data.spec, seed=0).deployed
    deployed = pn.Deployed(pn.build(architecture, seed=0).eval(), architecture)
    first = bench.time(deployed)
    assert first.sittings == 1
    second = bench.time(deployed)
    assert second.sittings == 2
    assert len(second.samples) > len(first.samples)
    bench.keep(architecture, replace(second, latency_ms=7.5, noise=0.01, sittings=3, run="of another study"))
    other = pn.create_study("other", space=SPACE, objectives=["accuracy", "throughput"], storage=url)
    again = StoreBench(other.store, other.definition).time(deployed)
    assert (again.latency_ms, again.run) == (7.5, "of another study")


def test_a_network_is_timed_before_and_after_its_training(url: str) -> None:
    """The record that a trial's figure comes from has two sittings or more, or is of the front's run."""
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", "latency_ms"], storage=url)
    study.optimize(2, show_progress=False)
    for trial in study.trials:
        detail = trial.evaluation.details["latency_ms"]
        record = study.store.latency(trial.architecture.key, **{name: detail[name] for name in CONDITIONS})
        assert record is not None
        assert record.together > 1 or record.sittings > 1
        assert record.latency_ms == trial.values["latency_ms"]
