"""The surrogate: what it makes of features, and that it learns what is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from paretonas.search import surrogate
from paretonas.search.inputs import Features, Matrix, encode
from paretonas.search.surrogate import believe, bend_of, chance, not_hopeless

values = st.one_of(st.booleans(), st.floats(-1e6, 1e6), st.sampled_from(["3", "5", "conv", "pool"]))
rows_of_features = st.lists(st.dictionaries(st.sampled_from("abcd"), values), min_size=2, max_size=12)


@given(rows_of_features)
@settings(max_examples=60, deadline=None)
def test_any_features_become_finite_numbers(rows: list[Features]) -> None:
    """Words, numbers, truth values, absent ones and mixtures of them under one name."""
    x = encode(rows, np.zeros((len(rows), 0)))
    assert np.isfinite(x.columns).all()
    assert len(x.of) == x.columns.shape[1]
    assert all(np.ptp(column) > 0 for column in x.columns.T)


def test_words_are_one_hot_counted_where_they_are_shared_and_numerals_are_numbers() -> None:
    rows = [{"e0": a, "e1": b, "width": w} for a, b, w in [("x", "y", "8"), ("y", "y", "16"), ("x", "x", "32")]]
    x = encode(rows, np.zeros((3, 0)))
    assert x.columns.shape[1] == 2 + 2 + (3 + 1) + 2
    number = np.array([8, 16, 32])
    assert any(np.allclose(column, (number - number.mean()) / number.std()) for column in x.columns.T)


def test_an_infinite_number_is_the_largest_there_is_and_a_constant_says_nothing() -> None:
    x = encode([{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": 2.0}, {"a": float("inf"), "b": 2.0}], np.zeros((3, 0)))
    assert x.columns.shape == (3, 1)
    assert x.columns[1, 0] == x.columns[2, 0]


def networks(count: int) -> tuple[list[Features], Matrix]:
    """Features of networks, and a loss that follows from them but for a little noise."""
    random = np.random.default_rng(0)
    depth, op = random.integers(1, 6, count), random.integers(0, 3, count)
    rows: list[Features] = [
        {"depth": float(d), "op": ("conv", "skip", "pool")[o], "rest": random.random()}
        for d, o in zip(depth, op, strict=True)
    ]
    losses = np.exp(-depth / 2) + np.array([0.0, 0.2, 0.5])[op] + random.normal(0, 0.01, count)
    return rows, losses


def test_it_ranks_networks_it_has_not_seen_and_knows_how_far_it_is_off() -> None:
    """With 40 networks seen: rank correlation 0.95, and two deviations, with the noise, hold 85 % of the others."""
    rows, losses = networks(240)
    x = encode(rows, np.zeros((240, 0)))
    belief = believe(x.rows(slice(40)), losses[:40], x.rows(slice(40, None)), doubt=np.zeros(40), seed=0)
    mean, deviation = belief.mean.mean(0), belief.deviation.mean(0)
    assert spearmanr(mean, losses[40:])[0] > 0.95
    assert (np.abs(mean - losses[40:]) < 2 * np.hypot(deviation, 0.01)).mean() > 0.85


def test_what_is_doubted_counts_less() -> None:
    """A wrong loss moves the belief little if it is told with a wide deviation."""
    rows, losses = networks(60)
    x = encode(rows, np.zeros((60, 0)))
    wrong = losses.copy()
    wrong[:10] += 2.0
    errors = []
    for sure in (0.0, 5.0):
        doubt = np.where(np.arange(40) < 10, sure, 0.0)
        belief = believe(x.rows(slice(40)), wrong[:40], x.rows(slice(40, None)), doubt=doubt, seed=0)
        errors.append(np.abs(belief.mean.mean(0) - losses[40:]).mean())
    assert errors[1] < errors[0] / 3


def test_what_is_awaited_comes_out_as_believed_and_narrows_the_belief_about_its_like() -> None:
    """It is certain and its like is surer; no mean moves."""
    rows, losses = networks(60)
    x = encode(rows, np.zeros((60, 0)))
    pending = np.arange(30) < 5
    known, new = x.rows(slice(30)), x.rows(slice(30, None))
    alone = believe(known, losses[:30], new, doubt=np.zeros(30), seed=0)
    soon = believe(known, losses[:30], new, doubt=np.zeros(30), seed=0, pending=pending)
    assert np.allclose(soon.mean, alone.mean)
    assert (soon.deviation[:, pending] == 0).all()
    assert (soon.deviation <= alone.deviation + 1e-9).all()
    assert (soon.deviation[:, ~pending] < 0.9 * alone.deviation[:, ~pending]).any()


def test_what_is_awaited_narrows_the_belief_as_its_coming_out_would(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variance that is left is that of a process which was told the awaited ones, kernel by kernel."""
    monkeypatch.setattr(surrogate, "USUAL", 1e12)  # no residuals in the deviation
    rows, losses = networks(60)
    x = encode(rows, np.zeros((60, 0)))
    kernel = np.array([*np.full(int(x.of.max()) + 1, -1.0), -2.0, -4.0])
    first, none = np.arange(10), np.zeros(0, dtype=np.intp)
    z = (losses - losses[:40].mean()) / losses[:40].std()
    soon, told = (
        surrogate._answer(kernel, x.rows(slice(n)), z[:n], np.zeros(n), x.rows(slice(30, None)), awaited)[1]
        for n, awaited in ((30, first), (40, none))
    )
    assert np.ptp(soon[10:] / told[10:]) < 1e-6  # they differ by the amplitude alone


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_bending_keeps_the_order_and_comes_back(numbers: list[float]) -> None:
    losses = not_hopeless(np.array(numbers))
    bend = bend_of(losses)
    bent = bend.bent(losses)
    assert (np.diff(bent[np.argsort(losses, kind="stable")]) >= 0).all()
    back = (np.exp(bent * bend.width) - 1) * bend.offset + bend.low
    assert back == pytest.approx(losses, abs=1e-9)


def test_failures_that_follow_a_threshold_are_foreseen() -> None:
    """What is larger than a bound runs out of memory: of 150 others nine of ten are told apart, with 40 seen."""
    random = np.random.default_rng(0)
    size = random.random(190)
    x = encode([{"size": float(s), "other": float(random.random())} for s in size], np.zeros((190, 0)))
    fails = chance(x.rows(slice(40)), size[:40] > 0.6, x.rows(slice(40, None)), seed=0)
    assert ((fails > 0.5) == (size[40:] > 0.6)).mean() > 0.9
    assert (chance(x.rows(slice(40)), np.zeros(40, dtype=bool), x.rows(slice(40, None)), seed=0) == 0).all()
