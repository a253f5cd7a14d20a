"""Training hyperparameters as genes, searched together with the structure."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, ClassVar

from .candidate import OPTIMIZERS, Training
from .choices import ChoiceLike, Real, Suggester, Whole, Words
from .genes import Genes

GOOD = Training()
OF_FINETUNING = ("finetune_epochs", "finetune_rate")
WITH_TEACHER = ("distillation", "temperature", "feature_distillation")


@dataclass(frozen=True, kw_only=True)
class TrainingSpace(Genes):
    """The fields of ``Training`` as choices; by default each is a good constant.

    Those of ``WITH_TEACHER`` are asked for, and have an effect, only where the study has a teacher.
    """

    epochs: ChoiceLike = GOOD.epochs
    finetune_epochs: ChoiceLike = GOOD.finetune_epochs
    finetune_rate: ChoiceLike = GOOD.finetune_rate
    batch_size: ChoiceLike = GOOD.batch_size
    learning_rate: ChoiceLike = GOOD.learning_rate
    weight_decay: ChoiceLike = GOOD.weight_decay
    optimizer: ChoiceLike = GOOD.optimizer
    label_smoothing: ChoiceLike = GOOD.label_smoothing
    dropout: ChoiceLike = GOOD.dropout
    augment: ChoiceLike = GOOD.augment
    distillation: ChoiceLike = 0.5
    temperature: ChoiceLike = GOOD.temperature
    feature_distillation: ChoiceLike = GOOD.feature_distillation

    rules: ClassVar = {
        "epochs": Whole(),
        "finetune_epochs": Whole(0),
        "finetune_rate": Real(above=True),
        "batch_size": Whole(),
        "learning_rate": Real(above=True),
        "weight_decay": Real(),
        "optimizer": Words(OPTIMIZERS),
        "label_smoothing": Real(below=1),
        "dropout": Real(below=1),
        "augment": Real(most=1),
        "distillation": Real(most=1),
        "temperature": Real(above=True),
        "feature_distillation": Real(),
    }

    def suggest(
        self, trial: Suggester, *, finetunes: bool, taught: bool = False, ineffective: Collection[str] = ()
    ) -> Training:
        """A training. finetunes: whether there is fine-tuning. taught: whether there is a teacher.

        ineffective: fields that change nothing on the data. What has no effect keeps the default of Training.
        """
        idle = {*ineffective, *(() if finetunes else OF_FINETUNING), *(() if taught else WITH_TEACHER)}
        values: dict[str, Any] = {name: self.gene(trial, name, name) for name in self.rules if name not in idle}
        return Training(**{**vars(GOOD), **values})
