"""What a proposal costs, by how many trials the study has, and how much of it grows.

    python benchmarks/proposals.py [--trials 1000] [--samplers ehvi,tpe]

A study of the default convolutional space on digits (accuracy, parameters, MACs) in SQLite, whose candidates are not
trained: what comes of each is a formula of its costs and a third of them is stopped, so that only proposing and
book-keeping are measured. Prints milliseconds of the processor for a proposal, the mean of the 20 before each mark, on
one thread.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time

import optuna
from threadpoolctl import threadpool_limits

import paretonas as pn
from paretonas.objectives import macs
from paretonas.search.data import data_of
from paretonas.search.front import still_on_front
from paretonas.search.proposals import propose
from paretonas.search.telling import tell
from paretonas.spaces import Candidate
from paretonas.spaces.parameter_rules import count_parameters
from paretonas.storage import CurvePoint

MARKS = (20, 50, 100, 200, 500, 1000, 2000)
LAST = 20  # proposals whose mean is reported
EPOCHS, STOPPED_AT = 10, 2


def outcome(candidate: Candidate, number: int) -> dict[str, float]:
    """Larger networks answer better, to a point; the number stands for the noise of training."""
    count = count_parameters(candidate.deployed)
    accuracy = max(0.1, 1 - 0.9 * count**-0.25 - 0.02 * ((number * 37) % 10) / 10)
    return {"accuracy": accuracy, "parameters": float(count), "macs": float(macs(candidate.deployed))}


def milliseconds(study: pn.Study, trials: int) -> list[float]:
    """Of each proposal until the study has so many trials; each is answered by the formula."""
    spec, store, spent = data_of(study.definition, "cpu").spec, study.store, []
    for number in range(trials):
        place = store.take_place(study.id, trials)
        assert place is not None
        began = time.process_time()
        trial, candidate = propose(study, place, spec)
        spent.append(1000 * (time.process_time() - began))
        values = outcome(candidate, number)
        for epoch in range(STOPPED_AT if number % 3 == 2 else EPOCHS):
            score = values["accuracy"] * (1 - 0.7 ** (epoch + 1))
            store.add_epoch(place, CurvePoint("train", epoch, 0.0, score, 0.0))
        measured: dict[str, tuple[float, dict[str, object]]] = {name: (value, {}) for name, value in values.items()}
        if number % 3 == 2:
            store.stop(place, measured, reason="as the formula says", seconds=0.0)
        else:
            front = still_on_front(study.definition)
            store.finish(place, measured, deployed=candidate.deployed, seconds=0.0, weights="none", front=front)
        tell(study, trial, store.evaluation(place))
    return spent


def main() -> None:
    """Measure each sampler on a study of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000, help="trials in the end (default 1000)")
    parser.add_argument("--samplers", default="ehvi,tpe", help="by name, with commas between (default ehvi,tpe)")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, n = 1 study a sampler")
    for sampler in asked.samplers.split(","):
        with tempfile.TemporaryDirectory() as folder, threadpool_limits(1, user_api="blas"):
            study = pn.create_study(
                "s",
                space=pn.ConvSpace(layers=(1, 6)),
                objectives=["accuracy", "parameters", "macs"],
                sampler=sampler,
                storage=f"sqlite:///{folder}/nas.db",
            )
            spent = milliseconds(study, asked.trials)
        for mark in (mark for mark in MARKS if mark <= len(spent)):
            print(f"{sampler:16s} trial {mark:5d}  {statistics.mean(spent[max(0, mark - LAST) : mark]):8.1f} ms")


if __name__ == "__main__":
    main()
