"""Speed of the training loop against a plain DataLoader loop and a hand-tuned tensor-resident loop, in one run.

    python benchmarks/training_loop.py [--repeats 9]

The same network, data, optimizer, schedule, and judging after each epoch, one thread, no worker processes. The three
loops take turns, and a figure is the median, and the range, of the other's time over ours in the same turn: above 1
ours is the faster one. Time is that of the process on the CPU, because others may use the machine.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import paretonas as pn
from paretonas.objectives import train
from paretonas.objectives.tasks import Data, LazySplit, Split, Target, as_task
from paretonas.spaces import Architecture, Block, Head, build

EPOCHS = 2
TRAINING = pn.Training(epochs=EPOCHS, batch_size=64, learning_rate=1e-2)


def tensors(split: Split | LazySplit) -> tuple[torch.Tensor, torch.Tensor]:
    """Examples and labels of a split in memory with one head."""
    assert isinstance(split, Split)
    assert isinstance(split.y, torch.Tensor)
    return split.x, split.y


def ours(network: nn.Module, data: Data) -> None:
    """The loop of the house."""
    for _ in train(network, data, TRAINING, seed=0):
        pass


def plain(network: nn.Module, data: Data) -> None:
    """As the tutorials have it: data loaders over data sets of tensors, the optimizer as it comes."""
    loader = DataLoader(TensorDataset(*tensors(data.train)), TRAINING.batch_size, shuffle=True, drop_last=True)
    held_out = DataLoader(TensorDataset(*tensors(data.validation)), 1024)
    optimizer = torch.optim.AdamW(network.parameters(), TRAINING.learning_rate, weight_decay=TRAINING.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, TRAINING.learning_rate, epochs=EPOCHS, steps_per_epoch=len(loader)
    )
    for _ in range(EPOCHS):
        network.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            sum((network(x).argmax(1) == y).sum().item() for x, y in held_out)


def resident(network: nn.Module, data: Data) -> None:
    """Tuned by hand: tensors, one permutation an epoch, the fused optimizer, channels last, no reading of the loss."""
    (x, y), (held_out, answers) = tensors(data.train), tensors(data.validation)
    rows, batch = len(x), TRAINING.batch_size
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), TRAINING.learning_rate, weight_decay=TRAINING.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, TRAINING.learning_rate, epochs=EPOCHS, steps_per_epoch=rows // batch
    )
    for _ in range(EPOCHS):
        network.train()
        for index in torch.split(torch.randperm(rows)[: rows // batch * batch], batch):
            loss = nn.functional.cross_entropy(network(x[index]), y[index])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.no_grad():
            (network(held_out).argmax(1) == answers).sum().item()


def tokens() -> Data:
    """Drawn sequences of 32 tokens of 64, two classes."""
    draw = torch.Generator().manual_seed(0)
    train, validation, test = (
        Split(torch.randint(64, (rows, 32), generator=draw), torch.randint(2, (rows,), generator=draw))
        for rows in (1024, 256, 256)
    )
    spec = pn.DataSpec((32,), 2, vocabulary=64)
    return Data(spec, (Target("head", "classes", names=("0", "1")),), train, validation, test, preprocessing={})


def cases() -> dict[str, tuple[Architecture, Data]]:
    """A network and its data, by name."""
    digits, text = as_task("digits").load(), tokens()
    image, ten = digits.spec.input_shape, (Head(10),)
    transformer = Block("transformer", heads=2, head_width=16, hidden=64)
    blocks = {
        "conv 16-32": (
            Block("conv", width=16),
            Block("max_pool"),
            Block("conv", width=32),
            Block("global_average_pool"),
        ),
        "mlp 64-64": (Block("flatten"), Block("linear", width=64), Block("linear", width=64)),
    }
    encoder = (
        Block("embedding", width=32, vocabulary=64, length=32),
        transformer,
        transformer,
        Block("sequence_norm"),
        Block("mean_positions"),
    )
    found = {name: (Architecture(image, some, ten), digits) for name, some in blocks.items()}
    found["transformer 2 x 32"] = (Architecture((32,), encoder, (Head(2),), vocabulary=64), text)
    return found


def seconds(loop: Callable[[nn.Module, Data], None], architecture: Architecture, data: Data) -> float:
    """Of a loop with a new network."""
    network = build(architecture, seed=0)
    began = time.process_time()
    loop(network, data)
    return time.process_time() - began


def main() -> None:
    """Print, for each network, the median and the range of the other loops' times over ours."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="turns of the three loops (default 9)")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, n = {repeats}")
    print(f"{'network':20} {'ms a step':>9}   {'against DataLoader':>22}   {'against hand-tuned':>22}")
    for name, (architecture, data) in cases().items():
        turns = [[seconds(loop, architecture, data) for loop in (ours, plain, resident)] for _ in range(1 + repeats)]
        found = turns[1:]  # the first one warms up
        steps = EPOCHS * (len(data.train) // TRAINING.batch_size)
        step_ms = statistics.median(times[0] for times in found) / steps * 1e3
        against = []
        for other in (1, 2):
            ratios = [times[other] / times[0] for times in found]
            against.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"{name:20} {step_ms:9.2f}   {against[0]:>22}   {against[1]:>22}")


if __name__ == "__main__":
    main()
