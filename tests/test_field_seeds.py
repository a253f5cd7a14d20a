"""Networks that the field starts its searches from, each as a point of a space."""

from typing import Any

import pytest
import torch
from optuna.trial import FixedTrial
from torch import nn

from paretonas.errors import InvalidArchitecture
from paretonas.objectives import Data, Lesson, Split, Target, Teacher, parameters, train
from paretonas.objectives.quantization import quantize
from paretonas.spaces import (
    Architecture,
    Block,
    ConvSpace,
    DataSpec,
    MLPSpace,
    Network,
    Training,
    build,
    prune,
    pruned_architecture,
    write_source,
)

MNIST, CIFAR, FLAT = DataSpec((1, 28, 28), 10), DataSpec((3, 32, 32), 10), DataSpec((784,), 10)
CONV_SPACE = ConvSpace(
    layers=(1, 6),
    stages=(1, 4),
    widths=[8, 16, 32, 64, 128],
    width_per=["network", "stage", "layer"],
    kernels=[1, 3, 5],
    norms=["batch", "none"],
    pooling=["max", "average", "none"],
    readout=["average", "flatten"],
    hidden_layers=(0, 5),
    hidden_widths=[64, 128],
)
MLP_SPACE = MLPSpace(layers=(0, 5), norms=["batch", "none"])


def lenet_style(more: int) -> Architecture:
    """Two convolutions with a max-pooling after each, a hidden layer of 128 units and ``more`` of them."""
    genes: dict[str, Any] = {
        "layers": 2,
        "stages": 2,
        "width_per": "layer",
        "layer0.width": 32,
        "layer1.width": 64,
        "norm": "none",
        "activation": "leaky_relu",
        "kernel": 3,
        "pooling": "max",
        "readout": "flatten",
        "hidden_layers": 1 + more,
        **{f"hidden{layer}.width": 128 for layer in range(1 + more)},
        "sharing": "none",
        "pruning": 0.0,
    }
    return CONV_SPACE.suggest(FixedTrial(genes), MNIST).architecture


def small_conv() -> Architecture:
    """Three stages of one convolution: 16, 32 and 64 channels on colour images."""
    genes: dict[str, Any] = {
        "layers": 3,
        "stages": 3,
        "width_per": "stage",
        "stage0.width": 16,
        "stage1.width": 32,
        "stage2.width": 64,
        "norm": "batch",
        "activation": "relu",
        "kernel": 3,
        "pooling": "max",
        "readout": "average",
        "hidden_layers": 0,
        "sharing": "none",
        "pruning": 0.0,
    }
    return CONV_SPACE.suggest(FixedTrial(genes), CIFAR).architecture


def single_layer() -> Architecture:
    """A linear classifier on flat images."""
    return MLP_SPACE.suggest(FixedTrial({"layers": 0}), FLAT).architecture


SEEDS = [*(pytest.param(lenet_style(more), id=f"lenet+{more}") for more in range(5)),
         pytest.param(small_conv(), id="conv"), pytest.param(single_layer(), id="single layer")]  # fmt: skip


@pytest.mark.parametrize("more", range(5))
def test_the_lenet_style_network_is_the_one_written_by_hand(more: int) -> None:
    """With the same weights it gives the outputs of the plain nn.Sequential, LeakyReLU at its slope of 0.01."""
    hidden = [nn.Sequential(nn.Linear(128, 128), nn.LeakyReLU(0.01)) for _ in range(more)]
    by_hand = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.LeakyReLU(0.01), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.LeakyReLU(0.01), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.LeakyReLU(0.01), *hidden, nn.Linear(128, 10),
    )  # fmt: skip
    network = build(lenet_style(more), seed=0)
    by_hand.load_state_dict(dict(zip(by_hand.state_dict(), network.state_dict().values(), strict=True)))
    x = torch.rand(2, 1, 28, 28)
    assert torch.equal(network(x), by_hand(x))


@pytest.mark.parametrize("more", range(5))
def test_parameters_of_the_lenet_style_network(more: int) -> None:
    """Convolutions, the hidden layer behind the flatten, the further ones, the classifier."""
    expected = (9 + 1) * 32 + (32 * 9 + 1) * 64 + (64 * 7 * 7 + 1) * 128 + more * (128 + 1) * 128 + (128 + 1) * 10
    assert parameters(build(lenet_style(more))) == expected


def test_parameters_of_the_small_convolutional_network() -> None:
    """Convolutions without bias, two numbers of normalisation a channel, the classifier."""
    expected = 9 * (3 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + (64 + 1) * 10
    assert parameters(build(small_conv())) == expected


def test_parameters_of_the_single_layer_classifier() -> None:
    """Nothing but the classifier: no blocks."""
    assert single_layer().blocks == ()
    assert parameters(build(single_layer())) == (784 + 1) * 10


def test_hidden_layers_of_equal_width_can_share() -> None:
    """Four more hidden layers of 128 units on one set of weights add the parameters of one."""
    genes = {"layers": 1, "stages": 1, "width_per": "network", "width": 8, "norm": "none", "activation": "relu",
             "kernel": 3, "pooling": "max", "readout": "flatten", "hidden_layers": 5, "sharing": "all", "pruning": 0.0,
             **{f"hidden{layer}.width": 128 for layer in range(5)}}  # fmt: skip
    architecture = CONV_SPACE.suggest(FixedTrial(genes), MNIST).architecture
    expected = (9 + 1) * 8 + (8 * 14 * 14 + 1) * 128 + (128 + 1) * 128 + (128 + 1) * 10
    assert parameters(build(architecture)) == expected


@pytest.mark.parametrize("architecture", SEEDS)
def test_a_seed_trains_a_step(architecture: Architecture) -> None:
    """One step on a batch lowers its loss."""
    network = build(architecture, seed=0).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    x = torch.rand(8, *architecture.input_shape, generator=torch.Generator().manual_seed(0))
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(x), torch.arange(8))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize("architecture", SEEDS)
def test_a_seed_is_exported(architecture: Architecture) -> None:
    """The exported network gives the same outputs."""
    names: dict[str, Any] = {}
    exec(compile(write_source(architecture, "A seed."), "net.py", "exec"), names)  # noqa: S102
    network, exported = build(architecture, seed=0).eval(), names["Net"]().eval()
    exported.load_state_dict(network.state_dict(), strict=True)
    x = torch.rand(2, *architecture.input_shape)
    assert torch.equal(exported(x), network(x))


# What the field does with them afterwards


def test_half_of_each_of_three_convolutions_leaves_and_the_rest_is_int8() -> None:
    """L1 pruning of 0.5 on 3 to 16 to 32 to 64 channels keeps the filters with the larger norms; int8 answers alike."""
    network = build(small_conv(), seed=0).eval()
    assert isinstance(network, Network)
    target = pruned_architecture(network.architecture, 0.5)
    smaller = prune(network, target)
    assert [block.width for block in smaller.architecture.blocks if block.op == "conv"] == [8, 16, 32]
    before, after = (one.state_dict()["block0.conv.weight"] for one in (network, smaller))
    assert torch.equal(after, before[before.abs().sum((1, 2, 3)).topk(8).indices.sort().values])
    x = torch.rand(64, *CIFAR.input_shape, generator=torch.Generator().manual_seed(1))
    int8 = quantize(smaller.eval(), [x])
    assert int8.weight_bytes < 0.35 * 4 * parameters(smaller)
    with torch.no_grad():
        exact, rounded = smaller(x), int8(x)
    assert float((exact - rounded).abs().max()) < 0.1 * float(exact.abs().max())


def flat_data() -> Data:
    """Rows of 784 numbers in ten classes: each class a random direction, with noise."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(10, 784, generator=draw)

    def split(rows: int) -> Split:
        y = torch.arange(rows) % 10
        return Split(directions[y] + 6 * torch.randn(rows, 784, generator=draw), y)

    names = tuple(map(str, range(10)))
    return Data(FLAT, (Target("head", "classes", names=names),), split(400), split(100), split(100), {})


def test_a_student_is_taught_on_784_inputs() -> None:
    """A student of few units comes nearer to the answers of a larger teacher than one that learns alone."""
    data = flat_data()
    teacher, *students = (
        build(FLAT.architecture([Block("linear", width=width)]), seed=seed)
        for seed, width in ((0, 128), (1, 8), (1, 8))
    )
    for _ in train(teacher, data, Training(epochs=8), seed=0):
        pass
    lesson = Lesson(Teacher(teacher, data), weight=0.9, temperature=4.0)
    apart = []
    for student, taught in zip(students, (lesson, None), strict=True):
        for _ in train(student, data, Training(epochs=8), seed=1, lesson=taught):
            pass
        student.eval()
        with torch.no_grad():
            x = data.validation.x if isinstance(data.validation, Split) else None
            assert x is not None
            soft = [nn.functional.log_softmax(network(x) / 4, 1) for network in (student, teacher.eval())]
        apart.append(float(nn.functional.kl_div(soft[0], soft[1], log_target=True, reduction="batchmean")))
    assert apart[0] < apart[1]


def test_convolutions_of_other_shapes_do_not_share() -> None:
    """3 to 16 and 16 to 32 channels: refused with the reason; 16 to 16 twice: one set of weights."""
    with pytest.raises(InvalidArchitecture, match="their op or numbers differ"):
        CIFAR.architecture([Block("conv", width=16), Block("conv", width=32, shares=0), Block("global_average_pool")])
    unequal = [Block("conv", width=16), Block("conv", width=16, shares=0), Block("global_average_pool")]
    with pytest.raises(InvalidArchitecture, match="only layers of equal shape can share"):
        build(CIFAR.architecture(unequal))
    equal = [
        Block("conv", width=16),
        Block("conv", width=16),
        Block("conv", width=16, shares=1),
        Block("global_average_pool"),
    ]
    network = build(CIFAR.architecture(equal))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 2
