"""Making a study: its definition is completed with what follows from the data, checked, and kept."""

import unicodedata
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

from .. import own
from ..errors import InvalidSpace, StudyError, UsageError
from ..objectives import (
    LATENCY,
    Data,
    Objective,
    Task,
    as_task,
    check_objectives,
    default_metrics,
    own_names,
)
from ..spaces import Architecture, Candidate, DataSpec, Space, Suggester, as_space, space_to_json
from .constraints import measures_of
from .data import in_words, load_data
from .definition import Definition, differences
from .sampler import hold, sampler_name
from .study import DEFAULT_STORAGE, Study, open_study

if TYPE_CHECKING:
    from torch import nn

    from ..storage import Store

DEFAULT_SAMPLER, DEFAULT_STOPPING = "ehvi", "forecast"
DEFAULT_COSTS = ("parameters", LATENCY)  # beside the metrics that the data suggest
SpaceLike = Space | dict[str, Any] | Callable[[Suggester, DataSpec], Architecture | Candidate]


def create_study(
    name: str,
    *,
    space: SpaceLike,
    task: str | dict[str, Any] | Task = "digits",
    objectives: Sequence[str | Objective] | None = None,
    constraints: Sequence[str] = (),
    storage: str = DEFAULT_STORAGE,
    artifacts: str | Path | None = None,
    sampler: str | BaseSampler | Callable[[int], BaseSampler] | None = None,
    stopping: str | None = None,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    teacher: str | Callable[[], "nn.Module"] = "",
    moves: float = 0.0,
    trial_timeout: float | None = None,
    keep: str = "all",
    repeat: bool = False,
) -> Study:
    """Make a study, or open it if it exists with the same definition.

    space: such as ``ConvSpace()``, a function ``suggest(trial, data)``, or a table as in a study file. task: the data,
    by word, as such a table, or as a Task. objectives: by default the metrics that the data suggest, parameters and
    latency_ms; your own is an object of a class of ``pn.Objective``. constraints: what a network has to hold, such as
    ``"parameters <= 50_000"`` or ``"latency:onnxruntime <= 0.5"``, of any figure that can be an objective; what is
    known before training is refused before it. storage: a database URL. artifacts: the folder for trained weights; by
    default beside the SQLite file. sampler: what proposes candidates, ``ehvi`` by default; another word (``random``,
    ``tpe``, ``tpe_multivariate``, ``nsga2``, ``nsga3``, ``gp``), a function of the caller's own that makes an Optuna
    sampler of a seed, itself or by name, or such a sampler, to search in this process. stopping: what stops candidates
    early, ``forecast`` by default, ``rungs`` or ``none``. seed, threads, device, moves, trial_timeout (seconds), keep
    (``all``, ``front`` or ``none``), repeat: see ``Definition``. teacher:
    who candidates learn from, ``best`` (the best point so far), a trial of another study in the store (``big:12``), or
    a function of the caller's own that gives a trained module, itself or by name; how much they learn from it are the
    training's genes. Code of the caller's own that the space, the task, the objectives, the sampler or the teacher
    names is trusted. Raises StudyError if a study of that name has another definition, InvalidSpace if nothing of the
    space fits the data.
    """
    from ..storage import Store

    _check_name(name)
    space, task = as_space(space), as_task(task)
    teacher = own.named(teacher)
    given = tuple(one if isinstance(one, str) else one.name for one in objectives or ())
    word = DEFAULT_SAMPLER if sampler is None else sampler_name(sampler)
    own.trust(own.names([space_to_json(space), task.to_json(), teacher, word]))
    own.trust(own_names((*given, *measures_of(constraints))))
    rule = DEFAULT_STOPPING if stopping is None else stopping
    asked = Definition(
        space,
        task,
        given,
        word,
        seed,
        threads,
        device,
        teacher,
        moves,
        tuple(constraints),
        stopping=rule,
        trial_timeout=trial_timeout,
        keep=keep,
        repeat=repeat,
    )
    store = Store(storage, artifacts=artifacts)
    if store.definition(name) is None:
        complete = _completed(asked, store)
        _check_free(store, name)
        store.add_study(name, complete.to_json())
    study = open_study(store, name)
    stored = study.definition
    asked = replace(
        asked,
        objectives=asked.objectives or stored.objectives,
        sampler=stored.sampler if sampler is None else asked.sampler,
        stopping=stored.stopping if stopping is None else asked.stopping,
        fingerprint=stored.fingerprint,
    )
    if (found := store.definition(name)) and found[1]["version"] < 3:  # when the rate was one for all
        asked = replace(asked, space=asked.space.replace_training(finetune_rate=stored.space.training.finetune_rate))
    changed = differences(stored.to_json(), asked.to_json())
    if changed:
        raise StudyError(
            f"the study {name!r} exists with another definition: {'; '.join(changed)}: choose another name, or open it "
            "as it is with load_study"
        )
    if isinstance(sampler, BaseSampler):
        hold(study, sampler)
    return study


def _completed(asked: Definition, store: "Store") -> Definition:
    """The definition with what follows from its data: the objectives that were left open, and the fingerprint."""
    fingerprint = asked.task.fingerprint()  # before the data are read: if they change meanwhile, a worker sees it
    data = load_data(asked.task, fingerprint=fingerprint)
    objectives = asked.objectives or (*default_metrics(data), *DEFAULT_COSTS)
    check_objectives((*objectives, *asked.measures), data)
    _check_fit(asked, data)
    if asked.teacher:
        from .teacher import check_teacher_of

        check_teacher_of(asked, store, data)
    return replace(asked, objectives=objectives, fingerprint=fingerprint)


def _check_name(name: str) -> None:
    """UsageError for a name that not every database and terminal takes."""
    if not name or len(name) > 200:
        raise UsageError(f"a study's name has 1 to 200 characters, {len(name)} were given")
    wrong = next((letter for letter in name if unicodedata.category(letter) in ("Cc", "Cs")), None)
    if wrong is not None:
        raise UsageError(f"a study's name has no control characters nor halves of others, {wrong!r} is in {name!r}")


def _check_free(store: "Store", name: str) -> None:
    """Refuse a name that a study of plain Optuna has; one that another worker made in this moment is ours."""
    import optuna

    with store.explained():
        taken = name in optuna.get_all_study_names(store.optuna)
    if taken and store.definition(name) is None:
        raise StudyError(f"{store!r} has a study {name!r} that paretonas did not make: choose another name")


def _check_fit(definition: Definition, data: Data) -> None:
    share = definition.space.share_that_fits(data.spec)
    fitted = f"the {in_words(data.spec)} of {definition.task.name}"
    if share == 0:
        raise InvalidSpace(
            f"nothing of the {definition.space.name} space fits {fitted}: of 64 random candidates all were impossible; "
            "take fewer stages, or another space"
        )
    if share < 0.5:
        warnings.warn(
            f"only {share:.0%} of the {definition.space.name} space fits {fitted}; the others are refused before "
            "training: take fewer stages",
            stacklevel=4,
        )
