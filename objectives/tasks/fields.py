"""The fields of a task: JSON values of a known type, refused in one sentence if they are of another."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ...errors import UsageError, one_of

Names = str | Sequence[str]


def settle(record: Any, where: str) -> None:
    """Check the fields of a frozen dataclass against their annotations, and store them as they are kept.

    Paths become absolute text, so that a worker in another folder finds them, and lists become tuples.
    """
    for field in fields(record):
        value = _settled(field.type, getattr(record, field.name), f"{field.name} of {where}")
        object.__setattr__(record, field.name, value)


def _settled(annotation: Any, value: Any, what: str) -> Any:
    if get_origin(annotation) is Literal:
        one_of(what, value, get_args(annotation))
        return value
    fits, keep, words = KINDS[annotation]
    if not fits(value):
        raise UsageError(f"{what} must be {words}, {value!r} was given")
    return keep(value)


def _is_whole(value: object) -> bool:
    return type(value) is int


def _is_number(value: object) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def _is_path(value: object) -> bool:
    return isinstance(value, str | Path) and str(value) != ""


def _are_names(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _is_json_table(value: object) -> bool:
    try:
        return isinstance(value, dict) and json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False


def _absolute(path: str | Path) -> str:
    return str(Path(path).expanduser().resolve())


def _own_name(given: str | Callable[..., Any]) -> str:
    """The name of the user's own function; who gives the function itself trusts it."""
    from ...own import is_own, named

    if isinstance(given, str):
        if not is_own(given):
            raise UsageError(f"own code is named as in 'my.module:make_data', {given!r} was given")
        return given
    return named(given)


KINDS: dict[Any, tuple[Callable[[Any], bool], Callable[[Any], Any], str]] = {
    bool: (lambda value: type(value) is bool, bool, "true or false"),
    bool | None: (lambda value: value is None or type(value) is bool, lambda value: value, "true, false or left out"),
    int: (_is_whole, int, "a whole number"),
    float: (_is_number, float, "a number"),
    str: (lambda value: isinstance(value, str), str, "text"),
    str | Path: (_is_path, _absolute, "a path"),
    Sequence[str]: (_are_names, tuple, "a list of names"),
    Names: (
        lambda value: isinstance(value, str) or (_are_names(value) and len(value) > 0),
        lambda value: value if isinstance(value, str) else tuple(value),
        "a name or a list of names",
    ),
    str | Callable[..., Any]: (
        lambda value: isinstance(value, str) or callable(value),
        _own_name,
        "a function or its name, as in 'my.module:make_data'",
    ),
    dict[str, Any]: (_is_json_table, lambda value: json.loads(json.dumps(value)), "a table of JSON values"),
}


def check_least(record: Any, where: str, **least: float) -> None:
    """UsageError for a field below its least value."""
    for name, bound in least.items():
        value = getattr(record, name)
        if value < bound:
            raise UsageError(f"{name} of {where} must be at least {bound}, {value} was given")


def check_above_zero(record: Any, where: str, *names: str) -> None:
    """UsageError for a field that is not above 0."""
    for name in names:
        if getattr(record, name) <= 0:
            raise UsageError(f"{name} of {where} must be above 0, {getattr(record, name)} was given")


def as_names(names: Names) -> tuple[str, ...]:
    """One name or several as a tuple."""
    return (names,) if isinstance(names, str) else tuple(names)
