"""Bounds that a candidate has to hold: ``parameters <= 50_000``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

from ..errors import UsageError
from ..objectives import objective_of

PATTERN = re.compile(r"\s*(?P<measure>[^<>]*?)\s*(?P<sign><=|>=)\s*(?P<bound>[-+\d._eE]+)\s*")


@dataclass(frozen=True)
class Constraint:
    """measure: any figure that can be an objective."""

    measure: str
    sign: Literal["<=", ">="]
    bound: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``latency_ms <= 2.0``. UsageError for anything else, or for an unknown measure."""
        found = PATTERN.fullmatch(text) if isinstance(text, str) else None
        try:
            bound = float(found["bound"]) if found else None
        except ValueError:
            bound = None
        if found is None or bound is None:
            raise UsageError(
                f"a constraint is a measure, <= or >=, and a number, such as 'parameters <= 50_000', {text!r} was given"
            )
        return cls(objective_of(found["measure"]).name, "<=" if found["sign"] == "<=" else ">=", bound)

    def __str__(self) -> str:
        return f"{self.measure} {self.sign} {self.bound:.15g}"

    def violation(self, value: float) -> float:
        """By how much of the bound a value misses it; at most 0 if it is held, as Optuna has it."""
        excess = value - self.bound if self.sign == "<=" else self.bound - value
        return excess / (abs(self.bound) or 1.0)


def measures_of(texts: Iterable[str]) -> list[str]:
    """What constraints are about, as they name it; what is no constraint is left out."""
    found = (PATTERN.fullmatch(text) for text in texts if isinstance(text, str))
    return [one["measure"] for one in found if one]


def canonical(texts: Iterable[str]) -> tuple[str, ...]:
    """Constraints as they are kept. UsageError for one that is given twice, or two that leave nothing."""
    constraints = [Constraint.of(text) for text in texts]
    sides = [(constraint.measure, constraint.sign) for constraint in constraints]
    if twice := next((side for side in sides if sides.count(side) > 1), None):
        raise UsageError(f"a measure is bounded once from each side, {' '.join(twice)} was given twice")
    upper = {c.measure: c.bound for c in constraints if c.sign == "<="}
    for constraint in constraints:
        if constraint.sign == ">=" and constraint.bound > upper.get(constraint.measure, constraint.bound):
            raise UsageError(f"nothing holds {constraint} and {constraint.measure} <= {upper[constraint.measure]:g}")
    return tuple(map(str, constraints))


def violations(constraints: Iterable[Constraint], values: Mapping[str, float]) -> dict[str, float]:
    """How each constraint whose measure is known is held, by its text."""
    return {str(c): c.violation(values[c.measure]) for c in constraints if c.measure in values}


def held(constraints: Iterable[Constraint], values: Mapping[str, float]) -> bool:
    """Whether none of those that are known is violated."""
    return all(amount <= 0 for amount in violations(constraints, values).values())
