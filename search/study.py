"""A study: created or loaded by name, optimised, and asked for its front."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import own
from ..errors import InvalidSpace, StudyError, UsageError
from ..objectives import Data, Epoch, Task, as_task, check_objectives, default_metrics
from ..spaces import Architecture, Candidate, Compression, DataSpec, Space, Suggester, as_space, space_to_json
from .data import in_words, load_data
from .definition import Definition, differences

if TYPE_CHECKING:
    import optuna
    from torch import nn

    from ..storage import Store
    from .trial import Trial

DEFAULT_STORAGE = "sqlite:///paretonas.db"
DEFAULT_COSTS = ("parameters", "latency_ms")  # beside the metrics that the data suggest
SpaceLike = Space | dict[str, Any] | Callable[[Suggester, DataSpec], Architecture | Candidate]


def create_study(
    name: str,
    *,
    space: SpaceLike,
    task: str | dict[str, Any] | Task = "digits",
    objectives: Sequence[str] | None = None,
    storage: str = DEFAULT_STORAGE,
    artifacts: str | Path | None = None,
    sampler: str = "tpe",
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    teacher: str | Callable[[], "nn.Module"] = "",
    moves: float = 0.0,
) -> "Study":
    """Make a study, or open it if it exists with the same definition.

    space: such as ``ConvSpace()``, a function ``suggest(trial, data)``, or a table as in a study file. task: the data,
    by word, as such a table, or as a Task. objectives: by default the metrics that the data suggest, parameters and
    latency_ms. storage: a database URL. artifacts: the folder for trained weights; by default beside the SQLite file.
    sampler: ``tpe``, ``nsga2`` or ``random``. seed, threads, device, moves: see ``Definition``. teacher: who candidates
    learn from, ``best`` (the best point so far), a trial of another study in the store (``big:12``), or a function of
    the caller's own that gives a trained module, itself or by name; how much they learn from it are the training's
    genes. Code of the caller's own that the space, the task or the teacher names is trusted. Raises StudyError if a
    study of that name has another definition, InvalidSpace if nothing of the space fits the data.
    """
    from ..storage import Store

    if not name or len(name) > 200:
        raise UsageError(f"a study's name has 1 to 200 characters, {len(name)} were given")
    space, task = as_space(space), as_task(task)
    teacher = own.named(teacher)
    own.trust(own.names([space_to_json(space), task.to_json(), teacher]))
    asked = Definition(space, task, tuple(objectives or ()), sampler, seed, threads, device, teacher, moves)
    store = Store(storage, artifacts=artifacts)
    if store.definition(name) is None:
        complete = _completed(asked, store)
        _check_free(store, name)
        store.add_study(name, complete.to_json())
    study = _open(store, name)
    stored = study.definition
    asked = replace(asked, objectives=asked.objectives or stored.objectives, fingerprint=stored.fingerprint)
    if (found := store.definition(name)) and found[1]["version"] < 3:  # when the rate was one for all
        asked = replace(asked, space=asked.space.replace_training(finetune_rate=stored.space.training.finetune_rate))
    changed = differences(stored.to_json(), asked.to_json())
    if changed:
        raise StudyError(
            f"the study {name!r} exists with another definition: {'; '.join(changed)}: choose another name, or open it "
            "as it is with load_study"
        )
    return study


def load_study(
    name: str | None = None,
    *,
    storage: str = DEFAULT_STORAGE,
    artifacts: str | Path | None = None,
    trust: Sequence[str] = (),
) -> "Study":
    """Open a study that exists; its definition comes from the store. The name may be left out if there is one study.

    trust: the names, ``"module:attribute"``, of code that the study names and that may be run here.
    """
    from ..storage import Store

    own.trust(trust)
    store = Store(storage, artifacts=artifacts, create=False)
    names = store.study_names()
    there = f"there is {', '.join(map(repr, names))}" if names else "there is none"
    if name is None:
        if len(names) != 1:
            raise StudyError(f"the name of a study is needed: {there}")
        name = names[0]
    if name not in names:
        raise StudyError(f"no study {name!r} is in {store!r}: {there}")
    return _open(store, name)


class Study:
    """A multi-objective search. Made by ``create_study`` and ``load_study``."""

    def __init__(self, store: "Store", identity: int, name: str, definition: Definition) -> None:
        self.store = store
        self.id = identity
        self.name = name
        self.definition = definition

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {self.store!r})"

    @cached_property
    def optuna(self) -> "optuna.Study":
        """The Optuna study underneath, for everything that Optuna offers."""
        import optuna

        objectives = self.definition.resolved_objectives
        with self.store.explained():
            study = optuna.create_study(
                storage=self.store.optuna,
                study_name=self.name,
                directions=[objective.direction for objective in objectives],
                load_if_exists=True,
            )
            if study.metric_names is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    study.set_metric_names([objective.name for objective in objectives])
        return study

    def optimize(
        self, n_trials: int | None = None, *, timeout: float | None = None, workers: int = 1, show_progress: bool = True
    ) -> None:
        """Search until the study has ``n_trials`` evaluated candidates in all, or ``timeout`` seconds have passed.

        The number is the study's total, so the same line after an interruption goes on to what was asked, and after
        the end does nothing. No new candidate begins after the timeout; the last one finishes. workers: processes on
        this machine, each with the study's threads. Ctrl-C keeps the trial in hand for retry.
        """
        from .progress import Progress
        from .worker import recover, work
        from .workers import run_workers

        if n_trials is None and timeout is None:
            raise UsageError("how far to search is needed: n_trials, timeout (seconds) or both")
        for what, value in (("n_trials", n_trials), ("timeout", timeout), ("workers", workers)):
            if value is not None and not value > 0:
                raise UsageError(f"{what} must be above 0, {value} was given")
        total = n_trials if n_trials is not None else 2**31 - 1
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.store.explained():
            recover(self)
            with Progress(self, n_trials, timeout, show=show_progress) as progress:
                if workers == 1:
                    work(self, total, deadline=deadline, on_trial=progress.refresh)
                else:
                    run_workers(self, workers, total, deadline=deadline, on_tick=progress.refresh)

    @property
    def trials(self) -> "list[Trial]":
        """All candidates that came to an end, also the failed ones, by number."""
        from ..storage import FINISHED
        from .trial import Trial

        return [Trial(self, e) for e in self.store.evaluations(self.id) if e.state in FINISHED]

    @property
    def pareto_front(self) -> "list[Trial]":
        """The trials that no other beats or equals in every objective, from few parameters to many."""
        from .front import non_dominated

        complete = [trial for trial in self.trials if trial.state == "complete"]
        front = non_dominated([trial.values for trial in complete], self.definition.resolved_objectives)
        return sorted((complete[index] for index in front), key=lambda trial: trial.values["parameters"])

    def pick(
        self,
        which: str | int | None = None,
        *,
        max_latency_ms: float | None = None,
        max_parameters: float | None = None,
        max_macs: float | None = None,
        min_accuracy: float | None = None,
        within: Mapping[str, float] | None = None,
    ) -> "Trial":
        """Choose from the front: ``"knee"``, ``"best"`` (in the first quality objective), a trial's number, or bounds.

        within: a bound for any measure by name, at most or at least as its direction is: ``{"mae": 0.3, "r2": 0.9}``.
        Within bounds the best is chosen; if they are on quality alone, the one with the fewest parameters. Raises
        NothingFits, naming the nearest, if there is none.
        """
        from .picking import pick

        named = {
            "latency_ms": max_latency_ms,
            "parameters": max_parameters,
            "macs": max_macs,
            "accuracy": min_accuracy,
        }
        bounds = {measure: bound for measure, bound in named.items() if bound is not None}
        return pick(self, which, bounds, within or {})

    def shrink(
        self,
        which: str | int = "knee",
        *,
        pruning: float = 0.0,
        compression: Compression = Compression(),  # noqa: B008 - frozen
        max_parameters: float | None = None,
        max_macs: float | None = None,
        max_latency_ms: float | None = None,
        finetune_epochs: int | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> "Trial":
        """Make a trained network smaller and fine-tune it: a trial more, whose parent stays as it is.

        which: as for ``pick``. pruning: the share of the units that leaves; or bounds: then as few units leave as hold
        them, from all layers together. compression: what else leaves, and how. finetune_epochs: by default as many
        as the parent was trained. on_epoch: is called after each epoch. UsageError if nothing would leave, or a bound
        cannot be held.
        """
        from .reshape import shrink

        bounds = {"parameters": max_parameters, "macs": max_macs, "latency_ms": max_latency_ms}
        return shrink(
            self.pick(which),
            pruning=pruning,
            compression=compression,
            bounds={name: bound for name, bound in bounds.items() if bound is not None},
            finetune_epochs=finetune_epochs,
            on_epoch=on_epoch,
        )

    def grow(
        self,
        which: str | int = "knee",
        *,
        widen: float | None = None,
        layers: int = 0,
        epochs: int | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> "Trial":
        """Make a trained network larger without changing what it answers, and train it on: a trial more.

        Net2Net (Chen et al. 2016). which: as for ``pick``. widen: times as wide, above 1. layers: how many are
        inserted, spread over the depth. epochs: by default those of the parent. on_epoch: is called after each epoch.
        """
        from .reshape import grow

        return grow(self.pick(which), widen=widen, layers=layers, epochs=epochs, on_epoch=on_epoch)


def _open(store: "Store", name: str) -> Study:
    found = store.definition(name)
    if found is None:
        raise StudyError(f"no study {name!r} is in {store!r}")
    return Study(store, found[0], name, Definition.from_json(found[1]))


def _completed(asked: Definition, store: "Store") -> Definition:
    """The definition with what follows from its data: the objectives that were left open, and the fingerprint."""
    fingerprint = asked.task.fingerprint()  # before the data are read: if they change meanwhile, a worker sees it
    data = load_data(asked.task, fingerprint=fingerprint)
    objectives = asked.objectives or (*default_metrics(data), *DEFAULT_COSTS)
    check_objectives(objectives, data)
    _check_fit(asked, data)
    if asked.teacher:
        from .teacher import check_teacher_of

        check_teacher_of(asked, store, data)
    return replace(asked, objectives=objectives, fingerprint=fingerprint)


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
