"""A drawing as a PNG picture, by Pillow."""

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from .difference import TIMES
from .drawing_shapes import Box, Path, Scene, Text
from .drawing_svg import arrow_head

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

SCALE = 2  # pixels for each unit of the layout
SMOOTH = 2  # times larger it is drawn, then reduced
LARGEST = 16_000  # pixels of a side, beyond which the scale is reduced
FONTS = (("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"), ("Arial.ttf", "Arial_Bold.ttf"), ("arial.ttf", "arialbd.ttf"))
ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}
PLAIN = str.maketrans({TIMES: "x"})  # what the font that comes with Pillow lacks


def png(scene: Scene) -> bytes:
    """The bytes of the file; twice as large in pixels as the SVG, smaller where a side would be above 16,000."""
    from PIL import Image, ImageDraw

    longest = max(scene.width, scene.height)
    scale = min(SCALE, LARGEST / longest)
    smooth = SMOOTH if longest * scale * SMOOTH < LARGEST else 1
    factor = scale * smooth
    size = (max(1, round(scene.width * factor)), max(1, round(scene.height * factor)))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for item in scene.items:
        _paint(draw, item, factor)
    if smooth > 1:
        picture = picture.resize((size[0] // smooth, size[1] // smooth), Image.Resampling.BOX)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def _paint(draw: "ImageDraw.ImageDraw", item: object, factor: float) -> None:
    if isinstance(item, Box):
        _paint_box(draw, item, factor)
    elif isinstance(item, Path):
        points = [(x * factor, y * factor) for x, y in item.points]
        draw.line(points, item.stroke, max(1, round(factor)))
        if item.arrow:
            draw.polygon([(x * factor, y * factor) for x, y in arrow_head(item)], item.stroke)
    elif isinstance(item, Text):
        font, plain = _font(round(item.size * factor), bold=item.bold)
        text = item.text.translate(PLAIN) if plain else item.text
        draw.text((item.x * factor, item.y * factor), text, item.fill, font, ANCHORS[item.anchor])


def _paint_box(draw: "ImageDraw.ImageDraw", box: Box, factor: float) -> None:
    left, top = box.x * factor, box.y * factor
    right, bottom = (box.x + box.width) * factor, (box.y + box.height) * factor
    line = max(1, round(factor))
    if not box.dashed:
        draw.rounded_rectangle((left, top, right, bottom), box.radius * factor, box.fill, box.stroke, line)
        return
    for (x1, y1), (x2, y2) in (
        ((left, top), (right, top)),
        ((right, top), (right, bottom)),
        ((left, bottom), (right, bottom)),
        ((left, top), (left, bottom)),
    ):
        _paint_dashes(draw, (x1, y1, x2, y2), factor, box.stroke or "black")


def _paint_dashes(
    draw: "ImageDraw.ImageDraw", ends: tuple[float, float, float, float], factor: float, stroke: str
) -> None:
    x1, y1, x2, y2 = ends
    length, dash, step = abs(x2 - x1) + abs(y2 - y1), 4 * factor, 7 * factor
    along = ((x2 - x1) / length, (y2 - y1) / length) if length else (0.0, 0.0)
    for number in range(int(length / step) + 1):
        start, end = number * step, min(length, number * step + dash)
        at = [(x1 + along[0] * place, y1 + along[1] * place) for place in (start, end)]
        draw.line(at, stroke, max(1, round(factor)))


@lru_cache(maxsize=64)
def _font(size: int, *, bold: bool) -> "tuple[ImageFont.FreeTypeFont | ImageFont.ImageFont, bool]":
    """A font of the system, or the one that comes with Pillow; and whether it is that one, which has few signs."""
    from PIL import ImageFont

    for names in FONTS:
        try:
            return ImageFont.truetype(names[bold], size), False
        except OSError:
            continue
    return ImageFont.load_default(size), True
