"""Moves that the search chooses: of the front's networks, the one that is expected to gain most."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import TrialState
from torch import nn

import paretonas as pn
from paretonas.search import reshape
from paretonas.search.ehvi import gains_of
from paretonas.search.gain import Option
from paretonas.search.knowledge import knowledge_of
from paretonas.search.reshape import change_of_the_front
from paretonas.search.traits import traits
from paretonas.spaces import Candidate, Compression, Start, moved_architecture, possible_moves

BRIEF = pn.TrainingSpace(epochs=2, finetune_epochs=1)
SPACE = pn.ConvSpace(layers=(1, 2), widths=[4, 8, 16], activations=["relu", "elu"], pruning=[0.0, 0.3], training=BRIEF)
OBJECTIVES = ["accuracy", "parameters", "macs"]


def begun(url: str, name: str, trials: int = 5, **more: Any) -> pn.Study:
    """A study of a few trials, with moves."""
    study = pn.create_study(name, **{"space": SPACE, "objectives": OBJECTIVES, "storage": url, "moves": 0.5, **more})
    study.optimize(trials, show_progress=False)
    return study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pn.Study:
    """Eight trials, about half of them moves. To be read only."""
    return begun(f"sqlite:///{tmp_path_factory.mktemp('inherit') / 'nas.db'}", "one", 8)


def every_move(study: pn.Study) -> Iterator[Candidate]:
    """What each move of each point of the front makes, as the search would train it."""
    for parent in study.pareto_front:
        training = parent.candidate.training
        for move in possible_moves(parent.architecture):
            yield Candidate(
                moved_architecture(parent.architecture, move),
                training=replace(training, epochs=1),
                start=Start(parent.number, parent.candidate.key, (move,)),
            )


def chosen(study: pn.Study, count: int = 12) -> list[Candidate]:
    """What the next proposals of a study begin with, those that are moves. Nothing of it is trained or kept."""
    study.optuna.sampler = RandomSampler()
    found = []
    for _ in range(count):
        trial = study.optuna.ask()
        found.append(change_of_the_front(study, trial))
        study.optuna.tell(trial, state=TrialState.FAIL)
    return [candidate for candidate in found if candidate is not None]


def test_moves_are_as_many_as_were_asked_for_and_short(study: pn.Study) -> None:
    """Each trains as long as its parent was fine-tuned, one after the other, and each is new."""
    trials = [trial for trial in study.trials if trial.inherited]
    assert 1 <= len(trials) < 8
    keys = [trial.candidate.key for trial in study.trials]
    assert len(set(keys)) == len(keys)
    for trial in trials:
        start = trial.candidate.start
        assert start is not None
        assert len(start.moves) == 1
        assert len(trial.learning_curve) == 1
        assert trial.candidate.compression == Compression()
        assert trial.to_json()["inherited"] is True


def test_the_move_of_the_largest_gain_is_chosen(study: pn.Study) -> None:
    """Of all that the front can become, and is no cheaper than what the space has, none is expected to gain more."""
    found = {candidate.key: candidate for candidate in chosen(study)}
    assert len(found) == 1  # nothing was learned in between
    best = next(iter(found.values()))
    knowledge = knowledge_of(study)
    own = [trial.values for trial in study.trials if not trial.inherited]
    least = {name: min(values[name] for values in own) for name in ("parameters", "macs")}
    candidates = list(every_move(study))
    costs = [knowledge.costs(candidate) for candidate in candidates]
    inside = [all(cost[name] >= low for name, low in least.items()) for cost in costs]
    fitting = [candidate for candidate, fits in zip(candidates, inside, strict=True) if fits]
    kept = [candidate for candidate in fitting if candidate.key not in knowledge.keys]
    gains = gains_of(knowledge, [Option(traits(candidate), knowledge.costs(candidate)) for candidate in kept])
    index = [candidate.key for candidate in kept].index(best.key)
    assert gains[index] > 0
    assert gains[index] == pytest.approx(gains.max(), rel=0.05)  # the sum over the plane sees all options


def test_no_move_leads_below_what_the_space_has(study: pn.Study) -> None:
    """A network could be halved for ever, and gain in logarithms of its costs each time."""
    own, moved = ([t.values for t in study.trials if t.inherited == inherited] for inherited in (False, True))
    for name in ("parameters", "macs"):
        assert min(values[name] for values in moved) >= min(values[name] for values in own)


def test_a_known_move_is_not_chosen_again(url: str) -> None:
    """The one that would be chosen is tried; then another is."""
    study = begun(url, "known")
    first = chosen(study)[0]
    study.enqueue(first)
    study.optimize(6, show_progress=False)
    assert first.key in {trial.candidate.key for trial in study.trials}
    assert first.key not in {candidate.key for candidate in chosen(study)}


def test_constraints_hold_for_moves(url: str) -> None:
    """What the blocks say is enough to leave out what is too large."""
    bound = 1000
    study = begun(url, "bounded", constraints=[f"parameters <= {bound}"])
    knowledge = knowledge_of(study)
    assert any(knowledge.costs(candidate)["parameters"] > bound for candidate in every_move(study))
    kept = [trial.candidate for trial in study.trials if trial.inherited] + chosen(study)
    assert kept
    assert all(knowledge.costs(candidate)["parameters"] <= bound for candidate in kept)


def test_moves_repeat(tmp_path: Path) -> None:
    """The same study in another store proposes the same."""
    keys = []
    for name in ("first", "second"):
        study = begun(f"sqlite:///{tmp_path / name}.db", "same", 4)
        assert any(trial.inherited for trial in study.trials)
        keys.append([trial.candidate.key for trial in study.trials])
    assert keys[0] == keys[1]


def test_of_many_moves_some_are_compared(study: pn.Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the place of the trial draws."""
    monkeypatch.setattr(reshape, "MOST_MOVES", 3)
    compared = [list(reshape._moves_of(study, study.pareto_front, np.random.default_rng(seed))) for seed in (0, 0, 1)]
    assert [len(each) for each in compared] == [3, 3, 3]
    keys = [{candidate.key for candidate, _ in each} for each in compared]
    assert keys[0] == keys[1] != keys[2]


def test_with_other_samplers_moves_are_random(url: str) -> None:
    """Any move of any point, as before."""
    study = begun(url, "random", sampler="random")
    kinds = {(candidate.start.trial, candidate.start.moves) for candidate in chosen(study) if candidate.start}
    assert len(kinds) > 2


def make_linear(width: int = 4) -> nn.Module:
    """A network of the user's own for digits."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


@pytest.mark.parametrize("sampler", ["ehvi", "random"])
def test_modules_of_ones_own_are_not_moved(url: str, sampler: str) -> None:
    """They are not made of blocks, so each proposal begins anew."""
    study = begun(url, "own", 3, space=pn.ModuleSpace(make_linear, width=(2, 40), training=BRIEF), sampler=sampler)
    assert len(study.trials) == 3
    assert not any(trial.inherited for trial in study.trials)
    assert chosen(study) == []
