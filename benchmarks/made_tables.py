"""Writes large tables of networks that nobody trained, to try ``search.py --table`` on what the shipped one is not.

    python benchmarks/made_tables.py widths --to widths.csv
    python benchmarks/made_tables.py training --to training.csv

widths: 32,768 networks, five layers of eight widths each, no curves; what a layer adds saturates with its width, and
early layers cost most MACs. training: 62,208 settings of a small network's widths and of how it is trained, with curves
of 20 epochs; the best learning rate depends on the batch size. Both are formulas with noise, in the proportions of
published tables of these kinds, and of no data set: a figure on them is a figure of the strategy alone.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from table_writer import Row, write_one_of  # type: ignore[import-not-found]

WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64)
GAINS = ((18.0, 14.0), (9.0, 16.0), (7.0, 16.0), (8.0, 18.0), (10.0, 22.0))  # of a layer: points, and how soon
EPOCHS = 20
RATES, BATCHES, SCHEDULES = (5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 1e-1), (8, 16, 32, 64), ("cosine", "constant")
ACTIVATIONS, UNITS, DROPOUTS = ("relu", "tanh"), (16, 32, 64, 128, 256, 512), (0.0, 0.3, 0.6)


def widths() -> Iterator[Row]:
    """Networks of five 3x3 layers on images of 32x32, halved after the second and the third."""
    draw = np.random.default_rng(1)
    for chosen in itertools.product(WIDTHS, repeat=5):
        weights = [9 * before * after for before, after in itertools.pairwise((3, *chosen))]
        macs = sum(count * area for count, area in zip(weights, (1024, 1024, 256, 64, 64), strict=True))
        lost = sum(most * np.exp(-width / soon) for width, (most, soon) in zip(chosen, GAINS, strict=True))
        unequal = abs(np.log(chosen[2] / chosen[1])) ** 1.5
        yield {
            **{f"width_{at}": width for at, width in enumerate(chosen, 1)},
            "accuracy": round(94.5 - lost - 0.9 * unequal + draw.normal(0, 0.35), 3),
            "parameters": sum(weights) + 10 * chosen[-1],
            "latency_ms": round(0.8 + macs / 3e6 + 0.02 * len(set(chosen)) + draw.normal(0, 0.03), 4),
        }


def training() -> Iterator[Row]:
    """Two hidden layers on 64 numbers, 10 classes."""
    draw = np.random.default_rng(0)
    for rate, batch, schedule, first, second, units_1, units_2, dropout_1, dropout_2 in itertools.product(
        RATES, BATCHES, SCHEDULES, ACTIVATIONS, ACTIVATIONS, UNITS, UNITS, DROPOUTS, DROPOUTS
    ):
        held = 1 - 0.5 * np.exp(-((units_1 * (1 - dropout_1)) ** 0.5) / 6)
        held -= 0.3 * np.exp(-((units_2 * (1 - dropout_2)) ** 0.5) / 6)
        off = (np.log10(rate) - np.log10(batch) / 2 + 3.2) ** 2 * (0.6 if schedule == "cosine" else 1.0)
        liked = 0.02 * (first == "relu") + 0.015 * (second == "tanh")
        final = float(np.clip(0.93 * held + liked - 0.0144 * off + draw.normal(0, 0.006), 0.1, 0.999))
        count = 65 * units_1 + (units_1 + 1) * units_2 + (units_2 + 1) * 10
        time = 0.01 + 2e-6 * count + 0.004 * (first == "tanh") + draw.normal(0, 0.0004)
        curve = _curve(final, 0.05 + 0.5 * rate**0.3 / batch**0.2, draw)
        yield {
            "learning_rate": rate,
            "batch_size": batch,
            "schedule": schedule,
            "activation_1": first,
            "activation_2": second,
            "units_1": units_1,
            "units_2": units_2,
            "dropout_1": dropout_1,
            "dropout_2": dropout_2,
            **{f"accuracy@{epoch}": round(score, 4) for epoch, score in enumerate(curve.tolist(), 1)},
            "parameters": count,
            "latency_ms": round(max(time, 1e-3), 5),
        }


def _curve(final: float, speed: float, draw: np.random.Generator) -> npt.NDArray[np.float64]:
    """From a tenth to the end, with noise that becomes less."""
    epochs = np.arange(1, EPOCHS + 1)
    way = (1 - np.exp(-speed * epochs)) / (1 - np.exp(-speed * EPOCHS))
    curve: npt.NDArray[np.float64] = 0.1 + (final - 0.1) * way
    curve += draw.normal(0, 0.01, EPOCHS) * np.exp(-2 * epochs / EPOCHS)
    curve[-1] = final
    return curve


KINDS = {"widths": widths, "training": training}


if __name__ == "__main__":
    write_one_of(KINDS, __doc__)
