"""What a ConvSpace proposes: its layers over images and signals, and the genes that it asks for on the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from paretonas.errors import InvalidArchitecture, InvalidSpace
from paretonas.spaces import (
    Architecture,
    Candidate,
    ConvSpace,
    DataSpec,
    Head,
    Space,
    Suggester,
    build,
    example_input,
    shapes,
)
from paretonas.spaces.block import Block
from paretonas.spaces.looking import Path, RandomAnswers

GRAY, COLOUR, SIGNAL = DataSpec((1, 8, 8), 10), DataSpec((3, 9, 8), 4), DataSpec((2, 24), 3)
PLAIN: dict[str, Any] = {
    "layers": 4,
    "stages": 2,
    "widths": 8,
    "activations": "relu",
    "sharing": "none",
    "pruning": 0.0,
}


def blocks_of(data: DataSpec = GRAY, **fields: Any) -> tuple[Block, ...]:
    """The blocks of the one network of a space without choices."""
    return ConvSpace(**{**PLAIN, **fields}).sample(data).architecture.blocks


def asked(data: DataSpec = GRAY, **fields: Any) -> list[str]:
    """The genes that a space asks for, besides ``PLAIN``, which leaves nothing to ask."""
    trial = RandomAnswers(0)
    ConvSpace(**{**PLAIN, **fields}).suggest(trial, data)
    return list(trial.asked)


def numbers(blocks: Sequence[Block], name: str) -> list[Any]:
    """A number of each block that has it."""
    return [block.args[name] for block in blocks if name in block.args]


# the default space


def test_the_default_space_asks_for_what_it_always_asked_for() -> None:
    """Layers, stages, a width for each stage, activation, sharing where it has an effect, pruning, in this order."""
    trial = RandomAnswers(0)
    ConvSpace().suggest(trial, GRAY)
    widths = [name for name in trial.asked if name.endswith("width")]
    assert widths == [f"stage{stage}.width" for stage in range(len(widths))]
    assert [*trial.asked] == ["layers", "stages", *widths, "activation", "sharing", "pruning"]


def test_the_default_space_proposes_what_it_always_proposed() -> None:
    """Recorded before there was another kind of block, but for the words in which activations are said."""
    found = [ConvSpace().sample(GRAY, seed=seed) for seed in range(4)]
    assert [(str(candidate.architecture), round(candidate.pruning, 6)) for candidate in found] == RECORDED


RECORDED = [
    ("conv8 · conv8 · conv8 (shared) · max_pool · conv24 · conv24 · max_pool · global_average_pool, silu", 0.283454),
    ("conv8 · max_pool · conv24 · max_pool · conv8 · max_pool · global_average_pool, gelu", 0.532674),
    ("conv8 · conv8 · max_pool · global_average_pool, elu", 0.584849),
    ("conv48 · max_pool · conv16 · max_pool · conv24 · max_pool · global_average_pool, silu", 0.331837),
]


# kinds of block


def test_residual_blocks_follow_a_plain_layer() -> None:
    """The skip is the input where widths and sizes stay, else a projection; inside there are as many channels."""
    blocks = blocks_of(blocks="residual", layers=4, stages=2, width_per="layer", pooling="stride")
    assert [block.op for block in blocks] == ["conv", "residual", "residual", "residual", "global_average_pool"]
    assert numbers(blocks, "skip") == ["identity", "projection", "identity"]
    assert numbers(blocks, "stride") == [1, 1, 2, 1]
    assert numbers(blocks, "hidden") == [8, 8, 8]


def test_separable_blocks_have_kernels_of_their_own_or_one() -> None:
    """All layers but the first."""
    for kernels in ("own", "shared"):
        blocks = blocks_of(blocks="separable", depthwise_kernels=kernels)
        assert numbers(blocks, "kernels") == [kernels] * 3


def test_inverted_residuals_are_wider_inside() -> None:
    """Hidden channels are a multiple of those that come, squeezed ones a share of the hidden."""
    blocks = blocks_of(blocks="inverted_residual", expansions=3, squeeze=0.25, pooling="stride")
    assert numbers(blocks, "hidden") == [24, 24, 24]
    assert numbers(blocks, "squeeze") == [6, 6, 6]
    assert numbers(blocks, "skip") == ["identity", "none", "identity"]
    assert numbers(blocks_of(blocks="inverted_residual", squeeze=0.0), "squeeze") == [0, 0, 0]


@pytest.mark.parametrize(
    ("data", "groups", "wanted"),
    [
        (GRAY, 4, [1, 4, 4, 4]),  # the gray channel cannot be cut
        (DataSpec((4, 8, 8), 2), 4, [4, 4, 4, 4]),
        (GRAY, 3, [1, 1, 1, 1]),
        (GRAY, 8, [1, 8, 8, 8]),
        (GRAY, 16, [1, 1, 1, 1]),
    ],
)
def test_channels_are_cut_into_groups_only_where_these_divide_both_widths(
    data: DataSpec, groups: int, wanted: list[int]
) -> None:
    """So that whatever is proposed can be built; groups that divide nowhere are the network without groups."""
    assert numbers(blocks_of(data, groups=groups), "groups") == wanted


# sizes


@pytest.mark.parametrize(
    ("pooling", "stem", "ops", "strides"),
    [
        ("max", 1, "c c m c c m g", [1, 1, 1, 1]),
        ("max", 2, "c c m c c m g", [2, 1, 1, 1]),
        ("stride", 1, "c c c c g", [1, 1, 2, 1]),
        ("stride", 4, "c c c c g", [4, 1, 2, 1]),
        ("none", 1, "c c c c g", [1, 1, 1, 1]),
    ],
)
def test_the_map_is_halved_by_pooling_or_by_stride(pooling: str, stem: int, ops: str, strides: list[int]) -> None:
    """A pooling after each stage, or a stride in the first layer of each but the first; and a stem for large images."""
    blocks = blocks_of(pooling=pooling, stem_stride=stem)
    assert " ".join(block.op[0] for block in blocks) == ops
    assert numbers(blocks, "stride") == strides


def test_a_stride_is_no_longer_than_the_map() -> None:
    """Of 8 pixels a stride of 8 leaves one, as would any longer one; and one pixel is not strided over again."""
    assert numbers(blocks_of(stem_stride=32, pooling="stride"), "stride") == [8, 1, 1, 1]
    long, longer = (ConvSpace(**{**PLAIN, "stem_stride": n, "pooling": "stride"}).sample(GRAY).key for n in (8, 32))
    assert long == longer


def test_signals_have_blocks_of_their_own() -> None:
    """Where the data have a length alone, the same space proposes the ops that end in 1d."""
    for kind in ("conv", "residual", "separable", "inverted_residual"):
        blocks = blocks_of(SIGNAL, blocks=kind, expansions=2, squeeze=0.0)
        names = ["conv1d", f"{kind}1d", "max_pool1d", f"{kind}1d", f"{kind}1d", "max_pool1d", "global_average_pool1d"]
        assert [block.op for block in blocks] == names
    assert blocks_of(SIGNAL, readout="flatten", hidden_layers=1)[-2].op == "flatten"


@pytest.mark.parametrize("shape", [(7,), (1, 2, 3, 4)])
def test_other_data_are_refused(shape: tuple[int, ...]) -> None:
    """The message says what fits."""
    with pytest.raises(InvalidSpace, match=r"images .* or signals .* use MLPSpace"):
        ConvSpace().sample(DataSpec(shape, 3))


# one gene for all, or one for each stage or layer


@pytest.mark.parametrize(
    ("per", "prefixes"),
    [
        ("network", [""]),
        ("stage", ["stage0.", "stage1."]),
        ("layer", ["layer0.", "layer1.", "layer2.", "layer3."]),
    ],
)
def test_widths_kernels_and_activations_are_chosen_per_network_stage_or_layer(per: str, prefixes: list[str]) -> None:
    """Each gene is named after the place that it decides for."""
    fields: dict[str, Any] = {"widths": [4, 8], "kernels": [1, 3], "activations": ["relu", "silu"]}
    places: dict[str, Any] = {"width_per": per, "kernel_per": per, "activation_per": per}
    wanted = [prefix + name for name in ("width", "activation", "kernel") for prefix in prefixes]
    assert asked(**fields, **places) == wanted


def test_hidden_layers_are_a_stage_of_their_own() -> None:
    """For activations, which they have like all others."""
    fields: dict[str, Any] = {"activations": ["relu", "silu"], "hidden_layers": 2}
    assert asked(**fields, activation_per="stage") == ["stage0.activation", "stage1.activation", "stage2.activation"]
    assert asked(**fields, activation_per="layer") == [f"layer{layer}.activation" for layer in range(6)]


@pytest.mark.parametrize(
    ("slope", "name"), [(0.01, "leaky_relu"), (0.2, "leaky_relu(0.2)"), (1e-4, "leaky_relu(0.0001)")]
)
def test_a_leaky_relu_says_its_slope_unless_it_is_the_usual_one(slope: float, name: str) -> None:
    """So that one activation has one name."""
    assert set(numbers(blocks_of(activations="leaky_relu", slopes=slope), "activation")) == {name}
    assert set(numbers(blocks_of(activations="elu", slopes=slope), "activation")) == {"elu"}


# genes exist only where they have effect


@pytest.mark.parametrize(
    ("data", "fields", "wanted"),
    [
        (GRAY, {"slopes": [0.01, 0.2]}, []),
        (GRAY, {"slopes": [0.01, 0.2], "activations": "leaky_relu"}, ["slope"]),
        (GRAY, {"activation_per": ["network", "stage"]}, []),
        (GRAY, {"activation_per": ["network", "stage"], "slopes": [0.01, 0.2]}, []),
        (GRAY, {"width_per": ["network", "layer"]}, []),
        (GRAY, {"width_per": ["network", "stage"], "widths": [4, 8], "stages": 1}, ["width"]),
        (GRAY, {"width_per": ["stage", "layer"], "widths": [4, 8], "stages": 4}, [f"stage{s}.width" for s in range(4)]),
        (GRAY, {"kernel_per": ["network", "layer"]}, []),
        (GRAY, {"blocks": ["conv", "residual"], "layers": 1}, []),
        (GRAY, {"blocks": ["conv", "residual"]}, ["block"]),
        (GRAY, {"groups": [1, 3]}, []),
        (GRAY, {"groups": [1, 2]}, ["groups"]),
        (GRAY, {"groups": [1, 2], "blocks": "residual"}, []),
        (GRAY, {"groups": [1, 2], "layers": 1}, []),
        (DataSpec((2, 8, 8), 3), {"groups": [1, 2], "layers": 1}, ["groups"]),
        (GRAY, {"depthwise_kernels": ["own", "shared"]}, []),
        (GRAY, {"depthwise_kernels": ["own", "shared"], "blocks": "separable"}, ["depthwise_kernels"]),
        (GRAY, {"depthwise_kernels": ["own", "shared"], "blocks": "separable", "layers": 1}, []),
        (GRAY, {"depthwise_kernels": ["own", "shared"], "blocks": "separable", "widths": 1}, []),
        (GRAY, {"expansions": [1, 2], "squeeze": [0.0, 0.5]}, []),
        (GRAY, {"expansions": [1, 2], "squeeze": [0.0, 0.5], "blocks": "inverted_residual"}, ["expansion", "squeeze"]),
        (GRAY, {"expansions": [1.0, 1.01], "squeeze": [0.2, 0.21], "blocks": "inverted_residual"}, []),
        (GRAY, {"pooling": ["none", "stride"], "stages": 1}, []),
        (GRAY, {"pooling": ["none", "stride"]}, ["pooling"]),
        (GRAY, {"pooling": ["none", "stride"], "stem_stride": 8}, []),
        (GRAY, {"stem_stride": [8, 16]}, []),
        (GRAY, {"readout": ["average", "flatten"]}, ["readout"]),
        (GRAY, {"readout": ["average", "flatten"], "stages": 3}, []),
        (GRAY, {"hidden_widths": [4, 8]}, []),
        (GRAY, {"sharing": ["none", "cycle"], "sets": [2, 3], "layers": 1}, []),
        (GRAY, {"trunk": [0.5, 1.0]}, []),
        (GRAY, {"pruning": (0.0, 0.5), "widths": 1}, []),
        (GRAY, {"pruning": (0.0, 0.5), "widths": 1, "hidden_layers": 1}, ["pruning"]),
        (DataSpec((4, 8, 8), 2), {"pruning": (0.0, 0.5), "groups": 4}, []),
    ],
    ids=str,
)
def test_a_gene_is_asked_for_only_where_its_options_differ(
    data: DataSpec, fields: dict[str, Any], wanted: list[str]
) -> None:
    """What is the same network in any case is not searched."""
    assert asked(data, **fields) == wanted


# one key for one network

SMALL = ConvSpace(
    layers=(1, 3),
    stages=(1, 2),
    widths=4,
    blocks=["conv", "residual", "separable", "inverted_residual"],
    groups=[1, 2],
    depthwise_kernels=["own", "shared"],
    expansions=[1, 2],
    squeeze=[0.0, 0.5],
    activations="tanh",
    pooling=["average", "stride", "none"],
    readout=["average", "flatten"],
    sharing=["none", "all"],
    pruning=0.0,
)


@pytest.mark.parametrize("data", [DataSpec((2, 5, 4), 3), DataSpec((3, 9), 3)], ids=["images", "signals"])
def test_every_setting_of_a_small_space_builds_and_no_two_keys_are_one_network(data: DataSpec) -> None:
    """With weights drawn alike, equal networks give equal answers, so as many answers as keys are needed."""
    candidates = settings(SMALL, data)
    networks = {candidate.key: candidate.architecture for candidate in candidates if not too_small(candidate)}
    assert len(networks) > 50
    assert len({answer(architecture) for architecture in networks.values()}) == len(networks)


def settings(space: ConvSpace, data: DataSpec) -> list[Candidate]:
    """The candidate of each setting of the genes."""
    found, path = [], Path(())
    while True:
        found.append(space.suggest(path, data))
        following = path.next()
        if following is None:
            return found
        path = following


def too_small(candidate: Candidate) -> bool:
    """Whether poolings leave less than a pixel; nothing else may be wrong."""
    try:
        shapes(candidate.architecture)
    except InvalidArchitecture as error:
        if "less than one" in str(error):
            return True
        raise
    return False


def answer(architecture: Architecture) -> tuple[float, ...]:
    """What a network answers, with all its parameters drawn anew from one seed."""
    network, draw = build(architecture).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw))
        return tuple(round(value, 4) for value in network(example_input(architecture, 3)).flatten().tolist())


# fields that contradict what they are


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"blocks": "dense"}, "ConvSpace.blocks 'dense': there is conv, residual, separable, inverted_residual"),
        ({"groups": 0}, "whole numbers of at least 1"),
        ({"expansions": 0}, "numbers above 0"),
        ({"squeeze": 1.5}, "numbers of at least 0 and at most 1"),
        ({"slopes": 0.0}, "numbers above 0 and below 1"),
        ({"kernel_per": "block"}, "there is network, stage, layer"),
        ({"depthwise_kernels": "all"}, "there is own, shared"),
        ({"stem_stride": 0}, "whole numbers of at least 1"),
        ({"trunk": 1.1}, "at most 1"),
        ({"sets": 0}, "at least 1"),
    ],
    ids=str,
)
def test_a_field_that_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    """InvalidSpace when the space is made, not in a trial."""
    with pytest.raises(InvalidSpace, match=words):
        ConvSpace(**fields)


def test_a_space_without_rules_is_refused() -> None:
    """Its fields would be neither checked nor stored."""

    @dataclass(frozen=True, kw_only=True)
    class Bare(Space):
        widths: int = 8

        def suggest(self, trial: Suggester, data: DataSpec) -> Candidate:
            raise NotImplementedError

    with pytest.raises(InvalidSpace, match="Bare says nothing about its fields: give it rules"):
        Bare()


def test_two_heads_on_signals_and_images() -> None:
    """Every kind of block with every share of a trunk gives an answer for each head."""
    heads = (Head(3, "kind"), Head(2, "sign"))
    for data in (DataSpec((1, 8, 8), heads), DataSpec((2, 24), heads)):
        for kind in ("conv", "residual", "separable", "inverted_residual"):
            for trunk in (0.0, 0.5, 1.0):
                space = ConvSpace(**{**PLAIN, "blocks": kind, "trunk": trunk}, expansions=2, squeeze=0.5)
                architecture = space.sample(data).architecture
                answers = build(architecture, seed=0).eval()(example_input(architecture, 5))
                assert {name: y.shape for name, y in answers.items()} == {"kind": (5, 3), "sign": (5, 2)}
