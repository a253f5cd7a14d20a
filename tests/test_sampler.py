"""Who proposes: by name, of the user's own, or an object of Optuna's."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from simulated import keys, study_on, tried

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.search.sampler import SAMPLERS, Answering, check_sampler, place_of, sampler_name, seed_of

SPACE = pn.ConvSpace(layers=(1, 3), widths=[4, 8, 16], pruning=(0.0, 0.5))


def make_sampler(seed: int) -> optuna.samplers.BaseSampler:
    return optuna.samplers.NSGAIISampler(seed=seed, population_size=4)


def make_nothing(seed: int) -> int:
    return seed


@pytest.mark.parametrize("word", SAMPLERS)
def test_each_sampler_proposes_the_same_again(word: str, tmp_path: Path) -> None:
    """Also where the study is opened anew between the trials; none is tried twice."""
    whole = keys(tried(study_on(tmp_path / "whole", SPACE, sampler=word), 5))
    parts = []
    for trials in (2, 5):
        parts += keys(tried(study_on(tmp_path / "parts", SPACE, sampler=word), trials))
    assert parts == whole
    assert len(set(whole)) == 5


@pytest.mark.parametrize("word", ["tp", "", "grid", "ehvi2", 3])
def test_a_sampler_that_is_not_there_is_refused(word: str) -> None:
    """The message names those that are."""
    with pytest.raises(
        UsageError, match=r"unknown sampler .*there is ehvi, tpe, tpe_multivariate, nsga2, nsga3, gp, r"
    ):
        check_sampler(word)


def test_a_function_of_ones_own_makes_the_sampler(tmp_path: Path) -> None:
    """Given itself it is trusted and kept by name, so the study goes on in another process."""
    study = study_on(tmp_path, SPACE, sampler=make_sampler)
    assert study.definition.sampler.endswith("test_sampler:make_sampler")
    tried(study, 3)
    assert len(set(keys(tried(pn.load_study("s", storage=study.store.url), 5)))) == 2


def test_a_function_that_makes_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is an optuna.samplers.BaseSampler, .*make_nothing gave int"):
        tried(study_on(tmp_path, SPACE, sampler=make_nothing), 1)


def test_an_object_of_optunas_searches_in_the_process_that_has_it(tmp_path: Path) -> None:
    """It is kept by the name of its class; where the study is opened without it, the error says what to do."""
    study = study_on(tmp_path, SPACE, sampler=optuna.samplers.RandomSampler(seed=0))
    assert study.definition.sampler == "optuna.samplers.RandomSampler"
    assert len(tried(study, 3)) == 3
    with pytest.raises(StudyError, match=r"RandomSampler of 's' was handed in as an object, .*hand it in again"):
        tried(pn.load_study("s", storage=study.store.url), 4)


def test_names_of_samplers() -> None:
    """A word stays, an object is its public class."""
    assert sampler_name("nsga3") == "nsga3"
    assert sampler_name(optuna.samplers.TPESampler()) == "optuna.samplers.TPESampler"


def test_genes_are_answered_as_chosen_and_others_at_random() -> None:
    """Also one whose choices are others by now; nothing is chosen before a gene is asked for."""
    asked = []

    def choose() -> dict[str, object]:
        asked.append(1)
        return {"width": 8, "kind": "gone"}

    study = optuna.create_study(directions=["minimize", "minimize"], sampler=Answering(choose, seed=0))
    trial = study.ask()
    assert asked == []
    assert trial.suggest_int("width", 1, 9) == 8
    assert trial.suggest_categorical("kind", ["a", "b"]) in ("a", "b")
    assert trial.suggest_float("unforeseen", 2.0, 3.0) >= 2.0
    assert asked == [1]
    assert trial.distributions["width"] == IntDistribution(1, 9)
    assert trial.distributions["kind"] == CategoricalDistribution(("a", "b"))


def test_seeds_and_places() -> None:
    """Interrupted trials have no place; each place has a seed of its own."""
    trials = [optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL, user_attrs={"interrupted": "x"})]
    trials[0].number = 2
    assert [place_of(number, trials) for number in (1, 2, 3, 4)] == [1, 2, 2, 3]
    assert len({seed_of(seed, place) for seed in range(3) for place in range(20)}) == 60
