"""The search spaces there are, by name."""

from ..errors import InvalidSpace, one_of
from .architecture import Json
from .conv import ConvSpace
from .mlp import MLPSpace
from .space import Space

SPACES: dict[str, type[Space]] = {"conv": ConvSpace, "mlp": MLPSpace}


def space_from_json(data: Json) -> Space:
    """Read what ``Space.to_json`` wrote."""
    choices = dict(data)
    name = choices.pop("type", None)
    one_of("search space", name, SPACES, InvalidSpace)
    return SPACES[name].from_json(choices)
