"""The shape that leaves each block, as a rule.

A block without a rule here is run on the meta device, which gives the same for all (tests/test_architecture.py). The
rules spare each process that only looks at networks 2 s of imports that torch's meta device needs.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from .architecture import Shape

Numbers = Mapping[str, Any]


def _conv(shape: Shape, numbers: Numbers) -> Shape:
    grown = 2 * (numbers["kernel"] // 2) - numbers["kernel"] + 1
    _, height, width = _map(shape)
    return (numbers["width"], height + grown, width + grown)


def _linear(shape: Shape, numbers: Numbers) -> Shape:
    if len(shape) != 1:
        raise ValueError("it takes features in one row")
    return (numbers["width"],)


def _pool(shape: Shape, numbers: Numbers) -> Shape:
    channels, height, width = _map(shape)
    size = numbers["size"]
    if min(height, width) < size:
        raise ValueError("less than one pixel would be left")
    return (channels, height // size, width // size)


def _mean(shape: Shape, _: Numbers) -> Shape:
    return _map(shape)[:1]


def _flatten(shape: Shape, _: Numbers) -> Shape:
    return (prod(shape),)


def _map(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError("it takes maps (channels, height, width)")
    return shape


SHAPE_RULES: dict[str, Callable[[Shape, Numbers], Shape]] = {
    "conv": _conv,
    "linear": _linear,
    "max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": _mean,
    "flatten": _flatten,
}
