"""Quantization-aware training: the forward pass sees int8, the parameters stay float and plain.

Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
section 3. Rounding has the derivative 1 within the range and 0 outside it (straight-through).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .quantization import narrow

F = nn.functional
OUT: dict[Callable[..., Any], int] = {  # functions of an input and a weight: the weight's dimension of what comes out
    F.linear: 0,
    F.conv1d: 0,
    F.conv2d: 0,
    F.conv3d: 0,
    torch.matmul: -1,
    Tensor.matmul: -1,
    Tensor.__matmul__: -1,
}


@contextmanager
def fake_quantization(network: nn.Module) -> Iterator["Rounding"]:
    """Within this block, in this thread, products with weights of ``network`` are computed as static int8 would.

    Weights are rounded to 8 bits with a scale for each channel, and what comes to them to 8 bits between the least and
    the largest value that came so far in training mode, as calibration will take them. Tables of embeddings are rounded
    by rows. It works on functions, not on modules, so a kernel or an embedding that is used outside its module is
    rounded too (not inside ``nn.MultiheadAttention``); other networks, such as a teacher, are not. Nothing of it is
    left in the network afterwards.
    """
    with Rounding(network) as rounding:
        yield rounding


class Rounding(TorchFunctionMode):
    """Looks at each call of a torch function, and changes those with a weight of the network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        self._weights = {id(parameter) for parameter in network.parameters()}
        self._ranges: dict[int, tuple[Tensor, Tensor]] = {}  # least and largest value that came to a weight

    def ranges(self) -> dict[str, Tensor]:
        """What came to each weight until now, by its name: least and largest, (2,), on the CPU."""
        names = {id(parameter): name for name, parameter in self._network.named_parameters()}
        return {names[key]: torch.stack(both).cpu() for key, both in self._ranges.items()}

    def load(self, ranges: Mapping[str, Tensor]) -> None:
        """Go on from there."""
        for name, both in ranges.items():
            weight = self._network.get_parameter(name)
            least, largest = both.to(weight.device)
            self._ranges[id(weight)] = least, largest

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if function is F.embedding and len(args) > 1 and self._is_weight(args[1]):
            args = (args[0], _rounded_weight(args[1], 0), *args[2:])
        elif function in OUT and len(args) > 1 and isinstance(args[0], Tensor) and self._is_weight(args[1]):
            x, weight = args[0], args[1]
            args = (self._rounded_input(x, weight), _rounded_weight(weight, OUT[function] % weight.dim()), *args[2:])
        return function(*args, **kwargs)

    def _is_weight(self, tensor: Any) -> bool:
        return isinstance(tensor, Tensor) and id(_stored(tensor)) in self._weights and tensor.dim() > 1

    def _rounded_input(self, x: Tensor, weight: Tensor) -> Tensor:
        """``x``, (..., numbers), in 256 steps of its range, of which 0 is one."""
        key = id(_stored(weight))
        if self._network.training:
            least, largest = x.detach().aminmax()
            before = self._ranges.get(key, (least, largest))
            self._ranges[key] = torch.minimum(least, before[0]), torch.maximum(largest, before[1])
        if key not in self._ranges:
            return x
        least, largest = self._ranges[key][0].clamp(max=0), self._ranges[key][1].clamp(min=0)
        scale = ((largest - least) / 255).clamp(min=torch.finfo(x.dtype).tiny)
        zero = (-least / scale).round().clamp(0, 255).int()
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


def _rounded_weight(weight: Tensor, out: int) -> Tensor:
    """``weight`` in steps of its channels, which are its dimension ``out``."""
    top = 64 if narrow() else 127
    others = [dim for dim in range(weight.dim()) if dim != out]
    scale = (weight.detach().abs().amax(others) / top).clamp(min=torch.finfo(weight.dtype).tiny)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, out, -top, top)


def _stored(weight: Tensor) -> Tensor:
    """The parameter that a weight is, or is a view of."""
    base = weight._base  # noqa: SLF001 - torch's documented name for it
    return weight if base is None else base
