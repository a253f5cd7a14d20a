"""Whether layers that share weights should share their normalisation too, in one run.

    python benchmarks/sharing.py [--seeds 5]

One convolution of 24 channels is used so many times in a row, on digits, 10 epochs, one thread. Either each use has a
batch normalisation of its own (as in ``spaces/blocks.py``) or all have one. Prints validation accuracy, mean and range.
"""

import argparse
import os
import platform
import statistics

import torch
from torch import nn

import paretonas as pn
from paretonas.objectives import Digits, quality, train

DATA = Digits().load()


def network_of(depth: int, seed: int, *, one_norm: bool) -> nn.Module:
    """A network whose second convolution is used ``depth`` times."""
    first = pn.Block("conv", width=24)
    blocks = (first, first, *(pn.Block("conv", width=24, shares=1) for _ in range(depth - 1)), pn.Block("max_pool"))
    architecture = DATA.spec.architecture([*blocks, pn.Block("global_average_pool")])
    network = pn.build(architecture, seed=seed)
    if one_norm:
        shared = network.get_submodule("block1")
        norm = shared.get_submodule("norms.0")
        shared.norms = nn.ModuleList(norm for _ in range(depth))
    return network


def main() -> None:
    """Print a line for each depth and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each way (default 5)")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = {seeds}")
    for depth in (2, 4, 6):
        for one_norm in (False, True):
            scores = []
            for seed in range(seeds):
                network = network_of(depth, seed, one_norm=one_norm)
                for _ in train(network, DATA, pn.Training(), seed=seed):
                    pass
                scores.append(quality(network, DATA.validation, DATA, ["accuracy"])["accuracy"])
            way = "one normalisation for all" if one_norm else "one normalisation each   "
            print(f"{depth} uses, {way}: {statistics.mean(scores):.4f} ({min(scores):.4f} to {max(scores):.4f})")


if __name__ == "__main__":
    main()
