"""Whom the candidates of a study learn from."""

import re
from typing import TYPE_CHECKING

import torch
from optuna.trial import Trial as OptunaTrial
from torch import nn

from .. import own
from ..errors import StudyError, UsageError
from ..objectives import Data, Teacher, check_teacher
from .definition import BEST, Definition
from .telling import note

if TYPE_CHECKING:
    from ..storage import Store
    from .study import Study
    from .trial import Trial

ATTRIBUTE = "teacher"  # user attribute of a trial that learned from one
NAME = re.compile(r"trial (\d+) of ")
_kept: dict[tuple[str, str, str], Teacher] = {}  # by the network, the data and the device: the last one


def teacher_of(study: "Study", data: Data, pupil: OptunaTrial, *, begun: bool = False) -> Teacher | None:
    """Whom a trial learns from, which is kept with it. None if there is nobody, or no trial yet that could be the best.

    data: on the device where candidates train. What it answers is computed once for a store, or once for a process
    if it is the user's own. begun: the trial was trained before, so it goes on with whom it had then.
    """
    definition, before = study.definition, pupil.user_attrs.get(ATTRIBUTE)
    if not definition.teacher or (begun and before is None):
        return None
    trial = _trial_of(definition, study.store, study, before)
    if trial is None and not own.is_own(definition.teacher):
        return None
    name = definition.teacher if trial is None else f"trial {trial.number} of {trial.study.name}"
    note(pupil, ATTRIBUTE, name)
    identity = definition.teacher if trial is None else str(trial.evaluation.weights)
    key = (identity, definition.task.key_with(definition.fingerprint), definition.device)
    if key not in _kept:
        network = _own_network(definition.teacher) if trial is None else trial.load(quantized=False)
        kept = None if trial is None else study.store.answers("-".join(key[:2]))
        teacher = Teacher(network.to(torch.device(definition.device)), data, outputs=kept)
        if trial is not None and kept is None and (answers := teacher.outputs()) is not None:
            study.store.keep_answers("-".join(key[:2]), answers)
        _kept.clear()
        _kept[key] = teacher
    return _kept[key]


def teacher_again(study: "Study", data: Data, before: str) -> Teacher:
    """Whom a trial learned from, as its user attribute says, to teach other data: nothing that it answers is kept."""
    definition = study.definition
    trial = _trial_of(definition, study.store, study, before)
    network = _own_network(definition.teacher) if trial is None else trial.load(quantized=False)
    return Teacher(network.to(torch.device(definition.device)), data)


def check_teacher_of(definition: Definition, store: "Store", data: Data) -> None:
    """UsageError or StudyError if the teacher of a new study is not there, or answers other questions."""
    if definition.teacher in ("", BEST):
        return
    trial = _trial_of(definition, store, None, None)
    check_teacher(_own_network(definition.teacher) if trial is None else trial.load(quantized=False), data)


def _trial_of(definition: Definition, store: "Store", study: "Study | None", before: str | None) -> "Trial | None":
    """The trial that teaches, None if it is the user's own network or there is no best one yet.

    before: whom a trial that goes on had.
    """
    from .study import load_study

    if definition.teacher == BEST:
        assert study is not None
        if before is not None and (named := NAME.match(before)):
            return study.pick(int(named[1]))
        return study.pick(BEST) if study.pareto_front else None
    if own.is_own(definition.teacher):
        return None
    name, _, number = definition.teacher.rpartition(":")
    return load_study(name, storage=store.url, artifacts=store.artifacts.where).pick(int(number))


def _own_network(name: str) -> nn.Module:
    made = own.load(name)
    network = made if isinstance(made, nn.Module) else made()
    if not isinstance(network, nn.Module):
        raise UsageError(f"a teacher is a trained nn.Module or a function that gives one, {name} gave {network!r:.60}")
    if not any(True for _ in network.parameters()):
        raise StudyError(f"the teacher {name} has no weights: give it what it learned")
    return network.eval()
