"""A network as an ONNX model, and such a model as a network that ONNX Runtime runs on the CPU."""

import copy
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import CandidateFailed, UsageError
from .onnx_graph import check_self_contained, plain, stored_bytes, write_once

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 20
INPUT, OUTPUT = "x", "head"  # what comes in; what leaves a network that answers a tensor
QUANTIZE = "QuantizeLinear"  # the operator that rounds activations to bytes
TALKERS = ("torch", "onnxscript", "onnx_ir")
TOLERANCE = 1e-4  # largest difference between the two networks' answers, as a share of the largest answer


class OnnxNetwork(nn.Module):
    """An ONNX model that runs on ONNX Runtime, on the CPU: (N, *input_shape) to what the network answered.

    That is a tensor, or a dict of tensors by head. There are no parameters, so it is trained no more; ``to``, ``eval``
    and ``state_dict`` do nothing. threads: that one operator may use; operators run one after the other. UsageError for
    bytes that are no model, for one whose weights lie in other files, and for an operator that the runtime has not.
    """

    def __init__(self, model: bytes, *, threads: int = 1) -> None:
        super().__init__()
        self.model = model
        self.threads = threads
        proto = read(model)
        self.weight_bytes = stored_bytes(proto)
        self._session = _session(model, threads, in_bytes=any(node.op_type == QUANTIZE for node in proto.graph.node))
        self._input = self._session.get_inputs()[0].name
        self._heads = [output.name for output in self._session.get_outputs()]

    @property
    def file_bytes(self) -> int:
        """The model as a file: weights, and the graph around them."""
        return len(self.model)

    @property
    def backend(self) -> str:
        """What runs it, with the version."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"

    def with_threads(self, threads: int) -> "OnnxNetwork":
        """The same network with so many threads."""
        return self if threads == self.threads else OnnxNetwork(self.model, threads=threads)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        answers = self._session.run(None, {self._input: x.detach().cpu().numpy()})
        tensors = [torch.from_numpy(answer).to(x.device) for answer in answers]
        return tensors[0] if self._heads == [OUTPUT] else dict(zip(self._heads, tensors, strict=True))


def to_onnx(network: nn.Module, example: Tensor) -> bytes:
    """A network as an ONNX model of operator set 20 that takes any number of examples; ``network`` stays as it is.

    example: (N, *input_shape). The input is called ``x``, the outputs as the heads are, or ``head`` for one tensor.
    Weights that are used several times are written once. The same network gives the same bytes. Raises UsageError,
    naming the layer where it is known, if the network cannot be written or its answers would differ by more than 1e-4
    of the largest; CandidateFailed (``diverged``) if they are not finite.
    """
    rows = torch.cat([example, example])[:2].cpu()  # one row would stand for any number that is 1
    network = _detached(network)
    with torch.no_grad(), _quiet():
        answers = _by_head(network, torch.cat([rows, rows[:1]]))
        program = trace(network, rows)
        model = plain(_translated(program, list(answers)), _input_name(answers), list(answers))
    data: bytes = write_once(model).SerializeToString(deterministic=True)
    _check_agreement(OnnxNetwork(data), torch.cat([rows, rows[:1]]), answers)
    return data


def read(model: bytes) -> "ModelProto":
    """The model that these bytes are. UsageError if they are none, or if it needs other files."""
    import onnx

    try:
        proto = onnx.load_from_string(model)
    except Exception as error:  # protobuf has several for what is no message
        raise UsageError(f"an ONNX model is wanted, these {len(model)} bytes are none: {error}") from error
    check_self_contained(proto)
    return proto


def _session(model: bytes, threads: int, *, in_bytes: bool) -> Any:
    """A session that says nothing, to nobody. in_bytes: whether activations become bytes as well as weights.

    Otherwise weights that are stored as bytes become floats when they are loaded, rather than at each call.
    """
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # fatal: what is not is raised
    options.add_session_config_entry("session.disable_quant_qdq", "0" if in_bytes else "1")
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no common class but this
        raise UsageError(f"ONNX Runtime cannot run this network: {_first_line(error)}") from error


def _detached(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network).cpu().eval()
    except Exception as error:
        raise UsageError(
            f"a network is copied before it is written, this one cannot be: {_first_line(error)}"
        ) from error


def _by_head(network: nn.Module, rows: Tensor) -> dict[str, Tensor]:
    """What the network answers, by the name of the output."""
    try:
        answers = network(rows)
    except Exception as error:
        shape = tuple(rows.shape[1:])
        raise UsageError(f"the network does not run on examples of shape {shape}: {_first_line(error)}") from error
    heads = answers if isinstance(answers, dict) else {OUTPUT: answers}
    for name, answer in heads.items():
        if not isinstance(name, str) or not isinstance(answer, Tensor):
            kind = type(answer).__name__
            raise UsageError(f"a network answers a tensor or a dict of tensors by name, {kind} came for {name!r}")
        if answer.is_floating_point() and not answer.isfinite().all():
            raise CandidateFailed("diverged", "the network answers numbers that are not finite")
    return heads


def trace(network: nn.Module, rows: Tensor) -> torch.export.ExportedProgram:
    """The operations of a network on any number of examples; two are given. UsageError names the layer that resists."""
    shapes = ({0: torch.export.Dim("batch")},)

    def run() -> torch.export.ExportedProgram:
        return torch.export.export(network, (rows,), dynamic_shapes=shapes, strict=False)

    try:
        return run()
    except Exception as error:
        where = _failing_layer(network, run)
        text = _first_line(error)
        if "specialized" in str(error) or "Constraints violated" in str(error):
            text = "it works for one number of examples only, a model takes any"
        raise UsageError(f"{where} cannot be traced: {text}") from error


def _failing_layer(network: nn.Module, run: Callable[[], object]) -> str:
    """Run what fails once more, and say in which layer it did."""
    inside: list[str] = []
    hooks = []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: inside.append(name)))
        hooks.append(module.register_forward_hook(lambda *_: inside.pop() and None))
    with suppress(Exception):
        run()
    for hook in hooks:
        hook.remove()
    return _named(inside[-1] if inside else "")


def _translated(program: torch.export.ExportedProgram, heads: list[str]) -> "ModelProto":
    names = [f"output {head}" for head in heads]  # no value inside is called so
    try:
        with _operators_read_once():
            written = torch.onnx.export(
                program, dynamo=True, verbose=False, opset_version=OPSET, input_names=["input"], output_names=names
            )
    except Exception as error:
        raise UsageError(f"{_untranslated_layer(program, error)} cannot be written as ONNX: {_cause(error)}") from error
    assert written is not None
    return written.model_proto


def _untranslated_layer(program: torch.export.ExportedProgram, error: BaseException) -> str:
    """The layer whose operation the error names, as it was traced or as it was taken apart."""
    nodes = list(program.graph.nodes)
    with suppress(Exception):
        nodes += program.run_decompositions().graph.nodes
    for node in nodes:
        if node.op == "call_function" and f"{node.target}'".replace(".default'", "'") in _cause(error):
            layers = list(node.meta.get("nn_module_stack", {}).values())
            return _named(layers[-1][0] if layers else "")
    return _named("")


def _named(layer: str) -> str:
    return f"layer {layer!r} of the network" if layer else "the network"


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _first_line(error)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _input_name(heads: dict[str, Tensor]) -> str:
    """A head may be called x as well; then what comes in is not."""
    return INPUT if INPUT not in heads else "input"


def _check_agreement(written: OnnxNetwork, rows: Tensor, answers: dict[str, Tensor]) -> None:
    found = written(rows)
    by_head = found if isinstance(found, dict) else {OUTPUT: found}
    for head, answer in answers.items():
        if by_head[head].shape != answer.shape:
            shapes = f"{tuple(by_head[head].shape)}, the network {tuple(answer.shape)}"
            raise UsageError(f"the ONNX model answers {shapes} for {head!r}: this network cannot be exported")
        if answer.numel() and float((by_head[head] - answer).abs().max()) > TOLERANCE * float(answer.abs().max()):
            raise UsageError(f"the ONNX model answers otherwise for {head!r}: this network cannot be exported")


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporting warns of its own insides, and logs and prints all of a network that it cannot take."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in TALKERS]
    talking = [logger for logger in map(logging.getLogger, names) if not logger.disabled]
    nowhere = io.StringIO()
    with warnings.catch_warnings(), redirect_stdout(nowhere), redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        for logger in talking:
            logger.disabled = True
        try:
            yield
        finally:
            for logger in talking:
                logger.disabled = False


@contextmanager
def _operators_read_once() -> Iterator[None]:
    """torch.onnx reads its table of operators from source for each network, which takes over 1 s; let it keep one.

    The table is reached below torch's public face. Where it is not found, as in another release, nothing is changed.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        original = ONNXRegistry.__dict__["from_torchlib"]
    except (ImportError, KeyError):
        yield
        return
    ONNXRegistry.from_torchlib = _kept(ONNXRegistry.from_torchlib)  # type: ignore[method-assign]
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = original  # type: ignore[method-assign]


@cache
def _kept(reader: Callable[..., Any]) -> Any:
    return staticmethod(cache(reader))
