"""The way of one candidate, from data to measured network."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from ..errors import CandidateFailed, InvalidSpace, ParetonasError, UntrustedCode, UsageError
from ..objectives import COSTS, Data, Epoch, Host, Measurement, quality, train
from ..spaces import Candidate, build, prune, shapes

MEMORY_MESSAGES = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Result:
    """What came of a candidate: the network as deployed, on the CPU, and what was measured, by objective."""

    network: nn.Module
    measured: dict[str, Measurement]
    seconds: float


def evaluate(
    candidate: Candidate,
    data: Data,
    objectives: Sequence[str],
    *,
    seed: int,
    device: str = "cpu",
    host: Host | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Result:
    """Train, prune, fine-tune and measure a candidate. The same call on one CPU gives the same quality.

    data: on ``device``, where the network is trained and judged; it is counted and timed on the CPU. host: from
    ``calibrate``, needed for ``latency_ms``. Raises CandidateFailed with a kind and a reason.
    """
    began = time.perf_counter()
    with failures():
        shapes(candidate.architecture)
        network = build(candidate.architecture, seed=seed).to(device)
        for epoch in train(network, data, candidate.training, seed=seed):
            on_epoch(epoch)
        if candidate.deployed != candidate.architecture:
            network = prune(network, candidate.deployed)
            for epoch in train(network, data, candidate.training, seed=seed, phase="finetune"):
                on_epoch(epoch)
        network.eval()
        judged = quality(network, data.validation, data, [name for name in objectives if name not in COSTS])
        measured = {name: Measurement(value) for name, value in judged.items()}
        network = network.cpu()
        for name in objectives:
            if name in COSTS:
                measured[name] = COSTS[name].measure(network, candidate.deployed, host)
    return Result(network, measured, time.perf_counter() - began)


@contextmanager
def failures() -> Iterator[None]:
    """Turn whatever a candidate does wrong into CandidateFailed; what is not its fault passes.

    A UsageError is the candidate's, as of an architecture or a training that cannot be, unless it is about the study.
    """
    try:
        yield
    except (InvalidSpace, UntrustedCode):
        raise
    except UsageError as error:
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
