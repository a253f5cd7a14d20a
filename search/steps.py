"""Which step of a long command is at work, on standard error."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console


class Steps:
    """One moving line on a terminal, a line for each step elsewhere; nothing unless it is shown."""

    def __init__(self, *, show: bool) -> None:
        self._console = Console(file=sys.stderr)
        self._show = show
        self._status = self._console.status("starting")
        self._step = ""

    def __enter__(self) -> Self:
        if self._show and self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def begin(self, step: str) -> None:
        """Say what begins."""
        self._step = step
        self._status.update(step)
        if self._show and not self._console.is_terminal:
            self._console.print(step, soft_wrap=True, highlight=False)

    def within(self, detail: str) -> None:
        """Say how far it is, on a terminal."""
        self._status.update(f"{self._step} · {detail}")
