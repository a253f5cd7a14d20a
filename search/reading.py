"""Reading a study step by step: what has ended once for all who ask in this process, what runs each time."""

from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ..storage import ENDED, CurvePoint, Evaluation

if TYPE_CHECKING:
    from .study import Study

Read = tuple[Evaluation, tuple[CurvePoint, ...]]
_kept: "WeakKeyDictionary[Study, Reading]" = WeakKeyDictionary()


class Reading:
    """What is read of a study so far.

    ended: in the order in which it was read, so that whoever counts how much he took knows what is new. running: as of
    the last refresh. first: the least id of those that were begun.
    """

    def __init__(self, study: "Study") -> None:
        self.ended: list[Read] = []
        self.running: list[Read] = []
        self.first: int | None = None
        self._store, self._study = study.store, study.id
        self._known: set[int] = set()
        self._read_to = self._ended_to = 0  # ids: up to the first one all is read, up to the second one all has ended
        self._lock = Lock()

    def refresh(self) -> None:
        """Read what ended since the last time, and what runs now."""
        with self._lock:
            unended = [one.evaluation for one in self._store.held(self._study)]  # asked before the states are
            states = self._store.states(self._study, after=self._read_to)
            ended_to = min((*unended, max(states, default=self._ended_to) + 1)) - 1
            # Seen twice before it is relied on: a place may be taken between the two questions
            self._read_to, self._ended_to = min(self._ended_to, ended_to), ended_to
            new = [identity for identity in states if identity not in self._known]
            if self.first is None:
                self.first = min(new, default=None)
            found = self._store.read(new) if new else []
            curves = self._store.curves(new) if new else {}
            read = [(one, tuple(curves.get(one.id, ()))) for one in found]
            self.running = [one for one in read if one[0].state == "running"]
            ended = [one for one in read if one[0].state in ENDED]
            self.ended += ended
            self._known |= {evaluation.id for evaluation, _ in ended}


def forget_reading(study: "Study") -> None:
    """Read it anew from the next one on that asks; those that have it keep it."""
    _kept.pop(study, None)


def reading_of(study: "Study") -> Reading:
    """The one of a study in this process, as it was last refreshed."""
    return _kept.setdefault(study, Reading(study))
