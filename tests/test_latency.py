"""Latency as a record: what it says, that it repeats, and what it makes of a clock that jumps."""

import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest
import torch
from torch import nn

from paretonas.errors import CandidateFailed
from paretonas.objectives import lane
from paretonas.objectives.costs import macs
from paretonas.objectives.latency import (
    NOISY,
    Clock,
    Conditions,
    Latency,
    Runner,
    Timing,
    calibrate,
    cpu_model,
    joined,
    measure,
)
from paretonas.objectives.reference import references, runner_of
from paretonas.objectives.rounds import ENOUGH, ROUNDS
from paretonas.spaces import Architecture, Block, Head, build, example_input

BURN = "while True: pass"


def convolutions(width: int) -> Architecture:
    """Two convolutions of a 16x16 image, most of whose MACs grow with width²."""
    blocks = (Block("conv", width=width), Block("conv", width=width), Block("global_average_pool"))
    return Architecture((1, 16, 16), blocks, (Head(10),))


SMALL, LARGE = convolutions(16), convolutions(48)
CONDITIONS = Conditions("torch", f"torch {torch.__version__}", cpu_model(), threads=1, batch=1, precision="float32")


@pytest.fixture(scope="module")
def clock() -> Clock:
    return calibrate("cpu", 1)


def forward(network: nn.Module, x: torch.Tensor) -> Runner:
    return runner_of(lambda: network(x))


def timing(architecture: Architecture, batch: int = 1) -> Timing:
    network = build(architecture, seed=0).eval()
    return of(forward(network, example_input(architecture, batch)))


def of(runner: Runner) -> Timing:
    return Timing(runner, CONDITIONS, (1, 16, 16))


def measured(architecture: Architecture, clock: Clock, *, batch: int = 1) -> Latency:
    [record] = measure([timing(architecture, batch)], clock)
    return record


# the record


def test_the_clock_says_whose_it_is(clock: Clock) -> None:
    """The kind of host, and what both reference networks take there; the large one takes longer."""
    assert clock.hardware == cpu_model() != ""
    assert (clock.torch, clock.threads, clock.device) == (torch.__version__, 1, "cpu")
    assert clock.host
    assert 0 < clock.small_ms < clock.large_ms < 1000


def test_the_record_says_how_it_was_measured(clock: Clock) -> None:
    """Samples, spread, conditions and run are all there."""
    record = measured(SMALL, clock)
    assert len(record.samples) >= ROUNDS / 2
    assert 0 < min(record.samples) <= record.p10_ms <= record.median_ms <= record.p90_ms <= max(record.samples)
    assert (record.median_ms, record.conditions) == (np.median(record.samples), CONDITIONS)
    assert (record.together, record.input_shape, record.warm_up) == (1, (1, 16, 16), 5)
    assert record.seconds > sum(record.samples) / 1e3
    assert record.latency_ms > 0
    assert len(record.run) == 16


def test_samples_are_exact_in_float32(clock: Clock) -> None:
    """So what a store keeps in four bytes each is what was measured."""
    record = measured(SMALL, clock)
    assert tuple(float(np.float32(ms)) for ms in record.samples) == record.samples


def test_the_record_goes_into_json(clock: Clock) -> None:
    """On one level, with the conditions, whether it is noisy, and the number of samples in place of them."""
    record = measured(SMALL, clock)
    said = record.to_json()
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["samples"] == len(record.samples)
    assert said["noisy"] == record.noisy == (record.noise > NOISY)
    assert said["latency_ms"] == record.latency_ms
    assert {name: said[name] for name in ("backend", "hardware", "threads", "batch", "precision")} == {
        "backend": "torch",
        "hardware": cpu_model(),
        "threads": 1,
        "batch": 1,
        "precision": "float32",
    }


def test_runs_have_names_of_their_own(clock: Clock) -> None:
    """Records of one run share its name; those of two do not."""
    together = measure([timing(SMALL), timing(LARGE)], clock)
    alone = measured(SMALL, clock)
    assert together[0].run == together[1].run != alone.run
    assert [record.together for record in (*together, alone)] == [2, 2, 1]


# what it says


def test_a_reference_takes_what_the_clock_says(clock: Clock) -> None:
    """Each of the two, measured like any network, has the geometric mean's latency times its part: known by formula.

    As both references cancel in the product, it is exact where the machine is the one of the calibration.
    """
    small, large = measure([of(runner) for runner in references("cpu")], clock)
    assert small.latency_ms * large.latency_ms == pytest.approx(clock.small_ms * clock.large_ms, rel=0.2)
    assert small.latency_ms == pytest.approx(clock.small_ms, rel=0.4)
    assert large.latency_ms == pytest.approx(clock.large_ms, rel=0.4)


def test_latency_scales_with_the_clock(clock: Clock) -> None:
    """The record is relative: a host kind on which the references take four times as long gives four times the ms."""
    slow = Clock(clock.hardware, clock.torch, 1, "cpu", "slow", clock.small_ms * 4, clock.large_ms * 4)
    record, other = measured(LARGE, clock), measured(LARGE, slow)
    assert other.latency_ms / record.latency_ms == pytest.approx(4, rel=0.4)


def test_a_larger_network_is_slower(clock: Clock) -> None:
    """About eight times the MACs take longer, whichever is measured first."""
    assert 7 < macs(LARGE) / macs(SMALL) < 9
    large, small = measured(LARGE, clock), measured(SMALL, clock)
    assert large.latency_ms > small.latency_ms


def test_a_larger_batch_is_slower(clock: Clock) -> None:
    """The time is that of the whole batch."""
    assert measured(SMALL, clock, batch=16).latency_ms > measured(SMALL, clock).latency_ms


def test_measurements_repeat(clock: Clock) -> None:
    """Two measurements of one network agree within 30 %, also while other programs run."""
    one, other = (measured(LARGE, clock).latency_ms for _ in range(2))
    assert max(one, other) / min(one, other) < 1.3


def test_load_cancels(clock: Clock) -> None:
    """Two processes that burn a core each change the latency by less than 30 %, far less than the mean of ten calls."""
    quiet = measured(SMALL, clock).latency_ms
    burners = [subprocess.Popen([sys.executable, "-c", BURN]) for _ in range(2)]
    try:
        time.sleep(0.5)
        loaded = measured(SMALL, clock).latency_ms
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()
    assert max(quiet, loaded) / min(quiet, loaded) < 1.3


# clocks that jump, networks that fail


def jumping(runner: Runner) -> Iterator[float]:
    """As after a pause of a virtual machine, or a clock that was set: an hour, backwards, nothing, no number."""
    while True:
        yield from (runner() for _ in range(9))
        runner()
        yield from (3.6e6, -3.6e6, 0.0, math.nan, math.inf)


def test_a_clock_that_jumps_moves_little(clock: Clock) -> None:
    """What it says backwards is no sample, and an hour is one of the long ones."""
    honest = timing(LARGE)
    wild = jumping(honest.runner)
    jumped, straight = measure([of(lambda: next(wild)), honest], clock)
    assert min(jumped.samples) > 0
    assert max(jumped.samples) == 3.6e6
    assert math.isfinite(jumped.noise)
    assert jumped.latency_ms == pytest.approx(straight.latency_ms, rel=0.3)


@pytest.mark.parametrize("ms", [0.0, -1.0, math.nan])
def test_a_clock_that_stands_fails_the_candidate(clock: Clock, ms: float) -> None:
    """After a bounded number of calls, with the reason."""
    with pytest.raises(CandidateFailed, match="the host's clock jumps") as failure:
        measure([of(lambda: ms)], clock, seconds=0.2)
    assert failure.value.kind == "crashed"


# how long it goes on


def test_noise_ends_with_the_budget(clock: Clock) -> None:
    """A duration that wanders over orders of magnitude is never steady; the record says that it is noisy."""
    draw = random.Random(0)  # noqa: S311 - no secret
    level = [0.0]

    def drifting() -> float:
        level[0] += draw.gauss(0, 0.3)
        return math.exp(abs(level[0]))

    began = time.monotonic()
    [record] = measure([of(drifting)], clock, seconds=0.5)
    assert record.noisy
    assert 0.5 <= record.seconds <= time.monotonic() - began
    assert record.seconds < 5


def test_steady_networks_end_early(clock: Clock) -> None:
    """Where every call takes the same, sampling ends long before the budget, with at least a hundred rounds."""
    network = timing(SMALL)
    [record] = measure([network], clock, seconds=60)
    assert len(record.samples) >= ROUNDS
    assert record.noise <= ENOUGH
    assert record.seconds < 59


def test_a_slow_network_is_sampled_a_few_times(clock: Clock) -> None:
    """Calls of 50 ms with a budget of 0.3 s: enough of them for a spread, and no hundred."""
    [record] = measure([of(runner_of(lambda: time.sleep(0.05)))], clock, seconds=0.3)
    assert 8 <= len(record.samples) < 20
    assert record.warm_up < 10
    assert record.median_ms >= 50


def test_networks_of_a_run_are_interleaved(clock: Clock) -> None:
    """Each is sampled in turn, and one that is steady early leaves the others to go on."""
    calls: list[str] = []
    quick = timing(SMALL)

    def steady() -> float:
        calls.append("steady")
        return quick.runner()

    def tiring() -> float:
        calls.append("tiring")
        return sum(quick.runner() for _ in range(1 + len(calls) // 20))

    first, second = measure([of(steady), of(tiring)], clock, seconds=3)
    turns = "".join(word[0] for word in calls)
    assert turns.count("st") > 5
    assert turns.count("ts") > 5
    assert len(second.samples) > len(first.samples)
    assert turns.endswith("t")


# what it leaves


@pytest.mark.parametrize("fails", [False, True])
def test_the_number_of_threads_is_restored(clock: Clock, fails: bool) -> None:  # noqa: FBT001
    """Measuring sets its own, and puts back what there was, also where the network fails."""
    seen: set[int] = set()

    def probe() -> None:
        seen.add(torch.get_num_threads())
        if fails:
            raise RuntimeError("broken")

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        if fails:
            with pytest.raises(RuntimeError, match="broken"):
                measure([of(runner_of(probe))], clock)
        else:
            measure([of(runner_of(probe))], clock, seconds=0.1)
        assert torch.get_num_threads() == 2
        assert seen == {1}
    finally:
        torch.set_num_threads(before)


def test_the_weights_are_left(clock: Clock) -> None:
    """Timing moves no statistics and keeps no gradients."""
    network = build(SMALL, seed=0).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure([of(forward(network, example_input(SMALL, 1)))], clock, seconds=0.1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(weight.grad is None for weight in network.parameters())


def test_the_global_random_state_is_left() -> None:
    """What the caller draws next does not depend on what was timed."""
    before, python = torch.get_rng_state(), random.getstate()
    measured(SMALL, calibrate("cpu", 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python


@pytest.mark.parametrize("what", ["calibrate", "measure"])
def test_it_waits_for_its_turn(clock: Clock, what: str) -> None:
    """Nobody reads the clock while somebody else measures."""
    ended: list[float] = []

    def run() -> None:
        calibrate("cpu", 1) if what == "calibrate" else measured(SMALL, clock)
        ended.append(time.monotonic())

    thread = Thread(target=run, daemon=True)
    with lane.measuring():
        thread.start()
        thread.join(timeout=4)  # more than it takes alone
        assert ended == []
    thread.join(timeout=60)
    assert ended


# sittings


def said(record: Latency, latency_ms: float, noise: float, sittings: int = 1) -> Latency:
    """The record with other figures."""
    return replace(record, latency_ms=latency_ms, noise=noise, sittings=sittings)


def test_sittings_are_joined_to_their_mean(clock: Clock) -> None:
    """Weighted by how many they are; the samples of all stay, and the noise is not below what they differ by."""
    record = measured(SMALL, clock)
    near = joined(said(record, 1.0, 0.02), said(record, 1.0, 0.02))
    assert (near.latency_ms, near.sittings) == (1.0, 2)
    assert near.noise == pytest.approx(0.02 / math.sqrt(2))
    assert near.samples == record.samples * 2
    assert near.seconds == pytest.approx(2 * record.seconds)
    far = joined(said(record, 1.0, 0.0), said(record, 1.2, 0.0))
    assert far.latency_ms == pytest.approx(1.1)
    assert far.noise == pytest.approx(0.1 / 1.1)  # the standard error of two values
    third = joined(far, said(record, 1.4, 0.0))
    assert third.latency_ms == pytest.approx(1.2)
    assert third.sittings == 3


def test_a_latency_settles(clock: Clock) -> None:
    """In two sittings or together with others, unless it is noisy; and at last in any case."""
    record = measured(SMALL, clock)
    quiet, noisy = NOISY / 2, NOISY * 2
    assert [said(record, 1.0, quiet, sittings).settled for sittings in (1, 2, 5)] == [False, True, True]
    assert [said(record, 1.0, noisy, sittings).settled for sittings in (1, 2, 5)] == [False, False, True]
    assert replace(said(record, 1.0, quiet), together=2).settled
