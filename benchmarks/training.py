"""What channels-last memory and the fused optimizer give in training, against the plain ones, in one run.

    python benchmarks/training.py [--repeats 5]

Four convolutional networks of the default space, batches of 64 digits, one thread; the four ways take turns.
"""

import argparse
import itertools
import os
import platform
import statistics
import time

import torch
from torch import nn

import paretonas as pn
from paretonas.objectives import Split, as_task

STEPS = 40
SEEDS = (1, 5, 6, 10)


def step_ms(network: nn.Module, x: torch.Tensor, y: torch.Tensor, *, fused: bool, channels_last: bool) -> float:
    """Milliseconds of one training step, the mean of some."""
    network.train().to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, fused=fused)
    began = 0.0
    for step in range(STEPS + 5):
        if step == 5:
            began = time.perf_counter()
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (time.perf_counter() - began) / STEPS * 1e3


def main() -> None:
    """Print, for each network and way, the median over the repeats of its time over that of the plain way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measurements of each way (default 5)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    data = as_task("digits").load()
    assert isinstance(data.train, Split)
    assert isinstance(data.train.y, torch.Tensor)
    x, y = data.train.x[:64], data.train.y[:64]
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = {repeats}")
    for seed in SEEDS:
        architecture = pn.ConvSpace().sample(data.spec, seed=seed).architecture
        ratios: dict[tuple[bool, bool], list[float]] = {}
        for _ in range(repeats):
            times = {
                (fused, last): step_ms(pn.build(architecture, seed=0), x, y, fused=fused, channels_last=last)
                for fused, last in itertools.product((False, True), repeat=2)
            }
            for way, value in times.items():
                ratios.setdefault(way, []).append(value / times[False, False])
        print(architecture)
        for (fused, last), values in ratios.items():
            print(f"   fused {fused!s:5} channels last {last!s:5} time ratio {statistics.median(values):.2f}")


if __name__ == "__main__":
    main()
