"""Where the workers of a search run: what a place has to know, and processes on this machine."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, BinaryIO

from .. import own
from .worker import PARENT, Budget, Terms

if TYPE_CHECKING:
    from .study import Study

SAID = (0, 1, 2, 130)  # exit codes of a worker that says why it ends; another one died
PLACES = ("local", "ray")


class Worker(ABC):
    """A worker that was started somewhere."""

    @abstractmethod
    def poll(self) -> int | None:
        """The exit code, as ``paretonas worker`` has it, and another one if it died; None while it is wanted."""

    @abstractmethod
    def interrupt(self) -> None:
        """Have it put back what it has in hand, and end, as Ctrl-C does."""


class Place(ABC):
    """Starts workers of a study. What they do there, the store decides."""

    @abstractmethod
    def start(self) -> Worker: ...

    @abstractmethod
    def said(self) -> str:
        """The last line that a worker which ended has left; empty if none has."""


Where = Callable[["Study", Budget, Terms], AbstractContextManager[Place]]


def is_over(study: "Study", budget: Budget) -> bool:
    """Whether workers that end early are not missed."""
    return budget.is_spent(study) or study.store.is_asked_to_stop(study.id)


def seconds_left(budget: Budget) -> float | None:
    """Of the budget's time, above 0; None if it has no end."""
    return None if budget.deadline is None else max(0.01, budget.deadline - time.monotonic())


@contextmanager
def on_this_machine(study: "Study", budget: Budget, terms: Terms) -> Iterator[Place]:
    """Processes of ``paretonas worker``, so a script needs no main guard."""
    with tempfile.TemporaryFile() as log:
        yield _Machine(study, budget, terms, log)


def start_process(study: "Study", arguments: Sequence[str], log: BinaryIO) -> subprocess.Popen[bytes]:
    """A command of ours on a study, in a process that ends with this one and says what it says into a log."""
    environment = {
        **os.environ,
        "PARETONAS_STORAGE": study.store.url,  # not an argument: it may hold a password
        PARENT: str(os.getpid()),
        own.VARIABLE: ",".join(sorted(own.trusted())),
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),  # the caller's own code is found where it found it
    }
    return subprocess.Popen(  # noqa: S603 - our own command
        [sys.executable, "-m", "paretonas", *arguments, "--artifacts", study.store.artifacts.where],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


class _Machine(Place):
    def __init__(self, study: "Study", budget: Budget, terms: Terms, log: BinaryIO) -> None:
        self._study, self._budget, self._terms, self._log = study, budget, terms, log

    def start(self) -> "_Process":
        return _Process(start_process(self._study, ["worker", "--quiet", *self._options()], self._log))

    def said(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].removeprefix("paretonas: ") if lines else ""

    def _options(self) -> list[str]:
        options = {
            "--study": self._study.name,
            "--trials": self._budget.trials,
            "--total-epochs": self._budget.epochs,
            "--timeout": seconds_left(self._budget),
            "--on-lost-device": self._terms.on_lost_device,
            "--max-failed": self._terms.max_failed,
            "--lease": self._terms.lease,
            "--checkpoint-every": self._terms.checkpoint_every,
        }
        return [text for option, value in options.items() if value is not None for text in (option, str(value))]


class _Process(Worker):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def poll(self) -> int | None:
        return self._process.poll()

    def interrupt(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
