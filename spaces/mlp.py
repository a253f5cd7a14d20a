"""Multi-layer perceptrons for tables, and for images flattened."""

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from .architecture import Architecture, Block, DataSpec, Head
from .blocks import ACTIVATIONS, NORMS_1D
from .candidate import Candidate
from .choices import ChoiceLike, Options, Real, Suggester, Whole, Words
from .space import Space


@dataclass(frozen=True, kw_only=True)
class MLPSpace(Space):
    """Linear layers in a row.

    layers: hidden layers, 0 for a linear classifier. widths: units, chosen once per ``width_per`` (network or
    layer). sharing: hidden layers of equal shape use one set of weights, never (none) or always (all). pruning: the
    share of each hidden layer's units that leaves after training.
    """

    layers: ChoiceLike = (1, 5)
    widths: ChoiceLike = Options((16, 32, 64, 128, 256))
    width_per: ChoiceLike = Options(("network", "layer"))
    norms: ChoiceLike = "batch"
    activations: ChoiceLike = Options(("relu", "leaky_relu", "elu", "gelu", "silu"))
    sharing: ChoiceLike = Options(("none", "all"))
    pruning: ChoiceLike = (0.0, 0.7)

    name: ClassVar = "mlp"
    rules: ClassVar = {
        "layers": Whole(0),
        "widths": Whole(),
        "width_per": Words(("network", "layer")),
        "norms": Words(tuple(NORMS_1D)),
        "activations": Words(tuple(ACTIVATIONS)),
        "sharing": Words(("none", "all")),
        "pruning": Real(below=1),
    }

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        layers = self.gene(trial, "layers", "layers")
        blocks = [] if len(data.input_shape) == 1 else [Block("flatten")]
        if layers:
            per = self.gene(trial, "width_per", "width_per") if layers > 1 else "network"
            norm = self.gene(trial, "norms", "norm")
            activation = self.gene(trial, "activations", "activation")
            widths = self.width_genes(trial, per, [0] * layers)
            blocks += [Block("linear", width=width, norm=norm, activation=activation) for width in widths]
            blocks = self.sharing_gene(trial, blocks, prod(data.input_shape), [0] * len(blocks))
        pruning = self.gene(trial, "pruning", "pruning") if layers else 0.0
        architecture = Architecture(data.input_shape, tuple(blocks), (Head(data.classes),))
        return self.candidate(trial, architecture, pruning)
