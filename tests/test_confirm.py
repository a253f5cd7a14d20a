"""Repeating chosen points with further seeds: what is kept, what is said, and that chance does not choose."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState
from scipy.stats import ttest_ind

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.objectives import objective_of
from paretonas.search.data import load_data
from paretonas.search.delivery.confirmation import Confirmation, Confirmed, Spread
from paretonas.search.delivery.confirming import run_of
from paretonas.search.evaluate import evaluate
from paretonas.search.front import non_dominated, renew_front
from paretonas.search.views.choosing import conclusions

BRIEF = pn.TrainingSpace(epochs=2, finetune_epochs=1)
SPACE = pn.MLPSpace(layers=(1, 2), widths=[4, 8, 16], activations="relu", pruning=0.0, training=BRIEF)
OBJECTIVES = ["accuracy", "parameters"]


def searched(url: str, *, epochs: int = 2, **more: Any) -> pn.Study:
    """A finished study of five networks."""
    space = SPACE.replace_training(epochs=epochs)
    study = pn.create_study("chance", space=space, objectives=OBJECTIVES, storage=url, stopping="none", **more)
    study.optimize(5, show_progress=False)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    return searched(f"sqlite:///{tmp_path_factory.mktemp('confirm') / 'nas.db'}")


def confirmed(study: pn.Study, **asked: Any) -> Confirmation:
    return study.confirm(**asked, show_progress=False)


def test_points_are_repeated_with_the_seeds_after_the_studys(study: pn.Study) -> None:
    """Each repetition is what the candidate gives with that seed; mean and deviation are of these alone."""
    found = confirmed(study, which="best", top=2, seeds=3)
    assert found.seeds == (1, 2, 3)
    first = study.pick("best")
    assert found.points[0].trial == first.number
    spread = found.points[0].qualities["accuracy"]
    assert spread.searched == first.values["accuracy"]
    assert spread.n == 3
    data = load_data(study.definition.task)
    anew = [
        evaluate(replace(first.candidate, seed=seed), data, OBJECTIVES, seed=seed).measured["accuracy"].value
        for seed in found.seeds
    ]
    assert list(spread.values) == anew
    assert spread.mean == pytest.approx(sum(anew) / 3)
    assert spread.std == pytest.approx(math.sqrt(sum((value - spread.mean) ** 2 for value in anew) / 2))


def test_what_is_known_is_not_run_again(study: pn.Study) -> None:
    """The same question makes no trial, more seeds make only those that are missing."""
    confirmed(study, which="best", top=2, seeds=3)
    trials = len(study.trials)
    again = confirmed(study, which="best", top=2, seeds=3)
    assert len(study.trials) == trials
    more = confirmed(study, which=[again.points[0].trial], seeds=4)
    assert len(study.trials) == trials + 1
    assert more.points[0].qualities["accuracy"].values[:3] == again.points[0].qualities["accuracy"].values


def test_a_lucky_repetition_is_never_chosen(study: pn.Study) -> None:
    """Some seed beats what the front was made of, and the front, its picks and Optuna's best trials stay as they were,
    also when the front is made anew.
    """
    front = [trial.number for trial in study.pareto_front]
    confirmed(study, which=front, seeds=4)
    repetitions = [trial for trial in study.trials if trial.repetition]
    values = [study.pick(number).values for number in front]
    objectives = [objective_of(name) for name in OBJECTIVES]
    lucky = [one for one in repetitions if len(values) in non_dominated([*values, one.values], objectives)]
    assert lucky
    assert [trial.number for trial in study.pareto_front] == front
    renew_front(study)
    assert [trial.number for trial in study.pareto_front] == front
    assert study.pick("best").number in front
    assert {trial.number for trial in study.optuna.best_trials}.isdisjoint(trial.number for trial in repetitions)
    assert study.pick(lucky[0].number).values == lucky[0].values  # by its number it can be taken


def test_a_front_that_an_earlier_release_kept_loses_its_repetitions(study: pn.Study) -> None:
    """What was put on it is taken off when it is read."""
    confirmed(study, which="best", top=1, seeds=1)
    front = [trial.evaluation.id for trial in study.pareto_front]
    repetition = next(trial for trial in study.trials if trial.repetition)
    study.store.set_front(study.id, [*front, repetition.evaluation.id])
    assert [trial.evaluation.id for trial in study.pareto_front] == front


def test_an_interrupted_run_goes_on(url: str) -> None:
    """The trial in hand is gone on with; in the end there are as many trials as without the interruption."""
    study, done = searched(url), 0

    def cut(_: int, __: int, epoch: object) -> None:
        nonlocal done
        done += epoch is not None
        if done == 3:
            raise KeyboardInterrupt

    from paretonas.search.delivery.confirming import confirm

    best = study.pick("best")
    with pytest.raises(KeyboardInterrupt):
        confirm([best], chosen="", seeds=3, on_progress=cut)
    assert len([trial for trial in study.trials if trial.repetition]) == 1
    found = confirmed(study, which=[best.number], seeds=3)
    assert found.points[0].qualities["accuracy"].n == 3
    assert len(study.trials) == 5 + 3
    assert all(trial.state.is_finished() for trial in study.optuna.get_trials(deepcopy=False))
    begun = [t for t in study.optuna.get_trials(deepcopy=False) if t.state == TrialState.COMPLETE]
    assert len(begun) == 8


def test_several_workers_give_the_same_figures(url: str) -> None:
    """Each run is made once, whoever makes it."""
    study = searched(url)
    alone = searched(f"{url}.alone")  # a store of its own, so that neither learns from the other
    together = confirmed(study, which="best", top=2, seeds=3, workers=2)
    assert len([trial for trial in study.trials if trial.repetition]) == 6
    same = confirmed(alone, which="best", top=2, seeds=3)
    assert [point.qualities for point in together.points] == [point.qualities for point in same.points]


@pytest.mark.long
def test_what_a_killed_worker_leaves_is_gone_on_with(url: str, start: Callable[..., Any]) -> None:
    """Nothing is lost, nothing is made twice, and nothing stays open."""
    study = searched(url, epochs=40)
    best = study.pick("best").number
    process = start("confirm", str(best), "--seeds", "3", "--quiet", "--storage", url)
    until = time.monotonic() + 240
    while not any(one.state == "running" for one in study.store.held(study.id)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
    process.kill()
    process.wait()
    (left,) = study.store.held(study.id)
    found = confirmed(study, which=[best], seeds=3, workers=2)
    assert found.points[0].qualities["accuracy"].n == 3
    assert study.store.evaluation(left.evaluation).attempts == 2
    assert len(study.trials) == 5 + 3
    assert all(trial.state.is_finished() for trial in study.optuna.get_trials(deepcopy=False))


def test_what_waits_in_the_queue_goes_on_waiting(url: str) -> None:
    """A repetition does not take the place of a network that the user queued."""
    study = searched(url)
    study.enqueue(pn.Architecture((1, 8, 8), (pn.Block("flatten"), pn.Block("linear", width=5)), (pn.Head(10),)))
    confirmed(study, which="best", top=1, seeds=1)
    (waiting,) = study.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    study.optimize(7, show_progress=False)
    assert "linear5" in str(study.pick(waiting.number).architecture)


def test_weights_that_a_trial_began_with_are_trained_anew(url: str) -> None:
    """A network that was made of another is repeated from the root on; weights stay whatever the study keeps."""
    study = searched(url, keep="front")
    parent = study.pick("best")
    child = study.shrink(parent.number, pruning=0.3, finetune_epochs=1)
    run = run_of(child, 1)
    assert [step.seed for step in run.steps] == [1, 1]
    assert run.steps[0] == replace(parent.candidate, seed=1)
    found = confirmed(study, which=[child.number], seeds=2)
    assert found.points[0].qualities["accuracy"].n == 2
    for number in found.points[0].trials.values():
        repetition = study.pick(number)
        start = repetition.candidate.start
        assert start is not None
        root = study.pick(start.trial)
        assert root.number != parent.number
        assert root.candidate.key == start.key
        assert root.candidate.seed == repetition.candidate.seed
        assert root.load() is not None
        assert repetition.load() is not None


def spreads(*values: tuple[float, ...]) -> Confirmation:
    """Points of rising size with such accuracies."""
    points = tuple(
        Confirmed(number, {"accuracy": Spread(0.9, some)}, {"parameters": 10.0 + number}, {}, {})
        for number, some in enumerate(values)
    )
    return Confirmation("made", "by hand", (1, 2, 3), ("accuracy",), points, ("accuracy", "parameters"))


def test_ties_are_what_a_corrected_test_does_not_tell_apart() -> None:
    """Welch's test against the best mean, with Holm's correction for the number of comparisons."""
    one, two, three = (0.92, 0.93, 0.94), (0.919, 0.93, 0.941), (0.95, 0.96, 0.955)
    found = spreads(one, two, three)
    assert found.best() == 2
    plain = [float(ttest_ind(three, other, equal_var=False).pvalue) for other in (one, two)]
    assert 0.025 < plain[0] < plain[1] < 0.05  # each alone would be told apart
    assert found.p_values() == {0: pytest.approx(2 * plain[0]), 1: pytest.approx(2 * plain[0])}
    assert found.ties() == [2, 0, 1]
    assert spreads(one, three).ties() == [1]
    assert spreads((0.8, 0.81, 0.82), two, three).ties() == [2]
    assert found.front == (0, 2)


def test_one_seed_tells_nothing_apart() -> None:
    """Without a spread all are ties, and it is said."""
    found = spreads((0.5,), (0.99,))
    assert found.ties() == [1, 0]
    assert math.isnan(found.told_apart())
    assert any("all points count as tied" in line or "cannot be told" in line for line in conclusions(found))


def test_equal_values_are_as_precise_as_one_example() -> None:
    """Three times the same share is no proof: one example more or less is in it."""
    same, other = (0.9972,) * 3, (0.9944,) * 3
    assert spreads(same, other).ties() == [0]
    assert replace(spreads(same, other), resolution=1 / 36).ties() == [0, 1]
    assert spreads(same, same).ties() == [0, 1]


def test_the_least_difference_is_that_of_fisher() -> None:
    """Student's t times the deviation of a difference of two means; with more seeds it falls."""
    few, many = spreads((0.9, 0.92, 0.94), (0.8, 0.82, 0.84)), spreads((0.9, 0.92, 0.94) * 4, (0.8, 0.82, 0.84) * 4)
    assert few.told_apart() == pytest.approx(2.776445 * 0.02 * math.sqrt(2 / 3), rel=1e-5)
    assert many.told_apart() < few.told_apart() / 2


def test_what_is_not_proved_worse_is_no_tie_if_it_is_far_off() -> None:
    """A mean far below, of which the few values differ much, is left open and is not what is advised."""
    found = spreads((0.6, 0.8, 0.7), (0.965, 0.97, 0.975), (0.97, 0.975, 0.98))
    assert sorted(found.ties()) == [0, 1, 2]
    assert [found.verdict(trial) for trial in (0, 1, 2)] == ["open", "tie", "best"]
    assert found.smallest == 1
    assert any("trial 0 looks worse, which n = 3 does not prove" in line for line in conclusions(found))


def test_a_point_that_means_dominate_is_named() -> None:
    """And the smallest of those that tie."""
    found = spreads((0.95, 0.96, 0.97), (0.94, 0.96, 0.95), (0.5, 0.51, 0.52))
    assert found.front == (0,)
    assert found.smallest == 0
    assert any("trial 1, 2 is dominated" in line for line in conclusions(found))


def test_failures_are_shown_and_not_counted() -> None:
    """A seed without a value leaves n smaller; none at all leaves nothing to say."""
    found = spreads((), ())
    assert found.best() is None
    assert found.smallest is None
    assert found.front == ()
    assert any("cannot be told apart" in line for line in conclusions(found))
    json.dumps(found.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": 0}, "the number of seeds is a whole number from 1 to 1000, 0 was given"),
        ({"seeds": True}, "True was given"),
        ({"top": 0}, "top is a whole number from 1, 0 was given"),
        ({"workers": 0}, "workers is a whole number from 1"),
        ({"which": []}, "one trial or several, each once"),
        ({"which": [0, 0]}, "each once"),
        ({"which": "knee", "weights": {"accuracy": 1}}, "one way"),
    ],
)
def test_what_cannot_be_is_refused(study: pn.Study, wrong: dict[str, Any], said: str) -> None:
    """With the rule, and no trial is made."""
    trials = len(study.trials)
    with pytest.raises(UsageError, match=said):
        confirmed(study, **wrong)
    assert len(study.trials) == trials


def test_an_empty_study_has_nothing_to_confirm(url: str) -> None:
    """It says so."""
    empty = pn.create_study("empty", space=SPACE, objectives=OBJECTIVES, storage=url)
    with pytest.raises(StudyError, match="nothing to pick from"):
        confirmed(empty)


def test_the_command_prints_means_and_ties(study: pn.Study, cli: Callable[..., Any]) -> None:
    """As a table with what follows, and as JSON; by the numbers of trials, or the first of an order."""
    store = ("--storage", study.store.url)
    best = study.pick("best").number
    answer = cli("confirm", "--pick", "best", "--top", "2", "--seeds", "3", *store)
    assert answer.returncode == 0, answer.stderr
    assert "(n = 3)" in answer.stdout
    assert "best mean accuracy: trial" in answer.stdout
    assert "cannot be told from chance (Welch's test" in answer.stdout
    answer = cli("confirm", str(best), "--seeds", "2", "--json", *store)
    document = json.loads(answer.stdout)
    assert [point["trial"] for point in document["points"]] == [best]
    assert document["points"][0]["qualities"]["accuracy"]["n"] == 2
    answer = cli("confirm", "--seeds", "0", *store)
    assert answer.returncode == 2
