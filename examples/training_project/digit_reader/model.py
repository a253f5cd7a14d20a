"""The network: as it came, or as this project has trained it on."""

from pathlib import Path

from safetensors.torch import load_file
from torch import nn

from .nets.net import Net  # type: ignore[import-not-found]

CAME = Path(__file__).parent / "nets" / "net.safetensors"
OURS = Path("digit_reader.safetensors")  # in the folder where the project works


def load() -> nn.Module:
    """The network with the newest weights, in evaluation mode."""
    net: nn.Module = Net()
    net.load_state_dict(load_file(OURS if OURS.exists() else CAME))
    return net.eval()
