"""Whether what an untrained network says of itself foretells its accuracy, and helps the search, in one run.

    python benchmarks/proxies.py [--csv benchmarks/tables/digits.csv] [--seeds 5] [--trials 100]

Training-free proxies of the networks of the table that ``make_table.py`` writes, with fresh weights and one batch of 64
training examples; parameters and MACs are the baseline to beat. First the rank correlation of each with the accuracy
after training: over all rows, over architectures at their best learning rate, and over the better half of those. Then
the hypervolume regret of the search (accuracy, parameters, latency) with each proxy among the surrogate's features, and
with none: it knows the costs anyway. Median over the seeds, in brackets their mean, and how many were better than with
none. Takes about a minute a seed.
"""

import argparse
import csv
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import moocore
import numpy as np
import torch
from make_table import GENES, TABLE, candidate_of, structure_of  # type: ignore[import-not-found]
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from torch import Tensor, nn

import paretonas as pn
from paretonas.objectives import as_task, macs, parameters
from paretonas.search.gain import Option, Seen, expected_gains
from paretonas.search.goals import Goal
from paretonas.search.inputs import Features
from paretonas.spaces.blocks.common import ACTIVATIONS

Row = Mapping[str, str]
GOALS = (
    Goal("accuracy", "maximize", quality=True, best=1.0),
    Goal("parameters", "minimize", quality=False),
    Goal("latency_ms", "minimize", quality=False),
)
BUDGETS = (20, 50, 100)
BATCH = 64
ZEN_BATCH, ZEN_STEP, ZEN_REPEATS = 16, 0.01, 4
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


@contextmanager
def inputs_of(network: nn.Module, kinds: tuple[type[nn.Module], ...]) -> Iterator[list[Tensor]]:
    """What comes to the modules of these kinds, in the order in which they run."""
    found: list[Tensor] = []
    handles = [
        module.register_forward_pre_hook(lambda _, args: found.append(args[0]))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def synflow(network: nn.Module, x: Tensor, _: Tensor) -> float:
    """Log of the sum of |w * dR/dw|, where R is what ones become under absolute weights (Tanaka et al. 2020, eq. 2)."""
    network = network.double().eval()
    learned = list(network.parameters())
    with torch.no_grad():
        for weight in learned:
            weight.abs_()
    flow = network(torch.ones(1, *x.shape[1:], dtype=torch.float64)).sum()
    slopes = torch.autograd.grad(flow, learned, materialize_grads=True)
    return math.log(
        sum(float((slope * weight.detach()).abs().sum()) for slope, weight in zip(slopes, learned, strict=True))
    )


def naswot(network: nn.Module, x: Tensor, _: Tensor) -> float:
    """Log |det K|, K(i, j) the units that two examples switch alike (Mellor et al. 2021, eq. 2); on: input above 0."""
    with torch.no_grad(), inputs_of(network.train(), tuple(ACTIVATIONS.values())) as found:
        network(x)
    codes = torch.cat([(each > 0).flatten(1) for each in found], dim=1).double()
    alike = codes @ codes.T + (1 - codes) @ (1 - codes).T
    return float(torch.linalg.slogdet(alike).logabsdet)


def zen(network: nn.Module, x: Tensor, _: Tensor) -> float:
    """How far the last map moves with its input under normal weights, plus the log of what each norm divided by.

    Lin et al. 2021, algorithm 1.
    """
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
                module.weight.normal_(generator=draw)
        scores = [_moved(network, (ZEN_BATCH, *x.shape[1:]), draw) for _ in range(ZEN_REPEATS)]
    return statistics.mean(scores)


def _moved(network: nn.Module, shape: Sequence[int], draw: torch.Generator) -> float:
    """One draw of the Zen score."""
    here = torch.randn(*shape, generator=draw)
    there = here + ZEN_STEP * torch.randn(*shape, generator=draw)
    last = type(network.get_submodule(f"block{_readout(network)}"))
    with inputs_of(network.train(), (last,)) as maps, inputs_of(network, NORMS) as normed:
        network(here)
        of_here = list(normed)
        network(there)
    apart = (maps[0] - maps[1]).flatten(1).norm(dim=1).mean()
    over = [(0, *range(2, each.dim())) for each in of_here]
    scales = [each.var(axes, correction=0).mean().sqrt() for each, axes in zip(of_here, over, strict=True)]
    return float(apart.log() + sum(scale.log() for scale in scales))


def _readout(network: nn.Module) -> int:
    """The index of the block that makes features of the last map."""
    assert isinstance(network.architecture, pn.Architecture)
    return next(i for i, block in enumerate(network.architecture.blocks) if block.op.startswith("global_average_pool"))


def gradient_norm(network: nn.Module, x: Tensor, y: Tensor) -> float:
    """Log of the norm of the loss's gradient (Abdelfattah et al. 2021, section 3.2)."""
    loss = nn.functional.cross_entropy(network.train()(x), y)
    slopes = torch.autograd.grad(loss, list(network.parameters()), materialize_grads=True)
    return 0.5 * math.log(sum(float(slope.pow(2).sum()) for slope in slopes))


PROXIES: dict[str, Callable[[nn.Module, Tensor, Tensor], float]] = {
    "synflow": synflow,
    "naswot": naswot,
    "zen": zen,
    "gradient_norm": gradient_norm,
}


def scores_of(row: Row, data: pn.Data) -> dict[str, float]:
    """Every proxy and both counts of a row's network, and the milliseconds of each as ``ms:proxy``."""
    architecture = candidate_of(row, data.spec).architecture
    network = pn.build(architecture, seed=0)
    found = {"parameters": float(parameters(network)), "macs": float(macs(architecture))}
    [(x, y)] = data.train.batches(BATCH, torch.arange(BATCH))
    assert isinstance(y, Tensor)
    for name, proxy in PROXIES.items():
        began = time.perf_counter()
        found[name] = proxy(pn.build(architecture, seed=0), x, y)
        found[f"ms:{name}"] = (time.perf_counter() - began) * 1e3
    return found


def correlations(rows: Sequence[Row], scores: Mapping[tuple[str, ...], Mapping[str, float]]) -> None:
    """Print the rank correlation of each proxy with the accuracy."""
    best: dict[tuple[str, ...], Row] = {}
    for row in rows:
        if float(row["accuracy"]) > float(best.get(structure_of(row), {"accuracy": "-1"})["accuracy"]):
            best[structure_of(row)] = row
    ranked = sorted(best.values(), key=lambda row: -float(row["accuracy"]))
    parts = {"all rows": rows, "best rate": ranked, "better half": ranked[: len(ranked) // 2]}
    print("Spearman, Kendall".ljust(18) + "".join(f"{name} ({len(part)})".rjust(20) for name, part in parts.items()))
    for name in ("parameters", "macs", *PROXIES):
        line = name.ljust(18)
        for part in parts.values():
            x = [scores[structure_of(row)][name] for row in part]
            y = [float(row["accuracy"]) for row in part]
            line += f"{spearmanr(x, y).statistic:13.2f} {kendalltau(x, y).statistic:6.2f}"
        costs = [each[f"ms:{name}"] for each in scores.values()] if name in PROXIES else []
        print(line + (f"   {statistics.median(costs):.1f} ms a network" if costs else ""))


def regrets(rows: Sequence[Row], features: Sequence[Features], trials: int, seed: int) -> list[float]:
    """The hypervolume regret after each trial of the search with these features."""
    values = [{goal.name: float(row[goal.name]) for goal in GOALS} for row in rows]
    costs = [{goal.name: known[goal.name] for goal in GOALS if not goal.quality} for known in values]
    free, taken, draw = list(range(len(rows))), list[int](), np.random.default_rng(seed)
    while free and len(taken) < trials:
        seen = [Seen(features[place], values[place], "finished") for place in taken]
        options = [Option(features[place], costs[place]) for place in free]
        gains = expected_gains(seen, options, GOALS, seed=seed * 10_000 + len(taken))
        ties = np.flatnonzero(gains == gains.max())
        taken.append(free.pop(int(draw.choice(ties))))
    points = scaled(values)
    volumes = [hypervolume(points[taken[: count + 1]]) for count in range(len(taken))]
    return [1 - volume / hypervolume(points) for volume in volumes]


def scaled(values: Sequence[Mapping[str, float]]) -> NDArray[np.float64]:
    """Losses from 0 to 1 over the range of the table, costs as logarithms: (rows, goals)."""
    columns = []
    for goal in GOALS:
        column = np.array([known[goal.name] for known in values])
        loss = -column if goal.quality else np.log(column)
        columns.append((loss - loss.min()) / (loss.max() - loss.min()))
    return np.stack(columns, axis=1)


def hypervolume(points: NDArray[np.float64]) -> float:
    """Of losses, below the worst corner."""
    return float(moocore.hypervolume(points, ref=np.ones(points.shape[1])))


def search(rows: Sequence[Row], scores: Mapping[tuple[str, ...], Mapping[str, float]], seeds: int, trials: int) -> None:
    """Print the regret with each proxy as a feature, with all and with none."""
    every = {"none": (), **{name: (name,) for name in PROXIES}, "all": tuple(PROXIES)}
    budgets = [budget for budget in BUDGETS if budget <= min(trials, len(rows))]
    print("regret with".ljust(18) + "".join(f"{budget}".rjust(28) for budget in budgets))
    without: list[list[float]] = []
    for word, names in every.items():
        features = [
            {name: row[name] for name in GENES} | {name: scores[structure_of(row)][name] for name in names}
            for row in rows
        ]
        runs = [regrets(rows, features, trials, seed) for seed in range(seeds)]
        without = without or runs
        line = word.ljust(18)
        for budget in budgets:
            at, plain = ([run[budget - 1] for run in each] for each in (runs, without))
            better = sum(one < other for one, other in zip(at, plain, strict=True))
            wins = f"{better} of {seeds}" if names else ""
            line += f"{statistics.median(at):8.2%} ({statistics.mean(at):6.2%}) {wins:>8}".rjust(28)
        print(line, flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, default=TABLE, help="what make_table.py wrote (default benchmarks/tables)")
    parser.add_argument("--seeds", type=int, default=5, help="searches with each set of features (default 5)")
    parser.add_argument("--trials", type=int, default=100, help="networks that a search may train (default 100)")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with asked.csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    data = as_task("digits").load()
    scores = {structure_of(row): scores_of(row, data) for row in rows}
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, {len(rows)} networks, ", end="")
    print(f"{len(scores)} architectures, n = {asked.seeds} seeds")
    correlations(rows, scores)
    search(rows, scores, asked.seeds, asked.trials)


if __name__ == "__main__":
    main()
