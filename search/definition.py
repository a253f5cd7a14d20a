"""The whole definition of a study, as it lies in the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from ..errors import StudyError, UsageError, one_of
from ..objectives import COSTS, Objective, Task, as_task, objective_of
from ..spaces import Space, space_from_json, space_to_json
from ..spaces.architecture import Json
from .sampler import SAMPLERS

VERSION = 2


@dataclass(frozen=True)
class Definition:
    """What a study searches, on what, for what, and how.

    objectives: by name, the first quality metric among them being the one that ``best`` means; () until the data that
    suggest them were read. seed: of the sampler, and of the weights and the data order of each candidate. threads: of
    the CPU, for training and for latency alike; fixed, because another number of threads gives other roundings.
    device: where candidates train; latency is measured on the CPU. fingerprint: of the data when the study was made.
    """

    space: Space
    task: Task
    objectives: tuple[str, ...]
    sampler: str
    seed: int
    threads: int
    device: str
    fingerprint: str = ""

    def __post_init__(self) -> None:
        if type(self.seed) is not int or not 0 <= self.seed < 2**31:
            raise UsageError(f"a seed is a whole number from 0 and below 2**31, {self.seed!r} was given")
        one_of("sampler", self.sampler, SAMPLERS)
        one_of("device", self.device, ("cpu", "cuda"))
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, {self.threads} was given")
        if self.objectives:
            check_kinds(self.objectives)

    @property
    def resolved_objectives(self) -> tuple[Objective, ...]:
        return tuple(objective_of(name) for name in self.objectives)

    @property
    def quality(self) -> Objective:
        """The first objective that is no cost."""
        return next(objective for objective in self.resolved_objectives if objective.name not in COSTS)

    def to_json(self) -> Json:
        return {
            "version": VERSION,
            "space": space_to_json(self.space),
            "task": self.task.to_json(),
            "objectives": list(self.objectives),
            "sampler": self.sampler,
            "seed": self.seed,
            "threads": self.threads,
            "device": self.device,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, now or in version 1; StudyError if a newer release wrote it."""
        rest = dict(data)
        version = rest.pop("version", None)
        if version == 1:  # its only data, digits, was a word, and cannot change
            rest["fingerprint"] = ""
        elif version != VERSION:
            raise StudyError(
                f"a study definition of version {VERSION} or 1 is needed, this one has version {version!r}: use the "
                "release of paretonas that made the study"
            )
        if rest.keys() != cls.__dataclass_fields__.keys():
            wrong = sorted(rest.keys() ^ cls.__dataclass_fields__.keys())
            raise StudyError(f"the study definition in the store has missing or unknown parts: {', '.join(wrong)}")
        rest["objectives"] = tuple(rest["objectives"])
        return cls(**{**rest, "space": space_from_json(rest["space"]), "task": as_task(rest["task"])})


def check_kinds(names: Sequence[str]) -> None:
    """UsageError unless each is known and named once, with a quality metric and a cost among them."""
    costs = [name for name in names if objective_of(name).name in COSTS]
    if not 0 < len(costs) < len(names) or len(set(names)) < len(names):
        raise UsageError(
            "a study has at least one quality metric and at least one cost as objectives, each once, "
            f"{list(names)} was given: the costs are {', '.join(COSTS)}"
        )


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
