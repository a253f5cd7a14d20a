"""A study as a TOML file: all that a script can say."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Self

from ..errors import UsageError, one_of
from ..spaces import ConvSpace, Space, space_from_json
from .study import DEFAULT_OBJECTIVES, DEFAULT_STORAGE, Study, create_study

TEXT, WHOLE, NUMBER = (str, "text"), (int, "a whole number"), (int | float, "a number")
KINDS: dict[str, tuple[type | UnionType, str]] = {
    "study": TEXT,
    "space": (dict, "a table with a type and the space's fields"),
    "task": TEXT,
    "objectives": (list, "a list of names"),
    "storage": TEXT,
    "artifacts": TEXT,
    "sampler": TEXT,
    "seed": WHOLE,
    "threads": WHOLE,
    "device": TEXT,
    "trials": WHOLE,
    "timeout": NUMBER,
    "workers": WHOLE,
}


@dataclass(frozen=True)
class StudyFile:
    """The arguments of ``create_study`` and ``Study.optimize`` as one record; its defaults are the default job."""

    study: str | None = None
    space: Space = ConvSpace()
    task: str = "digits"
    objectives: tuple[str, ...] = DEFAULT_OBJECTIVES
    storage: str = DEFAULT_STORAGE
    artifacts: str | None = None
    sampler: str = "tpe"
    seed: int = 0
    threads: int = 1
    device: str = "cpu"
    trials: int = 30
    timeout: float | None = None
    workers: int = 1

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a TOML file: the fields as keys, the space as a table with its ``type`` and fields.

        A range is a table with ``low``, ``high`` and, if wanted, ``step`` or ``log``. UsageError says what is wrong.
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
            if not isinstance(value, kind) or isinstance(value, bool):
                raise UsageError(f"{name} of {file} must be {words}, {value!r} was given")
        if "space" in data:
            data["space"] = space_from_json(data["space"])
        if "objectives" in data:
            data["objectives"] = tuple(data["objectives"])
        return cls(**data)

    def with_changes(self, **changes: Any) -> Self:
        """The same with those values that are not None."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def create(self) -> Study:
        """Make or open the study."""
        return create_study(
            self.study or f"{self.task}-{self.space.name}",
            space=self.space,
            task=self.task,
            objectives=self.objectives,
            storage=self.storage,
            artifacts=self.artifacts,
            sampler=self.sampler,
            seed=self.seed,
            threads=self.threads,
            device=self.device,
        )
