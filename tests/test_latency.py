"""Latency as a record, one measurement at a time on a host."""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, fields
from pathlib import Path
from threading import Thread

import pytest
import torch
from torch import nn

from paretonas.objectives import COSTS, Deployed, Host, Latency, calibrate, macs, measure_latency, quantize
from paretonas.spaces import Architecture, Block, Head, build, example_input

HOLDER = """
import sys, time
from paretonas.objectives.latency import _alone
with _alone():
    print("held", flush=True)
    sys.stdin.readline()
    print(time.monotonic(), flush=True)
"""


def convolutions(width: int) -> Architecture:
    """Two convolutions of a 16x16 image, most of whose MACs grow with width²."""
    blocks = (Block("conv", width=width), Block("conv", width=width), Block("global_average_pool"))
    return Architecture((1, 16, 16), blocks, (Head(10),))


SMALL, LARGE = convolutions(16), convolutions(48)


@pytest.fixture(scope="module")
def host() -> Host:
    return calibrate(threads=1)


def measured(architecture: Architecture, host: Host, *, batch: int = 1) -> Latency:
    return measure_latency(build(architecture, seed=0), example_input(architecture, batch), host)


# the record


def test_the_host_is_described(host: Host) -> None:
    """Whoever reads a latency learns where it was measured."""
    assert host.name
    assert host.cpu
    assert host.torch == torch.__version__
    assert host.threads == 1
    assert 0 < host.reference_ms < 100


def test_the_record_says_how_it_was_measured(host: Host) -> None:
    """Times and conditions are all there, and go into JSON."""
    record = measured(SMALL, host, batch=2)
    assert (record.samples, record.warm_up, record.batch) == (200, 20, 2)
    assert (record.host, record.cpu, record.torch, record.threads) == (host.name, host.cpu, host.torch, 1)
    assert record.backend == "torch eager"
    assert record.reference_ms == host.reference_ms
    assert json.loads(json.dumps(record.to_json())) == asdict(record)
    assert record.to_json().keys() == {field.name for field in fields(Latency)}


def test_the_times_are_in_order(host: Host) -> None:
    """All are positive, and the minimum is not above the median."""
    record = measured(SMALL, host)
    assert 0 < record.min_ms <= record.median_ms
    assert record.reference_min_ms > 0
    assert record.latency_ms > 0


def test_latency_is_relative_to_the_reference(host: Host) -> None:
    """The formula of the module: min(network) / min(reference) · reference_ms."""
    record = measured(SMALL, host)
    assert record.latency_ms == pytest.approx(record.min_ms / record.reference_min_ms * host.reference_ms)


# what it says


def test_a_larger_network_is_slower(host: Host) -> None:
    """About eight times the MACs take longer, whichever is measured first."""
    assert 7 < macs(LARGE) / macs(SMALL) < 9
    large, small = measured(LARGE, host), measured(SMALL, host)
    assert large.latency_ms > small.latency_ms


def test_a_larger_batch_is_slower(host: Host) -> None:
    """The time is that of the whole batch."""
    assert measured(SMALL, host, batch=16).latency_ms > measured(SMALL, host).latency_ms


def test_measurements_repeat(host: Host) -> None:
    """Two measurements of one network agree within 40 %, also while other programs run."""
    one, other = (measured(LARGE, host).latency_ms for _ in range(2))
    assert max(one, other) / min(one, other) < 1.4


# as deployed


def test_an_int8_network_is_timed_on_its_runtime(host: Host) -> None:
    """As it is deployed: the same protocol, the runtime's name in the record, the host's number of threads."""
    network = build(SMALL, seed=0)
    deployed = Deployed(network, SMALL, quantize(network, [example_input(SMALL, 8)]))
    two = calibrate(threads=2)
    for name in ("latency_ms", "onnx_latency_ms"):
        measured = COSTS[name].measure(deployed, two)
        assert measured.detail["backend"].startswith("onnxruntime ")
        assert (measured.detail["threads"], measured.detail["samples"]) == (2, 200)
        assert measured.value == measured.detail["latency_ms"] > 0
    assert host.threads == 1


def test_a_float_network_is_timed_on_either(host: Host) -> None:
    """Eager as it is deployed, and on ONNX Runtime beside that."""
    deployed = Deployed(build(SMALL, seed=0), SMALL)
    eager, onnx = (COSTS[name].measure(deployed, host).detail["backend"] for name in ("latency_ms", "onnx_latency_ms"))
    assert eager == "torch eager"
    assert onnx.startswith("onnxruntime ")


# what it leaves


@pytest.mark.parametrize("fails", [False, True])
def test_the_number_of_threads_is_restored(fails: bool) -> None:  # noqa: FBT001
    """Measuring sets its own, and puts back what there was, also where the network fails."""
    seen: set[int] = set()

    class Probe(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.add(torch.get_num_threads())
            if fails:
                raise RuntimeError("broken")
            return x

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        host = calibrate(threads=1)
        assert torch.get_num_threads() == 2
        if fails:
            with pytest.raises(RuntimeError, match="broken"):
                measure_latency(Probe(), torch.rand(1, 4), host)
        else:
            measure_latency(Probe(), torch.rand(1, 4), host)
        assert torch.get_num_threads() == 2
        assert seen == {1}
    finally:
        torch.set_num_threads(before)


def test_the_network_is_left_in_evaluation_with_its_weights(host: Host) -> None:
    """Timing moves no statistics."""
    network = build(SMALL, seed=0).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    measure_latency(network, example_input(SMALL, 1), host)
    assert not network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_global_random_state_is_left() -> None:
    """What the caller draws next does not depend on what was timed."""
    before = torch.get_rng_state()
    measured(SMALL, calibrate(threads=1))
    assert torch.equal(torch.get_rng_state(), before)


# one at a time


@pytest.fixture
def own_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary folder, and with it a lock, that no other measurement on this host uses."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that the variable is read again


def holder() -> subprocess.Popen[str]:
    """Another process that measures until it is told to stop."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def waiting_measurement(host: Host) -> tuple[Thread, list[float]]:
    """A measurement in a thread of its own, and the list that gets the time at which it ended."""
    ended: list[float] = []

    def run() -> None:
        measured(SMALL, host)
        ended.append(time.monotonic())

    thread = Thread(target=run, daemon=True)
    thread.start()
    return thread, ended


@pytest.mark.usefixtures("own_lock")
def test_two_processes_take_turns(host: Host) -> None:
    """A measurement waits until that of another process has ended."""
    with holder() as other:
        thread, ended = waiting_measurement(host)
        thread.join(timeout=1.5)  # many times what a measurement takes
        assert thread.is_alive()
        assert ended == []
        freed, _ = other.communicate("stop\n", timeout=60)
    thread.join(timeout=60)
    assert ended
    assert ended[0] > float(freed)


@pytest.mark.usefixtures("own_lock")
def test_the_turn_of_a_killed_process_ends(host: Host) -> None:
    """Kill -9 of a measuring process frees the lock."""
    with holder() as other:
        thread, ended = waiting_measurement(host)
        thread.join(timeout=0.5)
        assert ended == []
        other.kill()
        thread.join(timeout=60)
        assert ended
