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
    """Read pictures as the scanner gives them, upside down, and turned as the network first learned them."""
    _, (x, y) = pictures()
    net, turned = load(), x.rot90(2, (2, 3))
    print("the digits      ", *y[:20].tolist())
    with torch.inference_mode():
        for words, some in (("turned, read as ", turned), ("scanned, read as", x)):
            print(words, *net(some[:20]).argmax(1).tolist())
    print(f"accuracy turned {accuracy(net, turned, y):.3f}; scanned {accuracy(net, x, y):.3f}")


if __name__ == "__main__":
    main()
