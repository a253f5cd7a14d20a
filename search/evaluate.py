"""The way of one candidate, from data to measured network."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from ..errors import CandidateFailed, InvalidArchitecture, ParetonasError, UsageError
from ..objectives import OBJECTIVES, TASKS, Data, Epoch, Host, Measurement, train
from ..spaces import Candidate, Network, build, prune, shapes

MEMORY_MESSAGES = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Result:
    """What came of a candidate: the network as deployed, on the CPU, and what was measured, by objective."""

    network: Network
    measured: dict[str, Measurement]
    seconds: float


def evaluate(
    candidate: Candidate,
    task: str,
    objectives: tuple[str, ...],
    *,
    seed: int,
    device: str = "cpu",
    host: Host | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Result:
    """Train, prune, fine-tune and measure a candidate. The same call on one CPU gives the same accuracy.

    host: from ``calibrate``, needed for ``latency_ms``. Raises CandidateFailed with a kind and a reason.
    """
    began = time.perf_counter()
    data = load_data(task, device)
    with failures():
        shapes(candidate.architecture)
        network = build(candidate.architecture, seed=seed).to(device)
        for epoch in train(network, data, candidate.training, seed=seed):
            on_epoch(epoch)
        if candidate.deployed != candidate.architecture:
            network = prune(network, candidate.deployed)
            for epoch in train(network, data, candidate.training, seed=seed, phase="finetune"):
                on_epoch(epoch)
        network = network.cpu().eval()
        on_cpu = load_data(task, "cpu")
        measured = {name: OBJECTIVES[name].measure(network, on_cpu, host) for name in objectives}
    return Result(network, measured, time.perf_counter() - began)


@cache
def load_data(task: str, device: str) -> Data:
    """The splits of a task on a device, read once."""
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("the study trains on cuda and this machine has no CUDA device: use another worker or device")
    data = TASKS[task].load()
    place = torch.device(device)
    return Data(data.train.to(place), data.validation.to(place), data.test.to(place))


@contextmanager
def failures() -> Iterator[None]:
    """Turn whatever a candidate does wrong into CandidateFailed; what is not its fault passes."""
    try:
        yield
    except InvalidArchitecture as error:
        raise CandidateFailed("invalid", str(error)) from error
    except ParetonasError:
        raise
    except MemoryError as error:
        raise CandidateFailed("out_of_memory", "the host has not enough memory for it") from error
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        if isinstance(error, RuntimeError) and any(message in str(error).lower() for message in MEMORY_MESSAGES):
            raise CandidateFailed("out_of_memory", text) from error
        raise CandidateFailed("crashed", f"{type(error).__name__}: {text}") from error
