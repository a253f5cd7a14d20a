"""What is known when a search begins: other studies on the store, and what ended, was stopped or runs in this one."""

from pathlib import Path

import pytest
from simulated import OBJECTIVES, begun, end, formula, study_on, tried

import paretonas as pn
from paretonas.search.data import data_of
from paretonas.search.ehvi import ehvi_of
from paretonas.search.knowledge import Knowledge
from paretonas.search.proposals import begin, propose
from paretonas.search.study import Study
from paretonas.search.telling import tell
from paretonas.search.traits import traits
from paretonas.spaces import Candidate, ModuleArchitecture
from paretonas.spaces.block import Json
from paretonas.storage import CurvePoint

SPACE = pn.ConvSpace(layers=(1, 3), widths=[4, 8, 16], pruning=(0.0, 0.5))
OTHER = pn.MLPSpace(layers=(1, 3))


def refreshed(study: Study) -> Knowledge:
    knowledge = Knowledge(study)
    knowledge.refresh()
    return knowledge


def test_other_studies_are_prior_knowledge_each_by_itself(tmp_path: Path) -> None:
    """Of whatever space and sampler; what failed there failed."""
    first = study_on(tmp_path, SPACE, name="first", sampler="random")
    candidates = tried(first, 5)
    tried(study_on(tmp_path, OTHER, name="second", sampler="random"), 3, lambda _: "out_of_memory")
    study = study_on(tmp_path, SPACE, name="third", sampler="ehvi")
    one, two = refreshed(study).prior
    assert [seen.features for seen in one] == [traits(candidate) for candidate in candidates]
    assert [seen.values for seen in one] == [formula(candidate) for candidate in candidates]
    assert {seen.state for seen in one} == {"finished"}
    assert [seen.state for seen in two] == ["failed"] * 3


def test_the_front_of_an_earlier_study_is_proposed_again(tmp_path: Path) -> None:
    """Where space and task agree: exactly its networks, whose results can be taken over. Another space has none."""
    first = study_on(tmp_path, SPACE, name="first", sampler="random")
    tried(first, 12)
    study = study_on(tmp_path, SPACE, name="s", sampler="ehvi")
    front = {trial.candidate.key for trial in first.pareto_front}
    assert {one.key for one in refreshed(study).earlier} == front
    assert {candidate.key for candidate in tried(study, len(front))} == front
    other = study_on(tmp_path, SPACE, name="seeded", sampler="ehvi", seed=1)  # its networks would be trained anew
    assert [one.free for one in refreshed(other).earlier if one.key in front] == [False] * len(front)
    assert refreshed(study_on(tmp_path, OTHER, name="other")).earlier == []


def test_what_others_find_later_changes_nothing(tmp_path: Path) -> None:
    """So that a study that is interrupted goes on as it would have."""
    first = study_on(tmp_path, SPACE, name="first", sampler="random")
    tried(first, 3)
    study = study_on(tmp_path, SPACE, name="s", sampler="ehvi")
    tried(study, 1)
    tried(first, 6)
    assert [len(seen) for seen in refreshed(study).prior] == [3]


def test_what_does_not_compare_is_left_out(tmp_path: Path) -> None:
    """Those without all objectives, and those that violate what is wanted here are told as failures."""
    tried(study_on(tmp_path, SPACE, name="first", sampler="random"), 2)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    sized = pn.create_study("sized", space=SPACE, objectives=["accuracy", "activation_bytes"], storage=url)
    assert refreshed(sized).prior == []
    bounded = study_on(tmp_path, SPACE, name="bounded", constraints=["parameters <= 1"])
    [group] = refreshed(bounded).prior
    assert [seen.state for seen in group] == ["failed", "failed"]


def test_code_that_may_not_run_here_is_left_out(tmp_path: Path) -> None:
    """An own module can be looked at; what cannot be read does not hide the others."""
    first = study_on(tmp_path, SPACE, name="first", sampler="random")
    tried(first, 2)
    place = first.store.take_place(first.id, 10)
    assert place is not None
    own = ModuleArchitecture((1, 8, 8), (), (pn.Head(10),), factory="not.there:net", arguments={"width": 8})
    trial = first.optuna.ask()
    assert isinstance(begin(first, place, trial, Candidate(own)), Candidate)
    end(first, place, {"accuracy": 0.5, "parameters": 10.0, "macs": 10.0})
    [group] = refreshed(study_on(tmp_path, SPACE, name="s")).prior
    assert [seen.features.get("argument width") for seen in group] == [None, None, 8]


def test_what_ended_is_read_once_and_in_the_order_of_trials(tmp_path: Path) -> None:
    """Step by step or all at once, the same is known; what runs has its costs and no quality."""
    study = study_on(tmp_path, SPACE, sampler="random")
    slowly = Knowledge(study)
    for trials in (2, 3, 6):
        tried(study, trials)
        slowly.refresh()
    running = begun(study)
    slowly.refresh()
    at_once = refreshed(pn.load_study("s", storage=study.store.url))
    assert slowly.seen() == at_once.seen()
    assert slowly.keys == at_once.keys
    assert [seen.state for seen in slowly.seen()] == ["finished"] * 6 + ["running"]
    expected = formula(running)
    assert isinstance(expected, dict)
    assert slowly.seen()[-1].values == {name: expected[name] for name in OBJECTIVES[1:]}
    assert running.key in slowly.keys


def test_the_end_of_what_was_stopped_is_foreseen(tmp_path: Path) -> None:
    """From the curves of those that ended; its quality when it stopped is not taken for its quality."""
    study = study_on(tmp_path, SPACE, sampler="random")
    store, spec = study.store, data_of(study.definition, "cpu").spec
    for number in range(16):
        place = store.take_place(study.id, 100)
        assert place is not None
        trial, candidate = propose(study, place, spec)
        outcome = formula(candidate)
        assert isinstance(outcome, dict)
        scores = [outcome["accuracy"] * part / candidate.epochs for part in range(1, candidate.epochs + 1)]
        if number < 15:
            end(study, place, outcome, scores)
        else:
            for epoch in range(5):
                store.add_epoch(place, CurvePoint("train", epoch, 0.0, scores[epoch], 0.0))
            reached: dict[str, tuple[float, Json]] = {name: (value, {}) for name, value in outcome.items()}
            store.stop(place, {**reached, "accuracy": (scores[4], {})}, reason="hopeless", seconds=0.0)
        tell(study, trial, store.evaluation(place))
    seen = refreshed(study).seen()[-1]
    assert seen.state == "stopped"
    assert seen.values == {name: reached[name][0] for name in OBJECTIVES[1:]}
    mean, spread = seen.expected["accuracy"]
    assert mean == pytest.approx(reached["accuracy"][0], abs=0.1)
    assert spread > 0


def test_what_was_refused_or_is_dominated_is_known_and_teaches_nothing(tmp_path: Path) -> None:
    """It is not proposed again."""
    study = study_on(tmp_path, SPACE, sampler="ehvi")
    refused = begun(study)
    [(identity, _)] = study.store.states(study.id).items()
    study.store.refuse(identity, {}, reason="too large", seconds=0.0)
    knowledge = refreshed(study)
    assert knowledge.keys == {refused.key}
    assert knowledge.seen() == []
    assert begun(study).key != refused.key


def test_one_proposer_serves_a_study_of_a_process(tmp_path: Path) -> None:
    """What it read and drew stays with it, and goes with the study."""
    study = study_on(tmp_path, SPACE)
    spec = data_of(study.definition, "cpu").spec
    assert ehvi_of(study, spec) is ehvi_of(study, spec)
    assert ehvi_of(pn.load_study("s", storage=study.store.url), spec) is not ehvi_of(study, spec)
