"""Sampling a network in rounds, with calls of the reference networks between its own.

Blocks of calls are matched: a sample of a reference takes about as long as one of the network, so it is interrupted as
often. Where this thread does all the work, what counts of a sample is the time for which it has computed, which stands
still while another program has the core; else it is what the runner's clock says.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

ENOUGH = 0.03  # noise that sampling ends at, unless less is wished ...
ROUNDS = 60  # ... after so many rounds at least ...
MOST_ROUNDS = 5000
CHUNKS = 8  # of a run, whose scatter is the noise
LEAST_MS = 40.0  # ... and so many milliseconds
WARM_UP = 5  # calls ...
WARM_UP_SECONDS = 0.1  # ... that end after this time, but for the first three
LOWEST = 0.25  # share of the samples that counts
HALF = 2  # as many samples of a reference as of the network add half of the noise, as there are two of them
RAREST = 20  # rounds between two samples of a reference, at most


@dataclass
class Block:
    """So many calls of a runner make one sample, in every so manieth round.

    samples, computed: milliseconds per call, as the runner's clock said, and for which this thread has computed.
    """

    runner: Callable[[], float]
    calls: int = 1
    every: int = 1
    samples: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)

    def sample(self, number: int) -> None:
        """Take part in a round. What a clock that jumps says is no sample."""
        if number % self.every:
            return
        began = time.thread_time_ns()
        times = [self.runner() for _ in range(self.calls)]
        computed = (time.thread_time_ns() - began) / 1e6
        if all(0 < ms < math.inf for ms in times):
            took = float(np.float32(sum(times) / self.calls))
            self.samples.append(took)
            # a hypervisor that takes the core away now and then books the time of the call as its own
            self.computed.append(computed / self.calls if computed / self.calls > min(self.samples) / 2 else took)

    def low(self, *, computed: bool, chunk: int = 0, of: int = 1) -> float:
        """The mean of the lowest quarter of one of so many chunks of the samples."""
        chosen, count = self.computed if computed else self.samples, len(self.samples)
        times = sorted(chosen[count * chunk // of : count * (chunk + 1) // of])
        lowest = times[: max(1, int(len(times) * LOWEST))]
        return sum(lowest) / len(lowest)


@dataclass
class Series:
    """The rounds of one network: its own calls, and those of the reference networks that go with them.

    computed: whether the time for which this thread has computed is what counts.
    """

    network: Block
    small: Block
    large: Block
    warm_up: int
    computed: bool
    rounds: int = 0
    seconds: float = 0.0

    def go_on(self) -> None:
        """Some more rounds, or one of a slow network."""
        began = now = time.monotonic()
        for _ in range(ROUNDS // 6):
            for block in (self.small, self.large, self.network):
                block.sample(self.rounds)
            self.rounds += 1
            now = time.monotonic()
            if now - began > LEAST_MS / 1e3:
                break
        self.seconds += now - began

    def ratio(self) -> float:
        """The network against the geometric mean of the references."""
        [ratio] = self._ratios(1)
        return ratio

    def noise(self) -> float:
        """The standard error of the ratio, relative, from chunks of the run; 1 with too few samples."""
        if min(len(block.samples) for block in (self.network, self.small, self.large)) < CHUNKS:
            return 1.0
        ratios = self._ratios(CHUNKS)
        return float(np.std(ratios, ddof=1) / math.sqrt(CHUNKS) / np.mean(ratios))

    def _ratios(self, chunks: int) -> list[float]:
        blocks = self.network, self.small, self.large
        ratios = []
        for chunk in range(chunks):
            network, small, large = (block.low(computed=self.computed, chunk=chunk, of=chunks) for block in blocks)
            ratios.append(network / math.sqrt(small * large))
        return ratios

    def done(self, seconds: float, enough: float) -> bool:
        if self.rounds >= MOST_ROUNDS or (self.seconds >= seconds and self.rounds >= CHUNKS):
            return True
        if self.rounds < ROUNDS or self.seconds * 1e3 < LEAST_MS:
            return False
        return self.noise() <= enough


@dataclass(frozen=True)
class WarmUp:
    """ms: the shortest call. computed: whether this thread did the work of it."""

    ms: float
    calls: int
    computed: bool


def warm_up(runner: Callable[[], float]) -> WarmUp:
    """A few calls, fewer of a slow network."""
    times: list[float] = []
    computed: list[float] = []
    until, process, thread = time.monotonic() + WARM_UP_SECONDS, time.process_time(), time.thread_time()
    while len(times) < WARM_UP and (len(times) < 3 or time.monotonic() < until):
        began = time.thread_time_ns()
        times.append(runner())
        computed.append((time.thread_time_ns() - began) / 1e6)
    others = time.process_time() - process - (time.thread_time() - thread)
    said, own = min((ms for ms in times if 0 < ms < math.inf), default=1.0), min(computed)
    alone = others * 1e3 < sum(computed) / 10 and 0.1 < own / said < 1.5
    return WarmUp(own if alone else said, len(times), alone)


def series_of(runner: Callable[[], float], references: tuple[Callable[[], float], ...], *, single: bool) -> Series:
    """Warm up, and match the blocks of the two reference networks to the network's duration.

    single: whether one thread of the CPU is to do the work.
    """
    own, *ones = (warm_up(each) for each in (runner, *references))
    small, large = (
        Block(each, max(1, round(own.ms / one.ms)), min(RAREST, HALF * max(1, round(one.ms / own.ms))))
        for each, one in zip(references, ones, strict=True)
    )
    return Series(Block(runner), small, large, own.calls, single and all(one.computed for one in (own, *ones)))
