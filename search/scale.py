"""What a module costs and how well it answers, on one clock."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..objectives import (
    BACKENDS,
    Clock,
    Conditions,
    Data,
    OnnxNetwork,
    Timing,
    measure_latencies,
    parameters,
    qualities,
    quality,
    quantize_for,
    to_onnx,
)
from ..objectives.costs import size_bytes
from ..objectives.reference import runner_of
from ..spaces.mac_rules import count_as_it_runs

COUNTED, MEASURED = ("parameters", "macs"), ("size_bytes", "latency_ms")
ON_ONNX = "latency:onnxruntime"


@dataclass(frozen=True)
class Scale:
    """Measures modules. data: on the CPU. bits: those in which the module is deployed."""

    data: Data
    bits: int
    clock: Clock

    def example(self, count: int) -> Tensor:
        """Examples of the training split."""
        return next(self.data.train.batches(count))[0]

    def fits(self, network: nn.Module, bounds: Mapping[str, float]) -> bool:
        """Whether a module is within all bounds as it would be deployed. What is counted comes before what is timed."""
        network = copy.deepcopy(network).cpu().eval()
        if any(self.cost(name, network, None) > bounds[name] for name in COUNTED if name in bounds):
            return False
        measured = [name for name in MEASURED if name in bounds]
        quantized = quantize_for(network, self.data) if measured and self.bits == 8 else None
        return all(self.cost(name, network, quantized) <= bounds[name] for name in measured)

    def cost(self, name: str, network: nn.Module, quantized: OnnxNetwork | None) -> float:
        """One cost of a module as it is deployed."""
        if name == "parameters":
            return parameters(network)
        if name == "macs":
            return count_as_it_runs(network, self.example(1))
        if name == "size_bytes":
            return size_bytes(network) if quantized is None else quantized.weight_bytes
        return self.latency(network if quantized is None else quantized.with_threads(self.clock.threads))

    @torch.inference_mode()
    def latency(self, running: nn.Module) -> float:
        """Milliseconds for one example, in torch or, if it runs there, on ONNX Runtime."""
        x, backend = self.example(1), BACKENDS["onnxruntime" if isinstance(running, OnnxNetwork) else "torch"]
        conditions = Conditions(
            backend.word, backend.version(), self.clock.hardware, self.clock.threads, 1, f"{self.bits} bits"
        )
        timing = Timing(runner_of(lambda: running(x)), conditions, tuple(x.shape[1:]))
        return measure_latencies([timing], self.clock)[0].latency_ms

    def exported(self, network: nn.Module) -> OnnxNetwork | None:
        """A module on ONNX Runtime, None if it cannot be; then UsageError if it has to be, for 8 bits."""
        try:
            return OnnxNetwork(to_onnx(network, self.example(2)))
        except UsageError:
            if self.bits == 8:
                raise
            return None

    def figures(
        self, network: nn.Module, quantized: OnnxNetwork | None, exported: OnnxNetwork | None
    ) -> dict[str, float]:
        """All costs and, on the validation and on the test split, all metrics, of the one that answers.

        ``latency:onnxruntime`` is that of ``exported``, in either precision.
        """
        found = {name: self.cost(name, network, quantized) for name in (*COUNTED, *MEASURED)}
        if exported is not None:
            same = exported is quantized
            found[ON_ONNX] = found["latency_ms"] if same else self.cost("latency_ms", network, exported)
        answering = network if quantized is None else quantized
        names = qualities(self.data)
        tested = quality(answering, self.data.test, self.data, names)
        found |= quality(answering, self.data.validation, self.data, names)
        return found | {f"test_{name}": value for name, value in tested.items()}

    def check(
        self, bounds: Mapping[str, float], after: dict[str, float], network: nn.Module, quantized: OnnxNetwork | None
    ) -> None:
        """UsageError if the end does not hold what the way there did; a clock is asked three times."""
        for name, bound in bounds.items():
            for _ in range(3 if name == "latency_ms" else 0):
                if after[name] > bound:
                    after[name] = min(after[name], self.cost(name, network, quantized))
                    after |= {ON_ONNX: after[name]} if quantized else {}
            if after[name] > bound:
                raise UsageError(
                    f"{name} must be at most {bound:g} and came out as {after[name]:g}: ask for a little less"
                )
