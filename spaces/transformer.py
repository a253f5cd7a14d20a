"""Transformers: encoders that classify, causal decoders that model language."""

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

from ..errors import InvalidSpace
from .architecture import DataSpec, Head
from .block import Block
from .blocks import ACTIVATIONS, POSITIONS
from .candidate import Candidate
from .choices import ChoiceLike, Flag, Options, Real, Suggester, Whole, Words, values_of
from .compression_space import CompressionSpace
from .space import MOST_LAYERS, SLOPE, TRUNK, Space

READOUTS = {"mean": "mean_positions", "first": "first_position"}
PATCHES = {2: "patches", 3: "patches2d"}  # by the dimensions of an example


@dataclass(frozen=True, kw_only=True)
class TransformerSpace(Space):
    """Encoders where one answer is asked for an example, causal decoders where one is asked for each position.

    Tokens are embedded; signals and images are cut into patches of ``patch_sizes`` steps or pixels a side. layers:
    blocks of attention and feed-forward network. widths: of the sequence. heads (of head_widths each) and ratios (of
    feed-forward units to the width): one for the network, or one for each layer, as heads_per and ratio_per say.
    norms: layer or rms. norm_places: post (as BERT, with a normalised embedding) or pre (as GPT-2, with a norm at the
    end). activations: of the feed-forward networks, per network or layer. positions: learned, sinusoidal, rotary (needs
    even head widths) or none. embedding_widths: the bottleneck of a factorised embedding, 0 for none. tied: scores of
    tokens with the weights of the embedding; only for language models. readout: how positions become one row, then
    come hidden_layers of hidden_widths units with hidden_activations; not for language models. sharing: layers of
    equal shape use one set of weights, never (none), always (all), or ``sets`` sets in turn (cycle) or in groups.
    trunk: the share of the layers that several tasks have in common. pruning: the share of each layer's heads and
    feed-forward units that leaves after training.
    """

    layers: ChoiceLike = (1, 4)
    widths: ChoiceLike = Options((32, 48, 64, 96, 128))
    heads: ChoiceLike = Options((1, 2, 4, 8))
    heads_per: ChoiceLike = "network"
    head_widths: ChoiceLike = Options((8, 16, 32))
    ratios: ChoiceLike = Options((1, 2, 4))
    ratio_per: ChoiceLike = "network"
    norms: ChoiceLike = "layer"
    norm_places: ChoiceLike = "pre"
    activations: ChoiceLike = Options(("relu", "gelu", "silu"))
    activation_per: ChoiceLike = "network"
    slopes: ChoiceLike = SLOPE
    positions: ChoiceLike = Options(("learned", "rotary"))
    embedding_widths: ChoiceLike = 0
    patch_sizes: ChoiceLike = 4
    tied: ChoiceLike = Options((True, False))
    readout: ChoiceLike = "mean"
    hidden_layers: ChoiceLike = 0
    hidden_widths: ChoiceLike = 64
    hidden_activations: ChoiceLike = "tanh"
    sharing: ChoiceLike = Options(("none", "all"))
    sets: ChoiceLike = 2
    trunk: ChoiceLike = TRUNK
    pruning: ChoiceLike = (0.0, 0.7)
    compression: CompressionSpace = CompressionSpace(quantization="dynamic")  # faster than static here (docs/log.md)

    name: ClassVar = "transformer"
    rules: ClassVar = {
        "layers": Whole(most=MOST_LAYERS),
        "widths": Whole(),
        "heads": Whole(),
        "heads_per": Words(("network", "layer")),
        "head_widths": Whole(),
        "ratios": Real(above=True),
        "ratio_per": Words(("network", "layer")),
        "norms": Words(("layer", "rms")),
        "norm_places": Words(("pre", "post")),
        "activations": Words(tuple(ACTIVATIONS)),
        "activation_per": Words(("network", "layer")),
        "slopes": Real(above=True, below=1),
        "positions": Words((*POSITIONS, "rotary")),
        "embedding_widths": Whole(0),
        "patch_sizes": Whole(),
        "tied": Flag(),
        "readout": Words(tuple(READOUTS)),
        "hidden_layers": Whole(0, most=MOST_LAYERS),
        "hidden_widths": Whole(),
        "hidden_activations": Words(tuple(ACTIVATIONS)),
        "sharing": Words(("none", "all", "cycle", "groups")),
        "sets": Whole(),
        "trunk": Real(most=1),
        "pruning": Real(below=1),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        odd = [width for width in values_of(self.choice("head_widths")) if width % 2]
        if odd and "rotary" in values_of(self.choice("positions")):
            raise InvalidSpace(
                f"TransformerSpace.head_widths: rotary positions turn pairs of numbers, the odd width {odd[0]} was "
                "given: use even widths or other positions"
            )

    def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
        _check(data)
        width = self.gene(trial, "widths", "width")
        norm = self.gene(trial, "norms", "norm")
        place = self.gene(trial, "norm_places", "norm_place")
        positions = self.gene(trial, "positions", "positions")
        blocks = [self._entry(trial, data, width, positions, norm if place == "post" else "none")]
        length = int(blocks[0].args["length"])
        rotary = positions == "rotary" and length > 1  # the first position is not turned
        layer = Block("transformer", norm=norm, norm_place=place, causal=data.per_position, rotary=rotary)
        blocks += self._layers(trial, layer, width)
        blocks += [Block("sequence_norm", norm=norm)] if place == "pre" else []
        blocks += [] if data.per_position else self._readout(trial, length)
        blocks = self.sharing_gene(trial, blocks, data.input_shape[0], [0] * len(blocks))
        architecture = self.network(trial, blocks, data, self._heads(trial, data))
        return self.candidate(trial, architecture, self.pruning_gene(trial, architecture), data=data)

    def _entry(self, trial: Suggester, data: DataSpec, width: int, positions: str, norm: str) -> Block:
        """What makes a sequence of the input. norm: of embedded tokens."""
        added = "none" if positions == "rotary" else positions
        if data.vocabulary is None:
            size = self.gene(trial, "patch_sizes", "patch_size")
            length = prod(side // size for side in data.input_shape[1:])
            kind = PATCHES[len(data.input_shape)]
            return Block(kind, width=width, size=size, length=max(1, length), positions=added)
        bottleneck = self.gene(trial, "embedding_widths", "embedding_width")
        return Block("embedding", width=width, vocabulary=data.vocabulary, length=data.input_shape[0],
                     bottleneck=bottleneck, positions=added, norm=norm)  # fmt: skip

    def _layers(self, trial: Suggester, layer: Block, width: int) -> list[Block]:
        """The transformer blocks, each like ``layer`` but for its sizes and its activation."""
        layers = [0] * self.gene(trial, "layers", "layers")
        head_width = self.gene(trial, "head_widths", "head_width")
        heads = self.genes_per(trial, "heads", "heads", "heads_per", layers)
        ratios = self.genes_per(trial, "ratios", "ratio", "ratio_per", layers)
        activations = self.activation_genes(trial, layers)
        return [
            layer.replace(
                heads=count, head_width=head_width, hidden=max(1, round(ratio * width)), activation=activation
            )
            for count, ratio, activation in zip(heads, ratios, activations, strict=True)
        ]

    def _readout(self, trial: Suggester, length: int) -> list[Block]:
        """From a sequence of so many positions to one row, and the hidden layers behind it."""
        readout = self.effect_of_gene(
            trial, "readout", "readout", lambda word: READOUTS[word if length > 1 else "mean"]
        )
        blocks = [Block(readout)]
        count = self.gene(trial, "hidden_layers", "hidden_layers")
        activation = self.gene(trial, "hidden_activations", "hidden_activation") if count else ""
        for hidden in range(count):
            width = self.gene(trial, "hidden_widths", f"hidden{hidden}.width")
            blocks.append(Block("linear", width=width, norm="none", activation=activation))
        return blocks

    def _heads(self, trial: Suggester, data: DataSpec) -> tuple[Head, ...]:
        """The heads of the data; those that score the tokens of the input may be tied to the embedding, block 0."""
        if not data.per_position or data.vocabulary not in [head.outputs for head in data.heads]:
            return data.heads
        if not self.gene(trial, "tied", "tied"):
            return data.heads
        return tuple(replace(head, tied=0) if head.outputs == data.vocabulary else head for head in data.heads)


def _check(data: DataSpec) -> None:
    tokens = data.vocabulary is not None
    if len(data.input_shape) not in ((1,) if tokens else PATCHES):
        what = "tokens" if tokens else "data"
        raise InvalidSpace(
            "a TransformerSpace takes tokens (length,), signals (channels, length) or images (channels, height, "
            f"width), the {what} have shape {data.input_shape}: use MLPSpace for rows"
        )
    if data.per_position and not tokens:
        raise InvalidSpace("a TransformerSpace answers for each position of tokens only, the data have no vocabulary")
