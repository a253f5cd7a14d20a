"""The formats that a network leaves in beside its source: how each is written, and read as another program reads it."""

import copy
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import UsageError, one_of
from ...objectives import (
    Data,
    Deployed,
    OnnxNetwork,
    calibration_batches,
    to_onnx,
    trace,
)
from ...objectives.executorch import (
    check_executorch,
    executorch_version,
    load_executorch,
    to_executorch,
    to_executorch_float,
)
from ...spaces import example_input

Answers = Tensor | dict[str, Tensor]
Network = Callable[[Tensor], Answers]

SOURCE, ALL = "source", "all"


@dataclass(frozen=True)
class Format:
    """A way to write a network down.

    file: in 32 bits; int8: of a trial of 8 bits, the same where the format is then of the network of 32 bits that it
    was made of. check: UsageError where packages are missing. write: its bytes. read: what runs a file, on so many
    threads, with the names of the heads. version: of what ran it. takes: how many examples at once. use: code.
    """

    word: str
    file: str
    int8: str
    says: str
    takes: str
    use: str
    check: Callable[[], None]
    write: Callable[[Deployed, Data | None], bytes]
    read: Callable[[Path, int, Sequence[str]], Network]
    version: Callable[[], str]

    def name(self, deployed: Deployed) -> str:
        """What its file is called."""
        return self.file if deployed.quantized is None else self.int8

    def is_int8(self, deployed: Deployed) -> bool:
        """Whether its file computes in bytes."""
        return self.name(deployed) != self.file

    def installed(self) -> bool:
        """Whether it can be written here."""
        try:
            self.check()
        except UsageError:
            return False
        return True


def formats_of(words: str | Sequence[str]) -> list[Format]:
    """The formats of these words, in the order of FORMATS; ``all`` is those whose packages are installed.

    words: also as one text with commas. ``source`` is always written, and may be left out. UsageError for an unknown
    word, and where a package is missing.
    """
    given = [word.strip() for word in (words.split(",") if isinstance(words, str) else words)]
    for word in given:
        one_of("format", word, (SOURCE, *FORMATS, ALL))
    for one in FORMATS.values():
        if one.word in given:
            one.check()
    return [one for one in FORMATS.values() if one.word in given or (ALL in given and one.installed())]


# torch.export


def _program(deployed: Deployed, _: Data | None) -> bytes:
    """A file that says nothing of the machine that it was made on."""
    program = trace(_copy(deployed.network), example_input(deployed.architecture, 2))
    for module in program.graph_module.modules():
        for node in getattr(module, "graph", torch.fx.Graph()).nodes:
            node.meta.pop("stack_trace", None)  # paths of files
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, content)
    return content.getvalue()


def _read_program(path: Path, _: int, __: Sequence[str]) -> Network:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(path).module()  # written a moment ago


def _copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).cpu().eval()


# ONNX


def _onnx(deployed: Deployed, _: Data | None) -> bytes:
    if deployed.quantized is not None:
        return deployed.quantized.model
    return to_onnx(deployed.network, example_input(deployed.architecture, 2))


def _read_onnx(path: Path, threads: int, _: Sequence[str]) -> Network:
    return OnnxNetwork(path.read_bytes(), threads=threads)


def _onnx_version() -> str:
    import onnxruntime

    return f"onnxruntime {onnxruntime.__version__}"


# ExecuTorch


def _executorch(deployed: Deployed, data: Data | None) -> bytes:
    if deployed.quantized is None:
        return to_executorch_float(deployed.network, example_input(deployed.architecture, 1))
    assert data is not None
    return to_executorch(deployed.network, calibration_batches(data))


def _read_executorch(path: Path, threads: int, heads: Sequence[str]) -> Network:
    """The program takes one example a call, so that a device holds no more in memory."""
    program = load_executorch(path.read_bytes(), threads=threads)

    def answer(x: Tensor) -> Answers:
        rows = [[part.clone() for part in program([row.unsqueeze(0)])] for row in x]
        answers = [torch.cat(parts) for parts in zip(*rows, strict=True)]
        return answers[0] if list(heads) == [""] else dict(zip(heads, answers, strict=True))

    return answer


def _always() -> None:
    """Comes with this package."""


def _torch_version() -> str:
    return f"torch {torch.__version__}"


EXECUTORCH = Format(
    "executorch",
    "net.pte",
    "net.int8.pte",
    "ExecuTorch program on XNNPACK, for phones and boards",
    "one example a call",
    """from executorch.runtime import Runtime

program = Runtime.get().load_program("{file}")
answers = program.load_method("forward").execute([batch[:1]])""",
    check_executorch,
    _executorch,
    _read_executorch,
    executorch_version,
)
FORMATS = {
    one.word: one
    for one in (
        Format(
            "torch_export",
            "net.pt2",
            "net.pt2",
            "torch.export program",
            "any number of examples",
            """import torch

net = torch.export.load("{file}").module()  # torch unpacks it: load only files that you trust
answers = net(batch)""",
            _always,
            _program,
            _read_program,
            _torch_version,
        ),
        Format(
            "onnx",
            "net.onnx",
            "net.int8.onnx",
            "ONNX model, operator set 20",
            "any number of examples",
            """import onnxruntime

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
answers = session.run(None, {{session.get_inputs()[0].name: batch.numpy()}})""",
            _always,
            _onnx,
            _read_onnx,
            _onnx_version,
        ),
        EXECUTORCH,
    )
}
