"""How a network is made small as genes, searched together with its structure."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..errors import InvalidSpace, UsageError
from .architecture import Architecture
from .choices import Choice, ChoiceLike, Flag, Range, Real, Suggester, Whole, Words, values_of
from .compression import BITS, QUANTIZATIONS, SCHEDULES, Compression, check_pattern
from .genes import Genes
from .importance import CRITERIA
from .moves import possible_moves
from .pruning import SCOPES

AS_IT_IS = Compression()


@dataclass(frozen=True)
class _Patterns:
    """Rule of a field: global, layer, or N:M."""

    def check(self, choice: Choice, where: str) -> None:
        values: Any = (choice.low, choice.high) if isinstance(choice, Range) else choice.values
        for value in values:
            try:
                check_pattern(value)
            except UsageError as error:
                raise InvalidSpace(f"{where}: {error}") from error


@dataclass(frozen=True)
class _Bits:
    """Rule of a field: 32, 8 or both."""

    def check(self, choice: Choice, where: str) -> None:
        values: Any = (choice.low, choice.high) if isinstance(choice, Range) else choice.values
        if (
            isinstance(choice, Range)
            or not set(values) <= set(BITS)
            or any(isinstance(value, bool) for value in values)
        ):
            raise InvalidSpace(f"{where}: 32, 8 or a list of both is needed, {list(values)!r} was given")


@dataclass(frozen=True, kw_only=True)
class CompressionSpace(Genes):
    """The fields of ``Compression`` as choices; by default each is a constant.

    Each is asked for only where it has an effect: what ranks units where units leave, and so on. The share of units
    that leave is the field ``pruning`` of the space.
    """

    criterion: ChoiceLike = AS_IT_IS.criterion
    scope: ChoiceLike = AS_IT_IS.scope
    removed_layers: ChoiceLike = AS_IT_IS.removed_layers
    sparsity: ChoiceLike = AS_IT_IS.sparsity
    pattern: ChoiceLike = AS_IT_IS.pattern
    schedule: ChoiceLike = AS_IT_IS.schedule
    self_distillation: ChoiceLike = AS_IT_IS.self_distillation
    bits: ChoiceLike = AS_IT_IS.bits
    quantization: ChoiceLike = AS_IT_IS.quantization
    quantization_aware: ChoiceLike = AS_IT_IS.quantization_aware

    rules: ClassVar = {
        "criterion": Words(CRITERIA),
        "scope": Words(SCOPES),
        "removed_layers": Whole(0),
        "sparsity": Real(below=1),
        "pattern": _Patterns(),
        "schedule": Words(SCHEDULES),
        "self_distillation": Real(most=1),
        "bits": _Bits(),
        "quantization": Words(QUANTIZATIONS),
        "quantization_aware": Flag(),
    }

    def suggest(self, trial: Suggester, architecture: Architecture, *, pruned: bool) -> Compression:
        """How a network is made small. pruned: whether units leave."""
        values: dict[str, Any] = {}

        def ask(*names: str) -> None:
            values.update({name: self.gene(trial, name, name) for name in names})

        if max(values_of(self.choice("removed_layers"))):
            most = len(possible_moves(architecture, ("remove_layer",)))
            values["removed_layers"] = self.effect_of_gene(
                trial, "removed_layers", "removed_layers", lambda count: min(count, most)
            )
        if pruned:
            ask("criterion", "scope")
        ask("pattern")
        if ":" not in values["pattern"]:
            ask("sparsity")
        sparse = ":" in values["pattern"] or values["sparsity"] > 0
        if sparse:
            ask("schedule")
        if sparse or pruned or values.get("removed_layers"):
            ask("self_distillation")
        ask("bits")
        if values["bits"] == 8:
            ask("quantization", "quantization_aware")
        return Compression(**{**vars(AS_IT_IS), **values})
