"""What objectives ask for the time of a network, and a clock of this process alone."""

from dataclasses import dataclass, field
from typing import Protocol

from .backends import BACKENDS, conditions_of, timing
from .deployed import Deployed
from .latency import Clock, Conditions, Latency, calibrate, cpu_threads, measure
from .tasks import Data


class Bench(Protocol):
    """Where networks are measured: the data at hand, and a clock.

    time: one forward pass of a batch of examples, on a backend of ``BACKENDS`` (by default torch, eager, and for an
    int8 network ONNX Runtime) with so many CPU threads (by default those of the study).
    """

    @property
    def data(self) -> Data: ...

    def time(self, deployed: Deployed, backend: str = "", *, threads: int | None = None, batch: int = 1) -> Latency: ...


def timed(deployed: Deployed, conditions: Conditions, clock: Clock) -> Latency:
    """Time a network now, alone."""
    with cpu_threads(conditions.threads):
        asked = timing(deployed, conditions.backend, batch=conditions.batch, threads=conditions.threads)
        return measure([asked], clock)[0]


@dataclass
class LocalBench:
    """A clock that is calibrated when it is first read and forgotten with the process. threads: of the CPU."""

    data: Data
    threads: int = 1
    _clocks: dict[tuple[str, int], Clock] = field(default_factory=dict)

    def time(self, deployed: Deployed, backend: str = "", *, threads: int | None = None, batch: int = 1) -> Latency:
        conditions = conditions_of(deployed, backend, threads=threads or self.threads, batch=batch)
        kind = BACKENDS[conditions.backend].device, conditions.threads
        if kind not in self._clocks:
            self._clocks[kind] = calibrate(*kind)
        return timed(deployed, conditions, self._clocks[kind])
