"""Phones and boards: a network as an ExecuTorch program on XNNPACK, and such a program run here.

Needs ``executorch`` and ``torchao``: ``pip install 'paretonas[executorch]'``.
"""

import copy
import gc
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from importlib import import_module, metadata
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from ..errors import UsageError

PRODUCTS = ("convolution", "linear", "addmm", "mm", "bmm")  # outside the backend these are 30 times slower
MODULES = (
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.backends.xnnpack.quantizer.xnnpack_quantizer",
    "executorch.exir.passes.constant_prop_pass",
    "executorch.extension.pybindings.portable_lib",
    "executorch.runtime",
    "torchao.quantization.pt2e.quantize_pt2e",
)
_loaded: WeakSet[Any] = WeakSet()  # programs of this process: they share their threads


def to_executorch(network: nn.Module, calibration: Iterable[Tensor]) -> bytes:
    """The bytes of a ``.pte`` file: static int8, a scale for each channel, for one example (1, *input_shape) a call.

    By torchao's export quantization (PT2E); ``network`` stays as it is. calibration: batches (N, *input_shape) of two
    examples or more, which the ranges of activations are taken from. Raises UsageError where the packages are not
    installed, without calibration examples, for a network that cannot be traced, and for one whose products XNNPACK
    does not take.
    """
    check_executorch()
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    batches = [batch.cpu() for batch in calibration if len(batch) > 1]
    if not batches:
        raise UsageError("ExecuTorch needs examples to calibrate on, none came: give at least one batch of two or more")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporting warns of its own insides
        traced = _traced(network, batches[0], dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(traced, quantizer)
        for batch in batches:
            prepared(batch)
        return _lowered(torch.export.export(convert_pt2e(prepared), (batches[0][:1],)), "in int8")


def to_executorch_float(network: nn.Module, example: Tensor) -> bytes:
    """The bytes of a ``.pte`` file in 32 bits, for as many examples a call as ``example`` has: (N, *input_shape).

    ``network`` stays as it is. Raises UsageError as ``to_executorch`` does.
    """
    check_executorch()
    from executorch.exir.passes.constant_prop_pass import constant_prop_pass

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporting warns of its own insides
        traced = constant_prop_pass(_traced(network, example.cpu()))  # XNNPACK takes no weights that are computed
        return _lowered(traced, "in 32 bits")


def load_executorch(content: bytes, *, threads: int) -> Callable[[Sequence[Tensor]], Sequence[Tensor]]:
    """A program of these bytes, to be called with its inputs on so many threads.

    All programs of a process share their threads: UsageError while one with another number of them is in use.
    """
    from executorch.runtime import Runtime

    _use_threads(threads)
    program = Runtime.get().load_program(content)
    method = program.load_method("forward")
    _loaded.add(program)

    def call(inputs: Sequence[Tensor], _kept: object = program) -> Sequence[Tensor]:
        answers: Sequence[Tensor] = method.execute(inputs)
        return answers

    return call


def check_executorch() -> None:
    """UsageError if the packages are not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # importing them warns of their own insides
            for module in MODULES:
                import_module(module)
    except ImportError as error:
        raise UsageError(
            f"ExecuTorch needs packages of its own ({error}): pip install 'paretonas[executorch]'"
        ) from error


def executorch_version() -> str:
    """What runs a program, with the version. UsageError if it is not installed."""
    check_executorch()
    return f"executorch {metadata.version('executorch')}"


def _traced(network: nn.Module, example: Tensor, **shapes: Any) -> torch.export.ExportedProgram:
    network = copy.deepcopy(network).cpu().eval()
    try:
        traced = torch.export.export(network, (example,), **shapes)
        graph = traced.module()
        changed = [_unshared(graph), _without_prelu(graph)]
        return torch.export.export(graph, (example,), **shapes) if any(changed) else traced
    except Exception as error:
        raise UsageError(f"the network cannot be traced: {_cause(error)}") from error


def _unshared(graph: torch.fx.GraphModule) -> bool:
    """Give each product weights of its own, in place, and say whether any had to be given.

    Batch norms are folded into the products before them, and into shared weights it would be done for each use.
    """
    given = 0
    for node in [node for node in graph.graph.nodes if node.op == "get_attr" and len(node.users) > 1]:
        users = [user for user in node.users if any("batch_norm" in str(after.target) for after in user.users)]
        for user in users[1:]:
            name = f"unshared{given}"
            graph.register_parameter(name, nn.Parameter(graph.get_parameter(node.target).detach().clone()))
            with graph.graph.inserting_before(user):
                user.replace_input_with(node, graph.graph.get_attr(name))
            given += 1
    graph.recompile()
    return given > 0


def _without_prelu(graph: torch.fx.GraphModule) -> bool:
    """PReLU of rows and sequences as two ReLUs, in place, and whether there were any: XNNPACK takes that of maps."""
    found = [
        node
        for node in graph.graph.nodes
        if node.target is torch.ops.aten.prelu.default and node.meta["val"].dim() != len("NCHW")
    ]
    for node in found:
        x, slope = node.args
        if slope.meta["val"].numel() > 1:  # of a module of the user's own: a slope for each channel
            continue
        with graph.graph.inserting_before(node):
            above = graph.graph.call_function(torch.ops.aten.relu.default, (x,))
            flipped = graph.graph.call_function(torch.ops.aten.neg.default, (x,))
            below = graph.graph.call_function(torch.ops.aten.relu.default, (flipped,))
            scaled = graph.graph.call_function(torch.ops.aten.mul.Tensor, (below, slope))
            node.replace_all_uses_with(graph.graph.call_function(torch.ops.aten.sub.Tensor, (above, scaled)))
        graph.graph.erase_node(node)
    graph.recompile()
    return bool(found)


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _lowered(program: torch.export.ExportedProgram, precision: str) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    try:
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    except Exception as error:
        raise UsageError(f"ExecuTorch cannot take this network {precision}: {_cause(error)}") from error
    for node in edge.exported_program().graph.nodes:
        operator = node.target.name() if hasattr(node.target, "name") else ""
        if node.op == "call_function" and any(word in PRODUCTS for word in operator.replace("::", ".").split(".")):
            stack = list(node.meta.get("nn_module_stack", {}).values())
            layer = f"layer {stack[-1][0]!r}" if stack and stack[-1][0] else "this network"
            raise UsageError(f"XNNPACK does not take {operator} of {layer} {precision}: use ONNX Runtime")
    return bytes(edge.to_executorch().buffer)


def _use_threads(threads: int) -> None:
    """Let ExecuTorch use so many. Its pool is made anew, which programs that were loaded before would not survive."""
    from executorch.extension.pybindings import portable_lib

    if portable_lib._threadpool_get_thread_count() == threads:  # noqa: SLF001 - there is no public face of it
        return
    gc.collect()
    before = portable_lib._threadpool_get_thread_count()  # noqa: SLF001 - same
    if _loaded:
        raise UsageError(f"ExecuTorch runs with {before} threads as long as a program is loaded, {threads} came")
    with suppress(RuntimeError):
        portable_lib._unsafe_reset_threadpool(threads)  # noqa: SLF001 - same; nothing is loaded
    if portable_lib._threadpool_get_thread_count() != threads:  # noqa: SLF001 - same
        raise UsageError(f"this ExecuTorch runs with {before} threads, not with {threads}: ask for threads={before}")
