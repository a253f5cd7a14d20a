"""Training hyperparameters as genes, searched together with the structure."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from .candidate import OPTIMIZERS, Training
from .choices import ChoiceLike, Real, Suggester, Whole, Words
from .genes import Genes

GOOD = Training()


@dataclass(frozen=True, kw_only=True)
class TrainingSpace(Genes):
    """The fields of ``Training`` as choices; by default each is a good constant."""

    epochs: ChoiceLike = GOOD.epochs
    finetune_epochs: ChoiceLike = GOOD.finetune_epochs
    batch_size: ChoiceLike = GOOD.batch_size
    learning_rate: ChoiceLike = GOOD.learning_rate
    weight_decay: ChoiceLike = GOOD.weight_decay
    optimizer: ChoiceLike = GOOD.optimizer
    label_smoothing: ChoiceLike = GOOD.label_smoothing
    dropout: ChoiceLike = GOOD.dropout
    augment: ChoiceLike = GOOD.augment

    rules: ClassVar = {
        "epochs": Whole(),
        "finetune_epochs": Whole(0),
        "batch_size": Whole(),
        "learning_rate": Real(above=True),
        "weight_decay": Real(),
        "optimizer": Words(OPTIMIZERS),
        "label_smoothing": Real(below=1),
        "dropout": Real(below=1),
        "augment": Real(most=1),
    }

    def suggest(self, trial: Suggester, *, pruned: bool, ineffective: Collection[str] = ()) -> Training:
        """A training. The epochs of fine-tuning are asked for only if something is pruned.

        ineffective: fields that change nothing on the data; these keep their defaults.
        """
        idle = {*ineffective} if pruned else {*ineffective, "finetune_epochs"}
        values: dict[str, Any] = {name: self.gene(trial, name, name) for name in self.rules if name not in idle}
        return Training(**{**asdict(GOOD), **values})
