"""Asking for candidates until one is new."""

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from ..errors import CandidateFailed, SpaceExhausted, StudyError
from ..spaces import Candidate, DataSpec
from ..storage import Evaluation
from .evaluate import failures
from .queue import enqueued
from .recovery import retry
from .reshape import change_of_the_front
from .sampler import ALL_KNOWN, SeededSampler
from .telling import check_hopeful, tell, tell_failed

if TYPE_CHECKING:
    from .study import Study

EXHAUSTED_AFTER = 100  # proposals in a row, most of them random, that were all known


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
                retry(study, trial)
            raise
        else:
            if isinstance(known, Candidate):
                return trial, known
            trial.set_user_attr("duplicate_of", known.trial_number)
            if known.state == "running":  # by another worker; nothing is known of it yet
                study.optuna.tell(trial, state=TrialState.FAIL)
            else:
                tell(study, trial, known)
        sampler.known_in_a_row += 1
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if failed and len(failed) == len(study.trials):
        raise StudyError(
            f"all {len(failed)} candidates that the space of {study.name!r} has failed, the last one as "
            f"{failed[-1].reason}: mend the cause, or search another space under another name"
        )
    all_known = sampler.known_in_a_row >= ALL_KNOWN
    what = (
        f"all that the space of {study.name!r} makes is" if all_known else f"the last {EXHAUSTED_AFTER} proposals were"
    )
    raise SpaceExhausted(f"{what} known or impossible: the space is exhausted; widen it, or pick from the front")


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


def begin(study: "Study", place: int, trial: OptunaTrial, candidate: Candidate) -> Candidate | Evaluation:
    """Use the place for the candidate, if it is new; otherwise what is known of it."""
    definition = study.definition
    with failures():
        network, _ = str(candidate.deployed), candidate.key  # what cannot be said or written is its own fault too
    trial.set_user_attr("network", network)
    if candidate.start is not None:
        trial.set_user_attr("start", candidate.start.to_json())
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
