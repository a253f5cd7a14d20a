"""What each way to make a network small buys: one table, measured in one run.

    python benchmarks/compression.py [structured|sparse|layers|distillation|int8|growth ...] [--seeds 3]
                                     [--networks digits-conv ...] [--quick]

Columns: parameters, those that are not zero, bytes of the weights and of the file, latency as a ratio to the network
that nothing was done to (int8: to fp32 on ONNX Runtime, and to fp32 in torch eager; calls take turns, the fastest of
200 each, one example, one thread, median of the seeds), accuracy on the test split (mean and standard deviation of the
seeds). Every method of a seed begins with the same trained network. What must hold exactly is asserted on the way: the
pruned network has the parameters that its architecture says, and its export answers bit for bit as it does. Goals that
were missed are listed at the end, and the exit status is then 1.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from compression_learning import distillation, growth, int8  # type: ignore[import-not-found]
from compression_setup import Setting, Table  # type: ignore[import-not-found]
from compression_shrinking import Extent, layers, sparse, structured  # type: ignore[import-not-found]

import paretonas as pn


def recipe(epochs: int, finetune_epochs: int, batch_size: int, learning_rate: float) -> pn.Training:
    """A training with these numbers."""
    return pn.Training(
        epochs=epochs, finetune_epochs=finetune_epochs, batch_size=batch_size, learning_rate=learning_rate
    )


SETTINGS = {
    "digits-conv": Setting("digits", "conv", recipe(12, 8, 32, 3e-3)),
    "digits-transformer": Setting("digits", "transformer", recipe(30, 10, 32, 3e-3)),
    "digits-mlp": Setting("digits", "mlp", recipe(12, 8, 32, 3e-3)),
    "mnist1d-conv": Setting("mnist1d", "conv", recipe(10, 5, 64, 5e-3)),
}
PARTS: dict[str, tuple[Callable[[Setting, Extent, Table], None], tuple[str, ...]]] = {
    "structured": (structured, ("digits-conv", "digits-transformer", "mnist1d-conv")),
    "sparse": (sparse, ("digits-conv", "digits-transformer")),
    "layers": (layers, ("digits-conv", "digits-transformer")),
    "distillation": (distillation, ("digits-conv", "digits-mlp", "mnist1d-conv")),
    "int8": (int8, ("digits-conv", "digits-mlp", "digits-transformer")),
    "growth": (growth, ("digits-conv",)),
}


def main() -> None:
    """Run the parts asked for and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (default all)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each network (default 3; students 5)")
    parser.add_argument("--networks", nargs="+", choices=SETTINGS, help="these alone")
    parser.add_argument("--quick", action="store_true", help="one seed, a few epochs: to see that it runs")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"the parts are {', '.join(PARTS)}, {', '.join(unknown)} was given")
    torch.set_num_threads(1)
    extent = Extent(asked.seeds)
    if asked.quick:
        extent = Extent(1, ratios=(0.5,), criteria=("l1", "taylor"), quick=True)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = {extent.seeds} seeds")
    table = Table()
    for part in asked.parts or PARTS:
        run, networks = PARTS[part]
        for network in networks:
            if asked.networks is None or network in asked.networks:
                began, setting = time.perf_counter(), SETTINGS[network]
                if asked.quick:
                    setting = replace(setting, training=replace(setting.training, epochs=2, finetune_epochs=1))
                run(setting, extent, table)
                print(f"{part}, {network}: {time.perf_counter() - began:.0f} s", flush=True)
    table.show()
    sys.exit(1 if table.missed else 0)


if __name__ == "__main__":
    main()
