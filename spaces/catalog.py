"""The search spaces there are, by name, and the user's own."""

import inspect
from typing import Any

from .. import own
from ..errors import InvalidSpace, one_of
from .block import Json
from .conv import ConvSpace
from .mlp import MLPSpace
from .own_space import FunctionSpace, ModuleSpace
from .space import Space
from .transformer import TransformerSpace

SPACES: dict[str, type[Space]] = {"conv": ConvSpace, "mlp": MLPSpace, "transformer": TransformerSpace}
OF_OWN_CODE: dict[str, type[Space]] = {"module": ModuleSpace, "function": FunctionSpace}


def as_space(given: Any) -> Space:
    """A space from what a user gives: a space, a function ``suggest(trial, data)``, or a table as in a study file.

    What the user gives, the user trusts.
    """
    if isinstance(given, Space):
        own.trust(own.names(space_to_json(given)))
        return given
    if isinstance(given, dict):
        own.trust(own.names(given))
        return space_from_json(given)
    if inspect.isfunction(given):
        return FunctionSpace(given)
    raise InvalidSpace(
        f"a study searches a space such as ConvSpace() or a function suggest(trial, data), {given!r} was given"
    )


def type_of(space: Space) -> str:
    """The word for a kind of space in files: a name of the catalogue, or where the user's own class is found."""
    known = {**SPACES, **OF_OWN_CODE}
    return space.name if known.get(space.name) is type(space) else own.name_of(type(space))


def space_to_json(space: Space) -> Json:
    """A space as plain data."""
    return {**space.to_json(), "type": type_of(space)}


def space_from_json(data: Json) -> Space:
    """Read what ``space_to_json`` wrote. UntrustedCode if it is of a class of the user's own that is not trusted."""
    choices = dict(data)
    name = choices.pop("type", None)
    known = {**SPACES, **OF_OWN_CODE}
    if name is None:
        raise InvalidSpace(f"a space needs a type: there is {', '.join(known)}")
    if not own.is_own(name):
        one_of("search space", name, known, InvalidSpace)
        return known[name].from_json(choices)
    found = own.load(str(name))
    if not (isinstance(found, type) and issubclass(found, Space)):
        raise InvalidSpace(f"a space is a class of pn.Space, {name} is {found!r}")
    return found.from_json(choices)
