"""Several worker processes on this machine."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from .. import own
from ..errors import StudyError
from .recovery import recover
from .worker import Budget, Lost

if TYPE_CHECKING:
    from .study import Study

TICK = 0.5  # seconds between looks at the store


def run_workers(
    study: "Study",
    count: int,
    budget: Budget,
    *,
    on_tick: Callable[[], None],
    on_lost_device: Lost = "stop",
) -> None:
    """Start ``count`` workers and wait for them; the store sees to it that together they keep to the budget.

    They are processes of ``paretonas worker``, so a script needs no main guard. Ctrl-C is passed on to each once.
    """
    with tempfile.TemporaryFile() as log:
        processes = [_start(study, budget, on_lost_device, log) for _ in range(count)]
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(TICK)
                on_tick()
        except BaseException:
            for process in processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
            for process in processes:
                process.wait()
            raise
        if any(process.returncode for process in processes):
            recover(study)
            if not budget.is_spent(study):
                log.seek(0)
                lines = log.read().decode(errors="replace").strip().splitlines()
                codes = ", ".join(str(process.returncode) for process in processes)
                raise StudyError(f"workers ended early (exit {codes}): {lines[-1] if lines else 'they said nothing'}")


def _start(study: "Study", budget: Budget, on_lost_device: Lost, log: BinaryIO) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "paretonas",
        "worker",
        "--study",
        study.name,
        "--trials",
        str(budget.trials),
        "--quiet",
    ]
    command += ["--artifacts", str(study.store.artifacts.folder), "--on-lost-device", on_lost_device]
    if budget.epochs is not None:
        command += ["--total-epochs", str(budget.epochs)]
    if budget.deadline is not None:
        command += ["--timeout", str(max(0.01, budget.deadline - time.monotonic()))]
    environment = {
        **os.environ,
        "PARETONAS_STORAGE": study.store.url,  # not an argument: it may hold a password
        own.VARIABLE: ",".join(sorted(own.trusted())),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # the caller's own code is found where it found it
    }
    return subprocess.Popen(  # noqa: S603 - our own command
        command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
    )
