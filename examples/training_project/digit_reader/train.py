"""Train the network on for this project's pictures: python -m digit_reader.train [epochs]."""

import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from .classify import accuracy
from .data import pictures
from .model import OURS, load


def main() -> None:
    """Train all layers, and keep the weights."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    (x, y), test = pictures()
    torch.manual_seed(0)
    net = load()
    print(f"accuracy before {accuracy(net, *test):.3f}")
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
    batches = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=epochs * len(batches))
    net.train()
    for _ in range(epochs):
        for some, labels in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(some), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    net.eval()
    print(f"accuracy after {accuracy(net, *test):.3f}")
    save_file({name: tensor.contiguous().clone() for name, tensor in net.state_dict().items()}, OURS)


if __name__ == "__main__":
    main()
