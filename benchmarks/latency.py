"""Whether a latency repeats: quiet, and while other programs load every core, beside the mean of 10 calls, in one run.

    python benchmarks/latency.py [--quick] [--repeats 20] [--candidates 30]

Networks of about 0.2, 1 and 2 ms are measured in turn, each time afresh and in two sittings at least a second apart, as
before and after training in a search: coefficient of variation over the repeats, and
bias, which is how far the mean under load is from the mean when quiet. Then the same candidates of ``ConvSpace`` are
ranked three times: Kendall's tau between the two quiet rankings, and between a quiet one and the one under load. The
mean of 10 calls after 3 that warm up is what most tools report; it is taken right after our first sitting.
The load is other processes that train a convolutional network, one for each core. One thread, torch, eager.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import optuna
import torch
from scipy.stats import kendalltau

import paretonas as pn
from paretonas.objectives.latency import Clock, Conditions, Latency, Timing, calibrate, cpu_model, joined, measure
from paretonas.objectives.reference import runner_of
from paretonas.spaces import Architecture, Block, DataSpec, Head, build, example_input

LOAD = """
import torch
from torch import nn
torch.set_num_threads(1)
layers = nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 24 * 24, 10)
network = nn.Sequential(*layers)
optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
print("loading", flush=True)
while True:
    optimizer.zero_grad()
    network(torch.rand(64, 1, 28, 28)).sum().backward()
    optimizer.step()
"""
SIDES = "paretonas", "mean of 10"
Taken = dict[str, list[float]]


def convolutions(width: int, side: int, layers: int) -> Architecture:
    """Of one kind, so that their durations are known about."""
    blocks = (*(Block("conv", width=width),) * layers, Block("max_pool"), Block("global_average_pool"))
    return Architecture((1, side, side), blocks, (Head(10),))


NETWORKS = {
    "0.2 ms": convolutions(16, 14, 2),
    "1 ms": convolutions(32, 28, 3),
    "2 ms": convolutions(48, 28, 4),
}


def candidates(count: int) -> list[Architecture]:
    """Different ones, half for digits of 8x8 and half for images of 28x28, as random search proposes them."""
    found: dict[str, Architecture] = {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    space = pn.ConvSpace()
    while len(found) < count:
        side = 8 if len(found) % 2 else 28
        architecture = space.suggest(study.ask(), DataSpec((1, side, side), 10)).deployed
        found.setdefault(f"{architecture.key} {side}", architecture)
    return list(found.values())


@contextmanager
def loaded() -> Iterator[None]:
    """Every core has another process to run."""
    cores = os.cpu_count() or 1
    processes = [subprocess.Popen([sys.executable, "-c", LOAD], stdout=subprocess.PIPE) for _ in range(cores)]
    try:
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def timing(architecture: Architecture) -> Timing:
    """A network made anew, on torch, eager."""
    network, x = build(architecture, seed=0).eval(), example_input(architecture, 1)
    version = f"torch {torch.__version__}"
    conditions = Conditions("torch", version, cpu_model(), threads=1, batch=1, precision="float32")
    return Timing(runner_of(lambda: network(x)), conditions, architecture.input_shape)


def ranked(clock: Clock, architectures: Iterable[Architecture], seconds: list[float]) -> Taken:
    """Milliseconds of all networks by side: ours in two sittings, as in a search; and the mean of 10 calls.

    seconds gets what a sitting took in all.
    """
    sittings: list[list[Latency]] = [[], []]
    means = []
    for sitting in sittings:
        for architecture in architectures:
            made, began = timing(architecture), time.perf_counter()
            sitting.extend(measure([made], clock))
            seconds.append(time.perf_counter() - began)
            if sitting is sittings[0]:
                with torch.inference_mode():
                    means.append(statistics.fmean([made.runner() for _ in range(13)][3:]))
        time.sleep(1)
    ours = [joined(*both).latency_ms for both in zip(*sittings, strict=True)]
    return dict(zip(SIDES, (ours, means), strict=True))


def repeated(clock: Clock, repeats: int) -> dict[str, Taken]:
    """Milliseconds of each network by side, the networks in turn."""
    taken: dict[str, Taken] = {name: {side: [] for side in SIDES} for name in NETWORKS}
    for _ in range(repeats):
        found = ranked(clock, NETWORKS.values(), [])
        for side in SIDES:
            for name, ms in zip(NETWORKS, found[side], strict=True):
                taken[name][side].append(ms)
    return taken


def variation(times: list[float]) -> float:
    """The coefficient of variation."""
    return statistics.stdev(times) / statistics.fmean(times)


def print_repeats(quiet: dict[str, Taken], load: dict[str, Taken], repeats: int) -> None:
    """One row for each network and side."""
    print(f"\nn = {repeats} measurements of each network, quiet and under load")
    print(f"{'network':<9}{'side':<12}{'quiet ms':>9}{'cv quiet':>10}{'cv loaded':>11}{'bias':>9}")
    for name in NETWORKS:
        for side in SIDES:
            before, after = quiet[name][side], load[name][side]
            bias = statistics.fmean(after) / statistics.fmean(before) - 1
            print(
                f"{name:<9}{side:<12}{statistics.fmean(before):>9.3f}{variation(before):>10.1%}"
                f"{variation(after):>11.1%}{bias:>+9.1%}"
            )


def print_rankings(one: Taken, other: Taken, load: Taken, seconds: list[float]) -> None:
    """Kendall's tau of both sides, and what a measurement takes."""
    count = len(one[SIDES[0]])
    print(f"\nKendall's tau between two rankings of {count} candidates of ConvSpace (8x8 and 28x28)")
    print(f"{'side':<12}{'quiet, quiet':>14}{'quiet, loaded':>15}")
    for side in SIDES:
        quiet, loaded_too = (kendalltau(one[side], times).statistic for times in (other[side], load[side]))
        print(f"{side:<12}{quiet:>14.3f}{loaded_too:>15.3f}")
    halves = seconds[: 4 * count], seconds[4 * count :]
    print("\nseconds that a sitting takes, median: ", end="")
    print(
        ", ".join(
            f"{word} {statistics.median(half):.2f}" for word, half in zip(("quiet", "loaded"), halves, strict=True)
        )
    )


def main() -> None:
    """Print the host, then both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="measurements of each network (default 20)")
    parser.add_argument("--candidates", type=int, default=30, help="candidates to rank (default 30)")
    parser.add_argument("--quick", action="store_true", help="5 measurements, 10 candidates: to see that it runs")
    asked = parser.parse_args()
    repeats, count = (5, 10) if asked.quick else (asked.repeats, asked.candidates)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    idle = os.getloadavg()[0]
    print(f"{cpu_model()}, {os.cpu_count()} cores, torch {torch.__version__}, load average before: {idle:.2f}")
    clock = calibrate("cpu", 1)
    print(f"reference networks: {clock.small_ms:.3f} and {clock.large_ms:.3f} ms")
    architectures, seconds = candidates(count), list[float]()
    quiet = repeated(clock, repeats)
    one, other = (ranked(clock, architectures, seconds) for _ in range(2))
    with loaded():
        under_load = repeated(clock, repeats)
        ranked_loaded = ranked(clock, architectures, seconds)
    print_repeats(quiet, under_load, repeats)
    print_rankings(one, other, ranked_loaded, seconds)


if __name__ == "__main__":
    main()
