"""What a field of a search space may hold, and what is asked of a trial for it."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretonas.errors import InvalidSpace, UsageError
from paretonas.spaces import (
    ConvSpace,
    DataSpec,
    MLPSpace,
    Options,
    Range,
    Space,
    Suggester,
    Training,
    TrainingSpace,
    space_from_json,
)
from paretonas.spaces.choices import RandomSuggester, as_choice, suggest

IMAGES = DataSpec((1, 8, 8), 10)
FLOATS = st.floats(-1e6, 1e6)
POSITIVE = st.floats(1e-6, 1e6)
SEEDS = st.integers(0, 2**32)


class Recorder(RandomSuggester):
    """A random trial that keeps the names it was asked for."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.asked: list[str] = []

    def suggest_categorical(self, name: str, choices: Sequence[bool | int | float | str], /) -> Any:
        self.asked.append(name)
        return super().suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1, log: bool = False) -> int:
        self.asked.append(name)
        return super().suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, /, *, step: float | None = None, log: bool = False
    ) -> float:
        self.asked.append(name)
        return super().suggest_float(name, low, high, step=step, log=log)


# what is refused


@pytest.mark.parametrize(
    ("field", "given_value", "words"),
    [
        ("widths", [], ["at least one", "empty"]),
        ("widths", (64, 8), ["(64, 8)", "low to high", "swap"]),
        ("widths", (8, 16, 32), ["(8, 16, 32)", "write a list"]),
        ("widths", {"low": 1, "high": 6, "step": 2}, ["(1, 6)", "step 2", "ends on a step"]),
        ("widths", (8,), ["(8,)", "range"]),
        ("widths", (8, "16"), ["(8, '16')", "range"]),
        ("widths", [8, "16"], ["'16'", "whole numbers"]),
        ("widths", [8, 8], ["[8, 8]", "once"]),
        ("widths", [[8]], ["[[8]]"]),
        ("widths", None, ["None"]),
        ("widths", True, ["True", "whole numbers"]),
        ("widths", 8.0, ["8.0", "whole numbers"]),
        ("widths", (8.0, 16.0), ["8.0", "whole numbers"]),
        ("widths", 0, ["0", "at least 1"]),
        ("layers", 0, ["0", "at least 1"]),
        ("layers", (0, 4), ["0", "at least 1"]),
        ("stages", -1, ["-1", "at least 1"]),
        ("hidden_layers", -1, ["-1", "at least 0"]),
        ("kernels", 4, ["4", "odd"]),
        ("kernels", [3, 4], ["4", "odd"]),
        ("kernels", (1, 5), ["odd", "step of 2"]),
        ("kernels", Range(1, 9, log=True), ["odd"]),
        ("activations", "rulu", ["'rulu'", "relu", "leaky_relu", "tanh"]),
        ("activations", ["relu", 3], ["3", "leaky_relu"]),
        ("activations", (1, 3), ["range", "leaky_relu"]),
        ("norms", "layer", ["'layer'", "batch", "none"]),
        ("pooling", "min", ["'min'", "max", "average", "none"]),
        ("readout", "max", ["'max'", "average", "flatten"]),
        ("sharing", "some", ["'some'", "none", "stage", "all"]),
        ("width_per", "block", ["'block'", "network", "stage", "layer"]),
        ("pruning", 1.0, ["1.0", "below 1"]),
        ("pruning", (0.0, 1.0), ["1.0", "below 1"]),
        ("pruning", -0.1, ["-0.1", "at least 0"]),
        ("pruning", [0.0, "half"], ["'half'", "numbers"]),
        ("pruning", math.nan, ["nan"]),
    ],
    ids=repr,
)
def test_a_bad_choice_is_refused(field: str, given_value: Any, words: list[str]) -> None:
    """InvalidSpace names the field, what came and what is allowed."""
    with pytest.raises(InvalidSpace) as raised:
        ConvSpace(**{field: given_value})
    for word in [f"ConvSpace.{field}", *words]:
        assert word in str(raised.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConvSpace(widths=Options(())),
        lambda: ConvSpace(widths=Options((8, 8))),
        lambda: ConvSpace(widths=Range("8", "16")),  # type: ignore[arg-type]
        lambda: ConvSpace(widths={"low": "8", "high": "16"}),  # type: ignore[arg-type]
        lambda: ConvSpace(widths=Range(8, 16, step="4")),  # type: ignore[arg-type]
    ],
    ids=["empty", "repeated", "words", "words in JSON", "step"],
)
def test_ready_made_options_and_ranges_are_checked_too(make: Callable[[], Space]) -> None:
    """Options and Range check themselves when made, as a list and a pair are checked."""
    with pytest.raises(InvalidSpace):
        make()


@pytest.mark.parametrize("sharing", ["stage", ["none", "stage"]])
def test_an_mlp_has_no_stages_to_share_in(sharing: Any) -> None:
    """MLPSpace lists the modes of sharing that it has."""
    with pytest.raises(InvalidSpace, match=r"MLPSpace\.sharing 'stage': there is none, all"):
        MLPSpace(sharing=sharing)


@pytest.mark.parametrize(
    ("ends", "settings_given", "message"),
    [
        ((1, math.inf), {}, "finite"),
        ((math.nan, 1), {}, "finite"),
        ((2, 1), {}, "swap"),
        ((1, 4), {"step": 0}, "step=0"),
        ((1, 4), {"step": -1}, "step=-1"),
        ((1, 4), {"step": 1, "log": True}, "not together with log"),
        ((0, 4), {"log": True}, "above 0"),
    ],
)
def test_a_bad_range_is_refused(ends: tuple[float, float], settings_given: dict[str, Any], message: str) -> None:
    """A range checks its ends, its step and its scale when it is made."""
    with pytest.raises(InvalidSpace, match=message):
        Range(*ends, **settings_given)


def test_a_conv_space_refuses_what_is_no_image() -> None:
    """The message gives the data's shape and the space to use instead."""
    with pytest.raises(InvalidSpace, match=r"\(64,\).*MLPSpace"):
        ConvSpace().sample(DataSpec((64,), 10))


def test_an_unknown_type_of_space_is_refused() -> None:
    """The message lists the spaces there are."""
    with pytest.raises(InvalidSpace, match="'perceptron': there is conv, mlp"):
        space_from_json({**ConvSpace().to_json(), "type": "perceptron"})


def test_an_unknown_field_of_a_space_is_refused() -> None:
    """The message lists the fields there are."""
    with pytest.raises(InvalidSpace, match=r"'depths': .*there is .*layers"):
        space_from_json({**ConvSpace().to_json(), "depths": 3})


@pytest.mark.parametrize("training", [{"training": None}, {"training": {"speed": 1}}], ids=repr)
def test_a_space_with_a_broken_training_is_refused(training: dict[str, Any]) -> None:
    """What space_from_json cannot read is a UsageError, whatever is broken."""
    with pytest.raises(UsageError):
        space_from_json({"type": "conv", "layers": 2, **training})


@pytest.mark.parametrize(
    "bad", [{"epochs": 0}, {"batch_size": -1}, {"learning_rate": math.nan}, {"learning_rate": 0}, {"weight_decay": -1}]
)
def test_a_bad_training_is_refused(bad: dict[str, Any]) -> None:
    """A training names the setting and what came."""
    (name, value), *_ = bad.items()
    with pytest.raises(UsageError, match=rf"{name} of the training must be .*{value}"):
        Training(**bad)


@pytest.mark.parametrize("bad", [{"epochs": 1.5}, {"epochs": "10"}, {"learning_rate": math.inf}], ids=repr)
def test_a_training_of_the_wrong_type_is_refused(bad: dict[str, Any]) -> None:
    """Epochs are whole numbers, and a learning rate is finite: its key is made from JSON."""
    with pytest.raises(UsageError):
        Training(**bad)


# what is accepted


@pytest.mark.parametrize(
    ("given_value", "choice"),
    [
        (8, Options((8,))),
        ("relu", Options(("relu",))),
        ([8], Options((8,))),
        ([8, 16], Options((8, 16))),
        ((8, 16), Range(8, 16)),
        ((0.0, 0.5), Range(0.0, 0.5)),
        (Range(8, 16, step=4), Range(8, 16, step=4)),
        (Options((8, 16)), Options((8, 16))),
        ({"low": 8, "high": 16, "step": None, "log": True}, Range(8, 16, log=True)),
    ],
    ids=repr,
)
def test_a_choice_is_a_value_a_list_or_a_range(given_value: Any, choice: Options | Range) -> None:
    """A scalar is a constant, a list its options, a pair or a Range a range."""
    assert as_choice(given_value, "here") == choice


@pytest.mark.parametrize("constant", [7, [7], (7, 7), Range(7, 7), Options((7,))], ids=repr)
def test_a_constant_is_not_asked_for(constant: Any) -> None:
    """A gene with one possible value is answered without the trial."""
    trial = Recorder()
    assert suggest(trial, "width", as_choice(constant, "here")) == 7
    assert trial.asked == []


def test_a_space_of_constants_asks_for_nothing() -> None:
    """A space without a choice is one network."""
    trial = Recorder()
    space = ConvSpace(layers=2, stages=1, widths=8, activations="relu", sharing="all", pruning=0.5)
    candidate = space.suggest(trial, IMAGES)
    assert trial.asked == []
    assert candidate == space.sample(IMAGES, seed=1)


def test_genes_have_generated_names() -> None:
    """The trial is asked for each gene once, under the dotted path of what it decides."""
    trial = Recorder()
    space = ConvSpace(layers=(3, 4), stages=[2, 3], hidden_layers=2, hidden_widths=[8, 16], sharing="none")
    space.suggest(trial, IMAGES)
    widths = [name for name in trial.asked if name.startswith("stage") and name != "stages"]
    assert sorted(trial.asked) == sorted({*trial.asked})
    assert {"layers", "stages", "activation", "hidden0.width", "hidden1.width", "pruning"} <= {*trial.asked}
    assert widths == [f"stage{stage}.width" for stage in range(len(widths))]
    assert widths


@pytest.mark.parametrize(
    ("width_per", "names"),
    [
        ("network", ["width"]),
        ("stage", ["stage0.width", "stage1.width"]),
        ("layer", [f"layer{i}.width" for i in range(4)]),
    ],
)
def test_widths_are_chosen_per_network_stage_or_layer(width_per: str, names: list[str]) -> None:
    """One gene for each place that has a width of its own."""
    trial = Recorder()
    space = ConvSpace(layers=4, stages=2, width_per=width_per, activations="relu", sharing="none", pruning=0.0)
    space.suggest(trial, IMAGES)
    assert trial.asked == names


def test_sharing_is_not_asked_for_where_it_has_no_effect() -> None:
    """A network of one layer has nothing to share, so the gene would teach the sampler noise."""
    trial = Recorder()
    ConvSpace(layers=1, stages=1, activations="relu", widths=8, pruning=0.0).suggest(trial, IMAGES)
    assert trial.asked == []


# JSON


@pytest.mark.parametrize(
    "space",
    [
        ConvSpace(),
        MLPSpace(),
        ConvSpace(layers=[2, 4], widths=Range(8, 64, log=True), kernels=Range(1, 5, step=2), pruning=[0.0, 0.5]),
        ConvSpace(training=TrainingSpace(epochs=3, learning_rate=0.1)),
        MLPSpace(layers=0, pruning=(0.1, 0.9), sharing="none"),
    ],
    ids=["conv", "mlp", "ranges", "training", "constants"],
)
def test_a_space_survives_json(space: Space) -> None:
    """What is read back from JSON text is the same space: equal JSON and equal candidates."""
    read = space_from_json(json.loads(json.dumps(space.to_json())))
    assert type(read) is type(space)
    assert read.to_json() == space.to_json()
    assert [read.sample(IMAGES, seed=seed) for seed in range(5)] == [space.sample(IMAGES, seed=s) for s in range(5)]


def test_training_is_replaced_in_a_copy() -> None:
    """replace_training changes what is named and nothing else, and leaves the space as it was."""
    space = ConvSpace(layers=3)
    changed = space.replace_training(epochs=1)
    assert changed.training == TrainingSpace(epochs=1)
    assert space.training == TrainingSpace()
    assert changed.to_json() == {**space.to_json(), "training": changed.to_json()["training"]}


# random suggestions


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, low=st.integers(-1000, 1000), steps=st.integers(0, 50), step=st.integers(1, 50))
def test_random_whole_numbers_stay_within_bounds(seed: int, low: int, steps: int, step: int) -> None:
    """A stepped whole number is in the range and on its grid."""
    high = low + steps * step
    value = suggest(RandomSuggester(seed), "x", Range(low, high, step=step))
    assert isinstance(value, int)
    assert low <= value <= high
    assert low == high or (value - low) % step == 0


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, ends=st.tuples(st.integers(1, 10_000), st.integers(1, 10_000)))
def test_random_whole_numbers_on_a_log_scale_stay_within_bounds(seed: int, ends: tuple[int, int]) -> None:
    """A logarithmic whole number is whole and in the range."""
    low, high = sorted(ends)
    value = suggest(RandomSuggester(seed), "x", Range(low, high, log=True))
    assert isinstance(value, int)
    assert low <= value <= high


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, ends=st.tuples(FLOATS, FLOATS))
def test_random_numbers_stay_within_bounds(seed: int, ends: tuple[float, float]) -> None:
    """A number is in the range."""
    low, high = sorted(ends)
    assert low <= suggest(RandomSuggester(seed), "x", Range(low, high)) <= high


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, ends=st.tuples(POSITIVE, POSITIVE))
def test_random_numbers_on_a_log_scale_stay_within_bounds(seed: int, ends: tuple[float, float]) -> None:
    """A logarithmic number is in the range."""
    low, high = sorted(ends)
    assert low <= suggest(RandomSuggester(seed), "x", Range(low, high, log=True)) <= high


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, low=st.integers(-100, 100), steps=st.integers(1, 50))
def test_random_stepped_numbers_stay_within_bounds(seed: int, low: int, steps: int) -> None:
    """A stepped number is in the range, ends included, and on its grid."""
    start, high = low / 4, (low + steps) / 4
    value = suggest(RandomSuggester(seed), "x", Range(start, high, step=0.25))
    assert start <= value <= high
    assert (value - start) % 0.25 == 0


def test_random_decimal_steps_stay_within_bounds() -> None:
    """Rounding does not carry a stepped number beyond the end of its range."""
    assert max(suggest(RandomSuggester(seed), "x", Range(0.0, 0.3, step=0.1)) for seed in range(50)) <= 0.3


def test_random_numbers_of_a_narrow_log_range_stay_within_bounds() -> None:
    """Rounding does not carry a logarithmic number beyond the end of its range."""
    choice = Range(0.1, 0.1000000000000001, log=True)
    assert max(suggest(RandomSuggester(seed), "x", choice) for seed in range(50)) <= choice.high


def test_every_option_is_drawn() -> None:
    """Nothing in a list, and neither end of a range of whole numbers, is out of reach."""
    trial: Suggester = RandomSuggester(0)
    assert {suggest(trial, "x", Options((1, 2, 3))) for _ in range(100)} == {1, 2, 3}
    assert {suggest(trial, "x", Range(1, 5, step=2)) for _ in range(100)} == {1, 3, 5}
    assert {suggest(trial, "x", Range(1, 3, log=True)) for _ in range(100)} == {1, 2, 3}
