"""What a notebook shows of a study and of a trial: plain HTML in the colours of the notebook's own theme."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from ..delivery.card import TEST, unit_of
from ..front import knee
from .drawing import draw_trial
from .tables import in_figures, in_words, recipe_of

if TYPE_CHECKING:
    from ..study import Study
    from ..trial import Trial

MOST_ROWS = 40  # of a front
CELL = "padding:2px 12px 2px 0;text-align:{side};vertical-align:top"
Row = Sequence[tuple[str, bool]]  # text, and whether it is a number


def study_html(study: "Study") -> str:
    """The front as a table, the knee marked, and what was spent."""
    definition, points = study.definition, study.pareto_front
    counts = study.store.counts(study.id)
    states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none yet"
    said = [f"<b>{escape(study.name)}</b>: {escape(', '.join(definition.objectives))}", f"trials: {escape(states)}"]
    if not points:
        bounded = f" that holds {' and '.join(definition.constraints)}" if definition.constraints else ""
        return _page([*said, f"the front is empty: there is no finished trial{escape(bounded)}"], "")
    values = [trial.values for trial in points]
    chosen = knee(values, definition.resolved_objectives)
    names = list(dict.fromkeys(name for each in values for name in each))
    head = [("trial", True), *((name, True) for name in names), ("network", False)]
    rows = [_front_row(trial, names, knee=index == chosen) for index, trial in enumerate(points)]
    if len(rows) > MOST_ROWS:
        said.append(f"{MOST_ROWS} of the {len(rows)} points of the front, from few parameters to many")
        step = (len(rows) - 1) / (MOST_ROWS - 1)
        rows = [rows[index] for index in sorted({round(place * step) for place in range(MOST_ROWS)} | {chosen})]
    return _page([*said, escape(str(study.spending))], _table(head, rows))


def trial_html(trial: "Trial") -> str:
    """Figures with their units, and the drawing of the network. Nothing is measured for it."""
    said = [f"<b>Trial {trial.number} of {escape(trial.study.name)}</b>: {escape(trial.state)}"]
    if trial.reason:
        said.append(escape(trial.reason))
    known = trial.study.store.evaluation(trial.evaluation.id).values
    tested = {name: value for name, value in known.items() if name.startswith(TEST) and name not in trial.values}
    rows: list[Row] = [
        ((name, False), (in_figures(name, value), True), (unit_of(name), False))
        for name, value in {**trial.values, **tested}.items()
    ]
    rows += [((name, False), (value, True), (meaning, False)) for name, value, meaning in recipe_of(trial.candidate)]
    return _page(said, _table([], rows) + draw_trial(trial))


def _front_row(trial: "Trial", names: Iterable[str], *, knee: bool) -> Row:
    values = [in_figures(name, trial.values[name]) if name in trial.values else "" for name in names]
    words = in_words(trial) + (" (knee)" if knee else "")
    return ((str(trial.number), True), *((value, True) for value in values), (words, False))


def _page(said: Iterable[str], content: str) -> str:
    """said: lines of HTML."""
    lines = "".join(f"<div>{line}</div>" for line in said)
    return f'<div style="font-family:sans-serif;font-size:13px;overflow-x:auto">{lines}{content}</div>'


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [f"<tr>{_cells(head, 'th')}</tr>"] if head else []
    lines += [f"<tr>{_cells(row, 'td')}</tr>" for row in rows]
    return f'<table style="border-collapse:collapse;margin:6px 0">{"".join(lines)}</table>'


def _cells(row: Row, tag: str) -> str:
    return "".join(
        f'<{tag} style="{CELL.format(side="right" if number else "left")}">{escape(text)}</{tag}>'
        for text, number in row
    )
