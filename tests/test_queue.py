"""Candidates that the user puts in the queue."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from simulated import begun, keys, study_on, tried

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.search.leases import Lease, in_hand
from paretonas.search.queue import enqueue, enqueued
from paretonas.search.recovery import clean_up, take_up
from paretonas.spaces import Candidate, Training

SPACE = pn.ConvSpace(layers=(1, 3), widths=[4, 8, 16], pruning=(0.0, 0.5))
HEADS = (pn.Head(10),)
BLOCKS = (pn.Block("conv", width=5), pn.Block("global_average_pool"))
NETWORK = pn.Architecture((1, 8, 8), BLOCKS, HEADS)


def test_what_is_queued_is_tried_next_in_the_order_given(tmp_path: Path) -> None:
    """An architecture as the space trains it, a candidate as it is, genes with the rest drawn; also after reopening."""
    space = SPACE.replace_training(epochs=4, learning_rate=pn.Range(0.001, 0.1, log=True))
    study = study_on(tmp_path, space, sampler="ehvi")
    given = Candidate(NETWORK, pruning=0.2, training=Training(epochs=2))
    assert enqueue(study, NETWORK) is None
    assert enqueue(study, given) is None
    assert enqueue(study, {"layers": 3, "pruning": 0.25}) is None
    first, second, third, _ = tried(pn.load_study("s", storage=study.store.url), 4)
    assert first.architecture == NETWORK
    assert (first.training.epochs, first.training.learning_rate, first.pruning) == (4, 0.01, 0.0)
    assert second == given
    assert sum(block.op == "conv" for block in third.architecture.blocks) == 3
    assert third.pruning == 0.25


@pytest.mark.parametrize("word", ["ehvi", "tpe"])
def test_what_is_known_is_answered_with_its_trial(tmp_path: Path, word: str) -> None:
    """Nothing is queued, neither for what was tried nor for what waits already."""
    study = study_on(tmp_path, SPACE, sampler=word)
    [candidate] = tried(study, 1)
    assert enqueue(study, candidate) == 0
    assert enqueue(study, NETWORK) is None
    assert enqueue(study, NETWORK) == 1
    assert [trial.state for trial in study.optuna.trials] == [TrialState.COMPLETE, TrialState.WAITING]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pn.Architecture((3, 8, 8), BLOCKS, HEADS), r"has inputs of shape \(1, 8, 8\), one with \(3, 8, 8\) was given"),
        (pn.Architecture((1, 8, 8), BLOCKS, (pn.Head(7),)), "has heads .*10.*, one with .*7.* was given"),
        (pn.Architecture((1, 8, 8), (pn.Block("flatten"),), HEADS, vocabulary=5), "has tokens below None, one with 5"),
        (pn.Architecture((1, 8, 8), (pn.Block("conv", width=5),), HEADS), "the heads need features in one row"),
        ({"layer": 2}, "the space does not ask for the gene 'layer': did you mean 'layers'"),
        ({"layers": 9}, "the gene layers is from 1 to 3, 9 was given"),
        ({"layers": True}, "the gene layers is from 1 to 3, True was given"),
        ({"activation": "sine"}, "the gene activation is one of relu, .*, 'sine' was given"),
        ("conv8", "what is queued is an Architecture, a Candidate, or genes by name, str was given"),
    ],
)
def test_what_cannot_be_tried_is_refused(tmp_path: Path, given: Any, message: str) -> None:
    """In one sentence, and nothing is queued."""
    study = study_on(tmp_path, SPACE)
    with pytest.raises(UsageError, match=message):
        enqueue(study, given)
    assert study.optuna.trials == []


def test_an_interrupted_proposal_goes_back_to_the_queue(tmp_path: Path) -> None:
    """With all that it was queued with, whether a candidate or genes; what was drawn beside it is drawn again."""
    study = study_on(tmp_path, SPACE, sampler="ehvi")
    enqueue(study, NETWORK)
    enqueue(study, {"layers": 2})
    for _ in range(2):  # asked for, and the search that did so is gone
        study.optuna.ask()
    with Lease(study) as lease:
        assert clean_up(study, lease) == 2
        assert clean_up(study, lease) == 0
    first, second = tried(study, 2)
    assert first.architecture == NETWORK
    assert sum(block.op == "conv" for block in second.architecture.blocks) == 2
    assert enqueued(study.optuna.trials[2]) == first  # type: ignore[arg-type]
    assert enqueued(study.optuna.trials[3]) is None  # type: ignore[arg-type]


def test_a_begun_candidate_is_not_queued_anew(tmp_path: Path) -> None:
    """It keeps its trial, whether it was queued or proposed, and the next worker has it in hand."""
    study = study_on(tmp_path, SPACE, sampler="ehvi")
    enqueue(study, NETWORK)
    left = [begun(study), begun(study)]  # and the search that began them is gone
    with Lease(study) as lease:
        assert clean_up(study, lease) == 0
        hands = []
        with ExitStack() as working:
            while (hand := take_up(study, lease)) is not None:
                working.enter_context(in_hand(study.store, hand.place))
                hands.append(hand)
    assert keys([hand.candidate for hand in hands]) == keys(left)
    assert [hand.trial.number for hand in hands] == [0, 1]
    assert [trial.state for trial in study.optuna.trials] == [TrialState.RUNNING, TrialState.RUNNING]
