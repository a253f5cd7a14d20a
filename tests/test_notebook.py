"""What a notebook shows of a study, a trial, a candidate and an architecture."""

import json
import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import paretonas as pn
from paretonas.spaces import Candidate

SPACE = pn.MLPSpace(layers=1, widths=[4, 8], pruning=0.0, training=pn.TrainingSpace(epochs=1))
CELLS = """
import paretonas as pn
study = pn.load_study(storage=URL)
study
---
study.pick("best")
---
study.pick("best").candidate
---
study.pick("best").architecture
---
study.optimize(n_trials=TRIALS)
"""


def page(html: str) -> ET.Element:
    """The HTML, which has to be well formed."""
    return ET.fromstring(html)  # noqa: S314 - our own text


def cells(html: str) -> list[list[str]]:
    return [["".join(cell.itertext()) for cell in row] for row in page(html).iter("tr")]


def test_a_study_is_shown_as_its_front(small: pn.Study) -> None:
    """A row for each point, with all that was measured, the knee marked; and what was spent."""
    html = small._repr_html_()
    head, *rows = cells(html)
    front = small.pareto_front
    assert head == ["trial", *front[0].values, "network"]
    assert [row[0] for row in rows] == [str(trial.number) for trial in front]
    assert [row[0] for row in rows if row[-1].endswith("(knee)")] == [str(small.pick("knee").number)]
    assert "8 complete" in html
    assert str(small.spending) in "".join(page(html).itertext())


def test_a_study_without_a_front_says_so(url: str) -> None:
    """Before the first trial, and where nothing is feasible."""
    empty = pn.create_study("empty", space=SPACE, objectives=["accuracy", "parameters"], storage=url)
    assert "the front is empty" in empty._repr_html_()
    bounded = pn.create_study(
        "bounded",
        space=SPACE,
        objectives=["accuracy", "parameters"],
        constraints=["accuracy >= 1.0"],
        storage=url,
    )
    bounded.optimize(1, show_progress=False)
    (bound,) = bounded.definition.constraints
    assert f"there is no finished trial that holds {bound}" in "".join(page(bounded._repr_html_()).itertext())


def test_a_trial_is_shown_with_figures_and_drawing(small: pn.Study, mixed: pn.Study) -> None:
    """Each value with its unit; one that failed has its reason."""
    trial = small.pick("best")
    html = trial._repr_html_()
    shown = {row[0]: row[1:] for row in cells(html)}
    assert shown["accuracy"] == [f"{trial.values['accuracy']:.4f}", "share of right answers, on the validation split"]
    assert shown["parameters"][0] == f"{trial.values['parameters']:,.0f}"
    assert trial.draw() in html
    failed = next(trial for trial in mixed.trials if trial.state == "failed")
    assert str(failed.reason) in unescape(failed._repr_html_())


def test_names_are_escaped(url: str) -> None:
    """A study may be called anything."""
    study = pn.create_study("<script>&'\"", space=SPACE, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(1, show_progress=False)
    for html in (study._repr_html_(), study.trials[0]._repr_html_()):
        assert "<script>" not in html
        assert "<script>&'\"" in "".join(page(html).itertext())


def test_networks_are_shown_as_drawings(small: pn.Study) -> None:
    """A candidate with what pruning will take away, an architecture as it is."""
    candidate = small.trials[0].candidate
    assert candidate._repr_html_() == pn.draw(candidate)
    assert candidate.architecture._repr_html_() == pn.draw(candidate.architecture)


def test_ipython_takes_what_is_shown(small: pn.Study) -> None:
    """Its own formatter asks for HTML, and finds it; nothing of it is imported for that."""
    formatter = pytest.importorskip("IPython.core.formatters").DisplayFormatter()
    trial = small.pick("best")
    for shown in (small, trial, trial.candidate, trial.architecture):
        data, _ = formatter.format(shown)
        assert data["text/html"] == shown._repr_html_()
    assert isinstance(trial.candidate, Candidate)


def test_a_notebook_runs(tmp_path: Path, url: str) -> None:
    """From loading a study to searching on: each cell shows HTML, and progress is plain lines."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    study = pn.create_study("in a notebook", space=SPACE, objectives=["accuracy", "parameters"], storage=url)
    study.optimize(1, show_progress=False)
    sources = CELLS.replace("URL", json.dumps(url)).replace("TRIALS", "2").split("---")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source.strip()) for source in sources])
    client = nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    htmls = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.outputs
        if output.output_type == "execute_result"
    ]
    assert ["<svg" in html for html in htmls] == [False, True, True, True]
    assert "in a notebook" in htmls[0]
    said = "".join(
        output.get("text", "") + "".join(map(str, output.get("data", {}).values()))
        for output in notebook.cells[-1].outputs
    )
    assert re.search(r"trial 2/2", said)
    assert len(study.trials) == 2
