"""Units leave: which ones, how many, with what they are tied to, and what stays as it was."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from paretonas.errors import UsageError
from paretonas.objectives import macs, parameters
from paretonas.spaces import (
    Architecture,
    Block,
    ConvSpace,
    DataSpec,
    Head,
    MLPSpace,
    Network,
    Space,
    TransformerSpace,
    build,
    example_input,
    global_target,
    prune,
    pruned_architecture,
    target_within,
    unit_scores,
)
from paretonas.spaces.groups import width_groups
from paretonas.spaces.importance import CRITERIA
from paretonas.spaces.pruning import LEAST, Scores

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


# every way of ranking and of saying how many, over random networks

SIZES = ("width", "hidden", "heads", "squeeze")
CONVS = ConvSpace(
    layers=(1, 4),
    widths=[1, 3, 8],
    width_per="layer",
    blocks=["conv", "residual", "separable", "inverted_residual"],
    groups=[1, 2],
    expansions=[1, 2],
    squeeze=[0.0, 0.5],
    pooling=["max", "stride", "none"],
    readout=["average", "flatten"],
    hidden_layers=(0, 1),
    hidden_widths=4,
    sharing=["none", "all", "cycle"],
    trunk=[0.0, 0.5, 1.0],
)
MLPS = MLPSpace(
    layers=(0, 4), widths=[1, 6, 9], blocks=["linear", "residual"], norms=["batch", "layer"], sharing=["none", "all"]
)
TRANSFORMERS = TransformerSpace(
    layers=(1, 3),
    widths=[4, 6],
    heads=[1, 3],
    head_widths=2,
    ratios=[1, 2],
    norms=["layer", "rms"],
    norm_places=["pre", "post"],
    positions=["learned", "sinusoidal", "rotary"],
    embedding_widths=[0, 3],
    patch_sizes=4,
    hidden_layers=(0, 1),
    hidden_widths=4,
    sharing=["none", "all"],
)
TWO = (Head(3, "kind"), Head(2, "sign"))
DRAWN: list[tuple[Space, DataSpec]] = [
    (CONVS, GRAY),
    (CONVS, DataSpec((2, 16), TWO)),
    (MLPS, DataSpec((6,), 3)),
    (TRANSFORMERS, DataSpec((5,), 3, vocabulary=7)),
    (TRANSFORMERS, DataSpec((5,), 7, vocabulary=7, per_position=True)),
    (TRANSFORMERS, DataSpec((2, 16), TWO)),
]
RATIOS = st.floats(0.01, 0.99)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A random network of any family, with random weights."""
    space, data = draw(st.sampled_from(DRAWN))
    network = build(space.sample(data, seed=draw(st.integers(0, 2**20))).architecture, seed=0)
    assert isinstance(network, Network)
    return network.eval()


def sizes(architecture: Architecture) -> list[int]:
    """Widths, hidden units, heads and squeezing units, in order."""
    return [int(block.args[name]) for block in architecture.blocks for name in SIZES if block.args.get(name)]


def units(architecture: Architecture) -> int:
    return sum(width_groups(architecture).prunable.values())


def count(architecture: Architecture) -> int:
    with torch.device("meta"):
        return parameters(build(architecture))


@settings(deadline=None, max_examples=30)
@given(network=networks(), ratio=RATIOS, criterion=st.sampled_from(CRITERIA))
def test_what_leaves_globally_is_an_ordinary_network(network: Network, ratio: float, criterion: str) -> None:
    """It builds, has the parameters that it says, runs, and can be pruned again; no size grows, each keeps a unit."""
    ones = {name: torch.ones_like(parameter) for name, parameter in network.named_parameters()}
    scores = unit_scores(network, criterion, gradients=[ones])
    target = global_target(network.architecture, scores, ratio)
    smaller = prune(network, target, scores)
    assert smaller.architecture == target
    assert parameters(smaller) == count(target) <= parameters(network)
    assert macs(target) <= macs(network.architecture)
    assert all(1 <= after <= before for after, before in zip(sizes(target), sizes(network.architecture), strict=True))
    lost = units(network.architecture) - units(target)
    assert lost <= int(units(network.architecture) * ratio)
    again = prune(smaller, global_target(target, unit_scores(smaller), 0.5))
    x = example_input(network.architecture, 2)
    for each in (smaller, again):
        outputs = each(x)
        answers = outputs if isinstance(outputs, dict) else {target.heads[0].name: outputs}
        assert all(answer.isfinite().all() for answer in answers.values())
        assert [answers[head.name].shape[-1] for head in target.heads] == [head.outputs for head in target.heads]


@settings(deadline=None, max_examples=15)
@given(network=networks(), ratios=st.tuples(RATIOS, RATIOS))
def test_a_higher_global_ratio_leaves_no_more_of_anything(network: Network, ratios: tuple[float, float]) -> None:
    """Every size and the parameters fall with the ratio."""
    scores = unit_scores(network, "l2")
    less, more = (global_target(network.architecture, scores, ratio) for ratio in sorted(ratios))
    assert all(after <= before for after, before in zip(sizes(more), sizes(less), strict=True))
    assert count(more) <= count(less)


@settings(deadline=None, max_examples=15)
@given(network=networks(), share=st.floats(0.2, 1.0))
def test_a_bound_is_met_by_the_least_pruned_network(network: Network, share: float) -> None:
    """It fits, and with one unit more it would not."""
    architecture, scores = network.architecture, unit_scores(network, "l2")
    bound = share * count(architecture)
    try:
        target = target_within(architecture, scores, lambda target: count(target) <= bound)
    except UsageError:
        assert count(global_target(architecture, scores, 0.999)) > bound
        return
    assert count(target) <= bound
    lost = units(architecture) - units(target)
    assert lost == 0 or count(before(architecture, scores, lost)) > bound


def before(architecture: Architecture, scores: Scores, lost: int) -> Architecture:
    """The global target that has lost one unit less."""
    ratio = (lost - 0.5) / units(architecture)
    return global_target(architecture, scores, ratio) if ratio * units(architecture) >= 1 else architecture


@settings(deadline=None, max_examples=10)
@given(network=networks(), share=st.floats(0.2, 1.0))
def test_a_bound_can_be_met_by_one_ratio_for_all_layers(network: Network, share: float) -> None:
    """It is the target of a ratio, it fits, and the next smaller ratio that differs does not."""
    architecture = network.architecture
    bound = share * count(architecture)
    steps = list(
        dict.fromkeys(pruned_architecture(architecture, step / 144 + 1e-9) for step in range(144))
    )  # all sizes divide 144
    fitting = [target for target in steps if count(target) <= bound]
    if not fitting:
        with pytest.raises(UsageError, match=f"of {count(steps[-1])} parameters"):
            target_within(architecture, {}, lambda target: count(target) <= bound, scope="layer")
    else:
        assert target_within(architecture, {}, lambda target: count(target) <= bound, scope="layer") == fitting[0]


# known targets


def test_the_lowest_of_all_layers_leave_by_their_share_of_the_mean() -> None:
    """Of 4 and 6 units half leaves: of scores 100 times as large in one layer, those below the mean of their own."""
    architecture = images(CONV, Block("conv", width=6), MEAN)
    scores: Scores = {0: torch.tensor([400.0, 400.0, 350.0, 450.0]), 1: torch.tensor([1.0, 9.0, 2.0, 3.0, 1.0, 8.0])}
    assert widths(global_target(architecture, scores, 0.4)) == [4, 2]
    assert widths(global_target(architecture, scores, 0.5)) == [3, 2]


def test_a_tenth_of_each_layer_stays() -> None:
    """However little its units count, and at least one of them."""
    architecture = images(Block("conv", width=30), Block("conv", width=4), Block("conv", width=25), MEAN)
    scores: Scores = {0: torch.zeros(30), 1: torch.zeros(4), 2: torch.arange(25.0)}
    assert LEAST == 0.1
    assert widths(global_target(architecture, scores, 0.55)) == [3, 1, 23]
    assert widths(global_target(architecture, scores, 0.99)) == [3, 1, 3]


def test_three_convolutions_lose_half_of_their_filters_by_l1() -> None:
    """3 to 16 to 32 to 64: the filters with the largest sums stay, in their order, and read those that stay."""
    blocks = [Block("conv", width=width, norm="none") for width in (16, 32, 64)]
    architecture = images(*blocks, MEAN, channels=3)
    deployed = pruned_architecture(architecture, 0.5)
    assert widths(deployed) == [8, 16, 32]
    network = build(architecture, seed=0)
    smaller, state, read = prune(network, deployed), network.state_dict(), torch.arange(3)
    for index in range(3):
        weight = state[f"block{index}.conv.weight"]
        stays = weight.abs().sum((1, 2, 3)).sort().indices[len(weight) // 2 :].sort().values
        assert torch.equal(smaller.state_dict()[f"block{index}.conv.weight"], weight[stays][:, read])
        read = stays
    convolutions = 8 * 3 * 9 + 8 + 16 * 8 * 9 + 16 + 32 * 16 * 9 + 32
    assert parameters(smaller) == convolutions + 32 * 3 + 3


def test_given_scores_decide_which_units_stay() -> None:
    """Not the norms of the weights."""
    network = build(images(CONV, MEAN), seed=0)
    scores: Scores = {0: torch.tensor([0.0, 5.0, 1.0, 2.0])}
    smaller = prune(network, images(Block("conv", width=2), MEAN), scores).state_dict()
    assert torch.equal(smaller["head.weight"], network.state_dict()["head.weight"][:, [1, 3]])


# what is tied, across sums, sequences and towers


def test_a_residual_sum_loses_one_set_of_channels() -> None:
    """The stem, the blocks that add to it, and the head; each block has hidden channels of its own."""
    block = Block("residual", width=4, hidden=6)
    groups = width_groups(images(CONV, block, block, MEAN))
    assert groups.size == {-1: 1, 0: 4, (1, "hidden"): 6, (2, "hidden"): 6}
    assert groups.after == (0, 0, 0, 0)
    assert groups.heads == (0,)


def test_a_depthwise_convolution_loses_the_channels_that_come_to_it() -> None:
    """Its kernels and its normalisation are those of the channels that stay."""
    network = build(images(CONV, Block("separable", width=5), MEAN), seed=0)
    state = network.state_dict()
    state["block0.conv.weight"][:] = torch.tensor([1.0, 4.0, 2.0, 3.0]).view(4, 1, 1, 1)
    kept = prune(network, images(Block("conv", width=2), Block("separable", width=5), MEAN)).state_dict()
    assert torch.equal(kept["block1.depthwise.weight"], state["block1.depthwise.weight"][[1, 3]])
    assert torch.equal(kept["block1.pointwise.weight"], state["block1.pointwise.weight"][:, [1, 3]])
    assert kept["block1.norms1.0.running_var"].shape == (2,)


def test_squeezing_units_leave_where_all_layers_compete() -> None:
    """The rows of the one layer and the columns of the other; where each loses its share they stay, as ever."""
    block = Block("inverted_residual", width=4, hidden=6, squeeze=4)
    architecture = images(CONV, block, MEAN)
    assert pruned_architecture(architecture, 0.5).blocks[1].args["squeeze"] == 4
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    scores = {group: torch.ones(len(score)) for group, score in unit_scores(network).items()}
    scores[1, "squeeze"] = torch.tensor([0.1, 5.0, 0.2, 6.0])
    target = global_target(architecture, scores, 2.5 / 18)
    assert target == images(CONV, block.resized(squeeze=2), MEAN)
    kept, state = prune(network, target, scores).state_dict(), network.state_dict()
    inside = "block1.excitation"
    assert torch.equal(kept[f"{inside}.squeeze.weight"], state[f"{inside}.squeeze.weight"][[1, 3]])
    assert torch.equal(kept[f"{inside}.excite.weight"], state[f"{inside}.excite.weight"][:, [1, 3]])


def text(*layers: Block, tied: bool, bottleneck: int = 0, positions: str = "learned") -> Architecture:
    """A language model over seven tokens, of width 6."""
    blocks = (Block("embedding", width=6, vocabulary=7, length=5, bottleneck=bottleneck, positions=positions), *layers)
    return Architecture((5,), blocks, (Head(7, tied=0 if tied else None),), vocabulary=7)


LAYER = Block("transformer", heads=2, head_width=3, hidden=8, norm="none", causal=True)


@pytest.mark.parametrize("bottleneck", [0, 3])
@pytest.mark.parametrize("tied", [True, False])
def test_silent_numbers_of_a_sequence_leave_without_a_trace(tied: bool, bottleneck: int) -> None:  # noqa: FBT001
    """Where nothing is added to two of six numbers, four give the same; all users of the shared layer lose them."""
    architecture = text(LAYER, LAYER.replace(shares=1), tied=tied, bottleneck=bottleneck)
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    state, silent = network.state_dict(), [1, 4]
    entry = ["block0.project.weight", "block0.project.bias"] if bottleneck else []
    for name in ["block1.attention.out", "block1.feed_forward.leave"]:
        entry += [f"{name}.weight", f"{name}.bias"]
    for name in entry:
        state[name][silent] = 0
    for name in [] if bottleneck else ["block0.tokens.weight", "block0.positions.weight"]:
        state[name][:, silent] = 0
    target = architecture.with_blocks([architecture.blocks[0].resized(width=4), *architecture.blocks[1:]])
    smaller = prune(network, target)
    assert [head.tied for head in smaller.architecture.heads] == [0 if tied else None]
    assert parameters(smaller) == count(target) < parameters(network)
    x = example_input(architecture, 3)
    torch.testing.assert_close(smaller(x), network(x))


def test_a_tied_head_behind_another_layer_ties_its_units_too() -> None:
    """Scores by the embedding's weights need as many numbers as it has, wherever these come from."""
    wide = Block("linear", width=6)
    blocks = (Block("embedding", width=6, vocabulary=7, length=5), Block("mean_positions"), wide.replace(width=9), wide)
    architecture = Architecture((5,), blocks, (Head(7, tied=0),), vocabulary=7)
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    assert widths(pruned_architecture(architecture, 0.5)) == [6, 5, 6]
    target = global_target(architecture, unit_scores(network), 0.5)
    left = widths(target)
    assert left[0] == left[2] < 6
    assert prune(network.eval(), target)(example_input(architecture, 2)).shape == (2, 7)


@pytest.mark.parametrize(
    ("positions", "bottleneck", "whole"),
    [("learned", 0, False), ("none", 0, False), ("sinusoidal", 0, True), ("sinusoidal", 3, False)],
)
def test_a_sequence_with_waves_added_stays_whole(positions: str, bottleneck: int, whole: bool) -> None:  # noqa: FBT001
    """The waves are other ones at another width, unless they are added before the projection to it."""
    groups = width_groups(text(LAYER, tied=True, bottleneck=bottleneck, positions=positions))
    assert (0 in groups.fixed) == whole
    assert (1, "heads") in groups.prunable


def test_towers_of_two_heads_lose_units_of_their_own() -> None:
    """The trunk in common is one group for both, and each reads what stays of it."""
    blocks = (CONV, MEAN, LINEAR, Block("linear", width=6, follows=1))
    architecture = Architecture((1, 4, 4), blocks, (Head(3, "kind", follows=2), Head(2, "sign")))
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    state = network.state_dict()
    scores: Scores = {0: torch.tensor([2.0, 9.0, 1.0, 8.0]), 2: torch.ones(8), 3: torch.ones(6)}
    target = architecture.with_blocks([Block("conv", width=2), *blocks[1:]])
    kept = prune(network, target, scores).state_dict()
    for reader in ("block2", "block3"):
        assert torch.equal(kept[f"{reader}.linear.weight"], state[f"{reader}.linear.weight"][:, [1, 3]])


# bad input


@pytest.mark.parametrize("ratio", [0, 0.0, 1, 1.5, -0.1, float("nan"), float("inf"), "0.5"])
def test_a_ratio_is_between_0_and_1(ratio: float) -> None:
    """Both ways of pruning by a ratio refuse others; of 0, one of them leaves the network as it is."""
    architecture = images(CONV, MEAN)
    scores: Scores = {0: torch.arange(4.0)}
    with pytest.raises(UsageError, match="a pruning ratio is above 0 and below 1"):
        global_target(architecture, scores, ratio)
    if ratio != 0:
        with pytest.raises(UsageError, match="a pruning ratio is above 0 and below 1"):
            pruned_architecture(architecture, ratio)


def test_a_bound_that_cannot_be_met_is_refused_with_the_least_that_can() -> None:
    """One channel of ten and what belongs to it: 9 weights, 2 of the normalisation, 6 of the head."""
    architecture = images(Block("conv", width=10), MEAN)
    scores: Scores = {0: torch.arange(10.0)}
    for scope in ("global", "layer"):
        with pytest.raises(UsageError, match="of 17 parameters, does not fit"):
            target_within(architecture, scores, lambda target: count(target) < 17, scope=scope)


def test_a_network_that_fits_is_not_pruned() -> None:
    """The least pruned one that fits is itself."""
    architecture = images(CONV, MEAN)
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    assert target_within(architecture, unit_scores(network), lambda _: True) == architecture


def test_an_unknown_scope_is_refused() -> None:
    """With all there are."""
    with pytest.raises(UsageError, match="there is layer, global"):
        target_within(images(CONV, MEAN), {}, lambda _: True, scope="everywhere")


@pytest.mark.parametrize(
    "target",
    [images(Block("conv", width=5), MEAN), images(Block("conv", width=2, kernel=5), MEAN), images(MEAN), images(FLAT)],
)
def test_a_network_is_pruned_to_its_own_architecture_alone(target: Architecture) -> None:
    """Not to a wider one, nor to one of other blocks."""
    with pytest.raises(UsageError, match="its own architecture with smaller sizes"):
        prune(build(images(CONV, MEAN), seed=0), target)
