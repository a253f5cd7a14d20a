"""A report of a study in one file, for people who were not there."""

import json
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ...errors import ParetonasError, StoreError, UsageError, one_of
from ...storage import shown
from ..delivery.card import TEST, unit_of
from ..delivery.comparing import comparisons
from ..delivery.confirming import confirmed
from ..delivery.final import finals_of
from .choosing import cells_of, conclusions
from .figures import draw_curves, draw_front, draw_hypervolume
from .figures_data import Snapshot, snapshot
from .figures_importance import draw_importance
from .labels import label_of
from .notes import layer_rows, outcome, space_in_words, story, task_in_words, title_of
from .report_html import to_html
from .report_markdown import to_markdown
from .report_parts import Code, Drawing, Section, Table
from .tables import in_figures, in_words, notes_on_times

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from ..study import Study
    from ..trial import Trial

Which = Literal["front", "hypervolume", "curves", "importance"]
FIGURES: "dict[str, Callable[[Snapshot], Figure]]" = {
    "front": draw_front,
    "hypervolume": draw_hypervolume,
    "curves": draw_curves,
    "importance": draw_importance,
}
MOST_DRAWN = 1500  # points of a kind off the front
NONE = ""  # where there is no figure
PACKAGES = ("paretonas", "torch", "optuna", "numpy", "onnxruntime")


def figure(study: "Study", which: Which) -> "Figure":
    """See ``Study.figure``."""
    one_of("figure", which, FIGURES)
    return FIGURES[which](snapshot(study))


def write_report(study: "Study", path: Path) -> Path:
    """See ``Study.report``. UsageError for another ending, StoreError if the file cannot be written."""
    kind = path.suffix.lower()
    if kind not in (".html", ".htm", ".md", ".markdown"):
        raise UsageError(f"a report is written to a file that ends in .html or .md, {str(path)!r} was given")
    shot = snapshot(study)
    if kind.startswith(".htm"):
        text = to_html(study.name, sections(shot, figures=True))
    else:
        text = to_markdown(study.name, sections(shot, figures=False))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"{path} cannot take the report: {error.strerror or error}: choose a place that is writable and has room"
        ) from error
    return path


def sections(shot: Snapshot, *, figures: bool) -> list[Section]:
    """What a report says of a study. figures: whether they are drawn."""

    def drawn(draw: "Callable[[], Figure]") -> "list[Figure]":
        return [draw()] if figures else []

    return [
        Section("In short", (*_in_short(shot), _facts(shot))),
        Section("The front", (*drawn(lambda: draw_front(shot, most=MOST_DRAWN)), *_front(shot))),
        *([Section("The winner", tuple(_winner(shot)))] if shot.knee else []),
        *_again(shot),
        *([Section("Compared with", tuple(_compared(shot)))] if shot.references else []),
        Section("What was spent and saved", (*_spent(shot), *drawn(lambda: draw_hypervolume(shot)))),
        *([Section("How candidates learned", tuple(drawn(lambda: draw_curves(shot))))] if figures else []),
        *([Section("What matters", tuple(drawn(lambda: draw_importance(shot))))] if figures else []),
        Section("Conditions of the times", tuple(_conditions(shot))),
        Section("How to reproduce", tuple(_reproduce(shot))),
    ]


def _in_short(shot: Snapshot) -> Iterator[str]:
    if not shot.trials:
        yield "No trial has come to an end yet, so there is nothing to choose from."
    elif not shot.front:
        bounds = " and ".join(shot.study.definition.constraints)
        yield f"No trial is feasible{f' under {bounds}' if bounds else ''}: {shot.in_words}."
    for role, trial in (("The knee", shot.knee), ("The best in quality", shot.best)):
        if trial is not None:
            figures = ", ".join(f"{label_of(name)} {in_figures(name, trial.values[name])}" for name in shot.objectives)
            yield f"{role} of the front is trial {trial.number}: {figures}."
    if len(shot.front) == 1:
        yield "The front is a single point, which is at least as good as all others in every objective."


def _facts(shot: Snapshot) -> Table:
    definition = shot.study.definition
    aims = [f"{label_of(o.name)}, {o.direction}: {o.unit}" for o in definition.resolved_objectives]
    rows = [
        ("study", shot.study.name),
        ("task", task_in_words(shot)),
        ("search space", f"{definition.space.name}: {space_in_words(shot)}"),
        *(("objective", aim) for aim in aims),
        ("constraints", ", ".join(definition.constraints) or "none"),
        ("trials", shot.in_words),
        ("written", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
    ]
    return Table(("", ""), tuple(rows))


def _front(shot: Snapshot) -> "Iterator[str | Table]":
    """Its points, with the test split's figures; why some have none."""
    if not shot.front:
        return
    tested, why = _tested(shot.front)
    names = list(dict.fromkeys(name for trial in shot.front for name in trial.values))
    tests = list(dict.fromkeys(name for values in tested.values() for name in values))
    rows = []
    for trial in shot.front:
        values = {**trial.values, **tested[trial.number]}
        figures = [
            in_figures(name.removeprefix(TEST), values[name]) if name in values else NONE for name in names + tests
        ]
        rows.append((str(trial.number), title_of(shot, trial), *figures, in_words(trial)))
    head = ("trial", "", *(label_of(name) for name in names), *(_test_label(name) for name in tests), "network")
    yield Table(head, tuple(rows), (0, *range(2, 2 + len(names) + len(tests))))
    yield (
        "Columns that begin with test are of the test split, which the search never saw; the others that say how well "
        "a network answers are of the validation split, by which it was chosen."
    )
    if why:
        yield f"Figures of the test split are missing where nothing stands: {why}."


def _test_label(name: str) -> str:
    return f"{TEST}{label_of(name.removeprefix(TEST))}"


def _tested(front: "Sequence[Trial]") -> tuple[dict[int, dict[str, float]], str]:
    """The test split's figures of each point, computed where they are not known, and why the last one has none."""
    found, why = dict[int, dict[str, float]](), ""
    for trial in front:
        try:
            found[trial.number] = trial.test_metrics()
            if not found[trial.number]:
                why = f"the weights of trial {trial.number} were not kept"
        except (ParetonasError, ImportError, AttributeError) as error:
            found[trial.number], why = {}, str(error)
    return found, why


def _winner(shot: Snapshot) -> "Iterator[str | Table | Drawing]":
    """The knee: its drawing, its story, its layers."""
    from .drawing import draw_trial

    trial = shot.knee
    assert trial is not None
    yield f"Trial {trial.number}, {outcome(shot, trial)}: {in_words(trial)}."
    try:
        yield Drawing(draw_trial(trial), str(trial.architecture))
        rows = layer_rows(trial.architecture, trial.candidate.architecture)
        yield Table(("#", "layer", "out", "parameters", "numbers"), tuple(rows), (0, 3))
    except (ParetonasError, ImportError, AttributeError) as error:
        yield f"It cannot be drawn here: {error}"
    said = " ".join(story(shot, trial))
    if said:
        yield said
    yield "The knee is nearest to the ideal point, the best of each objective, on logarithms of costs and errors."


def _again(shot: Snapshot) -> "Iterator[Section]":
    """Points of the front that were trained with further seeds, and those that were trained to their end."""
    seeds = {seed for trial in shot.of("repetition") if (seed := trial.candidate.seed) is not None}
    if shot.front and (found := confirmed(shot.front, seeds)):
        head = [word for name in found.measures for word in (f"{label_of(name)}: mean ± std", "as searched", "it is")]
        rows = [
            (str(point.trial), *(cell for name in found.measures for cell in cells_of(found, point, name)))
            for point in found.points
        ]
        again = Table(("trial", *head), tuple(rows), (0,))
        yield Section("With further seeds", (again, *(f"{line[0].upper()}{line[1:]}." for line in conclusions(found))))
    if finals := finals_of(shot.study):
        tests = list(dict.fromkeys(name for final in finals for name in final.test_metrics()))
        rows = [
            (
                str(final.number),
                final.trained_on,
                *(in_figures(name.removeprefix(TEST), final.test_metrics()[name]) for name in tests),
            )
            for final in finals
        ]
        head = [_test_label(name) for name in tests]
        yield Section("Trained to the end", (Table(("trial", "on", *head), tuple(rows), (0,)),))


def _compared(shot: Snapshot) -> "Iterator[str | Table]":
    """The networks that there were before."""
    names = list(dict.fromkeys(name for values in shot.references.values() for name in values))
    rows = [
        (name, *(in_figures(word.removeprefix(TEST), values[word]) if word in values else NONE for word in names))
        for name, values in shot.references.items()
    ]
    head = ("network", *(label_of(n) if not n.startswith(TEST) else _test_label(n) for n in names))
    yield Table(head, tuple(rows), tuple(range(1, len(head))))
    for comparison in comparisons(shot.study):
        yield f"{comparison}."


def _spent(shot: Snapshot) -> "Iterator[str | Table]":
    seconds = sum(trial.evaluation.seconds or 0.0 for trial in shot.trials)
    yield f"{shot.spending}."
    yield f"The trials took {_time(seconds)} of workers' time."
    kinds = shot.study.store.kinds(shot.study.id)
    if kinds:
        rows = [(kind, str(count)) for kind, count in sorted(kinds.items(), key=lambda one: -one[1])]
        yield Table(("ended without a result", "trials"), tuple(rows), (1,))


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _conditions(shot: Snapshot) -> "Iterator[str | Table]":
    """Under which the latencies of the front were measured."""
    rows: dict[tuple[str, ...], None] = {}
    for trial in shot.front:
        for name, detail in trial.evaluation.details.items():
            if isinstance(detail, dict) and "hardware" in detail:
                told = {
                    key: value for key, value in detail.items() if isinstance(value, str | int) and key in CONDITIONS
                }
                rows[(name, unit_of(name), *(str(told.get(key, "")) for key in CONDITIONS))] = None
    if rows:
        yield Table(("measure", "unit", *CONDITIONS), tuple(rows))
        yield from (f"{note}." for note in notes_on_times(shot.study, shot.front) if "noisy" in note)
    else:
        yield "No time was measured for the front."


CONDITIONS = ("backend", "version", "hardware", "threads", "batch", "precision")


def _reproduce(shot: Snapshot) -> "Iterator[str | Code | Table]":
    study, definition = shot.study, shot.study.definition
    yield (
        f"The study is {study.name!r} in {shown(study.store.url)}; its proposals, weights and order of the data follow "
        f"from seed {definition.seed}, with {definition.threads} thread{'s' * (definition.threads > 1)} on "
        f"{definition.device}."
    )
    named = f'--study "{study.name}" --storage "{shown(study.store.url)}"'
    which = shot.knee.number if shot.knee is not None else "knee"
    yield Code(
        f"paretonas front {named}\nparetonas pick {which} {named}\nparetonas export --pick {which} --to out {named}\n"
        f"paretonas train {which} {named}"
    )
    yield Table(("package", "version"), (("python", platform.python_version()), *_versions()))
    data = f" Their fingerprint is {definition.fingerprint}." if definition.fingerprint else ""
    yield f"The data are those of the task.{data}"
    yield Code(json.dumps(definition.to_json(), indent=2), "json", "The whole definition of the study")


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue
