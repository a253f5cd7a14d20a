"""The report: whole in one file, right in its figures, harmless, quick, and never empty-handed."""

import importlib.util
import re
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import ModuleType

import pytest
from browsing import browse, file_url, needs_chromium
from sqlalchemy import delete

import paretonas as pn
from paretonas.errors import StoreError, UsageError
from paretonas.search.views.figures_data import snapshot
from paretonas.search.views.report import sections
from paretonas.search.views.report_html import to_html
from paretonas.search.views.tables import in_figures
from paretonas.storage.tables import MeasurementRow

SHORT = pn.MLPSpace(layers=1, widths=[4, 8], training=pn.TrainingSpace(epochs=1))
COUNTED = ["accuracy", "parameters"]
FETCHED = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?!data:|#)[\w/.]""")


def without_plotly(text: str) -> str:
    """The page without the library that is written into it."""
    from plotly.offline import get_plotlyjs

    assert get_plotlyjs() in text
    return text.replace(get_plotlyjs(), "")


@pytest.fixture(scope="module")
def reported(small: pn.Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the small study, as HTML."""
    return small.report(tmp_path_factory.mktemp("report") / "report.html")


def test_it_has_every_point_of_the_front(small: pn.Study, reported: Path) -> None:
    """Each point is a row with its figures, those of the test split too, and the knee is named."""
    text = without_plotly(reported.read_text())
    rows = re.findall(r"<tr>(.*?)</tr>", text)
    for trial in small.pareto_front:
        [row] = [
            row for row in rows if f'<td class="right">{trial.number}</td>' in row and str(trial.architecture) in row
        ]
        assert in_figures("accuracy", trial.test_metrics()["test_accuracy"]) in row
        assert in_figures("parameters", trial.values["parameters"]) in row
        assert ("knee" in row) == (trial.number == small.pick("knee").number)
    assert "test_accuracy (share)" in text
    assert small.spending.__str__() in text
    assert "<svg" in text
    assert f"paretonas export --pick {small.pick('knee').number}" in text


def test_it_fetches_nothing(reported: Path) -> None:
    """Nothing in it names another place, and its own policy forbids to ask one."""
    text = without_plotly(reported.read_text())
    assert not FETCHED.findall(text)
    assert "default-src 'none'" in text
    assert reported.stat().st_size < 8e6


@needs_chromium
def test_a_browser_opens_it(small: pn.Study, reported: Path) -> None:
    """Chromium draws all figures, with each point of the front in each pair, and its console stays silent."""
    page = browse(file_url(reported))
    assert not page.console
    assert page.count("js-plotly-plot") >= 4
    drawn = re.findall(r'<g class="trace scatter.*?</g></g>', page.dom, re.DOTALL)
    assert sum(group.count('class="point"') for group in drawn) >= 3 * len(small.pareto_front)
    assert "parameters (count)" in page.dom


def test_markdown_has_the_same_figures(small: pn.Study, tmp_path: Path) -> None:
    """The front's table stands there, too; nothing of it is HTML."""
    text = small.report(tmp_path / "report.md").read_text()
    for trial in small.pareto_front:
        assert re.search(rf"^\| {trial.number} \|.*{trial.test_metrics()['test_accuracy']:.4f}", text, re.MULTILINE)
    assert "## How to reproduce" in text
    assert "<svg" not in text


def test_the_command_writes_it(small: pn.Study, cli: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    """``paretonas report`` says where it is; another ending is refused with exit code 2."""
    where = tmp_path / "new" / "r.md"
    done = cli("report", "--to", str(where), "--storage", small.store.url)
    assert (done.returncode, where.exists()) == (0, True)
    assert str(where) in done.stdout.replace("\n", "")
    done = cli("report", "--to", str(tmp_path / "r.pdf"), "--storage", small.store.url)
    assert done.returncode == 2
    assert "ends in .html or .md" in done.stderr
    done = cli("report", "--to", str(tmp_path / "r.html"), "--storage", small.store.url, "--study", "nobody")
    assert done.returncode == 1


def test_what_cannot_be_written_is_said(small: pn.Study, tmp_path: Path) -> None:
    """A folder in the place of the file is a StoreError in one sentence, another ending a UsageError."""
    (tmp_path / "r.html").mkdir()
    with pytest.raises(StoreError, match="cannot take the report"):
        small.report(tmp_path / "r.html")
    with pytest.raises(UsageError, match=r"ends in \.html or \.md"):
        small.report(tmp_path / "r.txt")


def test_a_study_without_trials_is_reported(url: str, tmp_path: Path) -> None:
    """Before anything ended the report says so, and draws its empty figures."""
    study = pn.create_study("empty", space=SHORT, objectives=COUNTED, storage=url)
    text = study.report(tmp_path / "r.html").read_text()
    assert "No trial has come to an end yet, so there is nothing to choose from." in text
    assert "The winner" not in without_plotly(text)
    assert "No trial has come to an end yet" in study.report(tmp_path / "r.md").read_text()


def test_nothing_feasible_is_reported(url: str, tmp_path: Path) -> None:
    """Where no trial holds the constraint, the report names it, and draws what there is."""
    study = pn.create_study(
        "s", space=SHORT, objectives=COUNTED, constraints=["accuracy >= 1"], stopping="none", storage=url
    )
    study.optimize(2, show_progress=False)
    assert not study.pareto_front
    text = without_plotly(study.report(tmp_path / "r.html").read_text())
    assert "No trial is feasible under accuracy &gt;= 1" in text
    assert "violates a constraint" in text


def test_one_point_is_reported(url: str, tmp_path: Path) -> None:
    """A front of one point is said to be one; a name that is a script is text."""
    name = "<script>alert(1)</script> | *b*"
    study = pn.create_study(name, space=SHORT, objectives=COUNTED, storage=url)
    study.optimize(1, show_progress=False)
    text = without_plotly(study.report(tmp_path / "r.html").read_text())
    assert "The front is a single point" in text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    written = study.report(tmp_path / "r.md").read_text().split("```")
    assert "<script>" not in "".join(written[::2])  # outside of code
    assert written[0].startswith("# Report of &lt;script&gt;alert(1)&lt;/script&gt; \\| \\*b\\*")


def test_lost_weights_are_said(small: pn.Study, tmp_path: Path) -> None:
    """Where weights are gone the points stand without test figures, and the report says why."""
    for file in Path(str(small.store.url).removeprefix("sqlite:///")).parent.glob("nas.db*"):
        shutil.copy(file, tmp_path / file.name)
    study = pn.load_study(storage=f"sqlite:///{tmp_path / 'nas.db'}")
    with study.store.session() as session:
        session.execute(delete(MeasurementRow).where(MeasurementRow.name.startswith("test_")))
        session.commit()
    text = study.report(tmp_path / "r.md").read_text()
    assert "Figures of the test split are missing" in text
    assert "is not in" in text


def load_filler() -> ModuleType:
    """The benchmark that writes studies of any size."""
    file = Path(__file__).parents[1] / "benchmarks" / "store.py"
    spec = importlib.util.spec_from_file_location("store_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_thousand_trials_take_seconds(url: str, tmp_path: Path) -> None:
    """1,000 trials are written in under 5 seconds of this process's time, in under 8 MB; 60 points are on the front."""
    study = pn.create_study("many", space=SHORT, objectives=["accuracy", "parameters", "macs"], storage=url)
    load_filler().fill(study.store, study.id, study.optuna._study_id, 1000)
    began = time.process_time()
    path = study.report(tmp_path / "r.html")
    assert time.process_time() - began < 5
    assert path.stat().st_size < 8e6
    assert "1000 trials ended" in path.read_text()


def test_a_page_of_no_figures_has_no_script(small: pn.Study) -> None:
    """What draws nothing does not carry the library."""
    assert "<script>" not in to_html("s", sections(snapshot(small), figures=False))


def test_it_tells_what_was_trained_again_and_to_the_end(url: str, tmp_path: Path) -> None:
    """Means and spreads of further seeds beside what the search saw; the test split's figure of a final training."""
    study = pn.create_study("s", space=SHORT, objectives=COUNTED, storage=url)
    study.optimize(3, show_progress=False)
    before = study.report(tmp_path / "before.md").read_text()
    assert "With further seeds" not in before
    assert "Trained to the end" not in before
    found = study.confirm(top=2, seeds=2, show_progress=False)
    final = study.train_final(found.points[0].trial, epochs=2)
    text = study.report(tmp_path / "after.md").read_text()
    again = text.split("## With further seeds")[1].split("\n## ")[0]
    for point in found.points:
        assert f"{point.qualities['accuracy'].mean:.4f} ± {point.qualities['accuracy'].std:.4f}" in again
    assert "cannot be told from chance" in again
    ended = text.split("## Trained to the end")[1].split("\n## ")[0].splitlines()
    [row] = [line for line in ended if f"{final.record['epochs']} epochs" in line]
    assert in_figures("accuracy", final.test_metrics()["test_accuracy"]) in row
