"""The search strategy against Optuna's samplers: hypervolume for what is spent, all in one run.

    python benchmarks/search.py
    python benchmarks/search.py --table FILE.csv --genes g0,g1 --maximize accuracy --minimize parameters,latency_ms
                                [--curve accuracy@] [--seeds 5] [--trials 200] [--workers 8] [--json OUT]
    python benchmarks/search.py --real digits|mnist1d [--seeds 5] [--trials 200] [--ours 50] [--cache FILE] [--json OUT]

A table: a row is a trained network, genes are categorical. Columns such as accuracy@7 are its accuracy after epoch 7:
then the last of them counts, trainings stop early and cost is counted in epochs, else in evaluations. What is maximized
is known after training, what is minimized before. Regret is 1 - HV(found) / HV(whole table), with each objective scaled
to its range, costs as logarithms and the worst corner as reference. Optuna's samplers run by ask and tell and train in
full; what they repeat is trained again and counts. A setting that has no row is told as failed and counts as nothing.
rungs draws at random and halves by non-dominated rank (MO-ASHA). Seconds are of the processor, on one core.

Real: convolutional networks for accuracy, parameters and MACs, 10 epochs and 3 of fine-tuning each. The weights of a
seed are the same for all strategies. Trainings of the baselines are kept in --cache and replayed; their epochs count
as if trained. With --ours ours ends after the epochs of so many full trainings, and counts as staying where it was.
Hypervolume is the share of the box of all points of the run, costs as logarithms.

Without arguments the table that ships, short. A figure is the median over the seeds.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

from search_report import (  # type: ignore[import-not-found]
    loss_of_workers,
    machine,
    print_real,
    print_table,
    real_report,
    table_report,
)
from search_runs import OURS, STRATEGIES, Run  # type: ignore[import-not-found]
from search_table import Table, read_table  # type: ignore[import-not-found]

from paretonas.errors import UsageError, one_of
from paretonas.search.goals import STOPPINGS

SHIPPED = Path(__file__).parent / "tables" / "digits.csv"
SHIPPED_GENES = "layers,width,kernel,activation,pooling,learning_rate"
SHORT = {"seeds": 3, "trials": 50}
FULL = {"seeds": 5, "trials": 200}
Job = TypeVar("Job")
Ended = TypeVar("Ended")


def main() -> None:
    """Run what the command line asks for; what is wrong with it is one sentence and exit status 2."""
    try:
        asked = _asked()
        found = real(asked) if asked.real else on_table(asked)
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    if asked.json:
        asked.json.write_text(json.dumps(found))


def on_table(asked: argparse.Namespace) -> dict[str, Any]:
    """All strategies on a table."""
    from search_simulation import Job, simulate  # type: ignore[import-not-found]

    table = read_table(
        asked.table, asked.genes, asked.maximize, asked.minimize, curve=asked.curve, failing=asked.failing
    )
    if len(table) < asked.trials:
        raise UsageError(f"a table needs a row for each trial, {asked.table} has {len(table)}: give --trials less")
    _print_head(table, asked)
    several = f"{OURS}, {asked.workers} workers"
    rows = {name: (name, 1) for name in asked.strategies}
    if asked.workers > 1 and OURS in asked.strategies:
        rows[several] = (OURS, asked.workers)
    jobs = [
        (row, Job(table, name, seed, asked.trials, workers, asked.stopping if name == OURS else None))
        for seed in range(asked.seeds)
        for row, (name, workers) in rows.items()
    ]
    done = dict(_all_of(simulate, [job for _, job in jobs], asked.processes))
    runs: dict[str, list[Run]] = {row: [] for row in rows}
    missing: dict[str, list[int]] = {row: [] for row in rows}
    for at, (row, _) in enumerate(jobs):
        runs[row].append(done[at][0])
        missing[row].append(done[at][1])
    found = table_report(table, runs, missing, asked.trials)
    print_table(found)
    result = {"machine": machine(), "table": table.name, "rows": len(table), "seeds": asked.seeds, "strategies": found}
    if several in rows:
        result["loss_of_workers"] = loss = loss_of_workers(found, OURS, several)
        print(f"{several} against 1, regret: {', '.join(f'{value:+.0%} at {n}' for n, value in loss.items())}")
    return result


def _print_head(table: Table, asked: argparse.Namespace) -> None:
    sought = ", ".join(f"{goal.direction} {goal.name}" for goal in table.goals)
    curves = f"curves of {table.cost} epochs" if table.epochs else "no curves"
    print(f"{machine()}, n = {asked.seeds} seeds, {asked.trials} trials")
    print(f"{table.name}: {len(table)} networks, {len(table.gene_names)} genes, {sought}, {curves}")
    for note in table.notes:
        print(f"note: {note}")


def real(asked: argparse.Namespace) -> dict[str, Any]:
    """All strategies on real training."""
    from search_real import OBJECTIVES, Job, run  # type: ignore[import-not-found]

    from paretonas.search.early import resolved
    from paretonas.search.goals import goals_of

    jobs = [
        Job(asked.real, name, seed, asked.ours if name == OURS else asked.trials, asked.cache)
        for seed in range(asked.seeds)
        for name in sorted(asked.strategies, key=lambda name: name == "rungs")  # which replays random's trainings
    ]
    epochs = asked.trials * jobs[0].epochs // jobs[0].trials
    print(f"{machine()}, n = {asked.seeds} seeds, {asked.trials} full trainings of {asked.real}, {epochs} epochs")
    runs: dict[str, list[Run]] = {name: [] for name in asked.strategies}
    for at, ended in sorted(_all_of(run, jobs, asked.processes)):
        runs[jobs[at].strategy].append(ended)
    found = real_report(runs, goals_of(resolved(OBJECTIVES)), asked.trials, epochs)
    print_real(found)
    return {"machine": machine(), "task": asked.real, "seeds": asked.seeds, "strategies": found}


def _all_of(run: Callable[[Job], Ended], jobs: Sequence[Job], processes: int) -> Iterator[tuple[int, Ended]]:
    """The number of each job and what came of it, as they end."""
    began = time.perf_counter()
    if processes == 1:
        ends: Iterator[tuple[int, Ended]] = ((at, run(job)) for at, job in enumerate(jobs))
    else:
        ends = _beside(run, jobs, processes)
    for number, (at, ended) in enumerate(ends, 1):
        if sys.stderr.isatty() or time.perf_counter() - began > 60:
            job: Any = jobs[at]
            print(f"{number} of {len(jobs)}: {job.strategy}, seed {job.seed}", file=sys.stderr, flush=True)
        yield at, ended


def _beside(run: Callable[[Job], Ended], jobs: Sequence[Job], processes: int) -> Iterator[tuple[int, Ended]]:
    context = get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=context, initializer=_end_with_parent) as pool:
        futures = {pool.submit(run, job): at for at, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """A process whose parent was killed would train to the end of its run, for nobody."""

    def watch(parent: BaseProcess) -> None:
        parent.join()
        os._exit(1)

    if (parent := parent_process()) is not None:
        Thread(target=watch, args=(parent,), daemon=True).start()


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--table", type=Path, help="a CSV file of trained networks")
    what.add_argument("--real", metavar="TASK", help="train: digits or mnist1d")
    parser.add_argument("--genes", type=_names, default=[], help="columns that say what a network is")
    parser.add_argument("--maximize", type=_names, default=[], help="columns known after training")
    parser.add_argument("--minimize", type=_names, default=[], help="columns of costs, known before")
    parser.add_argument("--curve", help="how the columns of learning curves begin (default the first objective and @)")
    parser.add_argument("--failing", metavar="COST", help="networks above the median of this cost fail when trained")
    parser.add_argument("--seeds", type=int, help="runs of each strategy (default 5; without a table or task 3)")
    parser.add_argument("--trials", type=int, help="evaluations of a run (default 200; without a table or task 50)")
    parser.add_argument(
        "--ours", type=int, help="full trainings whose epochs ours gets, of real ones (default --trials)"
    )
    parser.add_argument("--workers", type=int, default=1, help="ours also with so many at a time, on a table")
    parser.add_argument("--stopping", help=f"how ours stops, on a table: {', '.join(STOPPINGS)} (default forecast)")
    parser.add_argument("--strategies", type=_names, default=list(STRATEGIES), help=f"of {','.join(STRATEGIES)}")
    parser.add_argument("--processes", type=int, default=2, help="runs at a time (default 2)")
    parser.add_argument("--cache", type=Path, help="file that keeps the trainings of the baselines")
    parser.add_argument("--json", type=Path, help="file for all figures and curves")
    asked = parser.parse_args()
    if asked.table is None and asked.real is None:
        asked.table, asked.genes = SHIPPED, _names(SHIPPED_GENES)
        asked.maximize, asked.minimize = ["accuracy"], ["parameters", "latency_ms"]
        _fill(asked, SHORT)
    _fill(asked, FULL)
    _fill(asked, {"ours": asked.trials})
    _check(asked)
    return asked


def _fill(asked: argparse.Namespace, defaults: dict[str, int]) -> None:
    for name, value in defaults.items():
        if getattr(asked, name) is None:
            setattr(asked, name, value)


def _check(asked: argparse.Namespace) -> None:
    for name in asked.strategies:
        one_of("strategy", name, STRATEGIES)
    if asked.stopping is not None:
        one_of("stopping", asked.stopping, STOPPINGS)
    if not asked.strategies:
        raise UsageError(f"a strategy is needed: name some of {', '.join(STRATEGIES)} with --strategies")
    for what in ("seeds", "trials", "ours", "workers", "processes"):
        if getattr(asked, what) < 1:
            raise UsageError(f"--{what} must be above 0, {getattr(asked, what)} was given")
    for path in (asked.json, asked.cache):
        if path is not None and not path.absolute().parent.is_dir():
            raise UsageError(f"a file is written into a folder that exists, {path.parent} does not: make it first")
    if asked.real:
        one_of("task", asked.real, ("digits", "mnist1d"))
    elif not asked.genes:
        raise UsageError("what a network is has to be said: name the columns of its genes with --genes")


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


if __name__ == "__main__":
    main()
