"""Convolutional networks for images: stages of convolutions, each stage closed by a pooling."""

from dataclasses import dataclass
from typing import ClassVar

from ..errors import InvalidSpace
from .architecture import Architecture, Block, DataSpec, Head
from .blocks import ACTIVATIONS, NORMS_2D
from .candidate import Candidate
from .choices import ChoiceLike, Options, Real, Suggester, Whole, Words
from .space import SHARING, Space

POOLINGS = {"max": "max_pool", "average": "average_pool"}
READOUTS = {"average": "global_average_pool", "flatten": "flatten"}


@dataclass(frozen=True, kw_only=True)
class ConvSpace(Space):
    """Plain 2-d convolutional networks.

    layers: convolutions in all. stages: the layers are dealt out evenly to so many stages (at most one a layer), and
    after each stage ``pooling`` halves the map. widths: channels, chosen once per ``width_per`` (network, stage or
    layer). kernels: side of the filters in pixels, odd. readout: how the last map becomes features. hidden_layers of
    hidden_widths units: linear layers before the classifier. sharing: layers of equal shape use one set of weights,
    never (none), within a stage (stage) or wherever they stand (all). pruning: the share of each layer's channels
    that leaves after training.
    """

    layers: ChoiceLike = (2, 5)
    stages: ChoiceLike = (1, 3)
    widths: ChoiceLike = Options((8, 16, 24, 32, 48, 64))
    width_per: ChoiceLike = "stage"
    kernels: ChoiceLike = 3
    norms: ChoiceLike = "batch"
    activations: ChoiceLike = Options(("relu", "leaky_relu", "elu", "gelu", "silu"))
    pooling: ChoiceLike = "max"
    readout: ChoiceLike = "average"
    hidden_layers: ChoiceLike = 0
    hidden_widths: ChoiceLike = 64
    sharing: ChoiceLike = Options(("none", "stage", "all"))
    pruning: ChoiceLike = (0.0, 0.7)

    name: ClassVar = "conv"
    rules: ClassVar = {
        "layers": Whole(),
        "stages": Whole(),
        "widths": Whole(),
        "width_per": Words(("network", "stage", "layer")),
        "kernels": Whole(odd=True),
        "norms": Words(tuple(NORMS_2D)),
        "activations": Words(tuple(ACTIVATIONS)),
        "pooling": Words((*POOLINGS, "none")),
        "readout": Words(tuple(READOUTS)),
        "hidden_layers": Whole(0),
        "hidden_widths": Whole(),
        "sharing": Words(SHARING),
        "pruning": Real(below=1),
    }

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        if len(data.input_shape) != 3:
            raise InvalidSpace(
                f"a ConvSpace takes images (channels, height, width), the data has shape {data.input_shape}: "
                "use MLPSpace"
            )
        layers = self.gene(trial, "layers", "layers")
        count = min(self.gene(trial, "stages", "stages"), layers)
        stage_of = [layer * count // layers for layer in range(layers)]
        widths = self.width_genes(trial, self.gene(trial, "width_per", "width_per"), stage_of)
        norm = self.gene(trial, "norms", "norm")
        activation = self.gene(trial, "activations", "activation")
        kernel = self.gene(trial, "kernels", "kernel")
        pooling = self.gene(trial, "pooling", "pooling")

        blocks: list[Block] = []
        stages: list[int] = []

        def add(block: Block, stage: int) -> None:
            blocks.append(block)
            stages.append(stage)

        for layer, (stage, width) in enumerate(zip(stage_of, widths, strict=True)):
            add(Block("conv", width=width, kernel=kernel, norm=norm, activation=activation), stage)
            last_of_stage = layer + 1 == layers or stage_of[layer + 1] != stage
            if last_of_stage and pooling != "none":
                add(Block(POOLINGS[pooling]), stage)
        add(Block(READOUTS[self.gene(trial, "readout", "readout")]), count)
        for hidden in range(self.gene(trial, "hidden_layers", "hidden_layers")):
            width = self.gene(trial, "hidden_widths", f"hidden{hidden}.width")
            add(Block("linear", width=width, norm=norm, activation=activation), count)

        blocks = self.sharing_gene(trial, blocks, data.input_shape[0], stages)
        architecture = Architecture(data.input_shape, tuple(blocks), (Head(data.classes),))
        return self.candidate(trial, architecture, self.gene(trial, "pruning", "pruning"))
