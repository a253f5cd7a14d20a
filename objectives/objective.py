"""What a study optimises: each objective by name, with its unit, direction and way of measuring."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import nn

from ..errors import one_of
from ..spaces import Architecture, example_input
from ..spaces.block import Json
from . import costs, latency
from .latency import Host
from .metrics import ALL, Direction, Metric, check_fits, metric_of
from .tasks import Data


@dataclass(frozen=True)
class Measurement:
    """A value in the objective's unit, and the conditions it was measured under."""

    value: float
    detail: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """One objective. clock: whether a clock is read, so that a repetition differs a little and a host is needed."""

    name: str
    unit: str
    direction: Direction
    clock: bool = False


@dataclass(frozen=True)
class Cost(Objective):
    """What a network costs, whatever the data.

    measure: takes the network as it will be deployed (trained, pruned, fine-tuned; on the CPU), what it was built
    from, and the host if a clock is read.
    """

    measure: Callable[[nn.Module, Architecture, Host | None], Measurement] = field(kw_only=True)


def _parameters(network: nn.Module, _: Architecture, __: Host | None) -> Measurement:
    return Measurement(costs.parameters(network))


def _macs(_: nn.Module, architecture: Architecture, __: Host | None) -> Measurement:
    return Measurement(costs.macs(architecture))


def _latency(network: nn.Module, architecture: Architecture, host: Host | None) -> Measurement:
    assert host is not None
    record = latency.measure(network, example_input(architecture, 1), host)
    return Measurement(record.latency_ms, record.to_json())


def _quality(name: str, metric: Metric) -> Objective:
    return Objective(name, f"{metric.unit}, on the validation split", metric.direction)


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("parameters", "trainable numbers, after pruning", "minimize", measure=_parameters),
        Cost("macs", "multiply-accumulates per example", "minimize", measure=_macs),
        Cost("latency_ms", "milliseconds per example, CPU, eager", "minimize", clock=True, measure=_latency),
    )
}
OBJECTIVES: dict[str, Objective] = {metric.name: _quality(metric.name, metric) for metric in ALL} | COSTS


def objective_of(name: str) -> Objective:
    """A cost, a metric, or a metric of one head such as ``"digit.accuracy"``. UsageError for an unknown word."""
    if "." in name:
        return _quality(name, metric_of(name)[1])
    one_of("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


def check_objectives(names: Iterable[str], data: Data) -> None:
    """UsageError for an unknown word, or a metric that these data do not allow."""
    for name in names:
        if objective_of(name).name not in COSTS:
            check_fits(name, data)
