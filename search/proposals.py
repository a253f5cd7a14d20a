"""Asking for candidates until one is new."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import RandomSampler
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from ..errors import CandidateFailed, LeaseLost, SpaceExhausted, StudyError
from ..spaces import Candidate, DataSpec
from ..storage import ENDED, Evaluation
from .evaluate import failures
from .leases import Lease
from .queue import enqueued
from .recovery import put_back, take_up
from .reshape import change_of_the_front
from .sampler import ALL_KNOWN, SeededSampler
from .telling import check_hopeful, close, note, tell, tell_failed, together
from .trying import InHand

if TYPE_CHECKING:
    from .study import Study

ANY = 2**31 - 1  # places of a study whose trials are not counted
EXHAUSTED_AFTER = 100  # proposals in a row, most of them random, that were all known
EXHAUSTED = "the space is exhausted; widen it, or pick from the front"  # the end of what is said then


def propose(study: "Study", place: int, spec: DataSpec) -> tuple[OptunaTrial, Candidate]:
    """Ask for candidates until one is new. Known ones are answered at once with what is known of them."""
    sampler = SeededSampler(study, spec)
    study.optuna.sampler = sampler
    while sampler.known_in_a_row < EXHAUSTED_AFTER:
        trial = study.optuna.ask()
        try:
            known = _begin(study, place, trial, spec)
        except CandidateFailed as failure:
            tell_failed(study, trial, failure)
            check_hopeful(study)
        except BaseException:
            with suppress(Exception):
                put_back(study, trial)
            raise
        else:
            if isinstance(known, Candidate):
                return trial, known
            answer(study, trial, known)
        sampler.known_in_a_row += 1
    if study.store.counts(study.id).keys() <= {"failed", "open"} and (failed := study.trials):
        raise StudyError(
            f"all {len(failed)} candidates that the space of {study.name!r} has failed, the last one as "
            f"{failed[-1].reason}: mend the cause, or search another space under another name"
        )
    all_known = sampler.known_in_a_row >= ALL_KNOWN
    what = (
        f"all that the space of {study.name!r} makes is" if all_known else f"the last {EXHAUSTED_AFTER} proposals were"
    )
    raise SpaceExhausted(f"{what} known or impossible: {EXHAUSTED}")


def _begin(study: "Study", place: int, trial: OptunaTrial, spec: DataSpec) -> Candidate | Evaluation:
    """A new candidate, for which the place is now used, or what is known of it."""
    definition = study.definition
    candidate = enqueued(trial)
    if candidate is None and definition.moves:
        candidate = change_of_the_front(study, trial)
    if candidate is None:
        with failures():
            candidate = definition.space.suggest(trial, replace(spec, taught=bool(definition.teacher)))
    return begin(study, place, trial, candidate)


def one_candidate(study: "Study", candidate: Candidate, lease: Lease) -> InHand | int:
    """A place for a candidate more, or the number of the trial that has it; one that nobody works on is taken up."""
    place = study.store.take_place(study.id, ANY)
    assert place is not None
    trial = fresh_trial(study)
    try:
        known = begin(study, place, trial, candidate)
    except BaseException:
        with suppress(Exception):  # then the next worker does it
            study.store.give_back(place)
            put_back(study, trial)
        raise
    if isinstance(known, Candidate):
        return InHand(place, trial, candidate)
    answer(study, trial, known)
    study.store.give_back(place)
    if known.state in ENDED:
        return known.trial_number
    hand = take_up(study, lease, only=known.id)
    if hand is None:
        raise StudyError(f"trial {known.trial_number} is the same, and is being trained by {known.worker}: wait for it")
    return hand


def fresh_trial(study: "Study") -> OptunaTrial:
    """A trial of Optuna for which nothing is proposed; ``ask`` would take what the queue has."""
    study.optuna.sampler = RandomSampler()  # the next proposal brings its own
    identity = study.store.optuna.create_new_trial(study.optuna._study_id)  # noqa: SLF001 - Optuna has no public name for it
    return OptunaTrial(study.optuna, identity)


def answer(study: "Study", trial: OptunaTrial, known: Evaluation) -> None:
    """Tell Optuna what is known of a proposal that was made before; nothing of one that has not ended."""
    with together(study, trial):
        note(trial, "duplicate_of", known.trial_number)
        if known.state in ENDED:
            tell(study, trial, known)
        else:
            close(study, trial, TrialState.FAIL)


def begin(study: "Study", place: int, trial: OptunaTrial, candidate: Candidate) -> Candidate | Evaluation:
    """Use the place for the candidate, if it is new; otherwise what is known of it."""
    definition = study.definition
    with failures():
        network, _ = str(candidate.deployed), candidate.key  # what cannot be said or written is its own fault too
    _write(study, trial, {"network": network, **({"start": start.to_json()} if (start := candidate.start) else {})})
    known = study.store.begin(
        place,
        candidate,
        trial=trial.number,
        task=definition.task.key_with(definition.fingerprint),
        seed=definition.seed if candidate.seed is None else candidate.seed,
        threads=definition.threads,
        device=definition.device,
    )
    return candidate if known is None else known


def _write(study: "Study", trial: OptunaTrial, attributes: Mapping[str, object]) -> None:
    """Have all that a proposal is made of in the database. LeaseLost if another worker closed it."""
    try:
        with study.store.optuna.together(trial._trial_id):  # noqa: SLF001 - Optuna has no public name for it
            for name, value in attributes.items():
                trial.set_user_attr(name, value)
    except UpdateFinishedTrialError as error:
        raise LeaseLost(
            f"the proposal {trial.number} of {study.name!r} was taken for left behind and closed: another one is made"
        ) from error
