"""Workers on a Ray cluster: a task each, which Ray places. The store does the co-ordination, as everywhere."""

import contextlib
import importlib
import logging
import os
import platform
import re
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from .. import own
from ..errors import ParetonasError, StudyError, UsageError
from ..storage.artifacts import S3
from ..storage.saying import first_line, shown, without_password
from .places import Place, Worker, is_over, seconds_left
from .worker import Budget, Terms

if TYPE_CHECKING:
    from .study import Study

LOOK = 5.0  # seconds between looks at the cluster, while workers wait for room
LONG = 60.0  # seconds of waiting after which it is said
LATE = 10.0  # seconds after which the time that is left to a worker has to be counted from when it was started
PATIENCE = 10.0  # seconds, with a cluster that does not answer
DIED = -1  # exit code
INTERRUPTED = 130
BEGUN = (DIED, "begun")  # the first answer of a task
MISSING = re.compile(r"No module named '([\w.]+)'")


@dataclass(frozen=True)
class Job:
    """All that a worker is told. folder: where the caller stands. paths: where the caller finds modules.

    machine: the only one that has the store; empty if it is a server. arguments: of ``Study.optimize``.
    """

    storage: str = field(repr=False)  # it may hold a password
    artifacts: str
    study: str
    trust: tuple[str, ...]
    folder: str
    paths: tuple[str, ...]
    machine: str
    arguments: dict[str, Any]


@contextmanager
def on_ray(
    study: "Study", budget: Budget, terms: Terms, *, gpus: float = 0.0, address: str | None = None
) -> Iterator[Place]:
    """Tasks on the cluster at ``address``, or RAY_ADDRESS; else on one of this machine, which is started if needed.

    Each has as many CPUs as the study has threads. gpus: for each, also a share of one. Where this process is connected
    to a cluster already, it is that one. StudyError if the cluster cannot be reached, UsageError without Ray.
    """
    ray = _ray()
    with _connected(ray, address):
        machine = platform.node() if make_url(study.store.url).get_backend_name() == "sqlite" else ""
        others = {node["NodeManagerHostname"] for node in _nodes(ray)} - {machine}
        if machine and others:
            raise UsageError(
                f"workers on several machines need a database server, such as PostgreSQL, {shown(study.store.url)} is "
                f"a file of {machine}, and {', '.join(sorted(others))} cannot share it"
            )
        study.store.artifacts.prepare()
        yield _Cluster(ray, study, budget, terms, gpus, machine)


class _Cluster(Place):
    def __init__(
        self, ray: ModuleType, study: "Study", budget: Budget, terms: Terms, gpus: float, machine: str
    ) -> None:
        self.ray, self.study, self.budget = ray, study, budget
        self._terms, self._machine, self._needs = terms, machine, {"CPU": float(study.definition.threads), "GPU": gpus}
        self._task = ray.remote(_work).options(
            name="paretonas worker",
            num_cpus=study.definition.threads,
            num_gpus=gpus,
            max_retries=0,  # who is replaced is decided in one place
            num_returns="streaming",
        )
        self._looked, self._over, self._warned = -LOOK, False, False
        self.last = ""

    def start(self) -> "_Task":
        return _Task(self, self._task.remote(self._job()))

    def said(self) -> str:
        return self.last

    def has_room(self, since: float) -> bool:
        """Whether it is worth to wait for room. since: of ``time.monotonic()``. StudyError if no node ever has it."""
        if time.monotonic() - self._looked < LOOK:
            return not self._over
        self._looked, self._over = time.monotonic(), is_over(self.study, self.budget)
        nodes = [node["Resources"] for node in _nodes(self.ray)]
        needed = " and ".join(f"{count:g} {kind}s" for kind, count in self._needs.items() if count)
        if not any(all(node.get(kind, 0.0) >= count for kind, count in self._needs.items()) for node in nodes):
            most = {kind: max((node.get(kind, 0.0) for node in nodes), default=0.0) for kind in self._needs}
            there = " and ".join(f"{count:g} {kind}s" for kind, count in most.items())
            raise StudyError(
                f"a worker needs {needed} on one node, and the nodes of the Ray cluster have {there} at most: "
                "ask for less, or add a node"
            )
        if not self._warned and time.monotonic() - since > LONG:
            self._warned = True
            warnings.warn(
                f"workers wait for room: each needs {needed}, and the Ray cluster is busy or has too few", stacklevel=2
            )
        return not self._over

    def _job(self) -> Job:
        store, artifacts = self.study.store, self.study.store.artifacts.where
        return Job(
            storage=store.url,
            artifacts=artifacts if artifacts.startswith(S3) else str(Path(artifacts).absolute()),
            study=self.study.name,
            trust=tuple(sorted(own.trusted())),
            folder=str(Path.cwd()),
            paths=tuple(filter(None, sys.path)),
            machine=self._machine,
            arguments={
                "n_trials": self.budget.trials,
                "n_epochs": self.budget.epochs,
                "timeout": seconds_left(self.budget),
                **asdict(self._terms),
            },
        )


class _Task(Worker):
    """answers: of the task: that it has begun, and how it ended."""

    def __init__(self, cluster: _Cluster, answers: Any) -> None:
        self._cluster, self._answers = cluster, answers
        self._started = time.monotonic()
        self._code: int | None = None
        self._begun = self._late = self._interrupted = False

    def poll(self) -> int | None:
        while self._code is None and self._cluster.ray.wait([self._answers], timeout=0)[0]:
            self._take(next(self._answers))
        if self._code is None and not self._interrupted and not self._is_wanted():
            self.interrupt()
        return self._code

    def interrupt(self) -> None:
        if self._code is None and not self._interrupted:
            self._interrupted = True
            self._cluster.ray.cancel(self._answers)

    def _is_wanted(self) -> bool:
        if not self._begun:
            return self._cluster.has_room(self._started)
        return not self._late or not self._cluster.budget.is_over

    def _take(self, answer: Any) -> None:
        ray = self._cluster.ray
        errors = ray.exceptions
        try:
            code, said = ray.get(answer)
        except errors.TaskCancelledError:
            code, said = INTERRUPTED, "it was interrupted"
        except (errors.RayTaskError, errors.RuntimeEnvSetupError, errors.TaskUnschedulableError) as error:
            code, said = 1, self._explained(error)
        except errors.RayError as error:  # with its node, or alone
            code, said = DIED, f"{type(error).__name__}: {self._explained(error)}"
        if (code, said) == BEGUN:
            self._begun, self._late = True, time.monotonic() - self._started > LATE
            return
        self._code, self._cluster.last = code, said or self._cluster.last

    def _explained(self, error: Exception) -> str:
        """What came out of Ray, as one sentence."""
        if missing := MISSING.search(str(error)):
            return f"a node of the Ray cluster has no module {missing[1]!r}: install paretonas with all it needs there"
        lines = str(error).strip().splitlines() or [type(error).__name__]
        last = lines[-1] if isinstance(error, self._cluster.ray.exceptions.RayTaskError) else lines[0]
        return without_password(last, self._cluster.study.store.url)


def _work(job: Job) -> Iterator[tuple[int, str]]:
    """The task: says that it has begun, works, and says how it ended, as an exit code and a sentence."""
    yield BEGUN
    try:
        _help(job)
    except ParetonasError as error:
        yield 2 if isinstance(error, UsageError) else 1, str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said where the search was started
        yield 1, without_password(f"{type(error).__name__}: {first_line(error)}", job.storage)
    else:
        yield 0, ""


def _help(job: Job) -> None:
    import optuna

    from .study import load_study

    here = platform.node()
    if job.machine and here != job.machine:
        raise UsageError(f"{shown(job.storage)} is a file of {job.machine}: {here} needs a database server")
    if not job.artifacts.startswith(S3) and not Path(job.artifacts).is_dir():
        raise UsageError(
            f"{here} has no folder {job.artifacts}: --artifacts has to name one that all nodes share, or {S3}"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sys.path.extend(path for path in job.paths if path not in sys.path and Path(path).is_dir())
    with contextlib.chdir(job.folder if Path(job.folder).is_dir() else os.curdir):
        study = load_study(job.study, storage=job.storage, artifacts=job.artifacts, trust=job.trust)
        study.optimize(**job.arguments, show_progress=False, helping=True)


def _ray() -> ModuleType:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise UsageError("workers on a cluster need Ray: pip install 'paretonas[ray]'") from error


@contextmanager
def _connected(ray: ModuleType, address: str | None) -> Iterator[None]:
    """Connect to the cluster, unless the caller has."""
    if ray.is_initialized():
        yield
        return
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    if "://" in where:
        raise UsageError(
            f"a Ray cluster is reached from one of its machines, at HOST:PORT or as auto, {where!r} was given"
        )
    logging.getLogger("ray").setLevel(logging.ERROR)  # or it speaks of its token on standard error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # of a cluster that is started here
    try:
        if re.fullmatch(r".+:\d+", where):  # Ray itself waits for minutes, and then ends the process
            host, _, port = where.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
        ray.init(address=address, include_dashboard=False, log_to_driver=False, configure_logging=False)
    except (OSError, OverflowError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise StudyError(f"the Ray cluster at {where} cannot be reached: {first_line(error)}") from error
    try:
        yield
    finally:
        ray.shutdown()


def _nodes(ray: ModuleType) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]
