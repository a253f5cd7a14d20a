"""Progress for machines: one JSON object a line on standard error."""

import json
import math
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ...storage import shown
from .standing import Asked, Standing

if TYPE_CHECKING:
    from ...storage import Evaluation
    from ..study import Study

FORMATS = ("text", "json")


class JsonLog:
    """Writes a line for each event.

    Every line has ``event``, ``time`` (ISO 8601, UTC) and ``study``, and:

    - ``started``: storage (without its password), objectives ({name: {unit, direction}}), trials (in the study before),
      asked ({trials, epochs, seconds}, null where not bounded);
    - ``trial``, once for each that ended: trial, state (complete, stopped, failed), reason (null for complete ones),
      values ({name: number}), seconds (that it took), inherited (whether it began with trained weights);
    - ``progress``, after each look at which a trial had ended: trials, stopped, refused, failed ({kind: count}),
      epochs, front (points), and where they are known seconds_left, best ({quality: number}), hypervolume (0 to 1);
    - ``done``, ``interrupted`` or ``failed``, the last one: what ``progress`` has, and of ``failed`` also error.

    On the command line warnings and errors are lines too: ``warning`` and ``error``, with message and without study.
    """

    def __init__(self, study: "Study", asked: Asked) -> None:
        self._study, self._asked = study, asked
        self._standing = Standing(study, asked)

    def __enter__(self) -> Self:
        objectives = self._study.definition.resolved_objectives
        self._standing.read()
        self._say(
            "started",
            storage=shown(self._study.store.url),
            objectives={one.name: {"unit": one.unit, "direction": one.direction} for one in objectives},
            trials=self._standing.trials,
            asked=vars(self._asked),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        error = None
        try:
            self.refresh()
        finally:
            event = "done"
            if kind is not None:
                event = "interrupted" if issubclass(kind, KeyboardInterrupt) else "failed"
                error = f"{kind.__name__}: {value}"
            more = {"error": error} if event == "failed" else {}
            self._say(event, **self._standing.to_json(), **more)

    def refresh(self) -> None:
        """Say what ended since the last call."""
        new = self._standing.read()
        for evaluation in new:
            self._say("trial", **_told(evaluation))
        if new:
            self._say("progress", **self._standing.to_json())

    def _say(self, event: str, **more: Any) -> None:
        say(event, study=self._study.name, **more)


def say(event: str, **more: Any) -> None:
    """Write one event."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"event": event, "time": now, **_finite(more)}), file=sys.stderr, flush=True)


def _told(evaluation: "Evaluation") -> dict[str, Any]:
    return {
        "trial": evaluation.trial_number,
        "state": evaluation.state,
        "reason": None if evaluation.kind is None else f"{evaluation.kind}: {evaluation.reason}",
        "values": dict(evaluation.values),
        "seconds": evaluation.seconds,
        "inherited": evaluation.candidate.start is not None,
    }


def _finite(data: Any) -> Any:
    """The same without NaN and infinities, which JSON has not: null."""
    if isinstance(data, dict):
        return {name: _finite(value) for name, value in data.items()}
    return None if isinstance(data, float) and not math.isfinite(data) else data
