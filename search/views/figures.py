"""Figures of a study, as plotly's: its front and where it stands, its search, what matters, how candidates learn."""

import html
from collections.abc import Callable, Sequence
from itertools import combinations
from math import ceil
from typing import TYPE_CHECKING

from ...objectives import is_cost
from ..delivery.card import TEST
from .figures_data import Snapshot, snapshot
from .figures_style import BLUE, GREEN, GREY, ORANGE, PINK, RED, axis, rounded, say, styled
from .labels import label_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ..study import Study
    from ..trial import Trial

MOST_PANELS = 6  # pairs of objectives
PANEL = 380  # pixels of a panel's height, where there are several
WORDS = 90  # characters of a network in a label
LOOKS = {
    "infeasible": (
        "violates a constraint",
        {"symbol": "x-thin", "size": 8, "color": RED, "line": {"width": 1.6, "color": RED}},
    ),
    "stopped": ("stopped early", {"symbol": "triangle-down-open", "size": 8, "color": PINK, "line": {"width": 1.4}}),
    "dominated": ("dominated", {"symbol": "circle", "size": 6, "color": GREY, "opacity": 0.65}),
    "repetition": ("repetition", {"symbol": "circle-open", "size": 6, "color": GREY, "opacity": 0.8}),
    "front": ("front", {"symbol": "circle", "size": 9, "color": BLUE}),
}
REFERENCE = {"symbol": "diamond", "size": 12, "color": GREEN}
KNEE = {"symbol": "star", "size": 15, "color": ORANGE, "line": {"width": 1, "color": "#5c4000"}}


def front_figure(study: "Study", *, x: str | None = None, y: str | None = None) -> "Figure":
    """The front, what it dominates, the knee and the reference networks, for each pair of objectives.

    Stopped trials stand where they stopped. What failed or was refused has no place, and is counted in the title. x, y:
    one pair of objectives alone.
    """
    shot = snapshot(study)
    return draw_front(shot, pairs=[(x, y)] if x is not None and y is not None else None)


def draw_front(shot: Snapshot, *, pairs: Sequence[tuple[str, str]] | None = None, most: int | None = None) -> "Figure":
    """See ``front_figure``. most: how many points off the front are drawn at most, of each kind the newest."""
    from plotly.subplots import make_subplots

    pairs = pairs or pairs_of(shot.objectives)
    columns = min(2, len(pairs))
    rows = ceil(len(pairs) / columns)
    space = {"horizontal_spacing": 0.1, "vertical_spacing": 0.32 / rows}
    figure = make_subplots(rows=rows, cols=columns, **space)
    for index, (x, y) in enumerate(pairs):
        _panel(figure, shot, x, y, (index // columns + 1, index % columns + 1), most)
    title = f"Pareto front of {shot.study.name}"
    styled(figure, title, _subtitle(shot))
    if rows > 1:
        figure.update_layout(height=PANEL * rows, legend={"y": -0.09})
    if not shot.front and not figure.data:
        say(figure, "No trial has come to an end yet." if not shot.trials else "No trial has a place here yet.")
    return figure


def pairs_of(objectives: Sequence[str]) -> list[tuple[str, str]]:
    """Which objectives stand against which, (x, y): the first quality against each other one first."""
    first = next(name for name in objectives if not is_cost(name))
    others = [name for name in objectives if name != first]
    costs = sorted(others, key=lambda name: not is_cost(name))
    return [*((name, first) for name in costs), *combinations(costs, 2)][:MOST_PANELS]


def _subtitle(shot: Snapshot) -> str:
    if not shot.trials:
        return "no trial has ended yet"
    if shot.front:
        return shot.in_words
    bounds = shot.study.definition.constraints
    return f"no point is feasible{' under ' + ' and '.join(bounds) if bounds else ''}; {shot.in_words}"


def _panel(figure: "Figure", shot: Snapshot, x: str, y: str, place: tuple[int, int], most: int | None) -> None:
    names = {"legend": place == (1, 1), "x": x, "y": y}
    drawn: list[Trial] = []
    for kind, (label, look) in LOOKS.items():
        there = [trial for trial in shot.of(kind) if {x, y} <= trial.values.keys()]  # type: ignore[arg-type]
        there = there if most is None or kind == "front" else there[-most:]
        drawn += there
        if kind == "front" and len(shot.objectives) == 2 and there:
            _staircase(figure, there, x, y, place)
        _points(figure, there, label, look, place, names)
    if shot.knee is not None:
        _points(figure, [shot.knee], "knee", KNEE, place, names)
    known = {name: values for name, values in shot.references.items() if {x, y} <= values.keys()}
    if known:
        figure.add_scatter(
            x=rounded(values[x] for values in known.values()),
            y=rounded(values[y] for values in known.values()),
            text=[html.escape(name) for name in known],
            mode="markers+text",
            textposition="top center",
            marker=REFERENCE,
            name="reference network",
            legendgroup="reference",
            showlegend=bool(names["legend"]),
            row=place[0],
            col=place[1],
        )
    for name, update in ((x, figure.update_xaxes), (y, figure.update_yaxes)):
        values = [trial.values[name] for trial in drawn] + [values[name] for values in known.values()]
        update(axis(name, values), row=place[0], col=place[1])
        _frame(update, name, shot, values, place)


def _points(
    figure: "Figure",
    trials: "Sequence[Trial]",
    label: str,
    look: object,
    place: tuple[int, int],
    names: dict[str, object],
) -> None:
    if not trials:
        return
    x, y = str(names["x"]), str(names["y"])
    figure.add_scatter(
        x=rounded(trial.values[x] for trial in trials),
        y=rounded(trial.values[y] for trial in trials),
        text=[_hover(trial) for trial in trials],
        hovertemplate=f"%{{text}}<br>{_safe(x)} %{{x}}<br>{_safe(y)} %{{y}}<extra></extra>",
        mode="markers",
        marker=look,
        name=label,
        legendgroup=label,
        showlegend=bool(names["legend"]),
        row=place[0],
        col=place[1],
    )


def _staircase(figure: "Figure", front: "Sequence[Trial]", x: str, y: str, place: tuple[int, int]) -> None:
    """What is dominated by two objectives ends at this line."""
    points = sorted((trial.values[x], trial.values[y]) for trial in front)
    figure.add_scatter(
        x=rounded(point[0] for point in points),
        y=rounded(point[1] for point in points),
        mode="lines",
        line={"color": BLUE, "width": 1.4, "shape": "hv" if is_cost(x) else "vh"},
        hoverinfo="skip",
        showlegend=False,
        legendgroup="front",
        row=place[0],
        col=place[1],
    )


def _frame(
    update: Callable[..., object], name: str, shot: Snapshot, values: Sequence[float], place: tuple[int, int]
) -> None:
    """Have a quality's axis begin where the front and most of the others are: a double-click shows what is far off."""
    front = [trial.values[name] for trial in shot.front] + [
        one[name] for one in shot.references.values() if name in one
    ]
    if is_cost(name) or len(front) < 2 or len(values) < 8:
        return
    ordered = sorted(values)
    low, high = min(*front, ordered[len(ordered) // 4]), max(*front, ordered[-1 - len(ordered) // 4])
    margin = 0.06 * (high - low)
    if margin:
        update(range=[low - margin, high + margin], row=place[0], col=place[1])


def _hover(trial: "Trial") -> str:
    words = str(trial.architecture)
    words = words if len(words) <= WORDS else words[: WORDS - 1] + "…"
    return f"trial {trial.number}<br>{html.escape(words)}"


def _safe(name: str) -> str:
    """A name in a template of plotly's, where % and { mean something."""
    return html.escape(label_of(name)).replace("%", "&#37;").replace("{", "&#123;")


def hypervolume_figure(study: "Study") -> "Figure":
    """The hypervolume of the feasible points that were found, over the epochs of training that were spent for them."""
    return draw_hypervolume(snapshot(study))


def draw_hypervolume(shot: Snapshot) -> "Figure":
    """See ``hypervolume_figure``."""
    from plotly import graph_objects

    from ..front import hypervolumes

    spent, epochs, found = 0, [], []
    for trial in sorted(shot.trials, key=lambda each: each.evaluation.id):
        spent += len(shot.curve(trial))
        if trial.feasible and not trial.repetition:
            epochs.append(spent)
            found.append(trial)
    figure = graph_objects.Figure()
    reached = hypervolumes([trial.values for trial in found], shot.study.definition.resolved_objectives)
    grows = [i for i, value in enumerate(reached) if i in (0, len(reached) - 1) or value != reached[i - 1]]
    if grows:
        figure.add_scatter(
            x=[epochs[i] for i in grows],
            y=rounded(reached[i] for i in grows),
            text=[f"trial {found[i].number}" for i in grows],
            hovertemplate="%{text}<br>after %{x} epochs: %{y}<extra></extra>",
            mode="lines+markers" if len(grows) < 60 else "lines",
            line={"color": BLUE, "width": 2, "shape": "hv"},
            name="hypervolume",
        )
    styled(figure, "Hypervolume over spent epochs", f"in the box of all points until now; {shot.spending}")
    figure.update_xaxes(title={"text": "epochs of training spent, all trials"}, rangemode="tozero")
    figure.update_yaxes(title={"text": "hypervolume (share of the box)"}, rangemode="tozero")
    figure.update_layout(showlegend=False)
    if not grows:
        say(figure, "No feasible trial is complete yet.")
    return figure


def curves_figure(study: "Study", *, most: int = 60) -> "Figure":
    """Learning curves of the front, of others that came to an end, and of those that were stopped, marked at their end.

    most: curves at most: the whole front, then the newest of the others.
    """
    return draw_curves(snapshot(study), most=most)


def draw_curves(shot: Snapshot, *, most: int = 60) -> "Figure":
    """See ``curves_figure``."""
    from plotly import graph_objects

    figure = graph_objects.Figure()
    trained = [trial for trial in shot.trials if shot.curve(trial)]
    front = [trial for trial in shot.front if shot.curve(trial)]
    left = max(0, most - len(front)) // 2
    stopped = [trial for trial in trained if shot.kinds[trial.number] == "stopped"][-left:] if left else []
    rest = (
        [trial for trial in trained if shot.kinds[trial.number] in ("dominated", "infeasible")][-left:] if left else []
    )
    _lines(figure, shot, rest, "came to an end", {"color": GREY, "width": 1}, 0.55)
    _lines(figure, shot, stopped, "stopped early", {"color": PINK, "width": 1.2, "dash": "dot"}, 0.9)
    _lines(figure, shot, front, "front", {"color": BLUE, "width": 1.6}, 0.9)
    if stopped:
        ends = [(len(shot.curve(trial)), shot.curve(trial)[-1].score) for trial in stopped]
        figure.add_scatter(
            x=[end[0] for end in ends],
            y=rounded(end[1] for end in ends),
            text=[f"trial {trial.number}<br>{html.escape(str(trial.evaluation.reason)[:WORDS])}" for trial in stopped],
            hovertemplate="%{text}<extra></extra>",
            mode="markers",
            marker={"symbol": "triangle-down", "size": 9, "color": PINK},
            name="where it stopped",
        )
    shown = len(front) + len(stopped) + len(rest)
    styled(figure, "Learning curves", f"{shown} of {len(trained)} candidates that were trained here")
    longest = max((len(shot.curve(trial)) for trial in [*front, *stopped, *rest]), default=1)
    whole = {"dtick": 1} if longest <= 15 else {}
    figure.update_xaxes(
        title={"text": "epoch, fine-tuning after training"}, range=[0.8, longest + 0.02 * longest + 0.2], **whole
    )
    figure.update_yaxes(title={"text": f"{score_name(shot)}, validation split"})
    if not shown:
        say(figure, "No candidate has been trained yet.")
    return figure


def score_name(shot: Snapshot) -> str:
    """The metric of the learning curves, with its unit: the first one of the data."""
    for trial in shot.trials:
        if found := [name for name in trial.evaluation.values if not name.startswith(TEST) and not is_cost(name)]:
            return label_of(found[0])
    return "score"


def _lines(
    figure: "Figure", shot: Snapshot, trials: "Sequence[Trial]", label: str, line: dict[str, object], opacity: float
) -> None:
    """All curves of a kind as one trace, with gaps between."""
    if not trials:
        return
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for trial in trials:
        points = shot.curve(trial)
        x += [*range(1, len(points) + 1), None]
        y += [*rounded(point.score for point in points), None]
        text += [f"trial {trial.number}{', fine-tuning' if point.phase != 'train' else ''}" for point in points] + [""]
    figure.add_scatter(
        x=x,
        y=y,
        text=text,
        hovertemplate="%{text}, epoch %{x}: %{y}<extra></extra>",
        mode="lines" if max(len(shot.curve(trial)) for trial in trials) > 1 else "markers",
        line=line,
        opacity=opacity,
        name=label,
    )
