"""What several files share: finished studies, and the command line in this process and in others."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import optuna
import pytest
import torch

import paretonas as pn
from paretonas.errors import StudyError
from paretonas.search.cli import main

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=1)
COMMAND = [sys.executable, "-m", "paretonas"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--long``: the slow proofs in full."""
    parser.addoption("--long", action="store_true", help="run the slow proofs in full, not in their short form")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, unless ``--long``, what only proves once more what other tests prove."""
    if not config.getoption("--long"):
        for item in items:
            if "long" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="one more case of a proof; runs if --long is given"))


@pytest.fixture(scope="session", autouse=True)
def quiet() -> None:
    """Optuna says nothing, and torch takes one core: others need the rest."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Ctrl-C reaches this process also where a shell started it in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store of the test's own, not made yet."""
    return f"sqlite:///{tmp_path / 'nas.db'}"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A finished study of eight small convolutional networks, alone in its store. To be read only."""
    folder = tmp_path_factory.mktemp("small")
    space = pn.ConvSpace(layers=(1, 3), widths=[4, 8], hidden_layers=(0, 1), hidden_widths=8, training=BRIEF)
    study = pn.create_study("small", space=space, storage=f"sqlite:///{folder / 'nas.db'}")
    study.optimize(8, show_progress=False)
    return study


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """An exhausted study: of six candidates four succeed, two ask for 256 TB of memory, and all were proposed again
    and again. To be read only.
    """
    folder = tmp_path_factory.mktemp("mixed")
    space = pn.MLPSpace(layers=1, widths=[4, 8, 10**12], activations=["relu", "tanh"], pruning=0.0, training=BRIEF)
    study = pn.create_study(
        "mixed",
        space=space,
        objectives=["accuracy", "parameters"],
        storage=f"sqlite:///{folder / 'nas.db'}",
        sampler="tpe",  # ours never proposes what is known
    )
    with pytest.raises(StudyError, match="exhausted"):
        study.optimize(7, show_progress=False)
    return study


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command line in this process, through the same door as ``paretonas``."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["paretonas", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return subprocess.CompletedProcess(list(arguments), int(end.value.code or 0), out, err)

    return call


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command line in a process of its own; what still runs at the end of the test is killed.

    by: what starts it, in the place of ``python -m paretonas``.
    """
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: str, by: Sequence[str] = COMMAND) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*by, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()
