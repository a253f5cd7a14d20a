"""The key of a candidate: equal for one network trained one way, whatever genes led there."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretonas.errors import UsageError
from paretonas.spaces import Architecture, Candidate, ConvSpace, DataSpec, MLPSpace, Training

GRAY, ROW = DataSpec((1, 8, 8), 10), DataSpec((16,), 3)


@settings(deadline=None, max_examples=50)
@given(seeds=st.tuples(st.integers(0, 200), st.integers(0, 200)))
def test_keys_are_equal_exactly_for_equal_networks(seeds: tuple[int, int]) -> None:
    """What is trained and what is left after pruning decide, not the genes that led there."""
    space = MLPSpace(layers=(0, 2), widths=[2, 4], activations="relu", pruning=[0.0, 0.1, 0.5, 0.6])
    one, other = (space.sample(ROW, seed=seed) for seed in seeds)
    same = (one.architecture, one.deployed) == (other.architecture, other.deployed)
    assert (one.key == other.key) == same


@pytest.mark.parametrize("sharing", ["stage", "all"])
def test_sharing_without_effect_is_not_in_the_key(sharing: str) -> None:
    """Where no two layers have one shape, every mode of sharing is the same network."""
    none, some = (
        ConvSpace(layers=2, stages=1, widths=8, activations="relu", pruning=0.0, sharing=mode).sample(GRAY).key
        for mode in ("none", sharing)
    )
    assert none == some


def test_two_modes_of_sharing_that_tie_the_same_layers_have_one_key() -> None:
    """With one stage, within it and everywhere are the same."""
    keys = [
        ConvSpace(layers=4, stages=1, widths=8, activations="relu", pruning=0.0, sharing=sharing).sample(GRAY).key
        for sharing in ("none", "stage", "all")
    ]
    assert keys[1] == keys[2] != keys[0]


def test_widths_per_layer_that_are_equal_have_the_key_of_one_width() -> None:
    """How widths were asked for is no part of the network."""
    network, layer = (
        MLPSpace(layers=3, widths=8, width_per=per, activations="relu", pruning=0.0).sample(ROW).key
        for per in ("network", "layer")
    )
    assert network == layer


@pytest.mark.parametrize(("ratio", "same"), [(0, True), (0.01, True), (0.12, True), (0.125, False), (0.5, False)])
def test_pruning_that_leaves_all_channels_is_not_in_the_key(ratio: float, same: bool) -> None:  # noqa: FBT001
    """Of 8 channels one leaves at a ratio of 1/8, none below."""
    architecture = wide_8()
    assert (Candidate(architecture, ratio).key == Candidate(architecture).key) == same


def test_pruning_ratios_that_leave_the_same_channels_have_one_key() -> None:
    """0.5 and 0.6 leave four of eight channels, 0.7 leaves three."""
    half, more, most = (Candidate(wide_8(), ratio).key for ratio in (0.5, 0.6, 0.7))
    assert half == more != most


def test_fine_tuning_is_in_the_key_only_where_something_is_pruned() -> None:
    """Without pruning nothing is fine-tuned."""
    short, long = Training(finetune_epochs=1), Training(finetune_epochs=9)
    architecture = wide_8()
    assert Candidate(architecture, 0.0, short).key == Candidate(architecture, 0.0, long).key
    assert Candidate(architecture, 0.1, short).key == Candidate(architecture, 0.1, long).key
    assert Candidate(architecture, 0.5, short).key != Candidate(architecture, 0.5, long).key


@pytest.mark.parametrize(
    "other",
    [
        Training(epochs=11),
        Training(batch_size=32),
        Training(learning_rate=0.02),
        Training(weight_decay=0.0),
    ],
)
def test_the_training_is_in_the_key(other: Training) -> None:
    """The same network trained otherwise is another candidate."""
    assert Candidate(wide_8(), training=other).key != Candidate(wide_8()).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Training(learning_rate=1), Training(learning_rate=1.0)),
        (Training(weight_decay=0), Training(weight_decay=0.0)),
    ],
)
def test_equal_trainings_have_one_key(one: Training, other: Training) -> None:
    """A whole number and the same number with a point train the same."""
    assert one == other
    assert Candidate(wide_8(), training=one).key == Candidate(wide_8(), training=other).key


@pytest.mark.parametrize("broken", [{}, {"architecture": {}}, {"architecture": 3, "training": 3}])
def test_a_broken_candidate_is_refused(broken: dict[str, Any]) -> None:
    """Anything but what to_json wrote is a UsageError."""
    with pytest.raises(UsageError):
        Candidate.from_json(broken)


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, float("nan"), "0"])
def test_a_candidate_refuses_a_ratio_that_leaves_nothing(ratio: float) -> None:
    """The message gives the bounds and what came."""
    with pytest.raises(ValueError, match=f"at least 0 and below 1, {ratio!r} was given"):
        Candidate(wide_8(), ratio)


def wide_8() -> Architecture:
    return ConvSpace(layers=1, stages=1, widths=8, activations="relu", pruning=0.0).sample(GRAY).architecture
