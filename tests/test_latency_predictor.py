"""Latencies foretold: the operators of a network, prices learned from records, and what is said of the error."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from torch import nn

import paretonas as pn
from paretonas import own
from paretonas.errors import UsageError
from paretonas.objectives import Deployed, LatencyPredictor, calibrate, fit_latency, macs, measure_latencies
from paretonas.objectives.backends import timing
from paretonas.objectives.latency_predictor import KNOWN, MINIMUM, amounts
from paretonas.objectives.operators import operators
from paretonas.spaces import Architecture, Block, DataSpec, Head, Space, build, example_input
from paretonas.spaces.blocks import ACTIVATIONS
from paretonas.spaces.blocks.maps import SeparableBlock
from paretonas.spaces.builder import forms

IMAGE, TOKENS = DataSpec((1, 8, 8), 10), DataSpec((8,), 20, vocabulary=20, per_position=True)
KINDS = ["conv", "residual", "separable", "inverted_residual"]
CONV = pn.ConvSpace(blocks=KINDS, kernels=[3, 5], groups=[1, 2], pooling=["max", "average", "stride", "none"],
                    readout=["average", "flatten"], hidden_layers=(0, 1))  # fmt: skip
TRANSFORMER = pn.TransformerSpace(embedding_widths=[0, 8], norm_places=["pre", "post"], hidden_layers=(0, 1))
SPACES: dict[str, tuple[Space, DataSpec]] = {
    "images": (CONV, IMAGE),
    "signals": (CONV, DataSpec((3, 24), 4)),
    "rows": (pn.MLPSpace(), DataSpec((12,), 3)),
    "columns": (pn.MLPSpace(), DataSpec((6,), 3, categories=(3, 5))),
    "patches": (TRANSFORMER, IMAGE),
    "windows": (TRANSFORMER, DataSpec((3, 24), 4)),
    "texts": (TRANSFORMER, DataSpec((8,), 3, vocabulary=20)),
    "language": (TRANSFORMER, TOKENS),
}
PLAIN = pn.ConvSpace(activations=["relu", "silu"], sharing="none")


def sampled(space: Space, data: DataSpec, count: int, *, first: int = 0) -> list[Architecture]:
    """Different random networks, as pruning leaves them."""
    found: dict[str, Architecture] = {}
    seed = first
    while len(found) < count:
        architecture = space.sample(data, seed=seed).deployed
        found.setdefault(architecture.key, architecture)
        seed += 1
    return list(found.values())


def price(architecture: Architecture) -> float:
    """Milliseconds on a machine that takes 10 µs for a call of an operator and computes 0.1 MACs a nanosecond."""
    return 0.01 * len(list(operators(architecture))) + 1e-5 * macs(architecture)


def records(
    count: int, *, noise: float = 0.0, first: int = 0, space: Space = PLAIN
) -> list[tuple[Architecture, float]]:
    """Networks with latencies of that machine, each off by a normal share."""
    draw = np.random.default_rng(first)
    networks = sampled(space, IMAGE, count, first=first)
    return [(each, price(each) * float(np.exp(noise * draw.standard_normal()))) for each in networks]


def learned(given: list[tuple[Architecture, float]]) -> LatencyPredictor:
    predictor = fit_latency(given)
    assert predictor is not None
    return predictor


def errors(predictor: LatencyPredictor, unseen: list[tuple[Architecture, float]]) -> list[float]:
    return [abs(predictor.predict(each) / truth - 1) for each, truth in unseen]


def run_modules(architecture: Architecture) -> list[nn.Module]:
    """The modules that a forward pass runs, in order."""
    ran: list[nn.Module] = []
    network = build(architecture, seed=0).eval()
    for module in network.modules():
        module.register_forward_hook(lambda module, *_: ran.append(module))
    network(example_input(architecture, 1))
    return ran


# operators


@pytest.mark.parametrize("name", SPACES)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_operators_do_all_macs(name: str, seed: int) -> None:
    """Of every network that a space can suggest, the operators' MACs add up to what is counted."""
    architecture = SPACES[name][0].sample(SPACES[name][1], seed=seed).deployed
    assert sum(operator.macs for operator in operators(architecture)) == macs(architecture)


@pytest.mark.parametrize(
    ("name", "space"),
    [
        ("images", replace(CONV, sharing="none")),
        ("signals", replace(CONV, sharing="none")),
        ("rows", replace(pn.MLPSpace(), sharing="none")),
    ],
)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_operators_have_all_weights(name: str, space: Space, seed: int) -> None:
    """Without sharing each matrix and each filter belongs to one operator; the rest are biases and norms."""
    architecture = space.sample(SPACES[name][1], seed=seed).deployed
    with torch.device("meta"):
        tensors = [tensor for tensor in build(architecture).parameters() if tensor.dim() > 1]
    assert sum(operator.weights for operator in operators(architecture)) == sum(tensor.numel() for tensor in tensors)


@pytest.mark.parametrize("name", SPACES)
def test_the_layers_of_a_network_are_its_operators(name: str) -> None:
    """Linear layers, convolutions and activations run as often as there are operators of these kinds."""
    space, data = SPACES[name]
    for seed in range(5):
        architecture = space.sample(data, seed=seed).deployed
        ran = run_modules(architecture)
        kinds = [operator.kind for operator in operators(architecture)]
        activations = tuple(ACTIVATIONS.values())
        assert kinds.count("activation") == sum(isinstance(module, activations) for module in ran)
        if name in ("images", "signals", "rows"):
            assert sum("convolution" in kind for kind in kinds) == sum(
                isinstance(module, nn.Conv1d | nn.Conv2d) for module in ran
            ) + sum(isinstance(module, SeparableBlock) and module.shared for module in ran)
            assert kinds.count("linear") == sum(isinstance(module, nn.Linear) for module in ran)


def test_amounts_by_hand() -> None:
    """A 3x3 convolution of 1 to 5 channels over 8x8 pixels: as a convolution, and as one of its kernel."""
    blocks = (Block("conv", width=5, norm="none"), Block("global_average_pool"))
    found = amounts(Architecture((1, 8, 8), blocks, (Head(3),)))
    for name in ("convolution", "convolution 3x3"):
        assert found[name] == 1
        assert found[f"{name}: macs"] == 5 * 9 * 64
        assert found[f"{name}: weights"] == 5 * 9
        assert found[f"{name}: values"] == 64 + 5 * 64
        assert found[f"{name}: filled"] == found[f"{name}: ragged"] == 16 * 16 * 9 * 64
        assert found[f"{name}: unfolded"] == 9 * 64
    assert found["linear: weights"] == 5 * 3
    assert found["network"] == found["activation relu"] == found["global_average_pool"] == 1
    assert not any("norm" in name for name in found)


def test_a_shared_block_counts_each_time() -> None:
    """It runs as often, whoever owns the weights."""
    conv, mean = Block("conv", width=4), Block("global_average_pool")
    apart = Architecture((4, 8, 8), (conv, conv, mean), (Head(3),))
    shared = Architecture((4, 8, 8), (conv, conv.replace(shares=0), mean), (Head(3),))
    assert amounts(apart) == amounts(shared)


# learning


def test_prices_are_found_again() -> None:
    """Where latencies are a sum over operators, others are foretold within 5 %, and mostly within 1 %."""
    predictor = learned(records(100))
    assert max(errors(predictor, records(50, first=1000))) < 0.05
    assert np.median(errors(predictor, records(50, first=1000))) < 0.01
    assert predictor.median_error < 0.02


@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_the_claimed_error_holds_for_unseen_networks(noise: float) -> None:
    """Median and 90th percentile are about those of 200 networks that were not learned from."""
    predictor = learned(records(100, noise=noise))
    seen = errors(predictor, records(200, noise=noise, first=1000))
    assert predictor.median_error == pytest.approx(np.median(seen), rel=0.5)
    assert predictor.p90_error == pytest.approx(np.quantile(seen, 0.9), rel=0.5)


def test_records_only_count_relative_to_each_other() -> None:
    """A machine of a tenth of the speed gives ten times the prediction and the same errors."""
    given = records(40, noise=0.1)
    one, other = learned(given), learned([(each, 10 * milliseconds) for each, milliseconds in given])
    assert other.median_error == pytest.approx(one.median_error)
    for architecture in sampled(PLAIN, IMAGE, 20, first=1000):
        assert other.predict(architecture) == pytest.approx(10 * one.predict(architecture))


def test_a_few_records_that_are_far_off_do_little() -> None:
    """One in ten was taken while a clock jumped, and says half of the truth or twice as much."""
    factors = [0.5 if place % 20 == 0 else 2 if place % 20 == 10 else 1 for place in range(60)]
    given = records(60, noise=0.02)
    off = [(each, factor * milliseconds) for factor, (each, milliseconds) in zip(factors, given, strict=True)]
    assert np.median(errors(learned(off), records(50, first=1000))) < 0.04


def test_the_same_records_give_the_same_predictor() -> None:
    """The folds are not drawn anew."""
    assert learned(records(30, noise=0.1)) == learned(records(30, noise=0.1))


def test_more_to_do_is_never_foretold_as_faster() -> None:
    """No price is negative, however noisy the records are."""
    predictor = learned(records(30, noise=0.5))
    assert min(predictor.prices.values()) >= 0
    for architecture in sampled(PLAIN, IMAGE, 20, first=1000):
        *layers, mean = architecture.blocks
        width = forms(architecture)[-1].width
        longer = architecture.with_blocks([*layers, Block("conv", width=width), mean])
        wider = replace(architecture, heads=(Head(1000),))
        assert predictor.predict(longer) >= predictor.predict(architecture) > 0
        assert predictor.predict(wider) >= predictor.predict(architecture)


def test_too_few_networks_teach_nothing() -> None:
    """Twenty different ones are needed; the same one again is no other."""
    given = records(MINIMUM)
    assert fit_latency([]) is None
    assert fit_latency(given[:-1]) is None
    assert fit_latency([*given[:-1], given[0]]) is None
    assert learned(given).records == MINIMUM


def test_the_last_measurement_of_a_network_counts() -> None:
    """Records come with the newest last."""
    given = records(30)
    stale = [(architecture, 7 * milliseconds) for architecture, milliseconds in given[:5]]
    assert learned(stale + given) == learned(given)


@pytest.mark.parametrize("latency", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_latency_is_refused(latency: float) -> None:
    """It would make all prices nonsense."""
    with pytest.raises(UsageError, match="milliseconds above 0"):
        fit_latency([*records(30), (records(31)[-1][0], latency)])


# the lower bound


def test_the_lower_bound_is_seldom_above_the_truth() -> None:
    """Not for more than one in ten of the networks that were not learned from, and not idle either."""
    predictor = learned(records(60, noise=0.1))
    unseen = records(200, noise=0.1, first=1000)
    bounds = [predictor.at_least(architecture) / truth for architecture, truth in unseen]
    assert np.mean([bound > 1 for bound in bounds]) <= 0.1
    assert np.median(bounds) > 0.7
    for architecture, _ in unseen[:5]:
        bound = predictor.predict(architecture) / (1 + predictor.p90_error)
        assert predictor.at_least(architecture) == pytest.approx(bound)


@pytest.mark.parametrize("seen", [0, KNOWN - 1, KNOWN])
def test_nothing_is_refused_for_an_operator_that_was_hardly_seen(seen: int) -> None:
    """Until a few records have it, a network with it may take anything from 0."""
    odd = sampled(replace(PLAIN, activations="mish"), IMAGE, KNOWN + 1)
    predictor = learned([*records(40), *((each, 100 * price(each)) for each in odd[:seen])])
    assert predictor.predict(odd[-1]) > 0
    assert (predictor.at_least(odd[-1]) > 0) == (seen == KNOWN)


# own code


class Twice(nn.Module):
    """A block of the user's own: two convolutions."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(in_width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))  # type: ignore[no-any-return]


def make_net(width: int, depth: int) -> nn.Module:
    """A factory of the user's own."""
    layers = [nn.Flatten(), nn.Linear(64, width)]
    for _ in range(depth):
        layers += [nn.ReLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.Linear(width, 10))


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Forget at a call what this process trusts, and what it knows of such networks."""
    monkeypatch.setattr(own, "_trusted", own.trusted())

    def forget() -> None:
        own._trusted.clear()
        for cached in (amounts, forms):
            cached.cache_clear()

    yield forget
    amounts.cache_clear()


def test_a_module_of_ones_own_is_foretold() -> None:
    """By its MACs, its weights and its layers."""
    networks = sampled(pn.ModuleSpace(make_net, width=(4, 200), depth=(0, 6)), IMAGE, 36)
    given = [(each, 0.01 * len(run_modules(each)) + 1e-5 * macs(each)) for each in networks]
    assert np.median(errors(learned(given[:24]), given[24:])) < 0.05


def test_a_block_of_ones_own_is_an_operator() -> None:
    """With its MACs and its weights."""
    blocks = (Block(Twice, width=5), Block("global_average_pool"))
    found = amounts(Architecture((2, 8, 8), blocks, (Head(3),)))
    name = own.name_of(Twice)
    assert found[name] == 1
    assert found[f"{name}: macs"] == (2 * 5 + 5 * 5) * 64
    assert found[f"{name}: weights"] == 2 * 5 + 5 * 5 + 2 * 5


def test_own_code_that_is_not_trusted_is_left_out(untrusted: Callable[[], None]) -> None:
    """Records of other studies may name such code; it is not run, and the others teach what they can."""
    blocks = [(Block(Twice, width=width), Block("global_average_pool")) for width in range(1, 6)]
    foreign = [*(Architecture((1, 8, 8), pair, (Head(3),)) for pair in blocks)]
    foreign += sampled(pn.ModuleSpace(make_net, width=(4, 200), depth=(0, 6)), IMAGE, 5)
    given = records(30)
    expected = learned(given)
    untrusted()
    assert learned([*((each, 1.0) for each in foreign), *given]) == expected


# for real


def test_latencies_that_were_measured_are_learned() -> None:
    """From 24 timed networks, 12 others are put into nearly the order of their latencies, which differ tenfold."""
    clock = calibrate("cpu", 1)
    networks = sampled(pn.ConvSpace(layers=(1, 6)), DataSpec((1, 16, 16), 10), 36)
    timings = [timing(Deployed(build(each, seed=0).eval(), each), "torch", 1, 1) for each in networks]
    taken = [measure_latencies([each], clock, seconds=0.05)[0].latency_ms for each in timings]
    predictor = learned(list(zip(networks[:24], taken[:24], strict=True)))
    foretold = [predictor.predict(architecture) for architecture in networks[24:]]
    assert kendalltau(foretold, taken[24:]).statistic > 0.6
