"""What a network costs, counted rather than timed."""

import json
from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor, nn

from ..spaces import Architecture, ModuleArchitecture, build, count_macs

# safetensors' words for the types of numbers, in the order in which a file holds the tensors
_TYPES = {
    torch.uint64: "U64",
    torch.int64: "I64",
    torch.float64: "F64",
    torch.complex64: "C64",
    torch.float32: "F32",
    torch.uint32: "U32",
    torch.int32: "I32",
    torch.bfloat16: "BF16",
    torch.float16: "F16",
    torch.uint16: "U16",
    torch.int16: "I16",
    torch.float8_e5m2fnuz: "F8_E5M2FNUZ",
    torch.float8_e4m3fnuz: "F8_E4M3FNUZ",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def on_meta(architecture: Architecture) -> nn.Module:
    """The network on the meta device, in evaluation mode: shapes and no numbers, so that any size can be counted.

    It is to be read only: the same object comes again for the same architecture. A module of the user's own is made
    for real, each time, since a factory may look at its numbers. Raises InvalidArchitecture if the blocks do not fit.
    """
    if isinstance(architecture, ModuleArchitecture):
        return build(architecture, seed=0).eval()
    return _on_meta(architecture)


@lru_cache(maxsize=32)
def _on_meta(architecture: Architecture) -> nn.Module:
    with torch.device("meta"):
        return build(architecture).eval()


def parameters(network: nn.Module) -> int:
    """Trainable numbers; a weight used in several places counts once."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def macs(architecture: Architecture) -> int:
    """Multiply-accumulate operations of convolutions, linear layers and attention for one example.

    A shared layer counts each time it runs.
    """
    return count_macs(architecture)


def size_bytes(network: nn.Module) -> int:
    """Bytes of the tensors that are saved of a network, weights and statistics; one that has two names counts once."""
    return sum(tensor.nbytes for tensor in _saved(network).values())


def file_bytes(network: nn.Module, metadata: Mapping[str, str] | None = None) -> int:
    """Bytes of a network's tensors as a safetensors file with these metadata; nothing is written.

    The file is eight bytes, a header of JSON filled up with blanks to a multiple of eight, and the tensors
    (https://huggingface.co/docs/safetensors), one that has two names twice.
    """
    tensors = _tensors(network)
    header = len(_header(tensors, metadata).encode())
    return 8 + header + -header % 8 + sum(tensor.nbytes for tensor in tensors.values())


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None) -> str:
    """The metadata, if any; name, type, shape and place of each tensor: the widest types first, then by name."""
    order = list(_TYPES)
    described: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    begin = 0
    for name, tensor in sorted(tensors.items(), key=lambda named: (order.index(named[1].dtype), named[0])):
        end = begin + tensor.nbytes
        described[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
        begin = end
    return json.dumps(described, separators=(",", ":"), ensure_ascii=False)


def _saved(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dict, each under its first name."""
    tensors = _tensors(network)
    first: dict[tuple[object, ...], str] = {}
    for name, tensor in tensors.items():
        where = (tensor.untyped_storage(), tensor.storage_offset(), tuple(tensor.shape), tensor.stride())
        first.setdefault(where, name)
    return {name: tensors[name] for name in first.values()}


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}
