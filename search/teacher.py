"""Whom the candidates of a study learn from."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from .. import own
from ..errors import StudyError, UsageError
from ..objectives import Data, Teacher, check_teacher
from .definition import BEST, Definition

if TYPE_CHECKING:
    from ..storage import Store
    from .study import Study
    from .trial import Trial

_kept: dict[tuple[str, str, str], Teacher] = {}  # by the network, the data and the device: the last one


def teacher_of(study: "Study", data: Data) -> tuple[str, Teacher] | None:
    """The teacher at this moment, with its name. None if there is none, or no trial yet that could be the best.

    data: on the device where candidates train. What it answers is computed once for a store, or once for a process
    if it is the user's own.
    """
    definition = study.definition
    if not definition.teacher:
        return None
    trial = _trial_of(definition, study.store, study)
    if trial is None and not own.is_own(definition.teacher):
        return None
    name = definition.teacher if trial is None else f"trial {trial.number} of {trial.study.name}"
    identity = definition.teacher if trial is None else str(trial.evaluation.weights)
    key = (identity, definition.task.key_with(definition.fingerprint), definition.device)
    if key not in _kept:
        network = _own_network(definition.teacher) if trial is None else trial.load(quantized=False)
        kept = None if trial is None else study.store.artifacts.answers("-".join(key[:2]))
        teacher = Teacher(network.to(torch.device(definition.device)), data, outputs=kept)
        if trial is not None and kept is None and (answers := teacher.outputs()) is not None:
            study.store.artifacts.keep_answers("-".join(key[:2]), answers)
        _kept.clear()
        _kept[key] = teacher
    return name, _kept[key]


def check_teacher_of(definition: Definition, store: "Store", data: Data) -> None:
    """UsageError or StudyError if the teacher of a new study is not there, or answers other questions."""
    if definition.teacher in ("", BEST):
        return
    trial = _trial_of(definition, store, None)
    check_teacher(_own_network(definition.teacher) if trial is None else trial.load(quantized=False), data)


def _trial_of(definition: Definition, store: "Store", study: "Study | None") -> "Trial | None":
    """The trial that teaches, None if it is the user's own network or there is no best one yet."""
    from .study import load_study

    if definition.teacher == BEST:
        assert study is not None
        return study.pick(BEST) if study.pareto_front else None
    if own.is_own(definition.teacher):
        return None
    name, _, number = definition.teacher.rpartition(":")
    return load_study(name, storage=store.url, artifacts=store.artifacts.folder).pick(int(number))


def _own_network(name: str) -> nn.Module:
    made = own.load(name)
    network = made if isinstance(made, nn.Module) else made()
    if not isinstance(network, nn.Module):
        raise UsageError(f"a teacher is a trained nn.Module or a function that gives one, {name} gave {network!r:.60}")
    if not any(True for _ in network.parameters()):
        raise StudyError(f"the teacher {name} has no weights: give it what it learned")
    return network.eval()
