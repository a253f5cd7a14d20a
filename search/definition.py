"""The whole definition of a study, as it lies in the store."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from .. import own
from ..errors import StudyError, UsageError, one_of
from ..objectives import COSTS, LATENCY, Objective, Task, Timed, as_task, is_cost, objective_of
from ..spaces import Space, space_from_json, space_to_json
from ..spaces.architecture import Json
from ..spaces.candidate import FIRST_RATE
from .constraints import Constraint, canonical
from .goals import STOPPINGS
from .sampler import WITH_MOVES, check_sampler

VERSION = 6
KEEPS = ("all", "front", "none")  # whose trained weights are kept
BEST = "best"  # the teacher that is the most accurate point so far
TRIAL = re.compile(r".+:\d+")  # the teacher that is a trial of another study
RENAMED = {"onnx_latency_ms": "latency:onnxruntime"}  # objectives of versions up to 3


@dataclass(frozen=True)
class Definition:
    """What a study searches, on what, for what, and how.

    objectives: by name, the first quality metric among them being the one that ``best`` means; () until the data that
    suggest them were read. seed: of the sampler, and of the weights and the data order of each candidate. threads: of
    the CPU, for training and for latency alike; fixed, because another number of threads gives other roundings. device:
    where candidates train; they are timed where their backend says. teacher: who candidates learn from: nobody (""),
    the best point so far (``best``), a trial of another study in the same store (``study:12``), or what a function of
    the user's own gives (``my.module:make_teacher``). moves: the share of the proposals that change a trained network
    of the front, a layer less or more, wider, narrower or a larger kernel, instead of beginning anew. constraints: what
    a candidate has to hold to be on the front, such as ``parameters <= 50000``. stopping: how it is decided whether a
    candidate is trained to its end: by a forecast of its learning curve (``forecast``), by its rank among others at the
    same epoch (``rungs``), or always (``none``). trial_timeout: seconds after which a candidate's training fails as
    ``timeout``; None for no limit. keep: whose trained weights are kept when more than one trial has ended, of ``all``,
    of the ``front``, or of ``none``. repeat: whether candidates are trained though another study on the store has
    results of the same training, for those who want its noise. fingerprint: of the data when the study was made.
    """

    space: Space
    task: Task
    objectives: tuple[str, ...]
    sampler: str
    seed: int
    threads: int
    device: str
    teacher: str = ""
    moves: float = 0.0
    constraints: tuple[str, ...] = ()
    stopping: str = "forecast"
    trial_timeout: float | None = None
    keep: str = "all"
    repeat: bool = False
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check_seed(self.seed)
        check_sampler(self.sampler)
        one_of("stopping rule", self.stopping, STOPPINGS)
        one_of("keep", self.keep, KEEPS)
        if type(self.repeat) is not bool:
            raise UsageError(f"repeat is True or False, {self.repeat!r} was given")
        limit = self.trial_timeout
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
            raise UsageError(f"trial_timeout is a number of seconds above 0, {limit!r} was given")
        one_of("device", self.device, ("cpu", "cuda"))
        if self.threads < 1:
            raise UsageError(f"threads must be at least 1, {self.threads} was given")
        if self.teacher not in ("", BEST) and not TRIAL.fullmatch(self.teacher) and not own.is_own(self.teacher):
            raise UsageError(
                "a teacher is 'best', a trial of another study such as 'big:12', or a function of your own such as "
                f"'my.module:make_teacher', {self.teacher!r} was given"
            )
        if isinstance(self.moves, bool) or not isinstance(self.moves, int | float) or not 0 <= self.moves < 1:
            raise UsageError(f"moves is a share of the proposals, at least 0 and below 1, {self.moves!r} was given")
        if self.moves and self.sampler not in WITH_MOVES:
            raise UsageError(
                f"moves go with the samplers {', '.join(WITH_MOVES)}, which need no genes of a trial or one at a time, "
                f"{self.sampler!r} was given"
            )
        object.__setattr__(self, "objectives", tuple(objective_of(name).name for name in self.objectives))
        object.__setattr__(self, "constraints", canonical(self.constraints))
        if self.objectives:
            check_kinds(self.objectives)

    @property
    def resolved_objectives(self) -> tuple[Objective, ...]:
        return tuple(objective_of(name) for name in self.objectives)

    @property
    def quality(self) -> Objective:
        """The first objective that is no cost."""
        return next(objective for objective in self.resolved_objectives if objective.quality)

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        return tuple(map(Constraint.of, self.constraints))

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured of a candidate because the study asks for it: objectives, and what is bounded."""
        return tuple(dict.fromkeys((*self.objectives, *(bound.measure for bound in self.bounds))))

    @property
    def latency(self) -> str:
        """The latency that the study means: the first one that it measures, or the usual one."""
        times = (
            each for each in map(objective_of, self.measures) if isinstance(each, Timed) and each.word == "latency"
        )
        return next((each.name for each in times), LATENCY)

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
            "teacher": self.teacher,
            "moves": float(self.moves),
            "constraints": list(self.constraints),
            "stopping": self.stopping,
            "trial_timeout": None if self.trial_timeout is None else float(self.trial_timeout),
            "keep": self.keep,
            "repeat": self.repeat,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_json(cls, data: Json) -> Self:
        """Read what ``to_json`` wrote, now or in earlier versions; StudyError if a newer release wrote it."""
        rest = dict(data)
        version = rest.pop("version", None)
        if version == 1:  # its only data, digits, was a word, and cannot change
            rest["fingerprint"] = ""
        if version in (1, 2):
            training = {"finetune_rate": FIRST_RATE, **rest["space"].get("training", {})}
            rest |= {"teacher": "", "moves": 0.0, "space": {**rest["space"], "training": training}}
        if version in (1, 2, 3):
            rest |= {"constraints": [], "objectives": [RENAMED.get(name, name) for name in rest["objectives"]]}
        if version in (1, 2, 3, 4):
            rest |= {"stopping": "none"}
        if version in (1, 2, 3, 4, 5):
            rest |= {"trial_timeout": None, "keep": "all", "repeat": False}
        elif version != VERSION:
            raise StudyError(
                f"a study definition of version {VERSION} or below is needed, this one has version {version!r}: use "
                "the release of paretonas that made the study"
            )
        if rest.keys() != cls.__dataclass_fields__.keys():
            wrong = sorted(rest.keys() ^ cls.__dataclass_fields__.keys())
            raise StudyError(f"the study definition in the store has missing or unknown parts: {', '.join(wrong)}")
        rest |= {name: tuple(rest[name]) for name in ("objectives", "constraints")}
        return cls(**{**rest, "space": space_from_json(rest["space"]), "task": as_task(rest["task"])})


def check_seed(seed: object) -> None:
    """UsageError unless it is a whole number that torch and NumPy take."""
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise UsageError(f"a seed is a whole number from 0 and below 2**31, {seed!r} was given")


def check_kinds(names: Sequence[str]) -> None:
    """UsageError unless each is known and named once, with a quality metric and a cost among them."""
    costs = [name for name in names if is_cost(name)]
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
