"""One command: a trained module of the user's own is made small and kept good, and what that cost is shown."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from .. import own
from ..errors import CandidateFailed, UsageError, one_of
from ..objectives import (
    Data,
    Lesson,
    Task,
    Teacher,
    as_task,
    calibrate,
    cpu_threads,
    loss_gradients,
    parameters,
    quantize_for,
    train,
)
from ..objectives.metrics import by_target
from ..spaces import Network, Training, prune, target_within, unit_scores
from ..spaces.architecture import Json
from ..spaces.compression import BITS
from ..spaces.importance import CRITERIA
from ..spaces.module_groups import Whole, first_line
from ..spaces.module_importance import module_scores
from ..spaces.module_pruning import changed_sizes, channels, prunable_groups, pruned_within
from .compressed import Compressed
from .data import load_data
from .scale import Scale

if TYPE_CHECKING:
    from .steps import Steps

RATE = 1e-2  # peak learning rate of fine-tuning (figures in docs/log.md)
TAUGHT = 0.5  # weight of the original's answers in fine-tuning (same)
CLOSE = {"latency_ms": 0.95, "size_bytes": 0.98}  # of the bound is aimed at, as these change a little in fine-tuning
EXAMPLES = 4  # on which a cut is proven

Gradients = Iterable[Mapping[str, Tensor]] | None


def compress(
    module: nn.Module,
    task: str | dict[str, object] | Task,
    *,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    max_latency_ms: float | None = None,
    max_bytes: float | None = None,
    bits: int = 8,
    epochs: int = 5,
    criterion: str = "taylor",
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
    show_progress: bool = True,
) -> Compressed:
    """Make a trained module small: prune it within the bounds, fine-tune it, quantize it. ``module`` is never changed.

    module: on the CPU; it takes the task's inputs (N, ...) and gives its answers. task: the data, as in
    ``create_study``. The bounds are on the module as it will be deployed: on ONNX Runtime with 8 bits, in eager mode
    with 32; units leave until all hold, and none leaves where they hold already. epochs: of fine-tuning in all, with
    the original as the teacher. criterion: ranks the units, see ``Compression``. device: where it is trained. One
    seed gives one module on one CPU, but for a bound on latency, which is measured.

    UsageError, and nothing done: if nothing is asked for, if the module does not fit the task, if it cannot be traced
    and has to be pruned, or if the bounds are out of reach.
    """
    from .steps import Steps

    asked = {
        "parameters": max_parameters,
        "macs": max_macs,
        "size_bytes": max_bytes,
        "latency_ms": max_latency_ms,
    }
    bounds = {name: bound for name, bound in asked.items() if bound is not None}
    _check(bounds, bits=bits, epochs=epochs, criterion=criterion, seed=seed, threads=threads, device=device)
    task = as_task(task)
    own.trust(own.names(task.to_json()))
    fingerprint = task.fingerprint()
    data, here = (load_data(task, place, fingerprint=fingerprint) for place in (device, "cpu"))
    original = _copied(module, here)
    with Steps(show=show_progress) as steps, cpu_threads(threads):
        scale = Scale(here, bits, calibrate("cpu", threads))
        if bits == 8:  # what cannot be exported is refused before it is trained
            steps.begin("export the original")
        exported = scale.exported(original) if bits == 8 else None
        work = Work(original, data, scale, bounds, criterion, seed, torch.device(device))
        work.shrink(epochs, steps)
        quantized = None
        if bits == 8:
            steps.begin("quantize")
            quantized = quantize_for(work.network, here)
            work.done.append({"step": "quantize", "method": "static", "bits": 8})
        steps.begin("measure")
        before = scale.figures(original, None, exported or scale.exported(original))
        after = scale.figures(work.network, quantized, quantized or scale.exported(work.network))
        scale.check(bounds, after, work.network, quantized)
    sizes = {} if isinstance(module, Network) else changed_sizes(module, work.network)
    card = {
        "task": task.to_json(),
        "fingerprint": fingerprint,
        "bounds": bounds,
        "bits": bits,
        "criterion": criterion,
        "seed": seed,
        "threads": threads,
        "cpu": scale.clock.hardware,
        "torch": scale.clock.torch,
        "steps": work.done,
        "whole": work.whole,
    }
    return Compressed(work.network, quantized, before, after, card, here, sizes)


def _check(
    bounds: Mapping[str, float], *, bits: int, epochs: int, criterion: str, seed: int, threads: int, device: str
) -> None:
    """UsageError for arguments that ask for nothing, or for what cannot be."""
    one_of("criterion", criterion, CRITERIA)
    one_of("device", device, ("cpu", "cuda"))
    for name, bound in bounds.items():
        if isinstance(bound, bool) or not isinstance(bound, int | float) or not (bound > 0 and isfinite(bound)):
            raise UsageError(f"a bound is finite and above 0, {bound!r} was given for {name}")
    for name, number, least in (("epochs", epochs, 0), ("seed", seed, 0), ("threads", threads, 1)):
        if type(number) is not int or number < least:
            raise UsageError(f"{name} must be a whole number from {least}, {number!r} was given")
    if bits not in BITS:
        raise UsageError(f"a weight has {' or '.join(map(str, BITS))} bits, {bits!r} was given")
    if not bounds and bits != 8:
        raise UsageError("what to compress to is needed: give a bound such as max_parameters, or bits=8, or both")


def _copied(module: nn.Module, data: Data) -> nn.Module:
    """A copy in evaluation mode. UsageError unless it is a module that answers what the data ask for."""
    if not isinstance(module, nn.Module):
        raise UsageError(f"a trained nn.Module is compressed, {type(module).__name__} was given")
    name = type(module).__name__
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise UsageError(f"a module with trainable parameters is compressed, {name} has none: call requires_grad_()")
    if any(tensor.device.type != "cpu" for tensor in module.state_dict().values()):
        raise UsageError(f"a module is compressed on the CPU, {name} lies on another device: call cpu()")
    try:
        original = copy.deepcopy(module).eval()
    except Exception as error:
        raise UsageError(
            f"a module is copied before it is compressed, {name} cannot be: {first_line(error)}"
        ) from error
    x, labels = next(data.train.batches(EXAMPLES))
    try:
        with torch.no_grad():
            by_target(original(x), labels, data)
    except CandidateFailed as error:
        raise UsageError(f"{name} does not answer the task: {error}") from error
    except Exception as error:
        raise UsageError(
            f"{name} does not take the task's inputs, of shape {tuple(x.shape[1:])} and {x.dtype}: {first_line(error)}"
        ) from error
    return original


@dataclass
class Work:
    """A module on its way. done: the steps so far. whole: why layers lose nothing."""

    network: nn.Module
    data: Data
    scale: Scale
    bounds: Mapping[str, float]
    criterion: str
    seed: int
    device: torch.device
    done: list[Json] = field(default_factory=list)
    whole: Whole = field(default_factory=dict)

    def shrink(self, epochs: int, steps: "Steps") -> None:
        """Prune until all bounds hold, which costs no training where they are out of reach; then fine-tune."""
        if self.scale.fits(self.network, self.bounds):
            return
        steps.begin("prune")
        original = self.network
        gradients = loss_gradients(original, self.scale.data, seed=self.seed) if self.criterion == "taylor" else None
        aims = {name: bound * CLOSE.get(name, 1) for name, bound in self.bounds.items()}
        prune_ = self._prune_network if isinstance(original, Network) else self._prune_module
        try:
            left = prune_(aims, gradients)
        except UsageError as error:
            asked = " and ".join(f"{name} of at most {bound:g}" for name, bound in self.bounds.items())
            raise UsageError(f"{asked} cannot be reached: {error}") from error
        self.done.append({"step": "prune", "parameters": parameters(self.network), **left})
        if epochs:
            steps.begin("fine-tune")
            self._finetune(epochs, Teacher(original.to(self.device), self.data), steps)
            original.cpu()

    def _prune_network(self, bounds: Mapping[str, float], gradients: Gradients) -> Json:
        network = self.network
        assert isinstance(network, Network)
        scores = unit_scores(network, self.criterion, gradients=gradients, seed=self.seed)
        target = target_within(
            network.architecture, scores, lambda smaller: self.scale.fits(prune(network, smaller, scores), bounds)
        )
        self.network = prune(network, target, scores)
        return {"architecture": target.to_json()}

    def _prune_module(self, bounds: Mapping[str, float], gradients: Gradients) -> Json:
        example = self.scale.example(EXAMPLES)
        groups, self.whole = prunable_groups(self.network, example)
        scores = module_scores(self.network, groups, self.criterion, gradients=gradients, seed=self.seed)
        self.network, leaving = pruned_within(
            self.network, example, groups, scores, lambda smaller: self.scale.fits(smaller, bounds), whole=self.whole
        )
        return {"history": channels(groups, leaving)}

    def _finetune(self, epochs: int, teacher: Teacher, steps: "Steps") -> None:
        self.network.to(self.device)
        training, curve = Training(epochs=epochs, learning_rate=RATE), []
        for epoch in train(self.network, self.data, training, seed=self.seed, lesson=Lesson(teacher, TAUGHT)):
            curve.append({"loss": epoch.loss, "score": epoch.score})
            steps.within(f"epoch {epoch.number + 1} of {epochs}, validation {epoch.score:.4f}")
        self.network.cpu().eval()
        self.done.append({"step": "finetune", "epochs": curve, "learning_rate": RATE, "distillation": TAUGHT})
