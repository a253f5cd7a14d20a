"""The way of one candidate, from data to measured network."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..errors import CandidateFailed, DeviceLost, InvalidSpace, ParetonasError, Stopped, UntrustedCode, UsageError
from ..objectives import (
    Bench,
    Data,
    Deployed,
    Epoch,
    Lesson,
    LocalBench,
    Measurement,
    Objective,
    Quality,
    Shrunk,
    Teacher,
    device_lost,
    fake_quantization,
    quality,
    quantize_for,
    shrink,
    train,
)
from ..spaces import Candidate, Network, build, shapes
from .constraints import Constraint
from .early import measured, measured_early, resolved

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
    bench: Bench | None = None,
    constraints: Sequence[Constraint] = (),
    teacher: Teacher | None = None,
    start: nn.Module | None = None,
    on_early: Callable[[Mapping[str, Measurement]], None] = lambda _: None,
    on_epoch: Callable[[Epoch], str | None] = lambda _: None,
) -> Result:
    """Train, shrink, fine-tune, quantize and measure a candidate. The same call on one CPU gives the same quality.

    data: on ``device``, where the network is trained and judged. bench: where it is timed, by default here. What
    follows from its architecture is measured first, and raises Refused where it violates a constraint. teacher: whom it
    learns from, as much as its training says. start: the weights to begin with, where the candidate has a start.
    on_early: is told what is measured before training. on_epoch: is told each epoch, and may say why to stop. Raises
    Stopped then, CandidateFailed with a kind and a reason, DeviceLost if what it runs on is gone.
    """
    began = time.perf_counter()
    with failures():
        shapes(candidate.architecture)
        asked, bench = resolved(objectives), bench or LocalBench(data.to(torch.device("cpu")))
        early = measured_early(candidate, asked, bench, constraints)
        on_early(early)
        qualities = [objective.name for objective in asked if isinstance(objective, Quality)]
        network = (build(candidate.architecture, seed=seed) if start is None else copy.deepcopy(start)).to(device)

        def go_on(epoch: Epoch, network: nn.Module) -> None:
            if reason := on_epoch(epoch):
                raise Stopped(reason, early | _measurements(quality(network, data.validation, data, qualities)))

        rewound, lesson = None, _lesson(candidate, teacher)
        if candidate.trains:
            for epoch in train(network, data, candidate.training, seed=seed, lesson=lesson):
                go_on(epoch, network)
                if rewound is None and candidate.compression.rewinds:
                    rewound = copy.deepcopy(network)
        if candidate.shrinks or candidate.finetunes:
            network = _made_small(network, candidate, data, seed=seed, early=rewound, lesson=lesson, go_on=go_on)
        deployed, judged = _judged(network, candidate, data, qualities)
        found = early | _measurements(judged)
        for objective in asked:
            if objective.name not in found or objective.clock:  # read at a second moment, it repeats better
                found[objective.name] = _measured(objective, deployed, candidate, bench)
    return Result(deployed, {name: found[name] for name in objectives}, time.perf_counter() - began)


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
    go_on: Callable[[Epoch, nn.Module], None],
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
            go_on(replace(epoch, phase="finetune"), shrunk.network)
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
    return Deployed(network.cpu().eval(), architecture, quantized, candidate.precision), judged


def _measurements(values: Mapping[str, float]) -> dict[str, Measurement]:
    return {name: Measurement(value) for name, value in values.items()}


def _measured(objective: Objective, deployed: Deployed, candidate: Candidate, bench: Bench) -> Measurement:
    """What the network costs. With zeros among its weights, a clock is read without them too: ``dense`` in detail."""
    found = measured(objective, deployed, bench)
    if not objective.clock or not candidate.compression.sparse or deployed.quantized is not None:
        return found
    dense = Deployed(build(deployed.architecture, seed=0).eval(), deployed.architecture)
    return replace(found, detail={**found.detail, "dense": measured(objective, dense, bench).value})


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
    except Exception as error:
        if device_lost(error):
            raise DeviceLost(f"the device is gone: {_first_line(error)}") from error
        raise _failure(error) from error


def _failure(error: Exception) -> CandidateFailed:
    text = _first_line(error)
    if isinstance(error, MemoryError):
        return CandidateFailed("out_of_memory", "the host has not enough memory for it")
    if isinstance(error, RuntimeError) and any(message in str(error).lower() for message in MEMORY_MESSAGES):
        return CandidateFailed("out_of_memory", text)
    return CandidateFailed("crashed", f"{type(error).__name__}: {text}")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
