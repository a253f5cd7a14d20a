"""A study as a TOML file: all that a script can say."""

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self

from .. import own
from ..errors import UsageError, one_of
from ..objectives import TASKS, Digits, Task, as_task
from ..spaces import ConvSpace, Space, as_space
from ..spaces.architecture import Json
from .creation import create_study
from .study import DEFAULT_STORAGE, Study

TRIALS = 30  # of a search that says nothing of them
TEXT, WHOLE, NUMBER = (str, "text"), (int, "a whole number"), (int | float, "a number")
KINDS: dict[str, tuple[type | UnionType, str]] = {
    "study": TEXT,
    "space": (dict, "a table with a type and the space's fields"),
    "task": (str | dict, "a word, or a table with a type and the task's fields"),
    "objectives": (list, "a list of names"),
    "constraints": (list, "a list such as ['parameters <= 50_000']"),
    "storage": TEXT,
    "artifacts": TEXT,
    "sampler": TEXT,
    "stopping": TEXT,
    "seed": WHOLE,
    "threads": WHOLE,
    "device": TEXT,
    "teacher": TEXT,
    "moves": NUMBER,
    "trial_timeout": NUMBER,
    "keep": TEXT,
    "repeat": (bool, "true or false"),
    "trials": WHOLE,
    "total_epochs": WHOLE,
    "timeout": NUMBER,
    "workers": WHOLE,
    "on": TEXT,
    "gpus_per_worker": NUMBER,
    "ray_address": TEXT,
    "max_failed": NUMBER,
    "lease": NUMBER,
    "checkpoint_every": NUMBER,
}


@dataclass(frozen=True)
class StudyFile:
    """The arguments of ``create_study`` and ``Study.optimize`` as one record; its defaults are the default job."""

    study: str | None = None
    space: Space = ConvSpace()
    task: Task = Digits()
    objectives: tuple[str, ...] | None = None
    constraints: tuple[str, ...] = ()
    storage: str = DEFAULT_STORAGE
    artifacts: str | None = None
    sampler: str | None = None
    stopping: str | None = None
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    teacher: str = ""
    moves: float = 0.0
    trial_timeout: float | None = None
    keep: str = "all"
    repeat: bool = False
    trials: int | None = None
    total_epochs: int | None = None
    timeout: float | None = None
    workers: int = 1
    on: Literal["local", "ray"] = "local"
    gpus_per_worker: float | None = None
    ray_address: str | None = None
    max_failed: float = 0.5
    lease: float = 60.0
    checkpoint_every: float = 30.0

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a TOML file: the fields as keys, space and task as tables with their ``type`` and fields.

        A range is a table with ``low``, ``high`` and, if wanted, ``step`` or ``log``. The task's paths are relative to
        the file's folder. Code that the file names is trusted. UsageError says what is wrong.
        """
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"the study file {file} cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UsageError(f"the study file {file} is not TOML: {error}") from error
        for name, value in data.items():
            one_of(f"key of {file}", name, KINDS)
            kind, words = KINDS[name]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise UsageError(f"{name} of {file} must be {words}, {value!r} was given")
        if "space" in data:
            data["space"] = as_space(data["space"])
        if "task" in data:
            data["task"] = as_task(_from_folder(data["task"], file.parent))
            own.trust(own.names(data["task"].to_json()))
        for name in {"objectives", "constraints"} & data.keys():
            data[name] = tuple(map(str, data[name]))
        return cls(**data)

    def with_changes(self, **changes: Any) -> Self:
        """The same with those values that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    @property
    def n_trials(self) -> int | None:
        """The trials that are asked for: TRIALS, unless epochs bound the search instead."""
        return TRIALS if self.trials is None and self.total_epochs is None else self.trials

    def create(self) -> Study:
        """Make or open the study."""
        return create_study(
            self.study or f"{self.task.name}-{self.space.name}",
            space=self.space,
            task=self.task,
            objectives=self.objectives,
            constraints=self.constraints,
            storage=self.storage,
            artifacts=self.artifacts,
            sampler=self.sampler,
            stopping=self.stopping,
            seed=self.seed,
            threads=self.threads,
            device=self.device,
            teacher=self.teacher,
            moves=self.moves,
            trial_timeout=self.trial_timeout,
            keep=self.keep,
            repeat=self.repeat,
        )


def _from_folder(task: str | Json, folder: Path) -> str | Json:
    """The task with its relative paths taken from ``folder``."""
    if isinstance(task, str) or task.get("type") not in TASKS:
        return task
    paths = {field.name for field in fields(TASKS[task["type"]]) if field.type == str | Path}
    return {
        name: str(folder / Path(value).expanduser()) if name in paths and isinstance(value, str) and value else value
        for name, value in task.items()
    }
