"""Changes to ONNX graphs that make their weights bytes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Floats = NDArray[np.float32]
WORTH = 64  # numbers from which a tensor becomes bytes
ATTENTION = {"Softmax", "LayerNormalization", "RMSNormalization"}  # of the operators that only such networks have


def has_attention(model: "ModelProto") -> bool:
    """Whether it is a transformer, or normalises as these do."""
    return any(node.op_type in ATTENTION for node in model.graph.node)


def own_transposes(model: "ModelProto") -> None:
    """Write each transposed weight out, so that whoever uses it finds a weight and no computation."""
    from onnx import numpy_helper

    weights = _weights(model)
    for node in list(model.graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            order = _attributes(node).get("perm")
            values = np.ascontiguousarray(weights[node.input[0]].transpose(order))
            model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)
    _drop_unused(model)


def fold_norms(model: "ModelProto") -> None:
    """Give each use of a shared convolution a weight with its batch normalisation in it.

    Normalising multiplies a channel by a number, so as bytes these weights are the same up to signs: they differ in
    their scales. To be so to the last bit, the shared weight is rounded to bytes first.
    """
    from onnx import helper, numpy_helper

    graph, weights = model.graph, _weights(model)
    norms = {node.input[0]: node for node in graph.node if node.op_type == "BatchNormalization"}
    for conv in [node for node in graph.node if node.op_type == "Conv" and node.output[0] in norms]:
        norm = norms[conv.output[0]]
        if len(_users(model, conv.output[0])) > 1 or conv.input[1] not in weights:
            continue
        gamma, beta, mean, variance = (weights[name] for name in norm.input[1:5])
        factor = gamma / np.sqrt(variance + _attributes(norm).get("epsilon", 1e-5))
        weight = weights[conv.input[1]]
        bias = weights[conv.input[2]] if len(conv.input) > 2 else np.zeros_like(mean)
        steps, scale = int8(weight, 0, narrow=False)
        rounded = steps * _along(scale, 0, weight.ndim) * _along(factor, 0, weight.ndim)
        name = norm.output[0]
        graph.initializer.extend(
            [
                numpy_helper.from_array(rounded.astype(np.float32), f"{name}.weight"),
                numpy_helper.from_array((beta + (bias - mean) * factor).astype(np.float32), f"{name}.bias"),
            ]
        )
        folded = helper.make_node("Conv", [conv.input[0], f"{name}.weight", f"{name}.bias"], [name], conv.name)
        folded.attribute.extend(conv.attribute)
        _replace(model, conv, [folded])
        graph.node.remove(norm)
    _drop_unused(model)


def with_float_outputs(model: "ModelProto") -> "ModelProto":
    """The model without the rounding of its answers to 256 values, which makes ties of them."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    for output in graph.output:
        last = makers[output.name]
        if last.op_type != "DequantizeLinear" or makers[last.input[0]].op_type != "QuantizeLinear":
            continue
        rounding = makers[last.input[0]]
        value = rounding.input[0]
        if len(_users(model, last.input[0])) > 1 or value not in makers:
            continue
        graph.node.remove(last)
        graph.node.remove(rounding)
        for node in graph.node:
            node.input[:] = [output.name if name == value else name for name in node.input]
            node.output[:] = [output.name if name == value else name for name in node.output]
    _drop_unused(model)
    return model


def multiply_int8_dynamically(model: "ModelProto", *, narrow: bool) -> None:
    """Let each product with a constant matrix round what comes to bytes by the range that it has.

    In the form that ONNX Runtime makes one operator of (DynamicQuantizeMatMul).
    """
    from onnx import TensorProto, helper

    weights, rounded = _weights(model), dict[str, tuple[str, str, str]]()
    for node in list(model.graph.node):
        found = _matrix(node, weights)
        if found is None:
            continue
        matrix, bias = found
        name, out, entry = node.input[1], node.output[0], node.input[0]
        nodes: list[NodeProto] = []
        columns, scales = _stored(model, f"{name} by columns", matrix, 1, narrow=narrow)
        if entry not in rounded:
            rounded[entry] = (f"{entry} int8", f"{entry} scale", f"{entry} zero")
            nodes.append(helper.make_node("DynamicQuantizeLinear", [entry], rounded[entry]))
        steps, step, zero = rounded[entry]
        product = f"{out} product" if bias else out
        nodes += [
            helper.make_node("MatMulInteger", [steps, columns, zero], [f"{out} int32"]),
            helper.make_node("Cast", [f"{out} int32"], [f"{out} float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [step, scales], [f"{out} scales"]),
            helper.make_node("Mul", [f"{out} float", f"{out} scales"], [product]),
        ]
        nodes += [helper.make_node("Add", [product, bias], [out])] if bias else []
        _replace(model, node, nodes)
    _drop_unused(model)


def store_as_int8(model: "ModelProto", *, narrow: bool) -> None:
    """Store what is left of float weights of two or more dimensions as bytes, and multiply by the scales in use."""
    from onnx import helper

    for name, values in list(_weights(model).items()):
        if values.dtype != np.float32 or values.ndim < 2 or values.size < WORTH or not np.isfinite(values).all():
            continue
        users = _users(model, name)
        rows = [node for node in users if node.op_type == "Gather" and _attributes(node).get("axis", 0) == 0]
        others = [node for node in users if node not in rows]
        axis = 0 if rows else _channels(others[0], name, values.ndim)
        steps, scales = _stored(model, name, values, axis, narrow=narrow)
        for node in rows:
            _replace(model, node, list(_scaled_rows(node, steps, scales, values.ndim)))
        if others:
            whole = f"{name} whole"
            model.graph.node.insert(0, helper.make_node("DequantizeLinear", [steps, scales], [whole], axis=axis))
            for node in others:
                node.input[:] = [whole if value == name else value for value in node.input]
    _drop_unused(model)


def share_up_to_signs(model: "ModelProto") -> None:
    """Store kernels once whose channels are equal up to signs, as ``fold_norms`` leaves them.

    The others become rows of the first one and of its negative, which the runtime puts together when it is loaded.
    """
    from onnx import helper, numpy_helper

    graph, first = model.graph, dict[object, tuple[str, NDArray[np.int8]]]()
    for name, kernel in list(_weights(model).items()):
        if kernel.dtype != np.int8 or kernel.ndim < 3 or kernel.size < WORTH:
            continue
        rows = kernel.reshape(len(kernel), -1)
        signs = np.sign(rows[np.arange(len(rows)), (rows != 0).argmax(1)])
        owner, owned = first.setdefault((kernel.shape, (rows * signs[:, None]).tobytes()), (name, signs))
        turned = signs != owned
        if owner == name or not turned.any():
            continue  # equal ones are found later
        index = np.arange(len(rows), dtype=np.int32) + len(rows) * turned.astype(np.int32)
        graph.initializer.append(numpy_helper.from_array(index, f"{name} rows"))
        for node in (
            helper.make_node("Gather", [f"{owner} both", f"{name} rows"], [name]),
            helper.make_node("Concat", [owner, f"{owner} negative"], [f"{owner} both"], axis=0),
            helper.make_node("Neg", [owner], [f"{owner} negative"]),
        ):
            if not any(node.output[0] in other.output for other in graph.node):
                graph.node.insert(0, node)
        graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == name))


def int8(values: Floats, axis: int, *, narrow: bool) -> tuple[NDArray[np.int8], Floats]:
    """Whole numbers from -127 to 127 (narrow: from -64 to 64) and a scale for each index of ``axis``.

    As ONNX Runtime's tool rounds, so that a weight that both store is one.
    """
    top = 64 if narrow else 127
    others = tuple(each for each in range(values.ndim) if each != axis)
    largest = np.abs(values).max(axis=others).astype(np.float64)
    scales = (2 * largest / (2 * top)).astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1
    steps = np.rint(values / _along(scales, axis, values.ndim)).clip(-top, top)
    return steps.astype(np.int8), scales


def _scaled_rows(node: "NodeProto", steps: str, scales: str, dimensions: int) -> "Iterator[NodeProto]":
    """Take rows of bytes, and multiply each by its scale; a table is never made whole in float."""
    from onnx import TensorProto, helper

    ids, out = node.input[1], node.output[0]
    axes = list(range(1, dimensions))
    shape = helper.make_tensor("shape", TensorProto.INT64, [dimensions], [-1, *[1 for _ in axes]])
    yield helper.make_node("Constant", [], [f"{out} shape"], value=shape)
    yield helper.make_node("Reshape", [scales, f"{out} shape"], [f"{out} column"])
    yield helper.make_node("Gather", [f"{out} column", ids], [f"{out} scales"])
    yield helper.make_node("Gather", [steps, ids], [f"{out} int8"])
    yield helper.make_node("Cast", [f"{out} int8"], [f"{out} float"], to=TensorProto.FLOAT)
    yield helper.make_node("Mul", [f"{out} float", f"{out} scales"], [out])


def _channels(node: "NodeProto", weight: str, dimensions: int) -> int:
    """Which dimension of a weight is that of what comes out; the last one, if it is no layer's weight."""
    transposed = node.op_type == "Gemm" and _attributes(node).get("transB", 0)
    if list(node.input).index(weight) == 1 and (node.op_type == "Conv" or transposed):
        return 0
    return dimensions - 1


def _matrix(node: "NodeProto", weights: dict[str, Floats]) -> tuple[Floats, str] | None:
    """The constant matrix (in, out) that a node multiplies by, and the name of the bias; None of another node."""
    attributes = _attributes(node)
    if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in weights or attributes.get("transA", 0):
        return None
    matrix = weights[node.input[1]]
    bias = node.input[2] if len(node.input) > 2 else ""
    if matrix.ndim != 2 or matrix.size < WORTH or {attributes.get("alpha", 1.0), attributes.get("beta", 1.0)} != {1.0}:
        return None
    return np.ascontiguousarray(matrix.T if attributes.get("transB", 0) else matrix), bias


def _stored(model: "ModelProto", name: str, values: Floats, axis: int, *, narrow: bool) -> tuple[str, str]:
    """Write a weight as bytes; the names of these and of the scales."""
    from onnx import numpy_helper

    names = f"{name} int8", f"{name} scales"
    if names[0] not in {tensor.name for tensor in model.graph.initializer}:
        arrays = int8(values, axis, narrow=narrow)
        for array, each in zip(arrays, names, strict=True):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), each))
    return names


def _weights(model: "ModelProto") -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _attributes(node: "NodeProto") -> dict[str, Any]:
    from onnx import helper

    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _along(values: Floats, axis: int, dimensions: int) -> Floats:
    """One value for each index of ``axis``, shaped to multiply a tensor of so many dimensions."""
    return values.reshape([-1 if each == axis else 1 for each in range(dimensions)])


def _users(model: "ModelProto", name: str) -> "list[NodeProto]":
    return [node for node in model.graph.node if name in node.input]


def _replace(model: "ModelProto", old: "NodeProto", new: "list[NodeProto]") -> None:
    place = list(model.graph.node).index(old)
    model.graph.node.remove(old)
    for offset, node in enumerate(new):
        model.graph.node.insert(place + offset, node)


def _drop_unused(model: "ModelProto") -> None:
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
