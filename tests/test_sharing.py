"""Layers that share weights: what is tied, counted and trained once, and what stays private."""

from typing import Any

import pytest
import torch
from torch import nn

from paretonas.errors import InvalidArchitecture
from paretonas.objectives import parameters
from paretonas.spaces import (
    Architecture,
    Block,
    ConvSpace,
    DataSpec,
    Head,
    MLPSpace,
    Space,
    TransformerSpace,
    build,
    example_input,
    shapes,
)
from paretonas.spaces.looking import Path, RandomAnswers
from paretonas.spaces.sharing import blocks_in_common, part_tasks, share_weights

IMAGES = DataSpec((1, 8, 8), 10)
CONV = Block("conv", width=4)
TIED = Architecture(
    (1, 8, 8),
    (CONV, CONV, CONV.replace(shares=1), Block("max_pool"), CONV.replace(shares=1), Block("flatten")),
    (Head(10),),
)


def shares(space: Space, data: DataSpec = IMAGES) -> list[int | None]:
    """What each layer with weights shares, by index of the block."""
    blocks = space.sample(data).architecture.blocks
    return [block.shares for block in blocks if block.width is not None]


@pytest.mark.parametrize(
    ("sharing", "tied"),
    [
        ("none", [None] * 9),
        ("stage", [None, None, 1, None, 4, 4, None, None, 10]),
        ("all", [None, None, 1, 1, 1, 1, None, None, 10]),
    ],
)
def test_each_mode_of_a_conv_space_ties_what_it_says(sharing: str, tied: list[int | None]) -> None:
    """Two stages of three convolutions, then three linear layers: blocks 0-2, 4-6 and 9-11 have weights."""
    space = ConvSpace(layers=6, stages=2, widths=8, activations="relu", pruning=0.0, sharing=sharing,
                      readout="flatten", hidden_layers=3, hidden_widths=8)  # fmt: skip
    blocks = space.sample(IMAGES).architecture.blocks
    assert [index for index, block in enumerate(blocks) if block.width] == [0, 1, 2, 4, 5, 6, 9, 10, 11]
    assert shares(space) == tied


@pytest.mark.parametrize(("sharing", "tied"), [("none", [None] * 4), ("all", [None, None, 2, 2])])
def test_each_mode_of_an_mlp_space_ties_what_it_says(sharing: str, tied: list[int | None]) -> None:
    """The first layer is of another shape, so block 2 owns what the others share."""
    assert shares(MLPSpace(layers=4, widths=16, width_per="network", sharing=sharing)) == tied


def test_hidden_layers_behind_a_mean_of_equal_width_share() -> None:
    """Sharing goes by shape: the first hidden layer shares too where as many channels come as it has units."""
    space = ConvSpace(layers=2, stages=1, widths=8, hidden_layers=3, hidden_widths=8, sharing="all")
    assert shares(space) == [None, None, None, 4, 4]


def test_layers_that_share_are_one_tensor() -> None:
    """Every use calls the same module, so there is one tensor to be found."""
    network = build(TIED, seed=0)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 2
    assert [name for name in network.state_dict() if name.endswith("conv.weight")] == [
        "block0.conv.weight",
        "block1.conv.weight",
    ]


def test_each_use_runs_the_shared_weights() -> None:
    """The network equals the same convolutions written by hand."""
    network = build(TIED, seed=0).eval()
    state = network.state_dict()
    x = torch.rand(2, 1, 8, 8)

    def run(block: int, use: int, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.conv2d(x, state[f"block{block}.conv.weight"], padding=1)
        norm = f"block{block}.norms.{use}"
        return nn.functional.batch_norm(
            x, *(state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias"))
        ).relu()

    y = run(1, 1, run(1, 0, run(0, 0, x)))
    y = run(1, 2, nn.functional.max_pool2d(y, 2)).flatten(1)
    assert torch.equal(network(x), nn.functional.linear(y, state["head.weight"], state["head.bias"]))


def test_shared_weights_count_once() -> None:
    """Parameters: 1·4·9 + 4·4·9, a norm of 2·4 for each of four layers, and a head of 10·(4·4·4 + 1)."""
    assert parameters(build(TIED)) == 36 + 144 + 4 * 8 + 10 * 65


def test_the_parameters_have_no_tied_duplicates() -> None:
    """The state dict holds each storage once, so that safetensors can write it."""
    state = build(TIED, seed=0).state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)


def test_a_training_step_changes_every_use() -> None:
    """What each use makes of the same features moves, and by the same amount."""
    plain = CONV.replace(norm="none")
    blocks = (plain, plain, plain.replace(shares=1), Block("flatten"))
    network = build(Architecture((1, 8, 8), blocks, (Head(10),)), seed=0)
    features = torch.rand(2, 4, 8, 8)
    shared = network.get_submodule("block1")
    before = [shared(features, use) for use in range(2)]
    step(network)
    after = [shared(features, use) for use in range(2)]
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[0], before[1])
    assert torch.equal(after[0], after[1])


def test_the_gradient_is_the_sum_over_the_uses() -> None:
    """Against the same network with a copy of the weights for each use."""
    linear = Block("linear", width=6, norm="none", activation="tanh")
    tied = build(Architecture((6,), (linear, linear.replace(shares=0)), (Head(3),)), seed=0)
    own = build(Architecture((6,), (linear, linear), (Head(3),)), seed=0)
    state = tied.state_dict()
    own.load_state_dict({**state, **{name.replace("block0", "block1"): value for name, value in state.items()
                                     if name.startswith("block0")}})  # fmt: skip
    x = torch.rand(5, 6)
    for network in (tied, own):
        network(x).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in own.named_parameters()}
    first, second = gradients["block0.linear.weight"], gradients["block1.linear.weight"]
    assert first is not None
    assert second is not None
    torch.testing.assert_close(tied.get_parameter("block0.linear.weight").grad, first + second)


def test_normalisation_is_private_to_each_use() -> None:
    """Each use keeps statistics and scales of its own: those of one depth are wrong at another."""
    network = build(TIED, seed=0).train()
    step(network)
    state = network.state_dict()
    means = [state[f"block1.norms.{use}.running_mean"] for use in range(3)]
    assert not torch.equal(means[0], means[1])
    assert not torch.equal(means[1], means[2])
    assert all(state[f"block1.norms.{use}.num_batches_tracked"] == 1 for use in range(3))
    weights = [state[f"block1.norms.{use}.weight"] for use in range(3)]
    assert not torch.equal(weights[0], weights[1])


def test_layers_of_unequal_shape_cannot_share() -> None:
    """The message names both layers and what comes to each."""
    architecture = Architecture((3, 8, 8), (CONV, CONV.replace(shares=0), Block("flatten")), (Head(10),))
    message = "block 1 shares the weights of block 0, but 4 channels or features come to it and 3 to the other"
    with pytest.raises(InvalidArchitecture, match=message):
        shapes(architecture)
    with pytest.raises(InvalidArchitecture, match=message):
        build(architecture)


# in turn, and in groups


@pytest.mark.parametrize(
    ("sharing", "sets", "tied"),
    [
        ("cycle", 1, [None, 0, 0, 0, 0, 0]),
        ("cycle", 2, [None, None, 0, 1, 0, 1]),
        ("cycle", 3, [None, None, None, 0, 1, 2]),
        ("cycle", 4, [None, None, None, None, 0, 1]),
        ("cycle", 6, [None] * 6),
        ("cycle", 9, [None] * 6),
        ("groups", 1, [None, 0, 0, 0, 0, 0]),
        ("groups", 2, [None, 0, 0, None, 3, 3]),
        ("groups", 3, [None, 0, None, 2, None, 4]),
        ("groups", 4, [None, 0, None, None, 3, None]),  # 0, 4/6, 8/6, 2, 16/6, 20/6, rounded down
        ("groups", 6, [None] * 6),
        ("groups", 9, [None] * 6),
    ],
)
def test_sets_of_weights_are_used_in_turn_or_in_groups(sharing: str, sets: int, tied: list[int | None]) -> None:
    """Six blocks of equal shape, as in Takase & Kiyono 2021, fig. 2: number i mod sets, or i * sets / 6."""
    found = share_weights([CONV] * 6, 4, [0] * 6, sharing, sets)
    assert [block.shares for block in found] == tied


def test_blocks_of_each_shape_take_turns_among_themselves() -> None:
    """What stands between them, and what cannot share, does not count."""
    wide, pool = Block("conv", width=8), Block("max_pool")
    blocks = [CONV, CONV, pool, wide, wide, wide, CONV, CONV, pool, wide]  # two of them have other channels before them
    found = share_weights(blocks, 4, [0] * len(blocks), "cycle", 2)
    assert [block.shares for block in found] == [None, None, None, None, None, None, None, 0, None, None]
    found = share_weights(blocks, 4, [0] * len(blocks), "groups", 1)
    assert [block.shares for block in found] == [None, 0, None, None, None, 4, None, 0, None, 3]


def test_blocks_that_keep_the_width_share_too() -> None:
    """A block without a width of its own, and without anything private, is shared whole: ALBERT's case."""
    layer = Block("transformer", heads=2, head_width=4, hidden=16)
    found = share_weights([Block("embedding", width=8, vocabulary=20), layer, layer, layer], 6, [0] * 4, "all")
    assert [block.shares for block in found] == [None, None, 1, 1]


@pytest.mark.parametrize(
    ("sharing", "sets", "asked"),
    [
        (["cycle", "none"], [2, 3], ["sharing", "sets"]),
        (["none", "cycle"], [2, 3], ["sharing"]),
        (["cycle", "groups"], 1, []),
        (["cycle", "groups"], 2, ["sharing"]),
        (["cycle", "groups"], [4, 5], []),
        (["stage", "all"], [1, 2], []),
        (["all", "none"], [1, 2], ["sharing"]),
        ("cycle", (1, 8), ["sets"]),
        ("cycle", (4, 8), []),
        ("groups", [2, 4], ["sets"]),
        ("none", [1, 2], []),
    ],
)
def test_sharing_and_sets_are_asked_for_only_where_they_matter(sharing: Any, sets: Any, asked: list[str]) -> None:
    """Four convolutions of equal shape in one stage, behind a first one of its own; answered with the first option."""
    trial = Path(())
    space = ConvSpace(layers=5, stages=1, widths=8, activations="relu", pruning=0.0, sharing=sharing, sets=sets)
    space.suggest(trial, IMAGES)
    assert [*trial.asked] == asked


# across tasks

KIND, SIGN = Head(3, "kind"), Head(2, "sign")
TASKS = DataSpec((1, 8, 8), (KIND, SIGN))
CHAIN = [CONV, CONV, Block("max_pool"), CONV.replace(shares=1), CONV, Block("flatten"), Block("linear", width=6)]


@pytest.mark.parametrize(
    ("share", "common"),
    [(0.0, 0), (0.1, 1), (0.2, 1), (0.29, 1), (0.3, 3), (0.4, 3), (0.6, 4), (0.8, 6), (0.89, 6), (0.9, 7), (1.0, 7)],
)
def test_a_trunk_holds_a_share_of_the_layers(share: float, common: int) -> None:
    """Of five layers with weights; what has none belongs to the trunk as long as it follows it."""
    assert blocks_in_common(CHAIN, share) == common


def test_each_task_has_its_own_copy_of_what_is_behind_the_trunk() -> None:
    """The first tower stays in its place; the others follow the trunk, and share as the first does."""
    blocks, heads = part_tasks(CHAIN, (KIND, SIGN), 3)
    assert blocks == [*CHAIN[:3], CHAIN[3].replace(follows=2, shares=1), *CHAIN[4:],
                      CHAIN[3].replace(follows=2, shares=1), *CHAIN[4:]]  # fmt: skip
    assert heads == (Head(3, "kind", follows=6), Head(2, "sign", follows=10))


def test_sharing_inside_a_tower_stays_inside_it() -> None:
    """A copy uses the weights of the copy beside it, not those of the other task."""
    blocks, _ = part_tasks([CONV, CONV, CONV.replace(shares=1)], (KIND, SIGN), 1)
    assert [block.shares for block in blocks] == [None, None, 1, None, 3]
    blocks, _ = part_tasks([CONV, CONV, CONV.replace(shares=1)], (KIND, SIGN), 0)
    assert [block.shares for block in blocks] == [None, None, 1, None, None, 4]
    assert [block.follows for block in blocks] == [-1, None, None, -1, None, None]


@pytest.mark.parametrize(("norm", "common"), [("batch", 2), ("none", 3)])
def test_a_layer_that_would_be_the_same_for_all_tasks_belongs_to_the_trunk(norm: str, common: int) -> None:
    """One that uses weights of the trunk and has no normalisation of its own computes the same in each tower."""
    conv = CONV.replace(norm=norm)
    assert blocks_in_common([conv, conv, conv.replace(shares=1), conv], 0.5) == common


@pytest.mark.parametrize("trunk", [0.0, 0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("sharing", ["none", "stage", "all", "cycle", "groups"])
def test_towers_count_what_they_own_and_train_apart(trunk: float, sharing: str) -> None:
    """The loss of one task gives gradients to the trunk and its own tower, not to what the other alone has."""
    space = ConvSpace(layers=4, stages=2, widths=4, activations="tanh", hidden_layers=0, sharing=sharing, sets=2,
                      trunk=trunk, pruning=0.0)  # fmt: skip
    alone = ConvSpace(layers=4, stages=2, widths=4, activations="tanh", sharing=sharing, sets=2, pruning=0.0)
    trained = {}
    for head in (KIND, SIGN):
        network = build(space.sample(TASKS).architecture, seed=0)
        network(torch.rand(4, 1, 8, 8))[head.name].square().sum().backward()
        trained[head] = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
        single = build(alone.sample(DataSpec((1, 8, 8), (head,))).architecture)
        assert sum(network.get_parameter(name).numel() for name in trained[head]) == parameters(single)
    assert trained[KIND] | trained[SIGN] == {name for name, _ in network.named_parameters()}
    assert ("block0.conv.weight" in trained[KIND] & trained[SIGN]) == (trunk > 0)


def test_the_trunk_is_asked_for_only_with_several_heads_and_where_it_matters() -> None:
    """One head has no one to share with; two shares that part the tasks at the same layer are one network."""

    def asked(data: DataSpec, trunk: Any, layers: int = 4) -> list[str]:
        trial = RandomAnswers(0)
        ConvSpace(layers=layers, stages=1, widths=4, activations="relu", sharing="none", pruning=0.0,
                  trunk=trunk).suggest(trial, data)  # fmt: skip
        return [*trial.asked]

    assert asked(IMAGES, [0.5, 1.0]) == []
    assert asked(TASKS, [0.5, 1.0]) == ["trunk"]
    assert asked(TASKS, [0.5, 0.55]) == []
    assert asked(TASKS, (0.0, 1.0)) == ["trunk"]
    assert asked(TASKS, [0.6, 0.9], layers=1) == []


def test_trunks_of_equal_layers_have_one_key() -> None:
    """Whatever share was said."""
    keys = [
        ConvSpace(layers=4, stages=2, widths=4, activations="relu", sharing="none", pruning=0.0, trunk=trunk)
        .sample(TASKS).key
        for trunk in (0.5, 0.55, 0.75)
    ]  # fmt: skip
    assert keys[0] == keys[1] != keys[2]


def test_a_tied_head_is_tied_to_its_own_tower() -> None:
    """With no trunk each task has an embedding of its own, with one it is that of the trunk."""
    heads = (Head(20, "next", tied=0), Head(20, "last", tied=0))
    chain = [Block("embedding", width=8, vocabulary=20, length=6), Block("transformer", heads=2, head_width=4)]
    for common, tied in ((0, [0, 2]), (1, [0, 0]), (2, [0, 0])):
        blocks, found = part_tasks(chain, heads, common)
        assert [head.tied for head in found] == tied
        architecture = Architecture((6,), tuple(blocks), found, vocabulary=20)
        answers = build(architecture, seed=0)(example_input(architecture, 2))
        assert {name: y.shape for name, y in answers.items()} == {"next": (2, 6, 20), "last": (2, 6, 20)}


@pytest.mark.parametrize(
    "space", [MLPSpace(layers=(2, 4)), TransformerSpace(layers=(1, 3))], ids=["mlp", "transformer"]
)
def test_every_family_parts_its_tasks(space: Space) -> None:
    """The trunk is a gene of all of them."""
    spec = DataSpec((12,), (KIND, SIGN), vocabulary=20) if isinstance(space, TransformerSpace) else TASKS
    follows = set()
    for seed in range(20):
        architecture = space.sample(spec, seed=seed).architecture
        answers = build(architecture, seed=0).eval()(example_input(architecture, 2))
        assert {name: y.shape for name, y in answers.items()} == {"kind": (2, 3), "sign": (2, 2)}
        follows.add(len({architecture.head_source(head) for head in architecture.heads}))
    assert follows == {1, 2}


def step(network: nn.Module) -> None:
    """One step of gradient descent on random examples."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(network(x), torch.arange(8)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
