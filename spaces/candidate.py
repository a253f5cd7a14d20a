"""What one trial tries: a network, how it is made small, and how it is trained."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Self

from ..errors import UsageError, one_of
from .architecture import Architecture, key_of
from .block import Json
from .compression import Compression, Start
from .module import ModuleArchitecture
from .pruning import pruned_architecture

FIRST_RATE = 0.3  # of fine-tuning, in candidates that were kept before it could be chosen
Rule = tuple[Callable[[float], bool], str]

OPTIMIZERS = ("adamw", "sgd")
SHARE: Rule = (lambda value: 0 <= value < 1, "at least 0 and below 1")
WEIGHT: Rule = (lambda value: 0 <= value <= 1, "from 0 to 1")
AMOUNT: Rule = (lambda value: 0 <= value < math.inf, "finite and 0 or more")
POSITIVE: Rule = (lambda value: 0 < value < math.inf, "finite and above 0")
NUMBERS = {
    "learning_rate": POSITIVE,
    "finetune_rate": POSITIVE,
    "weight_decay": AMOUNT,
    "label_smoothing": SHARE,
    "dropout": SHARE,
    "augment": WEIGHT,
    "distillation": WEIGHT,
    "temperature": POSITIVE,
    "feature_distillation": AMOUNT,
}


@dataclass(frozen=True)
class Training:
    """How a candidate is trained, under a one-cycle learning rate (Smith & Topin 2018).

    epochs and finetune_epochs (after something left): passes over the training split. learning_rate: the peak;
    finetune_rate: that of fine-tuning, as a share of it. optimizer: ``adamw`` (Loshchilov & Hutter 2019) or ``sgd``
    (Nesterov); momentum goes from 0.95 down to 0.85 and back with the rate. label_smoothing: the share of the target
    spread evenly over the classes (Szegedy et al. 2016). dropout: the share of features that is zeroed in training
    (Srivastava et al. 2014). augment: strength, 0 to 1, of the task's random changes to the examples. distillation: the
    weight, 0 to 1, of a teacher's answers at a temperature above 0 (Hinton et al. 2015); feature_distillation: that of
    its features, from 0 (Romero et al. 2015).
    """

    epochs: int = 10
    finetune_epochs: int = 3
    finetune_rate: float = 1.0
    batch_size: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    optimizer: str = "adamw"
    label_smoothing: float = 0.0
    dropout: float = 0.0
    augment: float = 0.0
    distillation: float = 0.0
    temperature: float = 4.0
    feature_distillation: float = 0.0

    def __post_init__(self) -> None:
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        for name, least in (("epochs", 1), ("finetune_epochs", 0), ("batch_size", 1)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UsageError(f"{name} of the training must be a whole number from {least}, {value!r} was given")
        for name, (fits, rule) in NUMBERS.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not fits(value):
                raise UsageError(f"{name} of the training must be {rule}, {value!r} was given")
            object.__setattr__(self, name, float(value))  # 1 and 1.0 are one candidate

    @property
    def taught(self) -> bool:
        """Whether a teacher, if there is one, has a say."""
        return self.distillation > 0 or self.feature_distillation > 0


@dataclass(frozen=True)
class Candidate:
    """A network to train, the share of each layer's units that leaves afterwards, the training, and the compression.

    start: trained weights to begin with. They are trained on only if moves changed them. seed: of the weights and of
    the order of the data, where it is not that of the study.
    """

    architecture: Architecture
    pruning: float = 0.0
    training: Training = Training()
    compression: Compression = Compression()
    start: Start | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.architecture, Architecture):
            raise UsageError(f"a candidate is of an Architecture, {self.architecture!r} was given")
        if self.seed is not None and (type(self.seed) is not int or not 0 <= self.seed < 2**31):
            raise UsageError(f"a seed is a whole number from 0 and below 2**31, {self.seed!r} was given")
        if not isinstance(self.pruning, int | float) or not 0 <= self.pruning < 1:
            raise UsageError(f"a pruning ratio is at least 0 and below 1, {self.pruning!r} was given")
        if isinstance(self.architecture, ModuleArchitecture) and (self.pruning or self.compression.removed_layers):
            raise UsageError(
                "no units and no layers of a module of your own leave in a search, the ratio "
                f"{self.pruning!r} and removed_layers {self.compression.removed_layers!r} were given: use 0, or "
                "paretonas.compress afterwards"
            )
        if self.compression.rewinds and not self.trains:
            raise UsageError(
                "rewind goes back to the weights after the first epoch of training, and a network that begins with "
                "trained weights has none: use one_shot or gradual"
            )

    @cached_property
    def deployed(self) -> Architecture:
        """The network that is left, as far as it is known before anything is trained.

        Which layers leave, and which units if those of all layers compete, is decided on the trained weights.
        """
        if self.decided_later:
            return self.architecture
        return pruned_architecture(self.architecture, self.pruning)

    @property
    def decided_later(self) -> bool:
        """Whether the network that is left is known only after training."""
        return self.compression.removed_layers > 0 or (self.pruning > 0 and self.compression.scope == "global")

    @property
    def precision(self) -> str:
        """Of the numbers that the network computes with once it is deployed: ``float32``, ``int8 static``."""
        if self.compression.bits == 8:
            return f"int8 {self.compression.quantization}"
        return "float32 sparse" if self.compression.sparse else "float32"

    @property
    def counts(self) -> bool:
        """Whether it can be on a front: with a seed of its own it repeats another, and the best of many is luck."""
        return self.seed is None

    @property
    def trains(self) -> bool:
        """Whether it is trained before anything leaves."""
        return self.start is None or bool(self.start.moves)

    @cached_property
    def shrinks(self) -> bool:
        """Whether layers, units or weights leave after training."""
        return self.decided_later or self.deployed != self.architecture or self.compression.sparse

    @cached_property
    def finetunes(self) -> bool:
        """Whether it is trained again after that, or with the rounding of int8 in sight."""
        recipe = self.compression
        if recipe.rewinds:
            return True
        aware = recipe.bits == 8 and recipe.quantization_aware
        return (self.shrinks or aware) and self.training.finetune_epochs > 0

    @property
    def epochs(self) -> int:
        """Passes over the training split, if nothing stops it: training, then fine-tuning or training once more."""
        training = self.training
        again = training.epochs if self.compression.rewinds else training.finetune_epochs
        return (training.epochs if self.trains else 0) + (again if self.finetunes else 0)

    @cached_property
    def key(self) -> str:
        """Equal for candidates that train and shrink to the same network, whatever genes led there."""
        training = dict(vars(self.training))
        if not (self.shrinks or self.finetunes):
            del training["finetune_epochs"]
        if not self.finetunes or training["finetune_rate"] == FIRST_RATE:
            del training["finetune_rate"]
        if not self.trains:
            del training["epochs"]
        if not training["distillation"]:
            del training["distillation"], training["temperature"]
        if not training["feature_distillation"]:
            del training["feature_distillation"]
        pruned = self.decided_later and self.pruning > 0
        compression = self.compression.effective(
            pruned=self.pruning > 0 and (self.decided_later or self.deployed != self.architecture),
            finetunes=self.finetunes,
        )
        start = None if self.start is None else self.start.to_json()
        return key_of(
            {
                "architecture": self.architecture.to_json(),
                "deployed": self.deployed.to_json(),
                "training": training,
                **({"pruning": self.pruning} if pruned else {}),
                **({"compression": compression} if compression else {}),
                **({} if start is None else {"start": {"key": start["key"], "moves": start["moves"]}}),
                **({} if self.seed is None else {"seed": self.seed}),
            }
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: a drawing, with what pruning will take away."""
        from .drawing import draw

        return draw(self)

    def to_json(self) -> Json:
        compression = asdict(self.compression)
        return {
            "architecture": self.architecture.to_json(),
            "pruning": self.pruning,
            "training": asdict(self.training),
            **({} if self.compression == Compression() else {"compression": compression}),
            **({} if self.start is None else {"start": self.start.to_json()}),
            **({} if self.seed is None else {"seed": self.seed}),
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote; UsageError says what is wrong with anything else."""
        try:
            return cls(
                architecture_from_json(data["architecture"]),
                data["pruning"],
                Training(**{"finetune_rate": FIRST_RATE, **data["training"]}),
                Compression(**data.get("compression", {})),
                Start.from_json(data["start"]) if "start" in data else None,
                data.get("seed"),
            )
        except (KeyError, TypeError) as error:
            raise UsageError(f"this is not a candidate as paretonas writes it: {error!r}") from error


def architecture_from_json(data: Json) -> Architecture:
    """Read what the ``to_json`` of either wrote."""
    return (ModuleArchitecture if "factory" in data else Architecture).from_json(data)
