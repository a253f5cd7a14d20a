"""Multi-layer perceptrons for tables, and for images flattened."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from ..errors import InvalidSpace
from .architecture import DataSpec
from .block import Block
from .blocks import ACTIVATIONS, NORMS_1D
from .candidate import Candidate
from .choices import ChoiceLike, Options, Real, Suggester, Whole, Words
from .compression_space import CompressionSpace
from .space import MOST_LAYERS, SLOPE, TRUNK, Space


@dataclass(frozen=True, kw_only=True)
class MLPSpace(Space):
    """Linear layers in a row.

    layers: hidden layers, 0 for a linear classifier. blocks: what the layers behind the first are, linear, or residual
    blocks with ``ratios`` hidden units to a unit of the width (Gorishniy et al. 2021; the first layer has a norm and
    an activation here, and there are none before the classifier). widths: units, chosen once per ``width_per``
    (network or layer). activations: per network or layer. embedding_widths: numbers that a code of a category column
    becomes. sharing: hidden layers of equal shape use one set of weights, never (none), always (all), or ``sets`` sets
    in turn (cycle) or in groups. trunk: the share of the layers that several tasks have in common. pruning: the share
    of each hidden layer's units that leaves after training.
    """

    layers: ChoiceLike = (1, 5)
    blocks: ChoiceLike = "linear"
    widths: ChoiceLike = Options((16, 32, 64, 128, 256))
    width_per: ChoiceLike = Options(("network", "layer"))
    ratios: ChoiceLike = Options((1, 2, 4))
    norms: ChoiceLike = "batch"
    activations: ChoiceLike = Options(("relu", "leaky_relu", "elu", "gelu", "silu"))
    activation_per: ChoiceLike = "network"
    slopes: ChoiceLike = SLOPE
    embedding_widths: ChoiceLike = 8
    sharing: ChoiceLike = Options(("none", "all"))
    sets: ChoiceLike = 2
    trunk: ChoiceLike = TRUNK
    pruning: ChoiceLike = (0.0, 0.7)
    compression: CompressionSpace = CompressionSpace(quantization="dynamic")  # faster than static here (docs/log.md)

    name: ClassVar = "mlp"
    rules: ClassVar = {
        "layers": Whole(0, most=MOST_LAYERS),
        "blocks": Words(("linear", "residual")),
        "widths": Whole(),
        "width_per": Words(("network", "layer")),
        "ratios": Real(above=True),
        "norms": Words(tuple(NORMS_1D)),
        "activations": Words(tuple(ACTIVATIONS)),
        "activation_per": Words(("network", "layer")),
        "slopes": Real(above=True, below=1),
        "embedding_widths": Whole(),
        "sharing": Words(("none", "all", "cycle", "groups")),
        "sets": Whole(),
        "trunk": Real(most=1),
        "pruning": Real(below=1),
    }

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        if data.vocabulary is not None:
            raise InvalidSpace("an MLPSpace takes numbers, the data are tokens: use TransformerSpace")
        blocks = self._entry(trial, data)
        layers = self.gene(trial, "layers", "layers")
        if layers:
            blocks += self._layers(trial, [0] * layers)
            blocks = self.sharing_gene(trial, blocks, data.input_shape[0], [0] * len(blocks))
        architecture = self.network(trial, blocks, data)
        return self.candidate(trial, architecture, self.pruning_gene(trial, architecture), data=data)

    def _entry(self, trial: Suggester, data: DataSpec) -> list[Block]:
        """What makes a row of numbers of the input."""
        if not data.categories:
            return [Block("flatten")] if len(data.input_shape) > 1 else []
        most = max(data.categories)
        features = self.effect_of_gene(trial, "embedding_widths", "embedding_width", lambda width: min(width, most))
        return [Block("columns", categories=",".join(map(str, data.categories)), features=features)]

    def _layers(self, trial: Suggester, layers: Sequence[int]) -> list[Block]:
        """The hidden layers. What has no effect on a single layer, or on residual blocks, is not asked for."""
        residual = len(layers) > 1 and self.gene(trial, "blocks", "block") == "residual"
        per = "network" if residual else self.per_gene(trial, "width_per", layers, varied=self.varies("widths"))
        norm = self.gene(trial, "norms", "norm")
        activations = self.activation_genes(trial, layers)
        widths: list[int] = self.layer_genes(trial, "widths", "width", per, layers)
        blocks = [
            Block("linear", width=width, norm=norm, activation=activation)
            for width, activation in zip(widths, activations, strict=True)
        ]
        if not residual:
            return blocks

        def units(ratio: float) -> int:
            return max(1, round(ratio * widths[0]))

        hidden = self.effect_of_gene(trial, "ratios", "ratio", units)
        return blocks[:1] + [
            Block("residual_linear", hidden=hidden, norm=norm, activation=activation) for activation in activations[1:]
        ]
