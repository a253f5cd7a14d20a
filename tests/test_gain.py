"""Expected gains: exact where the answer is known, invariant where units do not matter, and better than chance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import moocore
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from paretonas.search.gain import Option, Seen, _telling, expected_gains, scaled
from paretonas.search.goals import Goal
from paretonas.search.inputs import Matrix
from paretonas.search.surrogate import LEARN_FROM

ACCURACY = Goal("accuracy", "maximize", quality=True, best=1.0)
PARAMETERS = Goal("parameters", "minimize", quality=False)
LATENCY = Goal("latency_ms", "minimize", quality=False)
GOALS = (ACCURACY, PARAMETERS, LATENCY)


def network(depth: int, width: int, op: str) -> tuple[dict[str, float | str], dict[str, float]]:
    """Features and values of a network: larger ones answer better, deep ones without a skip do not learn."""
    parameters = 10.0 * depth * width**2
    accuracy = 0.97 - 0.5 * parameters**-0.2 - {"skip": 0.0, "plain": 0.02, "pool": 0.1}[op]
    if op == "plain" and depth > 4:
        accuracy = 0.1
    latency = depth * (0.2 + 0.01 * width) * (1.3 if op == "skip" else 1.0)
    values = {"accuracy": accuracy, "parameters": parameters, "latency_ms": latency}
    return {"depth": float(depth), "width": float(width), "op": op}, values


NETWORKS = [network(d, w, op) for d in range(1, 7) for w in (4, 8, 16, 32, 64, 128) for op in ("skip", "plain", "pool")]


def seen(index: int, state: str = "finished") -> Seen:
    features, values = NETWORKS[index]
    if state != "finished":
        values = {name: value for name, value in values.items() if name != "accuracy"}
    assert state in {"finished", "running", "failed", "stopped"}
    return Seen(features, values, state)  # type: ignore[arg-type]


def option(index: int, *, without: Sequence[str] = ()) -> Option:
    features, values = NETWORKS[index]
    return Option(features, {n: v for n, v in values.items() if n != "accuracy" and n not in without})


some = st.lists(st.integers(0, len(NETWORKS) - 1), min_size=8, max_size=30, unique=True)
states = st.lists(st.sampled_from(["finished", "finished", "running", "failed", "stopped"]), min_size=30, max_size=30)


@given(some, states, st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_gains_are_finite_and_never_negative(which: list[int], state: list[str], count: int) -> None:
    """Whatever is seen: nothing, failures only, running ones only."""
    begun = [seen(i, s) for i, s in zip(which[:count], state, strict=False)]
    gains = expected_gains(begun, [option(i) for i in range(0, len(NETWORKS), 7)], GOALS, seed=1)
    assert gains.shape == (16,)
    assert np.isfinite(gains).all()
    assert (gains >= 0).all()


@given(some)
@settings(max_examples=20, deadline=None)
def test_what_is_dominated_whatever_its_accuracy_gains_nothing(which: list[int]) -> None:
    """A finished one at the attainable maximum leaves nothing to those that cost as much or more."""
    features, values = NETWORKS[which[0]]
    perfect = Seen(features, {**values, "accuracy": 1.0}, "finished")
    gains = expected_gains([perfect, *map(seen, which[1:])], list(map(option, range(len(NETWORKS)))), GOALS, seed=0)
    costlier = [
        v["parameters"] >= values["parameters"] and v["latency_ms"] >= values["latency_ms"] for _, v in NETWORKS
    ]
    assert (gains[costlier] == 0).all()


@given(some, st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.floats(-10, 10))
@settings(max_examples=20, deadline=None)
def test_units_of_cost_and_affine_changes_of_quality_change_nothing(
    which: list[int], unit: float, slope: float, shift: float
) -> None:
    options = list(map(option, range(0, len(NETWORKS), 3)))
    gains = expected_gains(list(map(seen, which)), options, GOALS, seed=0)

    def other(values: Mapping[str, float]) -> dict[str, float]:
        moved = {"accuracy": slope * values["accuracy"] + shift} if "accuracy" in values else {}
        return {**values, **moved, "parameters": values["parameters"] * unit}

    changed = (replace(ACCURACY, best=slope + shift), PARAMETERS, LATENCY)
    begun = [replace(one, values=other(one.values)) for one in map(seen, which)]
    again = expected_gains(begun, [replace(one, values=other(one.values)) for one in options], changed, seed=0)
    assert again == pytest.approx(gains, rel=1e-3, abs=1e-6)


@given(some)
@settings(max_examples=20, deadline=None)
def test_what_runs_already_is_worth_less(which: list[int]) -> None:
    """An option equal to a running one gains less than it would if that did not run."""
    begun, twin = list(map(seen, which[1:])), which[0]
    alone = expected_gains(begun, [option(twin), option(0), option(107)], GOALS, seed=0)
    beside = expected_gains([*begun, seen(twin, "running")], [option(twin), option(0), option(107)], GOALS, seed=0)
    assert beside[0] <= alone[0] + 1e-9
    assert beside[0] < 0.6 * alone[0] or alone[0] < 1e-4


def test_without_anything_seen_it_goes_over_the_cost_plane() -> None:
    """Eight proposals in a row, all running, reach the cheap, the costly and what is between."""
    running: list[int] = []
    for _ in range(8):
        left = [i for i in range(len(NETWORKS)) if i not in running]
        gains = expected_gains([seen(i, "running") for i in running], list(map(option, left)), GOALS, seed=0)
        running.append(left[int(np.argmax(gains))])
    parameters = np.log([NETWORKS[i][1]["parameters"] for i in running])
    every = np.log([values["parameters"] for _, values in NETWORKS])
    shares = (parameters - every.min()) / np.ptp(every)
    assert shares.min() < 0.15
    assert shares.max() > 0.85
    assert ((shares > 0.3) & (shares < 0.7)).any()


def hypervolume(which: Sequence[int]) -> float:
    losses = np.array([[-v["accuracy"], np.log(v["parameters"]), np.log(v["latency_ms"])] for _, v in NETWORKS])
    losses = (losses - losses.min(0)) / np.ptp(losses, axis=0)
    return float(moocore.hypervolume(losses[list(which)], ref=np.ones(3)))


def search(trials: int, seed: int, fails: Callable[[int], bool], without: Sequence[str] = ()) -> list[int]:
    """The networks that are tried, in order."""
    tried: list[int] = []
    for _ in range(trials):
        left = [i for i in range(len(NETWORKS)) if i not in tried]
        begun = [seen(i, "failed" if fails(i) else "finished") for i in tried]
        gains = expected_gains(begun, [option(i, without=without) for i in left], GOALS, seed=100 * seed + len(tried))
        tried.append(left[int(np.argmax(gains))])
    return tried


@pytest.mark.parametrize("without", [(), ("latency_ms",)])
def test_a_search_finds_the_front_with_a_fifth_of_the_networks(without: tuple[str, ...]) -> None:
    """Also where the latency has to be learnt: 22 of 108 trained; random search leaves more than twice the regret."""
    regrets = [
        1 - hypervolume(search(22, seed, lambda _: False, without)) / hypervolume(range(108)) for seed in range(3)
    ]
    randomly = [
        1 - hypervolume(np.random.default_rng(seed).permutation(108)[:22].tolist()) / hypervolume(range(108))
        for seed in range(20)
    ]
    assert np.median(regrets) < 0.5 * np.median(randomly)


def test_a_region_that_fails_is_left() -> None:
    """The larger half of the space crashes: under one in ten of the later half of the trials goes there."""
    middle = float(np.median([values["parameters"] for _, values in NETWORKS]))

    def fails(index: int) -> bool:
        return NETWORKS[index][1]["parameters"] > middle

    wasted = [fails(i) for seed in range(3) for i in search(40, seed, fails)[20:]]
    assert np.mean(wasted) < 0.1


def test_a_stopped_one_teaches_without_being_on_the_front() -> None:
    """What is forecast badly with confidence lowers the hope in its like."""
    begun = list(map(seen, (2, 20, 44, 60, 80, 101)))
    twin = option(9)
    alone = expected_gains(begun, [twin], GOALS, seed=0)[0]
    for accuracy, less in ((0.3, True), (0.99, False)):
        stopped = Seen(twin.features, twin.values, "stopped", {"accuracy": (accuracy, 0.01)})
        assert bool(expected_gains([*begun, stopped], [twin], GOALS, seed=0)[0] < alone) is less


def test_what_is_heard_of_a_running_one_counts_as_far_as_it_is_sure() -> None:
    """A good score that may still fall leaves hope for what costs a little more; one that is sure leaves none."""
    begun = list(map(seen, (2, 20, 44, 60, 80, 101)))
    running, costlier = option(9), [option(12)]  # wider
    unheard, doubtful, sure = (
        expected_gains([*begun, Seen(running.features, running.values, "running", heard)], costlier, GOALS, seed=0)[0]
        for heard in ({}, {"accuracy": (0.99, 0.3)}, {"accuracy": (0.99, 1e-4)})
    )
    assert sure < 0.5 * doubtful
    assert doubtful > 0.3 * unheard


def test_eight_at_once_that_hear_nothing_of_each_other_find_the_front_too() -> None:
    """The oldest of eight ends when the next begins: 32 of 108 trained, and less than half the regret of random."""

    def regret(which: Sequence[int]) -> float:
        return 1 - hypervolume(which) / hypervolume(range(108))

    def together(seed: int) -> list[int]:
        tried: list[int] = []
        for _ in range(32):
            left = [i for i in range(len(NETWORKS)) if i not in tried]
            begun = [*map(seen, tried[:-7]), *(seen(i, "running") for i in tried[-7:])]
            gains = expected_gains(begun, [option(i) for i in left], GOALS, seed=100 * seed + len(tried))
            tried.append(left[int(np.argmax(gains))])
        return tried

    randomly = [regret(np.random.default_rng(seed).permutation(108)[:32].tolist()) for seed in range(20)]
    assert np.median([regret(together(seed)) for seed in range(3)]) < 0.5 * np.median(randomly)


def many(count: int) -> tuple[Matrix, NDArray[np.object_]]:
    """Losses (rows, 3) of finished, failed and running ones, mixed; the first column is known of what finished."""
    random = np.random.default_rng(0)
    states = random.choice(np.array(["finished", "failed", "running"], dtype=object), count, p=[0.6, 0.37, 0.03])
    losses = random.random((count, 3))
    losses[states != "finished", 0] = np.nan
    return losses, states


def test_of_many_the_best_some_others_and_all_that_run_are_learnt_from() -> None:
    """Half of the 200 are the best, at most 100 failed, none twice, and the same ones for the same seed."""
    losses, states = many(900)
    told = _telling(losses, states, 0, 5)
    assert (np.diff(told) > 0).all()
    assert (states[told] == "finished").sum() == LEARN_FROM
    assert (states[told] == "failed").sum() == LEARN_FROM // 2
    assert set(np.flatnonzero(states == "running")) <= set(told)
    finished = np.flatnonzero(states == "finished")
    best = finished[np.argsort(losses[finished, 0])][: LEARN_FROM // 2]
    assert set(best) <= set(told)
    assert losses[told][states[told] == "finished", 0].max() > 0.9
    assert (told == _telling(losses, states, 0, 5)).all()
    assert (told != _telling(losses, states, 0, 6)).any()
    assert (_telling(losses[:LEARN_FROM], states[:LEARN_FROM], 0, 5) == np.arange(LEARN_FROM)).all()


def test_what_is_not_learnt_from_is_on_the_front_all_the_same() -> None:
    """A cheap network among 400 dear ones, which the surrogate is not told of, takes the gain of its like."""
    random = np.random.default_rng(0)
    dear = [
        Seen({"width": float(w)}, {"accuracy": 0.8 + 0.001 * w, "parameters": 1e5 + w, "latency_ms": 10.0}, "finished")
        for w in random.permutation(400) / 4
    ]
    cheap = Seen({"width": 5.0}, {"accuracy": 0.8, "parameters": 10.0, "latency_ms": 0.1}, "finished")
    like = Option({"width": 5.5}, {"parameters": 11.0, "latency_ms": 0.11})
    losses = scaled([*dear, cheap], [like], GOALS).mean[:401]
    states = np.array(["finished"] * 401, dtype=object)
    seed = next(seed for seed in range(50) if 400 not in _telling(losses, states, 0, seed))
    gains = [expected_gains(begun, [like], GOALS, seed=seed)[0] for begun in (dear, [*dear, cheap])]
    assert gains[1] < 0.5 * gains[0]


def test_earlier_studies_lead_the_first_proposals() -> None:
    """Another task, half the accuracy throughout: the first eight proposals are better than without it."""
    earlier = [
        Seen(one.features, {**one.values, "accuracy": one.values["accuracy"] / 2}, "finished")
        for one in map(seen, np.random.default_rng(0).permutation(108)[:50])
    ]

    def found(prior: Sequence[Sequence[Seen]]) -> float:
        tried: list[int] = []
        for _ in range(8):
            left = [i for i in range(108) if i not in tried]
            gains = expected_gains(list(map(seen, tried)), list(map(option, left)), GOALS, seed=0, prior=prior)
            tried.append(left[int(np.argmax(gains))])
        return hypervolume(tried)

    assert found([earlier]) > found([])


def changed(change: Callable[[dict[str, float]], dict[str, float]]) -> tuple[list[Seen], list[Option]]:
    """Twelve seen and twenty options with other values."""
    begun = [replace(seen(i), values=change(dict(seen(i).values))) for i in range(0, 108, 9)]
    options = [replace(option(i), values=change(dict(option(i).values))) for i in range(1, 108, 6)]
    return begun, options


FPS, MACS = Goal("fps", "maximize", quality=False), Goal("macs", "minimize", quality=False)
MAE, F1 = Goal("mae", "minimize", quality=True, best=0.0), Goal("f1", "maximize", quality=True, best=1.0)


def with_quality(name: str, of: Callable[[dict[str, float]], float]) -> Callable[[dict[str, float]], dict[str, float]]:
    """What is known after training, changed where it is known."""
    return lambda v: {**v, name: of(v)} if "accuracy" in v else v


ODD: dict[str, tuple[Callable[[dict[str, float]], dict[str, float]], tuple[Goal, ...]]] = {
    "one cost": (lambda v: v, GOALS[:2]),
    "three costs": (lambda v: {**v, "macs": v["parameters"] ** 2}, (*GOALS, MACS)),
    "no cost": (lambda v: v, GOALS[:1]),
    "costs alone": (lambda v: v, GOALS[1:]),
    "a constant cost": (lambda v: {**v, "parameters": 7.0}, GOALS),
    "a cost of nothing": (lambda v: {**v, "parameters": 0.0}, GOALS),
    "a negative cost": (lambda v: {**v, "parameters": v["parameters"] - 1e4}, GOALS),
    "an infinite cost": (lambda v: {**v, "latency_ms": np.inf if v["latency_ms"] > 2 else v["latency_ms"]}, GOALS),
    "all infinite": (lambda v: {**v, "latency_ms": np.inf}, GOALS),
    "constant quality": (with_quality("accuracy", lambda _: 0.5), GOALS),
    "infinite quality": (
        with_quality("accuracy", lambda v: -np.inf if v["parameters"] > 1e4 else v["accuracy"]),
        GOALS,
    ),
    "a cost to raise": (lambda v: {**v, "fps": 1e3 / v["latency_ms"]}, (*GOALS[:2], FPS)),
    "an error to lower": (with_quality("mae", lambda v: 1 - v["accuracy"]), (MAE, *GOALS[1:])),
    "two qualities": (with_quality("f1", lambda v: v["accuracy"] ** 2), (*GOALS, F1)),
    "wide scales": (lambda v: {**v, "parameters": v["parameters"] * 1e150, "latency_ms": v["latency_ms"] / 1e9}, GOALS),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_objectives_are_taken_as_they_come(case: str) -> None:
    """No warning, finite gains; and something is hoped for, unless nothing can be."""
    change, goals = ODD[case]
    begun, options = changed(change)
    for count in (0, 2, len(begun)):
        gains = expected_gains(begun[:count], options, goals, seed=0)
        assert np.isfinite(gains).all()
        assert (gains >= 0).all()
        assert gains.any() or case in {"all infinite", "costs alone"}


def test_nothing_to_choose_from_and_the_same_question_twice() -> None:
    begun, options = list(map(seen, range(0, 108, 9))), list(map(option, range(1, 108, 6)))
    assert expected_gains(begun, [], GOALS, seed=0).shape == (0,)
    first: Matrix = expected_gains(begun, options, GOALS, seed=3)
    assert (first == expected_gains(begun, options, GOALS, seed=3)).all()
