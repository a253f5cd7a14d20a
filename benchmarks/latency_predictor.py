"""How well a predictor learned from some latencies foretells others, against a line on MACs and one on parameters.

    python benchmarks/latency_predictor.py [--networks 150] [--backend torch] [--quick]

Random networks of each family are timed once, on one thread and examples one by one; noisy records are left out, as a
study leaves them out. Then, in each of ten random splits, all three learn from 20, 50 and 100 of the records and
predict the rest. Both lines have a constant, and are fitted to the same relative error. Prints the median relative
error and what 9 of 10 stay below; what the predictor claims of itself; how often its lower bound was above the truth;
and what learning and predicting cost. Takes about 3 minutes, with --backend onnxruntime 15; --quick (one family, 40
networks) half a minute. On a busy machine most records are noisy: run it on a quiet one.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

import paretonas as pn
from paretonas.objectives import (
    Clock,
    Deployed,
    LatencyPredictor,
    calibrate,
    fit_latency,
    macs,
    measure_latencies,
    parameters,
)
from paretonas.objectives.backends import BACKENDS, timing
from paretonas.spaces import Architecture, DataSpec, Space

KINDS = ["conv", "residual", "separable", "inverted_residual"]
FAMILIES: dict[str, tuple[Space, DataSpec]] = {
    "conv": (pn.ConvSpace(), DataSpec((1, 8, 8), 10)),
    "conv, all blocks": (
        pn.ConvSpace(blocks=KINDS, kernels=[3, 5], hidden_layers=(0, 1), pooling=["max", "average", "stride"]),
        DataSpec((3, 16, 16), 10),
    ),
    "mlp": (pn.MLPSpace(), DataSpec((64,), 10)),
    "transformer": (pn.TransformerSpace(), DataSpec((1, 8, 8), 10)),
    "language model": (pn.TransformerSpace(), DataSpec((32,), 100, vocabulary=100, per_position=True)),
}
SPLITS = 10
Record = tuple[Architecture, float]
Predict = Callable[[Architecture], float]


def networks(space: Space, data: DataSpec, count: int) -> list[Architecture]:
    """Different random networks, as pruning leaves them."""
    found: dict[str, Architecture] = {}
    seed = 0
    while len(found) < count:
        architecture = space.sample(data, seed=seed).deployed
        found.setdefault(architecture.key, architecture)
        seed += 1
    return list(found.values())


def timed(architectures: Sequence[Architecture], backend: str, clock: Clock, seconds: float) -> list[Record]:
    """The records that are not noisy."""
    records = []
    for architecture in architectures:
        deployed = Deployed(pn.build(architecture, seed=0).eval(), architecture)
        [latency] = measure_latencies([timing(deployed, backend, 1, clock.threads)], clock, seconds=seconds)
        if not latency.noisy:
            records.append((architecture, latency.latency_ms))
    return records


@cache
def weights(architecture: Architecture) -> int:
    """Parameters, counted on the meta device."""
    with torch.device("meta"):
        return parameters(pn.build(architecture))


def line(records: Sequence[Record], count: Callable[[Architecture], int]) -> Predict:
    """A constant and a slope with the least squared relative error."""
    x = np.array([[1.0, count(architecture)] for architecture, _ in records])
    y = np.array([milliseconds for _, milliseconds in records])
    constant, slope = np.linalg.lstsq(x / y[:, None], np.ones(len(y)), rcond=None)[0]
    return lambda architecture: float(constant + slope * count(architecture))


def predictor(records: Sequence[Record]) -> LatencyPredictor:
    """The predictor, from enough records."""
    learned = fit_latency(records)
    assert learned is not None
    return learned


def compare(records: Sequence[Record], learn_from: int) -> None:
    """One line: the errors of the three, over all splits."""
    errors: dict[str, list[float]] = {"predictor": [], "MACs": [], "parameters": []}
    claims, above = [], []
    for split in range(SPLITS):
        order = np.random.default_rng(split).permutation(len(records))
        known, unseen = ([records[place] for place in part] for part in np.split(order, [learn_from]))
        learned = predictor(known)
        ways = {"predictor": learned.predict, "MACs": line(known, macs), "parameters": line(known, weights)}
        for name, predict in ways.items():
            errors[name] += [abs(predict(architecture) / truth - 1) for architecture, truth in unseen]
        claims.append(learned.median_error)
        above += [learned.at_least(architecture) > truth for architecture, truth in unseen]
    shown = "".join(f"{np.median(each):9.1%} {np.quantile(each, 0.9):6.1%}" for each in errors.values())
    print(f"  {learn_from:4d}{shown}{statistics.mean(claims):9.1%}{np.mean(above):9.1%}", flush=True)


def speed(count: int = 500) -> None:
    """One line: what it costs to learn from so many records, and to predict a network that was never seen."""
    known, unseen = np.split(np.array(networks(*FAMILIES["conv, all blocks"], count + 100), dtype=object), [count])
    draw = np.random.default_rng(0)
    records = [
        (architecture, macs(architecture) * float(np.exp(0.1 * draw.standard_normal()))) for architecture in known
    ]
    began = time.perf_counter()
    learned = predictor(records)
    seconds, taken = time.perf_counter() - began, []
    for architecture in unseen:
        began = time.perf_counter()
        learned.at_least(architecture)
        taken.append((time.perf_counter() - began) * 1e3)
    print(
        f"learning from {count} records {seconds:.2f} s, predicting {statistics.median(taken):.2f} ms (median of 100)"
    )


def main() -> None:
    """Print a table for each family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=150, help="networks of each family (default 150)")
    parser.add_argument("--backend", default="torch", choices=list(BACKENDS), help="what runs them (default torch)")
    parser.add_argument("--seconds", type=float, default=0.5, help="longest measurement (default 0.5)")
    parser.add_argument("--quick", action="store_true", help="the first family, 40 networks")
    given = parser.parse_args()
    clock = calibrate(BACKENDS[given.backend].device, 1)
    print(f"{clock.hardware}, {os.cpu_count()} cores, torch {torch.__version__}, {given.backend}, {SPLITS} splits")
    families = dict(list(FAMILIES.items())[:1]) if given.quick else FAMILIES
    for family, (space, data) in families.items():
        began = time.perf_counter()
        asked = 40 if given.quick else given.networks
        records = timed(networks(space, data, asked), given.backend, clock, given.seconds)
        seconds = time.perf_counter() - began
        print(f"{family}: {len(records)} of {asked} records are not noisy, {seconds:.0f} s")
        if records:
            low, middle, high = np.quantile([milliseconds for _, milliseconds in records], (0.0, 0.5, 1.0))
            print(f"  latencies {low:.3f} to {high:.3f} ms, median {middle:.3f}")
        print("  from    predictor         MACs      parameters  claimed   too high")
        for learn_from in (20, 50, 100):
            if learn_from + 10 <= len(records):
                compare(records, learn_from)
    speed()


if __name__ == "__main__":
    main()
