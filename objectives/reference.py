"""The two reference networks that every latency is relative to, and how a call is timed."""

import time
from collections.abc import Callable
from functools import lru_cache

import torch

from ..spaces import Architecture, Block, Head, build


def runner_of(call: Callable[[], object], device: str = "cpu") -> Callable[[], float]:
    """Time a call: by the processor's clock, or by events on the current GPU."""
    if device == "cuda":
        return _cuda_runner(call)

    def run() -> float:
        began = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - began) / 1e6

    return run


@lru_cache(maxsize=2)
def references(device: str) -> tuple[Callable[[], float], Callable[[], float]]:
    """Forward passes of the small and of the large reference network: about 0.25 and 1 ms on a processor."""
    small, large = _reference(device, width=16, side=16, layers=2), _reference(device, width=32, side=24, layers=3)
    return small, large


def _reference(device: str, *, width: int, side: int, layers: int) -> Callable[[], float]:
    convolutions = (Block("conv", width=width),) * layers
    architecture = Architecture(
        input_shape=(1, side, side),
        blocks=(*convolutions, Block("max_pool"), Block("global_average_pool")),
        heads=(Head(10),),
    )
    network = build(architecture, seed=0).eval().to(device)
    x = torch.zeros(1, *architecture.input_shape, device=device)
    return runner_of(lambda: network(x), device)


def _cuda_runner(call: Callable[[], object]) -> Callable[[], float]:
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]

    def run() -> float:
        began.record()
        call()
        ended.record()
        ended.synchronize()
        return float(began.elapsed_time(ended))

    return run
