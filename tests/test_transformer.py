"""The transformer space: the published models, what is asked for when, and what comes of it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from paretonas.errors import InvalidSpace
from paretonas.objectives import parameters
from paretonas.spaces import (
    Architecture,
    Block,
    DataSpec,
    Head,
    Network,
    TransformerSpace,
    build,
    example_input,
    fits,
    prune,
)

LANGUAGE = DataSpec((8,), 20, vocabulary=20, per_position=True)
TEXT = DataSpec((8,), 3, vocabulary=20)
SIGNAL = DataSpec((3, 24), 3)
IMAGE = DataSpec((1, 8, 8), 3)
BASE = TransformerSpace(
    layers=12, widths=768, heads=12, head_widths=64, ratios=4, activations="gelu", positions="learned", pruning=0.0
)
BERT = replace(BASE, norm_places="post", readout="first", hidden_layers=1, hidden_widths=768, sharing="none")
ALBERT = replace(BERT, embedding_widths=128, sharing="all")
GPT = replace(BASE, norm_places="pre", tied=True, sharing="none")
TINY = TransformerSpace(layers=3, widths=8, heads=2, head_widths=4, ratios=2, activations="gelu", positions="learned",
                        tied=True, sharing="none", pruning=0.0)  # fmt: skip


def architecture_of(space: TransformerSpace, data: DataSpec) -> Architecture:
    architecture = space.sample(data).architecture
    assert isinstance(architecture, Architecture)
    return architecture


def ops(space: TransformerSpace, data: DataSpec) -> list[str]:
    return [block.op for block in architecture_of(space, data).blocks]


# published models


@pytest.mark.parametrize(
    ("space", "data", "published", "exact"),
    [
        # 2 x 768 of BERT's and 2 x 128 of ALBERT's are for the segments, which are not here; two classes add 1538
        (BERT, DataSpec((512,), 2, vocabulary=30522), 110e6, 109_482_240 - 1536 + 1538),
        (ALBERT, DataSpec((512,), 2, vocabulary=30000), 12e6, 11_683_584 - 256 + 1538),
        (GPT, DataSpec((1024,), 50257, vocabulary=50257, per_position=True), 124e6, 124_439_808),
    ],
    ids=["BERT-base", "ALBERT-base", "GPT-2 small"],
)
def test_published_models_have_their_size(
    space: TransformerSpace, data: DataSpec, published: float, exact: int
) -> None:
    """Within 5 % of what the papers round to, and to the number what the published weights are."""
    with torch.device("meta"):
        count = parameters(build(architecture_of(space, data)))
    assert count == pytest.approx(published, rel=0.05)
    assert count == exact


def test_albert_has_the_weights_of_one_layer() -> None:
    """All twelve layers are the first: attention 4 (768² + 768), feed-forward 2 · 768 · 3072 + 3840, norms 4 · 768."""
    architecture = architecture_of(ALBERT, DataSpec((512,), 2, vocabulary=30000))
    assert [block.shares for block in architecture.blocks if block.op == "transformer"] == [None] + [1] * 11
    with torch.device("meta"):
        network = build(architecture)
    layers = {name for name, _ in network.named_modules() if name.endswith("attention")}
    assert layers == {"block1.attention"}
    assert parameters(network.get_submodule("block1")) == 4 * (768**2 + 768) + 2 * 768 * 3072 + 3840 + 4 * 768


def test_bert_reads_the_first_position_through_a_tanh() -> None:
    """Embedding, twelve layers, first position, pooler."""
    blocks = architecture_of(BERT, DataSpec((512,), 2, vocabulary=30522)).blocks
    assert [block.op for block in blocks] == ["embedding", *["transformer"] * 12, "first_position", "linear"]
    assert blocks[0].args["norm"] == "layer"
    assert blocks[-1] == Block("linear", width=768, norm="none", activation="tanh")


# what a space gives


def test_norms_before_the_branches_end_with_one() -> None:
    """Norms behind the sums begin with one, in the embedding."""
    assert ops(TINY, TEXT) == ["embedding", *["transformer"] * 3, "sequence_norm", "mean_positions"]
    assert ops(replace(TINY, norm_places="post"), TEXT) == ["embedding", *["transformer"] * 3, "mean_positions"]
    for norm in ("layer", "rms"):
        for place, entry in (("pre", "none"), ("post", norm)):
            blocks = architecture_of(replace(TINY, norms=norm, norm_places=place), TEXT).blocks
            assert blocks[0].args["norm"] == entry
            assert {block.args.get("norm", norm) for block in blocks[1:]} == {norm}


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary", "none"])
def test_a_later_token_changes_no_earlier_score_of_a_language_model(positions: str) -> None:
    """Nor do its own score's successors see less than all before them."""
    network = build(architecture_of(replace(TINY, positions=positions), LANGUAGE), seed=0).eval()
    x = example_input(LANGUAGE, 2)
    other = x.clone()
    other[:, 5] = (x[:, 5] + 1) % 20
    same = [torch.equal(network(x)[:, place], network(other)[:, place]) for place in range(8)]
    assert network(x).shape == (2, 8, 20)
    assert same == [True] * 5 + [False] * 3


def test_a_classifier_sees_all_tokens() -> None:
    """Every position reaches the answer, read from the first or from all."""
    for readout in ("first", "mean"):
        network = build(architecture_of(replace(TINY, readout=readout), TEXT), seed=0).eval()
        x = example_input(TEXT, 2)
        for place in range(8):
            other = x.clone()
            other[:, place] = (x[:, place] + 1) % 20
            assert not torch.allclose(network(x), network(other))


def test_scores_are_tied_where_the_head_scores_the_tokens() -> None:
    """Another head of the same network keeps weights of its own; an untied one has them too."""
    assert architecture_of(TINY, LANGUAGE).heads == (Head(20, tied=0),)
    assert architecture_of(replace(TINY, tied=False), LANGUAGE).heads == (Head(20),)
    both = DataSpec((8,), (Head(20, "next"), Head(3, "kind")), vocabulary=20, per_position=True)
    assert [head.tied for head in architecture_of(replace(TINY, trunk=1.0), both).heads] == [0, None]
    assert architecture_of(TINY, DataSpec((8,), 3, vocabulary=20, per_position=True)).heads == (Head(3),)


@pytest.mark.parametrize(
    ("data", "size", "length", "op"),
    [(SIGNAL, 4, 6, "patches"), (SIGNAL, 5, 4, "patches"), (IMAGE, 2, 16, "patches2d"), (IMAGE, 3, 4, "patches2d")],
)
def test_signals_and_images_are_cut_into_patches(data: DataSpec, size: int, length: int, op: str) -> None:
    """As many positions as whole patches fit in."""
    first = architecture_of(replace(TINY, patch_sizes=size), data).blocks[0]
    assert first == Block(op, width=8, size=size, length=length, positions="learned")
    assert build(architecture_of(replace(TINY, patch_sizes=size), data))(example_input(data, 2)).shape == (2, 3)


def test_a_patch_larger_than_the_data_does_not_fit() -> None:
    """It is proposed, and refused with its reason like any candidate that cannot be built."""
    space = replace(TINY, patch_sizes=[8, 9])
    assert {fits(space.sample(IMAGE, seed=seed)) for seed in range(20)} == {True, False}


def test_sizes_of_layers_are_one_gene_or_one_each() -> None:
    """Heads and feed-forward units are chosen as heads_per and ratio_per say."""
    space = replace(TINY, layers=4, heads=[1, 2, 3], heads_per="layer", ratios=[1, 2, 3], ratio_per="layer")
    layers = [block for block in architecture_of(space, TEXT).blocks if block.op == "transformer"]
    assert {block.args["heads"] for block in layers} <= {1, 2, 3}
    assert len({(block.args["heads"], block.args["hidden"]) for block in layers}) > 1
    assert {block.args["hidden"] for block in layers} <= {8, 16, 24}


@pytest.mark.parametrize(
    ("sharing", "sets", "shares"),
    [
        ("none", 2, [None] * 6),
        ("all", 2, [None, 1, 1, 1, 1, 1]),
        ("cycle", 2, [None, None, 1, 2, 1, 2]),
        ("groups", 2, [None, 1, 1, None, 4, 4]),
        ("groups", 3, [None, 1, None, 3, None, 5]),
    ],
)
def test_layers_share_as_asked(sharing: str, sets: int, shares: list[int | None]) -> None:
    """Blocks 1 to 6 are the layers."""
    blocks = architecture_of(replace(TINY, layers=6, sharing=sharing, sets=sets), TEXT).blocks
    assert [block.shares for block in blocks[1:7]] == shares


def test_tasks_part_behind_the_trunk() -> None:
    """With half of the layers in common each task has its own others."""
    tasks = DataSpec((8,), (Head(3, "kind"), Head(2, "sign")), vocabulary=20)
    architecture = architecture_of(replace(TINY, trunk=0.5), tasks)
    assert [block.op for block in architecture.blocks].count("embedding") == 1
    assert [block.op for block in architecture.blocks].count("transformer") == 4  # two in common, one of each
    answers = build(architecture, seed=0)(example_input(tasks, 4))
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == {"kind": (4, 3), "sign": (4, 2)}


def test_heads_and_hidden_units_leave() -> None:
    """Those that gave nothing: the pruned network gives the same, and the sequence keeps its width."""
    candidate = replace(TINY, heads=4, pruning=0.5).sample(LANGUAGE)
    network = build(candidate.architecture, seed=0).eval()
    assert isinstance(network, Network)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if ".qkv." in name:
                tensor[: 2 * 3 * 4] = 0  # of four heads the first two
            if ".enter." in name:
                tensor[8:] = 0  # of 16 units the last eight
    pruned = prune(network, candidate.deployed)
    sizes = [(block.args["heads"], block.args["hidden"]) for block in pruned.architecture.blocks[1:4]]
    assert sizes == [(2, 8)] * 3
    assert pruned.architecture.blocks[0].width == 8
    x = example_input(LANGUAGE, 3)
    torch.testing.assert_close(pruned(x), network(x))


# which genes are asked for


def asked(space: TransformerSpace, data: DataSpec) -> set[str]:
    return {gene.name for gene in space.genes(data, samples=40)}


def test_a_gene_is_asked_for_where_it_has_an_effect() -> None:
    """What is only for language models, classifiers, tokens or patches."""
    space = TransformerSpace(embedding_widths=[0, 4], patch_sizes=[2, 4], readout=["mean", "first"])
    only = {"tied", "readout", "embedding_width", "patch_size"}
    assert asked(space, LANGUAGE) & only == {"tied", "embedding_width"}
    assert asked(space, TEXT) & only == {"readout", "embedding_width"}
    assert asked(space, SIGNAL) & only == {"readout", "patch_size"}


def test_the_default_asks_for_few_genes() -> None:
    """One of each kind for the network."""
    common = {"layers", "width", "heads", "head_width", "ratio", "activation", "positions", "sharing", "pruning"}
    assert asked(TransformerSpace(), TEXT) == common
    assert asked(TransformerSpace(), LANGUAGE) == common | {"tied"}


@pytest.mark.parametrize(
    ("changes", "gene", "present"),
    [
        ({"layers": 1, "heads": [1, 2], "heads_per": ["network", "layer"]}, "heads_per", False),
        ({"layers": 2, "heads": [1, 2], "heads_per": ["network", "layer"]}, "heads_per", True),
        ({"layers": 2, "heads": 2, "heads_per": ["network", "layer"]}, "heads_per", False),
        ({"layers": 2, "ratios": [1, 2], "ratio_per": ["network", "layer"]}, "layer1.ratio", True),
        ({"hidden_activations": ["relu", "tanh"]}, "hidden_activation", False),
        ({"hidden_activations": ["relu", "tanh"], "hidden_layers": 1}, "hidden_activation", True),
        ({"layers": 1, "sharing": ["none", "all"]}, "sharing", False),
        ({"layers": 4, "sharing": "all", "sets": (1, 3)}, "sets", False),
        ({"layers": 4, "sharing": "cycle", "sets": (1, 3)}, "sets", True),
        ({"activations": "relu", "slopes": [0.1, 0.2]}, "slope", False),
        ({"activations": "leaky_relu", "slopes": [0.1, 0.2]}, "slope", True),
        ({"heads": 1, "ratios": 0.01, "pruning": (0.0, 0.7)}, "pruning", False),
    ],
)
def test_a_gene_under_a_condition(changes: dict[str, Any], gene: str, *, present: bool) -> None:
    """It is asked for only where its options make different networks."""
    assert (gene in asked(replace(TINY, **changes), TEXT)) == present


# what is refused


def test_rotary_positions_refuse_odd_heads() -> None:
    """When the space is made, not in every other trial."""
    message = "rotary positions turn pairs of numbers, the odd width 5 was given"
    for widths in (5, [4, 5], (4, 8)):
        with pytest.raises(InvalidSpace, match=message):
            TransformerSpace(head_widths=widths, positions=["learned", "rotary"])
    assert TransformerSpace(head_widths=5, positions="learned").head_widths == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (DataSpec((16,), 3), "takes tokens .* the data have shape .16,.: use MLPSpace for rows"),
        (DataSpec((2, 8), 3, vocabulary=20), "the tokens have shape"),
        (DataSpec((2, 8), 3, per_position=True), "for each position of tokens only"),
    ],
)
def test_data_of_another_shape_are_refused(data: DataSpec, message: str) -> None:
    """With the space that takes them."""
    with pytest.raises(InvalidSpace, match=message):
        TransformerSpace().sample(data)


@pytest.mark.parametrize("given", ["yes", 1, [True, 0.5], (0, 1)])
def test_tied_is_true_or_false(given: object) -> None:
    """Numbers and words are not."""
    with pytest.raises(InvalidSpace, match=r"TransformerSpace\.tied: true, false or a list of both"):
        TransformerSpace(tied=given)  # type: ignore[arg-type]


# it learns


def test_a_language_model_learns_a_rule() -> None:
    """Each token is the sum of the two before it, modulo 5: neither alone says which."""
    space = replace(TINY, layers=2, widths=32, heads=4, head_widths=8, positions="learned")
    data = DataSpec((12,), 5, vocabulary=5, per_position=True)
    network = build(architecture_of(space, data), seed=0)
    x = torch.randint(5, (64, 13), generator=torch.Generator().manual_seed(0))
    for place in range(2, 13):
        x[:, place] = (x[:, place - 1] + x[:, place - 2]) % 5
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(80):
        scores = network(x[:, :-1])[:, 1:]
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), x[:, 2:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert loss.item() < 0.1
