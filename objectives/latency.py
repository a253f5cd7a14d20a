"""Latency of one forward pass, as a record that can be repeated.

Clocks of shared machines drift by tens of percent within seconds. So the calls of the network are interleaved with
calls of a fixed reference network, and

    latency_ms = min(network) / min(reference) * reference_ms

where ``reference_ms`` was calibrated once for this host and is kept in the store: what slows both cancels.
The minimum is the run that was disturbed least; means and medians are biased by load.
"""

import fcntl
import gc
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from ..spaces import Architecture, Block, Head, build
from ..spaces.architecture import Json
from .onnx import OnnxNetwork

SAMPLES = 200
WARM_UP = 20
CALIBRATION_SAMPLES = 1000
TMP = Path("/tmp")  # noqa: S108 - one place for all processes of a host, whatever their TMPDIR; the file stays empty
REFERENCE = Architecture(
    input_shape=(1, 16, 16),
    blocks=(Block("conv", width=16), Block("conv", width=16), Block("max_pool"), Block("global_average_pool")),
    heads=(Head(10),),
)


@dataclass(frozen=True)
class Host:
    """Where latency is measured. reference_ms: the minimum of the reference network there, with ``threads``."""

    name: str
    cpu: str
    torch: str
    threads: int
    reference_ms: float


@dataclass(frozen=True)
class Latency:
    """One measurement on the CPU. Times in milliseconds; ``min_ms``, ``median_ms`` as the clock said.

    backend: what ran the network, as in ``torch eager`` or ``onnxruntime 1.31.1``; the reference runs in torch, eager.
    """

    latency_ms: float
    min_ms: float
    median_ms: float
    reference_min_ms: float
    reference_ms: float
    samples: int
    warm_up: int
    batch: int
    threads: int
    backend: str
    host: str
    cpu: str
    torch: str

    def to_json(self) -> Json:
        return asdict(self)


def calibrate(threads: int) -> Host:
    """Time the reference network on this host."""
    reference, example = _reference()
    with _alone(), cpu_threads(threads), torch.inference_mode():
        times = [_time(reference, example) for _ in range(WARM_UP + CALIBRATION_SAMPLES)][WARM_UP:]
    return Host(platform.node(), cpu_model(), torch.__version__, threads, min(times))


def measure(network: nn.Module, example: torch.Tensor, host: Host) -> Latency:
    """Time ``network`` (left in evaluation mode, on the CPU) on a batch of examples (N, *input_shape).

    One measurement at a time runs on a host, whichever process asks.
    """
    network.eval()
    reference, reference_example = _reference()
    own, other = [], []
    with _alone(), cpu_threads(host.threads), torch.inference_mode():
        for _ in range(WARM_UP + SAMPLES):
            own.append(_time(network, example))
            other.append(_time(reference, reference_example))
    own, other = own[WARM_UP:], other[WARM_UP:]
    return Latency(
        latency_ms=min(own) / min(other) * host.reference_ms,
        min_ms=min(own),
        median_ms=statistics.median(own),
        reference_min_ms=min(other),
        reference_ms=host.reference_ms,
        samples=SAMPLES,
        warm_up=WARM_UP,
        batch=len(example),
        threads=host.threads,
        backend=network.backend if isinstance(network, OnnxNetwork) else "torch eager",
        host=host.name,
        cpu=host.cpu,
        torch=host.torch,
    )


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _reference() -> tuple[nn.Module, torch.Tensor]:
    return build(REFERENCE, seed=0).eval(), torch.zeros(1, *REFERENCE.input_shape)


def _time(network: nn.Module, example: torch.Tensor) -> float:
    began = time.perf_counter_ns()
    network(example)
    return (time.perf_counter_ns() - began) / 1e6


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the host's measuring lock, which the system frees if its holder dies, and keep the collector quiet."""
    path = (TMP if TMP.is_dir() else Path(tempfile.gettempdir())) / "paretonas-latency.lock"
    with suppress(FileExistsError):  # made by whoever measures first; others may be allowed to read it only
        path.touch(exist_ok=False)
    with path.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        collecting = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collecting:
                gc.enable()


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
