"""How much memory the activations of a network take, counted on the meta device, where nothing is computed."""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..errors import UsageError
from ..spaces import Architecture, ModuleArchitecture, example_input
from .costs import on_meta

aten = torch.ops.aten
Results = tuple[Tensor, ...]  # of an operator: its answer, then what it makes on the way and throws away


def activation_bytes(architecture: Architecture, *, batch: int = 1) -> int:
    """The most bytes of activations that are alive at once while the network answers a batch, run eagerly on a CPU.

    The input and the answers are among them, and whatever an operator makes and throws away, such as the indices of a
    pooling. Not among them are weights and buffers, nor scratch memory inside a kernel, which depends on library and
    processor: the columns of a convolution that is a product of matrices, the other layouts of oneDNN, the buffers of
    attention, a copy of what a kernel wants laid out otherwise. A view counts once. Numbers are float32, tokens int64.
    A module of the user's own is run for real, once; a fused operator in it, such as ``nn.LSTM``, counts with what it
    gives, and ``nn.MultiheadAttention`` without its fused path.
    """
    if batch < 1:
        raise UsageError(f"a batch has at least 1 example, {batch} was given for the memory of activations")
    network = on_meta(architecture)
    if isinstance(architecture, ModuleArchitecture):
        return activation_bytes_of(network, example_input(architecture, batch))
    kind = torch.float32 if architecture.vocabulary is None else torch.int64
    return _peak(network, torch.empty(batch, *architecture.input_shape, dtype=kind, device="meta"), RULES)


def activation_bytes_of(network: nn.Module, x: Tensor) -> int:
    """The same of any module in evaluation mode, which is run for real, once, on a batch."""
    with _no_fused_attention():
        return _peak(network, x, {})


@contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Torch's fused attention layers are one operator, which hides what it holds."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _peak(network: nn.Module, x: Tensor, rules: "Mapping[object, Rule]") -> int:
    alive = Alive((*network.parameters(), *network.buffers()), rules)
    with torch.inference_mode(), alive:
        alive.hold((x,))
        network(x)
    return alive.peak


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the memory that the results of operators hold, from when they are made until nobody refers to them.

    weights: tensors whose memory is not counted. rules: what operators give, for those that torch is slow to say.
    """

    def __init__(self, weights: Iterable[Tensor], rules: "Mapping[object, Rule]") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = self.peak = 0
        self.rules = rules
        self.weights = {id(tensor.untyped_storage()): tensor for tensor in weights}
        self.held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def hold(self, results: object) -> None:
        """Count the memory of tensors, unless it is counted already."""
        for tensor in results if isinstance(results, Sequence) else (results,):
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            if id(storage) not in self.held and id(storage) not in self.weights:
                self._add(storage)

    def _add(self, storage: torch.UntypedStorage) -> None:
        place, size = id(storage), storage.nbytes()

        def gone(_: object) -> None:
            del self.held[place]
            self.bytes -= size

        self.held[place] = weakref.ref(storage, gone)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named, rule = kwargs or {}, self.rules.get(func)
        made = rule(*args, **named) if rule else None
        if made is not None:
            self.hold(made)
            return made[0]
        if not func.is_view:
            with self:  # what the operator is made of, if it is made of others
                answer = func.decompose(*args, **named)
            if answer is not NotImplemented:
                return answer
        answer = func(*args, **named)
        self.hold(answer)
        return answer


# What operators give as long as everything is laid out in the usual way, and None elsewhere: then torch is asked, which
# gives the same and takes tens of times as long (tests/test_memory.py).

Rule = Callable[..., Results | None]


def _like(x: Tensor, *_: object, **__: object) -> Results | None:
    return (x.new_empty(x.shape),) if x.is_contiguous() else None


def _sum(x: object, other: object, **_: object) -> Results | None:
    """The layout is that of the first, unless it is repeated along a dimension."""
    if not (isinstance(x, Tensor) and isinstance(other, Tensor) and x.dtype == other.dtype):
        return None
    usual = other.is_contiguous()
    shape = torch.broadcast_shapes(x.shape, other.shape)  # type: ignore[no-untyped-call]
    if usual and x.is_contiguous():
        return (x.new_empty(shape),)
    follows = x.shape == shape and (usual or x.stride() == other.stride()) and 0 not in x.stride()
    return (torch.empty_like(x),) if follows else None


def _linear(x: Tensor, weight: Tensor, _: Tensor | None = None) -> Results:
    """What is no matrix yet becomes one, which takes a copy if its rows do not follow one another."""
    return x.new_empty((*x.shape[:-1], weight.shape[0])), x.reshape(-1, x.shape[-1])


def _layer_norm(x: Tensor, shape: Sequence[int], *_: object, **__: object) -> Results:
    """Means and spreads are thrown away."""
    count = x.numel() // prod(shape)
    return x.new_empty(x.shape), x.new_empty(count), x.new_empty(count)


def _rms_norm(x: Tensor, shape: Sequence[int], weight: Tensor | None = None, *_: object) -> Results | None:
    """On a CPU it is made of a product with the spreads, and one of that with the weights."""
    return (
        None if weight is None else (x.new_empty(x.shape), torch.empty_like(x), x.new_empty(x.numel() // prod(shape)))
    )


def _max_pool1d(*args: Any, **named: Any) -> Results:
    """On a CPU, where no gradients are wanted, it keeps no indices."""
    answer = aten.max_pool1d.default(*args, **named)
    return (answer.new_empty(answer.shape),)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, dropout: float = 0.0, *_: Any, **__: Any
) -> Results | None:
    """Of the fused kernel, which never holds all scores; the normalisers of the rows are thrown away."""
    if dropout or mask is not None or query.dim() != 4:
        return None
    if any((each.stride(-1), each.shape[-1]) != (1, query.shape[-1]) for each in (query, key, value)):
        return None
    return torch.empty_like(query), query.new_empty(query.shape[:-1])


RULES: dict[object, Rule] = {
    **dict.fromkeys(
        (
            aten.batch_norm.default,
            aten.relu.default,
            aten.leaky_relu.default,
            aten.elu.default,
            aten.prelu.default,
            aten.gelu.default,
            aten.silu.default,
            aten.hardswish.default,
            aten.mish.default,
            aten.tanh.default,
            aten.sigmoid.default,
            aten.cos.default,
            aten.sin.default,
        ),
        _like,
    ),
    **dict.fromkeys((aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor), _sum),
    aten.linear.default: _linear,
    aten.layer_norm.default: _layer_norm,
    aten.rms_norm.default: _rms_norm,
    aten.max_pool1d.default: _max_pool1d,
    aten.scaled_dot_product_attention.default: _attention,
}
