"""Parameters and MACs against formulas, one kind of layer at a time."""

import pytest
import torch
from torch import nn

from paretonas.objectives import COSTS, Deployed, macs, parameters, quantize
from paretonas.objectives.costs import file_bytes, size_bytes
from paretonas.spaces import Architecture, Block, Head, build, example_input, shapes

CLASSES = 10
MEAN, FLAT = Block("global_average_pool"), Block("flatten")


def costs(*blocks: Block, shape: tuple[int, ...] = (3, 8, 6)) -> tuple[int, int]:
    """Parameters and MACs, less those of the head."""
    architecture = Architecture(shape, blocks, (Head(CLASSES),))
    features = shapes(architecture)[-1][0]
    return parameters(build(architecture)) - (features + 1) * CLASSES, macs(architecture) - features * CLASSES


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("norm", "extra"), [("none", 5), ("batch", 2 * 5)])
def test_a_convolution(kernel: int, norm: str, extra: int) -> None:
    """in·out·kernel² weights, run at each of 8·6 pixels; a bias, or a scale and a shift, for each channel."""
    weights = 3 * 5 * kernel**2
    assert costs(Block("conv", width=5, kernel=kernel, norm=norm), MEAN) == (weights + extra, weights * 8 * 6)


@pytest.mark.parametrize(("norm", "extra"), [("none", 7), ("batch", 2 * 7)])
def test_a_linear_layer(norm: str, extra: int) -> None:
    """in·out weights, run once; a bias, or a scale and a shift, for each unit."""
    assert costs(Block("linear", width=7, norm=norm), shape=(12,)) == (12 * 7 + extra, 12 * 7)


def test_a_linear_layer_behind_a_flatten() -> None:
    """Each pixel of each channel is a feature."""
    assert costs(FLAT, Block("linear", width=7, norm="none")) == (3 * 8 * 6 * 7 + 7, 3 * 8 * 6 * 7)


def test_a_head() -> None:
    """A linear layer with bias; several heads add up."""
    one = Architecture((12,), (), (Head(4),))
    two = Architecture((12,), (), (Head(4), Head(2, "other")))
    assert (parameters(build(one)), macs(one)) == (12 * 4 + 4, 12 * 4)
    assert (parameters(build(two)), macs(two)) == (12 * 6 + 6, 12 * 6)


@pytest.mark.parametrize("op", ["max_pool", "average_pool"])
def test_pooling_is_free_and_makes_what_follows_cheaper(op: str) -> None:
    """A pooling has no weights and no MACs; the next convolution runs at a quarter of the pixels."""
    conv = Block("conv", width=5, norm="none")
    assert costs(Block(op), MEAN) == (0, 0)
    assert costs(Block(op), conv, MEAN) == (3 * 5 * 9 + 5, 3 * 5 * 9 * 4 * 3)
    assert costs(Block(op, size=2), FLAT) == (0, 0)


@pytest.mark.parametrize("activation", ["relu", "gelu", "hardswish", "mish"])
def test_an_activation_is_free(activation: str) -> None:
    """Neither weights nor MACs."""
    conv = Block("conv", width=5, norm="none", activation=activation)
    assert costs(conv, MEAN) == (3 * 5 * 9 + 5, 3 * 5 * 9 * 48)


def test_shared_convolutions_count_once_and_run_each_time() -> None:
    """Three uses: weights once, a norm for each use, MACs for each use at its own size."""
    conv = Block("conv", width=3)
    blocks = (conv, conv.replace(shares=0), Block("max_pool"), conv.replace(shares=0), MEAN)
    weights = 3 * 3 * 9
    assert costs(*blocks) == (weights + 3 * 2 * 3, weights * (48 + 48 + 12))


def test_shared_linear_layers_count_once_and_run_each_time() -> None:
    """Without normalisation the bias is shared as well."""
    linear = Block("linear", width=12, norm="none")
    assert costs(linear, linear.replace(shares=0), shape=(12,)) == (12 * 12 + 12, 2 * 12 * 12)


def test_sharing_changes_parameters_but_not_macs() -> None:
    """The same network with weights of their own for each layer costs the same time and more memory."""
    conv = Block("conv", width=3, norm="none")
    shared, own = costs(conv, conv.replace(shares=0), MEAN), costs(conv, conv, MEAN)
    assert shared[1] == own[1]
    assert own[0] - shared[0] == 3 * 3 * 9 + 3


def test_parameters_that_are_tied_by_hand_count_once() -> None:
    """Any module can be counted, and a parameter used in two places is one."""
    one = nn.Linear(4, 4)
    other = nn.Linear(4, 4)
    other.weight = one.weight
    assert parameters(nn.Sequential(one, other, one)) == 16 + 4 + 4


def test_buffers_are_no_parameters() -> None:
    """The running statistics of a norm are not trained."""
    assert parameters(nn.BatchNorm2d(5)) == 10


def test_counting_allocates_nothing() -> None:
    """A network that no memory holds is counted: 10¹² weights on the meta device."""
    huge = Architecture((1_000_000,), (Block("linear", width=1_000_000, norm="none"),), (Head(1),))
    assert macs(huge) == 10**12 + 10**6


def test_counting_leaves_the_global_random_state() -> None:
    """What the caller draws next does not depend on what was counted."""
    before = torch.get_rng_state()
    macs(Architecture((3, 8, 8), (Block("conv", width=5), FLAT), (Head(10),)))
    assert torch.equal(torch.get_rng_state(), before)


# as deployed


def deployed(*blocks: Block, int8: bool = False) -> Deployed:
    """A network of 6 x 5 pixels, as it leaves or as int8."""
    architecture = Architecture((2, 6, 5), blocks, (Head(CLASSES),))
    network = build(architecture, seed=0).eval()
    batches = [example_input(architecture, 16)]
    return Deployed(network, architecture, quantize(network, batches, method="weight_only") if int8 else None)


def test_bytes_of_a_network() -> None:
    """Four for each weight and each running statistic, eight for the counter of batches; the file has names too."""
    measured = COSTS["size_bytes"].measure(deployed(Block("conv", width=5), MEAN), None)
    weights, statistics = 2 * 5 * 9 + 2 * 5 + (5 + 1) * CLASSES, 2 * 5
    assert measured.value == 4 * (weights + statistics) + 8
    assert measured.value < measured.detail["file_bytes"] < measured.value + 1500


def test_bytes_of_shared_weights() -> None:
    """What two layers use, and what has two names, counts once."""
    linear = nn.Linear(4, 4)
    tied = nn.ModuleDict({"one": linear, "other": linear, "third": nn.Linear(4, 4)})
    assert (size_bytes(tied), file_bytes(tied) > size_bytes(tied)) == (4 * 2 * (16 + 4), True)


def test_bytes_of_an_int8_network() -> None:
    """One for each weight, four for the scale and the bias of each channel, and those of the graph's shapes."""
    part = deployed(Block("conv", width=16, norm="none"), Block("conv", width=16, norm="none"), MEAN, int8=True)
    measured = COSTS["size_bytes"].measure(part, None)
    weights = 2 * 16 * 9 + 16 * 16 * 9 + 16 * CLASSES
    channels = 16 + 16 + CLASSES
    assert weights + 8 * channels <= measured.value <= weights + 8 * channels + 100
    assert part.quantized is not None
    assert measured.detail == {"file_bytes": len(part.quantized.model)}
    assert part.answering is part.quantized


def test_parameters_other_than_zero() -> None:
    """Zeros among the weights do not count; they are parameters all the same."""
    part = deployed(Block("conv", width=5, norm="none"), MEAN)
    with torch.no_grad():
        part.network.get_parameter("block0.conv.weight")[:2] = 0
    nonzero, all_of_them = (COSTS[name].measure(part, None).value for name in ("nonzero_parameters", "parameters"))
    assert all_of_them - nonzero == 2 * 2 * 9
