"""Choosing by weights, and the smallest of the good ones; repetitions are never chosen from."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import paretonas as pn
from paretonas.errors import NothingFits, UsageError
from paretonas.objectives import OBJECTIVES, objective_of
from paretonas.search.delivery.choosing import Choice
from paretonas.search.delivery.picking import ranked
from paretonas.search.front import Values, by_distance, by_weights, knee, non_dominated, smallest

R2, MAE, PARAMETERS = objective_of("r2"), OBJECTIVES["mae"], OBJECTIVES["parameters"]
BRIEF = pn.TrainingSpace(epochs=1)
# r2 stays as it is and sizes are logarithms, so these lie at (0, 1), (0.6, 0.7), (1, 0) of the way to the worst: the
# middle one is above the line between the others
BULGE: list[Values] = [
    {"r2": 1.0, "parameters": 10.0**10},
    {"r2": 0.4, "parameters": 10.0**7},
    {"r2": 0.0, "parameters": 1.0},
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """A finished study of six small networks."""
    url = f"sqlite:///{tmp_path_factory.mktemp('picking') / 'nas.db'}"
    space = pn.MLPSpace(layers=(1, 2), widths=[4, 16, 64], pruning=0.0, training=BRIEF)
    study = pn.create_study("six", space=space, objectives=["accuracy", "parameters"], storage=url, stopping="none")
    study.optimize(6, show_progress=False)
    return study


def test_weights_find_what_no_weighted_sum_does() -> None:
    """A point in a bay of the front is chosen by some weights; a sum would always prefer one of its neighbours."""
    objectives = [R2, PARAMETERS]
    assert by_weights(BULGE, objectives, [0.5, 0.5]) == [1, 0, 2]
    assert by_weights(BULGE, objectives, [0.9, 0.1])[0] == 0
    assert by_weights(BULGE, objectives, [0.1, 0.9])[0] == 2
    for first in (0.01, 0.3, 0.5, 0.7, 0.99):
        sums = [first * x + (1 - first) * y for x, y in ((0.0, 1.0), (0.6, 0.7), (1.0, 0.0))]
        assert min(sums) < sums[1]


POINTS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).map(
        lambda pair: {"r2": pair[0] / 9, "parameters": float(10 ** pair[1])}
    ),
    min_size=1,
    max_size=10,
)


@given(points=POINTS, first=st.floats(0.01, 1), second=st.floats(0.01, 1))
def test_the_chosen_point_is_never_dominated(points: list[Values], first: float, second: float) -> None:
    """Whatever the weights above 0 are: the sum in the scalarisation keeps out what is weakly efficient only."""
    objectives = [R2, PARAMETERS]
    chosen = points[by_weights(points, objectives, [first, second])[0]]
    assert chosen in [points[index] for index in non_dominated(points, objectives)]


def test_a_weight_alone_gives_the_best_in_that_measure() -> None:
    """Of equal ones the first."""
    assert by_weights(BULGE, [R2], [2.0])[0] == 0
    assert by_weights(BULGE, [PARAMETERS], [0.1])[0] == 2


@given(points=POINTS)
def test_the_knee_is_the_first_by_distance(points: list[Values]) -> None:
    """One order serves both."""
    assert by_distance(points, [R2, PARAMETERS])[0] == knee(points, [R2, PARAMETERS])


@pytest.mark.parametrize(
    ("share", "expected"), [(None, [2, 1, 0]), (0.0, [0]), (0.4, [0]), (0.6, [1, 0]), (0.999, [1, 0]), (1.0, [2, 1, 0])]
)
def test_the_smallest_within_a_share_of_the_best(share: float | None, expected: list[int]) -> None:
    """A share of the best quality may be given away, exactly so much; without one, size alone decides."""
    assert smallest(BULGE, PARAMETERS, R2, share) == expected


def test_a_share_of_an_error_is_above_it() -> None:
    """What is minimised may be larger by the share."""
    values: list[Values] = [
        {"mae": 1.0, "parameters": 9.0},
        {"mae": 1.1, "parameters": 5.0},
        {"mae": 1.2, "parameters": 1.0},
    ]
    assert smallest(values, PARAMETERS, MAE, 0.1) == [1, 0]
    assert smallest(values, PARAMETERS, MAE, 0.2) == [2, 1, 0]


def test_a_study_is_chosen_from_in_each_way(study: pn.Study) -> None:
    """Each gives a point of the front, by its rule; bounds say which may be chosen."""
    front = study.pareto_front
    assert len(front) > 1
    best = max(trial.values["accuracy"] for trial in front)
    assert study.pick(weights={"accuracy": 1}).number == study.pick("best").number
    assert study.pick(weights={"parameters": 1}).number == front[0].number
    assert study.pick(within_best=0.0).values["accuracy"] == best
    for share in (0.05, 0.3, 0.7):
        good = [trial for trial in front if trial.values["accuracy"] >= (1 - share) * best]
        picked = study.pick(smallest="parameters", within_best=share)
        assert picked.values["parameters"] == min(trial.values["parameters"] for trial in good)
    size = front[0].values["parameters"]
    assert study.pick(weights={"accuracy": 1}, max_parameters=size).number == front[0].number
    assert study.pick(smallest="macs", min_accuracy=best).values["accuracy"] == best
    with pytest.raises(NothingFits, match=r"parameters <= 1\b"):
        study.pick(weights={"accuracy": 1}, max_parameters=1)


def test_the_first_few_begin_with_the_pick(study: pn.Study) -> None:
    """All of the front, in the order of the choice."""
    for choice in (Choice("knee"), Choice("best"), Choice(weights={"accuracy": 1, "parameters": 2})):
        order = ranked(study, choice)
        assert sorted(trial.number for trial in order) == sorted(trial.number for trial in study.pareto_front)
    assert ranked(study, Choice("knee"))[0].number == study.pick("knee").number
    assert [trial.values["accuracy"] for trial in ranked(study, Choice("best"))] == sorted(
        (trial.values["accuracy"] for trial in study.pareto_front), reverse=True
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"which": "knee", "weights": {"accuracy": 1}}, "a pick goes one way, 'knee' and weights were given"),
        ({"weights": {"accuracy": 1}, "within_best": 0.1}, "weights and the smallest within the best were given"),
        ({"weights": {"accuracy": -1}}, "a weight is a finite number from 0, -1 was given for accuracy"),
        ({"weights": {"accuracy": 0}}, "at least one weight is above 0"),
        ({"weights": {"mae": 1}}, "this study did not measure mae: it has accuracy, parameters, macs"),
        ({"weights": {"accurasy": 1}}, "did not measure accurasy"),
        ({"smallest": "latency_ms"}, "did not measure latency_ms"),
        ({"within_best": 1.5}, "within_best is a share of the best quality, from 0 and below 1"),
        ({"within_best": True}, "within_best is a share"),
    ],
)
def test_what_is_no_choice_is_refused(study: pn.Study, asked: dict[str, Any], said: str) -> None:
    """With the rule and what came."""
    with pytest.raises(UsageError, match=said):
        study.pick(**asked)


def test_the_command_chooses_alike(study: pn.Study, cli: Callable[..., Any]) -> None:
    """Weights, and the smallest within the best, on the command line; what is no number is refused with exit code 2."""
    store = ("--storage", study.store.url, "--json")
    answer = cli("pick", "--weight", "accuracy=2", "--weight", "parameters=1", *store)
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["trial"] == study.pick(weights={"accuracy": 2, "parameters": 1}).number
    answer = cli("pick", "--smallest", "parameters", "--within-best", "0.3", *store)
    assert json.loads(answer.stdout)["trial"] == study.pick(smallest="parameters", within_best=0.3).number
    answer = cli("pick", "--weight", "accuracy", *store)
    assert answer.returncode == 2
    assert "a weight is a measure and a number such as accuracy=2, 'accuracy' was given" in answer.stderr
