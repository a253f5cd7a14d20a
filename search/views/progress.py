"""Live progress of a search on the terminal: the work done, the front, and how it grew."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from .standing import Asked, Standing
from .tables import in_figures

if TYPE_CHECKING:
    from ..study import Study

PLAIN_LINES = 10  # so many lines in all where the output is no terminal
MOST_ROWS = 8  # of the front
OTHER_ROWS = 9  # of a terminal, that the table leaves free
SPARKS, ASCII_SPARKS = "▁▂▃▄▅▆▇█", "_.-=+*#@"
SPARK_WIDTH = 32


class Progress:
    """A bar, the front and its hypervolume on a terminal, a line for every tenth of the work elsewhere; on standard
    error.
    """

    def __init__(self, study: "Study", asked: Asked) -> None:
        self._study = study
        self._standing = Standing(study, asked)
        self._console = Console(file=sys.stderr, emoji=False)
        bar = BarColumn(bar_width=24)
        self._bar = Bar(TextColumn("{task.description}"), bar, TimeElapsedColumn(), console=self._console)
        self._task = self._bar.add_task("starting", total=self._standing.whole or None)
        self._live = Live(
            self._bar,
            console=self._console,
            refresh_per_second=4,
            redirect_stdout=sys.stdout.isatty(),  # what goes into a file or a pipe stays there
            vertical_overflow="crop",
        )
        self._last_line = 0

    def __enter__(self) -> Self:
        self._standing.read()
        self._last_line = self._standing.at_start
        if self._console.is_terminal:
            self._show(self._picture())
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.refresh()
            self._show(Group(self._bar, *self._lines()))
        finally:
            self._live.stop()  # the cursor is shown again, whatever happened

    def refresh(self) -> None:
        """Take in what ended since the last call, and show it."""
        standing = self._standing
        new = standing.read()
        if self._console.is_terminal:
            self._show(self._picture() if new else None)
        elif standing.done - self._last_line >= max(1, (standing.whole - standing.at_start) // PLAIN_LINES):
            self._last_line = standing.done
            line = " · ".join([*standing.work, *standing.results])
            self._console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _show(self, picture: RenderableType | None) -> None:
        """Renew the bar, and all else if it is given."""
        done = " · ".join(self._standing.work)
        self._bar.update(self._task, completed=self._standing.done, description=escape(done))
        if picture is not None:
            self._live.update(picture, refresh=self._live.is_started)

    def _picture(self) -> RenderableType:
        front = self._front()
        return Group(self._bar, *self._lines(), *([] if front is None else [front]))

    def _lines(self) -> list[Text]:
        """Results in words, and the hypervolume over the trials until now."""
        lines = [Text(" · ".join(self._standing.results) or "no trial has ended yet")]
        if curve := self._standing.curve(SPARK_WIDTH):
            utf8 = (self._console.encoding or "").lower().startswith("utf")
            lines.append(Text("hypervolume " + sparkline(curve, SPARKS if utf8 else ASCII_SPARKS), style="cyan"))
        return lines

    def _front(self) -> Table | None:
        """As many points of the front as there is room for, the ends among them."""
        points = self._standing.front
        room = max(2, min(MOST_ROWS, self._console.height - OTHER_ROWS))
        if not points:
            return None
        names = self._study.definition.objectives
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("trial", *names):
            table.add_column(name, justify="right", no_wrap=True)
        chosen = range(len(points))
        if len(points) > room:
            chosen = sorted({round(place * (len(points) - 1) / (room - 1)) for place in range(room)})  # type: ignore[assignment]
            table.caption = f"{len(chosen)} of the {len(points)} points of the front"
            table.caption_justify = "left"
        for index in chosen:
            point = points[index]
            table.add_row(str(point.trial), *(in_figures(name, point.values[name]) for name in names))
        return table


def sparkline(curve: list[float], sparks: str = SPARKS) -> str:
    """A line of blocks as high as the values, from 0 to the largest; one letter for each."""
    top = max(curve, default=0.0) or 1.0
    return "".join(
        sparks[min(len(sparks) - 1, int(max(0.0, value) / top * (len(sparks) - 1) + 0.5))] for value in curve
    )
