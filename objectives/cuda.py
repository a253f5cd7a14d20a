"""A forward pass on a GPU, timed by events, and whether a GPU is gone."""

import copy
from collections.abc import Callable
from contextlib import suppress

import torch
from torch import Tensor, nn

from ..errors import DeviceLost, UsageError
from ..spaces import example_input
from .deployed import Deployed
from .latency import Runner

WARM_UP = 3  # calls before a network is captured: libraries choose their kernels, and take memory
LOST = (
    "no cuda-capable device",
    "cuda-capable device(s) is/are busy or unavailable",
    "no cuda gpus are available",
    "driver shutting down",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "fallen off the bus",
    "gpu is lost",
    "device lost",
    "device_lost",
    "cuda error: unknown error",
    "cuda error: initialization error",
)


def eager_on_gpu(deployed: Deployed, batch: int) -> Runner:
    """Operator by operator, as they are sent."""
    network, x = _on_gpu(deployed, batch)
    return by_events(lambda: network(x))


def captured_on_gpu(deployed: Deployed, batch: int) -> Runner:
    """One CUDA graph, captured after a warm-up on a stream beside the others, and replayed."""
    network, x = _on_gpu(deployed, batch)
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode():
        with torch.cuda.stream(side):
            for _ in range(WARM_UP):
                network(x)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            answer = network(x)
    replay = by_events(graph.replay)

    def run(_kept: object = (network, x, answer)) -> float:  # the graph reads and writes their memory
        return replay()

    return run


def by_events(call: Callable[[], object]) -> Runner:
    """From an idle GPU to the end of its work, sending included; the GPU is idle again when it returns.

    DeviceLost if the GPU is gone meanwhile.
    """
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def run() -> float:
        try:
            with torch.inference_mode():
                torch.cuda.synchronize()
                began.record()
                call()
                ended.record()
                ended.synchronize()
                elapsed: float = began.elapsed_time(ended)
                return elapsed
        except RuntimeError as error:
            if device_lost(error):
                raise DeviceLost(f"the GPU is gone: {str(error).strip().splitlines()[0]}") from error
            raise

    return run


def device_lost(error: BaseException) -> bool:
    """Whether torch or its driver says that a GPU is gone, rather than that what ran on it was wrong.

    An "unspecified launch failure" or an illegal access is the network's. The texts are those of cudaGetErrorString and
    of torch.cuda; "unknown error" is what a GPU gives that fell off its bus, or whose driver slept.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, RuntimeError) and any(text in str(seen).lower() for text in LOST):
            return True
        seen = seen.__cause__
    return False


def check_gpu() -> None:
    """UsageError if torch has no GPU to use."""
    with suppress(RuntimeError):
        if torch.cuda.is_available():
            return
    raise UsageError("backends 'cuda' and 'cuda_graph' need a GPU that torch can use, there is none: ask for 'torch'")


def gpu_model() -> str:
    """The GPU's name as its driver gives it. UsageError if there is none."""
    check_gpu()
    return torch.cuda.get_device_name()


def _on_gpu(deployed: Deployed, batch: int) -> tuple[nn.Module, Tensor]:
    network = copy.deepcopy(deployed.network).to("cuda")
    return network, example_input(deployed.architecture, batch).to("cuda")
