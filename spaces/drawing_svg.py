"""A drawing as SVG: one element with the fonts of the system, without scripts, styles or references."""

from functools import singledispatch
from xml.sax.saxutils import escape, quoteattr

from .drawing_shapes import Box, Path, Scene, Text

FONTS = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Arial, sans-serif"
DASHES = ' stroke-dasharray="4 3"'
ARROW = 4.0


def svg(scene: Scene) -> str:
    """The text of the element. What users named is escaped."""
    width, height = f"{scene.width:.0f}", f"{scene.height:.0f}"
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                f'viewBox="0 0 {width} {height}" role="img" aria-label={quoteattr(_clean(scene.title))} '
                f'font-family="{FONTS}">'
            ),
            f"<title>{_escaped(scene.title)}</title>",
            *(_element(item) for item in scene.items),
            "</svg>",
        ]
    )


@singledispatch
def _element(item: object) -> str:
    raise AssertionError(item)


@_element.register
def _(box: Box) -> str:
    stroke = f' stroke="{box.stroke}"{DASHES if box.dashed else ""}' if box.stroke else ""
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{box.radius:g}" fill="{box.fill or "none"}"{stroke}/>'
    )


@_element.register
def _(path: Path) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in path.points)
    line = f'<polyline points="{points}" fill="none" stroke="{path.stroke}"{DASHES if path.dashed else ""}/>'
    if not path.arrow:
        return line
    tip = " ".join(f"{x:.1f},{y:.1f}" for x, y in arrow_head(path))
    return f'{line}<polygon points="{tip}" fill="{path.stroke}"/>'


@_element.register
def _(text: Text) -> str:
    weight = ' font-weight="600"' if text.bold else ""
    whole = f"<title>{_escaped(text.full)}</title>" if text.full else ""
    return (
        f'<text x="{text.x:.1f}" y="{text.y:.1f}" font-size="{text.size:g}" fill="{text.fill}" '
        f'text-anchor="{text.anchor}"{weight}>{_escaped(text.text)}{whole}</text>'
    )


def arrow_head(path: Path) -> tuple[tuple[float, float], ...]:
    """The triangle at the end of a path, whose last line is upright or level."""
    (before, above), (x, y) = path.points[-2:]
    if before == x:
        back = y - ARROW * 1.5 if y > above else y + ARROW * 1.5
        return ((x, y), (x - ARROW, back), (x + ARROW, back))
    back = x - ARROW * 1.5 if x > before else x + ARROW * 1.5
    return ((x, y), (back, y - ARROW), (back, y + ARROW))


def _escaped(text: str) -> str:
    return escape(_clean(text))


def _clean(text: str) -> str:
    """Without control characters, which XML cannot hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
