"""Blocks for images and signals: what they compute, what they count, and what they refuse."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from paretonas.spaces import Block
from paretonas.spaces.blocks import ACTIVATIONS, BLOCKS
from paretonas.spaces.builder import run_on_meta
from paretonas.spaces.shape_rules import SHAPE_RULES

WEIGHTED = ["conv", "residual", "separable", "inverted_residual"]
POOLS = ["max_pool", "average_pool", "global_average_pool"]


def make(op: str, *widths: int, seed: int = 0, **numbers: Any) -> nn.Module:
    """A block in the state of inference, with statistics that are not those it begins with."""
    torch.manual_seed(seed)
    block = BLOCKS[op](*widths, **numbers)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return block.eval()


def count(block: nn.Module) -> int:
    return sum(parameter.numel() for parameter in block.parameters())


def norm(state: dict[str, torch.Tensor], name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, weight, bias = (
        state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, variance, weight, bias)


# what they compute, against the same by hand

X = torch.randn(3, 6, 9, 7, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("stride", "kernel"), [(1, 3), (2, 3), (2, 1), (3, 5)])
def test_a_convolution_has_a_stride(stride: int, kernel: int) -> None:
    """Convolution, normalisation, activation."""
    block = make("conv", 6, 4, kernel=kernel, stride=stride)
    state = block.state_dict()
    y = functional.conv2d(X, state["conv.weight"], None, stride, kernel // 2)
    torch.testing.assert_close(block(X), norm(state, "norms.0", y).relu())


def test_a_grouped_convolution_is_convolutions_side_by_side() -> None:
    """Each group of channels has filters of its own that see nothing else."""
    block = make("conv", 6, 4, groups=2, norm="none", activation="tanh")
    weight, bias = block.state_dict()["conv.weight"], block.state_dict()["conv.bias"]
    assert weight.shape == (4, 3, 3, 3)
    halves = [
        functional.conv2d(X[:, 3 * g : 3 * g + 3], weight[2 * g : 2 * g + 2], bias[2 * g : 2 * g + 2], 1, 1)
        for g in (0, 1)
    ]
    torch.testing.assert_close(block(X), torch.cat(halves, 1).tanh())


@pytest.mark.parametrize(("skip", "stride"), [("identity", 1), ("projection", 1), ("projection", 2)])
def test_a_residual_block_adds_what_came(skip: str, stride: int) -> None:
    """He et al. 2016: the activation of the sum of two convolutions and the skip."""
    block = make("residual", 6, 6, hidden=5, stride=stride, skip=skip, activation="elu")
    state = block.state_dict()
    y = functional.elu(norm(state, "norms1.0", functional.conv2d(X, state["conv1.weight"], None, stride, 1)))
    y = norm(state, "norms2.0", functional.conv2d(y, state["conv2.weight"], None, 1, 1))
    came = (
        X if skip == "identity" else norm(state, "norms3.0", functional.conv2d(X, state["conv3.weight"], None, stride))
    )
    torch.testing.assert_close(block(X), functional.elu(y + came))


@pytest.mark.parametrize("kernels", ["own", "shared"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_separable_block_is_a_depthwise_and_a_pointwise_convolution(kernels: str, stride: int) -> None:
    """Howard et al. 2017; with one kernel for all channels the same kernel runs over each."""
    block = make("separable", 6, 4, stride=stride, kernels=kernels, activation="gelu")
    state = block.state_dict()
    assert state["depthwise.weight"].shape == ((6 if kernels == "own" else 1), 1, 3, 3)
    weight = state["depthwise.weight"].expand(6, 1, 3, 3)
    y = functional.gelu(norm(state, "norms1.0", functional.conv2d(X, weight, None, stride, 1, groups=6)))
    y = functional.gelu(norm(state, "norms2.0", functional.conv2d(y, state["pointwise.weight"])))
    torch.testing.assert_close(block(X), y)


@pytest.mark.parametrize("op", ["separable", "separable1d"])
def test_a_shared_kernel_is_one_parameter_trained_by_all_channels(op: str) -> None:
    """Its gradient, and its bias's, is the sum over the channels of what each would have alone."""
    x = X if op == "separable" else X[..., 0]
    shared = make(op, 6, 4, kernels="shared", norm="none", activation="tanh")
    own = make(op, 6, 4, kernels="own", norm="none", activation="tanh")
    state = shared.state_dict()
    for name in ("depthwise.weight", "depthwise.bias"):
        state[name] = state[name].expand(6, *state[name].shape[1:])
    own.load_state_dict(state)
    assert torch.equal(shared(x), own(x))
    for block in (shared, own):
        block(x).square().sum().backward()
    for name in ("depthwise.weight", "depthwise.bias"):
        one, all_of_them = shared.get_parameter(name).grad, own.get_parameter(name).grad
        assert one is not None
        assert all_of_them is not None
        torch.testing.assert_close(one, all_of_them.sum(0, keepdim=True))


@pytest.mark.parametrize("skip", ["identity", "none"])
@pytest.mark.parametrize("squeeze", [0, 2])
def test_an_inverted_residual_widens_and_reduces(skip: str, squeeze: int) -> None:
    """Sandler et al. 2018, with the weights of channels of Hu et al. 2018; nothing is applied to the sum."""
    block = make("inverted_residual", 6, 6, hidden=8, kernel=5, squeeze=squeeze, skip=skip, activation="silu")
    state = block.state_dict()
    y = functional.silu(norm(state, "norms1.0", functional.conv2d(X, state["expand.weight"])))
    y = functional.silu(norm(state, "norms2.0", functional.conv2d(y, state["depthwise.weight"], None, 1, 2, groups=8)))
    if squeeze:
        means = functional.linear(y.mean((2, 3)), state["excitation.squeeze.weight"], state["excitation.squeeze.bias"])
        weights = functional.linear(means.relu(), state["excitation.excite.weight"], state["excitation.excite.bias"])
        y = y * weights.sigmoid()[:, :, None, None]
    y = norm(state, "norms3.0", functional.conv2d(y, state["reduce.weight"]))
    torch.testing.assert_close(block(X), X + y if skip == "identity" else y)


@pytest.mark.parametrize(
    ("op", "numbers"),
    [
        ("conv", {"stride": 2}),
        ("conv", {"groups": 3, "norm": "none"}),
        ("residual", {"hidden": 5}),
        ("residual", {"skip": "projection", "stride": 2, "kernel": 5}),
        ("separable", {"stride": 2}),
        ("separable", {"kernels": "shared", "norm": "none"}),
        ("inverted_residual", {"skip": "identity"}),
        ("inverted_residual", {"squeeze": 3, "stride": 2}),
    ],
)
def test_over_signals_a_block_is_that_over_images_of_one_row(op: str, numbers: dict[str, Any]) -> None:
    """With the weights of a signal's filters in the middle row of an image's, and nothing in the others."""
    signals, images = make(f"{op}1d", 6, 6, **numbers), make(op, 6, 6, **numbers)
    state = images.state_dict()
    for name, value in signals.state_dict().items():
        if value.dim() == 3:
            state[name] = torch.zeros_like(state[name])
            state[name][:, :, state[name].shape[2] // 2] = value
        else:
            state[name] = value
    images.load_state_dict(state)
    x = torch.randn(3, 6, 11)
    torch.testing.assert_close(signals(x), images(x[:, :, None])[:, :, 0])


def test_pooling_of_signals_is_that_of_images_of_one_row() -> None:
    """The largest or the mean of two values in a row, and the mean of all."""
    x = torch.randn(2, 3, 7)
    assert torch.equal(BLOCKS["max_pool1d"]()(x), x[..., :6].reshape(2, 3, 3, 2).amax(3))
    torch.testing.assert_close(BLOCKS["average_pool1d"](size=3)(x), x[..., :6].reshape(2, 3, 2, 3).mean(3))
    torch.testing.assert_close(BLOCKS["global_average_pool1d"]()(x), x.sum(2) / 7)


# what they count


@pytest.mark.parametrize(
    ("op", "numbers", "wanted"),
    [
        ("conv", {"kernel": 3, "groups": 2}, 8 * 3 * 9 + 2 * 8),
        ("conv", {"kernel": 3, "groups": 2, "norm": "none"}, 8 * 3 * 9 + 8),
        ("residual", {"hidden": 5, "skip": "projection"}, 6 * 5 * 9 + 5 * 8 * 9 + 6 * 8 + 2 * (5 + 8 + 8)),
        ("separable", {"kernel": 5}, 6 * 25 + 6 * 8 + 2 * (6 + 8)),
        ("separable", {"kernel": 5, "kernels": "shared"}, 25 + 6 * 8 + 2 * (6 + 8)),
        ("separable", {"kernel": 5, "kernels": "shared", "norm": "none"}, 25 + 1 + 6 * 8 + 8),
        ("inverted_residual", {"hidden": 10}, 6 * 10 + 10 * 9 + 10 * 8 + 2 * (10 + 10 + 8)),
        (
            "inverted_residual",
            {"hidden": 10, "squeeze": 3},
            6 * 10 + 10 * 9 + 10 * 8 + 2 * (10 + 10 + 8) + (10 * 3 + 3) + (3 * 10 + 10),
        ),
        ("conv1d", {"kernel": 5}, 6 * 8 * 5 + 2 * 8),
        ("residual1d", {"hidden": 5, "skip": "projection"}, 6 * 5 * 3 + 5 * 8 * 3 + 6 * 8 + 2 * (5 + 8 + 8)),
        ("separable1d", {"kernels": "shared"}, 3 + 6 * 8 + 2 * (6 + 8)),
        ("inverted_residual1d", {"hidden": 10}, 6 * 10 + 10 * 3 + 10 * 8 + 2 * (10 + 10 + 8)),
    ],
)
def test_parameters_are_those_of_the_formula(op: str, numbers: dict[str, Any], wanted: int) -> None:
    """From 6 channels to 8, layer by layer."""
    assert count(BLOCKS[op](6, 8, **numbers)) == wanted


@pytest.mark.parametrize("op", [*WEIGHTED, *(f"{op}1d" for op in WEIGHTED)])
@pytest.mark.parametrize("kind", ["batch", "none"])
def test_only_the_normalisation_is_private_to_a_use(op: str, kind: str) -> None:
    """Three uses have three of each, and one set of all other weights; without normalisation nothing is private."""
    one, three = BLOCKS[op](4, 4, norm=kind), BLOCKS[op](4, 4, norm=kind, uses=3)
    own = sum(parameter.numel() for name, parameter in one.named_parameters() if "norms" in name)
    assert count(three) == count(one) + 2 * own
    assert (own > 0) == (kind == "batch")
    x = torch.randn(2, 4, 8, *([] if op.endswith("1d") else [8]))
    three.train()(x, 2)
    for name, tensor in three.state_dict().items():
        if name.endswith("num_batches_tracked"):
            assert int(tensor) == (".2." in name)


# shapes

NUMBERS: dict[str, list[dict[str, Any]]] = {
    "conv": [{"kernel": k, "stride": s} for k, s in product((1, 2, 3, 4, 5), (1, 2, 3))],
    "residual": [{"kernel": k, "stride": s, "skip": "projection"} for k, s in product((1, 3, 5), (1, 2, 3))],
    "separable": [{"kernel": k, "stride": s} for k, s in product((1, 2, 3, 5), (1, 2))],
    "inverted_residual": [{"kernel": k, "stride": s, "squeeze": 2} for k, s in product((1, 2, 3, 5), (1, 2))],
    "max_pool": [{"size": 1}, {"size": 2}, {"size": 3}],
    "average_pool": [{"size": 1}, {"size": 2}, {"size": 3}],
    "global_average_pool": [{}],
}


@pytest.mark.parametrize("op", [*WEIGHTED, *POOLS])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 4), (2, 1, 1), (4, 2, 3), (2, 9, 1)], ids=str)
def test_shape_rules_say_what_torch_does(op: str, shape: tuple[int, ...]) -> None:
    """Over images, and over signals as long as these are high."""
    for kind, came in ((op, shape), (f"{op}1d", shape[:2])):
        for numbers in NUMBERS[op]:
            given = {"width": 5, **numbers} if op in WEIGHTED else numbers
            with torch.device("meta"):
                block = BLOCKS[kind](*([came[0]] if op in WEIGHTED else []), **given).eval()
            try:
                after = run_on_meta(block, came)
            except RuntimeError:
                with pytest.raises(ValueError, match=r"less than one (pixel|value)"):
                    SHAPE_RULES[kind](came, given)
            else:
                assert SHAPE_RULES[kind](came, given) == after


@pytest.mark.parametrize("op", [*WEIGHTED, *POOLS])
def test_images_and_signals_are_told_apart(op: str) -> None:
    """A rule refuses the shape of the other."""
    with pytest.raises(ValueError, match="it takes maps"):
        SHAPE_RULES[op]((3, 8), {"size": 2, "width": 3})
    with pytest.raises(ValueError, match="it takes signals"):
        SHAPE_RULES[f"{op}1d"]((3, 8, 8), {"size": 2, "width": 3})


@pytest.mark.parametrize("op", [*WEIGHTED, *(f"{op}1d" for op in WEIGHTED)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_can_be_trained(op: str, activation: str) -> None:
    """Each parameter gets a finite gradient."""
    block = BLOCKS[op](3, 3, activation=activation)
    block(torch.randn(2, 3, 6, *([] if op.endswith("1d") else [6]))).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())


# what is refused


@pytest.mark.parametrize(
    ("op", "numbers", "message"),
    [
        ("conv", {"groups": 4}, "divisible by groups"),
        ("residual", {}, "an identity skip needs equal widths and stride 1, 6 channels come, 8 leave at stride 1"),
        ("residual", {"skip": "none"}, "skip is identity or projection, 'none' was given"),
        ("residual", {"skip": "projection", "kernel": 4}, "a skip needs an odd kernel"),
        ("inverted_residual", {"skip": "identity"}, "6 channels come, 8 leave"),
        ("inverted_residual", {"skip": "projection"}, "skip is identity or none, 'projection' was given"),
        ("separable", {"kernels": "all"}, "kernels are own or shared, 'all' was given"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "1d"])
def test_numbers_that_contradict_each_other_are_refused(
    op: str, numbers: dict[str, Any], message: str, suffix: str
) -> None:
    """ValueError says the rule and what came."""
    with pytest.raises(ValueError, match=message):
        BLOCKS[op + suffix](6, 8, **numbers)


@pytest.mark.parametrize(
    ("op", "numbers", "message"),
    [
        ("conv", {"groups": 4}, "4 groups divide both widths, 6 channels come and 8 leave"),
        ("residual", {"skip": "identity"}, "6 channels come, 8 leave at stride 1"),
        ("residual", {"skip": "projection", "kernel": 4}, "a skip needs an odd kernel"),
        ("inverted_residual", {"skip": "identity"}, "6 channels come, 8 leave at stride 1"),
    ],
)
@pytest.mark.parametrize("suffix", ["", "1d"])
def test_shape_rules_refuse_what_the_blocks_refuse(op: str, numbers: dict[str, Any], message: str, suffix: str) -> None:
    """So that no block needs to be built to know whether it can be."""
    shape = (6, 9) if suffix else (6, 9, 9)
    with pytest.raises(ValueError, match=message):
        SHAPE_RULES[op + suffix](shape, Block(op + suffix, width=8, **numbers).args)


def test_an_identity_skip_needs_stride_1() -> None:
    """Equal widths are not enough."""
    with pytest.raises(ValueError, match="6 leave at stride 2"):
        BLOCKS["residual"](6, 6, stride=2)
