"""Trains every network of a small space on digits: the table that ``benchmarks/search.py`` runs on without training.

    python benchmarks/make_table.py [--csv benchmarks/tables/digits.csv] [--networks 384] [--latencies]

A row is a network of ``pn.ConvSpace``: its genes; accuracy on the validation split (360 digits) after the last of 10
epochs, and after each as ``accuracy@1`` to ``accuracy@10``; parameters; MACs; and the latency of one example on one
thread in milliseconds, measured at two moments or, where these were noisy, up to five. n is one training a network,
seed 0. Takes 8 minutes of one core; started again, it goes on where it was stopped. The table that ships was trained
and timed with one thread on an Intel Xeon (x86-64, 2 cores) that had other work to do.
"""

import argparse
import csv
import itertools
import os
import platform
import random
import time
from collections.abc import Mapping
from pathlib import Path

import torch

import paretonas as pn
from paretonas.objectives import Latency, LocalBench, as_task, macs, parameters, train
from paretonas.objectives.latency import cpu_model, joined

GENES: dict[str, tuple[str | int | float, ...]] = {
    "layers": (1, 2, 3, 4),
    "width": (4, 8, 16, 32),
    "kernel": (3, 5),
    "activation": ("relu", "silu"),
    "pooling": ("max", "stride"),
    "learning_rate": (3e-3, 1e-2, 3e-2),
}
EPOCHS = 10
COSTS = ("parameters", "macs", "latency_ms")
COLUMNS = (*GENES, "accuracy", *COSTS, *(f"accuracy@{epoch}" for epoch in range(1, EPOCHS + 1)))
TABLE = Path(__file__).parent / "tables" / "digits.csv"


def every_gene_setting() -> list[dict[str, str]]:
    """All settings, as words; the architectures in an order drawn once, so that a part of them is a fair sample."""
    *structure, rates = GENES.values()
    architectures = list(itertools.product(*structure))
    random.Random(0).shuffle(architectures)  # noqa: S311 - no secret
    every = itertools.product(architectures, rates)
    return [{name: str(gene) for name, gene in zip(GENES, (*genes, rate), strict=True)} for genes, rate in every]


def candidate_of(genes: Mapping[str, str], data: pn.DataSpec) -> pn.Candidate:
    """The one candidate of these genes."""
    space = pn.ConvSpace(
        layers=int(genes["layers"]),
        stages=2,
        widths=int(genes["width"]),
        kernels=int(genes["kernel"]),
        activations=genes["activation"],
        pooling=genes["pooling"],
        sharing="none",
        pruning=0.0,
    ).replace_training(epochs=EPOCHS, learning_rate=float(genes["learning_rate"]))
    return space.sample(data)


def row_of(genes: Mapping[str, str], data: pn.Data) -> dict[str, str]:
    """Train one network and give its row, all but its latency."""
    candidate = candidate_of(genes, data.spec)
    network = pn.build(candidate.architecture, seed=0)
    costs = {"parameters": str(parameters(network)), "macs": str(macs(candidate.architecture))}
    scores = [f"{epoch.score:.6f}" for epoch in train(network, data, candidate.training, seed=0)]
    curve = {f"accuracy@{number}": score for number, score in enumerate(scores, 1)}
    return {**genes, "accuracy": scores[-1], **costs, "latency_ms": "", **curve}


def write_latencies(path: Path, bench: LocalBench, *, again: bool) -> None:
    """Write the latency of each architecture of a table into its rows. again: also where one stands there."""
    rows = rows_of(path)
    known = {structure_of(row): row["latency_ms"] for row in rows if row["latency_ms"] and not again}
    noises = [0.0]
    for row in rows:
        if structure_of(row) not in known:
            latency = latency_of(candidate_of(row, bench.data.spec).architecture, bench)
            known[structure_of(row)] = f"{latency.latency_ms:.5f}"
            noises.append(latency.noise)
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(row | {"latency_ms": known[structure_of(row)]} for row in rows)
    unfinished.replace(path)
    print(f"{len(noises) - 1} architectures timed on {cpu_model()}, noise at most {max(noises):.1%}")


def latency_of(architecture: pn.Architecture, bench: LocalBench) -> Latency:
    """The time of one example, measured at as many moments as it takes to rely on it."""
    deployed = pn.Deployed(pn.build(architecture, seed=0).eval(), architecture)
    latency = bench.time(deployed)
    while not latency.settled:
        latency = joined(latency, bench.time(deployed))
    return latency


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table, none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def structure_of(row: Mapping[str, str]) -> tuple[str, ...]:
    """What a row's latency depends on."""
    return tuple(row[name] for name in GENES if name != "learning_rate")


def main() -> None:
    """Append the rows that are not there yet, and time them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=TABLE, help="what is written (default benchmarks/tables)")
    parser.add_argument("--networks", type=int, help="train no more than so many in all")
    parser.add_argument("--latencies", action="store_true", help="measure all latencies again, train nothing else")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = 1 training a network")
    data, began = as_task("digits").load(), time.perf_counter()
    done = {tuple(row[name] for name in GENES) for row in rows_of(asked.csv)}
    asked.csv.parent.mkdir(parents=True, exist_ok=True)
    with asked.csv.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        for genes in every_gene_setting()[: asked.networks]:
            if tuple(genes.values()) not in done and not asked.latencies:
                writer.writerow(row_of(genes, data))
                file.flush()
    write_latencies(asked.csv, LocalBench(data), again=asked.latencies)
    print(f"{len(rows_of(asked.csv))} rows, {len(done)} of them from before, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
