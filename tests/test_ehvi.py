"""Proposals of the search of ours: none twice, towards the front, around what fails."""

from pathlib import Path

import pytest
from simulated import Outcome, begun, formula, keys, study_on, tried

import paretonas as pn
from paretonas.errors import StudyError
from paretonas.search.front import hypervolume
from paretonas.spaces import Candidate, DataSpec, Suggester
from paretonas.spaces.parameter_rules import count_parameters

SPACE = pn.ConvSpace(layers=(1, 4), widths=[4, 8, 16, 32], sharing="none", pruning=(0.0, 0.5))
TINY = pn.ConvSpace(layers=[1, 2], stages=1, widths=[4, 8], activations=["relu", "silu"], sharing="none", pruning=0.0)


def test_proposals_are_new_and_repeat_after_an_interruption(tmp_path: Path) -> None:
    """None twice; the same ones when every few trials another process goes on, which remembers nothing."""
    whole = study_on(tmp_path / "whole", SPACE, sampler="ehvi", seed=1)
    undisturbed = keys(tried(whole, 9))
    assert len(set(undisturbed)) == 9
    interrupted = []
    for trials in (3, 4, 9):
        anew = study_on(tmp_path / "parts", SPACE, sampler="ehvi", seed=1)
        interrupted += keys(tried(anew, trials))
    assert interrupted == undisturbed
    other = study_on(tmp_path / "other", SPACE, sampler="ehvi", seed=2)
    assert keys(tried(other, 2)) != undisturbed[:2]


def test_a_small_space_is_tried_whole_and_is_then_exhausted(tmp_path: Path) -> None:
    """Each of its candidates once, and no trial more in the store."""
    study = study_on(tmp_path, TINY, sampler="ehvi")
    size = TINY.size(DataSpec((1, 8, 8), 10)).count
    assert size == 8
    tried_keys = keys(tried(study, size))
    assert len(set(tried_keys)) == size
    with pytest.raises(StudyError, match="the space is exhausted"):
        begun(study)
    assert len(study.optuna.trials) <= size + 1


def test_workers_do_not_propose_the_same(tmp_path: Path) -> None:
    """Eight that run at once are eight candidates, unlike each other."""
    study = study_on(tmp_path, SPACE, sampler="ehvi")
    tried(study, 10)
    running = [begun(study) for _ in range(8)]
    assert len(set(keys(running))) == 8
    sizes = sorted(count_parameters(candidate.deployed) for candidate in running)
    assert sizes[-1] > 1.5 * sizes[0]


def test_it_finds_a_better_front_than_random_search(tmp_path: Path) -> None:
    """Hypervolume after 16 trials of a space where one activation of five is far better than the others."""

    def outcome(candidate: Candidate) -> Outcome:
        known = formula(candidate)
        assert isinstance(known, dict)
        worse = 0.0 if candidate.architecture.blocks[0].args["activation"] == "silu" else 0.3
        return {**known, "accuracy": max(0.1, known["accuracy"] - worse)}

    spaces = {word: study_on(tmp_path / word, SPACE, sampler=word, seed=3) for word in ("ehvi", "random")}
    found = {}
    for word, study in spaces.items():
        tried(study, 16, outcome)
        found[word] = [trial.values for trial in study.trials]
    objectives = spaces["ehvi"].definition.resolved_objectives
    both = found["ehvi"] + found["random"]
    worst = {name: (min if name == "accuracy" else max)(one[name] for one in both) for name in both[0]}
    best = {name: (max if name == "accuracy" else min)(one[name] for one in both) for name in both[0]}
    corners = [worst | {"accuracy": best["accuracy"]}, *(worst | {cost: best[cost]} for cost in ("parameters", "macs"))]
    reached = {word: hypervolume([*values, *corners], objectives) for word, values in found.items()}
    assert reached["ehvi"] > reached["random"]


def test_what_fails_is_gone_around(tmp_path: Path) -> None:
    """In a space half of which runs out of memory, few of the later trials do."""

    def outcome(candidate: Candidate) -> Outcome:
        return "out_of_memory" if candidate.architecture.blocks[0].args["activation"] == "silu" else formula(candidate)

    space = pn.ConvSpace(
        layers=(1, 4), widths=[4, 8, 16, 32], activations=["relu", "silu"], sharing="none", pruning=0.0
    )
    study = study_on(tmp_path, space, sampler="ehvi")
    tried(study, 30, outcome)
    states = [trial.state for trial in study.trials]
    assert states[15:].count("failed") <= 1
    assert states.count("complete") >= 20


def test_constraints_are_held_before_anything_is_asked(tmp_path: Path) -> None:
    """What is counted is known of each option: none is proposed that would be refused."""
    study = study_on(tmp_path, SPACE, sampler="ehvi", constraints=["parameters <= 1500", "macs >= 4000"])
    for candidate in tried(study, 10):
        assert count_parameters(candidate.deployed) <= 1500
    assert {trial.state for trial in study.trials} == {"complete"}


def test_where_nothing_holds_the_constraints_the_nearest_is_proposed(tmp_path: Path) -> None:
    """So that the study hears how near it came."""
    study = study_on(tmp_path, TINY, sampler="ehvi", constraints=["parameters <= 10"])
    smallest = min(count_parameters(TINY.sample(DataSpec((1, 8, 8), 10), seed=seed).deployed) for seed in range(200))
    assert count_parameters(begun(study).deployed) == smallest


def moody(trial: Suggester, data: DataSpec) -> pn.Architecture:
    """A space of the user's own that cannot make half of its settings."""
    width = trial.suggest_int("width", 1, 40)
    if trial.suggest_categorical("kind", ["good", "bad"]) == "bad":
        raise RuntimeError("no such network")
    pn.Block("flatten")
    return data.architecture((pn.Block("flatten"), pn.Block("linear", width=width)))


def test_settings_that_a_space_cannot_make_are_not_proposed(tmp_path: Path) -> None:
    """They would be trials without a candidate."""
    study = study_on(tmp_path, pn.FunctionSpace(moody, training=pn.TrainingSpace(epochs=1)), sampler="ehvi")
    assert len(set(keys(tried(study, 8)))) == 8
    assert len(study.optuna.trials) == 8


def broken(trial: Suggester, data: DataSpec) -> pn.Architecture:
    """A space that makes nothing."""
    trial.suggest_int("width", 1, 40)
    raise RuntimeError(f"no network for {len(data.input_shape)} axes")


def test_a_space_that_makes_nothing_says_why(tmp_path: Path) -> None:
    """The trials fail with its reason, and the study ends."""
    study = study_on(tmp_path, pn.FunctionSpace(broken), sampler="ehvi")
    with pytest.raises(StudyError, match=r"failed in the same way.*no network for 3 axes"):
        tried(study, 30)
