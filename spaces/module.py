"""A network of the user's own: a factory of ``nn.Module`` by name, and the arguments it is called with."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from torch import nn

from .. import own
from ..errors import InvalidArchitecture
from .architecture import Architecture, DataSpec, Head
from .block import Json, Scalar


@dataclass(frozen=True)
class ModuleArchitecture(Architecture):
    """What a factory makes of some arguments, in place of blocks. It is stored, built, trained and counted alike.

    factory: ``"module:function"``. arguments: what it is called with, by name. heads: the names and numbers of the
    module's answers; with several heads it gives a dict of these names.
    """

    factory: str = ""
    arguments: Mapping[str, Scalar] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not own.is_own(self.factory):
            raise InvalidArchitecture(f"a factory is named as in 'my.module:make_net', {self.factory!r} was given")
        for name, value in self.arguments.items():
            if not name.isidentifier() or not isinstance(value, bool | int | float | str):
                raise InvalidArchitecture(f"an argument is a name and a JSON value, {name!r}: {value!r} was given")
        object.__setattr__(self, "arguments", MappingProxyType(dict(self.arguments)))
        super().__post_init__()

    @classmethod
    def of(cls, factory: str, arguments: Mapping[str, Scalar], data: DataSpec) -> Self:
        """The network that a factory makes for these data."""
        return cls(
            data.input_shape,
            (),
            data.heads,
            vocabulary=data.vocabulary,
            categories=data.categories,
            factory=factory,
            arguments=arguments,
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle as data: the read-only view of the arguments can do neither."""
        return ModuleArchitecture.from_json, (self.to_json(),)

    def make(self) -> nn.Module:
        """Call the factory. Raises what it raises, InvalidArchitecture if it gives no module."""
        made = factory_of(self.factory)(**self.arguments)
        if not isinstance(made, nn.Module):
            raise InvalidArchitecture(
                f"a factory gives an nn.Module, {self.factory} gave {type(made).__name__} for {dict(self.arguments)}"
            )
        return made

    def to_json(self) -> Json:
        described = super().to_json()
        del described["blocks"]
        return {**described, "factory": self.factory, "arguments": dict(self.arguments)}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote; nothing is run."""
        try:
            return cls(
                input_shape=tuple(data["input_shape"]),
                blocks=(),
                heads=tuple(Head(**head) for head in data["heads"]),
                version=data["version"],
                vocabulary=data.get("vocabulary"),
                categories=tuple(data.get("categories", ())),
                factory=data["factory"],
                arguments=data["arguments"],
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidArchitecture(f"this is not a module as paretonas writes it: {error!r}") from error

    def __str__(self) -> str:
        """One line for people, as a call."""
        arguments = ", ".join(f"{name}={json.dumps(value)}" for name, value in self.arguments.items())
        return f"{self.factory.split(':')[1]}({arguments})"


def factory_of(name: str) -> Callable[..., Any]:
    """The factory of that name."""
    found = own.load(name)
    if not callable(found):
        raise InvalidArchitecture(f"a factory is a function or class, {name} is {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def takes(factory: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The parameters of a factory that have names, and whether it takes any other name too."""
    parameters = inspect.signature(factory).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    return {name: p for name, p in parameters.items() if p.kind in named}, takes_any
