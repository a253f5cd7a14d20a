"""``benchmarks/search.py``: regret as it is defined, a simulation that spends what it says, and bad input."""

import csv
import importlib
import itertools
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SHIPPED = BENCHMARKS / "tables" / "digits.csv"
GENES = ["depth", "op"]
Write = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> SimpleNamespace:
    """The modules of the benchmark, as they are found beside its script."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        names = ("table", "simulation", "measure", "runs", "report", "strategies", "memo", "real")
        found = {name: importlib.import_module(f"search_{name}") for name in names}
        made = importlib.import_module("made_tables").KINDS
        return SimpleNamespace(**found, made=made, main=importlib.import_module("search").main)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A table of 20 networks in a file: the accuracy after each of 4 epochs, and what changes of it."""

    def call(change: Callable[[list[dict[str, Any]]], None] = lambda _: None) -> Path:
        rows: list[dict[str, Any]] = []
        for depth, (place, op) in itertools.product((1, 2, 4, 8, 16), enumerate(("none", "conv", "pool", "skip"))):
            end = 0.9 - 0.4 / depth + 0.02 * place
            curve = {f"accuracy@{epoch}": end * epoch / 4 for epoch in (1, 2, 3, 4)}
            costs = {"parameters": 100 * depth + place, "latency_ms": 0.1 + 0.02 * place}
            rows.append({"depth": depth, "op": op, "accuracy": end, **costs, **curve})
        change(rows)
        path = tmp_path / "table.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return call


@pytest.fixture
def run(
    benchmarks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """The command line, in this process; what it prints."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["search.py", "--processes", "1", *arguments])
        benchmarks.main()
        return capsys.readouterr().out

    return call


def read(
    benchmarks: SimpleNamespace, path: Path, minimize: Sequence[str] = ("parameters", "latency_ms"), **how: Any
) -> Any:
    """The table of a file."""
    return benchmarks.table.read_table(path, GENES, ["accuracy"], minimize, **how)


def simulated(benchmarks: SimpleNamespace, table: Any, strategy: str, trials: int, **how: Any) -> tuple[list[Any], int]:
    ended, missing = benchmarks.simulation.simulate(benchmarks.simulation.Job(table, strategy, 0, trials, **how))
    return list(ended), missing


# what a table says


def test_the_last_point_of_a_curve_is_what_counts(benchmarks: SimpleNamespace, write: Write) -> None:
    """Also where another column has the objective's name; epochs are those of the columns."""

    def other(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["accuracy"] = 0.0
            row["accuracy@10"] = row.pop("accuracy@4")

    table = read(benchmarks, write(other))
    assert table.epochs == (1, 2, 3, 10)
    assert table.cost == 10
    assert table.values[:, 0].tolist() == table.curves[:, -1].tolist()
    assert [goal.quality for goal in table.goals] == [True, False, False]


def test_rows_that_say_too_little_are_left_out(benchmarks: SimpleNamespace, write: Write) -> None:
    """An empty cell, no number, genes that were there before; infinite ones fail when they are trained."""

    def broken(rows: list[dict[str, Any]]) -> None:
        rows[0]["latency_ms"] = ""
        rows[1]["accuracy@2"] = "nan"
        rows[2].update(depth="2", op="conv")
        rows[5].update(depth="2", op="conv")
        rows[6]["latency_ms"] = "inf"

    table = read(benchmarks, write(broken))
    assert len(table) == 17
    assert table.fails.sum() == 1
    assert table.values[table.row_of["2", "conv"]].tolist()[1] == 102  # the first one
    assert [note.split()[0] for note in table.notes] == ["2", "1", "1"]


def test_none_is_a_word_of_a_gene(benchmarks: SimpleNamespace, write: Write) -> None:
    """As of a cell's edges; options of numbers stand in their order."""
    table = read(benchmarks, write())
    assert len(table) == 20
    assert table.options == {"depth": ["1", "2", "4", "8", "16"], "op": ["conv", "none", "pool", "skip"]}
    assert table.features[0] == {"depth": "1", "op": "none"}


def test_a_quality_may_be_minimized(benchmarks: SimpleNamespace, write: Write) -> None:
    """It is that which has the curve; otherwise the first, as nothing else could be learnt."""

    def named(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            for epoch in (1, 2, 3, 4):
                row[f"error@{epoch}"] = 1 - row.pop(f"accuracy@{epoch}")

    table = benchmarks.table.read_table(write(named), GENES, [], ["parameters", "error"], curve="error@")
    assert [(goal.name, goal.quality) for goal in table.goals] == [("parameters", False), ("error", True)]
    assert simulated(benchmarks, table, "paretonas", 8)[0]


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        (None, ["--genes", "depht,op"], "no column 'depht': did you mean 'depth'"),
        (None, ["--genes", ""], "--genes"),
        (None, ["--maximize", "top1"], "no column 'top1'"),
        (None, ["--maximize", "op", "--genes", "depth"], "an objective is a number, .* has 'conv'"),
        (None, ["--maximize", "", "--minimize", ""], "something to search for"),
        (None, ["--minimize", "accuracy"], "named twice"),
        (None, ["--curve", "loss@"], "a learning curve is columns such as loss@1"),
        (None, ["--trials", "21"], "a table needs a row for each trial, .* has 20"),
        (None, ["--trials", "0"], "--trials must be above 0, 0 was given"),
        (None, ["--seeds", "-1"], "--seeds must be above 0"),
        (None, ["--workers", "0"], "--workers must be above 0"),
        (None, ["--strategies", "tpe,anneal"], "unknown strategy 'anneal'.*tpe_multivariate"),
        (None, ["--strategies", ","], "a strategy is needed"),
        (None, ["--stopping", "never"], "unknown stopping 'never'.*forecast"),
        (None, ["--failing", "accuracy"], "a cost, 'accuracy' is none"),
        (None, ["--json", "/no/such/folder/out.json"], "a folder that exists"),
        ("", [], "has 20 rows and none is whole"),
        ("inf", [], "every row of .* has an infinite value"),
        ("many", [], "an objective is a number, .* has 'many'"),
    ],
)
def test_bad_input_is_one_sentence(
    change: str | None,
    arguments: list[str],
    said: str,
    run: Callable[..., str],
    write: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And exit status 2, before anything runs."""

    def changed(rows: list[dict[str, Any]]) -> None:
        for row in rows if change is not None else ():
            row["parameters"] = change

    good = ["--genes", "depth,op", "--maximize", "accuracy", "--minimize", "parameters", "--trials", "5"]
    with pytest.raises(SystemExit) as end:
        run("--table", str(write(changed)), *good, *arguments)
    out, error = capsys.readouterr()
    assert end.value.code == 2
    assert error.count("\n") == 1
    assert re.search(said, error), error
    assert not out


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe\x01", b"depth,op\n"], ids=["empty", "binary", "no rows"])
def test_a_file_that_is_no_table_is_one_sentence(
    content: bytes, run: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So is a file that is not there."""
    path = tmp_path / "table.csv"
    for written in (True, False):
        path.unlink(missing_ok=True)
        if written:
            path.write_bytes(content)
        with pytest.raises(SystemExit) as end:
            run("--table", str(path), "--genes", "depth", "--maximize", "accuracy")
        assert end.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1


# regret


def test_regret_is_that_of_the_definition(benchmarks: SimpleNamespace, tmp_path: Path) -> None:
    """Accuracy and the logarithm of a cost, scaled to their range; worked out by hand.

    Of three networks at (0, 1), (0.5, 0.25) and (1, 0) in losses, the front has 0.5 * 0.75 = 0.375.
    """
    path = tmp_path / "three.csv"
    path.write_text(f"a,accuracy,parameters\n0,0.9,10000\n1,0.5,{10 * 1000**0.25}\n2,0.1,10\n")
    table = benchmarks.table.read_table(path, ["a"], ["accuracy"], ["parameters"])
    begun = benchmarks.runs.Begun
    run = [begun(str(row), 1, table.values_of(row), "finished", 0.0) for row in (0, 2, 1)]
    found = benchmarks.report.table_report(table, {"random": [run]}, {"random": [0]}, 3)["random"]
    assert found["runs"][0]["regret"] == pytest.approx([1, 1, 0], abs=1e-9)
    assert benchmarks.measure.hypervolume(table.losses) == pytest.approx(0.375)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.integers(1, 9), st.booleans()), min_size=1, max_size=30))
def test_progress_is_the_hypervolume_of_what_finished(
    benchmarks: SimpleNamespace, drawn: list[tuple[float, float, int, bool]]
) -> None:
    """At every cost, and it never falls."""
    measure, begun = benchmarks.measure, benchmarks.runs.Begun
    run = [
        begun(str(at), cost, {"x": x, "y": y} if finished else None, "finished" if finished else "stopped", 0.0)
        for at, (x, y, cost, finished) in enumerate(drawn)
    ]
    costs, volumes = measure.progress(run, lambda one: np.array([one.values["x"], one.values["y"]]))
    assert (np.diff(volumes) >= 0).all()
    for number in range(1, len(run) + 1):
        there = [(x, y) for x, y, _, finished in drawn[:number] if finished]
        expected = measure.hypervolume(np.array(there).reshape(-1, 2))
        assert volumes[number - 1] == pytest.approx(expected, abs=1e-12)
        spent = sum(cost for _, _, cost, _ in drawn[:number])
        assert measure.at_cost(costs, volumes, spent) == volumes[number - 1]
        assert measure.at_cost(costs, volumes, spent - 0.5) == (volumes[number - 2] if number > 1 else 0.0)


def test_real_runs_compare_at_equal_epochs(benchmarks: SimpleNamespace) -> None:
    """TPE has all after 30 of 30 full trainings; one that has more after 3 needs a tenth, and is behind nobody who has
    not more than it.
    """
    begun, goal = benchmarks.runs.Begun, importlib.import_module("paretonas.search.goals").Goal
    goals = [goal("accuracy", "maximize", quality=True), goal("parameters", "minimize", quality=False)]

    def steps(*ends: tuple[int, float]) -> list[Any]:
        found = []
        for number in range(1, 31):
            accuracy = max((a for at, a in ends if at == number), default=0.0)
            found.append(
                begun(
                    str(number),
                    13,
                    {"accuracy": accuracy, "parameters": 10 if accuracy else 1000},
                    "finished",
                    0.1,
                    1.0,
                )
            )
        return found

    runs = {
        "tpe": [steps((2, 0.5), (30, 0.9))] * 3,
        "paretonas": [steps((3, 1.0))] * 3,
        "random": [steps((25, 0.6))] * 3,
        "gp": [steps((3, 0.9), (28, 1.1))] * 3,
        "nsga2": [steps((4, 1.1))] * 3,
    }
    found = benchmarks.report.real_report(runs, goals, 30, 390)
    assert found["tpe"]["share_of_the_epochs_of_tpe"] == 1
    assert found["paretonas"]["share_of_the_epochs_of_tpe"] == pytest.approx(0.1)
    assert found["paretonas"]["epochs_for_what_tpe_has"] == 39
    assert found["random"]["epochs_for_what_tpe_has"] is None
    ahead = {name: one["ahead_of_ours_at_trainings"] for name, one in found.items()}
    assert ahead == {"tpe": [], "paretonas": [], "random": [], "gp": [28, 29, 30], "nsga2": list(range(20, 31))}
    assert found["tpe"]["proposal_share_of_training"] == pytest.approx(0.1)


# simulation


def test_baselines_train_in_full_and_repeats_count(benchmarks: SimpleNamespace, write: Write) -> None:
    """30 draws out of 20 repeat some; each costs all its epochs."""
    table = read(benchmarks, write())
    run, missing = simulated(benchmarks, table, "random", 30)
    assert [one.cost for one in run] == [4] * 30
    assert {one.state for one in run} == {"finished"}
    assert benchmarks.measure.repeated(run) >= 10
    assert missing == 0


@pytest.mark.parametrize("strategy", ["random", "tpe", "tpe_multivariate", "nsga2", "gp"])
def test_a_setting_without_a_row_is_no_evaluation(benchmarks: SimpleNamespace, write: Write, strategy: str) -> None:
    """It is counted apart, and no sampler is lost in a table that has a quarter of the settings."""

    def few(rows: list[dict[str, Any]]) -> None:
        rows[:] = [row for place, row in enumerate(rows) if place % 5 == 0 or place == 1]

    table = read(benchmarks, write(few))
    run, missing = simulated(benchmarks, table, strategy, 8)
    assert len(run) == 8
    assert missing > 0
    assert all(one.state == "finished" for one in run)


def test_ours_begins_nothing_twice_and_ends_with_the_table(benchmarks: SimpleNamespace, write: Write) -> None:
    """What it stopped cost less than a full training; a table without curves has nothing to stop."""
    table = read(benchmarks, write())
    run, missing = simulated(benchmarks, table, "paretonas", 20)
    assert sorted(int(one.key) for one in run) == list(range(20))
    assert missing == 0
    assert all((one.cost == 4) == (one.state == "finished") for one in run)
    assert all((one.values is None) == (one.state == "stopped") for one in run)

    def no_curve(rows: list[dict[str, Any]]) -> None:
        rows[:] = [{name: cell for name, cell in row.items() if "@" not in name} for row in rows]

    run, _ = simulated(benchmarks, read(benchmarks, write(no_curve)), "paretonas", 20)
    assert {(one.state, one.cost) for one in run} == {("finished", 1)}


@pytest.mark.parametrize("strategy", ["paretonas", "rungs", "random"])
def test_workers_end_what_they_began(benchmarks: SimpleNamespace, write: Write, strategy: str) -> None:
    """8 at a time: as many as asked for, in an order of their own, and ours not one twice."""
    table = read(benchmarks, write())
    run, _ = simulated(benchmarks, table, strategy, 16, workers=8)
    assert len(run) == 16
    if strategy == "paretonas":
        assert benchmarks.measure.repeated(run) == 0
    again, _ = simulated(benchmarks, table, strategy, 16, workers=8)
    assert [(one.key, one.cost) for one in again] == [(one.key, one.cost) for one in run]


def test_what_fails_costs_an_epoch_and_is_off_the_front(benchmarks: SimpleNamespace, write: Write) -> None:
    """Half of the networks run out of memory: they count as evaluations, without values."""
    table = read(benchmarks, write(), failing="parameters")
    assert table.fails.sum() == 10  # above the median, 401.5
    run, _ = simulated(benchmarks, table, "random", 30)
    failed = [one for one in run if one.state == "failed"]
    assert failed
    assert all(table.fails[int(one.key)] and one.cost == 1 and one.values is None for one in failed)
    assert 0 < benchmarks.measure.wasted(run) < 1


@pytest.mark.parametrize("scale", [1e-9, 1e12])
def test_constants_and_scales_do_not_matter(benchmarks: SimpleNamespace, write: Write, scale: float) -> None:
    """The same rows are proposed whatever the unit of a cost; one that is constant is said and harmless."""

    def scaled(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["parameters"] *= scale
            row["latency_ms"] = 0.25

    table = read(benchmarks, write(scaled))
    assert any("latency_ms is 0.25 in every row" in note for note in table.notes)
    assert math.isfinite(benchmarks.measure.hypervolume(table.losses))
    run, _ = simulated(benchmarks, table, "paretonas", 10)
    assert len(run) >= 10


# the command


def test_the_shipped_table_runs_and_ours_needs_less(run: Callable[..., str], tmp_path: Path) -> None:
    """From one line to figures and curves in JSON, with 4 workers beside."""
    out = tmp_path / "out.json"
    how = ("--strategies", "paretonas,random,rungs", "--stopping", "none", "--workers", "4")
    printed = run("--seeds", "1", "--trials", "20", *how, "--json", str(out))
    found = json.loads(out.read_text())
    assert list(found["strategies"]) == ["paretonas", "random", "rungs", "paretonas, 4 workers"]
    assert set(found["loss_of_workers"]) == {"20"}
    ours, random = (found["strategies"][name] for name in ("paretonas", "random"))
    assert ours["repeated"] == 0
    assert ours["regret_at_evaluations"]["20"] < random["regret_at_evaluations"]["20"] / 1.5
    for one in found["strategies"].values():
        for curve in one["runs"]:
            assert len(curve["cost"]) == len(curve["regret"]) >= 20
            assert (np.diff(curve["regret"]) <= 1e-12).all()
            assert (np.diff(curve["cost"]) > 0).all()
    assert all(name in printed for name in found["strategies"])
    assert found["rows"] == len(SHIPPED.read_text().splitlines()) - 1


def test_real_trainings_are_replayed(
    run: Callable[..., str], tmp_path: Path, benchmarks: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run trains nothing and says the same, also beside the half line of a process that was killed."""
    cache, out = tmp_path / "cache.jsonl", tmp_path / "out.json"
    command = ("--real", "digits", "--trials", "2", "--seeds", "1", "--strategies", "tpe,rungs")
    run(*command, "--cache", str(cache), "--json", str(out))
    first = json.loads(out.read_text())["strategies"]
    assert first["tpe"]["epochs"] == 26
    with cache.open("a") as file:
        file.write('{"task": "digits", "se')
    monkeypatch.setattr(benchmarks.real, "evaluate", lambda *_, **__: pytest.fail("it was trained again"))
    run(*command, "--cache", str(cache), "--json", str(out))
    again = json.loads(out.read_text())["strategies"]
    assert [again[name]["runs"] for name in again] == [first[name]["runs"] for name in first]


def test_ours_really_trains(run: Callable[..., str], tmp_path: Path) -> None:
    """A study by the public API, in a store of its own, until the epochs of a full training are spent."""
    out = tmp_path / "out.json"
    run("--real", "digits", "--trials", "1", "--seeds", "1", "--strategies", "paretonas", "--json", str(out))
    found = json.loads(out.read_text())["strategies"]["paretonas"]
    assert found["repeated"] == 0
    assert found["epochs"] >= 13
    assert found["runs"][0]["hypervolume"][-1] == 1  # its own box
    assert found["proposal_share_of_training"] > 0


def test_processes_end_with_a_benchmark_that_is_killed() -> None:
    """What trained beside it does not go on for nobody."""
    command = (sys.executable, str(BENCHMARKS / "search.py"), "--processes", "2", "--trials", "150", "--seeds", "9")
    benchmark = psutil.Popen([*command, "--strategies", "paretonas"], stdout=subprocess.DEVNULL)
    beside: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while sum(one.cpu_times().user > 3 for one in beside) < 2:  # both are at work
        assert benchmark.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
        beside = [one for one in benchmark.children() if "spawn_main" in " ".join(one.cmdline())]
    benchmark.kill()
    benchmark.wait()
    _, alive = psutil.wait_procs(beside, timeout=10)
    for one in alive:
        one.kill()
    assert not alive


# tables that nobody trained


@pytest.mark.parametrize(("kind", "networks", "curves"), [("widths", 32_768, 0), ("training", 62_208, 20)])
def test_a_made_table_has_every_network_once_and_is_the_same_again(
    benchmarks: SimpleNamespace, kind: str, networks: int, curves: int
) -> None:
    """Accuracies and costs are in their range, and larger networks are better in the middle, as in published tables."""
    rows = list(benchmarks.made[kind]())
    first = list(itertools.islice(benchmarks.made[kind](), 50))
    assert rows[:50] == first
    costs = {"accuracy", "parameters", "latency_ms"}
    genes = [name for name in rows[0] if name not in costs and "@" not in name]
    assert len({tuple(row[name] for name in genes) for row in rows}) == len(rows) == networks
    assert sum("@" in name for name in rows[0]) == curves
    ends = np.array([row[f"accuracy@{curves}" if curves else "accuracy"] for row in rows])
    counts = np.array([row["parameters"] for row in rows])
    assert 0 < ends.min() < ends.max() < (1 if curves else 100)
    assert min(row["latency_ms"] for row in rows) > 0
    assert np.median(ends[counts > np.median(counts)]) > np.median(ends[counts <= np.median(counts)])
