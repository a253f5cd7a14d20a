"""What one trial tries: a network, how it is made small, and how it is trained."""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Self

from ..errors import UsageError, one_of
from .architecture import Architecture, key_of
from .block import Json
from .module import ModuleArchitecture
from .pruning import pruned_architecture

OPTIMIZERS = ("adamw", "sgd")


@dataclass(frozen=True)
class Training:
    """How a candidate is trained, under a one-cycle learning rate (Smith & Topin 2018).

    epochs and finetune_epochs (after pruning): passes over the training split. learning_rate: the peak. optimizer:
    ``adamw`` (Loshchilov & Hutter 2019) or ``sgd`` (Nesterov); momentum goes from 0.95 down to 0.85 and back with the
    rate. label_smoothing: the share of the target spread evenly over the classes (Szegedy et al. 2016). dropout: the
    share of features that is zeroed in training (Srivastava et al. 2014). augment: strength, 0 to 1, of the task's
    random changes to the examples.
    """

    epochs: int = 10
    finetune_epochs: int = 3
    batch_size: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    label_smoothing: float = 0.0
    dropout: float = 0.0
    augment: float = 0.0

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("label_smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} is at least 0 and below 1, {getattr(self, name)!r} was given")
        if not 0 <= self.augment <= 1:
            raise UsageError(f"augment is a strength from 0 to 1, {self.augment!r} was given")
        for name, least in (("epochs", 1), ("finetune_epochs", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UsageError(f"{name} of the training must be a whole number from {least}, {value!r} was given")
        for name in ("label_smoothing", "dropout", "augment"):
            object.__setattr__(self, name, float(getattr(self, name)))
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
        if not isinstance(self.architecture, Architecture):
            raise UsageError(f"a candidate is of an Architecture, {self.architecture!r} was given")
        if not isinstance(self.pruning, int | float) or not 0 <= self.pruning < 1:
            raise UsageError(f"a pruning ratio is at least 0 and below 1, {self.pruning!r} was given")
        if self.pruning and isinstance(self.architecture, ModuleArchitecture):
            raise UsageError(f"a module of your own is not pruned, the ratio {self.pruning!r} was given: use 0")

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
            architecture = architecture_from_json(data["architecture"])
            return cls(architecture, data["pruning"], Training(**data["training"]))
        except (KeyError, TypeError) as error:
            raise UsageError(f"this is not a candidate as paretonas writes it: {error!r}") from error


def architecture_from_json(data: Json) -> Architecture:
    """Read what the ``to_json`` of either wrote."""
    return (ModuleArchitecture if "factory" in data else Architecture).from_json(data)
