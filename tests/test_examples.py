"""The examples run as their first lines say: a real search of each family, here of one candidate each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import paretonas as pn

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "texts.py")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_an_example_runs(script: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """It ends well and leaves a study in which every candidate came to an end; in full with ``--long``."""
    short = [] if request.config.getoption("--long") else ["1"]
    environment = {**os.environ, "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), *short],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "test_" in done.stdout
    assert f"python examples/{script.name}" in script.read_text(encoding="utf-8")
    for name in names(done.stderr):
        study = pn.load_study(name, storage=f"sqlite:///{tmp_path / 'examples.db'}", trust=["__main__:make_net"])
        assert {trial.state for trial in study.trials} == {"complete"}


def names(log: str) -> list[str]:
    """The studies that a run made, as Optuna's log says."""
    found = [line.rsplit(": ", 1)[1] for line in log.splitlines() if "A new study created" in line]
    assert found
    return found
