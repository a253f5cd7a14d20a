"""How figures look: few colours that colour-blind people tell apart (Okabe and Ito 2008), on light and dark pages."""

import html
from collections.abc import Iterable, Sequence
from math import floor, log10
from typing import TYPE_CHECKING

from ...objectives import is_cost
from .labels import label_of

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

BLUE, ORANGE, RED, PINK, GREEN, GREY = "#2f86c9", "#e69f00", "#d55e00", "#cc79a7", "#009e73", "#8a8a8a"
TEXT = "#7a7a7a"  # 4.3 times as dark as white, 4.3 times as bright as the dashboard's dark page
FAINT = "rgba(128,128,128,0.22)"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
DIGITS = 5  # significant ones of what is drawn


def styled(figure: "Figure", title: str, subtitle: str = "") -> "Figure":
    """The figure with the house's look. title, subtitle: plain text."""
    text = html.escape(title) + (f"<br><sub>{html.escape(subtitle)}</sub>" if subtitle else "")
    figure.update_layout(
        title={"text": text, "x": 0.02, "xanchor": "left", "font": {"size": 16}},
        font={"family": FONT, "size": 12, "color": TEXT},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 20, "t": 70, "b": 50},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0},
        hoverlabel={"font": {"family": FONT}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": TEXT, "activecolor": BLUE},
        hovermode="closest",
        template=None,
    )
    lines = {"gridcolor": FAINT, "zerolinecolor": FAINT, "linecolor": TEXT, "showline": True, "ticks": "outside"}
    figure.update_xaxes(**lines)
    figure.update_yaxes(**lines)
    return figure


def axis(name: str, values: Sequence[float]) -> dict[str, object]:
    """The axis of a measure: its label with the unit, logarithmic for costs that allow it. values: that are drawn."""
    look = {"title": {"text": html.escape(label_of(name)), "standoff": 8}, "automargin": True}
    if not is_cost(name) or min(values, default=0.0) <= 0:
        return look
    spread = max(values) / min(values)
    at = _ticks(min(values), max(values), _STEPS[0 if spread > 2000 else 1 if spread > 10 else 2])
    return {**look, "type": "log", "tickvals": at, "ticktext": [_short(value) for value in at]}


_STEPS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9))  # of a decade; in all that stand in one are few
_SIZES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (0.0, ""))


def _ticks(least: float, most: float, steps: Sequence[float]) -> list[float]:
    """Round numbers from a little below the least to a little above the most."""
    decades = range(floor(log10(least)) - 1, floor(log10(most)) + 2)
    every = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return [value for value in every if least / 1.5 <= value <= most * 1.5]


def _short(value: float) -> str:
    """10k in the place of 10,000."""
    size, sign = next((size, sign) for size, sign in _SIZES if value >= size)
    return f"{value / (size or 1):g}{sign}"


def rounded(values: Iterable[float]) -> list[float]:
    """Values with as many digits as can be seen."""
    return [value if not value else round(value, DIGITS - 1 - floor(log10(abs(value)))) for value in values]


def say(figure: "Figure", text: str) -> None:
    """A sentence in the middle, where there is nothing to draw."""
    figure.add_annotation(
        text=html.escape(text), showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"size": 14}
    )
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
