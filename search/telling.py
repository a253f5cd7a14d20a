"""Telling Optuna how candidates ended, and the user when to give up. What was told before is told again in vain."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from ..errors import CandidateFailed, StudyError
from ..storage import FINISHED, Evaluation
from .constraints import violations

if TYPE_CHECKING:
    from .study import Study

NEWEST = 20  # trials that ended last, of which not too many may have failed
HOPELESS_AFTER = 10  # trials of a study that failed, all in the same way, before one succeeded
IMPOSSIBLE_AFTER = 50  # candidates that were refused before one was not


def tell(study: "Study", trial: OptunaTrial, evaluation: Evaluation) -> None:
    """Tell Optuna how an evaluation ended, all in one transaction.

    What failed or was refused is a violated constraint, not an exception and not made-up values: that keeps it off the
    front and still teaches the sampler (Optuna counts neither FAIL nor a trial without constraints). So is what repeats
    another trial with a further seed: of many repetitions one is lucky.
    """
    amounts = violations(study.definition.bounds, evaluation.values)
    with together(study, trial):
        if evaluation.state == "complete":
            constrain(study, trial, amounts if evaluation.candidate.counts else {**amounts, "repetition": 1.0})
            close(study, trial, [evaluation.values[name] for name in study.definition.objectives])
        elif evaluation.state == "refused":
            note(trial, "refused", (evaluation.reason or "")[:2000])
            constrain(study, trial, amounts if evaluation.kind == "infeasible" else {**amounts, "dominated": 1.0})
            close(study, trial, TrialState.PRUNED)
        elif evaluation.state == "stopped":
            _tell_stopped(study, trial, evaluation, amounts)
        else:
            tell_failed(study, trial, CandidateFailed(evaluation.kind or "crashed", evaluation.reason or ""))


@contextmanager
def together(study: "Study", trial: OptunaTrial) -> Iterator[None]:
    """Write all that the block says of a trial in one transaction; one that another worker closed stays as it is."""
    with suppress(UpdateFinishedTrialError), study.store.optuna.together(trial._trial_id):  # noqa: SLF001 - Optuna has no public name for it
        yield


def _tell_stopped(study: "Study", trial: OptunaTrial, evaluation: Evaluation, amounts: Mapping[str, float]) -> None:
    """Tell what a trial had reached when it was stopped, with a violated constraint that keeps it off the front.

    So any sampler learns from it. What has costs that are unknown before the end cannot have values, and is PRUNED.
    """
    note(trial, "stopped", (evaluation.reason or "")[:2000])
    constrain(study, trial, {**amounts, "stopped_early": 1.0})
    names = study.definition.objectives
    known = evaluation.values.keys() >= set(names)
    close(study, trial, [evaluation.values[name] for name in names] if known else TrialState.PRUNED)


def tell_failed(study: "Study", trial: OptunaTrial, failure: CandidateFailed) -> None:
    """Close a trial as infeasible, with its reason."""
    with together(study, trial):
        note(trial, "failed", f"{failure.kind}: {failure.reason}"[:2000])
        constrain(study, trial, {"failed": 1.0})
        close(study, trial, TrialState.PRUNED)


def constrain(study: "Study", trial: OptunaTrial, amounts: Mapping[str, float]) -> None:
    """Tell how each constraint is held; above 0 it is violated. optuna-dashboard reads those of older Optunas."""
    storage, identity = study.store.optuna, trial._trial_id  # noqa: SLF001 - Optuna has no public name for it
    if not amounts or "constraints" in storage.get_trial_system_attrs(identity):
        return
    told = trial.constraints  # by a worker of an earlier release, that died at this point
    with suppress(UpdateFinishedTrialError):
        for name in (name for name in amounts if name not in told):
            trial.set_constraint(name, amounts[name])
        storage.set_trial_system_attr(identity, "constraints", list(amounts.values()))


def note(trial: OptunaTrial, name: str, value: object) -> None:
    """Keep something with a trial; one that another worker closed stays as it is."""
    with suppress(UpdateFinishedTrialError):
        trial.set_user_attr(name, value)


def close(study: "Study", trial: OptunaTrial, outcome: Sequence[float] | TrialState) -> bool:
    """End a trial with its values, or without; one that has ended stays as it is. Whether it was ended here."""
    if study.store.optuna.get_trial(trial._trial_id).state.is_finished():  # noqa: SLF001 - Optuna has no public name for it
        return False
    try:
        if isinstance(outcome, TrialState):
            study.optuna.tell(trial, state=outcome, skip_if_finished=True)
        else:
            study.optuna.tell(trial, outcome, skip_if_finished=True)
    except UpdateFinishedTrialError:
        return False
    return True


def check_hopeful(study: "Study") -> None:
    """Raise StudyError if trials enough failed, all in the same way, and none succeeded.

    The same way is the same kind and the same reason, whatever numbers are in it. A trial is tried first and this
    asked afterwards, so the next start of a study that was mended goes on, and that of one that was not ends again.
    """
    if study.store.counts(study.id).get("complete"):
        return
    ended = study.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    reasons = [
        str(trial.user_attrs.get("failed", ""))
        for trial in ended
        if not {"duplicate_of", "refused", "stopped"} & trial.user_attrs.keys()
    ]
    ways = {re.sub(r"\d+", "0", reason) for reason in reasons}
    if len(reasons) >= HOPELESS_AFTER and len(ways) == 1 and "" not in ways:
        raise StudyError(
            f"all {len(reasons)} trials of {study.name!r} failed in the same way, the last one as {reasons[-1]}: mend "
            "the cause and give the same command again; another definition needs another name"
        )


def check_failures(study: "Study", most: float) -> None:
    """Raise StudyError if more than this share of the newest trials failed; those that were refused do not count.

    Asked after one has failed, as ``check_hopeful``. Until there are NEWEST trials, none is too many.
    """
    newest = study.store.newest_finished(study.id, NEWEST)
    failed = [evaluation for evaluation in newest if evaluation.state == "failed"]
    if len(newest) < NEWEST or len(failed) <= most * len(newest):
        return
    kinds = Counter(str(evaluation.kind) for evaluation in failed)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    raise StudyError(
        f"{len(failed)} of the newest {NEWEST} trials of {study.name!r} failed ({counted}; the last one as "
        f"{failed[-1].kind}: {failed[-1].reason}), more than {most:.0%}: mend the cause or narrow the space, under "
        "another name; or allow more with max_failed (--max-failed)"
    )


def check_possible(study: "Study") -> None:
    """Raise StudyError if candidates enough were refused and none was not."""
    store = study.store
    counts = store.counts(study.id)
    if counts.get("refused", 0) < IMPOSSIBLE_AFTER or any(counts.get(state) for state in FINISHED):
        return
    begun = store.evaluations(study.id)
    refused = [evaluation for evaluation in begun if evaluation.state == "refused"]
    if len(refused) < len(begun):  # another worker has one that was not
        return
    nearest = []
    for bound in study.definition.bounds:
        known = [evaluation.values[bound.measure] for evaluation in refused if bound.measure in evaluation.values]
        if known and min(map(bound.violation, known)) > 0:
            nearest.append(f"{bound} (the nearest had {min(known, key=bound.violation):.6g})")
    unheld = " and ".join(nearest) or " and ".join(study.definition.constraints) + " together"
    raise StudyError(
        f"none of the {len(refused)} candidates that the space of {study.name!r} proposed holds {unheld}: loosen the "
        "constraint or widen the space, under another name"
    )
