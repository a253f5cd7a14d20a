"""What every search space is: a frozen record of choices that suggests candidates."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from ..errors import InvalidArchitecture, InvalidSpace
from .architecture import Architecture, Block, DataSpec, Json, can_share
from .builder import shapes
from .candidate import Candidate
from .choices import Options, RandomSuggester, Suggester
from .genes import Genes
from .pruning import pruned_architecture
from .training_space import TrainingSpace


@dataclass(frozen=True, kw_only=True)
class Space(Genes, ABC):
    """A search space. ``name`` is its word in files and on the command line.

    training: hyperparameters, searched together with the structure where they are not constants.
    """

    training: TrainingSpace = TrainingSpace()
    name: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.training, TrainingSpace):
            raise InvalidSpace(f"the training of a space is a TrainingSpace, {self.training!r} was given")

    @abstractmethod
    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        """A candidate for the data, its genes asked of ``trial`` as in Optuna's define-by-run."""

    def sample(self, data: DataSpec, *, seed: int = 0) -> Candidate:
        """A random candidate, without a study."""
        return self.suggest(RandomSuggester(seed), data)

    def share_that_fits(self, data: DataSpec, *, samples: int = 64) -> float:
        """The share of random candidates whose blocks fit the data (1.0: all)."""
        return sum(fits(self.sample(data, seed=seed)) for seed in range(samples)) / samples

    def replace_training(self, **changes: Any) -> Self:
        """The same space with other choices in its training."""
        return replace(self, training=replace(self.training, **changes))

    def width_genes(self, trial: Suggester, width_per: str, stages: list[int]) -> list[int]:
        """The width of each layer: one gene for the network, one for each stage, or one for each layer."""
        names = {
            "network": ["width" for _ in stages],
            "stage": [f"stage{stage}.width" for stage in stages],
            "layer": [f"layer{layer}.width" for layer in range(len(stages))],
        }[width_per]
        widths = {name: self.gene(trial, "widths", name) for name in dict.fromkeys(names)}
        return [widths[name] for name in names]

    def sharing_gene(self, trial: Suggester, blocks: list[Block], in_width: int, stages: list[int]) -> list[Block]:
        """The blocks with their sharing. The gene is asked for only where some option has an effect."""
        options = self.choice("sharing")
        assert isinstance(options, Options)
        if all(share_weights(blocks, in_width, stages, str(option)) == blocks for option in options.values):
            return blocks
        return share_weights(blocks, in_width, stages, self.gene(trial, "sharing", "sharing"))

    def candidate(self, trial: Suggester, architecture: Architecture, pruning: float) -> Candidate:
        """The candidate of an architecture, with the training that ``trial`` suggests."""
        pruned = pruned_architecture(architecture, pruning) != architecture
        return Candidate(architecture, pruning, self.training.suggest(trial, pruned=pruned))

    def to_json(self) -> Json:
        return {"type": self.name, **super().to_json(), "training": self.training.to_json()}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, less its type."""
        return super().from_json({**data, "training": TrainingSpace.from_json(data.get("training", {}))})


def fits(candidate: Candidate) -> bool:
    """Whether the blocks of a candidate take the shapes that come to them."""
    try:
        shapes(candidate.architecture)
    except InvalidArchitecture:
        return False
    return True


SHARING = ("none", "stage", "all")


def share_weights(blocks: list[Block], in_width: int, stages: list[int], sharing: str) -> list[Block]:
    """Let every block that can share use the weights of the first block of equal shape.

    in_width: what comes into the first block. stages: the stage of each block. sharing: ``none``, ``stage`` (only
    within a stage) or ``all``.
    """
    if sharing == "none":
        return blocks
    owners: dict[tuple[int, int, Block], int] = {}
    shared, width = [], in_width
    for index, block in enumerate(blocks):
        stage = stages[index] if sharing == "stage" else 0
        owner = owners.setdefault((stage, width, block), index) if can_share(block.op) else index
        shared.append(block if owner == index else block.replace(shares=owner))
        width = FLATTENED if block.op == "flatten" else block.width or width
    return shared


FLATTENED = -1  # what leaves a flatten: no other width equals it
