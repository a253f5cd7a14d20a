"""Candidates that cannot be trained: recorded with their reason, avoided by the sampler, and the study goes on."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna
import pytest
from optuna.trial import TrialState

import paretonas as pn
from paretonas.errors import CandidateFailed, StudyError
from paretonas.search.evaluate import evaluate
from paretonas.search.trial import Trial
from paretonas.spaces import Space
from paretonas.spaces.choices import Suggester

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=1)
COUNTED = ["accuracy", "parameters"]


def failed_trials(study: pn.Study) -> list[Trial]:
    return [trial for trial in study.trials if trial.state == "failed"]


def assert_told_as_violated(study: pn.Study, trial: Trial) -> None:
    """Optuna knows the trial as pruned, with its constraint violated and the reason beside it."""
    told = study.optuna.get_trials()[trial.number]
    assert told.state is TrialState.PRUNED
    assert max(told.constraints.values()) > 0
    assert told.user_attrs["failed"] == trial.reason
    assert trial.number not in {best.number for best in study.optuna.best_trials}
    assert trial.number not in {point.number for point in study.pareto_front}


def test_a_candidate_that_diverges_is_recorded(url: str) -> None:
    """A loss that is no number ends the candidate at once, as ``diverged``, and the study goes on to the next."""
    training = pn.TrainingSpace(epochs=3, learning_rate=1e30)
    space = pn.MLPSpace(layers=2, widths=[4, 8], norms="none", training=training)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False)
    assert len(failed_trials(study)) == 2
    for trial in failed_trials(study):
        assert (trial.reason or "").startswith("diverged: the loss became nan in epoch 1 of 3 (train)")
        assert trial.learning_curve == []
        assert_told_as_violated(study, trial)
    with pytest.raises(StudyError, match="nothing to pick from: 2 trials finished, none succeeded"):
        study.pick("knee")


def test_a_candidate_that_crashes_is_recorded(url: str) -> None:
    """An exception that training raises is kept by its name: batch normalisation cannot train on batches of one."""
    space = pn.MLPSpace(layers=1, widths=[4, 8], training=pn.TrainingSpace(epochs=1, batch_size=1))
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    study.optimize(2, show_progress=False)
    assert len(failed_trials(study)) == 2
    for trial in failed_trials(study):
        assert (trial.reason or "").startswith("crashed: ValueError: Expected more than 1 value per channel")
        assert_told_as_violated(study, trial)


def test_a_candidate_that_does_not_fit_the_input_is_recorded(url: str) -> None:
    """A pool below one pixel is ``invalid``; the reason names the block and the shape that comes to it."""
    space = pn.ConvSpace(stages=(1, 5), layers=5, widths=[4, 8], training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    study.optimize(6, show_progress=False)
    assert len(study.trials) == 6
    assert failed_trials(study)
    assert study.pareto_front
    for trial in failed_trials(study):
        pools = [index for index, block in enumerate(trial.candidate.architecture.blocks) if block.op == "max_pool"]
        assert len(pools) > 3  # 8x8 halves three times
        width = trial.candidate.architecture.blocks[pools[3] - 1].width
        assert (trial.reason or "").startswith(
            f"invalid: block {pools[3]} (max_pool) cannot take the shape {width}x1x1 that comes to it"
        )
        assert trial.learning_curve == []
        assert_told_as_violated(study, trial)


def test_a_candidate_too_large_for_memory_is_recorded(mixed: pn.Study) -> None:
    """An allocation that the system refuses is ``out_of_memory``, and the study goes on with smaller ones."""
    failed = failed_trials(mixed)
    assert len(failed) == 2
    assert min(trial.number for trial in failed) < max(trial.number for trial in mixed.trials)
    for trial in failed:
        assert trial.candidate.architecture.blocks[1].width == 10**12
        assert (trial.reason or "").startswith("out_of_memory: ")
        assert "\n" not in (trial.reason or "")
        assert_told_as_violated(mixed, trial)


def test_a_failed_trial_has_no_weights(mixed: pn.Study) -> None:
    """Loading one says why it failed."""
    with pytest.raises(StudyError, match=r"trial \d+ has no weights: out_of_memory"):
        failed_trials(mixed)[0].load()


def test_the_dashboard_sees_failures_as_infeasible(mixed: pn.Study) -> None:
    """The attribute that optuna-dashboard reads is violated for failed trials and absent from the others."""
    failed = {trial.number for trial in failed_trials(mixed)}
    for told in mixed.optuna.get_trials():
        fails = told.user_attrs.get("duplicate_of", told.number) in failed
        assert told.system_attrs.get("constraints") == ([1.0] if fails else None)


@dataclass(frozen=True, kw_only=True)
class FragileSpace(pn.MLPSpace):
    """Forgets, for one value of a gene, to flatten the images."""

    name: ClassVar = "fragile"

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
        candidate = super().suggest(trial, data)
        if trial.suggest_categorical("flattened", [True, False]):
            return candidate
        blocks = tuple(block.replace() for block in candidate.architecture.blocks if block.op != "flatten")
        return pn.Candidate(
            pn.Architecture(data.input_shape, blocks, candidate.architecture.heads), 0.0, candidate.training
        )


def test_a_broken_proposal_of_ones_own_space_is_recorded(url: str, register: Callable[[type[Space]], None]) -> None:
    """A network that a user's space put together wrongly is ``invalid``; the others are trained."""
    register(FragileSpace)
    space = FragileSpace(layers=1, widths=[4, 8], sharing="none", training=BRIEF)
    study = pn.create_study("s", space=space, objectives=COUNTED, storage=url)
    study.optimize(6, show_progress=False)
    assert {trial.state for trial in study.trials} == {"complete", "failed"}
    for trial in study.trials:
        flattened = study.optuna.get_trials()[trial.number].params["flattened"]
        assert (trial.state == "complete") is flattened
    for trial in failed_trials(study):
        assert (trial.reason or "").startswith("invalid: block 0 (linear) cannot take the shape 1x8x8 that comes to it")
        assert_told_as_violated(study, trial)


@dataclass(frozen=True, kw_only=True)
class RarelyBrokenSpace(pn.MLPSpace):
    """Fails to put together half of a study's proposals; samples without a study are fine."""

    name: ClassVar = "rarely_broken"

    def suggest(self, trial: Suggester, data: pn.DataSpec) -> pn.Candidate:
        if isinstance(trial, optuna.Trial) and trial.suggest_int("seldom", 0, 1) == 0:
            pn.Block("linear", width=0)
        return super().suggest(trial, data)


def test_a_proposal_that_cannot_be_put_together_does_not_stop_the_study(
    url: str, register: Callable[[type[Space]], None]
) -> None:
    """An architecture that raises while it is suggested costs at most its own trial, not the study's future."""
    register(RarelyBrokenSpace)
    study = pn.create_study("s", space=RarelyBrokenSpace(training=BRIEF), objectives=COUNTED, storage=url)
    for _ in range(10):
        with suppress(pn.ParetonasError):
            study.optimize(4, show_progress=False)
    assert len(study.trials) == 4


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"widths": 10**12}, "out_of_memory"),
        ({"norms": "none", "training": pn.TrainingSpace(epochs=1, learning_rate=1e30)}, "diverged"),
        ({"training": pn.TrainingSpace(epochs=1, batch_size=1)}, "crashed"),
    ],
)
def test_evaluate_says_what_kind_of_failure_it_was(changes: dict[str, Any], kind: str) -> None:
    """The same kinds come out of ``evaluate`` without a study."""
    space = pn.MLPSpace(**{"layers": 1, "widths": 8, "training": BRIEF, **changes})
    candidate = space.sample(pn.DataSpec((1, 8, 8), 10))
    with pytest.raises(CandidateFailed) as caught:
        evaluate(candidate, "digits", ("accuracy",), seed=0)
    assert caught.value.kind == kind
    assert "\n" not in caught.value.reason
