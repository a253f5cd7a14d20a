"""A search space of one's own: a block that the house has not, and a function that says what networks there are.

python examples/own_space.py [candidates]
"""

import sys
from typing import Any

import torch
from torch import nn

import paretonas as pn


class Mixer(nn.Module):
    """A convolution of each channel by itself, then one of each place by itself, beside what came in."""

    def __init__(self, in_width: int, width: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.places = nn.Conv2d(in_width, in_width, kernel, padding=kernel // 2, groups=in_width)
        self.channels = nn.Conv2d(in_width, width, 1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(self.channels(x + self.places(x).relu()))
        return y.relu()


def suggest(trial: Any, data: pn.DataSpec) -> pn.Architecture:
    """A network: genes are asked for by name, and only where they have an effect."""
    width = trial.suggest_categorical("width", [8, 16, 32])
    blocks = [pn.Block("conv", width=width)]
    for layer in range(trial.suggest_int("layers", 1, 3)):
        kernel = trial.suggest_categorical(f"layer{layer}.kernel", [3, 5])
        blocks.append(pn.Block(Mixer, width=width, kernel=kernel))
    return data.architecture([*blocks, pn.Block("global_average_pool")])


if __name__ == "__main__":
    study = pn.create_study("own-space", space=suggest, task="digits", storage="sqlite:///examples.db")
    study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 10)
    for trial in study.pareto_front:
        print(dict(trial.values), trial.architecture)
    best = study.pick("best")
    print(best.test_metrics())
    best.export("own-space-net", force=True)  # the source of Mixer goes with it
