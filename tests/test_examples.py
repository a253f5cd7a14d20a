"""The examples run as their first lines say: a real search of each family, here of one candidate and epoch each."""

import importlib
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import paretonas as pn
from paretonas.storage import Store

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "texts.py")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs(
    script: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It ends well and leaves a study in which every candidate came to an end; with ``--long`` in full.

    Each is a process then. In short only the one whose own network lies in ``__main__`` is, and language models read
    the docstrings of one package.
    """
    if request.config.getoption("--long"):
        printed = run(script, tmp_path)
    elif script.stem == "own_module":
        printed = run(script, tmp_path, "1")
    else:
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setattr(sys, "argv", [str(script), "1"])
        monkeypatch.setattr(pn, "TrainingSpace", brief)
        if "language" in script.stem:
            texts = importlib.import_module("texts")
            monkeypatch.setattr(texts, "PACKAGES", texts.PACKAGES[:1])
        runpy.run_path(str(script), run_name="__main__")
        printed = capsys.readouterr().out
    assert "test_" in printed
    assert f"python examples/{script.name}" in script.read_text(encoding="utf-8")
    url = f"sqlite:///{tmp_path / 'examples.db'}"
    names = Store(url).study_names()
    assert names
    for name in names:
        study = pn.load_study(name, storage=url, trust=["__main__:make_net"])
        assert {trial.state for trial in study.trials} == {"complete"}


def run(script: Path, folder: Path, *arguments: str) -> str:
    """What a process of its own prints."""
    environment = {**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def brief(training: type[pn.TrainingSpace] = pn.TrainingSpace, **given: Any) -> pn.TrainingSpace:
    """Training as an example asks for it, of one epoch."""
    return training(**{**given, "epochs": 1, "finetune_epochs": 1})
