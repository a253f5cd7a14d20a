"""What a search shows while it runs: on a terminal, where there is none, and to machines."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import paretonas as pn
from paretonas.errors import StudyError, UsageError
from paretonas.search.front import hypervolume, knee
from paretonas.search.views.progress import ASCII_SPARKS, SPARKS, sparkline
from paretonas.search.views.standing import Asked, Standing

BRIEF = pn.TrainingSpace(epochs=1, finetune_epochs=0)
SPACE = pn.MLPSpace(layers=(1, 2), widths=[4, 8, 16, 32], pruning=0.0, training=BRIEF)
RUN = ("run", "--space", "mlp", "--objectives", "accuracy,parameters", "--epochs", "1")
HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"  # of the cursor
Cli = Callable[..., subprocess.CompletedProcess[str]]


def search(url: str, name: str = "shown") -> pn.Study:
    return pn.create_study(name, space=SPACE, objectives=["accuracy", "parameters"], storage=url)


def on_terminal(
    *arguments: str, until: bytes = b"", send: signal.Signals | None = None, rows: int = 30, columns: int = 90
) -> tuple[int, bytes]:
    """Run a command on a terminal of this size; once ``until`` is on it, send a signal. Exit code, all that it said."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(
        [sys.executable, "-m", "paretonas", *arguments],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said, deadline = b"", time.monotonic() + 240
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    said += os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
            if send is not None and until in said:
                process.send_signal(send)
                send = None
        return process.wait(60), said
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def events(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


# on a terminal


def test_a_terminal_shows_the_front_and_how_it_grew(url: str) -> None:
    """A bar, a line of results, the hypervolume as blocks, the front as a table; the cursor is there again."""
    code, said = on_terminal(*RUN, "--trials", "5", "--storage", url)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode())
    assert code == 0
    study = pn.load_study(storage=url)
    assert "trial 5/5" in shown
    assert re.search(rf"hypervolume [{SPARKS}]{{32}}", shown)
    assert re.search(r"trial +accuracy +parameters", shown)
    best = study.pick("best")
    assert re.search(rf"{best.number} +{best.values['accuracy']:.4f} +{best.values['parameters']:,.0f}", shown)
    assert said.count(HIDE) == said.count(SHOW) == 1
    assert said.rfind(SHOW) > said.rfind(HIDE)


@pytest.mark.parametrize(
    ("signal_", "more"), [(signal.SIGINT, ()), pytest.param(signal.SIGTERM, ("--workers", "2"), marks=pytest.mark.long)]
)
def test_an_interruption_leaves_the_terminal_whole(url: str, signal_: signal.Signals, more: tuple[str, ...]) -> None:
    """The cursor is shown, the message says how to go on, and what had finished is kept."""
    code, said = on_terminal(*RUN, "--trials", "400", "--storage", url, *more, until=b"accuracy", send=signal_)
    assert code == 130
    assert b"the same command goes on" in said.replace(b"\r\n", b"")
    assert said.rfind(SHOW) > said.rfind(HIDE) > -1
    assert 0 < len(pn.load_study(storage=url).trials) < 400


@pytest.mark.long
def test_an_error_leaves_the_terminal_whole(url: str) -> None:
    """As the end of a search whose space is exhausted; a small terminal is enough."""
    study = pn.create_study(
        "digits-mlp",
        space=pn.MLPSpace(layers=1, widths=[4, 8], pruning=0.0, activations=["relu"], training=BRIEF),
        objectives=["accuracy", "parameters"],
        storage=url,
    )
    code, said = on_terminal("worker", "--trials", "9", "--storage", url, rows=6, columns=30)
    assert code == 1
    assert len(study.trials) == 2
    assert b"exhausted" in said.replace(b"\r\n", b"")
    assert said.rfind(SHOW) > said.rfind(HIDE) > -1


def test_what_is_printed_into_a_file_stays_there(url: str, tmp_path: Path) -> None:
    """Progress on the terminal takes nothing of a standard output that is none."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import sys, paretonas as pn
sys.stdout = open({str(tmp_path / "out")!r}, "w")
study = pn.load_study(storage={url!r})
work = study.store.add_epoch
def add(*a, **k):
    print("an epoch")
    return work(*a, **k)
study.store.add_epoch = add
study.optimize(2)
""")
    search(url)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, str(script)], stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    with suppress(OSError):  # the other end is closed when the process has ended
        while os.read(ours, 65536):
            pass
    os.close(ours)
    assert process.wait(60) == 0
    assert (tmp_path / "out").read_text() == "an epoch\n" * 2


# where there is none


def test_without_a_terminal_there_are_at_most_eleven_lines(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One for every tenth; without control characters, and nothing on standard output."""
    study = search(url)
    study.optimize(12)
    out, err = capsys.readouterr()
    assert out == ""
    assert 10 <= len(err.splitlines()) <= 12
    assert "\x1b" not in err
    assert err.splitlines()[-1].startswith("trial 12/12 · 0:00 left · front ")
    study.optimize(13, show_progress=False)
    assert capsys.readouterr().err == ""


# to machines


def test_machines_are_told_each_event_as_a_line(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Started, each trial once, how it goes, done; the figures are those of the study."""
    study = search(url)
    study.optimize(2, show_progress=False)
    study.optimize(5, log_format="json")
    told = events(capsys.readouterr().err)
    assert [told[0]["event"], told[-1]["event"]] == ["started", "done"]
    assert told[0]["trials"] == 2
    assert told[0]["asked"] == {"trials": 5, "epochs": None, "seconds": None}
    assert {name: one["direction"] for name, one in told[0]["objectives"].items()} == {  # type: ignore[attr-defined]
        "accuracy": "maximize",
        "parameters": "minimize",
    }
    trials = {trial.number: trial for trial in study.trials}
    ended = [event for event in told if event["event"] == "trial"]
    assert {event["trial"] for event in ended} == {number for number in trials if number >= 2}
    for event in ended:
        trial = trials[event["trial"]]  # type: ignore[index]
        assert (event["state"], event["values"]) == (trial.state, dict(trial.evaluation.values))
    assert told[-1]["trials"] == 5
    assert told[-1]["front"] == len(study.pareto_front)
    assert told[-1]["best"] == {"accuracy": study.pick("best").values["accuracy"]}
    values = [trial.values for trial in study.trials if trial.feasible]
    assert told[-1]["hypervolume"] == pytest.approx(hypervolume(values, study.definition.resolved_objectives))
    assert all(event["study"] == "shown" and str(event["time"]).endswith("+00:00") for event in told)


@pytest.mark.long
def test_two_workers_are_told_of_once(url: str) -> None:
    """By the process that leads the search; standard output has the front alone."""
    answer = subprocess.run(
        [sys.executable, "-m", "paretonas", *RUN, "--trials", "4", "--workers", "2", "--storage", url,
         "--log-format", "json", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    told = events(answer.stderr)
    assert sorted(event["trial"] for event in told if event["event"] == "trial") == [  # type: ignore[type-var]
        trial.number for trial in pn.load_study(storage=url).trials if trial.state != "refused"
    ]
    assert json.loads(answer.stdout)["trials"] == 4


def test_machines_are_told_of_errors_as_lines(url: str, cli: Cli) -> None:
    """Also of those before the search begins; nothing else is on standard error."""
    pn.create_study(
        "digits-mlp",
        space=pn.MLPSpace(layers=1, widths=[4, 8], pruning=0.0, activations=["relu"], training=BRIEF),
        objectives=["accuracy", "parameters"],
        storage=url,
    )
    answer = cli("worker", "--trials", "9", "--storage", url, "--log-format", "json")
    told = events(answer.stderr)
    assert answer.returncode == 1
    assert [event["event"] for event in told[-2:]] == ["failed", "error"]
    assert "exhausted" in str(told[-2]["error"])
    assert "exhausted" in str(told[-1]["message"])
    assert "paretonas: " in cli("worker", "--storage", "sqlite:////nowhere/nas.db").stderr


def test_an_unknown_format_is_refused(url: str) -> None:
    """Before anything runs."""
    with pytest.raises(UsageError, match="log format"):
        search(url).optimize(1, log_format="xml")  # type: ignore[arg-type]


# what is counted


def test_an_empty_study_has_a_standing(url: str) -> None:
    """No trial, no curve, no front; the line says so much."""
    standing = Standing(search(url), Asked(4, None, None))
    standing.read()
    assert standing.work == ["trial 0/4"]
    assert (standing.results, standing.front, standing.curve(8)) == ([], [], [])
    assert standing.to_json() == {"trials": 0, "stopped": 0, "refused": 0, "failed": {}, "epochs": 0, "front": 0}


def test_the_curve_never_falls_and_ends_at_the_hypervolume(small: pn.Study) -> None:
    """In one box for all its points, whether it was read at once or trial by trial."""
    at_once = Standing(small, Asked(8, None, None))
    at_once.read()
    curve = at_once.curve(8)
    assert curve == sorted(curve)
    values = [trial.values for trial in small.trials if trial.feasible]
    assert curve[-1] == pytest.approx(hypervolume(values, small.definition.resolved_objectives))
    front = at_once.front
    assert {point.trial for point in front} == {trial.number for trial in small.pareto_front}
    chosen = front[knee([point.values for point in front], small.definition.resolved_objectives)]
    assert chosen.values["parameters"] == small.pick("knee").values["parameters"]


def test_failures_are_counted_by_kind(mixed: pn.Study) -> None:
    """As the line has always said."""
    standing = Standing(mixed, Asked(7, None, None))
    standing.read()
    assert any("failed 2 (out_of_memory 2)" in part for part in standing.results)


def test_a_sparkline_is_as_high_as_its_values() -> None:
    """From 0 to the largest; flat lines and nothing are drawn too."""
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.0, 0.2, 0.4], ASCII_SPARKS) == "_+@"
    assert (sparkline([]), sparkline([0.0, 0.0])) == ("", "▁▁")


def test_a_search_that_is_refused_shows_nothing(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A budget that is none is said before the terminal is touched."""
    with pytest.raises(UsageError):
        search(url).optimize()
    with pytest.raises((UsageError, StudyError)):
        search(url).optimize(0)
    assert capsys.readouterr().err == ""
