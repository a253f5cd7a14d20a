"""int8 after training: a network as an ONNX model whose weights are bytes, and which computes in bytes if asked."""

import logging
import platform
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import UsageError, one_of
from ..spaces.compression import QUANTIZATIONS
from .int8_graph import (
    fold_norms,
    has_attention,
    multiply_int8_dynamically,
    own_transposes,
    share_up_to_signs,
    store_as_int8,
    with_float_outputs,
)
from .onnx import OnnxNetwork, read, to_onnx
from .onnx_graph import plain, write_once
from .tasks import Data

if TYPE_CHECKING:
    from onnx import ModelProto

ROWS, BATCH = 128, 32  # examples that ranges are calibrated on, and at once
PRODUCTS = ("Conv", "Gemm", "MatMul")
BETWEEN = (
    *("Add", "Mul", "Concat", "Reshape", "Transpose", "Relu", "LeakyRelu", "Sigmoid", "Clip"),
    *("MaxPool", "AveragePool"),
)  # what stands between convolutions, and is computed in bytes so that these need not be left


def quantize(network: nn.Module, calibration: Iterable[Tensor], *, method: str = "static") -> OnnxNetwork:
    """An int8 copy of a trained network that runs on ONNX Runtime; ``network`` stays as it is.

    Weights are symmetric, with a scale for each channel that comes out (Jacob et al. 2018, eq. 1 with Z = 0); tensors
    shared by several layers are stored once. calibration: batches (N, *input_shape). method: ``static``, activations
    are bytes too, with ranges from the calibration examples; ``dynamic``, linear and attention layers take their ranges
    from each batch as it comes, convolutions compute in float; ``weight_only``, all compute in float. The same network
    and batches give the same bytes, on CPUs of one kind: see ``narrow``. UsageError without calibration examples,
    and for a network that cannot be exported.
    """
    one_of("quantization", method, QUANTIZATIONS)
    batches = [batch.cpu() for batch in calibration if len(batch)]
    if not batches:
        raise UsageError("quantization needs examples to calibrate on, none came: give at least one batch of inputs")
    return quantize_model(to_onnx(network, batches[0]), batches, method=method)


def quantize_model(content: bytes, batches: Sequence[Tensor], *, method: str) -> OnnxNetwork:
    """``quantize``, of the bytes that ``to_onnx`` gave."""
    model = read(content)
    heads = [output.name for output in model.graph.output]
    own_transposes(model)
    fold_norms(model)
    if method == "static":
        model = with_float_outputs(_with_int8_activations(model, batches))
    elif method == "dynamic":
        multiply_int8_dynamically(model, narrow=narrow())
    store_as_int8(model, narrow=narrow())
    share_up_to_signs(model)
    model = write_once(plain(model, model.graph.input[0].name, heads))
    return OnnxNetwork(model.SerializeToString(deterministic=True))


def quantize_for(network: nn.Module, data: Data, *, method: str = "static") -> OnnxNetwork:
    """``quantize``, calibrated on examples of the training split."""
    return quantize(network, calibration_batches(data), method=method)


def calibration_batches(data: Data) -> Iterator[Tensor]:
    """128 examples of the training split in batches, always the same ones; fewer where there are fewer."""
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:ROWS]
    return (x for x, _ in data.train.batches(BATCH, order))


@cache
def narrow() -> bool:
    """Whether weights take 7 bits: older x86 CPUs add pairs of products in 16 bits, which could overflow.

    Those with VNNI instructions, and ARM, add in 32. Where the CPU says nothing of itself it is taken for an older one.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return False
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return True
    return not words & {"avx512_vnni", "avx_vnni", "amx_int8"}


def _with_int8_activations(model: "ModelProto", batches: Sequence[Tensor]) -> "ModelProto":
    """Static quantization by ONNX Runtime's own tool: ranges are the least and largest values that came.

    Attention networks lose accuracy when the sums between their layers become bytes, so there only products do.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static

    class Batches(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._left, None)
            return None if batch is None else {model.graph.input[0].name: batch.numpy()}

    attention = has_attention(model)
    with tempfile.TemporaryDirectory(prefix="paretonas-int8-") as folder, _silent():
        quantize_static(
            model,
            Path(folder) / "int8.onnx",
            Batches(),
            op_types_to_quantize=list(PRODUCTS if attention else PRODUCTS + BETWEEN),
            per_channel=True,
            reduce_range=narrow(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options={
                "MatMulConstBOnly": True,
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"] if attention else [],
            },
        )
        return onnx.load(Path(folder) / "int8.onnx")


@contextmanager
def _silent() -> Iterator[None]:
    """ONNX Runtime's tool writes advice to the root logger, which would also set up one that has no handler."""
    root, handler = logging.getLogger(), logging.NullHandler()

    def others(record: logging.LogRecord) -> bool:
        return "onnxruntime" not in record.pathname

    root.addHandler(handler)
    root.addFilter(others)
    try:
        yield
    finally:
        root.removeFilter(others)
        root.removeHandler(handler)
