"""How a trained candidate is made small: which units, layers and weights leave, and in how many bits it is kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

from ..errors import UsageError, one_of
from .block import Json
from .importance import CRITERIA
from .moves import Move
from .pruning import SCOPES

PATTERNS = ("global", "layer", "2:4")  # N:M can be any
SCHEDULES = ("one_shot", "gradual", "rewind")
QUANTIZATIONS = ("static", "dynamic", "weight_only")
BITS = (32, 8)
N_OF_M = re.compile(r"[1-9]\d*:[1-9]\d*")


@dataclass(frozen=True)
class Compression:
    """What happens after training, in this order: layers leave, units leave, weights become zero, fine-tuning, int8.

    criterion: what ranks units (see ``importance.py``). scope: units leave from each ``layer`` in equal shares, or
    those of all layers compete (``global``). removed_layers: how many layers leave, those whose removal costs least.
    sparsity: the share of the weights that is set to zero and stays zero, the smallest of all (pattern ``global``) or
    of each ``layer``; with a pattern such as ``2:4`` two of every four weights in a row stay instead (Mishra et al.
    2021). schedule: weights become zero at once (``one_shot``), step by step while fine-tuning (``gradual``, Zhu &
    Gupta 2017), or at once, the others going back to what they were after the first epoch to be trained again
    (``rewind``, Frankle et al. 2020). self_distillation: in fine-tuning, the weight from 0 to 1 of the answers that the
    network gave before anything left. bits: 32, or 8 for int8 on ONNX Runtime, quantized as ``quantization`` says;
    quantization_aware: fine-tuning sees the rounding.
    """

    criterion: str = "l1"
    scope: str = "layer"
    removed_layers: int = 0
    sparsity: float = 0.0
    pattern: str = "global"
    schedule: str = "one_shot"
    self_distillation: float = 0.0
    bits: int = 32
    quantization: str = "static"
    quantization_aware: bool = False

    def __post_init__(self) -> None:
        one_of("criterion", self.criterion, CRITERIA)
        one_of("scope", self.scope, SCOPES)
        one_of("schedule", self.schedule, SCHEDULES)
        one_of("quantization", self.quantization, QUANTIZATIONS)
        if isinstance(self.bits, bool) or self.bits not in BITS:
            raise UsageError(f"bits are 32 or 8, {self.bits!r} was given")
        if type(self.removed_layers) is not int or self.removed_layers < 0:
            raise UsageError(f"removed_layers is a whole number from 0, {self.removed_layers!r} was given")
        if not 0 <= self.sparsity < 1:
            raise UsageError(f"a sparsity is at least 0 and below 1, {self.sparsity!r} was given")
        if not 0 <= self.self_distillation <= 1:
            raise UsageError(f"self_distillation is a weight from 0 to 1, {self.self_distillation!r} was given")
        check_pattern(self.pattern)
        if self.sparsity and ":" in self.pattern:
            raise UsageError(f"the pattern {self.pattern} says by itself how many weights stay: leave the sparsity out")

    @property
    def sparse(self) -> bool:
        """Whether weights become zero."""
        return self.sparsity > 0 or ":" in self.pattern

    @property
    def rewinds(self) -> bool:
        """Whether the weights that stay go back to what they were, and are trained again as long as the first time."""
        return self.sparse and self.schedule == "rewind"

    def effective(self, *, pruned: bool, finetunes: bool) -> Json:
        """The fields that change anything, for a key.

        pruned: whether units leave. finetunes: whether it is trained again.
        """
        asked = vars(self)
        idle = {name for name, value in _DEFAULTS.items() if asked[name] == value}
        if not pruned:
            idle |= {"criterion", "scope"}
        if not self.sparse:
            idle |= {"sparsity", "pattern", "schedule"}
        if not finetunes:
            idle |= {"self_distillation"}
        if self.bits == 32:
            idle |= {"quantization", "quantization_aware"}
        return {name: value for name, value in asked.items() if name not in idle}


_DEFAULTS = {each.name: each.default for each in fields(Compression)}


@dataclass(frozen=True)
class Start:
    """Trained weights to begin with, instead of random ones: those of an earlier trial, changed by moves.

    trial: its number in the same study. key: of its candidate.
    """

    trial: int
    key: str
    moves: tuple[Move, ...] = field(default=())

    def to_json(self) -> Json:
        return {"trial": self.trial, "key": self.key, "moves": [move.to_json() for move in self.moves]}

    @classmethod
    def from_json(cls, data: Json) -> "Start":
        """Read what ``to_json`` wrote."""
        moves: Sequence[Json] = data["moves"]
        return cls(int(data["trial"]), str(data["key"]), tuple(Move.from_json(move) for move in moves))


def check_pattern(pattern: str) -> None:
    """UsageError unless it is a word or N:M with N below M."""
    if pattern in PATTERNS:
        return
    if not isinstance(pattern, str) or not N_OF_M.fullmatch(pattern):
        raise UsageError(f"a pattern is global, layer, or N:M such as 2:4, {pattern!r} was given")
    stay, of = map(int, pattern.split(":"))
    if stay >= of:
        raise UsageError(f"of a pattern N:M, N weights of M stay and N is below M, {pattern!r} was given")
