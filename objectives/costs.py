"""What a network costs, counted rather than timed."""

from safetensors.torch import save
from torch import Tensor, nn

from ..spaces import Architecture, count_macs


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


def file_bytes(network: nn.Module) -> int:
    """Bytes of these tensors as a safetensors file."""
    return len(save({name: tensor.contiguous() for name, tensor in _saved(network).items()}))


def _saved(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dict, each under its first name."""
    tensors = {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}
    first: dict[tuple[int, tuple[int, ...], tuple[int, ...]], str] = {}
    for name, tensor in tensors.items():
        first.setdefault((tensor.data_ptr() or id(tensor), tuple(tensor.shape), tensor.stride()), name)
    return {name: tensors[name] for name in first.values()}
