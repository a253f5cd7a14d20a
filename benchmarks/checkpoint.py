"""What a checkpoint costs: its size, the time to make it and to go on from it, against that of an epoch, in one run.

    python benchmarks/checkpoint.py [--repeats 20]

Networks of three families and four sizes, trained by AdamW on digits or drawn tokens with one thread. Figures are
medians of the time of the process on the CPU; nothing is written to a disk.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from training_loop import tokens  # type: ignore[import-not-found]

import paretonas as pn
from paretonas.objectives import Checkpoint, parameters, train
from paretonas.objectives.tasks import Data, as_task
from paretonas.spaces import Architecture, Block, Head, build

TRAINING = pn.Training(epochs=2, batch_size=64)


def cases() -> dict[str, tuple[Architecture, Data]]:
    """A network and its data, by name."""
    digits, text = as_task("digits").load(), tokens()
    image, ten = digits.spec.input_shape, (Head(10),)
    convs = (Block("conv", width=64), Block("max_pool"), Block("conv", width=128), Block("global_average_pool"))
    layer = Block("transformer", heads=4, head_width=32, hidden=512)
    encoder = (
        Block("embedding", width=128, vocabulary=64, length=32),
        *(layer,) * 4,
        Block("sequence_norm"),
        Block("mean_positions"),
    )
    wide = (Block("flatten"), *(Block("linear", width=1024),) * 4)
    return {
        "mlp 32": (Architecture(image, (Block("flatten"), Block("linear", width=32)), ten), digits),
        "conv 64-128": (Architecture(image, convs, ten), digits),
        "transformer 4 x 128": (Architecture((32,), encoder, (Head(2),), vocabulary=64), text),
        "mlp 4 x 1024": (Architecture(image, wide, ten), digits),
    }


def milliseconds(work: Callable[[], object], repeats: int) -> float:
    """The median time of some work."""
    found = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return statistics.median(found) * 1e3


def main() -> None:
    """Print a row for each network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=20, help="checkpoints of each network (default 20)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = {repeats}")
    print(
        f"{'network':20} {'weights':>9} {'bytes':>11} {'bytes each':>10} {'make ms':>8} {'read ms':>8} {'epoch ms':>9}"
    )
    for name, (architecture, data) in cases().items():
        network = build(architecture, seed=0)
        running = train(network, data, TRAINING, seed=0)
        next(running)
        began = time.process_time()
        epoch = next(running)
        epoch_ms = (time.process_time() - began) * 1e3
        content = epoch.checkpoint().to_bytes()
        make = milliseconds(lambda: epoch.checkpoint().to_bytes(), repeats)  # noqa: B023 - called at once
        read = milliseconds(lambda: Checkpoint.from_bytes(content), repeats)  # noqa: B023
        weights = parameters(network)
        each = len(content) / weights
        print(f"{name:20} {weights:9} {len(content):11} {each:10.1f} {make:8.2f} {read:8.2f} {epoch_ms:9.1f}")


if __name__ == "__main__":
    main()
