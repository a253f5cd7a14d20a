"""What a drawing is made of, whatever it is drawn with: shapes and texts at their places, in pixels."""

from dataclasses import dataclass

INK, FAINT, EDGE, FRAME, BACK = "#1f2933", "#52606d", "#9aa5b1", "#f5f7fa", "#ffffff"


@dataclass(frozen=True)
class Box:
    """A rectangle, filled, with a line around it, or both."""

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    dashed: bool = False
    radius: float = 2.0


@dataclass(frozen=True)
class Path:
    """Straight lines from point to point. arrow: whether it ends in one."""

    points: tuple[tuple[float, float], ...]
    stroke: str = EDGE
    dashed: bool = False
    arrow: bool = False


@dataclass(frozen=True)
class Text:
    """x, y: of its baseline; anchor: which of its ends stands at x. full: the whole text where it was cut."""

    x: float
    y: float
    text: str
    size: float = 12.0
    fill: str = INK
    anchor: str = "start"
    bold: bool = False
    full: str = ""


Item = Box | Path | Text


@dataclass(frozen=True)
class Scene:
    """A whole drawing. items: from the lowest to the topmost; title: in words."""

    width: float
    height: float
    items: tuple[Item, ...]
    title: str
