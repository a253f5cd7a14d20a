"""Convolutional networks for images and signals: stages of convolutions, each at half the size of the one before."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from ..errors import InvalidSpace
from .architecture import DataSpec
from .block import Block, Json
from .blocks import ACTIVATIONS, NORMS_2D
from .candidate import Candidate
from .choices import ChoiceLike, Options, Real, Suggester, Whole, Words
from .space import MOST_LAYERS, PER, SHARING, SLOPE, TRUNK, Space

KINDS = ("conv", "residual", "separable", "inverted_residual")
POOLINGS = {"max": "max_pool", "average": "average_pool"}
READOUTS = {"average": "global_average_pool", "flatten": "flatten"}
OVER_SIGNALS = "1d"  # how the ops for signals end
SKIPS = {"residual": "projection", "inverted_residual": "none"}  # where what came does not fit to what leaves


@dataclass(frozen=True, kw_only=True)
class ConvSpace(Space):
    """Convolutional networks for images (channels, height, width) and signals (channels, length).

    layers: convolutional blocks in all. stages: the layers are dealt out evenly to so many stages (at most one a
    layer). pooling: what halves the map, ``max`` or ``average`` after each stage, or a ``stride`` of 2 in the first
    layer of each stage but the first; or ``none``. stem_stride: stride of the very first layer, for large images.

    widths: channels; kernels: side of the filters, odd; activations, and slopes of a leaky ReLU: each chosen once per
    network, stage or layer, as width_per, kernel_per and activation_per say.

    blocks: what the layers are. ``conv``: plain, its channels cut into ``groups`` where they divide. The others have a
    plain first layer: ``residual``; ``separable``, with depthwise_kernels ``own`` or ``shared`` by all channels;
    ``inverted_residual``, inside ``expansions`` times as wide, with ``squeeze`` times as many units in its squeeze and
    excitation (0: without).

    readout: how the last map becomes features. hidden_layers of hidden_widths units: linear layers before the heads.
    sharing, sets: layers of equal shape use one set of weights, never (none), within a stage (stage), wherever they
    stand (all), or there are ``sets`` sets, in turn (cycle) or each for some layers in a row (groups). trunk: with
    several heads, the share of the layers that these have in common. pruning: the share of each layer's channels that
    leaves after training.
    """

    layers: ChoiceLike = (2, 5)
    stages: ChoiceLike = (1, 3)
    widths: ChoiceLike = Options((8, 16, 24, 32, 48, 64))
    width_per: ChoiceLike = "stage"
    blocks: ChoiceLike = "conv"
    kernels: ChoiceLike = 3
    kernel_per: ChoiceLike = "network"
    groups: ChoiceLike = 1
    depthwise_kernels: ChoiceLike = "own"
    expansions: ChoiceLike = Options((2, 4, 6))
    squeeze: ChoiceLike = Options((0.0, 0.25))
    norms: ChoiceLike = "batch"
    activations: ChoiceLike = Options(("relu", "leaky_relu", "elu", "gelu", "silu"))
    activation_per: ChoiceLike = "network"
    slopes: ChoiceLike = SLOPE
    pooling: ChoiceLike = "max"
    stem_stride: ChoiceLike = 1
    readout: ChoiceLike = "average"
    hidden_layers: ChoiceLike = 0
    hidden_widths: ChoiceLike = 64
    sharing: ChoiceLike = Options(("none", "stage", "all"))
    sets: ChoiceLike = 2
    trunk: ChoiceLike = TRUNK
    pruning: ChoiceLike = (0.0, 0.7)

    name: ClassVar = "conv"
    rules: ClassVar = {
        "layers": Whole(most=MOST_LAYERS),
        "stages": Whole(),
        "widths": Whole(),
        "width_per": Words(PER),
        "blocks": Words(KINDS),
        "kernels": Whole(odd=True),
        "kernel_per": Words(PER),
        "groups": Whole(),
        "depthwise_kernels": Words(("own", "shared")),
        "expansions": Real(above=True),
        "squeeze": Real(most=1),
        "norms": Words(tuple(NORMS_2D)),
        "activations": Words(tuple(ACTIVATIONS)),
        "activation_per": Words(PER),
        "slopes": Real(above=True, below=1),
        "pooling": Words((*POOLINGS, "stride", "none")),
        "stem_stride": Whole(),
        "readout": Words(tuple(READOUTS)),
        "hidden_layers": Whole(0, most=MOST_LAYERS),
        "hidden_widths": Whole(),
        "sharing": Words(SHARING),
        "sets": Whole(),
        "trunk": Real(most=1),
        "pruning": Real(below=1),
    }

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        if len(data.input_shape) not in (2, 3):
            raise InvalidSpace(
                "a ConvSpace takes images (channels, height, width) or signals (channels, length), the data has shape "
                f"{data.input_shape}: use MLPSpace for rows and TransformerSpace for tokens"
            )
        layers = self.gene(trial, "layers", "layers")
        count = min(self.gene(trial, "stages", "stages"), layers)
        stages = [layer * count // layers for layer in range(layers)]
        hidden = self.gene(trial, "hidden_layers", "hidden_layers")
        widths = self.genes_per(trial, "widths", "width", "width_per", stages)
        norm = self.gene(trial, "norms", "norm")
        activations = self.activation_genes(trial, [*stages, *[count] * hidden])
        kernels = self.genes_per(trial, "kernels", "kernel", "kernel_per", stages)
        strides, pools, side = self._sizes(trial, stages, max(data.input_shape[1:]))
        kinds = self._kinds(trial, [data.input_shape[0], *widths], strides)
        readout = self._readout(trial, side)

        suffix = OVER_SIGNALS if len(data.input_shape) == 2 else ""
        blocks: list[Block] = []
        stage_of: list[int] = []
        for layer, (op, numbers) in enumerate(kinds):
            blocks.append(
                Block(op + suffix, width=widths[layer], kernel=kernels[layer], stride=strides[layer], norm=norm,
                      activation=activations[layer], **numbers)
            )  # fmt: skip
            if pools[layer]:
                blocks.append(Block(pools[layer] + suffix))
            stage_of += [stages[layer]] * (len(blocks) - len(stage_of))
        blocks.append(Block(readout if readout == "flatten" else readout + suffix))
        for layer in range(hidden):
            width = self.gene(trial, "hidden_widths", f"hidden{layer}.width")
            blocks.append(Block("linear", width=width, norm=norm, activation=activations[layers + layer]))
        stage_of += [count] * (1 + hidden)

        blocks = self.sharing_gene(trial, blocks, data.input_shape[0], stage_of)
        architecture = self.network(trial, blocks, data)
        return self.candidate(trial, architecture, self.pruning_gene(trial, architecture), data=data)

    def _readout(self, trial: Suggester, side: int) -> str:
        """The op that makes features of the last map; of a single pixel both make the same."""

        def op(word: str) -> str:
            return READOUTS[word if side > 1 else "average"]

        return self.effect_of_gene(trial, "readout", "readout", op)

    def _sizes(self, trial: Suggester, stages: Sequence[int], side: int) -> tuple[list[int], list[str], int]:
        """The stride of each layer, the pooling behind it, and the side of the last map."""
        stem = self.effect_of_gene(trial, "stem_stride", "stem_stride", lambda stride: min(stride, side))
        return self.effect_of_gene(trial, "pooling", "pooling", lambda word: sizes(stages, side, word, stem))

    def _kinds(self, trial: Suggester, widths: Sequence[int], strides: Sequence[int]) -> list[tuple[str, Json]]:
        """The op of each layer, and the numbers that it alone has. widths: of the input and of each layer."""
        steps = list(pairwise(widths))
        kind = self.gene_with_effect(trial, "blocks", "block", lambda kind: kind if len(steps) > 1 else "conv")
        if kind == "conv":
            groups = self.effect_of_gene(trial, "groups", "groups", lambda n: dividing(n, steps))
            return [("conv", {"groups": number}) for number in groups]
        own = self._own_numbers(trial, kind, steps[1:])
        if kind in SKIPS:
            for numbers, (before, width), stride in zip(own, steps[1:], strides[1:], strict=True):
                numbers["skip"] = "identity" if (before, stride) == (width, 1) else SKIPS[kind]
        return [("conv", {}), *((kind, numbers) for numbers in own)]

    def _own_numbers(self, trial: Suggester, kind: str, steps: Sequence[tuple[int, int]]) -> list[Json]:
        if kind == "residual":
            return [{"hidden": width} for _, width in steps]
        if kind == "separable":

            def kernels(word: str) -> list[str]:
                return ["own" if before == 1 else word for before, _ in steps]  # one channel's own is shared by all

            words = self.effect_of_gene(trial, "depthwise_kernels", "depthwise_kernels", kernels)
            return [{"kernels": word} for word in words]

        def widened(times: float) -> list[int]:
            return [max(1, round(times * before)) for before, _ in steps]

        hidden = self.effect_of_gene(trial, "expansions", "expansion", widened)

        def squeezed(share: float) -> list[int]:
            return [max(1, round(share * width)) if share else 0 for width in hidden]

        units = self.effect_of_gene(trial, "squeeze", "squeeze", squeezed)
        return [{"hidden": width, "squeeze": number} for width, number in zip(hidden, units, strict=True)]


def sizes(stages: Sequence[int], side: int, pooling: str, stem_stride: int) -> tuple[list[int], list[str], int]:
    """The stride of each layer, the op of the pooling behind it or "", and the side that the last map has.

    side: the longer one of the data. A stride is no longer than the side: any longer one leaves the same pixel.
    """
    strides, pools = [], []
    for layer, stage in enumerate(stages):
        begins = layer > 0 and stages[layer - 1] != stage
        ends = layer + 1 == len(stages) or stages[layer + 1] != stage
        stride = stem_stride if layer == 0 else 2 if begins and pooling == "stride" else 1
        strides.append(max(1, min(stride, side)))
        pools.append(POOLINGS.get(pooling, "") if ends else "")
        side = -(-side // strides[-1]) // (2 if pools[-1] else 1)
    return strides, pools, side


def dividing(groups: int, steps: Sequence[tuple[int, int]]) -> list[int]:
    """For each layer, by the widths before and behind it: ``groups`` if it divides both, else 1."""
    return [1 if before % groups or width % groups else groups for before, width in steps]
