"""The way of one candidate, from data to measured network."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import nn

from ..errors import (
    BrokenCheckpoint,
    CandidateFailed,
    DeviceLost,
    InvalidSpace,
    ParetonasError,
    Stopped,
    UntrustedCode,
    UsageError,
)
from ..objectives import (
    Bench,
    Checkpoint,
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
    restore,
    shrink,
    train,
)
from ..objectives.checkpoint import load_tensors, tensors_of
from ..spaces import Candidate, Network, build, shapes
from .constraints import Constraint
from .early import measured, measured_early, resolved

MEMORY_MESSAGES = ("out of memory", "not enough memory", "can't allocate memory")

Parts = Mapping[str, Mapping[str, torch.Tensor]]  # of a checkpoint


@dataclass(frozen=True)
class Result:
    """What came of a candidate: the network as deployed, on the CPU, and what was measured, by objective.

    seconds: that it took, with those until the checkpoint that it went on from.
    """

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
    resume: Checkpoint | None = None,
    on_early: Callable[[Mapping[str, Measurement]], None] = lambda _: None,
    on_epoch: Callable[[Epoch], str | None] = lambda _: None,
    on_checkpoint: Callable[[Callable[[], Checkpoint]], None] = lambda _: None,
    on_batch: Callable[[], None] = lambda: None,
) -> Result:
    """Train, shrink, fine-tune, quantize and measure a candidate. The same call on one CPU gives the same quality.

    data: on ``device``, where the network is trained and judged. bench: where it is timed, by default here. What
    follows from its architecture is measured first, and raises Refused where it violates a constraint. teacher: whom it
    learns from, as much as its training says. start: the weights to begin with, where the candidate has a start.
    resume: a checkpoint that the same call made; what was trained until then is neither trained nor told again, and the
    network is the same to the last bit, on one CPU, as without an interruption. on_early: is told what is measured
    before training. on_epoch: is told each epoch, and may say why to stop. on_checkpoint: is given, after each epoch
    that stops nothing, what makes a checkpoint of this moment. on_batch: is called before each step, and may raise.
    Raises Stopped after a reason to stop, CandidateFailed with a kind and a reason, DeviceLost if what it runs on is
    gone, BrokenCheckpoint if ``resume`` is of another call: drop it then.
    """
    began, of = time.perf_counter(), f"{candidate.key} seed {seed}"
    before = _seconds_before(resume, of)
    with failures():
        shapes(candidate.architecture)
        asked, bench = resolved(objectives), bench or LocalBench(data.to(torch.device("cpu")))
        early = measured_early(candidate, asked, bench, constraints)
        on_early(early)
        qualities = [objective.name for objective in asked if isinstance(objective, Quality)]

        def after(epoch: Epoch, network: nn.Module, parts: Parts) -> None:
            if reason := on_epoch(epoch):
                raise Stopped(reason, early | _measurements(quality(network, data.validation, data, qualities)))
            state = {"of": of, "phase": epoch.phase, "seconds": before + time.perf_counter() - began}
            on_checkpoint(lambda: epoch.checkpoint().joined(parts, state))

        course = _Course(candidate, data, seed, _lesson(candidate, teacher), resume, on_batch, after)
        network = (build(candidate.architecture, seed=seed) if start is None else copy.deepcopy(start)).to(device)
        rewound = _trained(network, course)
        if candidate.shrinks or candidate.finetunes:
            network = _made_small(network, course, rewound)
        deployed, judged = _judged(network, candidate, data, qualities)
        found = early | _measurements(judged)
        for objective in asked:
            if objective.name not in found or objective.clock:  # read at a second moment, it repeats better
                found[objective.name] = _measured(objective, deployed, candidate, bench)
    return Result(deployed, {name: found[name] for name in objectives}, before + time.perf_counter() - began)


@dataclass(frozen=True)
class _Course:
    """What both phases of a candidate's training go by. after: is told each epoch with what else its checkpoint has."""

    candidate: Candidate
    data: Data
    seed: int
    lesson: Lesson | None
    resume: Checkpoint | None
    on_batch: Callable[[], None]
    after: Callable[[Epoch, nn.Module, Parts], None]


def _seconds_before(resume: Checkpoint | None, of: str) -> float:
    """That were spent until the checkpoint, which is of this candidate and seed; else BrokenCheckpoint."""
    if resume is None:
        return 0.0
    if resume.state.get("of") != of:
        raise BrokenCheckpoint(
            f"a training goes on from its own checkpoint, this is {of} and the checkpoint {resume.state.get('of')}: "
            "drop it, the training begins anew"
        )
    return resume.seconds


def _lesson(candidate: Candidate, teacher: Teacher | None) -> Lesson | None:
    training = candidate.training
    if teacher is None or not training.taught:
        return None
    return Lesson(teacher, training.distillation, training.temperature, training.feature_distillation)


def _trained(network: nn.Module, course: _Course) -> Mapping[str, torch.Tensor]:
    """Train the network in place, or load what came of it. Returns what a recipe that rewinds goes back to."""
    candidate, resume = course.candidate, course.resume
    rewound = {} if resume is None else resume.part("rewound")
    if resume is not None and resume.phase == "finetune":
        restore(network, resume.part("trained"))
    elif candidate.trains:
        for epoch in train(
            network,
            course.data,
            candidate.training,
            seed=course.seed,
            lesson=course.lesson,
            resume=resume,
            on_batch=course.on_batch,
        ):
            if candidate.compression.rewinds and not rewound:
                rewound = tensors_of(network)
            course.after(epoch, network, {"rewound": rewound})
    return rewound


def _made_small(network: nn.Module, course: _Course, rewound: Mapping[str, torch.Tensor]) -> nn.Module:
    """Let leave what the candidate says, and train what is left: as fine-tuning, or anew from early weights."""
    candidate, data, lesson, resume = course.candidate, course.data, course.lesson, course.resume
    recipe, training = candidate.compression, candidate.training
    trained = tensors_of(network)  # what leaves follows from them once more
    shrunk = Shrunk(network, None)
    if candidate.shrinks:
        early = load_tensors(copy.deepcopy(network), rewound) if rewound else None
        shrunk = shrink(network, candidate, data, seed=course.seed, early=early)
    if recipe.self_distillation:
        lesson = Lesson(Teacher(network, data), recipe.self_distillation, training.temperature)
    if resume is not None and resume.phase != "finetune":
        resume = None
    aware = recipe.bits == 8 and recipe.quantization_aware
    with fake_quantization(shrunk.network) if aware else nullcontext() as rounding:
        if rounding is not None and resume is not None:
            rounding.load(resume.part("ranges"))
        for epoch in train(
            shrunk.network,
            data,
            training,
            seed=course.seed,
            phase="train" if recipe.rewinds else "finetune",
            lesson=lesson,
            sparsity=shrunk.sparsity,
            resume=resume,
            on_batch=course.on_batch,
        ):
            ranges = {} if rounding is None else rounding.ranges()
            course.after(replace(epoch, phase="finetune"), shrunk.network, {"trained": trained, "ranges": ranges})
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
