"""Drawings of networks: what is to be seen follows from the architecture, for every family, and runs nothing."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from xml.etree import ElementTree as ET

import pytest
from PIL import Image
from test_families import FAMILIES

import paretonas as pn
from paretonas import own
from paretonas.spaces.drawing_layout import BARS, PLAIN, SHARED

B = pn.Block
SVG = "{http://www.w3.org/2000/svg}"
OWN = """
    import torch
    from torch import nn


    class Loud(nn.Module):
        raise RuntimeError("it was run")
"""


def rows(*blocks: pn.Block, heads: tuple[pn.Head, ...] = (pn.Head(10),)) -> pn.Architecture:
    return pn.Architecture((64,), blocks, heads)


def read(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own text


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in read(svg).iter(f"{SVG}text")]


def bars(svg: str, fill: str = PLAIN) -> list[float]:
    """Lengths of the bars of a colour, from top to bottom."""
    found = [rect for rect in read(svg).iter(f"{SVG}rect") if rect.get("fill") == fill and rect.get("height") == "14.0"]
    return [float(rect.get("width", 0)) for rect in sorted(found, key=lambda rect: float(rect.get("y", 0)))]


def dashes(svg: str) -> list[float]:
    """Lengths of what is drawn in dashes."""
    return [float(r.get("width", 0)) for r in read(svg).iter(f"{SVG}rect") if r.get("stroke-dasharray")]


# depth and width


def test_a_bar_is_as_long_as_a_layer_is_wide() -> None:
    """Lengths stand to each other as the widths; the widest fills the column."""
    drawn = pn.draw(rows(B("linear", width=16), B("residual_linear", hidden=64), B("linear", width=32)))
    assert bars(drawn) == [BARS / 4, BARS, BARS / 4, BARS / 2]


def test_every_block_has_a_row_in_order() -> None:
    """Numbered as in the exported source, below each other, from input to head."""
    network = rows(*(B("linear", width=8) for _ in range(12)))
    named = [text for text in texts(pn.draw(network)) if re.fullmatch(r"\d+ linear|input 64|head", text)]
    assert named == ["input 64", *(f"{index} linear" for index in range(12)), "head"]
    heights = [float(pn.draw(rows(*network.blocks[:depth])).split('height="')[1].split('"')[0]) for depth in (1, 6, 12)]
    assert heights[2] - heights[1] == pytest.approx(6 / 5 * (heights[1] - heights[0]), rel=0.01)


def test_what_a_block_does_is_said() -> None:
    """Kernel, stride, activation, the shape that leaves, and the parameters as they are counted."""
    network = pn.Architecture((1, 8, 8), (B("conv", width=4, kernel=5, stride=2, activation="silu"),
                                          B("global_average_pool")), (pn.Head(10),))  # fmt: skip
    said = texts(pn.draw(network))
    assert "kernel 5, stride 2, silu · to 4\u00d74\u00d74" in said
    assert f"{4 * 25 + 2 * 4} parameters" in said
    assert f"{(4 + 1) * 10} parameters" in said


def test_a_far_wider_head_does_not_hide_the_blocks() -> None:
    """Its bar is as long as there is room, with a gap; the others keep their scale."""
    network = pn.Architecture((8,), (B("embedding", width=16, vocabulary=5000, length=8),), (pn.Head(5000),),
                              vocabulary=5000)  # fmt: skip
    drawn = pn.draw(network)
    assert bars(drawn) == [BARS]
    assert "5,000" in texts(drawn)


# sharing


def test_blocks_that_share_weights_have_one_colour_and_one_letter() -> None:
    """Each set its own; what shares nothing has neither."""
    network = rows(
        B("linear", width=8),
        B("linear", width=8),
        B("linear", width=8, shares=1),
        B("linear", width=16),
        B("linear", width=16),
        B("linear", width=16, shares=4),
    )
    drawn = pn.draw(network)
    assert len(bars(drawn)) == 2
    assert [len(bars(drawn, colour)) for colour in SHARED[:3]] == [2, 2, 0]
    letters = [text for text in texts(drawn) if text in "ABC"]
    assert sorted(letters) == ["A", "A", "B", "B"]
    assert "weights of block 1" in texts(drawn)


def test_a_tied_head_has_the_colour_of_its_embedding() -> None:
    """Which uses the same weights."""
    network = pn.Architecture(
        (8,), (B("embedding", width=16, vocabulary=16, length=8),), (pn.Head(16, tied=0),), vocabulary=16
    )
    assert bars(pn.draw(network), SHARED[0]) == [BARS, BARS]


# pruning


def test_what_pruning_took_away_is_drawn_in_dashes() -> None:
    """As long as the layer was, around what is left, with both numbers."""
    candidate = pn.Candidate(rows(B("linear", width=40), B("linear", width=20)), pruning=0.5)
    drawn = pn.draw(candidate)
    assert bars(drawn) == [BARS / 2, BARS / 4]
    assert dashes(drawn) == [BARS, BARS / 2]
    assert {"20 of 40", "10 of 20"} <= set(texts(drawn))
    assert dashes(pn.draw(candidate.architecture)) == []


def test_a_layer_that_left_keeps_its_place_in_dashes() -> None:
    """Between those that it stood between; what is left is drawn whole."""
    before = rows(B("linear", width=8), B("residual_linear", hidden=32), B("linear", width=16))
    left = rows(B("linear", width=8), B("linear", width=16))
    drawn = pn.draw(left, before=before)
    named = [text for text in texts(drawn) if text in ("0 linear", "residual_linear", "1 linear")]
    assert named == ["0 linear", "residual_linear", "1 linear"]
    assert len(bars(drawn)) == 2
    assert "left in pruning" in texts(drawn)


# two beside each other


def test_two_networks_stand_beside_each_other_on_one_scale() -> None:
    """With the difference in words below."""
    one, other = rows(B("linear", width=64)), rows(B("linear", width=32))
    drawn = pn.draw(one, title="mine", beside=other, beside_title="yours")
    assert bars(drawn) == [BARS, BARS / 2]
    assert {"mine", "yours", "block 0 (linear): narrower, 64 to 32"} <= set(texts(drawn))
    assert "the two networks are equal" in texts(pn.draw(one, beside=one))


# every family


@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_of_a_family_can_be_drawn(family: str) -> None:
    """Nothing stands outside the picture, no two blocks on each other, and the PNG has twice its size."""
    space, data = FAMILIES[family]
    for seed in range(20):
        candidate = space.sample(data, seed=seed)
        drawn = pn.draw(candidate, title=str(candidate.architecture))
        width, height = (float(read(drawn).get(side, 0)) for side in ("width", "height"))
        frames = []
        for rect in read(drawn).iter(f"{SVG}rect"):
            x, y, wide, high = (float(rect.get(name, 0)) for name in ("x", "y", "width", "height"))
            assert 0 <= x <= x + wide <= width + 0.1, (seed, str(candidate.architecture))
            assert 0 <= y <= y + high <= height + 0.1
            if wide == BARS and high != 14:
                frames.append((x, y, high))
        for number, (x, y, high) in enumerate(frames):
            assert all(x != left or y + high <= top or y >= top + tall for left, top, tall in frames[:number])
        assert len(frames) == len(candidate.deployed.blocks) + 1 + len(candidate.deployed.heads)
        for text in read(drawn).iter(f"{SVG}text"):
            assert 0 <= float(text.get("x", 0)) <= width
        if seed < 3:
            picture = Image.open(io.BytesIO(pn.draw_png(candidate)))
            plain = read(pn.draw(candidate))
            assert picture.size == tuple(2 * int(plain.get(side, 0)) for side in ("width", "height"))


def test_the_picture_shows_what_the_drawing_says() -> None:
    """The pixel in the middle of a bar has its colour, the one beside it has not."""
    drawn = pn.draw(rows(B("linear", width=16), B("linear", width=64)))
    picture = Image.open(io.BytesIO(pn.draw_png(rows(B("linear", width=16), B("linear", width=64)))))
    rect = next(r for r in read(drawn).iter(f"{SVG}rect") if r.get("fill") == PLAIN)
    x, y, wide = (float(rect.get(name, 0)) for name in ("x", "y", "width"))
    assert picture.getpixel((round(2 * x + 6), round(2 * y + 6))) == tuple(bytes.fromhex(PLAIN[1:]))
    assert picture.getpixel((round(2 * (x + wide) + 40), round(2 * y + 6))) != tuple(bytes.fromhex(PLAIN[1:]))


# bad input


def test_what_users_named_is_escaped_and_nothing_can_run() -> None:
    """Titles are text, also with tags and control characters; there is no script, style, reference or event in it."""
    drawn = pn.draw(rows(B("linear", width=4)), title="</svg><script>alert(1)</script>\x00 \"'&", beside_title="<b>",
                    beside=rows())  # fmt: skip
    tags = {element.tag.removeprefix(SVG) for element in read(drawn).iter()}
    assert tags == {"svg", "title", "rect", "polyline", "polygon", "text"}
    names = {name for element in read(drawn).iter() for name in element.attrib}
    assert not any(name.startswith("on") or "href" in name for name in names)
    assert "</svg><script>alert(1)</script>" in "".join(texts(drawn))


def test_own_code_is_drawn_without_running_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block read from a store as a box with its numbers, a factory as a box with its arguments."""
    (tmp_path / "loud_nets.py").write_text(dedent(OWN))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(own, "_trusted", set())
    data = {"version": 1, "input_shape": [1, 8, 8], "heads": [{"outputs": 10, "name": "head"}]}
    block = {"op": "loud_nets:Loud", "width": 12, "kernel": 3}
    network = pn.Architecture.from_json({**data, "blocks": [{"op": "conv", "width": 6}, block]})
    drawn = pn.draw(network)
    assert {"1 Loud", "kernel 3", "6", "12"} <= set(texts(drawn))
    made = pn.Candidate.from_json(
        {
            "architecture": {**data, "factory": "loud_nets:make", "arguments": {"width": 7, "depth": 2}},
            "pruning": 0.0,
            "training": {},
        }
    )
    assert {"make", "width=7, depth=2"} <= set(texts(pn.draw(made)))
    assert "loud_nets" not in sys.modules
    own.trust(["loud_nets"])  # now it may run, and is broken: it is drawn all the same
    assert "1 Loud" in texts(pn.draw(network))


def test_a_network_without_blocks_can_be_drawn() -> None:
    """A linear classifier is its head."""
    assert "10 outputs" in texts(pn.draw(rows()))


def test_a_very_deep_network_can_be_drawn() -> None:
    """A picture has a bounded size, a drawing as many rows as blocks."""
    deep = rows(*(B("linear", width=4) for _ in range(600)))
    assert "599 linear" in texts(pn.draw(deep))
    assert max(Image.open(io.BytesIO(pn.draw_png(deep))).size) <= 16_000


# trials and the command


def test_a_trial_draws_itself_and_what_it_lost(small: pn.Study, tmp_path: Path) -> None:
    """As SVG text, and into files of both kinds."""
    trial = next(trial for trial in small.trials if trial.candidate.architecture != trial.architecture)
    drawn = trial.draw(tmp_path / "a" / "net.svg")
    assert (tmp_path / "a" / "net.svg").read_text(encoding="utf-8").strip() == drawn
    assert f"Trial {trial.number} of small" in texts(drawn)
    assert dashes(drawn)
    trial.draw(tmp_path / "net.png", against=small.trials[0])
    with Image.open(tmp_path / "net.png") as picture:
        assert picture.format == "PNG"


def test_the_command_draws_a_pick_beside_another(small: pn.Study, cli: Callable[..., object], tmp_path: Path) -> None:
    """And says the difference; a name of another kind, and a place that cannot be written, are refused."""
    to = str(tmp_path / "net.svg")
    storage = ("--storage", small.store.url)
    best = small.pick("best")
    answer = cli("draw", "knee", "--to", to, "--against", str(best.number), *storage)
    knee = small.pick("knee")
    assert answer.returncode == 0  # type: ignore[attr-defined]
    assert f"trial {knee.number} beside trial {best.number}" in answer.stdout  # type: ignore[attr-defined]
    for sentence in pn.difference(knee.architecture, best.architecture):
        assert sentence in answer.stdout  # type: ignore[attr-defined]
    assert texts(Path(to).read_text(encoding="utf-8"))
    refused = cli("draw", "--to", str(tmp_path / "net.gif"), *storage)
    assert (refused.returncode, "named .svg or .png" in refused.stderr) == (2, True)  # type: ignore[attr-defined]
    refused = cli("draw", "--to", str(Path(to) / "net.svg"), *storage)
    assert (refused.returncode, "cannot take the drawing" in refused.stderr) == (2, True)  # type: ignore[attr-defined]
