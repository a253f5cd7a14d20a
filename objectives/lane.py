"""One measurement of time at a time on a host, while our own training there stands still.

Two files that all processes of a host share. Who measures holds the *gate* alone, and then the *training* file alone.
Who trains shares the training file, and looks between batches whether the gate is free: if not, it leaves the training
file until it is. These are locks of the system (flock), which frees them if their holder dies.

A training that does not answer within ``PATIENCE`` seconds (stopped by a debugger, a batch that takes so long) is not
waited for any longer: a latency is relative to a reference network that suffers as well (see latency.py).
"""

import fcntl
import gc
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

PATIENCE = 30.0
LOOK_EVERY = 5e-3
POLL = 5e-4
TMP = Path("/tmp")  # noqa: S108 - one place for all processes of a host, whatever their TMPDIR; the files stay empty


@dataclass
class _Here(threading.local):
    """What this thread is in. gate, training: the files, while it trains. looked: when it last looked at the gate."""

    gate: TextIO | None = None
    training: TextIO | None = None
    looked: float = 0.0
    measuring: bool = False


_here = _Here()


@contextmanager
def measuring() -> Iterator[None]:
    """Measure alone on this host: waits for who measures already, and for training to stand still.

    The garbage collector keeps quiet meanwhile. Inside of itself it does nothing; inside of ``training`` this thread
    counts as standing still.
    """
    if _here.measuring:
        yield
        return
    with ExitStack() as leaving:
        if _here.training is not None:
            _unlock(_here.training)
            leaving.callback(_wait_to_train)
        gate = leaving.enter_context(_open("measuring"))
        fcntl.flock(gate, fcntl.LOCK_EX)
        _wait_for_training(leaving.enter_context(_open("training")))
        leaving.callback(setattr, _here, "measuring", False)  # noqa: FBT003
        _here.measuring = True
        if gc.isenabled():
            leaving.callback(gc.enable)
            gc.disable()
        yield


@contextmanager
def training() -> Iterator[None]:
    """Train in this block, and call ``give_way`` after every batch. Waits while somebody measures.

    Inside of itself, or of ``measuring``, it does nothing.
    """
    if _here.training is not None or _here.measuring:
        yield
        return
    with _open("measuring") as gate, _open("training") as mine:
        _here.gate, _here.training = gate, mine
        try:
            _wait_to_train()
            yield
        finally:
            _here.gate = _here.training = None


def give_way() -> None:
    """Stand still as long as somebody measures on this host. Costs little, as it looks every five milliseconds."""
    gate, now = _here.gate, time.monotonic()
    if gate is None or _here.measuring or now - _here.looked < LOOK_EVERY:
        return
    _here.looked = now
    try:
        fcntl.flock(gate, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        assert _here.training is not None
        _finish_on_gpu()
        _unlock(_here.training)
        _wait_to_train()
    else:
        _unlock(gate)


def _wait_to_train() -> None:
    """Share the training file, once nobody measures."""
    assert _here.gate is not None
    assert _here.training is not None
    fcntl.flock(_here.gate, fcntl.LOCK_SH)
    fcntl.flock(_here.training, fcntl.LOCK_SH)  # at once: who has it alone has the gate too
    _unlock(_here.gate)


def _wait_for_training(file: TextIO) -> None:
    """Have the training file alone, or after PATIENCE seconds give up. The gate is held."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(POLL)


def _finish_on_gpu() -> None:
    """Wait for what was sent there: it would run on while this thread stands still."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _unlock(file: TextIO) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)


@contextmanager
def _open(name: str) -> Iterator[TextIO]:
    """A lock file of this host; whoever comes first makes it, for everybody to read.

    A process forked meanwhile has it open too, so it is unlocked, not just closed.
    """
    path = (TMP if TMP.is_dir() else Path(tempfile.gettempdir())) / f"paretonas-{name}.lock"
    if not path.exists():
        with suppress(FileExistsError):
            path.touch(exist_ok=False)
            path.chmod(0o644)
    with path.open(encoding="utf-8") as file:
        try:
            yield file
        finally:
            _unlock(file)
