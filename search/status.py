"""How a study stands: who works on it, what came to an end and how, how fast it goes, and what it takes on the disk."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from ..spaces.architecture import Json
from ..storage import FINISHED, WorkerState, shown
from ..storage.upkeep import artifact_bytes, database_bytes, recent_seconds
from .leases import Observer, beat_of

if TYPE_CHECKING:
    from .study import Study

RECENT = 50  # trials whose seconds say how fast a study goes
ASKED = "asked"  # user attribute of the Optuna study: what was asked of it last


@dataclass(frozen=True)
class Worker:
    """state: ``alive``; ``dead``, if its process is gone or its count stood still; or ``ended``. trial: the one that it
    has in hand, where it has proposed it.
    """

    name: str
    host: str
    state: str
    trial: int | None


@dataclass(frozen=True)
class Status:
    """trials: by state, ``open`` being places that are proposed for. failures: by kind, also of refused and stopped
    ones. total: trials that were asked for last. per_hour: trials that end, by what the newest took and how many
    workers live. seconds_left: until ``total`` at this rate. free_bytes: where the artifacts are.
    """

    study: str
    storage: str
    artifacts: str
    workers: tuple[Worker, ...]
    trials: Mapping[str, int]
    failures: Mapping[str, int]
    front: int
    total: int | None
    per_hour: float | None
    seconds_left: float | None
    asked_to_stop: bool
    artifact_bytes: int
    database_bytes: int | None
    free_bytes: int | None

    @property
    def alive(self) -> int:
        """How many workers live."""
        return sum(worker.state == "alive" for worker in self.workers)

    @property
    def finished(self) -> int:
        """How many trials took a place to its end."""
        return sum(self.trials.get(state, 0) for state in FINISHED)

    def to_json(self) -> Json:
        return {**asdict(self), "alive": self.alive, "finished": self.finished}


def status(study: "Study", *, watch: float = 0.0) -> Status:
    """See ``Study.status``."""
    store = study.store
    workers = workers_of(study, watch)
    trials = store.counts(study.id)
    front = store.front_ids(study.id)
    asked = study.optuna.user_attrs.get(ASKED)
    total = asked.get("n_trials") if isinstance(asked, dict) else None
    seconds, alive = recent_seconds(store, study.id, RECENT), sum(worker.state == "alive" for worker in workers)
    rate = alive / fmean(seconds) if seconds and alive else None
    left = None if total is None else max(0, total - sum(trials.get(state, 0) for state in FINISHED))
    return Status(
        study=study.name,
        storage=shown(store.url),
        artifacts=store.artifacts.where,
        workers=workers,
        trials=trials,
        failures=store.kinds(study.id),
        front=len(study.pareto_front if front is None else front),
        total=total,
        per_hour=None if rate is None else 3600 * rate,
        seconds_left=None if rate is None or left is None else left / rate,
        asked_to_stop=store.is_asked_to_stop(study.id),
        artifact_bytes=artifact_bytes(store, study.id),
        database_bytes=database_bytes(store),
        free_bytes=store.artifacts.free_bytes(),
    )


def workers_of(study: "Study", watch: float) -> tuple[Worker, ...]:
    """Who works or worked on a study, watched for so many seconds; at work first."""
    store, observer = study.store, Observer()
    until, states = time.monotonic() + watch, store.workers(study.id)
    observer.look({one.name: one for one in states})
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, min((beat_of(one.lease) for one in states), default=left)))
        states = store.workers(study.id)
        observer.look({one.name: one for one in states})
    hands = {one.worker: one.trial_number for one in store.held(study.id) if one.state == "running"}
    found = [Worker(one.name, one.host, _state(observer, one), hands.get(one.name)) for one in states]
    return tuple(sorted(found, key=lambda worker: ("alive", "dead", "ended").index(worker.state)))


def _state(observer: Observer, worker: WorkerState) -> str:
    if worker.state == "ended":
        return "ended"
    return "dead" if observer.is_dead(worker.name, worker) else "alive"
