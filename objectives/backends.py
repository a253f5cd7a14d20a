"""Where a network can run: each backend by its word, with one way of timing a forward pass on it.

A runner is a network made ready on a backend, warm, with its examples. Called, it runs one forward pass and returns the
milliseconds that it took: on the CPU by the clock around the call, on a GPU by events around it.
"""

import shutil
import time
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import CandidateFailed, DeviceLost, UsageError, one_of
from ..spaces import example_input
from .cuda import captured_on_gpu, check_gpu, device_lost, eager_on_gpu, gpu_model
from .deployed import Deployed
from .executorch import check_executorch, executorch_version, load_executorch, to_executorch_float
from .latency import Conditions, Runner, Timing, cpu_model, cpu_threads
from .onnx import OnnxNetwork, to_onnx

__all__ = ["BACKENDS", "Backend", "backend_for", "conditions_of", "device_lost", "hardware", "timing"]

WARM_UP = 3  # calls before a runner is handed out
LONGEST = 300  # characters of what a backend says of a network
EAGER, ONNX = "torch", "onnxruntime"  # what runs a network as deployed: in 32 bits, in int8


@dataclass(frozen=True)
class Backend:
    """What runs a network. says: for help, in one line.

    version: of what computes. check: UsageError in one sentence if it cannot be used here. make: a runner for a batch
    of so many examples on so many threads of the CPU, which raises whatever it likes.
    """

    word: str
    says: str
    device: Literal["cpu", "cuda"]
    version: Callable[[], str]
    check: Callable[[], None]
    make: Callable[[Deployed, int, int], Runner]

    def runner(self, deployed: Deployed, batch: int, threads: int) -> Runner:
        """One forward pass of ``batch`` examples, ready to be timed.

        UsageError if the backend cannot be used here; CandidateFailed (``infeasible``) if it cannot run the network;
        DeviceLost. The error of a network that runs nowhere is its own.
        """
        self.check()
        if deployed.quantized is not None and self.word != ONNX:
            raise CandidateFailed(
                "infeasible", f"{self.word} cannot run an int8 network, an ONNX model: ask for latency:onnxruntime"
            )
        try:
            return self.make(deployed, batch, threads)
        except (CandidateFailed, DeviceLost, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if device_lost(error):
                raise DeviceLost(f"the device is gone: {_reason(error)}") from error
            with torch.inference_mode():
                deployed.answering(example_input(deployed.architecture, batch))  # what runs nowhere raises here
            raise CandidateFailed("infeasible", f"{self.word} cannot run it: {_reason(error)}") from error


def backend_for(deployed: Deployed) -> str:
    """The word of the backend that a network is deployed with if nothing else is asked for."""
    return EAGER if deployed.quantized is None else ONNX


def hardware(device: str) -> str:
    """The model of the processor, or of the GPU."""
    return gpu_model() if device == "cuda" else cpu_model()


def conditions_of(deployed: Deployed, word: str, batch: int, threads: int) -> Conditions:
    """Under which conditions a network would be timed. word: of a backend, or "" for the one it is deployed with."""
    word = word or backend_for(deployed)
    one_of("backend", word, BACKENDS)
    backend = BACKENDS[word]
    return Conditions(word, backend.version(), hardware(backend.device), threads, batch, deployed.precision)


def timing(deployed: Deployed, word: str, batch: int, threads: int) -> Timing:
    """A runner with the conditions that it runs under. word: as for ``conditions_of``.

    UsageError for an unknown word and for a backend that cannot be used here; CandidateFailed, DeviceLost.
    """
    word = word or backend_for(deployed)
    one_of("backend", word, BACKENDS)
    runner = BACKENDS[word].runner(deployed, batch, threads)
    conditions = conditions_of(deployed, word, batch, threads)
    return Timing(runner, conditions, deployed.architecture.input_shape)


# on the CPU


def _eager(deployed: Deployed, batch: int, threads: int) -> Runner:
    network, x = deployed.network, example_input(deployed.architecture, batch)
    return _in_torch(lambda: network(x), threads)


def _compiled(deployed: Deployed, batch: int, threads: int) -> Runner:
    """The whole network as one graph; compiling takes seconds, the first time in a process ten or more."""
    network, x = deployed.network, example_input(deployed.architecture, batch)
    # Compiled code is kept with the code of the function it was made from, 8 times at most, and looked up at each call.
    # With a function of its own, a network neither pushes others out nor is slowed down by them.
    own = types.FunctionType(_call.__code__.replace(), globals())
    compiled = torch.compile(own, dynamic=False, fullgraph=True)
    return _in_torch(lambda: compiled(network, x), threads)


def _call(network: nn.Module, x: Tensor) -> Any:
    return network(x)


def _in_torch(call: Callable[[], object], threads: int) -> Runner:
    """By the clock, under inference mode with so many threads, whatever holds where it is called; warm."""

    def run() -> float:
        if torch.get_num_threads() != threads:
            with cpu_threads(threads), torch.inference_mode():
                return _clocked(call)
        with torch.inference_mode():
            return _clocked(call)

    return _warm(run)


def _onnxruntime(deployed: Deployed, batch: int, threads: int) -> Runner:
    """Arrays in and out, as it is called where torch is not."""
    architecture, network = deployed.architecture, deployed.quantized
    if network is None:
        network = OnnxNetwork(to_onnx(deployed.network, example_input(architecture, 2)), threads=threads)
    session = network.with_threads(threads)._session  # noqa: SLF001 - forward() would add torch's tensors, 16 us a call
    feed = {session.get_inputs()[0].name: example_input(architecture, batch).numpy()}
    return _warm(lambda: _clocked(lambda: session.run(None, feed)))


def _executorch(deployed: Deployed, batch: int, threads: int) -> Runner:
    """Lowered for this number of examples."""
    x = example_input(deployed.architecture, batch)
    program = load_executorch(to_executorch_float(deployed.network, x), threads=threads)
    return _warm(lambda: _clocked(lambda: program([x])))


def _warm(run: Runner) -> Runner:
    for _ in range(WARM_UP):
        run()
    return run


def _clocked(call: Callable[[], object]) -> float:
    began = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - began) / 1e6


# on a GPU, whose threads are its own


def _cuda(deployed: Deployed, batch: int, threads: int) -> Runner:  # noqa: ARG001
    return _warm(eager_on_gpu(deployed, batch))


def _cuda_graph(deployed: Deployed, batch: int, threads: int) -> Runner:  # noqa: ARG001
    return _warm(captured_on_gpu(deployed, batch))


# what cannot run


def _reason(error: BaseException) -> str:
    """What an error says in one line; torch.compile names the operator in another line than the first."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    named = [line for line in lines[1:] if line.startswith(("Explanation:", "target:"))]
    text = "; ".join([*lines[:1], *(line.partition(":")[2].strip() for line in named[:1])]) or type(error).__name__
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


# whether it can be used here


def _check_nothing() -> None:
    """Comes with this package."""


def _check_compiler() -> None:
    from torch._inductor import config

    named = config.cpp.cxx if isinstance(config.cpp.cxx, tuple | list) else (config.cpp.cxx,)
    if not any(shutil.which(name.split()[0]) for name in named if name):
        wanted = " or ".join(name for name in named if name)
        raise UsageError(f"backend 'compile' needs a C++ compiler, no {wanted} was found: install one, or set CXX")


def _torch_version() -> str:
    return f"torch {torch.__version__}"


def _cuda_version() -> str:
    return f"torch {torch.__version__}, CUDA {torch.version.cuda}"


def _onnx_version() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


BACKENDS: dict[str, Backend] = {
    backend.word: backend
    for backend in (
        Backend(EAGER, "PyTorch, operator by operator", "cpu", _torch_version, _check_nothing, _eager),
        Backend("compile", "torch.compile, one graph", "cpu", _torch_version, _check_compiler, _compiled),
        Backend(ONNX, "ONNX Runtime, 32 bits or int8", "cpu", _onnx_version, _check_nothing, _onnxruntime),
        Backend("cuda", "PyTorch on the GPU, operator by operator", "cuda", _cuda_version, check_gpu, _cuda),
        Backend("cuda_graph", "a CUDA graph, replayed", "cuda", _cuda_version, check_gpu, _cuda_graph),
        Backend("executorch", "ExecuTorch, XNNPACK", "cpu", executorch_version, check_executorch, _executorch),
    )
}
