"""All that changes while a network trains, as one value that is saved and loaded whole."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BrokenCheckpoint
from ..spaces import Training
from ..spaces.architecture import Json
from ..spaces.sparsity import Masks, Sparsity
from .checkpoint import Checkpoint, Phase, as_parts, copied, load_tensors, tensors_of
from .distillation import Student
from .masking import KeepZero

Schedule = torch.optim.lr_scheduler.OneCycleLR


@dataclass
class Loop:
    """A training between two epochs. schedule: None if there is no step to take.

    shuffle: draws the order of the examples. noise: draws the seed of all else that an epoch draws. zeros: keeps
    weights at zero. done: finished epochs. What a module of the user's own keeps outside of parameters and buffers is
    not seen here.
    """

    network: nn.Module
    student: Student | None
    optimizer: torch.optim.Optimizer
    schedule: Schedule | None
    shuffle: torch.Generator
    noise: torch.Generator
    zeros: KeepZero | None
    done: int = 0

    def save(self, phase: Phase) -> Checkpoint:
        """A copy, on the CPU, that stays as it is while the training goes on."""
        optimizer = self.optimizer.state_dict()
        parts = {
            "network": tensors_of(self.network),
            "projections": tensors_of(self.student.projections) if self.student else {},
            "optimizer": copied(_flat(optimizer["state"])),
            "masks": copied(self.zeros.masks.items()) if self.zeros else {},
            "random": {"shuffle": self.shuffle.get_state(), "noise": self.noise.get_state()},
        }
        state: Json = {
            "phase": phase,
            "epoch": self.done - 1,
            "groups": [_without(group, "params") for group in optimizer["param_groups"]],
            "schedule": self.schedule.state_dict() if self.schedule else None,
            "masked": self.zeros.taken if self.zeros else 0,
        }
        return Checkpoint(as_parts(parts), state)

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from there. BrokenCheckpoint if it is of another training."""
        load_tensors(self.network, checkpoint.part("network"))
        if self.student:
            load_tensors(self.student.projections, checkpoint.part("projections"))
        try:
            self._load_optimizer(checkpoint.part("optimizer"), checkpoint.state["groups"])
            if self.schedule:
                self.schedule.load_state_dict(checkpoint.state["schedule"])
            if self.zeros:
                self.zeros.load(checkpoint.part("masks"), taken=int(checkpoint.state["masked"]))
            drawn = checkpoint.part("random")
            self.shuffle.set_state(drawn["shuffle"])
            self.noise.set_state(drawn["noise"])
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise BrokenCheckpoint(
                f"the checkpoint is of another training ({type(error).__name__}: {error}): drop it, it is trained anew"
            ) from error
        self.done = checkpoint.epoch + 1

    def _load_optimizer(self, tensors: Mapping[str, Tensor], groups: list[Json]) -> None:
        fresh = self.optimizer.state_dict()["param_groups"]
        learned = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            index, key = name.split(".")
            like = learned[int(index)]
            state.setdefault(int(index), {})[key] = tensor if tensor.dim() == 0 else _laid_out(tensor, like)
        self.optimizer.load_state_dict(
            {
                "state": state,
                "param_groups": [_as_typed(new, old) for new, old in zip(fresh, groups, strict=True)],
            }
        )


def begin(
    network: nn.Module,
    training: Training,
    student: Student | None,
    *,
    seed: int,
    rate: float,
    steps: int,
    sparsity: Sparsity | Masks | None,
) -> Loop:
    """A training of so many steps that has not begun. rate: the highest learning rate. Masks are made here."""
    learned = [*network.parameters(), *(student.projections.parameters() if student else ())]
    optimizer = _optimizer(learned, training, rate)
    schedule = Schedule(optimizer, max_lr=rate, total_steps=steps) if steps else None
    shuffle, noise = (torch.Generator().manual_seed(seed) for _ in range(2))  # noise leaves the order as it is
    zeros = KeepZero(network, sparsity, steps=steps) if sparsity else None
    return Loop(network, student, optimizer, schedule, shuffle, noise, zeros)


def _optimizer(weights: list[nn.Parameter], training: Training, rate: float) -> torch.optim.Optimizer:
    decay = training.weight_decay
    if training.optimizer == "sgd":
        return torch.optim.SGD(weights, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay, fused=True)
    return torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)


def _flat(state: Mapping[int, Mapping[str, Any]]) -> Iterator[tuple[str, Tensor]]:
    """What an optimizer keeps of each parameter, by the parameter's number and a word."""
    for number, kept in state.items():
        yield from ((f"{number}.{key}", tensor) for key, tensor in kept.items() if isinstance(tensor, Tensor))


def _laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """In the memory layout of a parameter: fused optimizers walk through both side by side."""
    if tensor.shape != like.shape:
        raise ValueError(f"{tuple(tensor.shape)} is kept of a parameter of shape {tuple(like.shape)}")
    return torch.empty_like(like, dtype=tensor.dtype, requires_grad=False).copy_(tensor)


def _as_typed(fresh: Mapping[str, Any], saved: Json) -> dict[str, Any]:
    """The settings of a group, tuples being tuples again."""
    return {
        key: value if key == "params" else type(value)(saved[key]) if isinstance(value, tuple) else saved[key]
        for key, value in fresh.items()
    }


def _without(settings: Mapping[str, Any], name: str) -> Json:
    return {key: value for key, value in settings.items() if key != name}
