"""Changes to ONNX graphs that change no answer: what a file need not say leaves, what it says twice is said once."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

TRANSPOSED_FROM = 256  # bytes of a matrix from which a node that transposes another is smaller than a copy


def plain(model: "ModelProto", entry: str, heads: list[str]) -> "ModelProto":
    """The model with its input called ``entry`` and its outputs as the heads; nothing about who wrote it, and where.

    What else bears one of these names gets another.
    """
    graph = model.graph
    public = {graph.input[0].name: entry} | {out.name: head for out, head in zip(graph.output, heads, strict=True)}
    taken = set(public.values())
    for field in ("producer_name", "producer_version", "doc_string", "metadata_props", "functions"):
        model.ClearField(field)
    for field in ("doc_string", "metadata_props", "value_info", "quantization_annotation"):
        graph.ClearField(field)
    graph.name = "network"

    def name(old: str) -> str:
        return public.get(old) or (f"{old}_" if old in taken else old)

    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = name(value.name)
        value.ClearField("doc_string")
        value.ClearField("metadata_props")
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    for number, node in enumerate(graph.node):
        node.name = f"{node.op_type}_{number}"
        node.input[:] = [name(value) for value in node.input]
        node.output[:] = [name(value) for value in node.output]
        node.ClearField("doc_string")
        node.ClearField("metadata_props")
    return model


def write_once(model: "ModelProto") -> "ModelProto":
    """The model with equal tensors as one, and a matrix that is another's transpose as that one, transposed.

    The runtime transposes it when it is loaded.
    """
    from onnx import helper, numpy_helper

    graph, seen, instead = model.graph, dict[object, str](), dict[str, str]()
    kept, transposes = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        same = seen.setdefault((values.dtype, values.shape, values.tobytes()), tensor.name)
        other = seen.get((values.dtype, values.shape[::-1], values.T.tobytes()))
        if same != tensor.name:
            instead[tensor.name] = same
        elif values.ndim == 2 and values.nbytes >= TRANSPOSED_FROM and other not in (None, tensor.name):
            transposes.append(helper.make_node("Transpose", [other], [tensor.name], f"{tensor.name}_of_{other}"))
        else:
            kept.append(tensor)
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        node.input[:] = [instead.get(value, value) for value in node.input]
    nodes = [*transposes, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def stored_bytes(model: "ModelProto") -> int:
    """Bytes of the tensors that the model's file holds."""
    from onnx import numpy_helper

    return sum(numpy_helper.to_array(tensor).nbytes for tensor in tensors(model))


def check_self_contained(model: "ModelProto") -> None:
    """UsageError if a tensor lies in another file, which whoever wrote the model could choose."""
    from onnx import TensorProto

    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            raise UsageError(
                f"a model holds all its weights, tensor {tensor.name!r} of this one lies in another file, which is "
                "not read: save the model without external data"
            )


def tensors(message: Any) -> "Iterator[TensorProto]":
    """All tensors of a model, wherever in it."""
    from onnx import TensorProto

    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for part in value if field.is_repeated else (value,):
            if isinstance(part, TensorProto):
                yield part
            else:
                yield from tensors(part)
