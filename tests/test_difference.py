"""What tells two networks apart, in words."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_families import FAMILIES

import paretonas as pn
from paretonas.spaces.difference import aligned

B = pn.Block


def net(*blocks: pn.Block, heads: tuple[pn.Head, ...] = (pn.Head(10),)) -> pn.Architecture:
    return pn.Architecture((64,), blocks, heads)


WIDE, NARROW = B("linear", width=32), B("linear", width=20)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (net(WIDE), net(NARROW), "block 0 (linear): narrower, 32 to 20"),
        (net(NARROW), net(WIDE), "block 0 (linear): wider, 20 to 32"),
        (net(WIDE), net(WIDE, NARROW), "block 1 of the second (linear): new, width 20"),
        (net(NARROW, WIDE), net(WIDE), "block 0 (linear): left out, width 20"),
        (net(WIDE), net(WIDE.replace(activation="gelu")), "block 0 (linear): activation relu to gelu"),
        (net(WIDE, WIDE), net(WIDE, WIDE.replace(shares=0)), "block 1 (linear): uses the weights of block 0"),
        (net(WIDE, WIDE.replace(shares=0)), net(WIDE, WIDE), "block 1 (linear): own weights, not those of block 0"),
        (net(WIDE, WIDE, WIDE), net(NARROW, NARROW, NARROW), "blocks 0, 1 and 2 (linear): narrower, 32 to 20"),
        (net(WIDE), net(B("residual_linear", hidden=8)), "block 0 (linear): becomes residual_linear"),
        (net(), net(heads=(pn.Head(4),)), "head: outputs 10 to 4"),
        (net(), net(heads=(pn.Head(10), pn.Head(2, "sign"))), "head sign: new, 2 outputs"),
        (net(WIDE), net(WIDE, NARROW), "in all 2,442 parameters become 3,002 (+23%)"),
    ],
)
def test_each_change_has_its_words(one: pn.Architecture, other: pn.Architecture, words: str) -> None:
    """What is said of one change."""
    assert words in pn.difference(one, other)


def test_equal_networks_differ_in_nothing() -> None:
    """No words."""
    assert pn.difference(net(WIDE, NARROW), net(WIDE, NARROW)) == []


def test_kernels_heads_and_inputs_are_compared() -> None:
    """Of convolutions and attention, and what comes in."""
    one = pn.Architecture((1, 8, 8), (B("conv", width=4), B("global_average_pool")), (pn.Head(3),))
    other = pn.Architecture((3, 8, 8), (B("conv", width=4, kernel=5), B("global_average_pool")), (pn.Head(3),))
    assert pn.difference(one, other)[:2] == [
        "input: 1\u00d78\u00d78 to 3\u00d78\u00d78",
        "block 0 (conv): a larger kernel, 3 to 5",
    ]
    tokens = B("embedding", width=8, vocabulary=9, length=6)
    read = [
        pn.Architecture((6,), (tokens, B("transformer", heads=heads), B("mean_positions")), (pn.Head(2),), vocabulary=9)
        for heads in (4, 2)
    ]
    assert "block 1 (transformer): fewer attention heads, 4 to 2" in pn.difference(*read)


def test_modules_of_the_users_own_are_compared_by_their_arguments() -> None:
    """Nothing of them is run."""
    data = {"version": 1, "input_shape": [4], "heads": [{"outputs": 2, "name": "head"}], "factory": "nowhere:net"}
    one, other = (
        pn.Candidate.from_json({"architecture": {**data, "arguments": {"width": width}}, "pruning": 0, "training": {}})
        for width in (8, 16)
    )
    assert pn.difference(one.architecture, other.architecture) == ["width: 8 to 16"]
    assert pn.difference(one.architecture, net()) != []


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(seeds=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))
def test_any_two_networks_can_be_compared(family: str, seeds: tuple[int, int]) -> None:
    """Every block is in the alignment once and in order; words are said exactly where the networks differ."""
    space, data = FAMILIES[family]
    one, other = (space.sample(data, seed=seed).deployed for seed in seeds)
    pairs = aligned(one, other)
    assert [ours for ours, _ in pairs if ours is not None] == list(range(len(one.blocks)))
    assert [theirs for _, theirs in pairs if theirs is not None] == list(range(len(other.blocks)))
    assert bool(pn.difference(one, other)) == (one != other)
    assert aligned(one, one) == [(index, index) for index in range(len(one.blocks))]
