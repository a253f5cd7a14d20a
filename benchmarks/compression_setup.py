"""What the parts of ``compression.py`` have in common: networks to make small, one clock for all, and the table."""

import gc
import statistics
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TypeVar

import torch
from torch import nn

import paretonas as pn
from paretonas.objectives import COUNTED, Deployed, as_task, quality, train
from paretonas.spaces import Network, example_input

Key = TypeVar("Key", bound=Hashable)
WARM_UP, CALLS = 20, 200
MARGIN = 0.05  # of a latency ratio: what the clock of a shared machine may add
COLUMNS = (
    *("network", "method", "ratio", "parameters", "non-zero", "weight B", "file B", "latency", "to eager"),
    *("accuracy", "n", "note"),
)


@dataclass(frozen=True)
class Setting:
    """A network on a task, with the training that it gets."""

    task: str
    family: str
    training: pn.Training

    @property
    def name(self) -> str:
        return f"{self.task} {self.family}"

    @property
    def data(self) -> pn.Data:
        return data_of(self.task)

    @property
    def architecture(self) -> pn.Architecture:
        return self.data.spec.architecture(BLOCKS[self.family](self.task))

    def trained(self, seed: int) -> Network:
        """The trained network of a seed, one and the same for all methods."""
        return _trained(self, seed)

    def fresh(self, architecture: pn.Architecture, *, seed: int, epochs: int) -> Network:
        """Another network, trained from scratch as this one is, but for so many epochs."""
        network = built(architecture, seed)
        learn(network, self, seed=seed, training=replace(self.training, epochs=epochs))
        return network

    def accuracy(self, network: nn.Module) -> float:
        """On the test split."""
        return quality(network, self.data.test, self.data, ["accuracy"])["accuracy"]


@cache
def data_of(task: str) -> pn.Data:
    """The data of a task, loaded once."""
    return as_task(task).load()


@cache
def _trained(setting: Setting, seed: int) -> Network:
    return setting.fresh(setting.architecture, seed=seed, epochs=setting.training.epochs)


def built(architecture: pn.Architecture, seed: int) -> Network:
    """A network of blocks, with random weights."""
    network = pn.build(architecture, seed=seed)
    assert isinstance(network, Network)
    return network


def learn(network: nn.Module, setting: Setting, *, seed: int, training: pn.Training) -> None:
    """Train in place."""
    for _ in train(network, setting.data, training, seed=seed):
        pass
    network.eval()


def conv(task: str, narrow: int = 24, wide: int = 48) -> list[pn.Block]:
    """A residual convolutional network of two stages, over images or signals."""
    over = "1d" if task == "mnist1d" else ""
    return [
        pn.Block("conv" + over, width=narrow),
        pn.Block("residual" + over, width=narrow, hidden=narrow, skip="identity"),
        pn.Block("residual" + over, width=narrow, hidden=narrow, skip="identity"),
        pn.Block("max_pool" + over),
        pn.Block("residual" + over, width=wide, hidden=wide, skip="projection"),
        pn.Block("residual" + over, width=wide, hidden=wide, skip="identity"),
        pn.Block("global_average_pool" + over),
    ]


def transformer(task: str, width: int = 48, layers: int = 3) -> list[pn.Block]:
    """A pre-norm encoder over patches: 16 squares of digits, or 10 windows of a signal."""
    layer = pn.Block("transformer", heads=4, head_width=width // 4, hidden=2 * width)
    entry = (
        pn.Block("patches2d", width=width, size=2, length=16)
        if task == "digits"
        else pn.Block("patches", width=width, size=4, length=10)
    )
    return [entry, *[layer] * layers, pn.Block("sequence_norm"), pn.Block("mean_positions")]


def mlp(_: str) -> list[pn.Block]:
    """Two hidden layers with batch normalisation."""
    return [pn.Block("flatten"), *[pn.Block("linear", width=128)] * 2]


BLOCKS: dict[str, Callable[[str], list[pn.Block]]] = {"conv": conv, "transformer": transformer, "mlp": mlp}


@dataclass(frozen=True)
class Sample:
    """What one seed gave. latency, to_eager: ratios of the fastest calls; None where they say nothing."""

    parameters: int
    nonzero: int
    weight_bytes: int
    file_bytes: int
    accuracy: float | None = None
    latency: float | None = None
    to_eager: float | None = None


def sample(
    deployed: Deployed, setting: Setting | None, latency: float | None = None, to_eager: float | None = None
) -> Sample:
    """Count a network as it is deployed, and judge it if it was trained."""
    size = COUNTED["size_bytes"].count(deployed)
    return Sample(
        parameters=int(COUNTED["parameters"].count(deployed).value),
        nonzero=int(COUNTED["nonzero_parameters"].count(deployed).value),
        weight_bytes=int(size.value),
        file_bytes=int(COUNTED["file_bytes"].count(deployed).value),
        accuracy=None if setting is None else setting.accuracy(deployed.answering),
        latency=latency,
        to_eager=to_eager,
    )


@dataclass
class Table:
    """Rows by network, method and ratio, each of some seeds, and the goals that were missed."""

    rows: dict[tuple[str, str, str], list[Sample]] = field(default_factory=dict)
    notes: dict[tuple[str, str, str], str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)

    def add(self, network: str, method: str, ratio: str, found: Sample) -> None:
        """One more seed of a row."""
        self.rows.setdefault((network, method, ratio), []).append(found)

    def note(self, network: str, method: str, ratio: str, text: str) -> None:
        """What stands at the end of a row."""
        self.notes[network, method, ratio] = text

    def goal(self, text: str, *, reached: bool) -> None:
        """Print whether a goal was reached, and keep it if it was not."""
        print(f"{'reached' if reached else 'MISSED '}  {text}", flush=True)
        if not reached:
            self.missed.append(text)

    def accuracies(self, network: str, method: str, ratio: str) -> list[float]:
        """In the order of the seeds."""
        found = [each.accuracy for each in self.rows[network, method, ratio]]
        return [accuracy for accuracy in found if accuracy is not None]

    def show(self) -> None:
        """Print all rows, aligned."""
        lines = [COLUMNS, *(_cells(key, rows, self.notes.get(key, "")) for key, rows in self.rows.items())]
        widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
        for line in lines:
            padded = (
                cell.ljust(width) if column in (0, 1, len(COLUMNS) - 1) else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            print("  ".join(padded).rstrip())


def _cells(key: tuple[str, str, str], rows: list[Sample], note: str) -> tuple[str, ...]:
    network, method, ratio = key
    counts = [
        f"{statistics.mean(getattr(row, name) for row in rows):,.0f}"
        for name in ("parameters", "nonzero", "weight_bytes", "file_bytes")
    ]
    ratios = []
    for name in ("latency", "to_eager"):
        found = [getattr(row, name) for row in rows]
        ratios.append("" if None in found else f"{statistics.median(found):.2f}")
    accuracies = [row.accuracy for row in rows if row.accuracy is not None]
    judged = spread(accuracies) if accuracies else ""
    return network, method, ratio, *counts, *ratios, judged, str(len(rows)), note


def spread(values: list[float]) -> str:
    """Mean and standard deviation over the seeds."""
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.4f}"


def fastest_ms(networks: Mapping[Key, nn.Module], example: torch.Tensor, calls: int = CALLS) -> dict[Key, float]:
    """The fastest of ``calls`` calls of each network, in milliseconds; they take turns, so load meets all alike."""
    times: dict[Key, float] = dict.fromkeys(networks, float("inf"))
    with _quiet(), torch.inference_mode():
        for call in range(WARM_UP + calls):
            for key, network in networks.items():
                began = time.perf_counter_ns()
                network(example)
                passed = (time.perf_counter_ns() - began) / 1e6
                if call >= WARM_UP:
                    times[key] = min(times[key], passed)
    return times


def latency_ratio(network: nn.Module, reference: nn.Module, architecture: pn.Architecture) -> float:
    """How long a network takes for an example, as a share of another one that takes turns with it."""
    times = fastest_ms({"it": network, "other": reference}, example_input(architecture, 1))
    return times["it"] / times["other"]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
