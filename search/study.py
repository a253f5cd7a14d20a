"""A study: opened by name, optimised, and asked for its front."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import own
from ..errors import StudyError, UsageError
from ..objectives import Epoch
from ..spaces import Architecture, Candidate, Compression
from .definition import Definition

if TYPE_CHECKING:
    import optuna
    from plotly.graph_objects import Figure
    from torch import nn

    from ..storage import Store
    from .delivery.comparing import Comparison
    from .delivery.confirmation import Confirmation
    from .delivery.final import Final
    from .spending import Spending
    from .status import Status
    from .trial import Trial

DEFAULT_STORAGE = "sqlite:///paretonas.db"


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
    return open_study(store, name)


class Study:
    """A multi-objective search. Made by ``create_study`` and ``load_study``."""

    def __init__(self, store: "Store", identity: int, name: str, definition: Definition) -> None:
        self.store = store
        self.id = identity
        self.name = name
        self.definition = definition

    def __repr__(self) -> str:
        return f"Study({self.name!r}, {self.store!r})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from .views.notebook import study_html

        return study_html(self)

    @cached_property
    def optuna(self) -> "optuna.Study":
        """The Optuna study underneath, for everything that Optuna offers."""
        import optuna

        from .views.labels import labels_of

        objectives = self.definition.resolved_objectives
        with self.store.explained():
            study = optuna.create_study(
                storage=self.store.optuna,
                study_name=self.name,
                directions=[objective.direction for objective in objectives],
                load_if_exists=True,
            )
            names = labels_of([objective.name for objective in objectives])
            if study.metric_names != names:  # none yet, or those of an earlier release
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    study.set_metric_names(names)
        return study

    def optimize(
        self,
        n_trials: int | None = None,
        *,
        n_epochs: int | None = None,
        timeout: float | None = None,
        workers: int = 1,
        show_progress: bool = True,
        on_lost_device: Literal["stop", "wait"] = "stop",
        remeasure: bool = True,
        max_failed: float = 0.5,
        lease: float = 60.0,
        checkpoint_every: float = 30.0,
        helping: bool = False,
        on: Literal["local", "ray"] = "local",
        gpus_per_worker: float | None = None,
        ray_address: str | None = None,
        log_format: Literal["text", "json"] = "text",
        tensorboard: str | Path | None = None,
    ) -> None:
        """Search until the study has ``n_trials`` candidates or ``n_epochs`` epochs of training in all, or ``timeout``
        seconds have passed.

        The numbers are the study's totals, so the same line after an interruption goes on to what was asked, and after
        the end does nothing. Candidates that were stopped early count; those that were refused before training do not.
        When the budget is spent no new candidate begins, and the last one finishes. workers: processes on this machine,
        or tasks on a cluster, each with the study's threads; one that dies is replaced. What is interrupted, by Ctrl-C
        or by the death of a worker on any machine, is gone on with from its last checkpoint, by another worker or the
        same call again. on_lost_device: if a device vanishes, the study stops or waits for the device. remeasure:
        whether the front is timed again at the end. max_failed: the study stops if a larger share of its newest 20
        trials failed (of which those that were refused, or proposed twice, are none); 1 lets it go on. lease: seconds
        without a sign of life after which others take over what this worker has in hand. checkpoint_every: seconds of
        training between two checkpoints, which never take more than a twentieth of the time. helping: another process
        leads the search, so the front is not timed, and a study that was asked to stop is refused; otherwise the
        request ends here. on: ``ray`` has a Ray cluster run the workers, the one at ray_address, by default that of
        RAY_ADDRESS or of this machine, where one is started if there is none; the database and the place of the
        artifacts have to be reachable from its nodes. gpus_per_worker: also a share of one, for the device cuda.
        log_format: of the progress, for people or one JSON object a line (``search.views.log.JsonLog`` says which).
        tensorboard: a folder for the learning curves and hyperparameters of all trials, also of those that other
        workers try.
        """
        from .views.publish import publishing
        from .views.standing import Asked
        from .views.watching import views_of, watching
        from .worker import Budget, Terms, check_positive, work
        from .workers import run_workers, where_of

        terms = Terms(on_lost_device, max_failed, lease, checkpoint_every)
        budget = Budget.of(n_trials, n_epochs, timeout)
        check_positive({"workers": workers})
        where = where_of(self.definition.device, on, gpus_per_worker, ray_address)
        asked = Asked(n_trials, n_epochs, timeout)
        views = views_of(self, asked, show=show_progress, log_format=log_format, tensorboard=tensorboard)
        with self.store.explained():
            if not helping:
                self.store.ask_to_stop(self.id, stop=False)
                self.optuna.set_user_attr("asked", {"n_trials": n_trials, "n_epochs": n_epochs})  # for status
            elif self.store.is_asked_to_stop(self.id):
                raise StudyError(
                    f"the study {self.name!r} was asked to stop: paretonas run, or Study.optimize, goes on with it; "
                    "then workers may help"
                )
            with publishing(self, leads=not helping) as publisher:
                with watching([*views, lambda: publisher]) as watch:
                    if workers == 1 and on == "local":
                        work(self, budget, on_trial=watch.refresh, on_epoch=watch.glance, terms=terms)
                    else:
                        run_workers(self, workers, budget, on_tick=watch.refresh, terms=terms, where=where)
                if remeasure and not helping:
                    self.remeasure_front()

    def figure(self, which: Literal["front", "hypervolume", "curves", "importance"] = "front") -> "Figure":
        """A plotly figure of the study: its front with knee and reference networks, the hypervolume over the epochs
        that were spent, learning curves, or the importance of genes for each objective.
        """
        from .views.report import figure

        with self.store.explained():
            return figure(self, which)

    def report(self, path: str | Path) -> Path:
        """Write a report for people who were not there, in one file: HTML with its figures inside, or Markdown.

        path: ends in .html or .md. The test split's figures are computed for the points of the front that lack them.
        """
        from .views.report import write_report

        with self.store.explained():
            return write_report(self, Path(path))

    def stop(self) -> None:
        """Ask all workers of the study to finish the trial that they have in hand and to end."""
        with self.store.explained():
            self.store.ask_to_stop(self.id)

    def status(self, *, watch: float = 0.0) -> "Status":
        """How the study stands: workers, trials by state, failures by kind, rate, time left, disk space.

        watch: seconds to watch the workers of other machines, of which one that is dead shows after its lease.
        """
        from .status import status

        with self.store.explained():
            return status(self, watch=watch)

    def remeasure_front(self, *, again: bool = False) -> None:
        """Time the points of the front, and those that a little noise keeps off it, again and together.

        One interleaved run, so that they compare; their new values are kept, while Optuna keeps what it was told.
        Nothing happens where no objective is a time or, unless ``again``, where it was done since the front changed.
        """
        from .remeasuring import remeasure_front

        with self.store.explained():
            remeasure_front(self, again=again)

    @property
    def trials(self) -> "list[Trial]":
        """All candidates that came to an end, also those that were stopped, failed or were refused, by number."""
        from ..storage import ENDED
        from .trial import Trial

        return [Trial(self, e) for e in self.store.evaluations(self.id) if e.state in ENDED]

    @property
    def pareto_front(self) -> "list[Trial]":
        """The trials that hold the constraints and that no other such beats or equals in every objective.

        From few parameters to many.
        """
        from .front import front_of
        from .trial import Trial

        front = [Trial(self, evaluation) for evaluation in front_of(self)]
        return sorted(front, key=lambda trial: (trial.values["parameters"], trial.number))

    def pick(
        self,
        which: str | int | None = None,
        *,
        max_latency_ms: float | None = None,
        max_parameters: float | None = None,
        max_macs: float | None = None,
        min_accuracy: float | None = None,
        within: Mapping[str, float] | None = None,
        weights: Mapping[str, float] | None = None,
        smallest: str | None = None,
        within_best: float | None = None,
    ) -> "Trial":
        """Choose from the front, in one way.

        which: ``"knee"``, ``"best"`` (in the first quality objective), or a trial's number. Bounds: max_latency_ms is
        of the latency that the study measures; within has a bound for any measure by name, at most or at least as its
        direction is: ``{"mae": 0.3, "r2": 0.9}``. Within bounds the best is chosen; if they are on quality alone, the
        one with the fewest parameters. weights: how much each measure counts, ``{"accuracy": 2, "latency_ms": 1}``.
        smallest: the one that is best in this measure, of those whose first quality is within_best (a share, such as
        0.005) of the best; of the parameters, if only within_best is said. Bounds may be said beside weights and
        smallest. Raises NothingFits, naming the nearest, if nothing is within the bounds.
        """
        from .delivery.choosing import Choice, joined_bounds
        from .delivery.picking import pick

        bounds = joined_bounds(
            self.definition,
            within or {},
            max_latency_ms=max_latency_ms,
            max_parameters=max_parameters,
            max_macs=max_macs,
            min_accuracy=min_accuracy,
        )
        return pick(self, Choice(which, bounds, weights or {}, smallest, within_best))

    def compare(self, net: "nn.Module | str", *, name: str | None = None) -> "Comparison":
        """Measure a network that you have as the study measures, and say which points of the front dominate it.

        net: judged as it is, with the weights that it has; or the name of one, or of a function that gives one,
        ``"my.module:net"``, which is run. name: in tables and figures, by default that. Its figures are kept in the
        study, in the place of those of the same name. UsageError if it does not fit the data.
        """
        from .delivery.comparing import compare

        return compare(self, net, name=name)

    def confirm(
        self,
        which: "str | int | Sequence[int] | None" = None,
        *,
        top: int = 5,
        seeds: int = 3,
        within: Mapping[str, float] | None = None,
        weights: Mapping[str, float] | None = None,
        smallest: str | None = None,
        within_best: float | None = None,
        workers: int = 1,
        show_progress: bool = True,
        turn: int = 0,
    ) -> "Confirmation":
        """Repeat points of the front with further seeds: mean and spread, and which cannot be told apart.

        which: as for ``pick``, by default the knee, whose first ``top`` points are repeated; or the numbers of trials.
        within, weights, smallest, within_best: as for ``pick``, in the place of ``which``. seeds: how many further
        ones. Each repetition is a trial more, which is kept, never on the front, and not run again. The whole way of a
        trial is repeated, with the weights that it began with trained anew. What is interrupted goes on when the same
        is asked again. workers: processes on this machine. turn: which repetition a helper begins with.
        """
        from .delivery.choosing import Choice
        from .delivery.confirming import confirm
        from .delivery.picking import ranked
        from .views.choosing import repeating

        if isinstance(which, Sequence) and not isinstance(which, str):
            trials, chosen = [self.pick(number) for number in which], "as asked for"
        else:
            if not (within or weights or smallest) and which is None and within_best is None:
                which = "knee"
            choice = Choice(which, within or {}, weights or {}, smallest, within_best)
            if type(top) is not int or top < 1:
                raise UsageError(f"top is a whole number from 1, {top!r} was given")
            trials, chosen = ranked(self, choice)[:top], str(choice)
        with repeating(show=show_progress) as tell:
            return confirm(trials, chosen=chosen, seeds=seeds, workers=workers, on_progress=tell, turn=turn)

    @property
    def spending(self) -> "Spending":
        """How many epochs were trained, and how many were saved, and how."""
        from .spending import spending

        return spending(self)

    def enqueue(self, candidate: "Architecture | Candidate | Mapping[str, Any]") -> int | None:
        """Have a network tried before what the sampler proposes: one that you know, or a colleague's.

        candidate: an architecture, trained as the space's training says; a whole candidate; or genes by name, as in
        ``study.optuna.trials[0].params``, where those left out are up to the sampler. It waits in the store until a
        worker takes it, and counts as one of the study's trials. Returns the number of the trial that has it already,
        in which case nothing is queued; otherwise None. UsageError if it does not fit the data or the space.
        """
        from .queue import enqueue

        with self.store.explained():
            return enqueue(self, candidate)

    def train(
        self,
        which: str | int = "knee",
        *,
        epochs: int | None = None,
        seed: int | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
    ) -> "Trial":
        """Train the network of a trial from scratch, whatever it inherited: a trial more.

        which: as for ``pick``. epochs: by default all that its training says. seed: of the weights and the order of the
        data, by default the study's.
        """
        from .delivery.retraining import train

        return train(self.pick(which), epochs=epochs, seed=seed, on_epoch=on_epoch)

    def train_final(
        self,
        which: str | int = "knee",
        *,
        epochs: int | None = None,
        from_weights: bool = False,
        seed: int | None = None,
        on_epoch: Callable[[Epoch], None] = lambda _: None,
        checkpoint_every: float = 30.0,
    ) -> "Final":
        """Train a chosen network to its end on train and validation, with its compression; judge it once, on test.

        The result is no trial: it is kept beside the study, as ``final`` gives it again, and is loaded and exported as
        a trial is. which: as for ``pick``. epochs: by default those of its training. from_weights: begin with what the
        search trained, instead of from scratch. What is interrupted goes on when the same is asked again; what was
        trained so before is answered.
        """
        from .delivery.final_training import train_final

        return train_final(
            self.pick(which),
            epochs=epochs,
            from_weights=from_weights,
            seed=seed,
            on_epoch=on_epoch,
            checkpoint_every=checkpoint_every,
        )

    def final(self, which: str | int = "knee") -> "Final":
        """The newest final training of a trial. which: as for ``pick``. StudyError if there is none."""
        from .delivery.final import final_of

        return final_of(self.pick(which))

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

        bounds = {"parameters": max_parameters, "macs": max_macs, self.definition.latency: max_latency_ms}
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


def open_study(store: "Store", name: str) -> Study:
    """The study of this name in a store."""
    found = store.definition(name)
    if found is None:
        raise StudyError(f"no study {name!r} is in {store!r}")
    return Study(store, found[0], name, Definition.from_json(found[1]))
