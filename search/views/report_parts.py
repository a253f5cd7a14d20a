"""What a report is made of, before it is HTML or Markdown."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True)
class Table:
    """Plain text in rows. right: columns of numbers."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: tuple[int, ...] = ()


@dataclass(frozen=True)
class Code:
    """Text as it is typed. folded: long, and shown on demand. of: its language."""

    text: str
    of: str = "sh"
    folded: str = ""


@dataclass(frozen=True)
class Drawing:
    """SVG text; words say the same to those who do not see it."""

    svg: str
    words: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it: sentences, tables, code, drawings, and figures of plotly's."""

    title: str
    parts: "tuple[str | Table | Code | Drawing | Figure, ...]"
