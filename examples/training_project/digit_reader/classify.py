"""Say which digits some pictures are: python -m digit_reader.classify."""

import torch
from torch import Tensor, nn

from .data import pictures
from .model import load


@torch.no_grad()
def accuracy(net: nn.Module, x: Tensor, y: Tensor) -> float:
    """The share of pictures that are read right."""
    return float((net(x).argmax(1) == y).float().mean())


def main() -> None:
    """Read the pictures that nothing was trained on."""
    _, (x, y) = pictures()
    net = load()
    with torch.inference_mode():
        print("read", net(x[:10]).argmax(1).tolist())
    print("are ", y[:10].tolist())
    print(f"accuracy {accuracy(net, x, y):.3f}")


if __name__ == "__main__":
    main()
