"""What the search learns from: features of any candidate."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import paretonas as pn
from paretonas.search.traits import traits
from paretonas.spaces import Candidate, Compression, ModuleArchitecture, Training
from paretonas.spaces.compression import Start

IMAGES, SIGNALS = pn.DataSpec((1, 8, 8), 10), pn.DataSpec((1, 40), 10)
SPACES = [
    (pn.ConvSpace(blocks=["conv", "residual", "separable", "inverted_residual"], squeeze=[0.0, 0.25]), IMAGES),
    (pn.ConvSpace(compression=pn.CompressionSpace(scope=["layer", "global"], removed_layers=[0, 1])), SIGNALS),
    (pn.TransformerSpace(training=pn.TrainingSpace(learning_rate=pn.Range(1e-4, 1e-1, log=True))), SIGNALS),
    (pn.MLPSpace(compression=pn.CompressionSpace(sparsity=[0.0, 0.5], bits=[32, 8])), IMAGES),
]


@given(which=st.integers(0, len(SPACES) - 1), seed=st.integers(0, 10**6))
def test_traits_are_finite_plain_values_that_follow_from_the_candidate(which: int, seed: int) -> None:
    """Of any space; a candidate that was stored has those of the one that was suggested."""
    space, spec = SPACES[which]
    candidate = space.sample(spec, seed=seed)
    found = traits(candidate)
    assert all(isinstance(value, str | bool) or math.isfinite(value) for value in found.values())
    assert found == traits(Candidate.from_json(json.loads(json.dumps(candidate.to_json()))))


@given(seed=st.integers(0, 10**6), ratio=st.floats(0, 0.7), other=st.floats(0, 0.7))
def test_one_candidate_has_one_set_of_traits(seed: int, ratio: float, other: float) -> None:
    """Ratios that leave the same units are the same candidate, and look the same."""
    space = pn.ConvSpace(widths=[4, 8], layers=(1, 3))
    one = replace(space.sample(IMAGES, seed=seed), pruning=ratio)
    two = replace(one, pruning=other)
    assert (one.key != two.key) or (traits(one) == traits(two))


def test_traits_of_a_known_network() -> None:
    """Counts, ends and means of the blocks; shares of words; sizes as logarithms."""
    blocks = (
        pn.Block("conv", width=4, kernel=3, activation="relu"),
        pn.Block("conv", width=12, kernel=5, activation="silu"),
        pn.Block("max_pool"),
        pn.Block("conv", width=12, kernel=1, activation="relu"),
        pn.Block("global_average_pool"),
    )
    network = pn.Architecture((1, 8, 8), blocks, (pn.Head(10),))
    found = traits(Candidate(network, training=Training(learning_rate=0.1)))
    assert found["layers"] == found["blocks of conv"] == 3
    assert (found["width first"], found["width last"], found["width mean"], found["width most"]) == (4, 12, 28 / 3, 12)
    assert (found["kernel first"], found["kernel mean"], found["kernel last"]) == (3, 3, 1)
    assert (found["activation relu"], found["activation silu"]) == (2 / 3, 1 / 3)
    assert found["log last map"] == math.log(16)
    parameters = (9 * 4 + 8) + (25 * 4 * 12 + 24) + (12 * 12 + 24) + 13 * 10
    assert found["log parameters"] == pytest.approx(math.log10(1 + parameters))
    assert found["learning_rate"] == math.log(0.1)
    assert (found["inherited"], found["pruning"], found["shared"]) == (False, 0.0, 0.0)
    assert "finetune_epochs" not in found


def test_traits_tell_what_is_shared_pruned_and_inherited() -> None:
    """Each changes the traits that name it."""
    conv = pn.Block("conv", width=8)
    blocks = (pn.Block("conv", width=8), conv, conv.replace(shares=1), pn.Block("global_average_pool"))
    network = pn.Architecture((1, 8, 8), blocks, (pn.Head(10),))
    assert traits(Candidate(network))["shared"] == 1 / 3
    pruned = traits(Candidate(network, pruning=0.5))
    assert isinstance(pruned["pruning"], float)
    assert 0.5 < pruned["pruning"] < 0.8  # of the parameters
    later = traits(Candidate(network, pruning=0.5, compression=Compression(scope="global")))
    assert (later["pruning"], later["scope"]) == (0.5, "global")
    started = Candidate(network, compression=Compression(bits=8), start=Start(3, "0" * 32))
    assert (traits(started)["inherited"], traits(started)["bits"]) == (True, 8)
    assert "epochs" not in traits(started)


def test_traits_tell_how_much_tasks_have_in_common() -> None:
    """The share of the blocks that lead to every head."""
    blocks = (
        pn.Block("flatten"),
        pn.Block("linear", width=8),
        pn.Block("linear", width=4),
        pn.Block("linear", width=4, follows=1),
    )
    heads = (pn.Head(2, "a", follows=2), pn.Head(2, "b"))
    assert traits(Candidate(pn.Architecture((1, 8, 8), blocks, heads)))["trunk"] == 0.5


def test_a_module_of_ones_own_has_its_arguments() -> None:
    """They are all that is known of it without running its code."""
    network = ModuleArchitecture((1, 8, 8), (), (pn.Head(10),), factory="a.b:c", arguments={"w": 8, "k": "x"})
    found = traits(Candidate(network))
    assert (found["factory"], found["argument w"], found["argument k"]) == ("a.b:c", 8, "x")
