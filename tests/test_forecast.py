"""What a learning curve tells of its end."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretonas.search.forecast import Curve, forecast
from paretonas.search.goals import Goal

ACCURACY = Goal("accuracy", "maximize", quality=True, best=1.0)
PARAMETERS = Goal("parameters", "minimize", quality=False)
GOALS = (ACCURACY, PARAMETERS)
EPOCHS = 12


def saw(end: float, *, epochs: int = EPOCHS, noise: np.random.Generator | None = None) -> tuple[float, ...]:
    """A curve of restarts: it falls by half at each, and only its last tooth reaches the end."""
    teeth = [(1 + epoch % 4) / 4 * (1 + epoch // 4) / (1 + (epochs - 1) // 4) for epoch in range(epochs)]
    shaky = np.zeros(epochs) if noise is None else noise.normal(0, 0.01, epochs)
    return tuple(float(0.1 + (end - 0.1) * tooth + wobble) for tooth, wobble in zip(teeth, shaky, strict=True))


def ended(end: float, parameters: float, *, epochs: int = EPOCHS, noise: np.random.Generator | None = None) -> Curve:
    scores = saw(end, epochs=epochs, noise=noise)
    return Curve(scores, epochs, {"accuracy": scores[-1], "parameters": parameters}, finished=True)


def begun(end: float, parameters: float, epoch: int, *, epochs: int = EPOCHS) -> Curve:
    return Curve(saw(end, epochs=epochs)[:epoch], epochs, {"parameters": parameters}, finished=False)


def study(n: int, *, seed: int = 0) -> list[Curve]:
    rng = np.random.default_rng(seed)
    return [ended(rng.uniform(0.5, 0.98), rng.uniform(1e3, 1e5), noise=rng) for _ in range(n)]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_too_few_finished_curves_tell_nothing(n: int) -> None:
    assert forecast(begun(0.9, 1e4, 4), study(n), GOALS) == {}


@pytest.mark.parametrize("epoch", [3, 4, 5, 8, 9, 11])
def test_the_end_is_learnt_through_the_teeth_of_a_saw(epoch: int) -> None:
    """Right after a restart the score is far below its last peak, and the forecast is not."""
    mean, spread = forecast(begun(0.9, 1e4, epoch), study(30), GOALS)["accuracy"]
    assert abs(mean - 0.9) < 0.05
    assert 0.001 < spread < 0.1


def late(schedule: str, start: float) -> Curve:
    """One that rises at its end, if its learning rate falls by then."""
    gain = 0.2 if schedule == "cosine" else 0.0
    scores = tuple(start + 0.01 * epoch + (gain if epoch > 8 else 0.0) for epoch in range(EPOCHS))
    return Curve(scores, EPOCHS, {"accuracy": scores[-1]}, finished=True, features={"schedule": schedule})


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_what_is_trained_tells_what_the_curve_does_not_yet(schedule: str) -> None:
    """Curves that began alike, whose ends differ by how they are trained."""
    others = [late(kind, start) for kind in ("cosine", "constant") for start in np.linspace(0.3, 0.6, 10).tolist()]
    whole = late(schedule, 0.5)
    running = Curve(whole.scores[:6], EPOCHS, {}, finished=False, features=whole.features)
    mean, spread = forecast(running, others, GOALS)["accuracy"]
    assert mean == pytest.approx(whole.values["accuracy"], abs=0.05)
    blind = [replace(curve, features={}) for curve in others]
    guessed, wide = forecast(replace(running, features={}), blind, GOALS)["accuracy"]
    assert abs(guessed - whole.values["accuracy"]) > 0.06
    assert spread < wide / 2


@pytest.mark.parametrize("names", [0, 1, 20])
def test_nine_of_ten_ends_are_within_two_spreads(names: int) -> None:
    """Over 200 fresh curves, after a quarter of the way, also where features say nothing."""
    rng, hits = np.random.default_rng(1), 0

    def featured(curve: Curve) -> Curve:
        return replace(curve, features={f"x{name}": rng.normal() for name in range(names)})

    others = [featured(curve) for curve in study(40)]
    for _ in range(200):
        whole = ended(rng.uniform(0.5, 0.98), rng.uniform(1e3, 1e5), noise=rng)
        seen = featured(Curve(whole.scores[:3], EPOCHS, {"parameters": whole.values["parameters"]}, finished=False))
        mean, spread = forecast(seen, others, GOALS)["accuracy"]
        hits += abs(mean - whole.values["accuracy"]) <= 2 * spread
    assert 0.88 <= hits / 200 <= 1.0


def test_few_curves_give_a_wider_spread_than_many() -> None:
    wide = np.mean([forecast(begun(0.9, 1e4, 4), study(5, seed=s), GOALS)["accuracy"][1] for s in range(20)])
    narrow = np.mean([forecast(begun(0.9, 1e4, 4), study(60, seed=s), GOALS)["accuracy"][1] for s in range(20)])
    assert wide > 1.2 * narrow


def test_planned_epochs_may_differ() -> None:
    """The part of the way counts: what takes twice as long looks the same after twice as long."""
    others = [ended(end, 1e4 + 1e3 * end) for end in np.linspace(0.5, 0.98, 15)]
    twice = tuple(score for score in saw(0.8) for _ in range(2))
    for epoch in (4, 6, 8, 11):
        short = forecast(Curve(saw(0.8)[:epoch], 12, {}, finished=False), others, GOALS)["accuracy"][0]
        long = forecast(Curve(twice[: 2 * epoch], 24, {}, finished=False), others, GOALS)["accuracy"][0]
        assert abs(short - 0.8) < 0.05
        assert abs(long - short) < 0.06


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=EPOCHS - 1),
    st.lists(st.floats(0.0, 0.5), min_size=EPOCHS, max_size=EPOCHS),
    st.integers(0, 5),
)
def test_a_better_curve_is_never_expected_to_end_worse(scores: list[float], more: list[float], seed: int) -> None:
    better = [min(score + gain, 1.0) for score, gain in zip(scores, more, strict=False)]
    means = [
        forecast(Curve(tuple(s), EPOCHS, {"parameters": 2e4}, finished=False), study(12, seed=seed), GOALS)["accuracy"][
            0
        ]
        for s in (scores, better)
    ]
    assert means[1] >= means[0] - 1e-9


def test_a_quality_that_is_minimised_is_forecast_from_scores_that_rise() -> None:
    """Mean absolute error from accuracies: the sign is learnt, and the goal's own scale is kept."""
    error = Goal("mae", "minimize", quality=True, best=0.0)
    others = [
        Curve(c.scores, c.planned, {"mae": 40 * (1 - c.values["accuracy"]) + 1, "parameters": 1e4}, finished=True)
        for c in study(30)
    ]
    good, bad = (forecast(begun(end, 1e4, 6), others, (error, PARAMETERS))["mae"][0] for end in (0.95, 0.55))
    assert abs(good - 3) < 2.5
    assert abs(bad - 19) < 6


def test_several_qualities_have_a_forecast_each() -> None:
    f1 = Goal("f1", "maximize", quality=True, best=1.0)
    others = [Curve(c.scores, 12, {**c.values, "f1": c.values["accuracy"] * 0.5}, finished=True) for c in study(30)]
    told = forecast(begun(0.9, 1e4, 8), others, (*GOALS, f1))
    assert told["accuracy"][0] == pytest.approx(0.9, abs=0.04)
    assert told["f1"][0] == pytest.approx(0.45, abs=0.03)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_does_no_harm(bad: float) -> None:
    others = [*study(10), Curve((0.2, bad) + (0.1,) * 10, 12, {"accuracy": 0.1, "parameters": bad}, finished=True)]
    mean, spread = forecast(Curve((0.2, bad), 12, {"parameters": bad}, finished=False), others, GOALS)["accuracy"]
    assert 0 <= mean <= 1
    assert np.isfinite(spread)


def test_constant_qualities_and_costs_are_forecast_as_they_are() -> None:
    others = [Curve((0.5,) * 4, 4, {"accuracy": 0.5, "parameters": 7.0}, finished=True)] * 6
    mean, spread = forecast(Curve((0.5,), 4, {"parameters": 7.0}, finished=False), others, GOALS)["accuracy"]
    assert mean == pytest.approx(0.5)
    assert spread < 1e-6
