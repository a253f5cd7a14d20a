"""What the store costs a trial, and whether it loses anything when many ask at once.

Bookkeeping: a study with ``--trials`` trials that ended (10 epochs each), then what one more trial asks of the store
and of Optuna's tables, from its place to its end, n = ``--repeat``; and the queries behind front, pick and status.
Crowd: ``--workers`` workers, as threads of ``--processes`` processes, that train nothing, against PostgreSQL.

    python benchmarks/store.py --storage sqlite:////tmp/nas.db
    python benchmarks/store.py --storage postgresql+psycopg://me@/nas --workers 200 --processes 4
"""

import argparse
import multiprocessing
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
import optuna
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import insert

import paretonas as pn
from paretonas.spaces import Architecture, Block, Head
from paretonas.storage import CurvePoint, Store, Valued, creator_of
from paretonas.storage.tables import ArchitectureRow, EpochRow, EvaluationRow, MeasurementRow

EPOCHS = 10
PARAMETERS = 12
MEASURED = ("accuracy", "parameters", "macs", "latency_ms")
FRONT = 60  # points
AT_ONCE = 500


def candidate(number: int) -> pn.Candidate:
    """A network for each number, of eight blocks."""
    widths = [8 + (number >> 3 * place) % 8 for place in range(8)]
    blocks = tuple(Block("linear", width=width, norm="batch", activation="relu") for width in widths)
    return pn.Candidate(Architecture((1, 8, 8), (Block("flatten"), *blocks), (Head(10),)))


def fill(store: Store, study: int, theirs: int, trials: int) -> None:
    """Rows of trials that ended, as the store and Optuna would have written them."""
    draw = np.random.default_rng(0)
    with store.session() as session:
        for start in range(0, trials, AT_ONCE):
            rows: dict[type, list[dict[str, object]]] = {}
            for number in range(start, min(start + AT_ONCE, trials)):
                _rows_of(rows, study, theirs, number, front=number % (trials // FRONT) == 0, score=float(draw.random()))
            for table, values in rows.items():
                session.execute(insert(table), values)
        session.commit()


def _rows_of(
    rows: dict[type, list[dict[str, object]]], study: int, theirs: int, number: int, *, front: bool, score: float
) -> None:
    one, now, identity = candidate(number), datetime.now(UTC), number + 1
    network = one.architecture

    def add(table: type, **values: object) -> None:
        rows.setdefault(table, []).append(values)

    add(ArchitectureRow, key=network.key, description=network.to_json())
    add(
        EvaluationRow,
        id=identity,
        study_id=study,
        state="complete",
        worker="h/1/0/x",
        host="h",
        started=now,
        trial_number=number,
        key=one.key,
        candidate=one.to_json(),
        architecture_key=network.key,
        deployed_key=network.key,
        task="digits",
        seed=0,
        threads=1,
        device="cpu",
        seconds=1.0,
        weights=str(uuid4()),
        token=str(uuid4()),
        attempts=1,
        front=front,
    )
    for name in MEASURED:
        add(MeasurementRow, evaluation_id=identity, name=name, value=score, detail={"n": 1})
    for epoch in range(EPOCHS):
        add(EpochRow, evaluation_id=identity, phase="train", number=epoch, loss=1.0, score=score, seconds=0.1)
    naive = now.replace(tzinfo=None)
    add(
        models.TrialModel,
        trial_id=identity,
        number=number,
        study_id=theirs,
        state=TrialState.COMPLETE,
        datetime_start=naive,
        datetime_complete=naive,
    )
    distribution = optuna.distributions.distribution_to_json(optuna.distributions.FloatDistribution(0, 1))
    for place in range(PARAMETERS):
        values = {"param_name": f"x{place}", "param_value": score, "distribution_json": distribution}
        add(models.TrialParamModel, trial_id=identity, **values)
    for objective in (0, 1):
        finite = models.TrialValueModel.TrialValueType.FINITE
        add(models.TrialValueModel, trial_id=identity, objective=objective, value=score, value_type=finite)
    add(models.TrialUserAttributeModel, trial_id=identity, key="network", value_json='"n"')


def keep_front(on_it: Sequence[Valued]) -> set[int]:
    """As large a front as there was: the newest takes the place of the oldest."""
    return {each.id for each in on_it[-FRONT:]}


class Parts:
    """Milliseconds, and those of this process's own processor time, by what was done."""

    def __init__(self) -> None:
        self.spent: dict[str, list[tuple[float, float]]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        began, used = time.perf_counter(), time.process_time()
        yield
        taken = 1000 * (time.perf_counter() - began), 1000 * (time.process_time() - used)
        self.spent.setdefault(name, []).append(taken)

    def show(self) -> None:
        for what, spent in self.spent.items():
            wall, own = zip(*spent, strict=True)
            print(f"  {what:48s} {statistics.median(wall):8.1f} {min(wall):8.1f} {statistics.median(own):8.1f}")


def one_trial(store: Store, study: int, optunas: optuna.Study, number: int, parts: Parts) -> None:
    """All that a trial asks of the database, but for its proposal and its training."""
    with parts.part("look: counts, held, asked to stop"):
        store.counts(study)
        store.held(study)
        store.is_asked_to_stop(study)
    with parts.part("place"):
        place = store.take_place(study, 10**9)
        assert place is not None
    with parts.part("Optuna: ask"):
        trial = optunas.ask()
    with parts.part(f"Optuna: {PARAMETERS} parameters, 1 attribute"):
        for parameter in range(PARAMETERS):
            trial.suggest_float(f"x{parameter}", 0, 1)
        trial.set_user_attr("network", "n")
    one = candidate(number)
    with parts.part("begin, claim"):
        store.begin(place, one, trial=trial.number, task="digits", seed=0, threads=1, device="cpu")
        store.claim_training(place, MEASURED)
    with parts.part(f"{EPOCHS} epochs"):
        for epoch in range(EPOCHS):
            store.add_epoch(place, CurvePoint("train", epoch, 1.0, 0.5, 0.1))
    measured = {name: (0.5, {"n": 1}) for name in MEASURED}
    with parts.part("finish, with the front"):
        store.finish(place, measured, deployed=one.deployed, seconds=1.0, weights=str(uuid4()), front=keep_front)
    with parts.part("Optuna: tell"):
        trial.set_constraint("c", 0.0)
        optunas.tell(trial, [0.5, 0.5])
    with parts.part("beat"):
        store.renew()


def bookkeeping(url: str, trials: int, repeat: int) -> None:
    """Fill a study, and time what comes after."""
    store = Store(url)
    name = f"store-{uuid4().hex[:6]}"
    store.add_study(name, {})
    found = store.definition(name)
    assert found is not None
    sampler = optuna.samplers.RandomSampler(seed=0)
    optunas = optuna.create_study(study_name=name, storage=store.optuna, directions=["minimize"] * 2, sampler=sampler)
    fill(store, found[0], optunas._study_id, trials)  # noqa: SLF001 - Optuna has no public name for it
    if store.optuna.engine.dialect.name == "postgresql":
        _count_on(store)
    store.enlist(found[0], 60)
    parts = Parts()
    with parts.part("Optuna: ask, of a process that begins"):
        trial = optunas.ask()
    optunas.tell(trial, state=TrialState.FAIL)
    with parts.part("first look of a process at Optuna's trials"):
        optunas.get_trials(deepcopy=False)
    for number in range(repeat):
        with parts.part("a trial in all"):
            one_trial(store, found[0], optunas, trials + number, parts)
    queries: dict[str, Callable[[], object]] = {
        "front_ids": lambda: store.front_ids(found[0]),
        "front, with candidates": lambda: store.front(found[0]),
        "counts, kinds, workers": lambda: (store.counts(found[0]), store.kinds(found[0]), store.workers(found[0])),
        "epochs_trained": lambda: store.epochs_trained(found[0]),
    }
    for what, ask in queries.items():
        for _ in range(5):
            with parts.part(what):
                ask()
    dialect = store.optuna.engine.dialect.name
    print(f"{dialect}, {trials} trials, n = {repeat}; milliseconds: median, least, median of this process's own")
    parts.show()


def _count_on(store: Store) -> None:
    """Rows were added with their ids: the server's counters go on after them."""
    from sqlalchemy import text

    with store.optuna.engine.begin() as connection:
        for table, column in (("paretonas_evaluations", "id"), ("trials", "trial_id")):
            connection.execute(
                text(
                    f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), (SELECT max({column}) FROM {table}))"  # noqa: S608 - our own words
                )
            )
        connection.execute(text("ANALYZE"))


def crowd(url: str, workers: int, processes: int, trials: int) -> None:
    """Many workers at once: how fast they are, and whether all is there once in the end."""
    store = Store(url)
    name = f"crowd-{uuid4().hex[:6]}"
    store.add_study(name, {})
    found = store.definition(name)
    assert found is not None
    optunas = optuna.create_study(study_name=name, storage=store.optuna, directions=["minimize"] * 2)
    context = multiprocessing.get_context("spawn")
    began = time.perf_counter()
    shares = [(url, name, found[0], trials, workers // processes, number) for number in range(processes)]
    with context.Pool(processes) as pool:
        done = pool.starmap(light_workers, shares)
    seconds = max(end for _, _, end in done) - min(start for _, start, _ in done)
    all_trials = [trial.state for trial in optunas.get_trials(deepcopy=False)]
    evaluations = store.evaluations(found[0])
    assert sum(count for count, _, _ in done) == trials
    assert store.counts(found[0]) == {"complete": trials}
    assert len({each.candidate.key for each in evaluations}) == trials
    assert sorted(each.trial_number for each in evaluations) == list(range(trials))
    assert {len(points) for points in store.curves(each.id for each in evaluations).values()} == {3}
    assert all_trials == [TrialState.COMPLETE] * trials
    assert {creator_of(trial) for trial in optunas.get_trials(deepcopy=False)} <= {
        w.name for w in store.workers(found[0])
    }
    print(
        f"{workers} workers in {processes} processes: {trials} trials, {trials / seconds:.1f} a second, nothing lost, "
        f"nothing twice ({seconds:.0f} s, {time.perf_counter() - began:.0f} with the start of processes)"
    )


def light_workers(url: str, name: str, study: int, trials: int, threads: int, process: int) -> tuple[int, float, float]:
    """How many trials the workers of one process made, from when to when."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    begun = time.time()
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(light_worker, url, name, study, trials, f"h/{process}/{n}/x") for n in range(threads)]
        return sum(job.result() for job in jobs), begun, time.time()


def light_worker(url: str, name: str, study: int, trials: int, worker: str) -> int:
    """All that a worker does but propose and train; how many trials it had."""
    store = Store(url, worker=worker)
    optunas = optuna.load_study(study_name=name, storage=store.optuna, sampler=optuna.samplers.RandomSampler())
    store.enlist(study, 60)
    done = 0
    while (place := store.take_place(study, trials)) is not None:
        trial = optunas.ask()
        trial.suggest_float("x", 0, 1)
        one = candidate(trial.number)
        assert store.begin(place, one, trial=trial.number, task="t", seed=0, threads=1, device="cpu") is None
        assert store.claim_training(place, ["a"]) is None
        for epoch in range(3):
            store.add_epoch(place, CurvePoint("train", epoch, 1.0, 0.5, 0.1))
        store.finish(place, {"a": (0.5, {})}, deployed=one.deployed, seconds=1.0, weights="w", front=keep_front)
        optunas.tell(trial, [0.5, 0.5])
        store.renew()
        done += 1
    store.leave()
    return done


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", required=True, help="URL of an empty database")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=30)
    parser.add_argument("--workers", type=int, default=0, help="run the crowd instead, of so many workers")
    parser.add_argument("--processes", type=int, default=4)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"{platform.machine()}, Python {platform.python_version()}, optuna {optuna.__version__}")
    if given.workers:
        crowd(given.storage, given.workers, given.processes, given.trials)
    else:
        bookkeeping(given.storage, given.trials, given.repeat)
