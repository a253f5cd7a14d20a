"""The way of one candidate, from data to measured network."""

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..errors import CandidateFailed, InvalidSpace, ParetonasError, UntrustedCode, UsageError
from ..objectives import (
    COSTS,
    Data,
    Deployed,
    Epoch,
    Host,
    Lesson,
    Measurement,
    Shrunk,
    Teacher,
    fake_quantization,
    quality,
    quantize_for,
    shrink,
    train,
)
from ..spaces import Candidate, Network, build, shapes

MEMORY_MESSAGES = ("out of memory", "not enough memory", "can't allocate memory")


@dataclass(frozen=True)
class Result:
    """What came of a candidate: the network as deployed, on the CPU, and what was measured, by objective."""

    deployed: Deployed
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
    teacher: Teacher | None = None,
    start: nn.Module | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Result:
    """Train, shrink, fine-tune, quantize and measure a candidate. The same call on one CPU gives the same quality.

    data: on ``device``, where the network is trained and judged; it is counted and timed on the CPU. host: from
    ``calibrate``, needed for objectives that read a clock. teacher: whom it learns from, as much as its training says.
    start: the weights to begin with, where the candidate has a start. Raises CandidateFailed with a kind and a reason.
    """
    began = time.perf_counter()
    with failures():
        shapes(candidate.architecture)
        network = (build(candidate.architecture, seed=seed) if start is None else copy.deepcopy(start)).to(device)
        early, lesson = None, _lesson(candidate, teacher)
        if candidate.trains:
            for epoch in train(network, data, candidate.training, seed=seed, lesson=lesson):
                on_epoch(epoch)
                if early is None and candidate.compression.rewinds:
                    early = copy.deepcopy(network)
        if candidate.shrinks or candidate.finetunes:
            network = _made_small(network, candidate, data, seed=seed, early=early, lesson=lesson, on_epoch=on_epoch)
        deployed, judged = _judged(network, candidate, data, [name for name in objectives if name not in COSTS])
        measured = {name: Measurement(value) for name, value in judged.items()}
        for name in objectives:
            if name in COSTS:
                measured[name] = _cost(name, deployed, candidate, host)
    return Result(deployed, measured, time.perf_counter() - began)


def _lesson(candidate: Candidate, teacher: Teacher | None) -> Lesson | None:
    training = candidate.training
    if teacher is None or not training.taught:
        return None
    return Lesson(teacher, training.distillation, training.temperature, training.feature_distillation)


def _made_small(
    network: nn.Module,
    candidate: Candidate,
    data: Data,
    *,
    seed: int,
    early: nn.Module | None,
    lesson: Lesson | None,
    on_epoch: Callable[[Epoch], None],
) -> nn.Module:
    """Let leave what the candidate says, and train what is left: as fine-tuning, or anew from early weights."""
    recipe, training = candidate.compression, candidate.training
    shrunk = shrink(network, candidate, data, seed=seed, early=early) if candidate.shrinks else Shrunk(network, None)
    if recipe.self_distillation:
        lesson = Lesson(Teacher(network, data), recipe.self_distillation, training.temperature)
    aware = recipe.bits == 8 and recipe.quantization_aware
    with fake_quantization(shrunk.network) if aware else nullcontext():
        for epoch in train(
            shrunk.network,
            data,
            training,
            seed=seed,
            phase="train" if recipe.rewinds else "finetune",
            lesson=lesson,
            sparsity=shrunk.sparsity,
        ):
            on_epoch(replace(epoch, phase="finetune"))
    return shrunk.network


def _judged(
    network: nn.Module, candidate: Candidate, data: Data, names: Sequence[str]
) -> tuple[Deployed, dict[str, float]]:
    """The network as it is deployed, on the CPU, and its metrics on the validation split."""
    quantized = None
    if candidate.compression.bits == 8:
        quantized = quantize_for(network.cpu(), data, method=candidate.compression.quantization)
        data = data.to(torch.device("cpu"))
    judged = quality(network if quantized is None else quantized, data.validation, data, names)
    architecture = network.architecture if isinstance(network, Network) else candidate.architecture
    return Deployed(network.cpu().eval(), architecture, quantized), judged


def _cost(name: str, deployed: Deployed, candidate: Candidate, host: Host | None) -> Measurement:
    """What the network costs. With zeros among its weights, a clock is read without them too: ``dense`` in detail."""
    measured = COSTS[name].measure(deployed, host)
    if not COSTS[name].clock or not candidate.compression.sparse or deployed.quantized is not None:
        return measured
    dense = COSTS[name].measure(replace(deployed, network=build(deployed.architecture, seed=0).eval()), host)
    return replace(measured, detail={**measured.detail, "dense": dense.value})


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
