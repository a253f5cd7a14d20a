"""A network of one's own: a function that makes it, and what its arguments may be.

python examples/own_module.py [candidates]
"""

import sys

from torch import nn

import paretonas as pn


def make_net(width: int, depth: int, dropout: float = 0.0) -> nn.Module:
    """Any module will do that takes (N, 1, 8, 8) and gives ten scores."""
    layers: list[nn.Module] = [nn.Conv2d(1, width, 3, padding=1), nn.ReLU()]
    for _ in range(depth - 1):
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(64 * width, 10))


if __name__ == "__main__":
    space = pn.ModuleSpace(make_net, width=[4, 8, 16], depth=(1, 3), dropout=(0.0, 0.5))
    study = pn.create_study("own-module", space=space, task="digits", storage="sqlite:///examples.db")
    study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 8)
    best = study.pick("best")
    print(dict(best.values), best.test_metrics(), best.architecture)
    best.export("own-net", force=True)
