"""A frozen record whose fields are choices: what spaces and trainings have in common."""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from ..errors import InvalidSpace, one_of
from .architecture import Json
from .choices import Choice, Rule, Suggester, as_choice, suggest


@dataclass(frozen=True, kw_only=True)
class Genes:
    """Fields that are each a value, a list of options, or a range ``(low, high)``.

    ``rules`` says, for each field that is searched, what it may hold.
    """

    rules: ClassVar[dict[str, Rule]]

    def __post_init__(self) -> None:
        for name, rule in self.rules.items():
            rule.check(self.choice(name), f"{type(self).__name__}.{name}")

    def choice(self, field: str) -> Choice:
        """The field as Options or Range."""
        return as_choice(getattr(self, field), f"{type(self).__name__}.{field}")

    def gene(self, trial: Suggester, field: str, name: str) -> Any:
        """Ask for the gene ``name`` under the choice of ``field``."""
        return suggest(trial, name, self.choice(field))

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
