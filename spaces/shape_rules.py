"""The shape that leaves each block, as a rule.

A block without a rule here is run on the meta device, which gives the same for all (tests/test_architecture.py). The
rules spare each process that only looks at networks 2 s of imports that torch's meta device needs.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

from .architecture import Shape
from .blocks.maps import check_skip
from .blocks.sequences import check_rotary

Numbers = Mapping[str, Any]


def _conv(shape: Shape, numbers: Numbers) -> Shape:
    return _convolved(_map(shape), numbers)


def _conv1d(shape: Shape, numbers: Numbers) -> Shape:
    return _convolved(_signal(shape), numbers)


def _convolved(shape: Shape, numbers: Numbers) -> Shape:
    came, left, groups = shape[0], numbers["width"], numbers.get("groups", 1)
    if came % groups or left % groups:
        raise ValueError(f"{groups} groups divide both widths, {came} channels come and {left} leave")
    if "skip" in numbers:
        check_skip(numbers["skip"], (numbers["skip"],), came, left, numbers["kernel"], numbers["stride"])
    grown = 2 * (numbers["kernel"] // 2) - numbers["kernel"]
    return (numbers["width"], *((side + grown) // numbers["stride"] + 1 for side in shape[1:]))


def _linear(shape: Shape, numbers: Numbers) -> Shape:
    _row(shape, numbers)
    return (numbers["width"],)


def _pool(shape: Shape, numbers: Numbers) -> Shape:
    return _pooled(_map(shape), numbers, "pixel")


def _pool1d(shape: Shape, numbers: Numbers) -> Shape:
    return _pooled(_signal(shape), numbers, "value")


def _pooled(shape: Shape, numbers: Numbers, what: str) -> Shape:
    channels, *sides = shape
    if min(sides) < numbers["size"]:
        raise ValueError(f"less than one {what} would be left")
    return (channels, *(side // numbers["size"] for side in sides))


def _mean(shape: Shape, _: Numbers) -> Shape:
    return _map(shape)[:1]


def _mean1d(shape: Shape, _: Numbers) -> Shape:
    return _signal(shape)[:1]


def _flatten(shape: Shape, _: Numbers) -> Shape:
    return (prod(shape),)


def _row(shape: Shape, _: Numbers) -> Shape:
    if len(shape) != 1:
        raise ValueError("it takes features in one row")
    return shape


def _columns(shape: Shape, numbers: Numbers) -> Shape:
    codes = [int(count) for count in numbers["categories"].split(",")]
    numeric = _row(shape, numbers)[0] - len(codes)
    if numeric < 0:
        raise ValueError(f"it has fewer than {len(codes)} columns")
    return (numeric + sum(min(numbers["features"], count) for count in codes),)


def _embedding(shape: Shape, numbers: Numbers) -> Shape:
    return _positioned(_row(shape, numbers)[0], numbers)


def _windows(shape: Shape, numbers: Numbers) -> Shape:
    return _patches(_signal(shape), numbers)


def _squares(shape: Shape, numbers: Numbers) -> Shape:
    return _patches(_map(shape), numbers)


def _patches(shape: Shape, numbers: Numbers) -> Shape:
    count = prod(side // numbers["size"] for side in shape[1:])
    if count < 1:
        raise ValueError("not one patch fits in")
    return _positioned(count, numbers)


def _positioned(length: int, numbers: Numbers) -> Shape:
    if length > numbers["length"] and numbers["positions"] != "none":
        raise ValueError(f"there are {length} positions, it has {numbers['length']}")
    return (length, numbers["width"])


def _sequence(shape: Shape, _: Numbers) -> Shape:
    if len(shape) != 2:
        raise ValueError("it takes sequences (length, width)")
    return shape


def _transformer(shape: Shape, numbers: Numbers) -> Shape:
    if numbers.get("rotary"):
        check_rotary(numbers["head_width"])
    return _sequence(shape, numbers)


def _one_position(shape: Shape, numbers: Numbers) -> Shape:
    return _sequence(shape, numbers)[1:]


def _signal(shape: Shape) -> Shape:
    if len(shape) != 2:
        raise ValueError("it takes signals (channels, length)")
    return shape


def _map(shape: Shape) -> Shape:
    if len(shape) != 3:
        raise ValueError("it takes maps (channels, height, width)")
    return shape


SHAPE_RULES: dict[str, Callable[[Shape, Numbers], Shape]] = {
    **dict.fromkeys(("conv", "residual", "separable", "inverted_residual"), _conv),
    **dict.fromkeys(("conv1d", "residual1d", "separable1d", "inverted_residual1d"), _conv1d),
    "linear": _linear,
    "max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": _mean,
    "max_pool1d": _pool1d,
    "average_pool1d": _pool1d,
    "global_average_pool1d": _mean1d,
    "flatten": _flatten,
    "residual_linear": _row,
    "columns": _columns,
    "embedding": _embedding,
    "patches": _windows,
    "patches2d": _squares,
    "transformer": _transformer,
    "sequence_norm": _sequence,
    "mean_positions": _one_position,
    "first_position": _one_position,
}
