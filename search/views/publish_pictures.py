"""Small pictures of one trial, drawn in a hundredth of a second: its learning curve, and what it takes for what."""

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from ...storage import CurvePoint

SCALE = 2  # pixels for each unit of what is said here
INK, FAINT, BLUE, ORANGE, PAPER = "#333333", "#d9d9d9", "#2f86c9", "#d55e00", "#ffffff"
Box = tuple[float, float, float, float]  # left, top, right, bottom
MOST_CLASSES = 40  # whose names and numbers are written


def learning_curve_png(points: "Sequence[CurvePoint]", title: str, score: str, *, stopped: str = "") -> bytes:
    """Loss and score of each epoch, side by side, as PNG. stopped: what is said at the end of one that was stopped."""
    image, draw = _page(640, 300)
    _text(draw, (16, 10), title, 15)
    if stopped:
        _text(draw, (16, 30), stopped, 11, fill=ORANGE)
    first = next((i for i, point in enumerate(points) if point.phase != "train"), len(points))
    for box, label, values in (
        ((60.0, 62.0, 310.0, 252.0), "loss, training split", [point.loss for point in points]),
        ((380.0, 62.0, 630.0, 252.0), f"{score}, validation split", [point.score for point in points]),
    ):
        _line(draw, box, label, values, first, stopped=bool(stopped))
    return _png(image)


def _line(draw: "ImageDraw", box: Box, label: str, values: Sequence[float], first: int, *, stopped: bool) -> None:
    left, top, right, bottom = box
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.5 * abs(high) or 1.0
    low, high = low - margin, high + margin
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = bottom - share * (bottom - top)
        draw.line(_at((left, y, right, y)), fill=FAINT, width=SCALE)
        _text(draw, (left - 6, y - 6), f"{low + share * (high - low):.3g}", 10, anchor="ra")
    span = max(1, len(values) - 1)
    places = [
        (
            left + (index / span if len(values) > 1 else 0.5) * (right - left),
            bottom - (v - low) / (high - low) * (bottom - top),
        )
        for index, v in enumerate(values)
    ]
    draw.rectangle(_at(box), outline=INK, width=1)
    if len(places) > 1:
        draw.line([_at(place) for place in places], fill=BLUE, width=2 * SCALE, joint="curve")
    for index, (x, y) in enumerate(places):
        fill = ORANGE if stopped and index == len(places) - 1 else BLUE if index < first else PAPER
        size = 5 if fill == ORANGE else 3
        if len(places) <= 60 or fill == ORANGE:
            draw.ellipse(_at((x - size, y - size, x + size, y + size)), fill=fill, outline=BLUE, width=SCALE)
    for index in sorted({0, span // 2, len(values) - 1}):
        _text(draw, (places[index][0], bottom + 5), str(index + 1), 10, anchor="ma")
    tuned = " (hollow: fine-tuning)" if first < len(values) else ""
    _text(draw, ((left + right) / 2, bottom + 22), f"epoch{tuned}", 11, anchor="ma")
    _text(draw, (left, top - 16), label, 11)


def confusion(predicted: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """How many examples of each class (a row) were taken for each (a column)."""
    return torch.bincount(labels.long() * classes + predicted.long(), minlength=classes * classes).view(classes, -1)


def confusion_png(counts: torch.Tensor, names: Sequence[str], title: str) -> bytes:
    """A confusion matrix as PNG: rows are labels, columns answers; shades are shares of the row."""
    classes = len(counts)
    cell = max(2.0, min(34.0, 480.0 / classes))
    written = classes <= MOST_CLASSES
    side = cell * classes
    image, draw = _page(int(side) + 130, int(side) + 130)
    _text(draw, (16, 10), title, 14)
    left, top = 100.0, 90.0
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    font = 11 if cell >= 24 else 8
    for row in range(classes):
        for column in range(classes):
            x, y, share = left + column * cell, top + row * cell, float(shares[row, column])
            draw.rectangle(_at((x, y, x + cell, y + cell)), fill=_shade(share, BLUE if row == column else ORANGE))
            if counts[row, column] and cell >= 15:
                ink = PAPER if share > 0.55 else INK
                _text(draw, (x + cell / 2, y + cell / 2), str(int(counts[row, column])), font, anchor="mm", fill=ink)
        if written:
            name = names[row] if row < len(names) else str(row)
            _text(draw, (left - 6, top + (row + 0.5) * cell), name[:14], font, anchor="rm")
            if 0.6 * font * len(name) <= cell:
                _text(draw, (left + (row + 0.5) * cell, top - 10), name, font, anchor="mm")
    draw.rectangle(_at((left, top, left + side, top + side)), outline=INK, width=SCALE)
    _text(draw, (left, 50), "columns: what the network answers", 11)
    _text(draw, (16, 34), "rows: what it is (validation split), counts; shades: shares of the row", 11)
    return _png(image)


def _shade(share: float, colour: str) -> tuple[int, int, int]:
    """From white to the colour."""
    parts = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    red, green, blue = (round(255 + share * (part - 255)) for part in parts)
    return red, green, blue


def _page(width: int, height: int) -> "tuple[Image, ImageDraw]":
    from PIL import Image as Images
    from PIL import ImageDraw as Pens

    image = Images.new("RGB", (width * SCALE, height * SCALE), PAPER)
    return image, Pens.Draw(image)


def _png(image: "Image") -> bytes:
    out = io.BytesIO()
    image.quantize(64, method=2).save(out, format="PNG", compress_level=6)  # by an octree, which is fast
    return out.getvalue()


def _text(
    draw: "ImageDraw",
    place: tuple[float, float],
    text: str,
    size: int,
    *,
    anchor: str = "la",
    fill: str | tuple[int, int, int] = INK,
) -> None:
    draw.text((place[0] * SCALE, place[1] * SCALE), text, fill=fill, font=_font(size), anchor=anchor)


@lru_cache
def _font(size: int) -> "FreeTypeFont | ImageFont":
    from PIL import ImageFont

    return ImageFont.load_default(size * SCALE)


def _at(numbers: Sequence[float]) -> tuple[float, ...]:
    return tuple(number * SCALE for number in numbers)
