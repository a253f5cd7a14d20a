"""Figures of a study: each point where it belongs and looking like what it is, also where there is little to draw."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.search.front import hypervolume
from paretonas.search.trial import Trial
from paretonas.search.views import figures, figures_style
from paretonas.search.views.figures_data import Snapshot, snapshot
from paretonas.search.views.figures_importance import _cross_fitted, draw_importance
from paretonas.search.views.labels import in_html, in_markdown, label_of, labels_of

DRAWN = {
    "front": figures.draw_front,
    "hypervolume": figures.draw_hypervolume,
    "curves": figures.draw_curves,
    "importance": draw_importance,
}


def traces(figure: Any, name: str) -> list[Any]:
    """The traces of a figure that have this name."""
    return [trace for trace in figure.data if trace.name == name]


def as_if(shot: Snapshot, states: Sequence[str]) -> Snapshot:
    """The snapshot as if its trials off the front had ended like this, in turn."""
    front, turn, trials = {trial.number for trial in shot.front}, iter(states), []
    for trial in shot.trials:
        state = None if trial.number in front else next(turn, None)
        if state is None:
            trials.append(trial)
            continue
        ended = replace(trial.evaluation, state=state, kind=state, reason="after epoch 1 it is expected to end at 0.1")
        trials.append(Trial(trial.study, ended))
    return replace(shot, trials=tuple(trials))


@pytest.fixture(scope="module")
def shot(small: pn.Study) -> Snapshot:
    """The small study, read once."""
    return snapshot(small)


@pytest.fixture(scope="module")
def narrow(shot: Snapshot) -> Snapshot:
    """The same with two points of the front alone, so that others are off it whatever the latencies were."""
    return replace(shot, front=shot.front[:2])


def test_the_front_stands_where_it_was_measured(small: pn.Study, shot: Snapshot) -> None:
    """In each pair of objectives every point of the front is drawn at its values, and the knee at those of the knee."""
    figure = figures.draw_front(shot)
    pairs = figures.pairs_of(small.definition.objectives)
    assert pairs == [("parameters", "accuracy"), ("latency_ms", "accuracy"), ("parameters", "latency_ms")]
    points = sorted(small.pareto_front, key=lambda trial: trial.number)
    for (x, y), front, knee in zip(pairs, traces(figure, "front"), traces(figure, "knee"), strict=True):
        assert list(front.x) == pytest.approx([trial.values[x] for trial in points], rel=1e-4)
        assert list(front.y) == pytest.approx([trial.values[y] for trial in points], rel=1e-4)
        assert list(knee.x) == pytest.approx([small.pick("knee").values[x]], rel=1e-4)


def test_axes_have_units_and_costs_are_logarithmic(shot: Snapshot) -> None:
    """A cost of several sizes is drawn on a logarithmic axis, a share is not."""
    figure = figures.draw_front(shot, pairs=[("parameters", "accuracy")])
    assert (figure.layout.xaxis.type, figure.layout.xaxis.title.text) == ("log", "parameters (count)")
    assert (figure.layout.yaxis.type, figure.layout.yaxis.title.text) == (None, "accuracy (share)")


def test_stopped_and_infeasible_trials_look_so(small: pn.Study, narrow: Snapshot) -> None:
    """Each kind of trial has a mark of its own shape, so that colour is not all that tells them apart."""
    off = [trial for trial in narrow.trials if trial.number not in {point.number for point in narrow.front}]
    stopped = as_if(narrow, ["stopped"])
    [marks] = traces(figures.draw_front(stopped, pairs=[("parameters", "accuracy")]), "stopped early")
    assert list(marks.x) == [off[0].values["parameters"]]
    assert marks.marker.symbol == "triangle-down-open"
    assert "1 stopped early" in figures.draw_front(stopped).layout.title.text
    ends = traces(figures.draw_curves(stopped), "where it stopped")
    assert [len(ends[0].x), ends[0].x[0]] == [1, len(narrow.curve(off[0]))]
    definition = replace(small.definition, constraints=("accuracy >= 1.5",))
    study = pn.Study(small.store, small.id, small.name, definition)
    none = replace(
        narrow,
        study=study,
        front=(),
        references={},
        trials=tuple(Trial(study, trial.evaluation) for trial in narrow.trials),
    )
    figure = figures.draw_front(none, pairs=[("parameters", "accuracy")])
    assert [trace.name for trace in figure.data] == ["violates a constraint"]
    assert "no point is feasible under accuracy &gt;= 1.5" in figure.layout.title.text
    shapes = [look["symbol"] for _, look in figures.LOOKS.values()]
    assert (
        len({*shapes, figures.KNEE["symbol"], figures.REFERENCE["symbol"]}) == len(shapes) + 1
    )  # circles in two sizes


def test_two_objectives_have_a_staircase(mixed: pn.Study) -> None:
    """With two objectives a line says what is dominated; what failed has no place and is counted."""
    figure = figures.draw_front(snapshot(mixed))
    [line] = [trace for trace in figure.data if trace.mode == "lines"]
    assert list(line.y) == sorted(line.y)
    assert "2 failed" in figure.layout.title.text


def test_reference_networks_stand_beside_the_front(shot: Snapshot) -> None:
    """A network that the study was compared with has its own mark and its name, escaped."""
    compared = replace(shot, references={"my <net>": {"accuracy": 0.5, "parameters": 99.0, "test_accuracy": 0.4}})
    [mark] = traces(figures.draw_front(compared, pairs=[("parameters", "accuracy")]), "reference network")
    assert (list(mark.x), list(mark.text)) == ([99.0], ["my &lt;net&gt;"])
    assert not traces(figures.draw_front(compared, pairs=[("latency_ms", "accuracy")]), "reference network")


@pytest.mark.parametrize("which", DRAWN)
def test_a_study_without_trials_is_drawn(url: str, which: str) -> None:
    """Before anything ended each figure draws and says that there is nothing."""
    study = pn.create_study("empty", space=pn.MLPSpace(), objectives=["accuracy", "parameters"], storage=url)
    figure = DRAWN[which](snapshot(study))
    [said] = figure.layout.annotations
    assert said.text.startswith(("No ", "At least 12"))
    assert figure.to_json()


@pytest.mark.parametrize("which", DRAWN)
def test_one_point_is_drawn(shot: Snapshot, which: str) -> None:
    """A front of one point has no range to scale by."""
    one = replace(shot, trials=shot.front[:1], front=shot.front[:1])
    assert DRAWN[which](one).to_json()


def test_the_hypervolume_grows_to_that_of_the_front(shot: Snapshot) -> None:
    """It never shrinks, begins with the first trial's epochs, and ends where the front's hypervolume is."""
    [line] = figures.draw_hypervolume(shot).data
    assert list(line.y) == sorted(line.y)
    objectives = shot.study.definition.resolved_objectives
    every = hypervolume([trial.values for trial in shot.trials if trial.feasible], objectives)
    assert line.y[-1] == pytest.approx(every, rel=1e-4)
    assert line.x[-1] == sum(len(points) for points in shot.curves.values())


def test_curves_are_those_of_the_store(shot: Snapshot) -> None:
    """The front's curves are all there, each from its first epoch on, with gaps between."""
    [front] = traces(figures.draw_curves(shot), "front")
    wanted = [point.score for trial in shot.front for point in shot.curve(trial)]
    assert [value for value in front.y if value is not None] == pytest.approx(wanted, rel=1e-4)
    assert list(front.y).count(None) == len(shot.front)


def test_only_what_fits_is_drawn(narrow: Snapshot) -> None:
    """With a bound on points the front stays whole, and of the others the newest are drawn."""
    figure = figures.draw_front(narrow, pairs=[("parameters", "accuracy")], most=1)
    assert len(traces(figure, "front")[0].x) == len(narrow.front)
    [others] = traces(figure, "dominated")
    assert list(others.x) == [narrow.of("dominated")[-1].values["parameters"]]


def test_what_people_named_is_text(small: pn.Study, shot: Snapshot) -> None:
    """A study whose name is HTML is shown by that name."""
    named = pn.Study(small.store, small.id, "<img src=x onerror=alert(1)>", small.definition)
    figure = figures.draw_front(replace(shot, study=named))
    assert "<img" not in figure.layout.title.text
    assert "&lt;img" in figure.layout.title.text
    assert in_html("<b>") == "&lt;b&gt;"
    assert in_markdown("a | *b* <c>\n# d_e") == "a \\| \\*b\\* &lt;c&gt; # d\\_e"
    assert in_markdown("1. a") == "1\\. a"
    assert in_markdown("0.5") == "0.5"


def test_importance_finds_the_gene_that_matters() -> None:
    """Of six genes the one that decides is found, for each objective its own, and noise explains nothing."""
    random = np.random.default_rng(0)
    x = random.random((120, 6))
    y = np.stack([x[:, 1], np.sin(3 * x[:, 4]), random.normal(size=120)], axis=1)
    y = (y - y.mean(0)) / y.std(0)
    added, errors = _cross_fitted(x, y, random)
    assert added[:, 0].argmax() == 1
    assert added[:, 1].argmax() == 4
    assert added[1, 0] > 5 * np.delete(added[:, 0], 1).max()
    assert errors[0] < 0.5
    assert errors[2] > 0.8


def test_a_figure_of_a_study_by_its_word(small: pn.Study) -> None:
    """``Study.figure`` gives plotly figures; another word is refused with those there are."""
    assert len(small.figure("front").data) == len(figures.draw_front(snapshot(small)).data)
    with pytest.raises(UsageError, match="unknown figure 'fronts': did you mean 'front'"):
        small.figure("fronts")  # type: ignore[arg-type]


def test_labels_have_units_and_differ() -> None:
    """Optuna wants names that differ; so labels of different measures do."""
    names = ["accuracy", "digit.accuracy", "parity.accuracy", "parameters", "latency_ms", "latency:onnxruntime"]
    names += ["latency:onnxruntime,batch=8", "throughput", "size_bytes", "mae", "macs"]
    assert len(set(labels_of(names))) == len(names)
    assert label_of("accuracy") == "accuracy (share)"
    assert label_of("latency:onnxruntime,batch=8") == "latency:onnxruntime,batch=8 (ms per batch)"
    assert label_of("size_bytes") == "size_bytes"


def luminance(colour: np.ndarray) -> float:
    """Relative luminance (WCAG 2.1) of linear RGB."""
    return float(colour @ [0.2126, 0.7152, 0.0722])


def linear(colour: str) -> np.ndarray:
    """Linear RGB of ``#rrggbb``."""
    parts = np.array([int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_text_is_legible_on_light_and_dark(page: str) -> None:
    """Text contrasts at least 4 to 1 with white and with the dashboard's dark page, marks at least 2 to 1."""
    for colour, least in ((figures_style.TEXT, 4.0), *((c, 2.0) for c in (figures_style.BLUE, figures_style.RED))):
        bright, dark = sorted((luminance(linear(colour)) + 0.05, luminance(linear(page)) + 0.05), reverse=True)
        assert bright / dark >= least


def test_colour_blind_people_tell_the_colours_apart() -> None:
    """As deuteranopes see them (Vienot et al. 1999), those of stopped, infeasible, front and knee differ."""
    seen = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])
    colours = [figures_style.BLUE, figures_style.ORANGE, figures_style.RED, figures_style.GREY]
    for one, other in combinations(colours, 2):
        assert np.abs(seen @ linear(one) - seen @ linear(other)).max() > 0.08, (one, other)


def test_marks_of_a_cost_say_their_whole_number() -> None:
    """Few of them over many decades, and enough within one: 2 alone would not tell 0.2 from 20."""
    assert figures_style.axis("latency_ms", [0.145, 0.26])["ticktext"] == ["0.1", "0.15", "0.2", "0.3"]
    assert figures_style.axis("parameters", [160, 9154])["ticktext"] == ["200", "500", "1k", "2k", "5k", "10k"]
    assert figures_style.axis("macs", [900, 2.5e6])["ticktext"] == ["1k", "10k", "100k", "1M"]
    assert "ticktext" not in figures_style.axis("accuracy", [0.1, 0.9])
