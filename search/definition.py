"""The whole definition of a study, as it lies in the store."""

from dataclasses import dataclass
from typing import Any, Self

from ..errors import StudyError, UsageError, one_of
from ..objectives import OBJECTIVES, TASKS, Objective, Task
from ..spaces import SPACES, Space, space_from_json
from ..spaces.architecture import Json
from .sampler import SAMPLERS

VERSION = 1


@dataclass(frozen=True)
class Definition:
    """What a study searches, on what, for what, and how.

    seed: of the sampler, and of the weights and the data order of each candidate. threads: of the CPU, for training
    and for latency alike; fixed, because another number of threads gives other roundings. device: where candidates
    train; latency is measured on the CPU.
    """

    space: Space
    task: str
    objectives: tuple[str, ...]
    sampler: str
    seed: int
    threads: int
    device: str

    def __post_init__(self) -> None:
        if not isinstance(self.space, Space):
            raise UsageError(f"a study searches a space such as ConvSpace(), {self.space!r} was given")
        if SPACES.get(self.space.name) is not type(self.space):
            raise UsageError(
                f"a study's space comes back from the store by its name, {type(self.space).__name__} is none of "
                f"{', '.join(SPACES)}: add it to spaces/catalog.py"
            )
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise UsageError(f"a seed is a whole number from 0 and below 2**31, {self.seed!r} was given")
        one_of("task", self.task, TASKS)
        one_of("sampler", self.sampler, SAMPLERS)
        one_of("device", self.device, ("cpu", "cuda"))
        for objective in self.objectives:
            one_of("objective", objective, OBJECTIVES)
        if "accuracy" not in self.objectives or len(set(self.objectives)) < max(2, len(self.objectives)):
            raise UsageError(
                f"a study has accuracy and at least one cost as objectives, each once, {list(self.objectives)} was "
                f"given: there is {', '.join(OBJECTIVES)}"
            )
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, {self.threads} was given")

    @property
    def resolved_task(self) -> Task:
        return TASKS[self.task]

    @property
    def resolved_objectives(self) -> tuple[Objective, ...]:
        return tuple(OBJECTIVES[name] for name in self.objectives)

    def to_json(self) -> Json:
        return {
            "version": VERSION,
            "space": self.space.to_json(),
            "task": self.task,
            "objectives": list(self.objectives),
            "sampler": self.sampler,
            "seed": self.seed,
            "threads": self.threads,
            "device": self.device,
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote; StudyError if a newer release wrote it."""
        rest = dict(data)
        version = rest.pop("version", None)
        if version != VERSION:
            raise StudyError(
                f"a study definition of version {VERSION} is needed, this one has version {version!r}: use the "
                "release of paretonas that made the study"
            )
        if rest.keys() != cls.__dataclass_fields__.keys():
            wrong = sorted(rest.keys() ^ cls.__dataclass_fields__.keys())
            raise StudyError(f"the study definition in the store has missing or unknown parts: {', '.join(wrong)}")
        return cls(**{**rest, "space": space_from_json(rest["space"]), "objectives": tuple(rest["objectives"])})


def differences(stored: Json, asked: Json, where: str = "") -> list[str]:
    """Each place where two definitions differ, in words."""
    found = []
    for name in sorted(stored.keys() | asked.keys()):
        there, here = stored.get(name), asked.get(name)
        if isinstance(there, dict) and isinstance(here, dict) and there.get("type") != here.get("type"):
            found.append(f"{where}{name} is of type {there.get('type')!r} there and {here.get('type')!r} here")
        elif isinstance(there, dict) and isinstance(here, dict):
            found += differences(there, here, f"{where}{name}.")
        elif there != here:
            found.append(f"{where}{name} is {_short(there)} there and {_short(here)} here")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
