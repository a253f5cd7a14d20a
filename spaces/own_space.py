"""Spaces of the user's own: a factory of modules with genes for its arguments, or a function that suggests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Self

from torch import nn

from .. import own
from ..errors import InvalidArchitecture, InvalidSpace, one_of
from .architecture import Architecture, DataSpec
from .block import Json
from .candidate import Candidate
from .choices import ChoiceLike, Suggester, as_choice, suggest
from .compression_space import CompressionSpace
from .module import ModuleArchitecture, factory_of, takes
from .space import Space, more_from_json
from .training_space import TrainingSpace

MORE = ("training", "compression")  # beside the genes of an own space


@dataclass(frozen=True, kw_only=True, init=False)
class ModuleSpace(Space):
    """Any factory of ``nn.Module``, whose arguments are genes: ``ModuleSpace("my.module:make_net", width=[8, 16])``.

    factory: a function or class by name, or itself if it stands at the top level of a module. The module takes
    (N, *input_shape) and gives (N, outputs), or a dict of them by head. The factory is run by whoever trusts its name
    (``paretonas.own``).
    """

    factory: str
    arguments: Mapping[str, ChoiceLike]

    name: ClassVar = "module"
    rules: ClassVar = {}

    def __init__(
        self,
        factory: str | Callable[..., nn.Module],
        /,
        *,
        training: TrainingSpace = TrainingSpace(),  # noqa: B008 - frozen
        compression: CompressionSpace = CompressionSpace(),  # noqa: B008 - frozen
        **genes: ChoiceLike,
    ) -> None:
        factory = own.named(factory)
        if not own.is_own(factory):
            raise InvalidSpace(f"a factory is named as in 'my.module:make_net', {factory!r} was given")
        fields = {
            "factory": factory,
            "arguments": MappingProxyType(genes),
            "training": training,
            "compression": compression,
        }
        for field, value in fields.items():
            object.__setattr__(self, field, value)
        for name, given in genes.items():
            as_choice(given, f"ModuleSpace.{name}")
        super().__post_init__()

    def __hash__(self) -> int:
        return hash((self.factory, str(self.to_json())))

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        arguments = {
            name: suggest(trial, f"argument.{name}", as_choice(given, name)) for name, given in self.arguments.items()
        }
        return self.candidate(trial, ModuleArchitecture.of(self.factory, arguments, data), 0.0, data=data)

    def share_that_fits(self, data: DataSpec, *, samples: int = 64) -> float:
        """1.0, once the genes are found among what the factory takes; whether its modules fit, training shows."""
        del data, samples
        known, takes_any = takes(factory_of(self.factory))
        for name in self.arguments if not takes_any else ():
            one_of(f"argument of {self.factory}", name, known, InvalidSpace)
        left = [n for n, p in known.items() if p.default is p.empty and n not in self.arguments]
        if left:
            raise InvalidSpace(f"{self.factory} needs {', '.join(left)}: give each a value, a list or a range")
        return 1.0

    def to_json(self) -> Json:
        genes = {name: as_choice(given, name).to_json() for name, given in self.arguments.items()}
        return {"type": self.name, "factory": self.factory, "genes": genes, **self.more_to_json()}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, less its type; nothing is run."""
        for name in data:
            one_of("field of ModuleSpace", name, ("factory", "genes", *MORE), InvalidSpace)
        if not isinstance(data.get("factory"), str) or not isinstance(data.get("genes", {}), dict):
            raise InvalidSpace("a ModuleSpace has a factory, such as 'my.module:make_net', and a table of genes")
        for name in MORE:
            if name in data.get("genes", {}):
                raise InvalidSpace(f"ModuleSpace: an argument of a factory cannot be called {name}: rename it there")
        return cls(data["factory"], **more_from_json(data), **data.get("genes", {}))


@dataclass(frozen=True, kw_only=True, init=False)
class FunctionSpace(Space):
    """A function ``suggest(trial, data)`` that gives a Candidate, or an Architecture to train as ``training`` says.

    function: by name, or itself if it stands at the top level of a module.
    """

    function: str

    name: ClassVar = "function"
    rules: ClassVar = {}

    def __init__(
        self,
        function: str | Callable[[Suggester, DataSpec], Architecture | Candidate],
        /,
        *,
        training: TrainingSpace = TrainingSpace(),  # noqa: B008 - frozen
        compression: CompressionSpace = CompressionSpace(),  # noqa: B008 - frozen
    ) -> None:
        function = own.named(function)
        if not own.is_own(function):
            raise InvalidSpace(f"a function is named as in 'my.module:suggest', {function!r} was given")
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "training", training)
        object.__setattr__(self, "compression", compression)
        super().__post_init__()

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        made: Any = own.load(self.function)(trial, data)
        if isinstance(made, Candidate):
            return made
        if isinstance(made, Architecture):
            return self.candidate(trial, made, 0.0, data=data)
        raise InvalidArchitecture(
            f"{self.function} gives a Candidate or an Architecture, it gave {type(made).__name__}"
        )

    def share_that_fits(self, data: DataSpec, *, samples: int = 64) -> float:
        """1.0: whether what the function gives fits, the search shows."""
        del data, samples
        return 1.0

    def to_json(self) -> Json:
        return {"type": self.name, "function": self.function, **self.more_to_json()}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, less its type; nothing is run."""
        for name in data:
            one_of("field of FunctionSpace", name, ("function", *MORE), InvalidSpace)
        if not isinstance(data.get("function"), str):
            raise InvalidSpace("a FunctionSpace has a function, such as 'my.module:suggest'")
        return cls(data["function"], **more_from_json(data))
