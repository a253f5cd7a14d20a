"""Properties of everything a space can suggest: it trains, survives JSON, prunes to what was promised, exports."""

import ast
import json
from collections.abc import Callable
from itertools import cycle, product
from typing import Any

import pytest
import torch
from helpers import silence
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from paretonas.objectives import macs, parameters
from paretonas.spaces import (
    Architecture,
    Candidate,
    ConvSpace,
    DataSpec,
    MLPSpace,
    Network,
    Space,
    build,
    fits,
    prune,
    shapes,
    write_source,
)
from paretonas.spaces.blocks import ACTIVATIONS

GRAY, COLOUR, ROW = DataSpec((1, 8, 8), 10), DataSpec((3, 9, 8), 4), DataSpec((16,), 3)
# narrow and wide, as many as the colours and 1: widths that meet those of the input share and prune in special ways
EVERY_CONV = ConvSpace(
    layers=(1, 6),
    stages=(1, 3),
    widths=[1, 3, 4, 8, 13],
    width_per=["network", "stage", "layer"],
    kernels=[1, 3, 5],
    norms=["batch", "none"],
    activations=list(ACTIVATIONS),
    pooling=["max", "average", "none"],
    readout=["average", "flatten"],
    hidden_layers=(0, 3),
    hidden_widths=[3, 4, 8],
    sharing=["none", "stage", "all"],
    pruning=(0.0, 0.95),
)
EVERY_MLP = MLPSpace(
    layers=(0, 5), widths=[1, 16, 64, 7], norms=["batch", "none"], activations=list(ACTIVATIONS), pruning=(0.0, 0.95)
)
SPACES: dict[str, tuple[Space, DataSpec]] = {
    "conv": (ConvSpace(), GRAY),
    "every conv": (EVERY_CONV, GRAY),
    "every conv, colour": (EVERY_CONV, COLOUR),
    "mlp": (MLPSpace(), GRAY),
    "every mlp, row": (EVERY_MLP, ROW),
    "every mlp, image": (EVERY_MLP, GRAY),
}
POOLS = {
    "max": ["max_pool"],
    "average": ["average_pool"],
    "none": [],
    "average readout": ["global_average_pool"],
    "flatten readout": ["flatten"],
}


# what must hold for a candidate, one function each


def trains_a_step(candidate: Candidate) -> None:
    """It builds, and backward gives every parameter a finite gradient, before pruning and after."""
    network = build(candidate.architecture, seed=0)
    x, y = examples(candidate.architecture)
    for each in (network, prune(network, candidate.deployed)):
        nn.functional.cross_entropy(each.train()(x), y).backward()  # type: ignore[no-untyped-call]
        for name, parameter in each.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        torch.optim.SGD(each.parameters(), lr=0.01).step()
        assert each(x).isfinite().all()


def survives_json(candidate: Candidate) -> None:
    """Candidate and architecture are equal, and have equal keys, after a way through JSON text."""
    read = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert read == candidate
    assert read.key == candidate.key
    assert read.deployed == candidate.deployed
    architecture = Architecture.from_json(json.loads(json.dumps(candidate.architecture.to_json())))
    assert architecture == candidate.architecture
    assert architecture.key == candidate.architecture.key


def prunes_to_what_is_deployed(candidate: Candidate) -> None:
    """Pruning gives the very tensors of the deployed architecture, which is known before training."""
    pruned = prune(build(candidate.architecture, seed=0), candidate.deployed)
    promised = build(candidate.deployed)
    assert pruned.architecture == candidate.deployed
    assert tensor_shapes(pruned) == tensor_shapes(promised)
    assert parameters(pruned) == parameters(promised) <= parameters(build(candidate.architecture))
    assert pruned.eval()(examples(candidate.architecture)[0]).isfinite().all()


def pruning_silent_channels_changes_nothing(candidate: Candidate) -> None:
    """Where the channels that leave gave 0, the pruned network gives the same outputs."""
    network = build(candidate.architecture, seed=0).eval()
    assert isinstance(network, Network)
    silence(network, candidate.deployed)
    x, _ = examples(candidate.architecture)
    torch.testing.assert_close(prune(network, candidate.deployed)(x), network(x))


def exports_to_the_same_outputs(candidate: Candidate) -> None:
    """The exported source loads the weights strictly, gives bitwise equal outputs and imports torch alone."""
    for architecture in (candidate.architecture, candidate.deployed):
        network = build(architecture, seed=0)
        x, _ = examples(architecture)
        network(x)  # so that the statistics of the normalisation are not what they began as
        source = write_source(architecture, "A network.")
        exported = execute(source)
        exported.load_state_dict(network.state_dict(), strict=True)
        assert torch.equal(exported.eval()(x), network.eval()(x))
        assert imported(source) == {"torch"}


def counts_by_formula(candidate: Candidate) -> None:
    """Parameters and MACs are those that are worked out layer by layer."""
    for architecture in (candidate.architecture, candidate.deployed):
        assert (parameters(build(architecture)), macs(architecture)) == formula(architecture)


CHECKS: list[Callable[[Candidate], None]] = [
    trains_a_step,
    survives_json,
    prunes_to_what_is_deployed,
    pruning_silent_channels_changes_nothing,
    exports_to_the_same_outputs,
    counts_by_formula,
]


# over all that a space suggests


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", SPACES)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 2**32))
def test_holds_for_all_that_a_space_suggests(name: str, check: Callable[[Candidate], None], seed: int) -> None:
    """Every candidate of every space, the defaults and one with every option of every field."""
    space, data = SPACES[name]
    check(space.sample(data, seed=seed))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(
    ("sharing", "norm", "pooling", "readout"),
    list(product(["none", "stage", "all"], ["batch", "none"], ["max", "average", "none"], ["average", "flatten"])),
)
def test_holds_for_every_option(
    check: Callable[[Candidate], None], sharing: str, norm: str, pooling: str, readout: str
) -> None:
    """Each combination of sharing, normalisation, pooling and readout, so that none is left to chance."""
    space = ConvSpace(layers=4, stages=2, widths=6, width_per="network", norms=norm, activations="silu",
                      pooling=pooling, readout=readout, hidden_layers=3, hidden_widths=6, sharing=sharing,
                      pruning=0.5)  # fmt: skip
    candidate = space.sample(GRAY)
    blocks = candidate.architecture.blocks
    assert any(block.shares is not None for block in blocks) == (sharing != "none")
    assert {block.args["norm"] for block in blocks if block.width} == {norm}
    assert {block.op for block in blocks} == {"conv", "linear", *POOLS[pooling], *POOLS[readout + " readout"]}
    assert candidate.deployed != candidate.architecture
    check(candidate)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("activation", "kernel"), list(zip(ACTIVATIONS, cycle([1, 3, 5]), strict=False)))
def test_holds_for_every_activation_and_kernel(
    check: Callable[[Candidate], None], activation: str, kernel: int
) -> None:
    """Each activation, and each kernel, on its own."""
    space = ConvSpace(layers=2, stages=1, widths=5, kernels=kernel, activations=activation, sharing="none", pruning=0.5)
    check(space.sample(GRAY))


@pytest.mark.parametrize("name", SPACES)
def test_samples_follow_from_their_seed(name: str) -> None:
    """A seed gives one candidate, many seeds give many, and all of them fit these data."""
    space, data = SPACES[name]
    keys = [space.sample(data, seed=seed).key for seed in range(30)]
    assert [space.sample(data, seed=seed).key for seed in range(30)] == keys
    assert len(set(keys)) > 20
    assert space.share_that_fits(data) == 1.0


def test_candidates_that_do_not_fit_are_told_apart() -> None:
    """Five halvings leave nothing of 8x8 pixels."""
    space = ConvSpace(layers=5, stages=[3, 5], width_per="network")
    assert {fits(space.sample(GRAY, seed=seed)) for seed in range(20)} == {True, False}
    assert 0.2 < space.share_that_fits(GRAY) < 0.8


def test_layers_are_dealt_out_evenly_to_stages() -> None:
    """After each stage there is one pooling; with fewer layers than stages, one after each layer."""

    def described(layers: int, stages: int) -> str:
        space = ConvSpace(layers=layers, stages=stages, widths=4, sharing="none", activations="relu")
        return " ".join(block.op[0] for block in space.sample(GRAY).architecture.blocks)

    assert described(5, 2) == "c c c m c c m g"
    assert described(6, 3) == "c c m c c m c c m g"
    assert described(2, 3) == "c m c m g"
    assert described(1, 1) == "c m g"


# helpers


def examples(architecture: Architecture) -> tuple[torch.Tensor, torch.Tensor]:
    """Eight random examples and labels."""
    x = torch.rand(8, *architecture.input_shape, generator=torch.Generator().manual_seed(0))
    return x, torch.arange(8) % architecture.heads[0].outputs


def tensor_shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def execute(source: str) -> nn.Module:
    """An instance of the network in an exported file."""
    names: dict[str, Any] = {}
    exec(compile(source, "net.py", "exec"), names)  # noqa: S102
    network = names["Net"]()
    assert isinstance(network, nn.Module)
    return network


def imported(source: str) -> set[str]:
    """The top-level names of all that a source imports."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or ".").split(".")[0])
    return found


def formula(architecture: Architecture) -> tuple[int, int]:
    """Parameters and MACs of an architecture, worked out by hand."""
    numbers = multiplications = 0
    seen = shapes(architecture)
    for block, before, after in zip(architecture.blocks, seen, seen[1:], strict=False):
        if block.width is None:
            continue
        area = int(block.args.get("kernel", 1)) ** 2
        numbers += block.shares is None and block.args["activation"] == "prelu"
        weights = before[0] * block.width * area
        multiplications += weights * (after[1] * after[2] if len(after) == 3 else 1)
        batch = block.args["norm"] == "batch"
        numbers += 2 * block.width if batch else 0
        if block.shares is None:
            numbers += weights + (0 if batch else block.width)
    for head in architecture.heads:
        numbers += (seen[-1][0] + 1) * head.outputs
        multiplications += seen[-1][0] * head.outputs
    return numbers, multiplications
