"""One measurement at a time on a host, while training stands still: with real processes, killed ones too."""

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
import torch

from paretonas.objectives import lane
from paretonas.objectives.tasks import as_task
from paretonas.objectives.training import train
from paretonas.spaces import Architecture, Block, Head, Training, build

START = """
import importlib.util, os, sys, time
from pathlib import Path
spec = importlib.util.spec_from_file_location("lane", sys.argv[1])  # without torch, which takes seconds to import
lane = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lane)
lane.TMP = Path(sys.argv[2])
"""
MEASURER = """
with lane.measuring():
    print("in", flush=True)
    sys.stdin.readline()
    print(time.monotonic(), flush=True)
"""
TRAINER = """
with lane.training():
    print("in", flush=True)
    while True:
        began = time.monotonic()
        time.sleep(0.02)
        print(began, time.monotonic(), file=sys.stderr, flush=True)
        lane.give_way()
"""
DEAF = """
with lane.training():
    print("in", flush=True)
    sys.stdin.readline()
"""
FORKING = """
with lane.training():
    child = os.fork()
    if not child:
        sys.stdin.readline()
        os._exit(0)
print("in", flush=True)
sys.stdin.readline()
"""
BOTH = """
for turn in range(15):
    with lane.training():
        for batch in range(5):
            began = time.monotonic()
            time.sleep(0.002)
            print("trained", began, time.monotonic(), flush=True)
            lane.give_way()
            if batch == turn % 5:
                with lane.measuring():
                    began = time.monotonic()
                    time.sleep(0.002)
                    print("measured", began, time.monotonic(), flush=True)
"""


@pytest.fixture(autouse=True)
def own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock files that nobody else on this host uses."""
    monkeypatch.setattr(lane, "TMP", tmp_path)
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts another process, and returns once it is inside; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, errors: Path | None = None) -> subprocess.Popen[str]:
        log = (errors or tmp_path / f"errors-{len(started)}").open("w", encoding="utf-8")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-c", START + code, lane.__file__, str(tmp_path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        started.append(process)
        assert process.stdout is not None
        if code is not BOTH:
            assert process.stdout.readline() == "in\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def measurement() -> tuple[Thread, list[float]]:
    """A measurement in a thread, and the list that gets the time at which it began."""
    began: list[float] = []

    def run() -> None:
        with lane.measuring():
            began.append(time.monotonic())

    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread, began


def is_free() -> bool:
    """Whether a measurement would begin at once."""
    thread, _ = measurement()
    thread.join(timeout=5)
    return not thread.is_alive()


Start = Callable[..., "subprocess.Popen[str]"]


# measurements among themselves


def test_two_processes_take_turns(start: Start) -> None:
    """A measurement waits until that of another process has ended."""
    other = start(MEASURER)
    thread, began = measurement()
    thread.join(timeout=0.3)
    assert began == []
    freed, _ = other.communicate("stop\n", timeout=60)
    thread.join(timeout=60)
    assert began[0] > float(freed)


def test_the_turn_of_a_killed_process_ends(start: Start) -> None:
    """Kill -9 of a measuring process frees the lane."""
    other = start(MEASURER)
    thread, began = measurement()
    thread.join(timeout=0.3)
    assert began == []
    other.kill()
    thread.join(timeout=60)
    assert began


def test_measuring_inside_of_measuring_goes_on() -> None:
    """And the lane stays taken until the outer one ends."""
    with lane.measuring():
        with lane.measuring():
            pass
        thread, began = measurement()
        thread.join(timeout=0.2)
        assert began == []
    thread.join(timeout=60)
    assert began


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_quiet(enabled: bool) -> None:  # noqa: FBT001
    """While measuring, also if that fails; then it is as it was."""
    (gc.enable if enabled else gc.disable)()
    try:
        seen = []
        with suppress(RuntimeError), lane.measuring():
            seen.append(gc.isenabled())
            raise RuntimeError("broken")
        assert seen == [False]
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


# measurements and training


def test_training_stands_still_while_another_process_measures(start: Start, tmp_path: Path) -> None:
    """No batch begins or ends during the measurement, and they go on after it."""
    log = tmp_path / "batches"
    trainer = start(TRAINER, log)
    with lane.measuring():
        began = time.monotonic()
        time.sleep(0.3)
        ended = time.monotonic()
    time.sleep(0.3)
    trainer.kill()
    batches = [[float(word) for word in line.split()] for line in log.read_text().splitlines()]
    assert any(end < began for _, end in batches)
    assert any(start > ended for start, _ in batches)
    assert not [batch for batch in batches if batch[1] > began and batch[0] < ended]


def test_a_killed_training_is_not_waited_for(start: Start) -> None:
    """Kill -9 in the middle of a batch frees the lane."""
    deaf = start(DEAF)
    thread, began = measurement()
    thread.join(timeout=0.3)
    assert began == []
    deaf.kill()
    thread.join(timeout=10)
    assert began


def test_a_stopped_training_is_waited_for_with_patience(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a user has suspended does not hold up every study of the host."""
    monkeypatch.setattr(lane, "PATIENCE", 0.4)
    trainer = start(TRAINER)
    trainer.send_signal(signal.SIGSTOP)
    asked = time.monotonic()
    with lane.measuring():
        waited = time.monotonic() - asked
    trainer.send_signal(signal.SIGCONT)
    assert 0.4 <= waited < 5
    assert is_free()


def test_a_forked_process_does_not_keep_the_lane(start: Start) -> None:
    """Data loaders fork; what they inherit is no training once the epoch has ended."""
    start(FORKING)
    assert is_free()


def test_measuring_while_training_goes_on() -> None:
    """A process does not wait for itself, and trains again afterwards: others have to wait for it."""
    with lane.training():
        with lane.measuring():
            pass
        thread, began = measurement()
        thread.join(timeout=0.2)
        assert began == []
        lane._here.looked = 0.0
        lane.give_way()
        thread.join(timeout=60)
        assert began
    assert is_free()


def test_no_batch_overlaps_a_measurement(start: Start) -> None:
    """Three processes that train and measure in turns all finish, and what they measure is alone."""
    events = []
    for process in [start(BOTH) for _ in range(3)]:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        for what, first, last in (line.split() for line in out.splitlines()):
            events.append((what, float(first), float(last), process.pid))
    assert len(events) == 3 * 15 * 6
    for what, began, ended, pid in events:
        for _, other_began, other_ended, other_pid in events:
            if what == "measured" and pid != other_pid:
                assert other_ended <= began or other_began >= ended


def test_giving_way_costs_little() -> None:
    """Less than 5 microseconds a batch where nobody waits, inside of training and outside."""
    with lane.training():
        best = min(_microseconds(lane.give_way) for _ in range(20))
    assert best < 5
    assert min(_microseconds(lane.give_way) for _ in range(20)) < 5


def _microseconds(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(1000):
        call()
    return (time.perf_counter() - began) * 1e3


# the training loop


def an_epoch() -> Iterator[object]:
    """Three epochs of a small network."""
    task = as_task("digits")
    data = task.load()
    architecture = Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=8)), (Head(10),))
    return train(build(architecture, seed=0), data, Training(epochs=3), seed=0)


def test_epochs_are_trained_in_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each batch looks whether somebody measures; between epochs and after them the lane is free."""
    seen: list[bool] = []
    give_way = lane.give_way

    def looking() -> None:
        seen.append(lane._here.training is not None)
        give_way()

    monkeypatch.setattr(lane, "give_way", looking)
    epochs = an_epoch()
    next(epochs)
    assert len(seen) > 1
    assert all(seen)
    assert is_free()
    next(epochs)
    epochs.close()  # type: ignore[attr-defined]
    assert is_free()


def test_training_waits_for_a_measurement(start: Start) -> None:
    """An epoch begins once the other process has measured."""
    epochs = an_epoch()
    other = start(MEASURER)
    done: list[float] = []

    def run() -> None:
        next(epochs)
        done.append(time.monotonic())

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=1)
    assert done == []
    freed, _ = other.communicate("stop\n", timeout=60)
    thread.join(timeout=60)
    assert done[0] > float(freed)


def test_a_failed_epoch_leaves_the_lane() -> None:
    """A network that diverges does not keep others from measuring."""
    task = as_task("digits")
    architecture = Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=8)), (Head(10),))
    network = build(architecture, seed=0)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(Exception, match="the loss became nan"):
        next(iter(train(network, task.load(), Training(epochs=1), seed=0)))
    assert is_free()


def test_the_files_are_for_everybody(tmp_path: Path) -> None:
    """Whoever may not write them can still take its turn."""
    before = os.umask(0o077)
    try:
        with lane.measuring():
            pass
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.glob("paretonas-*.lock")}
    assert modes == {0o644}
