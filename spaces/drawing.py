"""Pictures of networks: depth, width, sharing, and what pruning took away; as SVG or PNG.

From the architecture alone, so that nothing is built and no code of the user's own is run unless it is trusted.
"""

from dataclasses import dataclass

from .architecture import Architecture
from .candidate import Candidate
from .difference import difference
from .drawing_layout import laid_out
from .drawing_shapes import Scene
from .drawing_steps import Sketch


def draw(
    what: Architecture | Candidate,
    *,
    title: str = "",
    before: Architecture | None = None,
    beside: Architecture | Candidate | None = None,
    beside_title: str = "",
    beside_before: Architecture | None = None,
) -> str:
    """The drawing of a network as the text of one SVG element, which needs nothing else and runs nothing.

    A bar is as long as a layer is wide, all bars of a drawing on one scale; blocks that share weights have one colour
    and one letter; what left is drawn in dashes. before: the network before something left, by default what a candidate
    says of that. beside: another network, drawn at its right, with the difference in words below.
    """
    from .drawing_svg import svg

    return svg(scene(what, title, before, beside, beside_title, beside_before))


def draw_png(
    what: Architecture | Candidate,
    *,
    title: str = "",
    before: Architecture | None = None,
    beside: Architecture | Candidate | None = None,
    beside_title: str = "",
    beside_before: Architecture | None = None,
) -> bytes:
    """The same drawing as ``draw`` gives, as a PNG picture of twice the size in pixels."""
    from .drawing_png import png

    return png(scene(what, title, before, beside, beside_title, beside_before))


def scene(
    what: Architecture | Candidate,
    title: str,
    before: Architecture | None,
    beside: Architecture | Candidate | None,
    beside_title: str,
    beside_before: Architecture | None,
) -> Scene:
    """What is to be seen, as shapes and texts at their places."""
    one = _network(what, before)
    sketches = [Sketch(one.left, one.before, title)]
    if beside is None:
        return laid_out(sketches, [])
    other = _network(beside, beside_before)
    sketches.append(Sketch(other.left, other.before, beside_title))
    words = difference(one.left, other.left) or ["the two networks are equal"]
    return laid_out(sketches, ["From left to right:", *words])


@dataclass(frozen=True)
class _Network:
    """A network, and what it was before something left; None if nothing did."""

    left: Architecture
    before: Architecture | None


def _network(what: Architecture | Candidate, before: Architecture | None) -> _Network:
    left = what.deployed if isinstance(what, Candidate) else what
    if before is None and isinstance(what, Candidate):
        before = what.architecture
    return _Network(left, None if before == left else before)
