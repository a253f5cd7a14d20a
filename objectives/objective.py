"""What a study optimises: each objective by name, with its unit, direction and way of measuring."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from ..spaces import Network
from ..spaces.architecture import Json
from . import costs, latency
from .latency import Host
from .tasks import Data
from .training import accuracy

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Measurement:
    """A value in the objective's unit, and the conditions it was measured under."""

    value: float
    detail: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """One objective.

    measure: takes the network as it will be deployed (trained, pruned, fine-tuned; on the CPU), the data and the host.
    clock: whether a clock is read, so that a repetition differs a little and a host is needed.
    """

    name: str
    unit: str
    direction: Direction
    measure: Callable[[Network, Data, Host | None], Measurement]
    clock: bool = False


def _accuracy(network: Network, data: Data, _: Host | None) -> Measurement:
    return Measurement(accuracy(network, data.validation))


def _parameters(network: Network, _: Data, __: Host | None) -> Measurement:
    return Measurement(costs.parameters(network))


def _macs(network: Network, _: Data, __: Host | None) -> Measurement:
    return Measurement(costs.macs(network.architecture))


def _latency(network: Network, _: Data, host: Host | None) -> Measurement:
    assert host is not None
    record = latency.measure(network, network.architecture.input_shape, host)
    return Measurement(record.latency_ms, record.to_json())


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "share of the validation split", "maximize", _accuracy),
        Objective("parameters", "trainable numbers, after pruning", "minimize", _parameters),
        Objective("macs", "multiply-accumulates per example", "minimize", _macs),
        Objective("latency_ms", "milliseconds per example, CPU, eager", "minimize", _latency, clock=True),
    )
}
