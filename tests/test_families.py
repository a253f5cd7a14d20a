"""What must hold for every network of every family: it builds, trains, is counted right, survives JSON and exports.

Each family is drawn from with every option of every field. With ``--long`` these are 500 candidates of each, else 8.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from helpers import silence
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from paretonas.objectives import macs, parameters
from paretonas.spaces import (
    Architecture,
    Candidate,
    ConvSpace,
    DataSpec,
    Head,
    MLPSpace,
    Network,
    Space,
    TransformerSpace,
    build,
    example_input,
    prune,
    write_source,
)
from paretonas.spaces.blocks import ACTIVATIONS

EVERY_CONV = ConvSpace(
    layers=(1, 5),
    stages=(1, 3),
    widths=[2, 4, 6, 8],
    width_per=["network", "stage", "layer"],
    blocks=["conv", "residual", "separable", "inverted_residual"],
    kernels=[1, 3, 5],
    kernel_per=["network", "stage", "layer"],
    groups=[1, 2, 4],
    depthwise_kernels=["own", "shared"],
    expansions=[1, 2, 3.5],
    squeeze=[0.0, 0.25, 1.0],
    norms=["batch", "none"],
    activations=list(ACTIVATIONS),
    activation_per=["network", "stage", "layer"],
    slopes=[0.01, 0.2],
    pooling=["max", "average", "stride", "none"],
    stem_stride=[1, 2],
    readout=["average", "flatten"],
    hidden_layers=(0, 2),
    hidden_widths=[4, 8],
    sharing=["none", "stage", "all", "cycle", "groups"],
    sets=(1, 3),
    trunk=[0.0, 0.5, 1.0],
    pruning=(0.0, 0.9),
)
EVERY_MLP = MLPSpace(
    layers=(0, 5),
    widths=[1, 8, 16, 7],
    blocks=["linear", "residual"],
    norms=["batch", "layer", "none"],
    activations=list(ACTIVATIONS),
    activation_per=["network", "layer"],
    slopes=[0.01, 0.2],
    embedding_widths=[1, 2, 5],
    sharing=["none", "all", "cycle", "groups"],
    trunk=[0.0, 0.5, 1.0],
    pruning=(0.0, 0.9),
)
EVERY_TRANSFORMER = TransformerSpace(
    layers=(1, 4),
    widths=[6, 8, 12],
    heads=[1, 2, 3],
    heads_per=["network", "layer"],
    head_widths=[2, 4],
    ratios=[1, 2, 2.5],
    ratio_per=["network", "layer"],
    norms=["layer", "rms"],
    norm_places=["pre", "post"],
    activations=list(ACTIVATIONS),
    activation_per=["network", "layer"],
    slopes=[0.01, 0.2],
    positions=["learned", "sinusoidal", "rotary", "none"],
    embedding_widths=[0, 3],
    patch_sizes=[2, 4],
    readout=["mean", "first"],
    hidden_layers=(0, 2),
    hidden_widths=[4, 8],
    sharing=["none", "all", "cycle", "groups"],
    trunk=[0.0, 0.5, 1.0],
    pruning=(0.0, 0.9),
)
ROWS = ("linear", "residual_linear")
TWO = (Head(3, "kind"), Head(2, "sign"))
FAMILIES: dict[str, tuple[Space, DataSpec]] = {
    "images": (EVERY_CONV, DataSpec((3, 17, 16), 4)),
    "signals": (EVERY_CONV, DataSpec((2, 24), 3)),
    "two tasks on images": (EVERY_CONV, DataSpec((1, 16, 16), TWO)),
    "tables": (EVERY_MLP, DataSpec((9,), 3, categories=(3, 5))),
    "two tasks on tables": (EVERY_MLP, DataSpec((8,), TWO)),
    "text": (EVERY_TRANSFORMER, DataSpec((12,), 3, vocabulary=20)),
    "language": (EVERY_TRANSFORMER, DataSpec((10,), 20, vocabulary=20, per_position=True)),
    "two tasks on text": (EVERY_TRANSFORMER, DataSpec((12,), TWO, vocabulary=20)),
    "patches of signals": (EVERY_TRANSFORMER, DataSpec((2, 24), 3)),
    "patches of images": (EVERY_TRANSFORMER, DataSpec((1, 8, 8), 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_network_of_a_family_works(family: str, request: pytest.FixtureRequest) -> None:
    """Builds, trains a step, is counted as torch counts it, prunes as promised, survives JSON, exports bit for bit."""
    space, data = FAMILIES[family]
    count = 500 if request.config.getoption("--long") else 8
    for seed in range(count):
        candidate = space.sample(data, seed=seed)
        try:
            check(candidate, data)
        except Exception as error:
            error.add_note(f"seed {seed} of {family}: {candidate.architecture}, pruned by {candidate.pruning}")
            raise


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_key_is_a_network(family: str, request: pytest.FixtureRequest) -> None:
    """Two networks with one key are written as one source, two with different keys as different ones."""
    space, data = FAMILIES[family]
    keys: dict[str, str] = {}
    for architecture in sampled(space, data, 500 if request.config.getoption("--long") else 15):
        source = write_source(architecture, "")
        assert keys.setdefault(source, architecture.key) == architecture.key
    assert len(set(keys.values())) == len(keys)


def sampled(space: Space, data: DataSpec, count: int) -> Iterator[Architecture]:
    """What is trained and what is left after pruning, of random candidates."""
    for seed in range(count):
        candidate = space.sample(data, seed=seed)
        for architecture in (candidate.architecture, candidate.deployed):
            assert isinstance(architecture, Architecture)
            yield architecture


# what must hold for one candidate


def check(candidate: Candidate, data: DataSpec) -> None:
    """All of it."""
    read = Candidate.from_json(json.loads(json.dumps(candidate.to_json())))
    assert read == candidate
    assert read.key == candidate.key
    network = trained(candidate.architecture, data)
    for each, architecture in (
        (network, candidate.architecture),
        (prune(network, candidate.deployed), candidate.deployed),
    ):
        assert isinstance(architecture, Architecture)
        assert each.architecture == architecture
        counted(each, architecture)
        exported(each, architecture)
        assert_trains(each, data)
    loses_nothing_silent(candidate, network)


def loses_nothing_silent(candidate: Candidate, network: Network) -> None:
    """Where the units that leave gave 0, the pruned network gives the same outputs.

    Not so with layer normalisation of rows, whose mean is over fewer then, nor where silent channels get the bias of a
    depthwise kernel that all share.
    """
    deployed = candidate.deployed
    assert isinstance(deployed, Architecture)
    for block in deployed.blocks:
        if block.args.get("kernels") == "shared" or (block.op in ROWS and block.args["norm"] == "layer"):
            return
    silence(network, deployed)
    x = example_input(candidate.architecture, 4)
    with torch.no_grad():
        torch.testing.assert_close(prune(network, deployed).eval()(x), network.eval()(x), atol=1e-4, rtol=1e-4)


def trained(architecture: Any, data: DataSpec) -> Network:
    """The network after a step."""
    network = build(architecture, seed=0)
    assert isinstance(network, Network)
    assert_trains(network, data)
    return network


def assert_trains(network: Network, data: DataSpec) -> None:
    """A step of gradient descent gives every parameter a finite gradient, and the answers have the shape asked for."""
    network.train().zero_grad()
    x = example_input(data, 4)
    outputs = network(x)
    answers = outputs if isinstance(outputs, dict) else {data.heads[0].name: outputs}
    loss = torch.zeros(())
    for head in data.heads:
        positions = data.input_shape if data.per_position else ()
        assert answers[head.name].shape == (4, *positions, head.outputs)
        labels = torch.arange(answers[head.name].numel() // head.outputs) % head.outputs
        loss = loss + nn.functional.cross_entropy(answers[head.name].flatten(0, -2), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    torch.optim.SGD(network.parameters(), lr=1e-3).step()


def counted(network: Network, architecture: Architecture) -> None:
    """Parameters and MACs are those that torch counts, on the meta device and for real."""
    with torch.device("meta"):
        promised = build(architecture)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert shapes == {name: tensor.shape for name, tensor in promised.state_dict().items()}
    unique = {id(parameter): parameter.numel() for parameter in network.parameters()}
    assert parameters(network) == parameters(promised) == sum(unique.values())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(example_input(architecture, 1))
    assert 2 * macs(architecture) == counter.get_total_flops()


def exported(network: Network, architecture: Architecture) -> None:
    """The exported source loads the weights strictly and gives bitwise the same outputs."""
    source = write_source(architecture, "A network.")
    names: dict[str, Any] = {}
    exec(compiled(source), names)  # noqa: S102
    other = names["Net"]()
    other.load_state_dict(network.state_dict(), strict=True)
    x = example_input(architecture, 4)
    with torch.no_grad():
        ours, theirs = network.eval()(x), other.eval()(x)
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    else:
        assert torch.equal(ours, theirs)


@cache
def compiled(source: str) -> Any:
    return compile(source, "net.py", "exec")


def test_every_option_is_drawn() -> None:
    """The families above have all blocks of the house in them."""
    from paretonas.spaces.blocks import BLOCKS

    seen = {
        block.op
        for space, data in FAMILIES.values()
        for seed in range(60)
        for block in space.sample(data, seed=seed).architecture.blocks
    }
    assert seen == BLOCKS.keys()


def test_pruning_by_almost_all_leaves_one_of_each(request: pytest.FixtureRequest) -> None:
    """Every family still runs with one unit of each layer."""
    for space, data in FAMILIES.values():
        thin = replace(space, pruning=0.99)  # type: ignore[call-arg]
        for seed in range(5 if request.config.getoption("--long") else 2):
            check(thin.sample(data, seed=seed), data)
