"""Latency of one forward pass, as a record that can be repeated.

Clocks of shared machines drift by tens of percent within seconds, and other programs take the caches and the cores. So
the calls of a network are interleaved with calls of two fixed reference networks, a small and a large one, and

    latency_ms = low(network) / sqrt(low(small) · low(large)) · sqrt(small_ms · large_ms)

where ``small_ms`` and ``large_ms`` were calibrated once for this kind of host and are kept in the store: what slows all
of them cancels. ``low`` is the mean of the lowest quarter of the samples: minima depend on one lucky call, means and
medians on the load. How samples are taken: see rounds.py.
"""

import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..errors import CandidateFailed
from ..spaces.architecture import Json
from .lane import measuring
from .reference import references
from .rounds import ENOUGH, MOST_ROUNDS, ROUNDS, Block, Series, series_of, warm_up

NOISY = 0.03  # relative standard error from which a measurement is to be repeated
SECONDS = 0.5  # that a network is sampled in one sitting, at most
MOST_SITTINGS = 5  # of a network that stays noisy
MOST_SAMPLES = 5000  # that a record keeps
CALIBRATION_SECONDS = 1.0  # of the reference networks, once for a kind of host

Runner = Callable[[], float]
"""One forward pass of one batch; returns milliseconds."""


@dataclass(frozen=True)
class Conditions:
    """What a latency depends on beside the network: records of equal conditions compare.

    version: of the backend, as in ``onnxruntime 1.31.1``. hardware: the processor's or the GPU's model.
    """

    backend: str
    version: str
    hardware: str
    threads: int
    batch: int
    precision: str


@dataclass(frozen=True)
class Clock:
    """What the reference networks take on a kind of host. device: ``cpu`` or ``cuda``. host: the one that said so."""

    hardware: str
    torch: str
    threads: int
    device: str
    host: str
    small_ms: float
    large_ms: float


@dataclass(frozen=True)
class Latency:
    """One measurement. latency_ms: of one batch, relative to the clock. noise: its relative standard error.

    median_ms, p10_ms, p90_ms, samples: what the clock of the machine said, in milliseconds; samples are exact in
    float32. seconds: how long measuring took, reference networks included. together: how many networks were measured
    in the same interleaved run; run: a random name of that run. sittings: how often it was measured, apart in time.
    """

    latency_ms: float
    noise: float
    median_ms: float
    p10_ms: float
    p90_ms: float
    samples: tuple[float, ...]
    warm_up: int
    seconds: float
    input_shape: tuple[int, ...]
    together: int
    run: str
    host: str
    conditions: Conditions
    sittings: int = 1

    @property
    def noisy(self) -> bool:
        """Whether it is to be measured again."""
        return self.noise > NOISY

    @property
    def settled(self) -> bool:
        """Whether it is relied on: measured at two moments or together with others, and not noisy; or often enough."""
        return self.sittings >= MOST_SITTINGS or (not self.noisy and (self.sittings > 1 or self.together > 1))

    def to_json(self) -> Json:
        """All of it on one level, with the number of samples in place of the samples."""
        record: Json = asdict(self)
        conditions = record.pop("conditions")
        counted = {"samples": len(self.samples), "input_shape": list(self.input_shape), "noisy": self.noisy}
        record.update(counted, **conditions)
        return record


@dataclass(frozen=True)
class Timing:
    """A network to be timed. input_shape: of one example."""

    runner: Runner
    conditions: Conditions
    input_shape: tuple[int, ...]


def calibrate(device: str, threads: int) -> Clock:
    """Time the reference networks on this host, on ``cpu`` or ``cuda``. Takes a second."""
    with measuring(), cpu_threads(threads), torch.inference_mode():
        blocks = [Block(runner) for runner in references(device)]
        warm = [warm_up(block.runner) for block in blocks]
        until, rounds = time.monotonic() + CALIBRATION_SECONDS, 0
        while (time.monotonic() < until and rounds < MOST_ROUNDS) or rounds < ROUNDS:
            for block in blocks:
                block.sample(rounds)
            rounds += 1
    computed = _single(device, threads) and all(one.computed for one in warm)
    small_ms, large_ms = (block.low(computed=computed) for block in blocks)
    hardware = cpu_model() if device == "cpu" else torch.cuda.get_device_name()
    return Clock(hardware, torch.__version__, threads, device, platform.node(), small_ms, large_ms)


def measure(
    timings: Sequence[Timing], clock: Clock, *, seconds: float = SECONDS, noise: float = ENOUGH
) -> list[Latency]:
    """Time networks in one interleaved run, so that their latencies compare as well as they can.

    Each is sampled until its noise is small enough, or for ``seconds``. One run at a time goes on a host, whichever
    process asks, and our own training there stands still. Raises CandidateFailed, ``crashed``, for a network whose
    clock gives no times.
    """
    run = os.urandom(8).hex()
    with measuring(), cpu_threads(clock.threads), torch.inference_mode():
        known, single = references(clock.device), _single(clock.device, clock.threads)
        every = [series_of(timing.runner, known, single=single) for timing in timings]
        going = every
        while going:
            for series in going:
                series.go_on()
            going = [series for series in going if not series.done(seconds, noise)]
    return [_latency(*pair, clock, run, len(every)) for pair in zip(timings, every, strict=True)]


def joined(earlier: Latency, later: Latency) -> Latency:
    """Measurements of one network under the same conditions at different moments, as one: the mean of all sittings.

    What slows a host changes within seconds, so two short sittings some seconds apart repeat better than a long one.
    The noise is not below what the two differ by.
    """
    assert earlier.conditions == later.conditions
    one, two = earlier.sittings, later.sittings
    mean = (one * earlier.latency_ms + two * later.latency_ms) / (one + two)
    within = math.hypot(one * earlier.noise, two * later.noise) / (one + two)
    between = abs(earlier.latency_ms - later.latency_ms) / mean * math.sqrt(one * two) / (one + two)
    samples = (*earlier.samples, *later.samples)[-MOST_SAMPLES:]
    p10, median, p90 = (float(ms) for ms in np.percentile(samples, (10, 50, 90)))
    return replace(
        later,
        latency_ms=mean,
        noise=max(within, between / math.sqrt(one + two - 1)),
        median_ms=median,
        p10_ms=p10,
        p90_ms=p90,
        samples=samples,
        seconds=earlier.seconds + later.seconds,
        sittings=one + two,
    )


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads in this block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _single(device: str, threads: int) -> bool:
    """Whether one thread of the CPU is to do the work; on a GPU a thread only waits."""
    return device == "cpu" and threads == 1


def _latency(timing: Timing, series: Series, clock: Clock, run: str, together: int) -> Latency:
    samples = series.network.samples
    if not samples or not series.small.samples or not series.large.samples:
        raise CandidateFailed(
            "crashed", f"no forward pass took a positive time in {series.rounds} calls: the host's clock jumps"
        )
    p10, median, p90 = (float(ms) for ms in np.percentile(samples, (10, 50, 90)))
    return Latency(
        latency_ms=series.ratio() * math.sqrt(clock.small_ms * clock.large_ms),
        noise=series.noise(),
        median_ms=median,
        p10_ms=p10,
        p90_ms=p90,
        samples=tuple(samples),
        warm_up=series.warm_up,
        seconds=series.seconds,
        input_shape=timing.input_shape,
        together=together,
        run=run,
        host=platform.node(),
        conditions=timing.conditions,
    )
