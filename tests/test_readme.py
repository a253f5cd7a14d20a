"""The README's commands do what it says; the default job reaches what it promises."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paretonas.spaces import Network

Cli = Callable[..., subprocess.CompletedProcess[str]]
README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"^```(sh|python|toml)\n(.*?)^```", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def block(kind: str, word: str) -> str:
    """The one block of a kind that has a word in it."""
    (found,) = [str(text) for block_kind, text in BLOCKS if block_kind == kind and word in text]
    return found


def run(command: list[str], folder: Path) -> str:
    """Run a command with this interpreter's programs first on the path; its standard output."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def commands(text: str, cli: Cli) -> str:
    """Run each line, a command of ours, in this process and folder; the standard output of all."""
    out = ""
    for line in text.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "paretonas"
        done = cli(*arguments)
        assert done.returncode == 0, done.stderr
        out += done.stdout
    return out


def test_every_block_is_run() -> None:
    """A new block in the README needs a test here."""
    assert len(BLOCKS) == 19


@pytest.fixture(scope="module")
def default_job(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the first command of the README was run; the package is installed already."""
    folder = tmp_path_factory.mktemp("default")
    install, job = block("sh", "pip install . &&").strip().split(" && ")
    assert install == "pip install ."
    assert "Pareto front of digits-conv" in run(["bash", "-euo", "pipefail", "-c", job], folder)
    return folder


def test_default_job_reaches_its_promise(default_job: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """30 networks, a front of 5 points over a factor of 10 in parameters, and 0.97 on the test split."""
    monkeypatch.chdir(default_job)
    front = json.loads(commands("paretonas front --json", cli))
    best = json.loads(commands("paretonas pick best --json", cli))
    parameters = [point["values"]["parameters"] for point in front["front"]]
    assert front["trials"] == 30
    assert len(parameters) >= 5
    assert max(parameters) / min(parameters) >= 10
    assert best["values"]["test_accuracy"] >= 0.97


@pytest.fixture
def job(default_job: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, a copy of that in which the default job was run."""
    folder = Path(shutil.copytree(default_job, tmp_path / "job"))
    monkeypatch.chdir(folder)
    return folder


def test_six_commands_from_clone_to_a_network_in_a_project_of_its_own(job: Path, cli: Cli) -> None:
    """Cloning and installing are done already; the others run as they stand, and the last one imports no paretonas."""
    clone, install, *lines = block("sh", "git clone").strip().splitlines()
    assert len(lines) == 4
    assert (clone, install) == ('git clone "$PARETONAS" paretonas', "pip install ./paretonas")
    shutil.copytree(README.parent / "examples", job / "paretonas" / "examples")
    out = run(["bash", "-euo", "pipefail", "-c", "\n".join(lines)], job)
    turned = float(re.findall(r"accuracy turned ([\d.]+)", out)[0])  # scanned they stand on their heads
    knee = json.loads(commands("paretonas pick knee --json", cli))["values"]["accuracy"]
    assert turned == pytest.approx(knee, abs=0.1)  # of other pictures than those that it was chosen by
    project = job / "my_project" / "digit_reader"
    assert not [file for file in project.rglob("*.py") if re.search(r"^\s*(import|from) paretonas", file.read_text())]


def test_choosing_and_taking_home(job: Path, cli: Cli) -> None:
    """Each way to choose, seeds and a final training; the export classifies where paretonas cannot be imported."""
    out = commands(block("sh", "paretonas pick knee"), cli)
    assert "test_accuracy" in out
    assert "onnx: " in out
    assert {"net.onnx", "net.pt2", "train.py", "README.md"} <= {file.name for file in (job / "out").iterdir()}
    assert (job / "networks.png").stat().st_size > 10_000
    blocked = "import sys\nsys.modules['paretonas'] = None\n"
    scores = run([sys.executable, "-c", blocked + block("python", "# in out/")], job / "out")
    assert re.match(r"tensor\(\[\d, \d, \d, \d, \d\]\)", scores)


def test_a_report_and_a_log(job: Path, cli: Cli) -> None:
    """One file with all in it; curves that TensorBoard reads."""
    commands(block("sh", "paretonas report"), cli)
    assert "<script src=" not in (job / "report.html").read_text(encoding="utf-8")
    assert any(file.name.startswith("events.") for file in (job / "logs").rglob("*"))


def test_script_searches_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script of the README runs, and the one line of another project gives its network."""
    script, line = block("python", '"small", space=space'), block("python", "load_model")
    assert "parameters" in run([sys.executable, "-c", script], tmp_path)
    assert sorted(file.name for file in (tmp_path / "my_project/nets").iterdir()) == [
        "README.md",
        "net.json",
        "net.py",
        "net.safetensors",
        "train.py",
    ]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(line, names)  # noqa: S102
    assert isinstance(names["model"], Network)


def test_a_budget_of_epochs_and_a_network_of_the_readers_own(tmp_path: Path) -> None:
    """The study spends what it was given, says what it saved, and tried the reader's network first."""
    script = block("python", "study.enqueue") + "\nprint(study.trials[0].architecture == mine)"
    out = run([sys.executable, "-c", script], tmp_path)
    assert re.search(r"6\d epochs were trained", out)
    assert out.rstrip().endswith("True")


def test_workers_are_watched_and_stopped(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands for several workers find eight networks, and nothing is wrong with the store."""
    monkeypatch.chdir(tmp_path)
    out = commands(block("sh", "paretonas status"), cli)
    assert re.search(r"8 of 8", out)
    assert out.rstrip().endswith("nothing is wrong")


@pytest.mark.usefixtures("job")
def test_a_found_network_is_shrunk_and_grown(cli: Cli) -> None:
    """Each command of the README prints before and after."""
    assert commands(block("sh", "paretonas shrink knee"), cli).count("made of trial") == 4


def test_script_with_compression_runs(tmp_path: Path) -> None:
    """The genes of compression, a teacher and moves in one search, and a trial made smaller."""
    assert "size_bytes" in run([sys.executable, "-c", block("python", "CompressionSpace")], tmp_path)


def test_an_own_module_is_compressed(tmp_path: Path) -> None:
    """It holds the bound, and comes back from its folder."""
    script = block("python", "pn.compress") + "\nprint(sum(p.numel() for p in same.parameters()) <= 6000)"
    out = run([sys.executable, "-c", script], tmp_path)
    assert "latency:onnxruntime" in out
    assert out.rstrip().endswith("True")


def test_a_search_within_a_bound(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing too large is on the front, and the conditions of the times stand under it."""
    monkeypatch.chdir(tmp_path)
    out = commands(block("sh", "--constraint"), cli)
    front = json.loads(commands("paretonas front --study edge --json", cli))["front"]
    assert all(point["values"]["parameters"] <= 10_000 for point in front)
    assert "latency:onnxruntime: onnxruntime " in out


def test_an_objective_of_the_readers_own(tmp_path: Path) -> None:
    """The class of the README is measured for each candidate."""
    script = (
        block("python", "class Energy") + "\nprint([t.values['__main__:Energy,watts=2.5'] > 0 for t in study.trials])"
    )
    assert run([sys.executable, "-c", script], tmp_path).rstrip().endswith("[True, True, True]")


def test_data_and_spaces_can_be_looked_at(cli: Cli) -> None:
    """The data sets with their fields, and the genes of a space with random networks."""
    out = commands(block("sh", "paretonas tasks"), cli)
    assert "mnist1d" in out
    assert "stage0.width" in out
    assert "global_average_pool" in out


def test_study_file_runs(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The study file of the README gives a front of what it asks for."""
    (tmp_path / "study.toml").write_text(block("toml", "[space]"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    document = json.loads(commands(f"{block('sh', 'study.toml').strip()} --json", cli))
    assert document["study"] == "from-file"
    assert document["trials"] == 6
    assert set(document["objectives"]) == {"accuracy", "parameters"}


def test_dashboard_says_where_it_is(default_job: Path) -> None:
    """The dashboard's command prints its address and ends on Ctrl-C."""
    command = block("sh", "paretonas dashboard").split()
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=default_job, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stderr is not None
        assert "http://127.0.0.1:" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) in (0, 130)
