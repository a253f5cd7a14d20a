"""The examples run as their first lines say: a real search of each family, here of one candidate and epoch each."""

import importlib
import os
import runpy
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import torch

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

    Each is a process then. In short only those whose own code lies in ``__main__`` are, and language models read the
    docstrings of one package.
    """
    if request.config.getoption("--long"):
        printed = run(script, tmp_path)
    elif "__main__" in script.read_text(encoding="utf-8"):
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
        study = pn.load_study(name, storage=url)
        assert {trial.state for trial in study.trials} - {"refused"} == {"complete"}


@pytest.mark.slow
def test_the_winner_goes_into_a_project_of_its_own(small: pn.Study, tmp_path: Path) -> None:
    """The project is installed into an environment without paretonas, reads digits there, and trains the network on."""
    project = shutil.copytree(
        EXAMPLES / "training_project", tmp_path / "project", ignore=shutil.ignore_patterns("nets")
    )
    small.pick("best").export(project / "digit_reader" / "nets")
    python = environment(tmp_path / "venv")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps"]
    install += ["--no-build-isolation", "--quiet", "--editable", str(project)]
    subprocess.run(install, check=True, capture_output=True)
    work = tmp_path / "work"
    work.mkdir()

    def said(*arguments: str) -> str:
        alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        done = subprocess.run([python, *arguments], cwd=work, env=alone, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert said("-c", "import importlib.util; print(importlib.util.find_spec('paretonas'))").strip() == "None"
    came = float(said("-m", "digit_reader.classify").split()[-1])
    before, after = (float(line.split()[-1]) for line in said("-m", "digit_reader.train", "3").splitlines())
    assert before == came
    assert after > before + 0.1  # the pictures stand on their heads, and it has learned that
    assert float(said("-m", "digit_reader.classify").split()[-1]) == after


def environment(folder: Path) -> Path:
    """The interpreter of a new environment with all that this one has, but for paretonas."""
    venv.create(folder, with_pip=False, symlinks=True)
    (theirs,) = folder.glob("lib/python*/site-packages")
    for package in Path(torch.__file__).parents[1].iterdir():
        if (
            "paretonas" not in package.name
            and package.suffix not in (".pth", ".egg-link")
            and package.name != "__pycache__"
        ):
            (theirs / package.name).symlink_to(package)
    return folder / "bin" / "python"


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
