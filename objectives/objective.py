"""What a study optimises: each objective by name, with its unit, direction and way of measuring."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Literal

from .. import own
from ..errors import UsageError, one_of
from ..spaces.sparsity import nonzero_parameters
from . import costs
from .backends import BACKENDS
from .bench import Bench
from .deployed import Deployed, Measurement
from .memory import activation_bytes
from .metrics import ALL, Direction, Metric, check_fits, metric_of, quality
from .tasks import Data

TIMED = ("latency", "throughput")
DEFAULT_BATCH = {"latency": 1, "throughput": 64}
LATENCY = "latency_ms"  # short for latency, as deployed


class Objective(ABC):
    """One figure of a network that has to become small, or large.

    Your own is a frozen dataclass with ``unit``, ``direction`` and ``measure``; its fields are its settings. quality:
    whether it says how well a network answers, rather than what it costs. early: whether it follows from the
    architecture, so that it can be known before training; then ``measure`` gets a network that is not trained. in_int8:
    whether that is so for a network that becomes int8, too. clock: whether a repetition differs a little.
    """

    unit: str
    direction: Direction
    quality: bool = False
    early: bool = False
    in_int8: bool = False
    clock: bool = False

    @property
    def name(self) -> str:
        """What a study calls it: ``my.module:Energy,board=pi5``."""
        settings = [f",{field.name}={getattr(self, field.name)}" for field in fields(self)]  # type: ignore[arg-type]
        return own.name_of(type(self)) + "".join(settings)

    @abstractmethod
    def measure(self, deployed: Deployed, bench: Bench) -> Measurement | float:
        """Its value for a network, on the bench that has the data and the clock."""

    def check(self) -> None:  # noqa: B027 - most need nothing
        """UsageError if it cannot be measured on this machine."""


@dataclass(frozen=True)
class Quality(Objective):
    """A metric of the validation split; all metrics of a candidate are measured in one pass."""

    word: str
    unit: str
    direction: Direction
    quality = True

    @property
    def name(self) -> str:
        return self.word

    def measure(self, deployed: Deployed, bench: Bench) -> float:
        return quality(deployed.answering, bench.data.validation, bench.data, [self.name])[self.name]


@dataclass(frozen=True)
class Counted(Objective):
    """A cost that is counted. For what is known early, count sees a network without numbers, on the meta device."""

    word: str
    unit: str
    count: Callable[[Deployed], Measurement]
    early: bool = True
    in_int8: bool = False
    direction: Direction = "minimize"

    @property
    def name(self) -> str:
        return self.word

    def measure(self, deployed: Deployed, bench: Bench) -> Measurement:  # noqa: ARG002 - nothing but the network counts
        return self.count(deployed)


@dataclass(frozen=True)
class Timed(Objective):
    """Latency or throughput on a backend. backend: "" is as deployed. threads: None is those of the study."""

    word: Literal["latency", "throughput"]
    backend: str = ""
    threads: int | None = None
    batch: int = 1
    early = True
    clock = True

    @property
    def name(self) -> str:
        """As few words as say it: ``latency_ms``, ``latency:onnxruntime,threads=2``."""
        text = f"{self.word}:{self.backend}" if self.backend else self.word
        text += f",threads={self.threads}" if self.threads is not None else ""
        text += f",batch={self.batch}" if self.batch != DEFAULT_BATCH[self.word] else ""
        return LATENCY if text == "latency" else text

    @property
    def direction(self) -> Direction:  # type: ignore[override]
        return "minimize" if self.word == "latency" else "maximize"

    @property
    def unit(self) -> str:  # type: ignore[override]
        where = self.backend or "CPU, eager (int8: ONNX Runtime)"
        threads = "" if self.threads is None else f", {self.threads} threads" if self.threads > 1 else ", 1 thread"
        if self.word == "throughput":
            return f"examples a second in batches of {self.batch}, {where}{threads}"
        return f"milliseconds per {f'batch of {self.batch}' if self.batch > 1 else 'example'}, {where}{threads}"

    def measure(self, deployed: Deployed, bench: Bench) -> Measurement:
        record = bench.time(deployed, self.backend, threads=self.threads, batch=self.batch)
        return Measurement(self.of(record.latency_ms), record.to_json())

    def of(self, latency_ms: float) -> float:
        """The figure that a latency gives."""
        return latency_ms if self.word == "latency" else self.batch / latency_ms * 1000

    def check(self) -> None:
        if self.backend:
            BACKENDS[self.backend].check()


def _size_bytes(deployed: Deployed) -> Measurement:
    return Measurement(
        costs.size_bytes(deployed.network) if not deployed.quantized else deployed.quantized.weight_bytes
    )


def _file_bytes(deployed: Deployed) -> Measurement:
    if deployed.quantized is not None:
        return Measurement(deployed.quantized.file_bytes)
    described = json.dumps(deployed.architecture.to_json())  # as the export has it
    return Measurement(costs.file_bytes(deployed.network, {"architecture": described}))


COUNTED: dict[str, Counted] = {
    cost.name: cost
    for cost in (
        Counted(
            "parameters",
            "trainable numbers, after pruning",
            lambda deployed: Measurement(costs.parameters(deployed.network)),
            in_int8=True,
        ),
        Counted(
            "macs",
            "multiply-accumulates per example",
            lambda deployed: Measurement(costs.macs(deployed.architecture)),
            in_int8=True,
        ),
        Counted(
            "nonzero_parameters",
            "numbers other than zero, before rounding to int8",
            lambda deployed: Measurement(nonzero_parameters(deployed.network)),
            early=False,
        ),
        Counted("size_bytes", "bytes of the weights, as deployed", _size_bytes),
        Counted("file_bytes", "bytes of the exported file: safetensors, for int8 ONNX", _file_bytes),
        Counted(
            "activation_bytes",
            "bytes of activations alive at once in inference, at most, 32 bits, batch 1",
            lambda deployed: Measurement(activation_bytes(deployed.architecture)),
            in_int8=True,
        ),
    )
}
COSTS: dict[str, Counted | Timed] = {
    **COUNTED,
    LATENCY: Timed("latency"),
    "throughput": Timed("throughput", batch=DEFAULT_BATCH["throughput"]),
}
OBJECTIVES: dict[str, Objective] = {
    **{
        metric.name: Quality(metric.name, f"{metric.unit}, on the validation split", metric.direction) for metric in ALL
    },
    **COSTS,
}


def objective_of(name: str) -> Objective:
    """An objective by its name, or as ``OBJECTIVES`` has it.

    A cost (``parameters``), a metric (``accuracy``), that of one head (``digit.accuracy``), a time
    (``latency:onnxruntime,threads=1``) or one of the user's own (``my.module:Energy,board=pi5``), as far as it is
    trusted. UsageError for an unknown word.
    """
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    head, *settings = (part.strip() for part in name.split(","))
    word, _, backend = head.partition(":")
    if word in (*TIMED, LATENCY):
        return _timed("latency" if word == LATENCY else word, backend, _settings(name, settings))
    if own.is_own(head):
        return _own(head, _settings(name, settings))
    if "." in head and not settings:
        return _metric_of_head(head)
    one_of("objective", head, OBJECTIVES)
    raise UsageError(f"{head} has no settings, {name!r} was given: {head} alone is the objective")


def is_cost(name: str) -> bool:
    """Whether an objective says what a network costs, rather than how well it answers."""
    return not objective_of(name).quality


def own_names(objectives: Iterable[str]) -> set[str]:
    """The names of the user's own code among names of objectives."""
    heads = {name.split(",")[0].strip() for name in objectives}
    return {head for head in heads if own.is_own(head) and head.partition(":")[0] not in TIMED}


def split_names(text: str) -> list[str]:
    """The names in a text with commas between, where settings have commas too: ``accuracy,latency:torch,batch=8``."""
    names: list[str] = []
    for part in (part.strip() for part in text.split(",")):
        if "=" in part and names:
            names[-1] += f",{part}"
        else:
            names.append(part)
    return names


def check_objectives(names: Iterable[str], data: Data) -> None:
    """UsageError for an unknown word, a metric that these data do not allow, or what this machine cannot measure."""
    for name in names:
        objective = objective_of(name)
        objective.check()
        if isinstance(objective, Quality):
            check_fits(name, data)


def _metric_of_head(name: str) -> Quality:
    metric: Metric = metric_of(name)[1]
    return Quality(name, f"{metric.unit}, on the validation split", metric.direction)


def _timed(word: str, backend: str, settings: dict[str, int | float | str]) -> Timed:
    if backend:
        one_of("backend", backend, BACKENDS)
    for setting, value in settings.items():
        one_of(f"setting of {word}", setting, ("threads", "batch"))
        if type(value) is not int or value < 1:
            raise UsageError(f"{setting} of {word} is a whole number from 1, {value!r} was given")
    kind: Literal["latency", "throughput"] = "latency" if word == "latency" else "throughput"
    threads, batch = settings.get("threads"), settings.get("batch", DEFAULT_BATCH[kind])
    assert isinstance(threads, int | None)
    assert isinstance(batch, int)
    return Timed(kind, backend, threads, batch)


def _own(name: str, settings: dict[str, int | float | str]) -> Objective:
    made = own.load(name)
    if not (isinstance(made, type) and issubclass(made, Objective)):
        raise UsageError(f"an objective of your own is a class of pn.Objective, {name} is {type(made).__name__}")
    try:
        objective = made(**settings)
    except TypeError as error:
        raise UsageError(f"{name} cannot be made with {settings or 'no settings'}: {error}") from error
    if getattr(objective, "direction", None) not in ("minimize", "maximize") or not getattr(objective, "unit", ""):
        raise UsageError(f"{name} needs a unit and a direction, 'minimize' or 'maximize'")
    return objective


def _settings(name: str, parts: Iterable[str]) -> dict[str, int | float | str]:
    """``threads=1`` and the like, numbers as numbers."""
    settings: dict[str, int | float | str] = {}
    for part in parts:
        key, equals, text = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not text or key in settings:
            raise UsageError(f"settings of an objective are written as threads=1,batch=8, {name!r} was given")
        settings[key] = _value(text)
    return settings


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
