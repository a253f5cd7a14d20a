"""What optuna-dashboard shows of a study, written into the store: notes, figures, and files of each trial."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Self

from ...errors import StudyError
from ...objectives.lane import give_way, training
from .figures_data import Snapshot, snapshot_as_it_runs

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ..study import Study
    from ..trial import Trial
    from .publish_notes import Pages

FIRST, EVERY = 30.0, 60.0  # seconds to the first time, and between two: an open page draws anew after each
SHARE = 0.015  # of a search's time, at most, while it runs
AT_THE_END = 0.025, 1.0  # of its time in all, or so many seconds, after which the files that are missing are left
MOST_NOTED = 1000  # trials with a note, beside the front: optuna-dashboard looks through all notes for each trial
MOST_FILED = 300  # trials with files of their own, beside the front
MOST_DRAWN = 300  # points of a kind off the front, in a figure that lies in the database in rows of 2 kB
PANELS = 3  # pairs of objectives
FOREST = 3.0  # seconds, at least, that what ``HEAVY`` names may take
HEAVY = ("importance",)
STATE = "paretonas:published"  # attribute of the Optuna study: how many trials had ended, when, and if all is there

Left = Callable[[], float]  # seconds that are left


class Publisher:
    """Publishes a study again and again, and writes only what changed. What goes wrong here ends no search.

    One of the views of a running search. leads: whether this process is to publish what it searches.
    """

    def __init__(self, study: "Study", *, leads: bool = True) -> None:
        self.study = study
        self._began = time.monotonic()
        self._last = self._began - EVERY + FIRST
        self._spent = 0.0
        self._filed: dict[int, set[str]] | None = None
        self._silent = not leads

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def refresh(self) -> None:
        """Publish if it is time to, and no more than SHARE of the time allows."""
        now = time.monotonic()
        left = SHARE * (now - self._began) - self._spent
        if not self._silent and now - self._last >= EVERY and left > 0.5:  # about what figures take
            self._guarded(left)

    def finish(self) -> None:
        """Publish what the search came to; the files of as many trials as its time allows, the front's first."""
        share, least = AT_THE_END
        if not self._silent and published(self.study)[0] != self.study.store.finished(self.study.id):
            self._guarded(max(least, share * (time.monotonic() - self._began) - self._spent))

    def catch_up(self, *, stop: Callable[[], bool] = lambda: False) -> None:
        """Publish all that is missing, however long it takes, or until ``stop`` says so."""
        self._publish(lambda: 0.0 if stop() else inf)

    def _guarded(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        try:
            self._publish(lambda: until - time.monotonic())
        except Exception as error:  # noqa: BLE001 - no picture is worth a search
            self._silent = True
            said = str(error).strip().split("\n")[0]
            warnings.warn(
                f"optuna-dashboard will not show all of {self.study.name!r} ({type(error).__name__}: {said}): "
                "paretonas dashboard writes the rest",
                stacklevel=3,
            )

    def _publish(self, left: Left) -> None:
        """Figures and notes always; files, and what takes long, as time is left."""
        from .publish_notes import Pages

        with training():  # so that it stands still while a latency is measured on this host
            began = time.monotonic()
            try:
                ended = self.study.store.finished(self.study.id)
                shot, pages = snapshot_as_it_runs(self.study), Pages(self.study)
                figures = figures_of(shot)
                heavy = {name: figures.pop(name) for name in HEAVY}
                self._save_figures(pages, figures)
                self._save_notes(shot, pages)
                whole = self._save_files(shot, left)
                if whole := whole and left() > FOREST:
                    self._save_figures(pages, heavy)
                state = {"ended": ended, "at": time.time(), "whole": whole}
                self.study.store.optuna.set_study_system_attr(_optunas_id(self.study), STATE, state)
            finally:
                self._last = time.monotonic()
                self._spent += self._last - began

    def _save_figures(self, pages: "Pages", figures: "Mapping[str, Callable[[], Figure]]") -> None:
        for name, draw in figures.items():
            pages.save_figure(name, draw().to_json())
            give_way()

    def _save_notes(self, shot: Snapshot, pages: "Pages") -> None:
        """The study's note, and those of trials whose outcome is not the one that their note says."""
        from .labels import in_markdown
        from .notes import outcome, study_note, trial_note

        ids = _trial_ids(self.study)
        for trial in _newest(shot, MOST_NOTED):
            identity = ids.get(trial.number)
            head = f"### Trial {trial.number}: {in_markdown(outcome(shot, trial))}\n"
            if identity is not None and not pages.note(identity).startswith(head):
                pages.save_note(identity, trial_note(shot, trial))
                give_way()
        pages.save_note(None, study_note(shot))

    def _save_files(self, shot: Snapshot, left: Left) -> bool:
        """Files of trials that have none. False if some are left."""
        from .publish_files import files_of

        store, ids, study = self.study.store, _trial_ids(self.study), _optunas_id(self.study)
        if self._filed is None:
            self._filed = store.views(self.study.id)
        bounded = self.study.definition.keep != "all"  # the disk space
        for trial in shot.front if bounded else _newest(shot, MOST_FILED):
            identity = trial.evaluation.id
            if identity in self._filed or trial.number not in ids:
                continue
            if left() <= 0:
                return False
            for name, content in files_of(shot, trial):
                store.save_view(identity, name, content, study=study, trial=ids[trial.number])
                give_way()
            self._filed[identity] = set()
        return True


@contextmanager
def publishing(study: "Study", *, leads: bool) -> Iterator[Publisher]:
    """Publish a search while it runs and at its end, also where it ends because it cannot go on."""
    publisher = Publisher(study, leads=leads)
    try:
        yield publisher
    except StudyError:
        publisher.finish()
        raise
    publisher.finish()


def figures_of(shot: Snapshot) -> "dict[str, Callable[[], Figure]]":
    """The figures that lie in the store, by their id there, and how each is drawn."""
    from .figures import draw_curves, draw_front, draw_hypervolume, pairs_of
    from .figures_importance import draw_importance

    pairs = pairs_of(shot.objectives)[:PANELS]
    fronts: dict[str, Callable[[], Figure]] = {
        f"front-{place}": partial(draw_front, shot, pairs=[pair], most=MOST_DRAWN)
        for place, pair in enumerate(pairs, 1)
    }
    return {
        **fronts,
        "hypervolume": partial(draw_hypervolume, shot),
        "curves": partial(draw_curves, shot),
        "importance": partial(draw_importance, shot),
    }


def published(study: "Study") -> tuple[int, float, bool]:
    """How many trials had ended when the study was last published (-1: never), when that was, and if it was whole."""
    with study.store.explained():
        state = study.store.optuna.get_study_system_attrs(_optunas_id(study)).get(STATE) or {}
    return state.get("ended", -1), state.get("at", 0.0), state.get("whole", False)


def _newest(shot: Snapshot, most: int) -> "list[Trial]":
    """The front, then so many others, the newest first."""
    front = {trial.number for trial in shot.front}
    return [*shot.front, *[trial for trial in reversed(shot.trials) if trial.number not in front][:most]]


def _optunas_id(study: "Study") -> int:
    return study.optuna._study_id  # noqa: SLF001 - Optuna has no public name for it


def _trial_ids(study: "Study") -> dict[int, int]:
    """Optuna's ids of trials, by number."""
    return {trial.number: trial._trial_id for trial in study.optuna.get_trials(deepcopy=False)}  # noqa: SLF001
