"""What every search space is: a frozen record of choices that suggests candidates."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from ..errors import InvalidArchitecture, InvalidSpace
from .architecture import Architecture, DataSpec, Head
from .block import Block, Json
from .builder import shapes
from .candidate import Candidate
from .choices import Options, RandomSuggester, Suggester, values_of
from .compression_space import CompressionSpace
from .genes import Genes
from .looking import GeneUse, Size, genes_of, size_of
from .pruning import prunes
from .sharing import (
    SHARING,
    blocks_in_common,
    kinds,
    part_tasks,
    weight_owners,
    with_owners,
)
from .training_space import TrainingSpace

__all__ = ["MOST_LAYERS", "PER", "SHARING", "SLOPE", "TRUNK", "Space", "fits"]

PER = ("network", "stage", "layer")
MOST_LAYERS = 1000  # beyond it, describing a network takes longer than anyone waits
SLOPE = 0.01  # of a leaky ReLU that does not say another
TRUNK = Options((0.5, 1.0))


@dataclass(frozen=True, kw_only=True)
class Space(Genes, ABC):
    """A search space. ``name`` is its word in files and on the command line.

    training, compression: how candidates are trained and then made small, searched together with the structure where
    they are not constants.
    """

    training: TrainingSpace = TrainingSpace()
    compression: CompressionSpace = CompressionSpace()
    name: ClassVar[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.training, TrainingSpace):
            raise InvalidSpace(f"the training of a space is a TrainingSpace, {self.training!r} was given")
        if not isinstance(self.compression, CompressionSpace):
            raise InvalidSpace(f"the compression of a space is a CompressionSpace, {self.compression!r} was given")

    @abstractmethod
    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        """A candidate for the data, its genes asked of ``trial`` as in Optuna's define-by-run."""

    # for looking around

    def sample(self, data: DataSpec, *, seed: int = 0) -> Candidate:
        """A random candidate, without a study."""
        return self.suggest(RandomSuggester(seed), data)

    def share_that_fits(self, data: DataSpec, *, samples: int = 64) -> float:
        """The share of random candidates whose blocks fit the data (1.0: all)."""
        return sum(fits(self.sample(data, seed=seed)) for seed in range(samples)) / samples

    def size(self, data: DataSpec, *, limit: int = 10_000) -> Size:
        """How many settings of its genes the space has: exactly up to ``limit`` of them, beyond it a bound."""
        return size_of(lambda trial: self.suggest(trial, data), limit)

    def genes(self, data: DataSpec, *, samples: int = 200) -> tuple[GeneUse, ...]:
        """Every gene that random candidates ask for, with its choice and how often it is asked for."""
        return genes_of(lambda trial: self.suggest(trial, data), samples)

    def replace_training(self, **changes: Any) -> Self:
        """The same space with other choices in its training."""
        other = copy(self)
        object.__setattr__(other, "training", replace(self.training, **changes))
        return other

    # for suggesting

    def per_gene(self, trial: Suggester, per: str, stages: Sequence[int], *, varied: bool) -> str:
        """Whether something is chosen per network, stage or layer: the field ``per``, asked for only where it matters.

        stages: the stage of each layer. varied: whether there is anything to choose.
        """
        return str(self.gene_with_effect(trial, per, per, lambda per: varied and _partition(_places(per, stages))))

    def layer_genes(self, trial: Suggester, field: str, name: str, per: str, stages: Sequence[int]) -> list[Any]:
        """The value of a field for each layer: one gene ``name`` for the network, for each stage or for each layer."""
        places = _places(per, stages)
        values = {place: self.gene(trial, field, place + name) for place in dict.fromkeys(places)}
        return [values[place] for place in places]

    def genes_per(self, trial: Suggester, field: str, name: str, per: str, stages: Sequence[int]) -> list[Any]:
        """``layer_genes`` for the network, each stage or each layer as the field ``per`` says, asked for before."""
        chosen = self.per_gene(trial, per, stages, varied=self.varies(field))
        return self.layer_genes(trial, field, name, chosen, stages)

    def activation_genes(self, trial: Suggester, stages: Sequence[int]) -> list[str]:
        """The activation of each layer, as ``activation_per`` says; a leaky ReLU's slope is a gene beside it."""
        leaky = "leaky_relu" in values_of(self.choice("activations"))
        varied = self.varies("activations") or (leaky and self.varies("slopes"))
        places = _places(self.per_gene(trial, "activation_per", stages, varied=varied), stages)
        activations = {place: self._activation(trial, place) for place in dict.fromkeys(places)}
        return [activations[place] for place in places]

    def _activation(self, trial: Suggester, place: str) -> str:
        kind = str(self.gene(trial, "activations", f"{place}activation"))
        slope = float(self.gene(trial, "slopes", f"{place}slope")) if kind == "leaky_relu" else SLOPE
        return kind if slope == SLOPE else f"{kind}({slope})"

    def sharing_gene(
        self, trial: Suggester, blocks: Sequence[Block], in_width: int, stages: Sequence[int]
    ) -> list[Block]:
        """The blocks with their sharing. Fields: ``sharing`` and, for cycle and groups, ``sets``.

        in_width, stages: as for ``share_weights``. A gene is asked for only where its options have different effects.
        """
        shapes_of = kinds(blocks, in_width)
        counts = self._set_counts(len(blocks))

        def owners(sharing: str, sets: int) -> tuple[int, ...]:
            return weight_owners(shapes_of, stages, sharing, sets)

        sharing = self.gene_with_effect(trial, "sharing", "sharing", lambda word: [owners(word, n) for n in counts])
        if sharing in ("cycle", "groups"):
            return with_owners(blocks, self.effect_of_gene(trial, "sets", "sets", lambda n: owners(sharing, n)))
        return with_owners(blocks, owners(sharing, 1))

    def _set_counts(self, most: int) -> Sequence[int]:
        """The numbers of sets that can have different effects on so many blocks."""
        given = values_of(self.choice("sets")) if "sets" in self.rules else (1,)
        return sorted({min(count, most) for count in given[: most + 1]} | {min(given[-1], most)}) or (1,)

    def network(
        self, trial: Suggester, blocks: Sequence[Block], data: DataSpec, heads: tuple[Head, ...] | None = None
    ) -> Architecture:
        """The network of a chain of blocks. With several heads, ``trunk`` is the share of the layers in common.

        Behind the trunk each head has its own copy of the rest of the chain. heads: instead of those of the data.
        """
        heads = heads or data.heads
        if len(heads) == 1 or "trunk" not in self.rules:
            return data.architecture(blocks, heads)
        common = self.effect_of_gene(trial, "trunk", "trunk", lambda share: blocks_in_common(blocks, share))
        return data.architecture(*part_tasks(blocks, heads, common))

    def pruning_gene(self, trial: Suggester, architecture: Architecture) -> float:
        """The field ``pruning``, asked for only where anything of the network can leave, otherwise 0."""
        most = max(values_of(self.choice("pruning")))
        return float(self.gene(trial, "pruning", "pruning")) if prunes(architecture, most) else 0.0

    def candidate(
        self,
        trial: Suggester,
        architecture: Architecture,
        pruning: float,
        *,
        data: DataSpec | None = None,
    ) -> Candidate:
        """The candidate of an architecture, with the compression and the training that ``trial`` suggests.

        data: so that what has no effect on them is not asked for.
        """
        compression = self.compression.suggest(trial, architecture, pruned=prunes(architecture, pruning))
        one = Candidate(architecture, pruning, compression=compression)
        training = self.training.suggest(
            trial,
            finetunes=one.finetunes,
            taught=data is not None and data.taught,
            ineffective=data.ineffective if data else (),
        )
        return replace(one, training=training)

    def to_json(self) -> Json:
        return {"type": self.name, **super().to_json(), **self.more_to_json()}

    def more_to_json(self) -> Json:
        """Training and compression as JSON."""
        return {"training": self.training.to_json(), "compression": self.compression.to_json()}

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, less its type."""
        return super().from_json({**data, **more_from_json(data)})


def more_from_json(data: Json) -> dict[str, Any]:
    """Training and compression as they stand in the JSON of a space; what is left out has the default of the space."""
    kinds: dict[str, type[Genes]] = {"training": TrainingSpace, "compression": CompressionSpace}
    return {name: kind.from_json(data[name]) for name, kind in kinds.items() if name in data}


def fits(candidate: Candidate) -> bool:
    """Whether the blocks of a candidate take the shapes that come to them."""
    try:
        shapes(candidate.architecture)
    except InvalidArchitecture:
        return False
    return True


def _places(per: str, stages: Sequence[int]) -> list[str]:
    """For each layer what the name of a gene that is chosen ``per`` network, stage or layer begins with."""
    if per == "network":
        return ["" for _ in stages]
    return [f"stage{stage}." if per == "stage" else f"layer{layer}." for layer, stage in enumerate(stages)]


def _partition(places: Sequence[str]) -> list[int]:
    """The first layer of the same place, for each layer."""
    return [places.index(place) for place in places]
