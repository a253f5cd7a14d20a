"""Channels leave: which ones by the L1 norm, with what they are tied to, and what stays as it was."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretonas.objectives import macs, parameters
from paretonas.spaces import Architecture, Block, ConvSpace, DataSpec, Head, MLPSpace, build, prune, pruned_architecture
from paretonas.spaces.pruning import width_groups

GRAY = DataSpec((1, 8, 8), 10)
CONV, LINEAR = Block("conv", width=4), Block("linear", width=8)
MEAN, FLAT = Block("global_average_pool"), Block("flatten")


def images(*blocks: Block, channels: int = 1) -> Architecture:
    return Architecture((channels, 4, 4), blocks, (Head(3),))


def widths(architecture: Architecture) -> list[int]:
    return [block.width for block in architecture.blocks if block.width is not None]


# which channels


def test_the_channels_with_the_largest_l1_norms_stay_in_their_order() -> None:
    """Of norms 9, 90, 18 and 45, half stays: channels 1 and 3, with all that belongs to them."""
    network = build(images(CONV, Block("conv", width=3), MEAN), seed=0)
    scale = torch.tensor([1.0, -10.0, 2.0, 5.0])
    state = network.state_dict()
    state["block0.conv.weight"][:] = scale.view(4, 1, 1, 1).expand(4, 1, 3, 3)
    for number, name in enumerate(("weight", "bias", "running_mean", "running_var")):
        state[f"block0.norms.0.{name}"][:] = torch.arange(4.0) + 10 * number
    smaller = prune(network, images(Block("conv", width=2), Block("conv", width=3), MEAN)).state_dict()
    assert torch.equal(smaller["block0.conv.weight"][:, 0, 0, 0], torch.tensor([-10.0, 5.0]))
    for number, name in enumerate(("weight", "bias", "running_mean", "running_var")):
        assert torch.equal(smaller[f"block0.norms.0.{name}"], torch.tensor([1.0, 3.0]) + 10 * number)
    assert torch.equal(smaller["block1.conv.weight"], state["block1.conv.weight"][:, [1, 3]])
    assert torch.equal(smaller["block1.norms.0.weight"], state["block1.norms.0.weight"])
    assert torch.equal(smaller["head.weight"], state["head.weight"])


def test_the_sum_of_absolute_weights_decides_not_the_largest() -> None:
    """One large weight of 5 is less than nine of 1; a bias and the normalisation do not count."""
    network = build(images(Block("conv", width=2, norm="none"), MEAN), seed=0)
    state = network.state_dict()
    state["block0.conv.weight"].zero_()[0, 0, 0, 0] = 5.0
    state["block0.conv.weight"][1] = -1.0
    state["block0.conv.bias"][:] = torch.tensor([100.0, 0.0])
    smaller = prune(network, images(Block("conv", width=1, norm="none"), MEAN)).state_dict()
    assert torch.equal(smaller["block0.conv.weight"], -torch.ones(1, 1, 3, 3))
    assert torch.equal(smaller["block0.conv.bias"], torch.zeros(1))


def test_the_head_keeps_the_columns_of_the_channels_that_stay() -> None:
    """Behind a mean each channel is one feature."""
    network = build(images(CONV, MEAN), seed=0)
    state = network.state_dict()
    state["block0.conv.weight"][:] = torch.tensor([4.0, 1.0, 3.0, 2.0]).view(4, 1, 1, 1)
    smaller = prune(network, images(Block("conv", width=2), MEAN)).state_dict()
    assert torch.equal(smaller["head.weight"], state["head.weight"][:, [0, 2]])
    assert torch.equal(smaller["head.bias"], state["head.bias"])


@pytest.mark.parametrize("reader", ["head", "block2.linear"])
def test_behind_a_flatten_all_features_of_a_channel_stay(reader: str) -> None:
    """A 4x4 map gives 16 features a channel, one channel after the other."""
    tail = [LINEAR] if reader != "head" else []
    network = build(images(CONV, FLAT, *tail), seed=0)
    state = network.state_dict()
    state["block0.conv.weight"][:] = torch.tensor([4.0, 1.0, 3.0, 2.0]).view(4, 1, 1, 1)
    smaller = prune(network, images(Block("conv", width=2), FLAT, *tail)).state_dict()
    kept = [*range(16), *range(32, 48)]
    assert torch.equal(smaller[f"{reader}.weight"], state[f"{reader}.weight"][:, kept])


def test_silent_channels_behind_a_flatten_leave_without_a_trace() -> None:
    """Without normalisation and with ReLU, a channel of zeros gives zeros, and the scores stay what they were."""
    plain = Block("conv", width=6, norm="none", activation="relu")
    hidden = Block("linear", width=9, norm="none", activation="relu")
    network = build(images(plain, Block("max_pool"), plain.replace(width=5), FLAT, hidden, channels=3), seed=0).eval()
    state = network.state_dict()
    silent = {"block0.conv": [0, 2, 5], "block2.conv": [1, 4], "block4.linear": [0, 3, 4, 8]}
    for name, channels in silent.items():
        state[f"{name}.weight"][channels] = 0
        state[f"{name}.bias"][channels] = 0
    target = images(
        plain.replace(width=3), Block("max_pool"), plain.replace(width=3), FLAT, hidden.replace(width=5), channels=3
    )
    smaller = prune(network, target)
    x = torch.rand(5, 3, 4, 4)
    torch.testing.assert_close(smaller(x), network(x))
    assert torch.equal(smaller.state_dict()["block2.conv.weight"],
                       state["block2.conv.weight"][[0, 2, 3]][:, [1, 3, 4]])  # fmt: skip


# how many


@pytest.mark.parametrize(
    ("ratio", "left"), [(0.0, 8), (0.1, 8), (0.125, 7), (0.25, 6), (0.5, 4), (0.7, 3), (0.87, 2), (0.999, 1)]
)
def test_a_ratio_takes_its_whole_channels(ratio: float, left: int) -> None:
    """Of 8 channels the share that leaves is rounded down, and one always stays."""
    assert widths(pruned_architecture(images(Block("conv", width=8), MEAN), ratio)) == [left]


def test_a_high_ratio_leaves_a_channel_of_every_layer() -> None:
    """The narrowest network still runs."""
    architecture = images(Block("conv", width=1), CONV, FLAT, LINEAR, Block("linear", width=64))
    deployed = pruned_architecture(architecture, 0.99)
    assert widths(deployed) == [1, 1, 1, 1]
    assert prune(build(architecture, seed=0), deployed)(torch.rand(2, 1, 4, 4)).shape == (2, 3)


def test_a_ratio_of_0_is_the_identity() -> None:
    """The architecture is the same, and so is every tensor."""
    architecture = images(CONV, CONV, CONV.replace(shares=1), FLAT, LINEAR)
    assert pruned_architecture(architecture, 0.0) == architecture
    network = build(architecture, seed=0)
    state = network.state_dict()
    same = prune(network, architecture).state_dict()
    assert same.keys() == state.keys()
    assert all(torch.equal(same[name], state[name]) for name in state)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), ratios=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)))
def test_more_pruning_never_leaves_a_larger_network(seed: int, ratios: tuple[float, float]) -> None:
    """Widths, parameters and MACs fall with the ratio."""
    architecture = ConvSpace(hidden_layers=(0, 2), readout=["average", "flatten"]).sample(GRAY, seed=seed).architecture
    less, more = (pruned_architecture(architecture, ratio) for ratio in sorted(ratios))
    assert all(a >= b for a, b in zip(widths(less), widths(more), strict=True))
    assert parameters(build(less)) >= parameters(build(more))
    assert macs(less) >= macs(more)


# what is tied


def test_all_users_of_a_shared_weight_lose_the_same_channels() -> None:
    """What comes into a shared convolution and what leaves it are one set of channels, scored together."""
    architecture = images(CONV, CONV, CONV.replace(shares=1), MEAN)
    network = build(architecture, seed=0)
    state = network.state_dict()
    state["block0.conv.weight"][:] = torch.tensor([9.0, 1.0, 1.0, 8.0]).view(4, 1, 1, 1)  # norms 81, 9, 9, 72
    state["block1.conv.weight"][:] = torch.tensor([0.1, 3.0, 0.2, 0.1]).view(4, 1, 1, 1)  # norms 3.6, 108, 7.2, 3.6
    deployed = pruned_architecture(architecture, 0.5)
    smaller = prune(network, deployed)
    assert [block.shares for block in deployed.blocks] == [None, None, 1, None]
    assert widths(deployed) == [2, 2, 2]
    kept = smaller.state_dict()
    assert torch.equal(kept["block0.conv.weight"], state["block0.conv.weight"][[0, 1]])  # 84.6 and 117
    assert torch.equal(kept["block1.conv.weight"], state["block1.conv.weight"][[0, 1]][:, [0, 1]])
    assert torch.equal(kept["head.weight"], state["head.weight"][:, [0, 1]])
    assert smaller(torch.rand(2, 1, 4, 4)).shape == (2, 3)


def test_each_use_keeps_its_own_normalisation() -> None:
    """The private norms of a shared layer lose the same channels and keep their own numbers."""
    architecture = images(CONV, CONV, CONV.replace(shares=1), MEAN)
    network = build(architecture, seed=0)
    state = network.state_dict()
    state["block0.conv.weight"][:] = torch.tensor([1.0, 100.0, 1.0, 100.0]).view(4, 1, 1, 1)
    for use in range(2):
        state[f"block1.norms.{use}.running_mean"][:] = torch.arange(4.0) + 10 * use
    kept = prune(network, pruned_architecture(architecture, 0.5)).state_dict()
    assert kept["block1.norms.0.running_mean"].tolist() == [1, 3]
    assert kept["block1.norms.1.running_mean"].tolist() == [11, 13]


def test_groups_of_a_plain_network_are_its_layers() -> None:
    """What leaves one layer is what comes into the next; only the input is fixed."""
    groups = width_groups(images(CONV, MEAN, LINEAR, channels=3))
    assert groups.before == (-1, 0, 0)
    assert groups.after == (0, 0, 2)
    assert groups.heads == (2,)
    assert groups.size == {-1: 3, 0: 4, 2: 8}
    assert groups.fixed == {-1}


# what is never pruned


def test_input_channels_and_class_scores_stay() -> None:
    """The pruned network takes the same examples and answers the same classes."""
    architecture = images(CONV, FLAT, LINEAR, channels=3)
    deployed = pruned_architecture(architecture, 0.9)
    assert deployed.input_shape == (3, 4, 4)
    assert deployed.heads == architecture.heads
    kept = prune(build(architecture, seed=0), deployed).state_dict()
    assert kept["block0.conv.weight"].shape == (1, 3, 3, 3)
    assert kept["head.weight"].shape == (3, 1)
    assert kept["head.bias"].shape == (3,)


def test_layers_tied_to_the_input_stay() -> None:
    """A layer that shares the weights of the first gives as many channels as come into the network."""
    tied = Block("conv", width=3)
    architecture = images(tied, tied.replace(shares=0), CONV, MEAN, channels=3)
    deployed = pruned_architecture(architecture, 0.75)
    assert widths(deployed) == [3, 3, 1]
    network = build(architecture, seed=0)
    kept = prune(network, deployed).state_dict()
    assert torch.equal(kept["block0.conv.weight"], network.state_dict()["block0.conv.weight"])


def test_the_first_layer_of_a_square_mlp_is_tied_to_its_input() -> None:
    """With as many units as features, every layer shares with the first, and none can be pruned."""
    space = MLPSpace(layers=3, widths=16, width_per="network", sharing="all", pruning=0.5)
    candidate = space.sample(DataSpec((16,), 3))
    assert candidate.deployed == candidate.architecture


def test_layers_tied_across_a_flatten_stay() -> None:
    """Two layers share that see four features a channel and one: neither can lose some, the others can."""
    wide, free = Block("linear", width=8), Block("linear", width=10)
    blocks = (CONV, Block("conv", width=2), Block("max_pool"), FLAT, wide, wide.replace(shares=4), free)
    architecture = Architecture((1, 4, 4), blocks, (Head(3),))
    deployed = pruned_architecture(architecture, 0.5)
    assert widths(deployed) == [2, 2, 8, 8, 5]
    network = build(architecture, seed=0)
    x = torch.rand(2, 1, 4, 4)
    assert prune(network, deployed)(x).shape == network(x).shape


# what stays as it was


def test_the_network_that_is_pruned_is_not_changed() -> None:
    """Its weights, its architecture and its mode stay, and the smaller one has tensors of its own."""
    architecture = images(CONV, FLAT, LINEAR)
    network = build(architecture, seed=0).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    smaller = prune(network, pruned_architecture(architecture, 0.5))
    with torch.no_grad():
        for parameter in smaller.parameters():
            parameter.zero_()
    assert network.architecture == architecture
    assert not network.training
    after = network.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_is_kept(training: bool) -> None:  # noqa: FBT001
    """A network in training is pruned to one in training, one in evaluation to one in evaluation."""
    architecture = images(CONV, MEAN)
    assert prune(build(architecture).train(training), pruned_architecture(architecture, 0.5)).training == training


def test_pruning_leaves_the_global_random_state() -> None:
    """Pruning draws nothing: what the caller draws next does not depend on it."""
    architecture = images(CONV, MEAN)
    network = build(architecture, seed=0)
    before = torch.get_rng_state()
    prune(network, pruned_architecture(architecture, 0.5))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_precision_is_kept() -> None:
    """A network in float64 is pruned to one in float64."""
    architecture = images(CONV, MEAN)
    network = build(architecture, seed=0).double()
    smaller = prune(network, pruned_architecture(architecture, 0.5))
    assert {parameter.dtype for parameter in smaller.parameters()} == {torch.float64}
