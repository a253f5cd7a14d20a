"""Where each step of a drawing stands: shapes and texts at their places, in pixels, whatever they are drawn with.

Blocks go from top to bottom; where several follow one, each has a column of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate

from .drawing_shapes import BACK, EDGE, FAINT, FRAME, INK, Box, Item, Path, Scene, Text
from .drawing_steps import Layer, Place, Sketch, Step, steps_of

PLAIN, HEAD, OWN = "#627d98", "#243b53", "#e8eef5"
SHARED = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#f0e442")  # Okabe and Ito 2008
BARS, GUTTER, WORDS = 200.0, 34.0, 290.0  # widths of a column's parts
BAR, PAD, BETWEEN, LEAST = 14.0, 5.0, 16.0, 30.0  # heights: of a bar, around bars, between steps, of a step at least
MARGIN, TITLE, LINE = 16.0, 26.0, 18.0
COLUMN = GUTTER + BARS + WORDS
FAR = 4  # times the widest block
GLYPH = 0.56  # mean width of a letter, of the height of the font


@dataclass
class _Places:
    """Where the steps of one network stand. column, level: of each step; rows: top and height of each level."""

    steps: list[Step]
    column: dict[Place, int] = field(default_factory=dict)
    level: dict[Place, int] = field(default_factory=dict)
    tops: list[float] = field(default_factory=list)

    @property
    def columns(self) -> int:
        return 1 + max(self.column.values())


def laid_out(sketches: Sequence[Sketch], words: Sequence[str]) -> Scene:
    """One network, or two beside each other on one scale, and sentences below."""
    all_steps = [steps_of(sketch) for sketch in sketches]
    scale = _scale([step for steps in all_steps for step in steps])
    items: list[Item] = []
    left, bottom = MARGIN, 0.0
    top = MARGIN + (TITLE if any(sketch.title for sketch in sketches) else 0)
    for sketch, steps in zip(sketches, all_steps, strict=True):
        placed = _placed(steps, top)
        if sketch.title:
            items.append(_text(left, MARGIN + 14, sketch.title, COLUMN * placed.columns - 8, size=15, bold=True))
        items += _network(placed, left, scale, _letters(steps))
        bottom = max(bottom, placed.tops[-1])
        left += COLUMN * placed.columns + MARGIN
    below, height = _below(all_steps, scale, words, bottom + LINE, left - MARGIN)
    titles = [sketch.title for sketch in sketches if sketch.title]
    title = " and ".join(titles) or "a network"
    return Scene(left, height, (Box(0, 0, left, height, BACK, radius=6), *items, *below), title)


def _scale(steps: Sequence[Step]) -> float:
    """Pixels for a unit. A head that is far wider than all blocks does not count: it would make them invisible."""
    inside = max((layer.widest for step in steps for layer in step.layers if step.kind != "head"), default=0)
    heads = [layer.widest for step in steps for layer in step.layers if step.kind == "head"]
    return BARS / max([inside, *(width for width in heads if not inside or width <= FAR * inside)], default=1)


def _letters(steps: Sequence[Step]) -> dict[int, int]:
    """The number of each set of weights that several steps use, by the block that owns them."""
    owners = dict.fromkeys(step.weights for step in steps if step.weights is not None)
    return {owner: number for number, owner in enumerate(owners)}


def _placed(steps: list[Step], top: float) -> _Places:
    """The first that follows a step stands below it, further ones in columns of their own."""
    places, below = _Places(steps), dict[Place, Place]()
    for step in steps:
        if step.after is None:
            places.column[step.place] = places.level[step.place] = 0
            continue
        places.level[step.place] = places.level[step.after] + 1
        first = below.setdefault(step.after, step.place) == step.place
        places.column[step.place] = places.column[step.after] if first else places.columns
    levels = 1 + max(places.level.values())
    heights = [max(_height(step) for step in steps if places.level[step.place] == level) for level in range(levels)]
    places.tops = [top + total for total in accumulate((height + BETWEEN for height in heights), initial=0.0)]
    return places


def _height(step: Step) -> float:
    return max(LEAST, 2 * _pad(step) + (BAR + 3) * len(step.layers) - 3)


def _pad(step: Step) -> float:
    """Above and below the bars."""
    return max(PAD, (LEAST - (BAR + 3) * len(step.layers) + 3) / 2)


def _network(placed: _Places, left: float, scale: float, letters: Mapping[int, int]) -> list[Item]:
    items: list[Item] = []
    bottoms: dict[Place, float] = {}
    for step in placed.steps:
        x, y = left + COLUMN * placed.column[step.place], placed.tops[placed.level[step.place]]
        if step.after is not None:
            items.append(_edge(placed, left, step.after, step.place, bottoms[step.after], y))
        items += _drawn(step, x, y, scale, letters)
        bottoms[step.place] = y + _height(step)
    return items


def _edge(placed: _Places, left: float, source: Place, to: Place, start: float, end: float) -> Path:
    x, there = (left + COLUMN * placed.column[place] + GUTTER + BARS / 2 for place in (source, to))
    if x == there:
        return Path(((x, start), (x, end)), arrow=True)
    turn = placed.tops[placed.level[source] + 1] - BETWEEN / 2
    return Path(((x, start), (x, turn), (there, turn), (there, end)), arrow=True)


def _drawn(step: Step, x: float, y: float, scale: float, letters: Mapping[int, int]) -> list[Item]:
    height, middle = _height(step), x + GUTTER + BARS / 2
    if step.kind in ("input", "plain") or not step.layers:
        fill = OWN if step.kind == "own" else FRAME
        text = _text(middle, y + height / 2 + 4, step.name, BARS - 12, anchor="middle", fill=FAINT)
        pill = Box(x + GUTTER, y, BARS, height, fill, EDGE, radius=height / 2)
        if step.kind == "own":
            pill = replace(pill, radius=3)
        return [pill, text, *_words_beside(replace(step, name=""), x, y)]
    colour = _colour(step, letters)
    items: list[Item] = [
        Box(x + GUTTER, y, BARS, height, None if step.gone else FRAME, EDGE if step.gone else None, dashed=step.gone)
    ]
    if step.kind == "own":
        items = [Box(x + GUTTER, y, BARS, height, OWN, EDGE)]
    top = y + _pad(step)
    for number, layer in enumerate(step.layers):
        label = layer.name if len(step.layers) > 1 else ""
        items += _bar(layer, label, middle, top + number * (BAR + 3), scale, colour)
    for first, last, how in step.skips:
        items += _skip(x + GUTTER, top + first * (BAR + 3), top + last * (BAR + 3) + BAR, how)
    if step.weights is not None:
        letter = _letter(letters[step.weights])
        items.append(Box(x, y + height / 2 - 9, 18, 18, colour, radius=9))
        items.append(Text(x + 9, y + height / 2 + 4, letter, 11, _on(colour), "middle", bold=True))
    return items + _words_beside(step, x, y)


def _colour(step: Step, letters: Mapping[int, int]) -> str:
    if step.weights is not None:
        return SHARED[letters[step.weights] % len(SHARED)]
    return HEAD if step.kind == "head" else PLAIN


def _letter(number: int) -> str:
    """A to Z, then AA."""
    return chr(65 + number) if number < 26 else _letter(number // 26 - 1) + chr(65 + number % 26)


def _bar(layer: Layer, label: str, middle: float, y: float, scale: float, colour: str) -> list[Item]:
    """As long as the layer is wide; where units left, dashes as long as it was; where it is too long, with a gap."""
    items: list[Item] = []
    length, was = (min(BARS, max(2.0, count * scale)) if count else 0.0 for count in (layer.width, layer.was))
    if layer.was > layer.width:
        items.append(Box(middle - was / 2, y, was, BAR, None, FAINT, dashed=True))
    if length:
        items.append(Box(middle - length / 2, y, length, BAR, colour))
    if layer.width * scale > BARS * 1.001:
        items.append(Box(middle + BARS * 0.38, y - 1, 5, BAR + 2, FRAME, radius=0))
    number = f"{layer.width:,} of {layer.was:,}" if 0 < layer.width < layer.was else f"{layer.widest:,}"
    return [*items, _count(number, label, middle, y + BAR - 3.5, (length, max(was, length)), colour)]


def _count(number: str, label: str, middle: float, y: float, lengths: tuple[float, float], colour: str) -> Text:
    """A bar's number, inside it if it fits, with what it counts if that fits too; else behind it.

    lengths: of the bar, and with its dashes.
    """
    length, whole = lengths
    for text in (f"{label} {number}".strip(), number):
        if length > _long(text) + 6:
            return Text(middle, y, text, 11, _on(colour), "middle")
    for behind in (whole, length):
        if _long(number) + 5 <= (BARS - behind) / 2:
            return Text(middle + behind / 2 + 5, y, number, 11)
    if not length:
        return Text(middle, y, number, 11, FAINT, "middle")
    return Text(middle + BARS / 2 - 2, y, number, 11, INK, "end")


def _long(text: str) -> float:
    return len(text) * 11 * GLYPH


def _skip(x: float, top: float, bottom: float, how: str) -> list[Item]:
    """A residual sum: around the layers, with a box where what is added goes through a convolution."""
    out = x - 10
    points = ((x, top + 1), (out, top + 1), (out, bottom - 1), (x, bottom - 1))
    items: list[Item] = [Path(points, FAINT, arrow=True)]
    if how == "projection":
        items.append(Box(out - 4, (top + bottom) / 2 - 4, 8, 8, PLAIN, radius=0))
    return items


def _words_beside(step: Step, x: float, y: float) -> list[Item]:
    """The name and the parameters in one line, all else below."""
    at, middle, room = x + GUTTER + BARS + 10, y + _height(step) / 2, WORDS - 22
    if not step.name:
        words = " · ".join(filter(None, (step.words, step.count)))
        return [_text(at, middle + 4, words, room, fill=FAINT, size=11)] if words else []
    fill = FAINT if step.gone else INK
    count = Text(at + room, middle - 3, step.count, 11, FAINT, "end")
    space = room - _long(step.count) - 8
    return [
        _text(at, middle - 3, step.name, space, bold=True, fill=fill),
        *([count] if step.count else []),
        *([_text(at, middle + 12, step.words, room, fill=FAINT, size=11)] if step.words else []),
    ]


def _text(
    x: float,
    y: float,
    text: str,
    room: float,
    *,
    size: float = 12.0,
    fill: str = INK,
    anchor: str = "start",
    bold: bool = False,
) -> Text:
    """Cut where it would not fit; the whole of it is shown when it is pointed at."""
    most = max(4, int(room / (size * (GLYPH + 0.05 * bold))))
    short = text if len(text) <= most else text[: most - 1].rstrip() + "…"
    return Text(x, y, short, size, fill, anchor, bold, text if short != text else "")


def _below(
    all_steps: Sequence[Sequence[Step]], scale: float, words: Sequence[str], top: float, width: float
) -> tuple[list[Item], float]:
    """The scale, what colours and dashes mean, the sentences; and where all ends."""
    flat = [step for steps in all_steps for step in steps]
    items: list[Item] = []
    notes = []
    if any(step.layers for step in flat):
        unit = _round(BARS / 2 / scale)
        items += [
            Path(((MARGIN, top), (MARGIN + unit * scale, top)), INK),
            Path(((MARGIN, top - 4), (MARGIN, top + 4)), INK),
            Path(((MARGIN + unit * scale, top - 4), (MARGIN + unit * scale, top + 4)), INK),
            Text(MARGIN + unit * scale + 8, top + 4, f"{unit} unit{'s' if unit != 1 else ''} of width", 11, FAINT),
        ]
        top += LINE
    if any(step.weights is not None for step in flat):
        notes.append("One letter and colour: one set of weights, used in several places.")
    if any(step.gone or any(layer.was > layer.width for layer in step.layers) for step in flat):
        notes.append("Dashes: what left in pruning.")
    for note in (*notes, *words):
        items.append(_text(MARGIN, top + 4, note, width - 2 * MARGIN, size=11 if note in notes else 12, fill=FAINT))
        top += LINE
    return items, top + MARGIN / 2


def _round(units: float) -> int:
    """The largest of 1, 2, 5, 10, … that is no more than so many units."""
    steps = (count * 10**power for power in range(16) for count in (1, 2, 5))
    return int(max(count for count in steps if count <= max(1.0, units)))


def _on(fill: str) -> str:
    """White or dark, whichever reads better on a colour."""
    red, green, blue = (int(fill[at : at + 2], 16) for at in (1, 3, 5))
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else BACK
