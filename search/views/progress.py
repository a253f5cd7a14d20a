"""Live progress of a search, read from the store, so that it is the same for one worker and many."""

import sys
import time
from collections import Counter
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from ..constraints import held
from ..front import best, hypervolume, non_dominated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..study import Study

ENOUGH = 200  # values before only those are kept that matter
PLAIN_LINES = 10  # so many lines in all where the output is no terminal


class Progress:
    """A bar on a terminal, a line for every tenth of the work elsewhere; on standard error."""

    def __init__(
        self, study: "Study", total: int | None, timeout: float | None, *, show: bool, epochs: int | None = None
    ) -> None:
        self._study, self._total, self._timeout, self._epochs, self._show = study, total, timeout, epochs, show
        self._seen: set[int] = set()
        self._values: list[Mapping[str, float]] = []
        self._kinds: Counter[str] = Counter()  # of failures
        self._stopped = self._spent = 0
        self._console = Console(file=sys.stderr)
        self._bar = Bar(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(), console=self._console
        )
        self._task = self._bar.add_task("starting", total=self._whole() or None)

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self.refresh(silent=True)
        self._at_start = self._last_line = self._done()
        if self._show and self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refresh()
        if self._bar.live.is_started:
            self._bar.stop()

    def refresh(self, *, silent: bool = False) -> None:
        """Take in what finished since the last call, and show it. Where nothing is shown, nothing is read."""
        if not self._show:
            return
        self._read()
        if silent:
            return
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self._done(), description=self.line())
        elif self._done() - self._last_line >= max(1, (self._whole() - self._at_start) // PLAIN_LINES):
            self._last_line = self._done()
            self._console.print(self.line(), soft_wrap=True, highlight=False)

    def _read(self) -> None:
        store, study = self._study.store, self._study.id
        if self._epochs is not None:
            self._spent = store.epochs_trained(study)
        if store.finished(study) == len(self._seen):
            return
        new = [identity for identity in store.finished_ids(study) if identity not in self._seen]
        self._seen.update(new)
        for evaluation in store.read(new):
            if evaluation.state == "failed":
                self._kinds[evaluation.kind or "crashed"] += 1
            elif evaluation.state == "stopped":
                self._stopped += 1
            elif held(self._study.definition.bounds, evaluation.values):
                self._values.append(evaluation.values)
        self._values = self._telling()

    def _telling(self) -> "list[Mapping[str, float]]":
        """Those values that the line follows from: the front, and the ends of each objective's range."""
        values, definition = self._values, self._study.definition
        if len(values) < ENOUGH:
            return values
        kept = {*non_dominated(values, definition.resolved_objectives), best(values, definition.quality)}
        for name in definition.objectives:
            column = [each[name] for each in values]
            kept |= {column.index(min(column)), column.index(max(column))}
        return [values[index] for index in sorted(kept)]

    def line(self) -> str:
        """Trials done, epochs spent if they are bounded, time left, front size, best in the first quality objective,
        hypervolume.
        """
        objectives, quality = self._study.definition.resolved_objectives, self._study.definition.quality
        done = f"trial {len(self._seen)}" + ("" if self._total is None else f"/{self._total}")
        parts = [done]
        if self._epochs is not None:
            parts.append(f"epoch {self._spent}/{self._epochs}")
        parts.append(self._left())
        if self._values:
            parts += [
                f"front {len(non_dominated(self._values, objectives))}",
                f"best {quality.name} {self._values[best(self._values, quality)][quality.name]:.4f}",
                f"hypervolume {hypervolume(self._values, objectives):.3f}",
            ]
        if self._stopped:
            parts.append(f"stopped {self._stopped}")
        if self._kinds:
            kinds = ", ".join(f"{kind} {count}" for kind, count in self._kinds.most_common())
            parts.append(f"failed {self._kinds.total()} ({kinds})")
        if self._study.definition.constraints and (refused := self._study.store.refused(self._study.id)):
            parts.append(f"refused {refused}")
        return " · ".join(part for part in parts if part)

    def _done(self) -> int:
        """What counts: trials, or epochs where only these are bounded."""
        return len(self._seen) if self._total is not None or self._epochs is None else self._spent

    def _whole(self) -> int:
        return self._total or self._epochs or 0

    def _left(self) -> str:
        spent, fresh = time.monotonic() - self._began, self._done() - self._at_start
        guesses = []
        if self._whole() and fresh:
            guesses.append(max(0.0, (self._whole() - self._done()) * spent / fresh))
        if self._timeout is not None:
            guesses.append(max(0.0, self._timeout - spent))
        if not guesses:
            return ""
        minutes, seconds = divmod(round(min(guesses)), 60)
        return f"{minutes}:{seconds:02d} left"
