"""Parameters and MACs against formulas, one kind of layer at a time."""

from typing import Any

import pytest
import torch
from safetensors.torch import save
from test_families import FAMILIES, sampled
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from paretonas import own
from paretonas.objectives import Deployed, macs, parameters, quantize
from paretonas.objectives.costs import file_bytes, on_meta, size_bytes
from paretonas.objectives.objective import COUNTED
from paretonas.spaces import (
    Architecture,
    Block,
    DataSpec,
    Head,
    ModuleArchitecture,
    build,
    example_input,
    shapes,
)
from paretonas.storage import weights_in_bytes

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


PIXELS, HALF = 8 * 6, 4 * 3


@pytest.mark.parametrize(
    ("block", "weights", "times"),
    [  # over 3 channels of 8·6 pixels
        (Block("conv", width=6, groups=3, norm="none"), 3 * 2 * 9 + 6, 3 * 2 * 9 * PIXELS),
        (Block("conv", width=5, stride=2, norm="none"), 3 * 5 * 9 + 5, 3 * 5 * 9 * HALF),
        (Block("residual", width=3, hidden=7, norm="none"), 2 * 3 * 7 * 9 + 7 + 3, 2 * 3 * 7 * 9 * PIXELS),
        (
            Block("residual", width=5, hidden=7, stride=2, skip="projection"),
            (3 * 7 + 7 * 5) * 9 + 3 * 5 + 2 * (7 + 5 + 5),
            ((3 * 7 + 7 * 5) * 9 + 3 * 5) * HALF,
        ),
        (Block("separable", width=5, norm="none"), 3 * 9 + 3 + 3 * 5 + 5, (3 * 9 + 3 * 5) * PIXELS),
        (Block("separable", width=5, kernels="shared"), 9 + 2 * 3 + 3 * 5 + 2 * 5, (3 * 9 + 3 * 5) * PIXELS),
        (
            Block("inverted_residual", width=5, hidden=7, squeeze=2, stride=2, norm="none"),
            3 * 7 + 7 + 7 * 9 + 7 + (7 * 2 + 2) + (2 * 7 + 7) + 7 * 5 + 5,
            3 * 7 * PIXELS + (7 * 9 + 7 * 5) * HALF + 2 * 7 * 2,
        ),
    ],
    ids=str,
)
def test_blocks_for_images(block: Block, weights: int, times: int) -> None:
    """Each convolution at the pixels that it gives; in a squeeze and excitation two linear layers run once."""
    assert costs(block, MEAN) == (weights, times)


@pytest.mark.parametrize(
    ("block", "weights", "times"),
    [  # over 3 channels of 12 steps
        (Block("conv1d", width=5, kernel=5, norm="none"), 3 * 5 * 5 + 5, 3 * 5 * 5 * 12),
        (Block("residual1d", width=3, hidden=7, norm="none"), 2 * 3 * 7 * 3 + 7 + 3, 2 * 3 * 7 * 3 * 12),
        (Block("separable1d", width=5, stride=2, norm="none"), 3 * 3 + 3 + 3 * 5 + 5, (3 * 3 + 3 * 5) * 6),
        (
            Block("inverted_residual1d", width=3, hidden=7, skip="identity", norm="none"),
            3 * 7 + 7 + 7 * 3 + 7 + 7 * 3 + 3,
            (3 * 7 + 7 * 3 + 7 * 3) * 12,
        ),
        (Block("max_pool1d"), 0, 0),
        (Block("average_pool1d"), 0, 0),
    ],
    ids=str,
)
def test_blocks_for_signals(block: Block, weights: int, times: int) -> None:
    """Kernels have one dimension."""
    assert costs(block, Block("global_average_pool1d"), shape=(3, 12)) == (weights, times)


@pytest.mark.parametrize(
    ("norm", "extra"),
    [("none", 0), ("batch", 2 * 12), ("layer", 2 * 12)],
)
def test_a_residual_of_linear_layers(norm: str, extra: int) -> None:
    """To the hidden units and back."""
    block = Block("residual_linear", hidden=7, norm=norm)
    assert costs(block, shape=(12,)) == (2 * 12 * 7 + 7 + 12 + extra, 2 * 12 * 7)


def test_columns() -> None:
    """A row of numbers for each code, looked up and not multiplied."""
    blocks = (Block("columns", categories="3,5", features=2), Block("linear", width=7, norm="none"))
    architecture = Architecture((6,), blocks, (Head(4),), categories=(3, 5))
    features = 6 - 2 + 2 * 2
    assert parameters(build(architecture)) == 2 * (3 + 5) + features * 7 + 7 + 7 * 4 + 4
    assert macs(architecture) == features * 7 + 7 * 4


@pytest.mark.parametrize(("causal", "rotary"), [(False, False), (True, True)])
@pytest.mark.parametrize(("norm", "scales"), [("layer", 2), ("rms", 1)])
def test_a_transformer(norm: str, scales: int, *, causal: bool, rotary: bool) -> None:
    """Queries, keys, values and the way back, scores of all pairs and their mixture, two layers of each position."""
    numbers: dict[str, Any] = {"heads": 3, "head_width": 4, "hidden": 7, "norm": norm}
    block = Block("transformer", causal=causal, rotary=rotary, **numbers)
    blocks = (Block("embedding", width=8, vocabulary=20, length=9), block, Block("sequence_norm", norm=norm))
    architecture = Architecture((9,), (*blocks, Block("mean_positions")), (Head(4),), vocabulary=20)
    attention, forward = 4 * 8 * 12, 2 * 8 * 7
    biases, norms = 3 * 12 + 8 + 7 + 8, 3 * 8 * scales
    assert parameters(build(architecture)) == (20 + 9) * 8 + attention + forward + biases + norms + 8 * 4 + 4
    assert macs(architecture) == 9 * (attention + forward) + 2 * 9 * 9 * 12 + 8 * 4


@pytest.mark.parametrize(("bottleneck", "extra"), [(0, 0), (3, 3 * 8)])
def test_a_head_tied_to_the_embedding(bottleneck: int, extra: int) -> None:
    """It has no weights, and scores every token at each position; through a bottleneck there and back."""
    embedding = Block("embedding", width=8, vocabulary=20, length=9, bottleneck=bottleneck, positions="none")
    architecture = Architecture((9,), (embedding,), (Head(20, tied=0),), vocabulary=20)
    inner = bottleneck or 8
    assert parameters(build(architecture)) == 20 * inner + (extra + 8 if bottleneck else 0)
    assert macs(architecture) == 9 * (2 * extra + 20 * inner)


@pytest.mark.parametrize(
    ("op", "shape", "kernel", "length"), [("patches", (3, 12), 4, 3), ("patches2d", (3, 8, 8), 16, 4)]
)
def test_patches(op: str, shape: tuple[int, ...], kernel: int, length: int) -> None:
    """A linear layer of each patch; what is read are means or the first position."""
    blocks = (Block(op, width=5, size=4, length=length), Block("first_position"))
    architecture = Architecture(shape, blocks, (Head(4),))
    assert parameters(build(architecture)) == 3 * 5 * kernel + 5 + length * 5 + 5 * 4 + 4
    assert macs(architecture) == 3 * 5 * kernel * length + 5 * 4


def test_modules_are_counted_as_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's own is run once for its MACs."""
    monkeypatch.setattr(own, "_trusted", {f"{__name__}:make_net"})
    architecture = ModuleArchitecture.of(f"{__name__}:make_net", {"width": 5}, DataSpec((3, 8, 6), 4))
    network = on_meta(architecture)
    assert not network.training
    with FlopCounterMode(display=False) as counter:
        network(example_input(architecture, 1))
    assert 2 * macs(architecture) == counter.get_total_flops() == 2 * (3 * 5 * 9 * 6 * 4 + 5 * 4)
    assert parameters(network) == 3 * 5 * 9 + 5 + 5 * 4 + 4


def make_net(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))


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


def counted(name: str, part: Deployed) -> float:
    return COUNTED[name].count(part).value


def test_bytes_of_a_network() -> None:
    """Four for each weight and each running statistic, eight for the counter of batches; the file has names too."""
    part = deployed(Block("conv", width=5), MEAN)
    weights, statistics = 2 * 5 * 9 + 2 * 5 + (5 + 1) * CLASSES, 2 * 5
    assert counted("size_bytes", part) == 4 * (weights + statistics) + 8
    assert counted("file_bytes", part) == len(weights_in_bytes(part.architecture, part.network.state_dict()))


def test_bytes_of_shared_weights() -> None:
    """What two layers use, and what has two names, counts once; a file has it twice."""
    linear = nn.Linear(4, 4)
    tied = nn.ModuleDict({"one": linear, "other": linear, "third": nn.Linear(4, 4)})
    written = {name: tensor.clone() for name, tensor in tied.state_dict().items()}
    assert (size_bytes(tied), file_bytes(tied)) == (4 * 2 * (16 + 4), len(save(written)))
    for device in ("cpu", "meta"):
        one, other = nn.Linear(4, 4, device=device), nn.Linear(4, 4, device=device)
        other.weight = one.weight
        assert size_bytes(nn.Sequential(one, other)) == 4 * (16 + 2 * 4)


def test_bytes_of_parts_of_one_tensor() -> None:
    """Two views of one memory count each, unless they are the same view."""
    whole = torch.rand(4, 6)
    module = nn.Module()
    for name, view in {"whole": whole, "same": whole.view(4, 6), "row": whole[0], "turned": whole.t()}.items():
        module.register_buffer(name, view)
    assert size_bytes(module) == 4 * (24 + 6 + 24)
    written = {name: tensor.contiguous().clone() for name, tensor in module.state_dict().items()}
    assert file_bytes(module) == len(save(written))
    assert file_bytes(module, {"größe": '"4x6"'}) == len(save(written, metadata={"größe": '"4x6"'}))


TYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.bfloat16]
TYPES += [torch.float32, torch.float64, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2]
TYPES += [torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.uint16, torch.uint32, torch.uint64]


@pytest.mark.parametrize("size", [1, 99, 10**5])
def test_bytes_of_a_file_of_all_types(size: int) -> None:
    """As safetensors orders them: their places in the file have more digits the later they come."""
    module = nn.Module()
    for index, kind in enumerate(TYPES):
        module.register_buffer(f"größe_{index}", torch.empty(size, dtype=kind))
    assert file_bytes(module) == len(save(module.state_dict()))
    assert file_bytes(nn.Identity()) == len(save({}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_on_the_meta_device_counts_as_the_built_one(family: str) -> None:
    """Parameters, bytes and the length of the file as it is written, of random candidates; and it is made once."""
    space, data = FAMILIES[family]
    for architecture in sampled(space, data, 5):
        built, promised = build(architecture, seed=0), on_meta(architecture)
        assert not promised.training
        assert on_meta(architecture) is promised
        for count in (parameters, size_bytes, file_bytes):
            assert count(promised) == count(built)
        assert file_bytes(built) == len(save(built.state_dict()))


def test_bytes_of_an_int8_network() -> None:
    """One for each weight, four for the scale and the bias of each channel, and those of the graph's shapes."""
    part = deployed(Block("conv", width=16, norm="none"), Block("conv", width=16, norm="none"), MEAN, int8=True)
    measured = counted("size_bytes", part)
    weights = 2 * 16 * 9 + 16 * 16 * 9 + 16 * CLASSES
    channels = 16 + 16 + CLASSES
    assert weights + 8 * channels <= measured <= weights + 8 * channels + 100
    assert part.quantized is not None
    assert counted("file_bytes", part) == len(part.quantized.model)
    assert part.answering is part.quantized


def test_parameters_other_than_zero() -> None:
    """Zeros among the weights do not count; they are parameters all the same."""
    part = deployed(Block("conv", width=5, norm="none"), MEAN)
    with torch.no_grad():
        part.network.get_parameter("block0.conv.weight")[:2] = 0
    nonzero, all_of_them = (counted(name, part) for name in ("nonzero_parameters", "parameters"))
    assert all_of_them - nonzero == 2 * 2 * 9
