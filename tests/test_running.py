"""What is guessed of candidates that still run, while few have ended."""

import numpy as np
import pytest

from paretonas.search.forecast import Curve, Scale, forecast
from paretonas.search.goals import Goal
from paretonas.search.running import SETTLED, carried_on, guess

ACCURACY = Goal("accuracy", "maximize", quality=True, best=1.0)
PARAMETERS = Goal("parameters", "minimize", quality=False)
GOALS = (ACCURACY, PARAMETERS)
EPOCHS = 10


def scores(end: float, epochs: int = EPOCHS) -> tuple[float, ...]:
    """The error falls from 0.9 to the end by the same factor in each part of the way."""
    return tuple(float(1 - 0.9 * ((1 - end) / 0.9) ** (epoch / epochs)) for epoch in range(1, epochs + 1))


def ended(end: float, epochs: int = EPOCHS) -> Curve:
    return Curve(scores(end, epochs), epochs, {"accuracy": scores(end, epochs)[-1], "parameters": 1e4}, finished=True)


def begun(end: float, epoch: int, epochs: int = EPOCHS) -> Curve:
    return Curve(scores(end, epochs)[:epoch], epochs, {"parameters": 1e4}, finished=False)


def test_nothing_is_guessed_before_one_has_ended_or_before_an_epoch() -> None:
    assert guess(begun(0.9, 4), [begun(0.8, 9), begun(0.7, 5)], GOALS) == {}
    assert guess(begun(0.9, 0), [ended(0.8)], GOALS) == {}


@pytest.mark.parametrize("epochs", [EPOCHS, 2 * EPOCHS])
def test_steps_that_one_has_before_it_are_taken_from_those_that_took_them(epochs: int) -> None:
    """One ended, of two epochs or more: what is alike ends alike, by the part of the way and not by its last score."""
    [(mean, spread)] = guess(begun(0.9, epochs // 2, epochs), [ended(0.9)], GOALS).values()
    assert mean == pytest.approx(0.9, abs=0.02)
    assert spread > 0.005
    assert scores(0.9, epochs)[epochs // 2 - 1] < 0.75


def test_those_that_run_tell_of_the_steps_they_have_taken() -> None:
    """One that ended learned slowly, and five that still run do not: the guess follows the five as far as they are."""
    slow, fast = Curve(scores(0.3), EPOCHS, {"accuracy": scores(0.3)[-1]}, finished=True), begun(0.9, 3)
    alone = guess(fast, [slow], GOALS)["accuracy"][0]
    beside = guess(fast, [slow, *(begun(end, 8) for end in (0.8, 0.85, 0.9, 0.92, 0.95))], GOALS)["accuracy"][0]
    assert alone < beside - 0.2
    assert beside == pytest.approx(0.9, abs=0.1)


def test_a_guess_is_surer_the_further_it_has_come_and_the_more_have_been_there() -> None:
    ends = (0.6, 0.8, 0.9)
    spreads = [guess(begun(0.85, epoch), [ended(end) for end in ends], GOALS)["accuracy"][1] for epoch in (1, 4, 9)]
    assert spreads[0] > 1.2 * spreads[1] > 1.4 * spreads[2]
    one, three = (guess(begun(0.85, 4), [ended(end) for end in ends[:n]], GOALS)["accuracy"][1] for n in (1, 3))
    assert one > 1.2 * three


def test_two_ends_of_three_are_within_one_and_a_half_spreads() -> None:
    """Over 300 guesses of noisy curves of which two to seven have ended, and not all within a tenth of it."""
    random, errors = np.random.default_rng(0), []
    for _ in range(300):
        curves = []
        for end in random.uniform(0.5, 0.97, 8):
            noisy = np.clip(np.array(scores(end)) + random.normal(0, 0.02, EPOCHS), 0, 0.999)
            curves.append(Curve(tuple(noisy.tolist()), EPOCHS, {"accuracy": float(noisy[-1])}, finished=True))
        *others, whole = curves[: random.integers(3, 9)]
        running = Curve(whole.scores[: random.integers(1, EPOCHS)], EPOCHS, {}, finished=False)
        mean, spread = guess(running, others, GOALS)["accuracy"]
        errors.append(abs(mean - whole.scores[-1]) / spread)
    assert np.mean(np.array(errors) < 1.5) > 0.66
    assert np.mean(np.array(errors) < 0.1) < 0.5


def test_once_enough_have_ended_it_is_the_forecast() -> None:
    others = [ended(end) for end in np.linspace(0.5, 0.95, SETTLED)]
    one = begun(0.9, 5)
    assert guess(one, [*others, begun(0.7, 8)], GOALS) == forecast(one, others, GOALS)
    assert guess(one, others[:-1], GOALS) != forecast(one, others[:-1], GOALS)


def test_scores_that_are_not_the_quality_are_not_carried_on() -> None:
    """A study for perplexity whose scores are losses: nothing is said until the forecast can."""
    goals = (Goal("perplexity", "minimize", quality=True, best=1.0), PARAMETERS)
    others = [Curve(one.scores, EPOCHS, {"perplexity": 40.0}, finished=True) for one in map(ended, (0.7, 0.8, 0.9))]
    assert guess(begun(0.9, 5), others, goals) == {}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_scores_that_are_not_finite_do_no_harm(bad: float) -> None:
    """Of others a step into them or out of them is none; of its own nothing is carried on."""
    diverged = Curve((0.2, bad, 0.3, bad), EPOCHS, {}, finished=False)
    told = guess(begun(0.9, 2), [ended(0.9), diverged], GOALS)["accuracy"]
    assert np.isfinite(told).all()
    assert guess(diverged, [ended(0.9)], GOALS) == {}


def test_without_others_the_last_level_is_all_there_is() -> None:
    """And a quality without a best is told in its own unit."""
    scale = Scale(Goal("error", "minimize", quality=True))
    one = Curve((4.0, 3.0), EPOCHS, {}, finished=False)
    assert carried_on(one, [], scale).mean == 3.0
    other = Curve(tuple(float(level) for level in range(20, 10, -1)), EPOCHS, {}, finished=False)
    assert carried_on(one, [other], scale).mean == pytest.approx(3.0 - 8.0)
