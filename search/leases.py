"""Leases: that a worker lives is told by a count that goes on, never by the clock of another machine."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from ..errors import StoreError
from ..storage import Held, Store, WorkerState
from ..storage.identity import is_gone

if TYPE_CHECKING:
    from .study import Study

LEASE = 60.0  # seconds without a count after which a worker is taken for dead
BEATS = 12  # counts within a lease
SLOWEST = 5.0  # seconds between two counts, at most
Fate = Literal["lives", "ended", "died"]
_present: Counter[tuple[str, str]] = Counter()  # leases of this process, by store and worker
_hands: set[tuple[str, int]] = set()  # evaluations that threads of this process are at work on, by store


def beat_of(lease: float) -> float:
    """Seconds between two counts of a worker."""
    return min(SLOWEST, lease / BEATS)


@contextmanager
def in_hand(store: Store, evaluation: int) -> Iterator[None]:
    """Mark what this thread is at work on, so that no other one of this process takes it for left behind."""
    _hands.add((store.url, evaluation))
    try:
        yield
    finally:
        _hands.discard((store.url, evaluation))


class Observer:
    """Tells which workers are dead, by how long this process has watched their counts stand still.

    The time between two looks counts for two beats at most: if the database was away, or this process slept, it was
    not watching. A worker of this host whose process is gone is dead at once, and so is one that said that it ended.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looked = clock()
        self._still: dict[str, tuple[int, float]] = {}  # the count, and for how many seconds it has not changed
        self._lock = threading.Lock()

    def look(self, states: Mapping[str, WorkerState | None]) -> None:
        """Take in the counts of this moment, by name. One without a row, as of earlier releases, has a lease too."""
        with self._lock:
            now = self._clock()
            passed, self._looked = now - self._looked, now
            for name, state in states.items():
                beat, lease = (0, LEASE) if state is None else (state.beat, state.lease)
                before, still = self._still.get(name, (None, 0.0))
                self._still[name] = (beat, still + min(passed, 2 * beat_of(lease)) if before == beat else 0.0)

    def is_dead(self, name: str, state: WorkerState | None) -> bool:
        """Whether nobody has to wait for a worker. name: empty for nobody's. state: its row, if it has one."""
        if not name or (state is not None and state.state == "ended") or is_gone(name):
            return True
        return self._still.get(name, (0, 0.0))[1] > (LEASE if state is None else state.lease)


class Lease:
    """A worker's presence in a study, from ``with`` to its end: a thread counts its beat up, and watches the others.

    The thread goes on whatever the database says. seconds: without a count, after which the others may take over.
    """

    def __init__(self, study: "Study", seconds: float = LEASE) -> None:
        self._store, self._study, self._seconds = study.store, study.id, seconds
        self._key = (study.store.url, study.store.worker)
        self._observer = Observer()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="paretonas-lease", daemon=True)

    def __enter__(self) -> Self:
        self._store.enlist(self._study, self._seconds)
        _present[self._key] += 1
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(SLOWEST)
        _present[self._key] -= 1
        away = kind is not None and issubclass(kind, StoreError)  # it was waited for long enough
        if not _present[self._key] and not away:  # no other thread is at work under this name
            with suppress(Exception):  # then the count stands still, which says the same
                self._store.leave()

    def held(self) -> tuple[list[Held], list[Held]]:
        """The evaluations that nobody who lives has in hand, and those that others have in hand."""
        held = self._store.held(self._study)
        self._observer.look({one.worker: one.alive for one in held})
        nobodys = [one for one in held if self._is_nobodys(one)]
        return nobodys, [one for one in held if one not in nobodys]

    def is_at_work(self, evaluation: int) -> bool:
        """Whether somebody who lives has an evaluation of any study in hand."""
        one = self._store.holder(evaluation)
        if one is None:
            return False
        self._observer.look({one.worker: one.alive})
        return not self._is_nobodys(one)

    def fate(self, worker: str, state: WorkerState | None) -> Fate:
        """What became of a worker. An earlier search of this process ended: a process that died is another one."""
        if not worker or worker == self._store.worker or (state is not None and state.state == "ended"):
            return "ended"
        return "died" if self._observer.is_dead(worker, state) else "lives"

    def _is_nobodys(self, one: Held) -> bool:
        mine = one.worker == self._store.worker and (self._store.url, one.evaluation) in _hands
        return not mine and self.fate(one.worker, one.alive) != "lives"

    def _go_on(self) -> None:
        while not self._over.wait(beat_of(self._seconds)):
            with suppress(Exception):
                self._store.renew()
                self._observer.look({one.name: one for one in self._store.workers(self._study)})
