"""Layers that share weights: what is tied, counted and trained once, and what stays private."""

import pytest
import torch
from torch import nn

from paretonas.errors import InvalidArchitecture
from paretonas.objectives import parameters
from paretonas.spaces import Architecture, Block, ConvSpace, DataSpec, Head, MLPSpace, Network, Space, build, shapes

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


def step(network: Network) -> None:
    """One step of gradient descent on random examples."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    x = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(network(x), torch.arange(8)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
