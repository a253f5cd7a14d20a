"""The blocks for rows by their formulas, and the space of multi-layer perceptrons."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from paretonas.errors import InvalidSpace
from paretonas.spaces import Architecture, Block, DataSpec, Head, MLPSpace, Network, build, example_input, prune, shapes
from paretonas.spaces.blocks.rows import ColumnEmbedding, LinearBlock, ResidualLinear
from paretonas.spaces.shape_rules import SHAPE_RULES

ROW = DataSpec((6,), 3)
MIXED = DataSpec((6,), 3, categories=(3, 5))  # four numeric columns, then codes 0-2 and 0-4
RESIDUAL = MLPSpace(layers=4, blocks="residual", widths=8, ratios=2, activations="relu", sharing="none", pruning=0.0)
PLAIN = replace(RESIDUAL, blocks="linear")


@pytest.fixture(autouse=True)
def seed() -> None:
    """The weights of the blocks are the same in every run."""
    torch.manual_seed(0)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def architecture_of(space: MLPSpace, data: DataSpec, seed: int = 0) -> Architecture:
    architecture = space.sample(data, seed=seed).architecture
    assert isinstance(architecture, Architecture)
    return architecture


# blocks


def test_a_linear_block_with_layer_norm_by_hand() -> None:
    """It has a bias, which the norm does not cancel; batch norm would."""
    block, x = LinearBlock(6, 5, norm="layer", activation="tanh"), draw(4, 6)
    weight, bias = block.linear.weight, block.linear.bias
    torch.testing.assert_close(block(x), nn.functional.layer_norm(x @ weight.T + bias, (5,)).tanh())
    assert LinearBlock(6, 5, norm="none").linear.bias is not None
    assert LinearBlock(6, 5, norm="batch").linear.bias is None


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_residual_block_by_hand(norm: str) -> None:
    """The sum x + linear(activation(linear(norm(x)))) (Gorishniy et al. 2021)."""
    block, x = ResidualLinear(6, hidden=9, norm=norm, activation="relu"), draw(4, 6)
    normal = {
        "batch": (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt(),
        "layer": (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + 1e-5).sqrt(),
        "none": x,
    }[norm]
    hidden = (normal @ block.enter.weight.T + block.enter.bias).relu()
    torch.testing.assert_close(block(x), x + hidden @ block.leave.weight.T + block.leave.bias)


def test_uses_of_a_residual_block_have_norms_of_their_own() -> None:
    """Its linear layers are one; the statistics of one depth are wrong at another."""
    block = ResidualLinear(6, hidden=9, uses=2)
    block(block(draw(4, 6)), use=1)
    state = block.state_dict()
    assert not torch.equal(state["norms.0.running_mean"], state["norms.1.running_mean"])
    assert [name for name in state if name.endswith("weight")] == [
        "norms.0.weight", "norms.1.weight", "enter.weight", "leave.weight",
    ]  # fmt: skip


def test_category_columns_become_vectors() -> None:
    """The last columns are looked up, each in its own table; the numeric ones pass unchanged."""
    block = ColumnEmbedding(categories="3,5", features=4)
    first, second = block.parameters()
    assert (first.shape, second.shape) == ((3, 3), (5, 4))  # 3 codes need no 4 numbers
    x = torch.tensor([[0.5, -1.0, 2.0, 4.0], [1.5, 3.0, 0.0, 1.0]])
    expected = [torch.cat([row[:2], first[int(row[2])], second[int(row[3])]]) for row in x]
    assert torch.equal(block(x), torch.stack(expected))


def test_rows_of_category_columns_alone() -> None:
    """There need not be a numeric column."""
    block = ColumnEmbedding(categories="2,2", features=1)
    assert block(torch.tensor([[0.0, 1.0]])).shape == (1, 2)
    assert SHAPE_RULES["columns"]((2,), {"categories": "2,2", "features": 1}) == (2,)
    with pytest.raises(ValueError, match="it has fewer than 2 columns"):
        SHAPE_RULES["columns"]((1,), {"categories": "2,2", "features": 1})


# the space


def test_residual_layers_stand_behind_a_linear_one() -> None:
    """Of one width, with so many hidden units to it as the ratio says."""
    first = Block("linear", width=8)
    assert list(architecture_of(RESIDUAL, ROW).blocks) == [first] + [Block("residual_linear", hidden=16)] * 3
    assert list(architecture_of(replace(RESIDUAL, layers=1), ROW).blocks) == [first]


def test_norms_and_activations_reach_every_layer() -> None:
    """The activations one a layer, if so asked."""
    for space in (RESIDUAL, PLAIN):
        blocks = architecture_of(replace(space, norms="layer", activations=["relu", "gelu", "silu", "elu", "mish"],
                                         activation_per="layer"), ROW).blocks  # fmt: skip
        assert {block.args["norm"] for block in blocks} == {"layer"}
        assert len({block.args["activation"] for block in blocks}) > 1


def test_category_columns_are_embedded_first() -> None:
    """Then come the layers, of which the first takes the numeric columns and all vectors."""
    architecture = architecture_of(replace(PLAIN, embedding_widths=4), MIXED)
    assert architecture.blocks[0] == Block("columns", categories="3,5", features=4)
    assert shapes(architecture)[:3] == ((6,), (4 + 3 + 4,), (8,))
    assert build(architecture, seed=0)(example_input(MIXED, 4)).shape == (4, 3)


def test_embeddings_no_larger_than_their_columns_are_one_network() -> None:
    """Beyond the largest number of codes more features change nothing: one key, and no gene."""
    keys = [architecture_of(replace(PLAIN, embedding_widths=width), MIXED).key for width in (4, 5, 6, 100)]
    assert len(set(keys)) == 2
    assert keys[1] == keys[2] == keys[3]
    assert "embedding_width" not in asked(replace(PLAIN, embedding_widths=(5, 9)), MIXED)


@pytest.mark.parametrize("width", range(4, 12))
def test_layers_share_by_what_really_comes_in(width: int) -> None:
    """Six columns become eleven features: the first layer shares with the others only if eleven units leave it."""
    architecture = architecture_of(replace(PLAIN, widths=width, sharing="all"), MIXED)
    owner = 1 if width == 4 + 3 + 5 else 2
    assert [block.shares for block in architecture.blocks] == [None, *[None] * owner, *[owner] * (4 - owner)]
    build(architecture)(example_input(MIXED, 2))


@pytest.mark.parametrize("blocks", ["linear", "residual"])
def test_silent_units_leave_without_a_trace(blocks: str) -> None:
    """Hidden units inside residual blocks leave as well as the units between layers."""
    candidate = replace(PLAIN, blocks=blocks, norms="none", pruning=0.5).sample(MIXED)
    network = build(candidate.architecture, seed=0).eval()
    assert isinstance(network, Network)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if ".linear." in name or ".enter." in name:
                tensor[len(tensor) // 2 :] = 0
            if ".leave." in name:
                tensor[4:] = 0  # what is added to units that are to leave
    pruned = prune(network, candidate.deployed)
    assert {block.width for block in pruned.architecture.blocks if block.width} == {4}
    assert {block.args.get("hidden", 8) for block in pruned.architecture.blocks} == {8}
    x = example_input(MIXED, 5)
    torch.testing.assert_close(pruned(x), network(x))


# which genes are asked for


def asked(space: MLPSpace, data: DataSpec = ROW) -> set[str]:
    return {gene.name for gene in space.genes(data, samples=60)}


def test_the_default_space_asks_for_what_it_always_did() -> None:
    """So studies of earlier releases go on."""
    widths = {"width", *(f"layer{layer}.width" for layer in range(5))}
    assert asked(MLPSpace()) == {"layers", "width_per", *widths, "activation", "sharing", "pruning"}


@pytest.mark.parametrize(
    ("changes", "gene", "data", "present"),
    [
        ({"layers": 1, "blocks": ["linear", "residual"]}, "block", ROW, False),
        ({"layers": 2, "blocks": ["linear", "residual"]}, "block", ROW, True),
        ({"blocks": "linear", "ratios": [1, 2]}, "ratio", ROW, False),
        ({"blocks": "residual", "ratios": [1, 2]}, "ratio", ROW, True),
        ({"blocks": "residual", "widths": [4, 8], "width_per": ["network", "layer"]}, "width_per", ROW, False),
        ({"blocks": "linear", "widths": [4, 8], "width_per": ["network", "layer"]}, "width_per", ROW, True),
        ({"embedding_widths": [2, 4]}, "embedding_width", ROW, False),
        ({"embedding_widths": [2, 4]}, "embedding_width", MIXED, True),
        ({"sharing": "cycle", "sets": (1, 2)}, "sets", ROW, True),
        ({"sharing": "all", "sets": (1, 2)}, "sets", ROW, False),
        ({"layers": 0, "pruning": (0.0, 0.7)}, "pruning", ROW, False),
        ({"layers": 1, "pruning": (0.0, 0.7)}, "pruning", ROW, True),
    ],
)
def test_a_gene_under_a_condition(changes: dict[str, Any], gene: str, data: DataSpec, *, present: bool) -> None:
    """It is asked for only where its options make different networks."""
    assert (gene in asked(replace(PLAIN, **changes), data)) == present


def test_two_tasks_on_a_table() -> None:
    """Classes and a number, each behind layers of its own."""
    data = replace_heads(MIXED, (Head(3, "kind"), Head(1, "price")))
    architecture = architecture_of(replace(RESIDUAL, trunk=0.5), data)
    answers = build(architecture, seed=0)(example_input(data, 4))
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == {"kind": (4, 3), "price": (4, 1)}
    assert [block.op for block in architecture.blocks].count("residual_linear") == 5  # one in common, two of each


def test_tokens_are_refused() -> None:
    """With the space that takes them."""
    with pytest.raises(InvalidSpace, match="the data are tokens: use TransformerSpace"):
        MLPSpace().sample(DataSpec((8,), 3, vocabulary=20))


def replace_heads(data: DataSpec, heads: tuple[Head, ...]) -> DataSpec:
    return DataSpec(data.input_shape, heads, categories=data.categories)
