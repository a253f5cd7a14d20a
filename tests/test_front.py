"""The Pareto front, its hypervolume, and choosing from it."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import paretonas as pn
from paretonas.errors import NothingFits, StudyError, UsageError
from paretonas.objectives import OBJECTIVES, objective_of
from paretonas.search.front import Values, best, best_within, hypervolume, knee, non_dominated

TWO = [OBJECTIVES["accuracy"], OBJECTIVES["parameters"]]
THREE = [*TWO, OBJECTIVES["latency_ms"]]
ACCURACY, MAE = OBJECTIVES["accuracy"], OBJECTIVES["mae"]
# so few levels that ties in one, several and all objectives are common
POINTS = st.lists(
    st.builds(
        lambda accuracy, parameters, latency: {
            "accuracy": accuracy / 4,
            "parameters": 10.0**parameters,
            "latency_ms": 0.5 * latency,
        },
        st.integers(0, 4),
        st.integers(1, 5),
        st.integers(1, 4),
    ),
    max_size=12,
)
LINE: list[Values] = [
    {"accuracy": 0.5, "parameters": 10.0, "macs": 20.0, "latency_ms": 0.1},
    {"accuracy": 0.75, "parameters": 100.0, "macs": 150.0, "latency_ms": 0.3},
    {"accuracy": 1.0, "parameters": 1000.0, "macs": 1200.0, "latency_ms": 0.2},
]


def losses(value: Values, dimensions: int) -> tuple[float, ...]:
    return (-value["accuracy"], value["parameters"], value["latency_ms"])[:dimensions]


@pytest.mark.parametrize("dimensions", [2, 3])
@given(points=POINTS)
def test_the_front_is_what_a_comparison_of_all_pairs_leaves(dimensions: int, points: list[Values]) -> None:
    """A point is on the front if none is at least as good everywhere and different; of equal points the first is."""
    rows = [losses(point, dimensions) for point in points]
    expected = [
        index
        for index, row in enumerate(rows)
        if row not in rows[:index]
        and not any(other != row and all(a <= b for a, b in zip(other, row, strict=True)) for other in rows)
    ]
    assert non_dominated(points, THREE[:dimensions]) == expected


@given(points=POINTS)
def test_hypervolume_is_the_area_of_the_dominated_cells(points: list[Values]) -> None:
    """In two dimensions the hypervolume is the sum of the cells, between neighbouring levels, that a point covers."""
    scaled = []
    if points:
        accuracies = [point["accuracy"] for point in points]
        sizes = [math.log(point["parameters"]) for point in points]
        spans = (max(accuracies) - min(accuracies) or 1.0, max(sizes) - min(sizes) or 1.0)
        scaled = [
            ((max(accuracies) - accuracy) / spans[0], (size - min(sizes)) / spans[1])
            for accuracy, size in zip(accuracies, sizes, strict=True)
        ]
    cuts = [sorted({0.0, 1.0} | {row[axis] for row in scaled}) for axis in (0, 1)]
    area = sum(
        (right - left) * (upper - lower)
        for (left, right), (lower, upper) in itertools.product(*map(itertools.pairwise, cuts))
        if any(x <= left and y <= lower for x, y in scaled)
    )
    assert hypervolume(points, TWO) == pytest.approx(area, abs=1e-9)


def test_hypervolume_of_a_straight_front_is_known() -> None:
    """Three points on the diagonal dominate the quarter of the box that lies behind the middle one."""
    assert hypervolume(LINE, TWO) == pytest.approx(0.25)
    assert hypervolume([], TWO) == 0.0


@given(points=POINTS)
def test_a_new_point_inside_the_box_never_lowers_the_hypervolume(points: list[Values]) -> None:
    """More points between the worst and the best corner dominate at least as much."""
    corners: list[Values] = [
        {"accuracy": 0.0, "parameters": 10.0, "latency_ms": 0.5},
        {"accuracy": 1.0, "parameters": 1e5, "latency_ms": 2.0},
    ]
    for count in range(len(points)):
        less, more = corners + points[:count], corners + points[: count + 1]
        assert hypervolume(more, THREE) >= hypervolume(less, THREE) - 1e-12


def test_knee_is_the_point_nearest_to_the_ideal() -> None:
    """With costs and error rates as logarithms the middle of a straight front is the knee, and a bend moves it."""
    straight: list[Values] = [
        {"accuracy": 0.6, "parameters": 10.0},
        {"accuracy": 0.96, "parameters": 100.0},
        {"accuracy": 0.996, "parameters": 1000.0},
    ]
    assert knee(straight, TWO) == 1
    assert knee([*straight, {"accuracy": 0.98, "parameters": 50.0}], TWO) == 3


def test_knee_of_one_point_is_that_point() -> None:
    """A front without extent has a knee too."""
    assert knee(LINE[2:], TWO) == 0


def test_error_rates_are_logarithms_and_r2_is_plain() -> None:
    """Half the error of a share weighs as much as half the cost; a share of variance is taken as it is."""
    values: list[Values] = [
        {"f1": 0.0, "r2": 0.0, "parameters": 1.0},
        {"f1": 0.95, "r2": 0.5, "parameters": 50.0},
        {"f1": 0.9, "r2": 0.9, "parameters": 100.0},
        {"f1": 0.999, "r2": 0.999, "parameters": 10000.0},
    ]
    assert knee(values, [objective_of("f1"), OBJECTIVES["parameters"]]) == 1
    assert knee(values, [objective_of("r2"), OBJECTIVES["parameters"]]) == 2


def test_errors_that_are_minimised_are_logarithms() -> None:
    """The middle of a front that falls by tenths is its knee, whatever the unit of the error."""
    for unit in (1.0, 1000.0):
        values: list[Values] = [{"mae": unit * 10.0**-n, "parameters": 10.0**n} for n in range(5)]
        assert knee(values, [MAE, OBJECTIVES["parameters"]]) == 2


def test_any_number_of_quality_objectives_makes_a_front() -> None:
    """With two tasks at once a point stays on the front if it is best in either of them."""
    objectives = [objective_of(name) for name in ("digit.accuracy", "parity.accuracy", "parameters")]
    values: list[Values] = [
        {"digit.accuracy": 0.9, "parity.accuracy": 0.5, "parameters": 10.0},
        {"digit.accuracy": 0.5, "parity.accuracy": 0.9, "parameters": 10.0},
        {"digit.accuracy": 0.5, "parity.accuracy": 0.5, "parameters": 10.0},
        {"digit.accuracy": 0.95, "parity.accuracy": 0.95, "parameters": 20.0},
    ]
    assert non_dominated(values, objectives) == [0, 1, 3]
    assert best(values, objectives[0]) == 3


def test_best_follows_the_direction_of_the_metric() -> None:
    """The highest share, the lowest error; of equal ones the one with the fewest parameters."""
    values: list[Values] = [
        {"accuracy": 0.9, "mae": 0.3, "parameters": 30.0},
        {"accuracy": 0.9, "mae": 0.1, "parameters": 20.0},
        {"accuracy": 0.8, "mae": 0.1, "parameters": 10.0},
    ]
    assert (best(values, ACCURACY), best(values, MAE)) == (1, 2)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"latency_ms": 0.2}, 2),
        ({"latency_ms": 0.15}, 0),
        ({"parameters": 999}, 1),
        ({"parameters": 100}, 1),
        ({"macs": 149}, 0),
        ({"accuracy": 0.6}, 1),
        ({"accuracy": 0.75}, 1),
        ({"parameters": 1000, "latency_ms": 0.25}, 2),
        ({"macs": 1000, "latency_ms": 0.25}, 0),
        ({"accuracy": 0.6, "latency_ms": 0.25}, 2),
        ({"latency_ms": 0.3, "parameters": 500, "macs": 500, "accuracy": 0.7}, 1),
    ],
)
def test_the_best_within_bounds_is_chosen(bounds: Values, expected: int) -> None:
    """The most accurate point within all bounds; under an accuracy alone the one with the fewest parameters."""
    assert best_within(LINE, bounds, ACCURACY) == expected


@pytest.mark.parametrize(
    ("bounds", "expected"), [({"mae": 0.35}, 1), ({"mae": 0.35, "parameters": 500}, 2), ({"parameters": 10}, 0)]
)
def test_an_error_is_bounded_from_above(bounds: Values, expected: int) -> None:
    """A bound on a metric to minimise is the most it may be, and the best within bounds has the least error."""
    values: list[Values] = [
        {"mae": 0.4, "parameters": 10},
        {"mae": 0.3, "parameters": 50},
        {"mae": 0.1, "parameters": 500},
    ]
    assert best_within(values, bounds, MAE) == expected


@pytest.mark.parametrize(
    ("bounds", "parts"),
    [
        ({"latency_ms": 0.05}, ("latency_ms <= 0.05", "latency_ms 0.1")),
        ({"parameters": 9}, ("parameters <= 9", "parameters 10")),
        ({"macs": 0}, ("macs <= 0", "macs 20")),
        ({"accuracy": 1.01}, ("accuracy >= 1.01", "accuracy 1")),
        (
            {"parameters": 90, "accuracy": 0.7},
            ("parameters <= 90", "accuracy >= 0.7", "accuracy 0.75", "parameters 100"),
        ),
    ],
)
def test_bounds_that_nothing_satisfies_name_the_nearest_point(bounds: Values, parts: tuple[str, ...]) -> None:
    """The error repeats what was wanted and gives the figures of the point that misses it by the least share."""
    with pytest.raises(NothingFits) as caught:
        best_within(LINE, bounds, ACCURACY)
    assert all(part in str(caught.value) for part in parts)


def test_a_bound_on_what_was_not_measured_is_refused(mixed: pn.Study) -> None:
    """A study without latency cannot answer for it, and says what it has."""
    with pytest.raises(UsageError, match=r"did not measure latency_ms: it has accuracy, parameters, macs"):
        mixed.pick(max_latency_ms=1.0)
    with pytest.raises(UsageError, match="did not measure mae"):
        mixed.pick(within={"mae": 1.0})


@pytest.mark.parametrize("bound", ["0.9", None, True, math.nan])
def test_a_bound_is_a_number(small: pn.Study, bound: Any) -> None:
    """What is none is named with its measure."""
    with pytest.raises(UsageError, match=r"a bound is a number, .* was given for accuracy"):
        small.pick(within={"accuracy": bound})


def test_a_measure_is_bounded_once(small: pn.Study) -> None:
    """Bounds by their own names and within are the same; both at once are refused."""
    assert small.pick(within={"parameters": 500}).number == small.pick(max_parameters=500).number
    with pytest.raises(UsageError, match="bounded once, parameters was bounded twice"):
        small.pick(max_parameters=500, within={"parameters": 500})


def test_the_front_of_a_study_is_sorted_and_undominated(small: pn.Study) -> None:
    """No other trial beats a point of the front in everything, and the front goes from few parameters to many."""
    front = small.pareto_front
    sizes = [trial.values["parameters"] for trial in front]
    assert front
    assert sizes == sorted(sizes)
    for trial in front:
        own = losses(trial.values, 3)
        assert not any(
            all(a <= b for a, b in zip(losses(other.values, 3), own, strict=True)) and losses(other.values, 3) != own
            for other in small.trials
        )


def test_best_is_the_most_accurate(small: pn.Study) -> None:
    """``best`` reaches the highest accuracy of all trials, with the fewest parameters that do."""
    best = max(trial.values["accuracy"] for trial in small.trials)
    reaching = [trial for trial in small.trials if trial.values["accuracy"] == best]
    picked = small.pick("best")
    assert picked.values["accuracy"] == best
    assert picked.values["parameters"] == min(trial.values["parameters"] for trial in reaching)


def test_knee_of_a_study_is_on_its_front(small: pn.Study) -> None:
    """The knee is one of the front's points."""
    assert small.pick("knee").number in {trial.number for trial in small.pareto_front}


@pytest.mark.parametrize("form", [int, str])
def test_every_finished_trial_can_be_picked_by_its_number(small: pn.Study, form: type[int] | type[str]) -> None:
    """A number, also as text, picks a trial, on the front or not."""
    for trial in small.trials:
        assert small.pick(form(trial.number)).evaluation == trial.evaluation


def test_bounds_pick_from_the_front(small: pn.Study) -> None:
    """The bounds of a point that is on the front give that point or a more accurate one within them."""
    for trial in small.pareto_front:
        picked = small.pick(max_latency_ms=trial.values["latency_ms"], max_parameters=trial.values["parameters"])
        assert picked.values["accuracy"] >= trial.values["accuracy"]
        assert picked.values["latency_ms"] <= trial.values["latency_ms"]
        assert picked.values["parameters"] <= trial.values["parameters"]


def test_a_duplicate_points_to_the_original(mixed: pn.Study) -> None:
    """A trial that proposed a known network is not picked; the error names the trial to pick instead."""
    duplicates = [trial for trial in mixed.optuna.get_trials(deepcopy=False) if "duplicate_of" in trial.user_attrs]
    assert duplicates
    original = duplicates[0].user_attrs["duplicate_of"]
    with pytest.raises(StudyError, match=f"same network as trial {original}: pick {original}"):
        mixed.pick(duplicates[0].number)


def test_a_failed_trial_is_not_picked(mixed: pn.Study) -> None:
    """The error says why the trial failed."""
    failed = next(trial for trial in mixed.trials if trial.state == "failed")
    with pytest.raises(StudyError, match=f"trial {failed.number} cannot be picked: out_of_memory"):
        mixed.pick(failed.number)


def test_failed_trials_are_not_on_the_front(mixed: pn.Study) -> None:
    """Neither our front nor Optuna's best trials hold a candidate that failed."""
    failed = {trial.number for trial in mixed.trials if trial.state == "failed"}
    assert failed
    assert failed.isdisjoint(trial.number for trial in mixed.pareto_front)
    assert failed.isdisjoint(trial.number for trial in mixed.optuna.best_trials)


@pytest.mark.parametrize("number", [-1, 10**6])
def test_a_number_that_is_no_trial_is_refused(small: pn.Study, number: int) -> None:
    """The error lists the front's numbers."""
    front = ", ".join(str(trial.number) for trial in small.pareto_front)
    with pytest.raises(StudyError, match=f"no finished trial {number} is in the study 'small': its front is {front}"):
        small.pick(number)


def test_an_unknown_word_is_refused(small: pn.Study) -> None:
    """The error lists the words there are."""
    with pytest.raises(UsageError, match="unknown pick 'elbow': there is knee, best"):
        small.pick("elbow")


def test_a_pick_needs_exactly_one_way(small: pn.Study) -> None:
    """Nothing, or a word and bounds together, is no pick."""
    with pytest.raises(UsageError, match="a pick is 'knee' or 'best'"):
        small.pick()
    with pytest.raises(UsageError, match="bounds together"):
        small.pick("knee", max_parameters=10)


@pytest.mark.parametrize("which", ["knee", "best", 0])
def test_an_empty_study_has_nothing_to_pick(url: str, which: str | int) -> None:
    """The front is empty, and a pick says so."""
    empty = pn.create_study("empty", space=pn.MLPSpace(), storage=url)
    assert empty.trials == []
    assert empty.pareto_front == []
    with pytest.raises(StudyError, match="empty"):
        empty.pick(which)
