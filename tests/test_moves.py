"""Moves: layers leave and come, networks become wider or narrower, kernels grow; and growth changes no answer."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_families import FAMILIES, counted, exported
from torch import nn

from paretonas import own
from paretonas.errors import InvalidArchitecture, UsageError
from paretonas.spaces import (
    Architecture,
    Block,
    DataSpec,
    Head,
    ModuleArchitecture,
    Move,
    Network,
    build,
    example_input,
    moved,
    moved_architecture,
    part_copies,
    possible_moves,
    prune,
    pruned_architecture,
    unit_scores,
)
from paretonas.spaces.moves import PRESERVING

REMOVE, INSERT, KERNEL = "remove_layer", "insert_layer", "grow_kernel"
CONV, MEAN, FLAT, POOL = Block("conv", width=4), Block("global_average_pool"), Block("flatten"), Block("max_pool")
LINEAR = Block("linear", width=6)
RESIDUAL = Block("residual", width=4, hidden=5)
BRANCH = Block("inverted_residual", width=4, hidden=4, skip="identity")
NO_NORM = LINEAR.replace(norm="none")
TOKENS = Block("embedding", width=8, vocabulary=9, length=6)
LAYER = Block("transformer", heads=2, head_width=4, hidden=12)
TWO = (Head(3, "kind"), Head(2, "sign", follows=2))


def images(*blocks: Block, heads: tuple[Head, ...] = (Head(3),)) -> Architecture:
    return Architecture((1, 8, 8), blocks, heads)


def rows(*blocks: Block) -> Architecture:
    return Architecture((6,), blocks, (Head(3),))


def texts(*blocks: Block, tied: int | None = None) -> Architecture:
    head = Head(9, tied=tied)
    return Architecture((6,), (TOKENS, *blocks), (head,), vocabulary=9)


# every move of every family


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_move_of_every_network_works(family: str, request: pytest.FixtureRequest) -> None:
    """It gives what it promises, which builds, counts, exports; growth changes no answer; the argument stays."""
    space, data = FAMILIES[family]
    for seed in range(50 if request.config.getoption("--long") else 2):
        architecture = space.sample(data, seed=seed).architecture
        network = seasoned(architecture, seed)
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        for move in possible_moves(architecture):
            try:
                check(network, move)
            except Exception as error:
                error.add_note(f"seed {seed} of {family}: {move} of {architecture}")
                raise
        assert network.architecture == architecture
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.slow
@given(family=st.sampled_from(list(FAMILIES)), seed=st.integers(0, 10**6), choices=st.data())
@settings(max_examples=12, deadline=None)
def test_moves_follow_each_other(family: str, seed: int, choices: st.DataObject) -> None:
    """Several layers come, and the network becomes wider in between: it answers as at first."""
    space, data = FAMILIES[family]
    architecture = space.sample(data, seed=seed).architecture
    first = network = seasoned(architecture, seed)
    for _ in range(3):
        growth = [move for move in possible_moves(network.architecture) if move.kind in PRESERVING]
        if growth:
            network = moved(network, choices.draw(st.sampled_from(growth)))
    assert_same(network, first)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_that_came_leaves_without_a_trace(family: str) -> None:
    """Inserted and removed again: the same architecture and the same weights, bit for bit."""
    space, data = FAMILIES[family]
    for seed in range(2, 4):
        architecture = space.sample(data, seed=seed).architecture
        network = seasoned(architecture, seed)
        for move in possible_moves(architecture):
            if move.kind == INSERT:
                back = moved(moved(network, move), Move(REMOVE, move.at + 1))
                assert back.architecture == architecture
                assert_equal_states(back, network)


# a layer leaves


def test_what_is_left_is_exactly_the_other_weights() -> None:
    """Without block 1 of three, the third is the second, with its weights."""
    network = seasoned(rows(LINEAR, LINEAR.replace(activation="tanh"), LINEAR.replace(activation="gelu")))
    smaller = moved(network, Move(REMOVE, 1))
    assert [block.args["activation"] for block in smaller.architecture.blocks] == ["relu", "gelu"]
    old, new = network.state_dict(), smaller.state_dict()
    names = {name: name.replace("block1", "block2") for name in new}
    assert set(names.values()) == {name for name in old if not name.startswith("block1")}
    assert all(torch.equal(new[name], old[before]) for name, before in names.items())


def test_the_next_user_of_shared_weights_owns_them() -> None:
    """The owner leaves: its weights stay with the second and third user, and each of these keeps its normalisation."""
    network = seasoned(images(CONV, CONV, CONV.replace(shares=1), CONV.replace(shares=1), MEAN))
    smaller = moved(network, Move(REMOVE, 1))
    assert [block.shares for block in smaller.architecture.blocks] == [None, None, 1, None]
    old, new = network.state_dict(), smaller.state_dict()
    assert torch.equal(new["block1.conv.weight"], old["block1.conv.weight"])
    for number in ("weight", "bias", "running_mean", "running_var"):
        for use in (0, 1):
            assert torch.equal(new[f"block1.norms.{use}.{number}"], old[f"block1.norms.{use + 1}.{number}"])


def test_a_user_in_the_middle_takes_only_its_own_normalisation_along() -> None:
    """Of uses 0, 1 and 2 the second leaves; the third becomes use 1."""
    network = seasoned(images(CONV, CONV, CONV.replace(shares=1), CONV.replace(shares=1), MEAN))
    old, new = network.state_dict(), moved(network, Move(REMOVE, 2)).state_dict()
    assert torch.equal(new["block1.norms.0.running_mean"], old["block1.norms.0.running_mean"])
    assert torch.equal(new["block1.norms.1.running_mean"], old["block1.norms.2.running_mean"])
    assert not any(name.startswith("block1.norms.2") for name in new)


def test_who_followed_a_layer_that_leaves_follows_what_it_followed() -> None:
    """A trunk of two layers and two towers; without the second, both towers stand on the first."""
    tower = CONV.replace(follows=1)
    tree = images(CONV, CONV, CONV, MEAN, tower, MEAN, heads=(Head(3, "kind", follows=3), Head(2, "sign")))
    smaller = moved_architecture(tree, Move(REMOVE, 1))
    assert smaller == images(
        CONV, CONV, MEAN, CONV.replace(follows=0), MEAN, heads=(Head(3, "kind", follows=2), Head(2, "sign"))
    )


def test_the_first_layer_of_a_tower_leaves_the_tower_on_the_trunk() -> None:
    """What came behind it stands where it stood, not on the other tower."""
    kind, sign = Head(3, "kind", follows=2), Head(2, "sign")
    tree = images(CONV, CONV, MEAN, CONV.replace(follows=0), CONV, MEAN, heads=(kind, sign))
    smaller = moved_architecture(tree, Move(REMOVE, 3))
    assert smaller == images(CONV, CONV, MEAN, CONV.replace(follows=0), MEAN, heads=(kind, sign))
    assert moved_architecture(smaller, Move(REMOVE, 3)) == images(
        CONV, CONV, MEAN, MEAN.replace(follows=0), heads=(kind, sign)
    )


def test_a_head_on_a_layer_that_leaves_takes_what_came_to_it() -> None:
    """Also where nothing is left but the head."""
    assert moved_architecture(rows(LINEAR), Move(REMOVE, 0)) == rows()
    tree = images(CONV, MEAN, LINEAR.replace(width=4), LINEAR, heads=TWO)
    smaller = moved_architecture(tree, Move(REMOVE, 2))
    assert smaller == images(CONV, MEAN, LINEAR, heads=(Head(3, "kind"), Head(2, "sign", follows=1)))


def test_a_tied_head_stays_tied() -> None:
    """A transformer layer leaves; the scores still come from the embedding."""
    network = seasoned(texts(LAYER, LAYER, tied=0))
    smaller = moved(network, Move(REMOVE, 1))
    assert smaller.architecture == texts(LAYER, tied=0)
    assert torch.equal(smaller.state_dict()["block0.tokens.weight"], network.state_dict()["block0.tokens.weight"])


@pytest.mark.parametrize(
    ("architecture", "at", "reason"),
    [
        (images(CONV, CONV, MEAN), 0, r"block 0 \(conv\) cannot leave: it takes 1x8x8 and gives 4x8x8"),
        (images(CONV, POOL, MEAN), 1, r"block 1 \(max_pool\) cannot leave: it takes 4x8x8 and gives 4x4x4"),
        (images(CONV, FLAT), 1, r"block 1 \(flatten\) cannot leave: it takes 4x8x8 and gives 256"),
        (texts(LAYER), 0, r"block 0 \(embedding\) cannot leave: it makes numbers of the codes"),
        (images(CONV, MEAN), 2, r"there is no block 2, the network has 2 blocks"),
    ],
)
def test_a_layer_that_cannot_leave_is_refused(architecture: Architecture, at: int, reason: str) -> None:
    """With the reason."""
    with pytest.raises(InvalidArchitecture, match=reason):
        moved_architecture(architecture, Move(REMOVE, at))


def test_codes_of_categories_stay_codes() -> None:
    """An embedding of columns that gives as many numbers as came is not taken for a layer that can leave."""
    columns = Block("columns", categories="3", features=1)
    architecture = Architecture((4,), (columns, LINEAR), (Head(2),), categories=(3,))
    with pytest.raises(InvalidArchitecture, match="codes"):
        moved_architecture(architecture, Move(REMOVE, 0))


# a layer comes


@pytest.mark.parametrize(
    ("like", "new"),
    [
        (CONV, CONV),
        (CONV.replace(kernel=4, stride=2), CONV.replace(kernel=5)),
        (CONV.replace(norm="none"), CONV.replace(norm="none")),
        (CONV.replace(activation="leaky_relu"),
         BRANCH.replace(activation="leaky_relu")),
        (RESIDUAL.replace(skip="projection"), RESIDUAL),
        (RESIDUAL.replace(skip="projection", activation="gelu"),
         BRANCH.replace(hidden=5, activation="gelu")),
        (Block("separable", width=4, kernel=5), BRANCH.replace(kernel=5)),
        (Block("inverted_residual", width=4, hidden=7, squeeze=2), BRANCH.replace(hidden=7, squeeze=2)),
    ],
)  # fmt: skip
def test_a_new_layer_of_maps_is_like_the_one_before_it(like: Block, new: Block) -> None:
    """Of the same numbers; of the same kind where it can begin as the identity."""
    architecture = images(like, MEAN)
    assert moved_architecture(architecture, Move(INSERT, 0)).blocks[1] == new
    signals = Architecture(
        (1, 9), tuple(Block.from_json({**b.to_json(), "op": b.op + "1d"}) for b in (like, MEAN)), (Head(3),)
    )
    assert moved_architecture(signals, Move(INSERT, 0)).blocks[1].op == new.op + "1d"


@pytest.mark.parametrize(
    ("like", "new"),
    [
        (LINEAR, LINEAR),
        (NO_NORM, NO_NORM),
        (LINEAR.replace(norm="layer"), Block("residual_linear", hidden=6, norm="layer")),
        (LINEAR.replace(activation="elu"), Block("residual_linear", hidden=6, activation="elu")),
        (Block("residual_linear", hidden=9, norm="none"), Block("residual_linear", hidden=9, norm="none")),
    ],
)
def test_a_new_layer_of_rows_is_like_the_one_before_it(like: Block, new: Block) -> None:
    """A linear layer where it can be the identity, else a residual one."""
    assert moved_architecture(rows(like), Move(INSERT, 0)).blocks[1] == new


@pytest.mark.parametrize("place", ["pre", "post"])
def test_a_new_transformer_block_normalises_before_its_branches(place: str) -> None:
    """Behind one that normalises after its sums too: only so it can be the identity."""
    like = LAYER.replace(norm_place=place, norm="rms", activation="relu")
    network = seasoned(texts(like))
    larger = moved(network, Move(INSERT, 1))
    assert larger.architecture == texts(like, like.replace(norm_place="pre"))
    assert_same(larger, network)


def test_behind_a_pooling_comes_a_residual_branch() -> None:
    """Like the layer before the pooling, at the size behind it."""
    larger = moved_architecture(images(CONV, POOL, MEAN), Move(INSERT, 1))
    assert larger.blocks[2] == BRANCH
    larger = moved_architecture(images(RESIDUAL.replace(skip="projection"), POOL, MEAN), Move(INSERT, 1))
    assert larger.blocks[2] == RESIDUAL


@pytest.mark.parametrize("like", [CONV.replace(activation="silu"), RESIDUAL.replace(skip="projection"),
                                  RESIDUAL.replace(skip="projection", norm="none", activation="tanh")])  # fmt: skip
def test_a_residual_branch_changes_nothing_in_training_either(like: Block) -> None:
    """It gives 0 whatever the statistics of the batch are; and its weights learn from the first step on."""
    network = seasoned(images(like, MEAN)).train()
    larger = moved(network, Move(INSERT, 0)).train()
    x = torch.rand(8, 1, 8, 8)
    torch.testing.assert_close(larger(x), network(x))
    larger(x).square().sum().backward()
    gradients = [parameter.grad for parameter in larger.get_submodule("block1").parameters()]
    assert any(gradient is not None and gradient.any() for gradient in gradients)


def test_an_identity_layer_stays_near_the_identity_in_training() -> None:
    """Its normalisation expects the mean and variance that a rectified normal number has."""
    network = build(rows(Block("linear", width=2)), seed=0)
    norm = network.get_submodule("block0.norms.0")
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.no_grad():
        norm.weight[:], norm.bias[:] = torch.tensor([2.0, -1.0]), torch.tensor([0.5, -1.5])
    new = moved(network, Move(INSERT, 0)).get_submodule("block1.norms.0")
    assert isinstance(new, nn.BatchNorm1d)
    seen = (torch.randn(10**6, 2, generator=torch.Generator().manual_seed(0)) * norm.weight + norm.bias).relu()
    assert new.running_mean is not None
    assert new.running_var is not None
    torch.testing.assert_close(new.running_mean, seen.mean(0), atol=0.01, rtol=0.01)
    torch.testing.assert_close(new.running_var, seen.var(0), atol=0.01, rtol=0.01)


def test_a_new_layer_in_the_trunk_is_in_the_way_of_all_tasks() -> None:
    """Both towers stand on it, and shared weights and tied heads are found again."""
    tree = images(CONV, CONV, MEAN, CONV.replace(follows=0, shares=1), MEAN,
                  heads=(Head(3, "kind", follows=2), Head(2, "sign")))  # fmt: skip
    larger = moved_architecture(tree, Move(INSERT, 0))
    assert larger == images(CONV, CONV, CONV, MEAN, CONV.replace(follows=1, shares=2), MEAN,
                            heads=(Head(3, "kind", follows=3), Head(2, "sign")))  # fmt: skip
    deeper = moved_architecture(texts(LAYER, tied=0), Move(INSERT, 1))
    assert deeper.heads == (Head(9, tied=0),)


@pytest.mark.parametrize(
    ("architecture", "at"),
    [
        (images(CONV, MEAN), 1),
        (images(POOL, CONV, MEAN), 0),
        (images(FLAT, LINEAR), 0),
        (texts(LAYER), 0),
        (texts(LAYER, Block("sequence_norm")), 2),
    ],
)
def test_a_layer_that_nothing_is_like_is_refused(architecture: Architecture, at: int) -> None:
    """With the reason."""
    with pytest.raises(
        InvalidArchitecture, match=rf"no layer can come behind block {at} .*is made like the layer there"
    ):
        moved_architecture(architecture, Move(INSERT, at))


# wider


def test_copies_share_what_they_give() -> None:
    """Of two hidden units three are made: the first is there twice, and who reads it takes half of each."""
    network = build(rows(LINEAR.replace(width=2, norm="none")), seed=0)
    old, new = network.state_dict(), moved(network, Move("widen", ratio=1.5)).state_dict()
    assert torch.equal(new["block0.linear.weight"], old["block0.linear.weight"][[0, 1, 0]])
    assert torch.equal(new["block0.linear.bias"], old["block0.linear.bias"][[0, 1, 0]])
    assert torch.equal(new["head.weight"], old["head.weight"][:, [0, 1, 0]] / torch.tensor([2, 1, 2]))
    assert torch.equal(new["head.bias"], old["head.bias"])


def test_behind_a_flatten_the_pixels_of_a_copied_channel_stay_together() -> None:
    """A channel of 64 pixels is copied as one."""
    network = seasoned(images(CONV.replace(width=2), FLAT))
    wider = moved(network, Move("widen", ratio=2))
    half = network.state_dict()["head.weight"] / 2
    assert torch.equal(wider.state_dict()["head.weight"], torch.cat([half, half], 1))


@pytest.mark.parametrize(
    ("architecture", "ratio", "sizes"),
    [
        (images(CONV, RESIDUAL, MEAN, LINEAR), 1.5, [{"width": 6}, {"width": 6, "hidden": 8}, {}, {"width": 9}]),
        (images(CONV, CONV, CONV.replace(shares=1), MEAN), 1.1, [{"width": 5}, {"width": 5}, {"width": 5}, {}]),
        (images(CONV, Block("inverted_residual", width=4, hidden=5, squeeze=2), MEAN), 2,
         [{"width": 8}, {"width": 8, "hidden": 10, "squeeze": 4}, {}]),
        (images(CONV, CONV.replace(groups=2), CONV, MEAN), 2, [{"width": 4}, {"width": 4}, {"width": 8}, {}]),
        (rows(LINEAR.replace(width=50)), 1.1, [{"width": 55}]),
        (rows(LINEAR.replace(norm="layer"), LINEAR), 1.5, [{"width": 6}, {"width": 9}]),
        (rows(LINEAR.replace(norm="layer"), LINEAR), 2, [{"width": 12}, {"width": 12}]),
        (texts(LAYER), 1.5, [{"width": 8}, {"heads": 3, "hidden": 18}]),
        (texts(LAYER), 3, [{"width": 24}, {"heads": 6, "hidden": 36}]),
        (texts(LAYER, tied=0), 2, [{"width": 8}, {"heads": 4, "hidden": 24}]),
    ],
)  # fmt: skip
def test_all_grows_that_can(architecture: Architecture, ratio: float, sizes: list[dict[str, int]]) -> None:
    """Rounded up. Layer-normalised widths by whole numbers only; grouped convolutions and tied embeddings never."""
    network = seasoned(architecture)
    wider = moved(network, Move("widen", ratio=ratio))
    for block, expected in zip(wider.architecture.blocks, sizes, strict=True):
        assert {
            name: block.args[name] for name in ("width", "hidden", "heads", "squeeze") if block.args.get(name)
        } == expected
    assert_same(wider, network)


def test_sinusoidal_positions_keep_the_width_of_their_sequence() -> None:
    """Their waves depend on the width; heads and hidden units grow."""
    waves = TOKENS.replace(positions="sinusoidal")
    wider = moved_architecture(Architecture((6,), (waves, LAYER), (Head(9),), vocabulary=9), Move("widen", ratio=2))
    assert wider.blocks == (waves, LAYER.replace(heads=4, hidden=24))


@pytest.mark.parametrize(
    ("architecture", "ratio"),
    [
        (images(FLAT), 2.0),
        (Architecture((2, 8, 8), (CONV.replace(groups=2), MEAN), (Head(3),)), 2.0),
        (rows(LINEAR.replace(norm="layer")), 1.5),
        (Architecture((6,), (LINEAR, LINEAR.replace(shares=0)), (Head(3),)), 2.0),
    ],
)
def test_what_cannot_be_wider_is_refused(architecture: Architecture, ratio: float) -> None:
    """With the reasons that there are."""
    with pytest.raises(InvalidArchitecture, match=rf"nothing in this network can be {ratio:g} times as wide"):
        moved_architecture(architecture, Move("widen", ratio=ratio))


def test_widening_by_two_is_offered_where_one_and_a_half_is_not() -> None:
    """Normalised layers double."""
    normalised = rows(LINEAR.replace(norm="layer"))
    assert [move for move in possible_moves(normalised) if move.kind == "widen"] == [Move("widen", ratio=2)]
    assert [move for move in possible_moves(rows(LINEAR)) if move.kind == "widen"] == [Move("widen", ratio=1.5)]


def test_copies_part_only_if_they_are_parted() -> None:
    """A step of gradient descent moves two copies alike; after ``part_copies`` it does not."""
    network = seasoned(rows(NO_NORM))
    for part in (False, True):
        wider = moved(network, Move("widen", ratio=2)).train()
        if part:
            part_copies(wider, seed=0)
        wider(torch.rand(8, 6)).square().sum().backward()
        torch.optim.SGD(wider.parameters(), lr=0.1).step()
        first, copies = wider.state_dict()["block0.linear.weight"].chunk(2)
        assert torch.equal(first, copies) == (not part)


def test_parting_changes_little() -> None:
    """Each weight by about a hundredth, from the seed; zeros, biases and the global random state stay."""
    network = seasoned(images(CONV, CONV, MEAN, LINEAR))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network.state_dict()["head.weight"][0] = 0
    states = torch.get_rng_state()
    part_copies(network, seed=1)
    assert torch.equal(torch.get_rng_state(), states)
    after = network.state_dict()
    assert not after["head.weight"][0].any()
    ratio = after["block1.conv.weight"] / before["block1.conv.weight"]
    assert 0.005 < ratio.std().item() < 0.02
    assert torch.equal(after["block1.norms.0.weight"], before["block1.norms.0.weight"])
    assert torch.equal(after["head.bias"], before["head.bias"])
    again = build(network.architecture, seed=0)
    again.load_state_dict(before)
    again.state_dict()["head.weight"][0] = 0
    part_copies(again, seed=1)
    assert_equal_states(again, network)


# larger kernels


@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    "block",
    [
        CONV,
        CONV.replace(norm="none"),
        CONV.replace(groups=2),
        Block("residual", width=4, hidden=5, skip="projection"),
        Block("separable", width=4),
        Block("separable", width=4, kernels="shared", norm="none", activation="tanh"),
        Block("inverted_residual", width=4, hidden=6, squeeze=2),
    ],
)
def test_a_larger_kernel_changes_no_answer(block: Block, kernel: int, stride: int) -> None:
    """Whatever the kernel, the stride and the kind, over images and over signals; the new places are 0 and learn."""
    if block.op == "residual" and kernel % 2 == 0:  # cannot be
        return
    for shape, suffix in (((1, 8, 6), ""), ((1, 9), "1d")):
        blocks = (CONV, block.replace(kernel=kernel, stride=stride), MEAN)
        ops = [Block.from_json({**one.to_json(), "op": one.op + suffix}) for one in blocks]
        network = seasoned(Architecture(shape, tuple(ops), (Head(3),)))
        larger = moved(network, Move(KERNEL, 1))
        assert larger.architecture.blocks[1] == ops[1].replace(kernel=kernel + 2)
        assert_same(larger, network)
        grown = {
            name: parameter
            for name, parameter in larger.named_parameters()
            if parameter.shape != network.state_dict()[name].shape
        }
        assert len(grown) == (2 if block.op == "residual" else 1)
        larger.train()(example_input(larger.architecture, 8)).square().sum().backward()
        for name, parameter in grown.items():
            middle: Any = (..., *[slice(1, -1)] * (parameter.dim() - 2))
            assert torch.equal(parameter.detach()[middle], network.state_dict()[name])
            assert not parameter.detach()[..., 0].any()
            assert parameter.grad is not None
            assert parameter.grad[..., 0].any()


def test_all_users_of_a_kernel_see_as_far() -> None:
    """One kernel grows for both; where it is only used it cannot grow, and the other is named."""
    shared = images(CONV, CONV, CONV.replace(shares=1), MEAN)
    network = seasoned(shared)
    larger = moved(network, Move(KERNEL, 1))
    assert [block.args.get("kernel") for block in larger.architecture.blocks] == [3, 5, 5, None]
    assert_same(larger, network)
    assert [move.at for move in possible_moves(shared) if move.kind == KERNEL] == [0, 1]
    with pytest.raises(InvalidArchitecture, match="block 2 uses the kernel of block 1: let that one grow"):
        moved_architecture(shared, Move(KERNEL, 2))


@pytest.mark.parametrize(
    ("architecture", "at", "reason"),
    [
        (images(CONV, MEAN), 1, r"block 1 \(global_average_pool\) has no kernel that can grow"),
        (
            images(CONV.replace(kernel=15), MEAN),
            0,
            "cannot grow to 17: .* 8 wide, a kernel of more than 15 sees no more",
        ),
        (images(CONV, POOL, POOL, POOL, CONV, MEAN), 4, "cannot grow to 5: .* 1 wide"),
        (rows(LINEAR), 0, "no kernel"),
        (texts(LAYER), 1, "no kernel"),
    ],
)
def test_a_kernel_that_cannot_grow_is_refused(architecture: Architecture, at: int, reason: str) -> None:
    """With the reason."""
    with pytest.raises(InvalidArchitecture, match=reason):
        moved_architecture(architecture, Move(KERNEL, at))


# narrower


@pytest.mark.parametrize("ratio", [0.75, 0.5, 0.3])
def test_the_most_important_units_stay_when_a_network_becomes_narrower(ratio: float) -> None:
    """It is what pruning to that share of each layer leaves, weight for weight."""
    network = seasoned(images(CONV.replace(width=10), RESIDUAL.replace(width=10), MEAN, LINEAR))
    narrower = moved(network, Move("narrow", ratio=ratio))
    target = pruned_architecture(network.architecture, round(1 - ratio, 6))
    assert narrower.architecture == target
    assert target.blocks[0].width == round(10 * ratio + 0.4)
    assert_equal_states(narrower, prune(network, target, unit_scores(network, "l1")))


def test_narrowing_takes_back_what_widening_gave() -> None:
    """A copy of each unit comes and one of each pair leaves: the sizes are the old ones."""
    architecture = images(CONV, RESIDUAL.replace(hidden=6), MEAN, LINEAR)
    wider = moved_architecture(architecture, Move("widen", ratio=2))
    assert moved_architecture(wider, Move("narrow", ratio=0.5)) == architecture


def test_what_cannot_be_narrower_is_refused_and_not_offered() -> None:
    """Too few units, or none that may leave; two shares that leave the same are one move, by the larger share."""

    def offered(architecture: Architecture) -> list[float]:
        return [move.ratio for move in possible_moves(architecture) if move.kind == "narrow"]

    assert offered(rows(LINEAR.replace(width=8))) == [0.75, 0.5]
    assert offered(rows(LINEAR.replace(width=2))) == [0.5]
    assert offered(rows(LINEAR.replace(width=1))) == []
    with pytest.raises(
        InvalidArchitecture, match=r"nothing in this network can be 0\.75 times as wide: its layers have"
    ):
        moved_architecture(rows(LINEAR.replace(width=2)), Move("narrow", ratio=0.75))
    with pytest.raises(InvalidArchitecture, match=r"nothing in this network can be 0\.5 times as wide"):
        moved_architecture(images(FLAT), Move("narrow", ratio=0.5))


# own code


class BelowLargest(nn.Module):
    """A user's own block: a linear map of how far each feature is below the largest, times a scale of the place."""

    def __init__(self, in_width: int, width: int, *, uses: int = 1) -> None:
        super().__init__()
        self.linear = nn.Linear(in_width, width)
        self.scales = nn.ParameterList(nn.Parameter(torch.rand(width)) for _ in range(uses))

    def forward(self, x: torch.Tensor, use: int = 0) -> torch.Tensor:
        return self.linear(x - x.amax(1, keepdim=True)) * self.scales[use]  # type: ignore[no-any-return]


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "_trusted", set())


@pytest.mark.usefixtures("trusting")
def test_own_blocks_leave_and_keep_their_widths() -> None:
    """They can leave with what is private to their place; they and what comes to them are not widened."""
    mine = Block(BelowLargest, width=6)
    network = seasoned(rows(LINEAR, mine, mine.replace(shares=1), LINEAR))
    wider = moved(network, Move("widen", ratio=2))
    assert [block.width for block in wider.architecture.blocks] == [6, 6, 6, 12]
    assert_same(wider, network)
    old, new = network.state_dict(), moved(network, Move(REMOVE, 1)).state_dict()
    assert torch.equal(new["block1.scales.0"], old["block1.scales.1"])
    assert torch.equal(new["block1.linear.weight"], old["block1.linear.weight"])
    with pytest.raises(InvalidArchitecture, match="no layer can come behind block 1"):
        moved(network, Move(INSERT, 1))


def test_a_module_of_ones_own_has_no_moves() -> None:
    """It is not made of blocks: said so, for its description and for the module itself."""
    architecture = ModuleArchitecture.of("nets:make", {}, DataSpec((4,), 2))
    assert possible_moves(architecture) == ()
    with pytest.raises(InvalidArchitecture, match="made by nets:make"):
        moved_architecture(architecture, Move(REMOVE))
    with pytest.raises(UsageError, match="a Sequential was given"):
        moved(nn.Sequential(), Move(REMOVE))


# moves as data


def test_a_move_survives_json() -> None:
    """What a kind does not use is not kept, so equal moves are equal data."""
    for move in (Move(REMOVE, 3), Move(INSERT, 1), Move(KERNEL, 2), Move("widen", ratio=2), Move("narrow", ratio=0.5)):
        assert Move.from_json(json.loads(json.dumps(move.to_json()))) == move
    assert Move("widen", 3, 2) == Move("widen", ratio=2.0)
    assert Move("narrow", 3, 0.5) == Move("narrow", ratio=0.5)
    assert Move(KERNEL, 3, 7.0) == Move(KERNEL, 3)
    assert Move(REMOVE, 3, 7.0) == Move(REMOVE, 3)


@given(
    kind=st.sampled_from(["remove_layer", "insert_layer", "widen"]), at=st.integers(0, 99), ratio=st.floats(1.001, 9)
)
def test_moves_of_earlier_releases_are_read_as_they_were_written(kind: str, at: int, ratio: float) -> None:
    """The JSON of the kinds that there were is the same to the letter, so keys stay what they were."""
    written = {"kind": kind, "at": 0 if kind == "widen" else at, "ratio": ratio if kind == "widen" else 1.0}
    assert Move.from_json(written).to_json() == written


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"kind": "widern"}, "unknown move 'widern': did you mean 'widen'"),
        ({"kind": REMOVE, "at": -1}, "at the index of a block, from 0, -1 was given"),
        ({"kind": REMOVE, "at": True}, "from 0, True was given"),
        ({"kind": "widen"}, r"ratio above 1, such as 1\.5, 1\.0 was given"),
        ({"kind": "widen", "ratio": float("inf")}, "inf was given"),
        ({"kind": "narrow"}, r"above 0 and below 1, such as 0\.75, 1\.0 was given"),
        ({"kind": "narrow", "ratio": 0}, "below 1, such as 0.75, 0 was given"),
        ({"kind": "narrow", "ratio": float("nan")}, "nan was given"),
        ({"kind": "widen", "ratio": "2"}, "'2' was given"),
        ({"by": 2}, "not a move as paretonas writes it"),
    ],
)
def test_a_malformed_move_is_refused(arguments: dict[str, Any], reason: str) -> None:
    """With the rule and what came."""
    with pytest.raises(UsageError, match=reason):
        Move.from_json(arguments)


@pytest.mark.parametrize(
    "move",
    [Move(REMOVE, 1), Move(INSERT, 1), Move(KERNEL, 0), Move("widen", ratio=1.5), Move("narrow", ratio=0.5)],
)
def test_mode_precision_and_random_state_stay(move: Move) -> None:
    """In training and float64 before, so after; nothing is drawn; twice gives the same bits in tensors of its own."""
    network = seasoned(images(CONV, CONV, MEAN)).double().train()
    state = torch.get_rng_state()
    one, other = moved(network, move), moved(network, move)
    assert torch.equal(torch.get_rng_state(), state)
    assert one.training
    assert {parameter.dtype for parameter in one.parameters()} == {torch.float64}
    assert_equal_states(one, other)
    pointers = {tensor.data_ptr() for tensor in network.state_dict().values()}
    assert pointers.isdisjoint(tensor.data_ptr() for tensor in one.state_dict().values())


# helpers


def seasoned(architecture: Architecture, seed: int = 0) -> Network:
    """A network in evaluation mode whose normalisations have seen data and have scales and shifts."""
    network = build(architecture, seed=seed)
    assert isinstance(network, Network)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=draw))
        for number in range(2):
            network.train()(example_input(architecture, 8, seed=number))
    return network.eval()


def answers(network: nn.Module, architecture: Architecture) -> Iterator[torch.Tensor]:
    with torch.no_grad():
        given = network.eval()(example_input(architecture, 8, seed=9))
    yield from given.values() if isinstance(given, dict) else (given,)


def assert_same(network: Network, original: Network) -> None:
    """Both answer within 1e-5 in evaluation mode, of the scale of the answers where this is above 1."""
    pairs = zip(answers(network, original.architecture), answers(original, original.architecture), strict=True)
    for now, before in pairs:
        assert (now - before).abs().max() < 1e-5 * before.abs().max().clamp_min(1)


def assert_equal_states(network: nn.Module, other: nn.Module) -> None:
    one, two = network.state_dict(), other.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def check(network: Network, move: Move) -> None:
    """What must hold for one move of one network."""
    target = moved_architecture(network.architecture, move)
    assert Architecture.from_json(json.loads(json.dumps(target.to_json()))) == target
    assert target != network.architecture
    result = moved(network, move)
    assert result.architecture == target
    assert not result.training
    if move.kind in PRESERVING:
        assert_same(result, network)
    counted(result, target)
    exported(result, target)
