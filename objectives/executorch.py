"""int8 for phones and boards: a network as an ExecuTorch program on XNNPACK. Needs ``executorch`` and ``torchao``."""

import copy
import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from ..errors import UsageError

PRODUCTS = ("convolution", "linear", "addmm", "mm", "bmm")  # outside the backend these are 30 times slower


def to_executorch(network: nn.Module, calibration: Iterable[Tensor]) -> bytes:
    """The bytes of a ``.pte`` file: static int8, a scale for each channel, for one example (1, *input_shape) a call.

    By torchao's export quantization (PT2E); ``network`` stays as it is. calibration: batches (N, *input_shape) of two
    examples or more, which the ranges of activations are taken from. Raises UsageError where the packages are not
    installed, without calibration examples, for a network that cannot be traced, and for one whose products XNNPACK
    does not take.
    """
    try:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from executorch.exir import to_edge_transform_and_lower
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
    except ImportError as error:
        raise UsageError(f"ExecuTorch needs packages of its own ({error}): pip install executorch torchao") from error
    batches = [batch.cpu() for batch in calibration if len(batch) > 1]
    if not batches:
        raise UsageError("ExecuTorch needs examples to calibrate on, none came: give at least one batch of two or more")
    network = copy.deepcopy(network).cpu().eval()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # exporting warns of its own insides
        try:
            shapes = ({0: torch.export.Dim("batch")},)
            traced = torch.export.export(network, (batches[0],), dynamic_shapes=shapes).module()
        except Exception as error:
            raise UsageError(f"the network cannot be traced: {str(error).strip().splitlines()[0]}") from error
        quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
        prepared = prepare_pt2e(traced, quantizer)
        for batch in batches:
            prepared(batch)
        program = torch.export.export(convert_pt2e(prepared), (batches[0][:1],))
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        for node in edge.exported_program().graph.nodes:
            operator = str(node.target).split(".")
            if node.op == "call_function" and any(word in PRODUCTS for word in operator):
                raise UsageError(f"XNNPACK has no int8 for {node.target} of this network: use ONNX Runtime")
        return bytes(edge.to_executorch().buffer)
