"""What a study optimises: each objective by name, with its unit, direction and way of measuring."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from torch import nn

from ..errors import one_of
from ..spaces import example_input
from ..spaces.sparsity import nonzero_parameters
from . import costs, latency
from .deployed import Deployed, Measurement
from .latency import Host
from .metrics import ALL, Direction, Metric, check_fits, metric_of
from .onnx import OnnxNetwork, to_onnx
from .tasks import Data


@dataclass(frozen=True)
class Objective:
    """One objective. clock: whether a clock is read, so that a repetition differs a little and a host is needed."""

    name: str
    unit: str
    direction: Direction
    clock: bool = False


@dataclass(frozen=True)
class Cost(Objective):
    """What a network costs, whatever the data. measure: takes the network, and the host if a clock is read."""

    measure: Callable[[Deployed, Host | None], Measurement] = field(kw_only=True)


def _parameters(deployed: Deployed, _: Host | None) -> Measurement:
    return Measurement(costs.parameters(deployed.network))


def _macs(deployed: Deployed, _: Host | None) -> Measurement:
    return Measurement(costs.macs(deployed.architecture))


def _nonzero_parameters(deployed: Deployed, _: Host | None) -> Measurement:
    return Measurement(nonzero_parameters(deployed.network))


def _size_bytes(deployed: Deployed, _: Host | None) -> Measurement:
    network, quantized = deployed.network, deployed.quantized
    if quantized is not None:
        return Measurement(quantized.weight_bytes, {"file_bytes": quantized.file_bytes})
    return Measurement(costs.size_bytes(network), {"file_bytes": costs.file_bytes(network)})


def _latency(deployed: Deployed, host: Host | None) -> Measurement:
    assert host is not None
    quantized = deployed.quantized
    return _timed(deployed, deployed.network if quantized is None else quantized.with_threads(host.threads), host)


def _onnx_latency(deployed: Deployed, host: Host | None) -> Measurement:
    assert host is not None
    quantized, example = deployed.quantized, example_input(deployed.architecture, 2)
    if quantized is None:
        return _timed(deployed, OnnxNetwork(to_onnx(deployed.network, example), threads=host.threads), host)
    return _timed(deployed, quantized.with_threads(host.threads), host)


def _timed(deployed: Deployed, network: nn.Module, host: Host) -> Measurement:
    record = latency.measure(network, example_input(deployed.architecture, 1), host)
    return Measurement(record.latency_ms, record.to_json())


def _quality(name: str, metric: Metric) -> Objective:
    return Objective(name, f"{metric.unit}, on the validation split", metric.direction)


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("parameters", "trainable numbers, after pruning", "minimize", measure=_parameters),
        Cost("macs", "multiply-accumulates per example", "minimize", measure=_macs),
        Cost(
            "nonzero_parameters",
            "numbers other than zero, before rounding to int8",
            "minimize",
            measure=_nonzero_parameters,
        ),
        Cost("size_bytes", "bytes of the weights, as deployed", "minimize", measure=_size_bytes),
        Cost(
            "latency_ms",
            "milliseconds per example, CPU, eager (int8: ONNX Runtime)",
            "minimize",
            clock=True,
            measure=_latency,
        ),
        Cost(
            "onnx_latency_ms",
            "milliseconds per example, CPU, ONNX Runtime",
            "minimize",
            clock=True,
            measure=_onnx_latency,
        ),
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
