"""The command line: what it says, where it says it, and with which exit code it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import MISSING, dataclass, fields
from functools import partialmethod
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import typer

import paretonas as pn
from paretonas.errors import UsageError
from paretonas.objectives import OBJECTIVES, TASKS, as_task
from paretonas.search.cli import app
from paretonas.search.data import load_data
from paretonas.search.views.dashboard import free_port
from paretonas.spaces import SPACES, Space

Cli = Callable[..., subprocess.CompletedProcess[str]]
DATA = {"signal": "mnist1d"}  # for spaces that cannot take digits


def commands(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by its words, also those of a group of commands."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found |= commands(command, f"{before}{name} ") if hasattr(command, "commands") else {f"{before}{name}": command}
    return found


COMMANDS = commands(typer.main.get_command(app))
RUN = ("run", "--space", "mlp", "--objectives", "accuracy,parameters", "--epochs", "1")


@pytest.fixture
def on_small(cli: Cli, small: pn.Study) -> Cli:
    """A command on the store of the finished study."""
    return lambda *arguments: cli(*arguments, "--storage", small.store.url)


def one_line(answer: subprocess.CompletedProcess[str], code: int) -> str:
    """The message of a refusal: one line on standard error, and nothing else."""
    assert answer.returncode == code
    assert answer.stdout == ""
    assert answer.stderr.startswith("paretonas: ")
    assert answer.stderr.count("\n") == 1
    return answer.stderr


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_states_every_default(name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--help`` explains each option and gives its default wherever it has one."""
    monkeypatch.setenv("COLUMNS", "700")
    answer = cli(*name.split(), "--help")
    assert answer.returncode == 0
    assert COMMANDS[name].help.split("\n")[0].rstrip(".") in answer.stdout
    for parameter in COMMANDS[name].params:
        assert parameter.help
        if parameter.param_type_name == "option" and not parameter.hidden:
            [line] = [row for row in answer.stdout.splitlines() if re.match(rf"[│ *]*{parameter.opts[0]}[ ,]", row)]
            if parameter.default not in (None, False):
                assert f"[default: {parameter.default}]" in line
            for said in re.findall(r"\[default: [^\]]*\]", parameter.help):
                assert said in line


def test_help_lists_the_commands(cli: Cli) -> None:
    """``paretonas --help`` names every command and what it is for."""
    answer = cli("--help")
    assert answer.returncode == 0
    assert all(name.split()[0] in answer.stdout for name in COMMANDS)
    words = (
        "run worker front pick export dashboard report draw confirm status stop doctor shrink grow train compress tasks"
    )
    assert {*words.split(), "space show"} == COMMANDS.keys()


@pytest.mark.parametrize("name", ["run", "space show"])
def test_help_lists_the_words(name: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every space and every task is named, and for a search every objective."""
    monkeypatch.setenv("COLUMNS", "400")
    text = cli(*name.split(), "--help").stdout
    assert ", ".join(SPACES) in text
    assert ", ".join(TASKS) in text
    assert ", ".join(OBJECTIVES) in text or name != "run"


# Looking around


def test_tasks_are_listed_with_their_fields(cli: Cli) -> None:
    """Each word, what it is, and its fields with their defaults; as JSON too."""
    text = cli("tasks").stdout
    document = json.loads(cli("tasks", "--json").stdout)
    assert [task["task"] for task in document] == list(TASKS)
    for task in document:
        assert f"\n{task['task']}: {task['about']}\n" in f"\n{text}"
        assert [field["name"] for field in task["fields"] if "default" not in field] == [
            field.name for field in fields(TASKS[task["task"]]) if field.default is field.default_factory is MISSING
        ]
    (table,) = (task for task in document if task["task"] == "table")
    assert {"name": "missing", "default": "refuse", "words": ["refuse", "drop"]} in table["fields"]
    assert {"name": "file"} in table["fields"]
    assert "fields: file (needed), target (needed), " in text
    assert 'missing = "refuse" (refuse | drop)' in text


@pytest.mark.parametrize("space", SPACES)
def test_a_space_is_shown(space: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its genes, size, fit and samples, the same as a script would get."""
    monkeypatch.setattr(Space, "size", partialmethod(Space.size, limit=100))  # counting thousands takes seconds
    word = DATA.get(space, "digits")
    arguments = ("space", "show", "--space", space, "--task", word, "--samples", "2", "--seed", "3")
    document = json.loads(cli(*arguments, "--json").stdout)
    text = cli(*arguments).stdout
    made, spec = SPACES[space](), load_data(as_task(word)).spec
    assert document["genes"] == {
        gene.name: {"choice": gene.choice.to_json(), "share": gene.share} for gene in made.genes(spec)
    }
    assert f"size: {made.size(spec)}\n" in text
    assert (document["size"]["settings"], document["size"]["exact"]) == (made.size(spec).count, False)
    assert f"fits: {document['share_that_fits']:.0%} of random candidates" in text
    for sample in document["samples"]:
        deployed = made.sample(spec, seed=sample["seed"]).deployed
        assert sample["network"] == str(deployed)
        assert sample["parameters"] == sum(parameter.numel() for parameter in pn.build(deployed).parameters())
        assert f"{sample['parameters']:,}" in text
    assert [sample["seed"] for sample in document["samples"]] == [3, 4]


def test_the_space_of_a_study_file_is_shown(cli: Cli, tmp_path: Path) -> None:
    """Options on the command line come before the file; choices are in words."""
    file = tmp_path / "study.toml"
    file.write_text(
        'task = "digits_parity"\n[space]\ntype = "mlp"\nlayers = 1\nwidths = [4, 8]\nactivations = "relu"\n'
        "pruning = 0.0\n[space.training]\nlearning_rate = { low = 0.001, high = 0.1, log = true }\n",
        encoding="utf-8",
    )
    shown = cli("space", "show", str(file), "--samples", "0").stdout
    assert "The mlp space on digits_parity (1x8x8 input)" in shown
    assert "4, 8" in shown
    assert "0.001 to 0.1, log" in shown
    assert "Random candidates, after pruning" not in shown
    document = json.loads(cli("space", "show", str(file), "--task", "digits", "--json", "--samples", "1").stdout)
    assert document["task"] == "digits"
    assert document["size"] == {"settings": 2, "exact": True, "continuous": ["learning_rate"]}


# Usage errors


@pytest.mark.parametrize(
    ("arguments", "there_is"),
    [
        (("run", "--space", "resnet"), f"there is {', '.join(SPACES)}"),
        (("run", "--task", "imagenet"), f"there is {', '.join(TASKS)}"),
        (("run", "--task", "table"), "task 'table' needs file and target: give type = 'table', file = …, target = …"),
        (("run", "--objectives", "accuracy,flops"), f"there is {', '.join(OBJECTIVES)}"),
        (("run", "--objectives", "accuracy"), "the costs are parameters, macs, nonzero_parameters"),
        (("run", "--sampler", "grid"), "there is ehvi, tpe, tpe_multivariate, nsga2, nsga3, gp, random"),
        (("run", "--device", "tpu"), "there is cpu, cuda"),
    ],
)
def test_an_unknown_word_is_a_usage_error(
    arguments: tuple[str, ...], there_is: str, cli: Cli, url: str, tmp_path: Path
) -> None:
    """Exit code 2, one line that lists what there is, and no store is made."""
    assert there_is in one_line(cli(*arguments, "--storage", url), 2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ("mae", "a bound is a measure and a number such as mae=0.3, 'mae' was given"),
        ("accuracy=high", "a bound is a measure and a number such as mae=0.3, 'accuracy=high' was given"),
        ("mae=1", "this study did not measure mae: it has accuracy, parameters, macs, latency_ms"),
    ],
)
def test_a_malformed_bound_is_a_usage_error(bound: str, message: str, on_small: Cli) -> None:
    """Exit code 2, one line that says what a bound is."""
    assert message in one_line(on_small("pick", "--within", bound), 2)


@pytest.mark.parametrize("command", [("pick", "elbow"), ("export", "--pick", "elbow", "--to", "nowhere")])
def test_an_unknown_pick_is_a_usage_error(command: tuple[str, ...], on_small: Cli) -> None:
    """Exit code 2, one line that lists the picks."""
    assert "unknown pick 'elbow': there is knee, best, or a trial's number" in one_line(on_small(*command), 2)
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [("run", "--trials", "0"), ("run", "--seed", "-1"), ("run", "--nonsense"), ("nonsense",), ("export",)],
)
def test_a_malformed_command_is_a_usage_error(arguments: tuple[str, ...], cli: Cli) -> None:
    """Exit code 2, with the message on standard error."""
    answer = cli(*arguments)
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert answer.stderr


# Failures


@pytest.mark.parametrize("command", ["front", "worker", "dashboard", "pick"])
def test_a_store_that_is_not_there_is_a_failure(command: str, cli: Cli, url: str, tmp_path: Path) -> None:
    """Exit code 1, one line naming the place, and nothing is made."""
    assert "there is no store at" in one_line(cli(command, "--storage", url), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_is_not_there_is_a_failure(on_small: Cli) -> None:
    """Exit code 1, and the line lists the studies of the store."""
    assert "no study 'large' is in" in one_line(on_small("front", "--study", "large"), 1)


def test_a_bound_that_nothing_satisfies_is_a_failure(on_small: Cli) -> None:
    """Exit code 1, and the line gives the nearest point."""
    assert "the nearest has accuracy" in one_line(on_small("pick", "--max-parameters", "1"), 1)


# Searching


@dataclass(frozen=True)
class Searched:
    """A search of three on the command line, and what it printed."""

    url: str
    answer: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """Done once, in a process of its own, with progress, the storage given by the environment."""
    url = f"sqlite:///{tmp_path_factory.mktemp('searched') / 'nas.db'}"
    answer = subprocess.run(
        [sys.executable, "-m", "paretonas", *RUN, "--trials", "3", "--json"],
        env={**os.environ, "PARETONAS_STORAGE": url},
        capture_output=True,
        text=True,
        check=True,
    )
    return Searched(url, answer)


def test_a_search_prints_one_json_document(searched: Searched) -> None:
    """With ``--json`` standard output is the front and nothing else; progress goes to standard error."""
    document = json.loads(searched.answer.stdout)
    study = pn.load_study("digits-mlp", storage=searched.url)
    assert document["study"] == "digits-mlp"
    assert document["trials"] == len(study.trials) == 3
    assert [point["trial"] for point in document["front"]] == [trial.number for trial in study.pareto_front]
    assert "trial 3/3" in searched.answer.stderr
    assert "hypervolume" in searched.answer.stderr


def test_the_environment_names_the_storage(searched: Searched, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """``PARETONAS_STORAGE`` is used where ``--storage`` is not given."""
    monkeypatch.setenv("PARETONAS_STORAGE", searched.url)
    assert json.loads(cli("front", "--json").stdout)["study"] == "digits-mlp"


def test_the_same_command_does_nothing_and_a_larger_number_goes_on(searched: Searched, cli: Cli) -> None:
    """Trials are a total; that nothing was left to do is said. A worker needs the storage only."""
    study = pn.load_study(storage=searched.url)
    again = cli(*RUN, "--trials", "3", "--storage", searched.url)
    assert again.returncode == 0
    assert "digits-mlp has 3 trials already" in again.stderr
    assert len(study.trials) == 3
    assert cli(*RUN, "--trials", "4", "--storage", searched.url, "--quiet").stderr == ""
    assert len(study.trials) == 4
    assert cli("worker", "--trials", "5", "--storage", searched.url, "--quiet").returncode == 0
    assert len(study.trials) == 5


def test_another_space_is_refused_naming_the_difference(searched: Searched, cli: Cli) -> None:
    """A study keeps the space that it was made with."""
    other = cli("run", "--study", "digits-mlp", "--objectives", "accuracy,parameters", "--storage", searched.url)
    message = one_line(other, 1)
    assert "'digits-mlp' exists with another definition" in message
    assert "space is of type 'mlp' there and 'conv' here" in message
    same_type = cli(
        "run",
        "--study",
        "digits-mlp",
        "--space",
        "mlp",
        "--objectives",
        "accuracy,parameters",
        "--storage",
        searched.url,
    )
    assert "space.training.epochs is 1 there and 10 here" in one_line(same_type, 1)


@pytest.mark.parametrize("space", SPACES)
def test_every_space_can_be_searched_by_its_word(space: str, cli: Cli, url: str) -> None:
    """``--space`` and ``--task`` are enough for a search and a pick."""
    answer = cli(
        *("run", "--space", space, "--task", DATA.get(space, "digits"), "--objectives", "accuracy,macs"),
        *("--trials", "1", "--epochs", "1", "--quiet", "--storage", url),
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"Pareto front of {DATA.get(space, 'digits')}-{space}: accuracy, macs" in answer.stdout
    document = json.loads(cli("pick", "knee", "--json", "--storage", url).stdout)
    assert document["values"].keys() == {"accuracy", "parameters", "macs", "test_accuracy"}


# Asking


def test_front_as_json_is_one_document(small: pn.Study, on_small: Cli) -> None:
    """Objectives with unit and direction, and each point with values and network."""
    document = json.loads(on_small("front", "--json").stdout)
    assert list(document["objectives"]) == ["accuracy", "parameters", "latency_ms"]
    assert [objective["direction"] for objective in document["objectives"].values()] == [
        "maximize",
        "minimize",
        "minimize",
    ]
    assert document["trials"] == 8
    for point, trial in zip(document["front"], small.pareto_front, strict=True):
        assert point["trial"] == trial.number
        assert point["values"] == trial.values
        assert pn.Architecture.from_json(point["architecture"]) == trial.architecture


def test_front_as_table_shows_every_point(small: pn.Study, on_small: Cli) -> None:
    """Number, accuracy, parameters and network of each point stand in one row, a long network on several lines."""
    answer = on_small("front")
    assert answer.returncode == 0
    rows: dict[str, list[str]] = {}
    for line in answer.stdout.splitlines():
        number, *cells = [cell.strip() for cell in line.strip("│ ").split("│")] if "│" in line else [""]
        if number.isdecimal():
            rows[number] = cells
        elif number and rows:  # the network goes on
            rows[list(rows)[-1]][-1] += f" {number}"
    for trial in small.pareto_front:
        cells = rows[str(trial.number)]
        assert f"{trial.values['accuracy']:.4f}" in cells
        assert f"{trial.values['parameters']:,.0f}" in cells
        assert cells[-1] == str(trial.architecture)


def test_front_says_how_many_failed(mixed: pn.Study, cli: Cli) -> None:
    """Under the table stand the number of failed trials and the reason of the last."""
    answer = cli("front", "--storage", mixed.store.url)
    assert answer.returncode == 0
    assert "2 trials failed, the last one: out_of_memory" in answer.stdout


def test_the_front_of_an_empty_study_is_said(cli: Cli, url: str) -> None:
    """No table, no crash; as JSON an empty list."""
    pn.create_study("empty", space=pn.MLPSpace(), storage=url)
    assert "empty: the front is empty, 0 trials failed" in cli("front", "--storage", url).stdout
    assert json.loads(cli("front", "--storage", url, "--json").stdout)["front"] == []


def test_any_study_name_can_be_printed(cli: Cli, url: str) -> None:
    """A name with square brackets is text, not mark-up of the terminal."""
    name = "a [red]b[/] [/c]"
    space = pn.MLPSpace(layers=0, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study(name, space=space, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    for command in ("front", "pick"):
        answer = cli(command, *(["knee"] if command == "pick" else []), "--storage", url)
        assert answer.returncode == 0
        assert name in answer.stdout


@pytest.mark.parametrize(
    "which",
    [
        ["knee"],
        ["best"],
        ["0"],
        ["--max-parameters", "100000"],
        ["--min-accuracy", "0"],
        ["--within", "accuracy=0", "--within", "macs = 1e9"],
    ],
)
def test_pick_as_json_is_one_document(small: pn.Study, on_small: Cli, which: list[str]) -> None:
    """The values of the pick, with its test accuracy, and its architecture."""
    document = json.loads(on_small("pick", *which, "--json").stdout)
    trial = small.pick(document["trial"])
    assert document["values"] == {**trial.values, **trial.test_metrics()}
    assert 0 <= document["values"]["test_accuracy"] <= 1
    assert pn.Architecture.from_json(document["architecture"]) == trial.architecture


def test_pick_as_table_gives_units(small: pn.Study, on_small: Cli) -> None:
    """Each figure stands with its unit."""
    answer = on_small("pick", "knee")
    assert f"Trial {small.pick('knee').number} of small" in answer.stdout
    for unit in ("on the validation split", "milliseconds per example", "trainable numbers", "on the test split"):
        assert unit in answer.stdout


def test_export_refuses_existing_files_unless_forced(small: pn.Study, on_small: Cli, tmp_path: Path) -> None:
    """Exit code 1 and nothing touched, then with ``--force`` overwritten."""
    folder = tmp_path / "out"
    document = json.loads(on_small("export", "--to", str(folder), "--json").stdout)
    knee = small.pick("knee")
    assert document == {
        "trial": knee.number,
        "folder": str(folder),
        "values": {**knee.values, **knee.test_metrics()},
        "files": ["README.md", "net.py", "net.safetensors", "train.py", "net.json"],
        "formats": {},
    }
    (folder / "net.py").write_text("mine")
    assert "would be overwritten" in one_line(on_small("export", "--to", str(folder)), 1)
    assert (folder / "net.py").read_text() == "mine"
    forced = on_small("export", "--to", str(folder), "--pick", "best", "--force")
    assert forced.returncode == 0
    assert f"trial {small.pick('best').number} is in {folder}" in forced.stdout
    assert f"Trial {small.pick('best').number} of" in (folder / "net.py").read_text(encoding="utf-8")


# Dashboard


@dataclass(frozen=True)
class Served:
    """A running dashboard: its process, the port that was asked for, and what it said first."""

    process: subprocess.Popen[str]
    asked: int
    said: str


@pytest.fixture(scope="module")
def served(small: pn.Study) -> Iterator[Served]:
    """A dashboard on the small study, started while its port was in use."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        asked = taken.getsockname()[1]
        arguments = ["dashboard", "--storage", small.store.url, "--port", str(asked)]
        process = subprocess.Popen(
            [sys.executable, "-m", "paretonas", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        yield Served(process, asked, process.stderr.readline())
    process.kill()
    process.communicate()


def port_of(served: Served) -> int:
    return int(served.said.split("http://127.0.0.1:")[1].split("/")[0])


def get(served: Served, path: str) -> bytes:
    """What the dashboard answers; it must be a success."""
    with closing(HTTPConnection("127.0.0.1", port_of(served), timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return response.read()


def test_the_dashboard_takes_the_next_free_port_of_this_machine(served: Served) -> None:
    """It listens on 127.0.0.1, prints the address, and says that the port asked for is in use."""
    assert served.asked < port_of(served) < served.asked + 20
    assert f"(port {served.asked} is in use)" in served.said


def test_the_dashboard_serves_page_studies_and_weights(small: pn.Study, served: Served) -> None:
    """The page, the list of studies, and the artifact of a trial can be fetched."""
    assert b"<html" in get(served, "/dashboard/").lower()
    [summary] = json.loads(get(served, "/api/studies"))["study_summaries"]
    assert summary["study_name"] == "small"
    knee = small.pick("knee")
    trial = small.optuna.get_trials()[knee.number]
    weights = get(served, f"/artifacts/{summary['study_id']}/{trial._trial_id}/{knee.evaluation.weights}")
    assert weights == (Path(small.store.artifacts.where) / str(knee.evaluation.weights)).read_bytes()


def test_ctrl_c_ends_the_dashboard(served: Served) -> None:
    """It ends at once and without a traceback. The last test that uses it."""
    served.process.send_signal(signal.SIGINT)
    began = time.monotonic()
    _, err = served.process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert served.process.returncode in (0, 130)
    assert "Traceback" not in err


def test_no_free_port_is_a_usage_error() -> None:
    """Ports are tried in order; an address that is not this machine's has none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port
    with pytest.raises(UsageError, match=r"no port from 8080 to 8099 is free on 192\.0\.2\.1"):
        free_port("192.0.2.1", 8080)
