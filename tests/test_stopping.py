"""What may stop early, and what never."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretonas.errors import UsageError
from paretonas.search.forecast import Curve
from paretonas.search.goals import STOPPINGS, Goal
from paretonas.search.stopping import reason_to_stop

ACCURACY = Goal("accuracy", "maximize", quality=True, best=1.0)
COSTS = (Goal("parameters", "minimize", quality=False), Goal("latency_ms", "minimize", quality=False))
GOALS = (ACCURACY, *COSTS)
EPOCHS = 10
EARLY = ("forecast", "rungs")


def rising(end: float, epochs: int = EPOCHS) -> tuple[float, ...]:
    return tuple(float(end - (end - 0.1) * np.exp(-4 * (e + 1) / epochs)) for e in range(epochs))


def costs(size: float) -> dict[str, float]:
    return {"parameters": 1000.0 * size, "latency_ms": 0.1 * size}


def ended(end: float, size: float, epochs: int = EPOCHS) -> Curve:
    scores = rising(end, epochs)
    return Curve(scores, epochs, {**costs(size), "accuracy": scores[-1]}, finished=True)


def begun(end: float, size: float, epoch: int, epochs: int = EPOCHS) -> Curve:
    return Curve(rising(end, epochs)[:epoch], epochs, costs(size), finished=False)


def study(n: int = 30, seed: int = 0) -> list[Curve]:
    """Larger networks are better, by and large; one in ten learns nothing."""
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.uniform(0, 4, n))
    ends = np.clip(0.6 + 0.08 * np.log(sizes) + rng.normal(0, 0.04, n), 0.2, 0.97)
    ends[rng.random(n) < 0.1] = 0.1
    return [ended(float(end), float(size)) for end, size in zip(ends, sizes, strict=True)]


def test_the_rules_are_named() -> None:
    assert STOPPINGS == ("forecast", "rungs", "none")
    with pytest.raises(UsageError, match="one of forecast, rungs, none, not 'median'"):
        reason_to_stop("median", begun(0.5, 2, 3), study(), GOALS)


@pytest.mark.parametrize("epoch", range(1, EPOCHS))
def test_none_stops_nothing(epoch: int) -> None:
    assert reason_to_stop("none", begun(0.1, 50, epoch), study(), GOALS) is None


@pytest.mark.parametrize("rule", EARLY)
def test_the_last_epoch_is_never_a_reason(rule: str) -> None:
    assert reason_to_stop(rule, begun(0.1, 50, EPOCHS), study(), GOALS) is None
    assert reason_to_stop(rule, Curve((), EPOCHS, costs(50), finished=False), study(), GOALS) is None


@pytest.mark.parametrize("rule", EARLY)
def test_without_finished_ones_nothing_stops(rule: str) -> None:
    others = [begun(0.9, size, 8) for size in range(1, 30)]
    assert all(reason_to_stop(rule, begun(0.1, 50, epoch), others, GOALS) is None for epoch in range(1, EPOCHS))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(EARLY), st.integers(0, 50), st.integers(1, EPOCHS - 1), st.floats(0.01, 0.9))
def test_what_is_best_in_everything_so_far_is_never_stopped(rule: str, seed: int, epoch: int, size: float) -> None:
    others = study(seed=seed)
    most = max(other.scores[epoch - 1] for other in others)
    curve = Curve((*rising(0.5)[: epoch - 1], most), EPOCHS, costs(size), finished=False)
    assert reason_to_stop(rule, curve, others, GOALS) is None


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 50),
    epoch=st.integers(2, EPOCHS - 1),
    size=st.floats(1.0, 50.0),
    end=st.floats(0.1, 0.9),
    has_curve=st.booleans(),
)
def test_what_is_dominated_whatever_comes_is_stopped(
    seed: int, epoch: int, size: float, end: float, *, has_curve: bool
) -> None:
    """A finished network that costs no more is at the best there is, whether or not it was trained in this study."""
    scores = (1.0,) * EPOCHS if has_curve else ()
    perfect = Curve(scores, EPOCHS, {**costs(size), "accuracy": 1.0}, finished=True)
    why = reason_to_stop("forecast", begun(end, 1.01 * size, epoch), [*study(seed=seed), perfect], GOALS)
    assert why is not None
    assert "1 is reached" in why


@pytest.mark.parametrize("rule", EARLY)
def test_the_smallest_network_is_stopped_if_it_learns_nothing(rule: str) -> None:
    """Its cost alone makes no point of the front worth the epochs."""
    others = [*study(40), *(ended(0.1, size) for size in (0.5, 0.6, 0.7))]
    flat = [Curve((0.1,) * epoch, EPOCHS, costs(0.4), finished=False) for epoch in range(1, EPOCHS)]
    assert any(reason_to_stop(rule, curve, others, GOALS) for curve in flat)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 30), st.integers(1, EPOCHS - 1), st.floats(1, 50), st.floats(0.1, 0.9), st.floats(0.0, 0.1))
def test_a_better_curve_is_not_stopped_where_a_worse_one_goes_on(
    seed: int, epoch: int, size: float, end: float, more: float
) -> None:
    worse, better = begun(end, size, epoch), begun(end + more, size, epoch)
    if reason_to_stop("forecast", worse, study(seed=seed), GOALS) is None:
        assert reason_to_stop("forecast", better, study(seed=seed), GOALS) is None


def test_hopeless_ones_stop_and_the_rest_goes_on() -> None:
    """A network that is no better than much smaller ones stops soon; one that would lead its size does not."""
    others = study(40)
    assert reason_to_stop("forecast", begun(0.3, 40, 4), others, GOALS)
    assert all(reason_to_stop("forecast", begun(0.97, 20, epoch), others, GOALS) is None for epoch in range(2, EPOCHS))


def test_the_reason_is_a_clause_for_people() -> None:
    why = reason_to_stop("forecast", begun(0.3, 40, 4), study(40), GOALS)
    assert why is not None
    assert why.startswith("after epoch 4 of 10 it is expected to end at 0.")
    assert "is reached with fewer parameters and a lower latency_ms" in why


def test_epochs_planned_may_differ() -> None:
    """4 of 10 epochs compare with 8 of 20."""
    others = [ended(c.scores[-1], c.values["parameters"] / 1000, 20) for c in study(40)]
    assert reason_to_stop("forecast", begun(0.3, 40, 4), others, GOALS)
    assert reason_to_stop("forecast", begun(0.97, 20, 6), others, GOALS) is None


def test_a_quality_that_is_minimised() -> None:
    error = Goal("mae", "minimize", quality=True, best=0.0)
    others = [
        Curve(
            tuple(10 - 10 * s for s in c.scores), c.planned, {**c.values, "mae": 10 - 10 * c.scores[-1]}, finished=True
        )
        for c in study(40)
    ]
    bad, good = (
        Curve(tuple(10 - 10 * s for s in rising(end)[:6]), EPOCHS, costs(size), finished=False)
        for end, size in ((0.3, 40), (0.97, 20))
    )
    assert reason_to_stop("forecast", bad, others, (error, *COSTS))
    assert reason_to_stop("forecast", good, others, (error, *COSTS)) is None


def test_what_is_good_in_a_second_quality_goes_on() -> None:
    """The second quality does not follow the first, so little is said about the gain."""
    rng = np.random.default_rng(0)
    second = Goal("fairness", "maximize", quality=True, best=1.0)
    others = [Curve(c.scores, 10, {**c.values, "fairness": rng.uniform(0.2, 0.9)}, finished=True) for c in study(30)]
    curve = begun(0.8, 20, 5)
    assert reason_to_stop("forecast", curve, others, (ACCURACY, second, *COSTS)) is None


@pytest.mark.parametrize("rule", EARLY)
def test_odd_values_do_no_harm(rule: str) -> None:
    odd = [
        Curve((float("nan"),) * 3, EPOCHS, {"parameters": float("inf")}, finished=False),
        Curve((0.1,) * 10, 10, {"accuracy": float("nan"), "parameters": 0.0}, finished=True),
        Curve((), EPOCHS, {}, finished=False),
    ]
    for curve in (Curve((0.1, float("nan")), EPOCHS, {}, finished=False), begun(0.4, 5, 3)):
        reason_to_stop(rule, curve, [*study(10), *odd], GOALS)
        reason_to_stop(rule, curve, [*study(10), *odd], (ACCURACY,))


def test_it_takes_little_time() -> None:
    """200 finished curves of 100 epochs, processor time; 5 ms are wanted, 20 allowed on a busy host."""
    others = [ended(c.scores[-1], c.values["parameters"] / 1000, 100) for c in study(200)]
    reason_to_stop("forecast", begun(0.8, 20, 1, 100), others, GOALS)
    before = time.process_time()
    for epoch in range(1, 41):
        reason_to_stop("forecast", begun(0.8, 20, epoch, 100), others, GOALS)
    assert (time.process_time() - before) / 40 < 0.02
