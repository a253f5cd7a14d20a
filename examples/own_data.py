"""Data of one's own: a function that gives them, here measurements of tumours, and networks that tell them apart.

python examples/own_data.py [candidates]
"""

import sys

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

import paretonas as pn

Pair = tuple[torch.Tensor, torch.Tensor]


def tumours(seed: int = 0) -> tuple[Pair, Pair, Pair]:
    """(x, y) of train, validation and test: 30 measurements in, benign or malignant out (Street et al. 1993)."""
    measured, kinds = load_breast_cancer(return_X_y=True)
    rest, test = train_test_split(range(len(kinds)), test_size=0.2, stratify=kinds, random_state=seed)
    train, validation = train_test_split(rest, test_size=0.25, stratify=kinds[rest], random_state=seed)
    x, y = torch.tensor(measured, dtype=torch.float32), torch.tensor(kinds, dtype=torch.int64)
    std, mean = torch.std_mean(x[train], 0)  # of the train rows alone: the others are not known yet
    x = (x - mean) / std
    return (x[train], y[train]), (x[validation], y[validation]), (x[test], y[test])


if __name__ == "__main__":
    study = pn.create_study(
        "own-data",
        space=pn.MLPSpace(layers=(0, 3), widths=[8, 16, 32], norms=["batch", "layer"]),
        task=pn.OwnTask(function=tumours, arguments={"seed": 1}),
        objectives=["balanced_accuracy", "parameters"],
        storage="sqlite:///examples.db",
    )
    study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 12)
    for trial in study.pareto_front:
        print(dict(trial.values), trial.architecture)
    best = study.pick("best")
    print(best.test_metrics())
    best.export("own-data-net", licence="CC-BY-4.0", force=True)
