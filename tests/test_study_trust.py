"""Code of the user's own in a study: run for whoever gave it, never because a store names it."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import paretonas as pn
from paretonas import own
from paretonas.errors import ExportError, StudyError, UntrustedCode

Cli = Callable[..., subprocess.CompletedProcess[str]]
CODE = """
import torch
from torch import nn

import paretonas as pn

def make_net(width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def make_nothing(width: int = 8) -> nn.Module:
    raise RuntimeError(f"no net of width {width}")


def hiding(width: int = 8) -> nn.Module:
    return globals()["make_net"](width)


def ten(classes: int = 2):
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 6, generator=draw)
    y = (x[:, 0] > 0).long() % classes
    return (x[:40], y[:40]), (x[40:50], y[40:50]), (x[50:], y[50:])


class NarrowSpace(pn.MLPSpace):
    pass
"""
STUDY = """
study = "own"
objectives = ["accuracy", "parameters"]
trials = 2
sampler = "random"

[space]
type = "module"
factory = "{module}:make_net"
genes = {{ width = [4, 8, 16] }}

[space.training]
epochs = 1
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A module of the user's own in the current folder, under a name of this test's own, that nobody trusts yet."""
    name = f"nets_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(CODE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own, "_trusted", set())
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def searched(module: str, tmp_path: Path, url: str, cli: Cli) -> str:
    """A study of the user's own factory, made by a study file; then everything of it is forgotten in this process."""
    (tmp_path / "study.toml").write_text(STUDY.format(module=module), encoding="utf-8")
    answer = cli("run", "study.toml", "--storage", url, "--quiet")
    assert (answer.returncode, answer.stderr) == (0, "")
    own._trusted.clear()
    del sys.modules[module]
    return f"{module}:make_net"


def test_a_store_never_runs_code(searched: str, module: str, url: str, cli: Cli) -> None:
    """Trials, values, front and picks are read without the module; building the network needs trust."""
    study = pn.load_study(storage=url)
    assert len(study.trials) == 2
    trial = study.pick("knee")
    assert "make_net(width=" in str(trial.architecture)
    assert cli("front", "--storage", url).returncode == 0
    assert module not in sys.modules
    ways_in: list[Callable[[], object]] = [trial.load, lambda: pn.load_model(url)]
    for refused in ways_in:
        with pytest.raises(UntrustedCode, match=f"{searched} is code that the study names: .* --allow-code {searched}"):
            refused()
    refusal = cli("pick", "knee", "--storage", url)
    assert (refusal.returncode, refusal.stdout) == (2, "")
    assert f"--allow-code {searched}" in refusal.stderr
    assert module not in sys.modules


def test_trusted_code_gives_the_network(searched: str, url: str) -> None:
    """By ``trust`` a model is loaded, a study goes on, and a network leaves."""
    model = pn.load_model(url, trust=[searched])
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 10)
    pn.load_study(storage=url, trust=[searched]).optimize(3, show_progress=False)
    assert len(pn.load_study(storage=url).trials) == 3


def test_the_option_trusts_too(searched: str, url: str, cli: Cli, tmp_path: Path) -> None:
    """``--allow-code`` is for worker, pick and export."""
    assert cli("worker", "--trials", "3", "--quiet", "--storage", url, "--allow-code", searched).returncode == 0
    document = json.loads(cli("pick", "knee", "--json", "--storage", url, "--allow-code", searched).stdout)
    assert "test_accuracy" in document["values"]
    exported = cli("export", "--to", str(tmp_path / "out"), "--storage", url, "--allow-code", searched)
    assert exported.returncode == 0
    assert "def make_net" in (tmp_path / "out" / "net.py").read_text(encoding="utf-8")


def test_results_of_own_code_are_not_taken_over(searched: str, url: str) -> None:
    """What the name stands for may have changed since the other study."""
    first = pn.load_study(storage=url, trust=[searched])
    second = pn.create_study(
        "second", space=first.definition.space, objectives=["accuracy", "macs"], storage=url, sampler="random"
    )
    second.optimize(2, show_progress=False)
    assert {trial.candidate.key for trial in first.trials} == {trial.candidate.key for trial in second.trials}
    assert {trial.evaluation.reused for trial in second.trials} == {None}
    assert all(trial.learning_curve for trial in second.trials)


def test_data_named_by_a_file_are_trusted(module: str, tmp_path: Path, cli: Cli) -> None:
    """Looking at a space on them runs the function, as a search would."""
    text = f"[space]\ntype = 'mlp'\n\n[task]\ntype = 'own'\nfunction = '{module}:ten'\n"
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    answer = cli("space", "show", "study.toml")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert "The mlp space on own (6 input)" in answer.stdout


def test_own_code_that_does_not_run_alone_is_not_exported(module: str, url: str, tmp_path: Path) -> None:
    """What the written file raises is one sentence that names the code, and nothing is written."""
    name = f"{module}:hiding"
    own.trust([name])
    space = pn.ModuleSpace(name, width=4, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study("s", space=space, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    with pytest.raises(
        ExportError, match=rf"does not run \(KeyError: 'make_net'\): nothing .* fault of {name}"
    ) as caught:
        study.pick("best").export(tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_untrusting_worker_tries_nothing(searched: str, url: str, cli: Cli) -> None:
    """Its refusal is one line, and no trial is spoilt by it."""
    before = len(pn.load_study(storage=url).trials)
    refusal = cli("worker", "--trials", "5", "--quiet", "--storage", url)
    assert refusal.returncode == 2
    assert f"--allow-code {searched}" in refusal.stderr
    assert len(pn.load_study(storage=url).trials) == before


def test_workers_are_told_what_is_trusted(module: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a search starts run what its caller gave, and find it where the caller did, here on its path: as
    all fails there, the search says why, in the words of the function.
    """
    monkeypatch.chdir("/")
    space = pn.ModuleSpace(f"{module}:make_nothing", width=pn.Range(1, 1000), training=pn.TrainingSpace(epochs=1))
    study = pn.create_study("s", space=space, objectives=["accuracy", "parameters"], storage=url)
    with pytest.raises(StudyError, match=r"workers ended early .*failed in the same way.*no net of width"):
        study.optimize(30, workers=2, show_progress=False)
    assert len(study.trials) in (10, 11)


def test_a_space_class_of_ones_own_needs_trust_to_be_opened(module: str, url: str, cli: Cli) -> None:
    """Its class is needed to say what the study is, so even opening it is refused, and allowed by name."""
    name = f"{module}:NarrowSpace"
    own.trust([name])
    pn.create_study("s", space={"type": name, "layers": 1}, objectives=["accuracy", "macs"], storage=url)
    own._trusted.clear()
    with pytest.raises(UntrustedCode, match=name):
        pn.load_study(storage=url)
    assert type(pn.load_study(storage=url, trust=[name]).definition.space).__name__ == "NarrowSpace"
    own._trusted.clear()
    assert cli("front", "--storage", url).returncode == 2
    assert cli("front", "--storage", url, "--allow-code", name).returncode == 0


def test_data_of_ones_own_need_trust_to_be_read(module: str, url: str) -> None:
    """A function that gives the data is run for who gave it; a study of it can be looked at by anybody."""
    name = f"{module}:ten"
    space = pn.MLPSpace(layers=1, widths=4, training=pn.TrainingSpace(epochs=1))
    task = {"type": "own", "function": name, "arguments": {"classes": 2}}
    study = pn.create_study("s", space=space, task=task, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    own._trusted.clear()
    again = pn.load_study(storage=url)
    assert len(again.pareto_front) == 1
    with pytest.raises(UntrustedCode, match=name):
        again.optimize(2, show_progress=False)
    assert pn.load_study(storage=url, trust=[name]).pick("knee").test_metrics().keys() == {"test_accuracy"}


@pytest.mark.parametrize("given", ["nets:", "nets make_net", "a:b:c", "os.system('x')"])
def test_what_is_no_name_of_code_is_refused(given: str, url: str, cli: Cli) -> None:
    """The message shows what a name looks like."""
    refusal = cli("front", "--storage", url, "--allow-code", given)
    assert refusal.returncode == 2
    assert "own code is named as in 'my.module:make_net' or 'my.module'" in refusal.stderr
