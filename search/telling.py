"""Telling Optuna how candidates ended."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from optuna.trial import Trial as OptunaTrial
from optuna.trial import TrialState

from ..errors import CandidateFailed, StudyError
from ..storage import Evaluation
from .constraints import violations

if TYPE_CHECKING:
    from .study import Study

HOPELESS_AFTER = 10  # trials of a study that failed, all in the same way, before one succeeded
IMPOSSIBLE_AFTER = 50  # candidates that were refused before one was not


def tell(study: "Study", trial: OptunaTrial, evaluation: Evaluation) -> None:
    """Tell Optuna how an evaluation ended.

    What failed or was refused is a violated constraint, not an exception and not made-up values: that keeps it off the
    front and still teaches the sampler (Optuna counts neither FAIL nor a trial without constraints).
    """
    amounts = violations(study.definition.bounds, evaluation.values)
    if evaluation.state == "complete":
        constrain(study, trial, amounts)
        study.optuna.tell(
            trial, [evaluation.values[name] for name in study.definition.objectives], skip_if_finished=True
        )
    elif evaluation.state == "refused":
        trial.set_user_attr("refused", (evaluation.reason or "")[:2000])
        constrain(study, trial, amounts if evaluation.kind == "infeasible" else {**amounts, "dominated": 1.0})
        study.optuna.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
    elif evaluation.state == "stopped":
        _tell_stopped(study, trial, evaluation, amounts)
    else:
        tell_failed(study, trial, CandidateFailed(evaluation.kind or "crashed", evaluation.reason or ""))


def _tell_stopped(study: "Study", trial: OptunaTrial, evaluation: Evaluation, amounts: Mapping[str, float]) -> None:
    """Tell what a trial had reached when it was stopped, with a violated constraint that keeps it off the front.

    So any sampler learns from it. What has costs that are unknown before the end cannot have values, and is PRUNED.
    """
    trial.set_user_attr("stopped", (evaluation.reason or "")[:2000])
    constrain(study, trial, {**amounts, "stopped_early": 1.0})
    names = study.definition.objectives
    if evaluation.values.keys() >= set(names):
        study.optuna.tell(trial, [evaluation.values[name] for name in names], skip_if_finished=True)
    else:
        study.optuna.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


def tell_failed(study: "Study", trial: OptunaTrial, failure: CandidateFailed) -> None:
    """Close a trial as infeasible, with its reason."""
    trial.set_user_attr("failed", f"{failure.kind}: {failure.reason}"[:2000])
    constrain(study, trial, {"failed": 1.0})
    study.optuna.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)


def constrain(study: "Study", trial: OptunaTrial, amounts: Mapping[str, float]) -> None:
    """Tell how each constraint is held; above 0 it is violated. optuna-dashboard reads those of older Optunas."""
    if not amounts or "constraints" in study.store.optuna.get_trial_system_attrs(trial._trial_id):  # noqa: SLF001 - no public name
        return
    for name, amount in amounts.items():
        trial.set_constraint(name, amount)
    study.store.optuna.set_trial_system_attr(trial._trial_id, "constraints", list(amounts.values()))  # noqa: SLF001 - same


def check_hopeful(study: "Study") -> None:
    """Raise StudyError if trials enough failed, all in the same way, and none succeeded.

    The same way is the same kind and the same reason, whatever numbers are in it. A trial is tried first and this
    asked afterwards, so the next start of a study that was mended goes on, and that of one that was not ends again.
    """
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


def check_possible(study: "Study") -> None:
    """Raise StudyError if candidates enough were refused and none was not."""
    store = study.store
    if store.refused(study.id) < IMPOSSIBLE_AFTER or store.finished_ids(study.id):
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
