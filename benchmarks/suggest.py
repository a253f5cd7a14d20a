"""What it costs to propose a network: suggest, build on the meta device, count parameters and MACs, in one run.

    python benchmarks/suggest.py [--candidates 300]

Against a plain Optuna function that suggests the same space, builds an nn.Sequential on the meta device and counts
with torch's FlopCounterMode. Both ask a trial of an in-memory study with random search, so that no sampler and no
database is measured, take turns, and run on one thread. Prints milliseconds for a candidate.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import optuna
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import paretonas as pn
from paretonas.objectives import macs, parameters
from paretonas.spaces import DataSpec

SPACE, DATA = pn.ConvSpace(), DataSpec((1, 8, 8), 10)
ACTIVATIONS = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}


def ours(trial: optuna.Trial) -> tuple[int, int]:
    """Parameters and MACs of a candidate of the default space, as it is left after pruning."""
    architecture = SPACE.suggest(trial, DATA).deployed
    with torch.device("meta"):
        network = pn.build(architecture)
    return parameters(network), macs(architecture)


def by_hand(trial: optuna.Trial) -> tuple[int, int]:
    """The same as a user of Optuna would write it, without sharing and pruning."""
    layers = trial.suggest_int("layers", 2, 5)
    stages = min(trial.suggest_int("stages", 1, 3), layers)
    activation = ACTIVATIONS[trial.suggest_categorical("activation", list(ACTIVATIONS))]
    parts: list[nn.Module] = []
    width = 1
    with torch.device("meta"):
        for layer in range(layers):
            stage = layer * stages // layers
            out = trial.suggest_categorical(f"width{stage}", [8, 16, 24, 32, 48, 64])
            parts += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), activation()]
            width = out
            if layer + 1 == layers or (layer + 1) * stages // layers != stage:
                parts.append(nn.MaxPool2d(2))
        network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)).eval()
        example = torch.empty(1, *DATA.input_shape)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(example)
    return sum(parameter.numel() for parameter in network.parameters()), counter.get_total_flops() // 2


SIDES: dict[str, Callable[[optuna.Trial], tuple[int, int]]] = {"paretonas": ours, "hand-written": by_hand}


def main() -> None:
    """Print the median and the 90th percentile of both, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=300, help="candidates of each side (default 300)")
    count = parser.parse_args().candidates
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    taken: dict[str, list[float]] = {name: [] for name in SIDES}
    studies = {name: optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)) for name in SIDES}
    for name, side in SIDES.items():
        side(studies[name].ask())  # the first use of the meta device imports seconds of torch
    for _ in range(count):
        for name, side in SIDES.items():
            trial = studies[name].ask()
            began = time.perf_counter()
            side(trial)
            taken[name].append((time.perf_counter() - began) * 1e3)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = {count}")
    for name, values in taken.items():
        print(f"{name:13s} median {statistics.median(values):6.2f} ms   9 of 10 below "
              f"{statistics.quantiles(values, n=10)[-1]:6.2f} ms")  # fmt: skip
    ratio = statistics.median(taken["paretonas"]) / statistics.median(taken["hand-written"])
    print(f"ratio of the medians {ratio:.2f}")


if __name__ == "__main__":
    main()
