"""The state of a training between two epochs, as one value and as bytes that hold nothing to be executed."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from ..errors import BrokenCheckpoint
from ..spaces.architecture import Json

FORMAT = 1  # of the bytes; another one is not read
HEADER = 8  # bytes of a safetensors file that say how long its JSON is

Phase = Literal["train", "finetune"]


@dataclass(frozen=True)
class Checkpoint:
    """All that a training needs to go on, to the last bit, as if nothing had been.

    tensors: on the CPU, by a part's name, a dot, and a name within the part; nobody changes them. state: the rest.
    """

    tensors: Mapping[str, Tensor]
    state: Json

    @property
    def phase(self) -> Phase:
        return "finetune" if self.state["phase"] == "finetune" else "train"

    @property
    def epoch(self) -> int:
        """Number of the last finished epoch of the phase, from 0."""
        return int(self.state["epoch"])

    @property
    def seconds(self) -> float:
        """That the candidate took until then, all attempts together."""
        return float(self.state.get("seconds", 0.0))

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of a part, by their names within it; none if there is no such part."""
        start = f"{name}."
        return {key.removeprefix(start): tensor for key, tensor in self.tensors.items() if key.startswith(start)}

    def joined(self, parts: Mapping[str, Mapping[str, Tensor]], state: Json) -> Self:
        """With more parts and more state."""
        return type(self)({**self.tensors, **as_parts(parts)}, {**self.state, **state})

    def to_bytes(self) -> bytes:
        """As safetensors, with the state as JSON in their metadata."""
        state = json.dumps({"format": FORMAT, **self.state}, allow_nan=False)
        return save(dict(self.tensors), metadata={"checkpoint": state})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What ``to_bytes`` wrote. BrokenCheckpoint if it is cut off, changed, or of another format."""
        try:
            tensors = load(content)
            header = content[HEADER : HEADER + int.from_bytes(content[:HEADER], "little")]
            state = json.loads(json.loads(header)["__metadata__"]["checkpoint"])
            complete = state["phase"] in ("train", "finetune") and int(state["epoch"]) >= 0
        except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise BrokenCheckpoint(
                f"a checkpoint is safetensors with the state of a training, these {len(content)} bytes are not "
                f"({type(error).__name__}: {error}): drop it, the training begins anew"
            ) from error
        if state.pop("format", None) != FORMAT or not complete:
            raise BrokenCheckpoint(
                f"checkpoints of format {FORMAT} are read here, this one is another paretonas's or was changed: go on "
                "with the paretonas that wrote it, or drop it, then the training begins anew"
            )
        return cls(tensors, state)


def as_parts(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all parts, named by part and name."""
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def copied(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    """Copies on the CPU, which stay as they are while the training goes on."""
    plain = torch.contiguous_format
    return {name: tensor.detach().to("cpu", copy=True, memory_format=plain) for name, tensor in tensors}


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, each once, also of buffers that its ``state_dict`` leaves out."""
    return copied((*network.named_parameters(), *network.named_buffers()))


@torch.no_grad()
def load_tensors(network: nn.Module, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The same network with what ``tensors_of`` one like it gave, in the memory layout that it has.

    Buffers that are made while it runs are made. BrokenCheckpoint if names or shapes of parameters differ.
    """
    parameters = dict(network.named_parameters())
    shapes = {name: parameter.shape for name, parameter in parameters.items()}
    if shapes != {name: tensors[name].shape for name in shapes if name in tensors}:
        raise BrokenCheckpoint("the checkpoint is of another network: drop it, the training begins anew")
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        if name in parameters:
            parameters[name].copy_(tensor)
        elif leaf in (buffers := _module(network, owner)._buffers):  # noqa: SLF001 - where they can be replaced
            present = buffers[leaf]
            if present is not None and (present.shape, present.dtype) == (tensor.shape, tensor.dtype):
                present.copy_(tensor)
            else:
                buffers[leaf] = tensor.to(next(network.parameters()).device, copy=True)
        else:
            raise BrokenCheckpoint(f"the checkpoint has {name!r}, the network has not: drop it, it is trained anew")
    return network


def _module(network: nn.Module, path: str) -> nn.Module:
    try:
        return network.get_submodule(path)
    except AttributeError as error:
        raise BrokenCheckpoint(
            f"the checkpoint has {path!r}, the network has not: drop it, it is trained anew"
        ) from error
