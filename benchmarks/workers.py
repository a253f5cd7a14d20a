"""How many trials two workers finish in the time in which one finishes one, each with one thread.

    python benchmarks/workers.py [--trials 40] [--repeats 3] [--workers 2] [--storage URL]

The default convolutional space on digits (accuracy, parameters, MACs), random candidates that train to their end, the
same ones in each study. One worker and several take turns, as processes of `paretonas worker`. The rate is that from
the first trials that end to the last but as many, so that neither the start of the processes nor the end, when some
have nothing left to do, counts. Prints the ratio of the rates: median and range over the turns.
"""

import argparse
import os
import platform
import statistics
import tempfile
import threading
import time

import optuna

import paretonas as pn
from paretonas.search.worker import Budget
from paretonas.search.workers import run_workers

TICK = 0.05


def rate(url: str, name: str, workers: int, trials: int) -> float:
    """Trials a minute of a study of its own."""
    study = pn.create_study(
        name,
        space=pn.ConvSpace(),
        objectives=["accuracy", "parameters", "macs"],
        sampler="random",
        stopping="none",
        repeat=True,
        storage=url,
    )
    seen: list[tuple[float, int]] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(TICK):
            done = study.store.finished(study.id)
            if not seen or done > seen[-1][1]:
                seen.append((time.monotonic(), done))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        run_workers(study, workers, Budget(trials), on_tick=lambda: None)
    finally:
        over.set()
        watching.join()
    first = next(at for at in seen if at[1] >= workers)
    last = next(at for at in seen if at[1] >= trials - workers)
    return 60 * (last[1] - first[1]) / (last[0] - first[0])


def main() -> None:
    """Take turns, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40, help="of a study (default 40)")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each (default 3)")
    parser.add_argument("--workers", type=int, default=2, help="against one (default 2)")
    parser.add_argument("--storage", help="URL of a database (default SQLite files of its own)")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, n = {asked.repeats}")
    ratios = []
    for turn in range(asked.repeats):
        found = {}
        for workers in (1, asked.workers):
            with tempfile.TemporaryDirectory() as folder:
                url = asked.storage or f"sqlite:///{folder}/nas.db"
                found[workers] = rate(url, f"{os.getpid()}-{turn}-{workers}", workers, asked.trials)
        ratios.append(found[asked.workers] / found[1])
        print(", ".join(f"{workers} workers {found[workers]:.1f} trials a minute" for workers in found), flush=True)
    print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
