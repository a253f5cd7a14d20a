"""The shipped table is of the networks that it says, and the training-free proxies are what their papers say."""

import csv
import importlib
import math
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import paretonas as pn
from paretonas.objectives import as_task, macs, parameters

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
DIGITS = pn.DataSpec((1, 8, 8), 10)
NO_LABELS = torch.zeros(0, dtype=torch.int64)


@pytest.fixture(scope="module")
def proxies() -> Iterator[ModuleType]:
    """The benchmark, imported as a script finds its neighbours."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("proxies")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def make_table(proxies: ModuleType) -> ModuleType:  # noqa: ARG001 - it makes room for the import
    """The script that writes the table."""
    return importlib.import_module("make_table")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The shipped table."""
    with (BENCHMARKS / "tables" / "digits.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class TestTable:
    """benchmarks/tables/digits.csv, which ships."""

    def test_it_has_every_setting_once(self, make_table: ModuleType, rows: list[dict[str, str]]) -> None:
        """Not a row is missing, and none is there twice."""
        settings = [tuple(row[name] for name in make_table.GENES) for row in rows]
        assert sorted(settings) == sorted(tuple(genes.values()) for genes in make_table.every_gene_setting())
        assert list(rows[0]) == list(make_table.COLUMNS)

    def test_curves_end_at_the_accuracy(self, make_table: ModuleType, rows: list[dict[str, str]]) -> None:
        """Shares of 360 digits, and the last of the curve is what counts."""
        for row in rows:
            curve = [float(row[f"accuracy@{epoch}"]) for epoch in range(1, make_table.EPOCHS + 1)]
            assert curve[-1] == float(row["accuracy"])
            assert all(0 <= score <= 1 and abs(score * 360 - round(score * 360)) < 1e-3 for score in curve)

    def test_its_costs_are_those_of_its_networks(self, make_table: ModuleType, rows: list[dict[str, str]]) -> None:
        """The genes lead back to the network; the latency is that of its architecture, whatever the learning rate."""
        latencies: dict[tuple[str, ...], set[str]] = {}
        for row in rows:
            latencies.setdefault(make_table.structure_of(row), set()).add(row["latency_ms"])
        assert all(len(of_one) == 1 for of_one in latencies.values())
        for row in rows[::23]:
            candidate = make_table.candidate_of(row, DIGITS)
            assert int(row["parameters"]) == parameters(pn.build(candidate.architecture))
            assert int(row["macs"]) == macs(candidate.architecture)
            assert candidate.training.learning_rate == float(row["learning_rate"])

    def test_it_goes_on_where_it_was_stopped(
        self, make_table: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A second run trains no network again, and measures what has one architecture once."""
        path, threads, trained = tmp_path / "table.csv", torch.get_num_threads(), []
        row_of = make_table.row_of

        def noted(genes: dict[str, str], data: pn.Data) -> dict[str, str]:
            trained.append(genes)
            return cast("dict[str, str]", row_of(genes, data))

        monkeypatch.setattr(make_table, "row_of", noted)
        for networks in ("1", "2"):
            monkeypatch.setattr(sys, "argv", ["make_table.py", "--csv", str(path), "--networks", networks])
            make_table.main()
        torch.set_num_threads(threads)
        first, second = make_table.rows_of(path)
        assert trained == make_table.every_gene_setting()[:2]
        assert float(first["latency_ms"]) > 0
        assert first["latency_ms"] == second["latency_ms"]
        assert first["accuracy@10"] != second["accuracy@10"]  # another learning rate


class TestProxies:
    """Scores of networks with fresh weights."""

    @given(st.lists(st.integers(1, 5), min_size=2, max_size=5))
    def test_synflow_counts_the_flow_once_a_layer(self, proxies: ModuleType, widths: list[int]) -> None:
        """Without biases each layer's weights hold the whole flow (Tanaka et al. 2020, theorem 1)."""
        layers = [nn.Linear(before, width, bias=False).double() for before, width in pairwise(widths)]
        flow = torch.ones(1, widths[0], dtype=torch.float64)
        for layer in layers:
            flow = flow @ layer.weight.abs().T
        expected = math.log(len(layers) * flow.sum().item())
        assert proxies.synflow(nn.Sequential(*layers), torch.zeros(3, widths[0]), NO_LABELS) == pytest.approx(expected)

    @given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
    def test_naswot_of_two_examples(self, proxies: ModuleType, codes: list[tuple[bool, bool]]) -> None:
        """N units of which d differ: the determinant is N^2 - (N - d)^2, and 0 of examples that are not told apart."""
        x = torch.tensor(codes).T.float() - 0.5
        units, alike = len(codes), sum(one == two for one, two in codes)
        score = proxies.naswot(nn.Sequential(nn.ReLU()), x, NO_LABELS)
        assert score == pytest.approx(math.log(units**2 - alike**2)) if alike < units else score < -20

    def test_gradient_norm_of_a_linear_network(self, proxies: ModuleType) -> None:
        """With weights of zero all classes are as likely: the gradient is (p - y) x."""
        network = nn.Linear(3, 4, bias=False)
        nn.init.zeros_(network.weight)
        x = torch.tensor([[1.0, 2.0, 2.0]])
        expected = math.log(3 * math.sqrt(0.75**2 + 3 * 0.25**2))
        assert proxies.gradient_norm(network, x, torch.tensor([1])) == pytest.approx(expected, rel=1e-5)

    def test_zen_grows_with_depth_whatever_the_weights(self, proxies: ModuleType, make_table: ModuleType) -> None:
        """It draws weights of its own, and deeper networks are more expressive (Lin et al. 2021, section 3)."""

        def score(layers: int, seed: int) -> float:
            genes = {"layers": str(layers), "width": "16", "kernel": "3", "activation": "relu", "pooling": "max"}
            architecture = make_table.candidate_of(genes | {"learning_rate": "0.01"}, DIGITS).architecture
            return float(proxies.zen(pn.build(architecture, seed=seed), torch.zeros(2, 1, 8, 8), NO_LABELS))

        assert score(1, 0) == score(1, 1) < score(2, 0) < score(4, 0)

    def test_every_proxy_of_a_row_is_finite(self, proxies: ModuleType, rows: list[dict[str, str]]) -> None:
        """Also of the smallest network and the largest."""
        data = as_task("digits").load()
        ends = sorted(rows, key=lambda row: int(row["parameters"]))
        for row in (ends[0], ends[-1]):
            assert all(map(math.isfinite, proxies.scores_of(row, data).values()))

    def test_regret_falls_to_nothing(self, proxies: ModuleType, rows: list[dict[str, str]]) -> None:
        """It never rises, and is 0 when all is tried."""
        some = rows[::32]
        features: list[dict[str, str]] = [{name: row[name] for name in proxies.GENES} for row in some]
        found = proxies.regrets(some, features, len(some), 0)
        assert len(found) == len(some)
        assert found == sorted(found, reverse=True)
        assert found[-1] == pytest.approx(0)
