"""A network as it leaves the tool, and what is measured of it."""

from dataclasses import dataclass, field

from torch import nn

from ..spaces import Architecture
from ..spaces.block import Json
from .onnx import OnnxNetwork


@dataclass(frozen=True)
class Measurement:
    """A value in the objective's unit, and the conditions it was measured under."""

    value: float
    detail: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Deployed:
    """A network as it leaves: trained, shrunk, fine-tuned; on the CPU, in evaluation mode.

    quantized: the int8 network that was made of it, if it is this one that leaves. precision: ``float32``, or how it
    became int8, such as ``int8 static``.
    """

    network: nn.Module
    architecture: Architecture
    quantized: OnnxNetwork | None = None
    precision: str = "float32"

    @property
    def answering(self) -> nn.Module:
        """The one that answers."""
        return self.network if self.quantized is None else self.quantized
