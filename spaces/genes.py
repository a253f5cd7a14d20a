"""A frozen record whose fields are choices: what spaces and trainings have in common."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar, Self, TypeVar

from ..errors import InvalidSpace, one_of
from .architecture import Json
from .choices import Choice, Rule, Suggester, as_choice, suggest, values_of

MANY = 256  # values of a range that are looked at one by one
Effect = TypeVar("Effect")


@dataclass(frozen=True, kw_only=True)
class Genes:
    """Fields that are each a value, a list of options, or a range ``(low, high)``.

    ``rules`` says, for each field that is searched, what it may hold.
    """

    rules: ClassVar[dict[str, Rule]]

    def __post_init__(self) -> None:
        if not hasattr(self, "rules"):
            raise InvalidSpace(
                f"{type(self).__name__} says nothing about its fields: give it rules, such as "
                'rules = {"widths": Whole()}, a rule for each field'
            )
        for name, rule in self.rules.items():
            rule.check(self.choice(name), f"{type(self).__name__}.{name}")

    def choice(self, field: str) -> Choice:
        """The field as Options or Range."""
        return self._choices[field]

    @cached_property
    def _choices(self) -> dict[str, Choice]:
        """Each field read once: a space is asked for the same ones in every trial."""
        return {name: as_choice(getattr(self, name), f"{type(self).__name__}.{name}") for name in self.rules}

    def gene(self, trial: Suggester, field: str, name: str) -> Any:
        """Ask for the gene ``name`` under the choice of ``field``."""
        return suggest(trial, name, self.choice(field))

    def varies(self, field: str) -> bool:
        """Whether a field leaves anything to choose."""
        return len(values_of(self.choice(field))) > 1

    def gene_with_effect(self, trial: Suggester, field: str, name: str, effect: Callable[[Any], object]) -> Any:
        """Ask for a gene only where ``effect``, what comes of a value, is not the same for all of them."""
        values = values_of(self.choice(field))
        ends = values if len(values) <= MANY else (values[0], values[-1])
        first = effect(values[0])
        return self.gene(trial, field, name) if any(effect(value) != first for value in ends[1:]) else values[0]

    def effect_of_gene(self, trial: Suggester, field: str, name: str, effect: Callable[[Any], Effect]) -> Effect:
        """What comes of the value that ``gene_with_effect`` gives."""
        return effect(self.gene_with_effect(trial, field, name, effect))

    def to_json(self) -> Json:
        return {name: self.choice(name).to_json() for name in self.rules}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote; InvalidSpace names a field that there is not."""
        if not isinstance(data, dict):
            raise InvalidSpace(f"{cls.__name__} is read from a table of its fields, {data!r} was given")
        for name in data:
            one_of(f"field of {cls.__name__}", name, [field.name for field in fields(cls)], InvalidSpace)
        return cls(**data)
