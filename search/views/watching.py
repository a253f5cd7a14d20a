"""Whoever leads a search shows it: on the terminal or as lines for machines, and in TensorBoard."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from ...errors import one_of
from .log import FORMATS, JsonLog
from .progress import Progress
from .standing import Asked

if TYPE_CHECKING:
    from types import TracebackType

    from ..study import Study

EVERY = 1.0  # seconds between two looks at the store while a candidate is trained


class View(Protocol):
    """Something that shows a search while it runs."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: "TracebackType | None", /
    ) -> None: ...
    def refresh(self) -> None:
        """Take in what came since the last call, and show it."""


class Watch:
    """What a search calls: when a trial ended, or a moment passed, and after each epoch."""

    def __init__(self, views: list[View]) -> None:
        self._views, self._last = views, time.monotonic()

    def refresh(self) -> None:
        """Have all views look."""
        for view in self._views:
            view.refresh()
        self._last = time.monotonic()

    def glance(self) -> None:
        """The same, unless the last look was a moment ago."""
        if self._views and time.monotonic() - self._last >= EVERY:
            self.refresh()


def views_of(
    study: "Study", asked: Asked, *, show: bool, log_format: str, tensorboard: str | Path | None
) -> list[Callable[[], View]]:
    """How each view that is asked for is made. UsageError for what is unknown or not installed."""
    one_of("log format", log_format, FORMATS)
    views: list[Callable[[], View]] = []
    if tensorboard is not None:
        from .tensorboard import TensorBoard, check_installed

        check_installed()
        views.append(lambda: TensorBoard(study, Path(tensorboard)))
    if show:
        views.append(lambda: JsonLog(study, asked) if log_format == "json" else Progress(study, asked))
    return views


@contextmanager
def watching(views: list[Callable[[], View]]) -> Iterator[Watch]:
    """Show a search as long as it runs; each view is closed whatever happens."""
    with ExitStack() as stack:
        yield Watch([stack.enter_context(make()) for make in views])
