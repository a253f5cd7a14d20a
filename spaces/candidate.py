"""What one trial tries: a network, how it is made small, and how it is trained."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Self

from ..errors import UsageError, one_of
from .architecture import Architecture, Json, key_of
from .pruning import pruned_architecture

OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Training:
    """How a candidate is trained, under a one-cycle learning rate (Smith & Topin 2018).

    epochs and finetune_epochs (after pruning): passes over the training split. learning_rate: the peak. optimizer:
    ``adamw`` (Loshchilov & Hutter 2019) or ``sgd`` (Nesterov momentum 0.9). label_smoothing: the share of the target
    spread evenly over the classes (Szegedy et al. 2016).
    """

    epochs: int = 10
    finetune_epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing is at least 0 and below 1, {self.label_smoothing!r} was given")
        for name, least in (("epochs", 1), ("finetune_epochs", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UsageError(f"{name} of the training must be a whole number from {least}, {value!r} was given")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
                raise UsageError(f"{name} of the training must be finite and 0 or more, {value!r} was given")
            if name == "learning_rate" and value == 0:
                raise UsageError(f"{name} of the training must be above 0, {value!r} was given")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one candidate


@dataclass(frozen=True)
class Candidate:
    """A network to train, the share of each layer's channels that leaves afterwards, and the training."""

    architecture: Architecture
    pruning: float = 0.0
    training: Training = Training()

    def __post_init__(self) -> None:
        if not isinstance(self.pruning, int | float) or not 0 <= self.pruning < 1:
            raise UsageError(f"a pruning ratio is at least 0 and below 1, {self.pruning!r} was given")

    @cached_property
    def deployed(self) -> Architecture:
        """The network that is left after pruning, known before anything is trained."""
        return pruned_architecture(self.architecture, self.pruning)

    @cached_property
    def key(self) -> str:
        """Equal for candidates that train and prune to the same network, whatever genes led there."""
        training = asdict(self.training)
        if self.deployed == self.architecture:
            del training["finetune_epochs"]
        return key_of(
            {
                "architecture": self.architecture.to_json(),
                "deployed": self.deployed.to_json(),
                "training": training,
            }
        )

    def to_json(self) -> Json:
        return {
            "architecture": self.architecture.to_json(),
            "pruning": self.pruning,
            "training": asdict(self.training),
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote; UsageError says what is wrong with anything else."""
        try:
            return cls(Architecture.from_json(data["architecture"]), data["pruning"], Training(**data["training"]))
        except (KeyError, TypeError) as error:
            raise UsageError(f"this is not a candidate as paretonas writes it: {error!r}") from error
