"""How measures are called where people see them: short, with units, and escaped for the page that they stand on."""

import html
import re
from collections.abc import Sequence

from ...objectives import METRICS, objective_of
from ...objectives.objective import Timed

UNITS = {
    "parameters": "count",
    "nonzero_parameters": "count",
    "macs": "per example",
    "latency_ms": "per example",
    "mae": "in the target's unit",
    "rmse": "in the target's unit",
    "perplexity": "per token",
}  # of names that do not say it themselves
LONGEST = 40  # characters of the unit of an objective of the user's own
_MARKS = re.compile(r"([\\`*_\[\]|~]|^[-+#=>]|(?<=^\d)[.)](?= ))")


def label_of(name: str) -> str:
    """A measure with its unit: ``accuracy (share)``, ``latency_ms (per example)``. Names that differ stay different."""
    unit = _unit(name)
    return f"{name} ({unit})" if unit else name


def labels_of(names: Sequence[str]) -> list[str]:
    """The labels of several measures."""
    return [label_of(name) for name in names]


def _unit(name: str) -> str:
    objective = objective_of(name)
    if isinstance(objective, Timed):
        each = "batch" if objective.batch > 1 and objective.word == "latency" else "example"
        if objective.word == "throughput":
            return "examples a second"
        return f"per {each}" if name == "latency_ms" else f"ms per {each}"
    word = name.rpartition(".")[2] if objective.quality else name
    if word in UNITS:
        return UNITS[word]
    if any(word in metrics for metrics in METRICS.values()):
        return "share"
    return "" if word.endswith("_bytes") else objective.unit[:LONGEST]


def in_markdown(text: object) -> str:
    """Text in which no character means anything to Markdown or HTML, on one line."""
    line = _MARKS.sub(r"\\\1", " ".join(str(text).split()))
    return html.escape(line, quote=False)


def in_html(text: object) -> str:
    """Text in which no character means anything to HTML."""
    return html.escape(str(text))
