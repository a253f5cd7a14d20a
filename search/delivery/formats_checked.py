"""A network in a format, written, read back from the file, and compared with the trained one.

In 32 bits its answers are the same up to rounding; in int8 it is as accurate as the trial.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import ExportError
from ...objectives import Data, Deployed, LazySplit, Split, quality
from ...spaces import example_input
from ...spaces.architecture import Json
from .formats import EXECUTORCH, Answers, Format, Network

BATCHES = (1, 2, 16)  # examples at once, where a format takes any number
TOLERANCE = 1e-5  # largest difference of an answer, as a share of the largest answer where that is above 1
POINTS = 0.005  # of accuracy that an int8 file may differ by
JUDGED = 1000  # examples of the validation split, at most, that it is judged on
JUDGES = {"classes": "accuracy", "tokens": "accuracy", "number": "r2"}


def write_format(one: Format, deployed: Deployed, data: Data | None, folder: Path, *, threads: int = 1) -> Json:
    """Write a network's file into ``folder``, read it back, compare it; what the card says of it.

    data: what int8 is calibrated and judged on. UsageError if the network cannot be written so, ExportError if the file
    answers otherwise.
    """
    path = folder / one.name(deployed)
    path.write_bytes(one.write(deployed, data))
    with torch.inference_mode():
        heads = list(by_head(deployed.network(example_input(deployed.architecture, 2))))
    network = one.read(path, threads, heads)
    if one.is_int8(deployed):
        assert data is not None
        compared = judge(one, network, deployed, data)
    else:
        batches = BATCHES if one is not EXECUTORCH else (1,) * BATCHES[-1]
        compared = compare(one, network, deployed, batches)
    return {"format": one.word, "runs_on": one.version(), "takes": one.takes, **compared}


def compare(one: Format, network: Network, deployed: Deployed, batches: Sequence[int]) -> Json:
    """The largest difference from the trained network's answers on random examples. ExportError if it is too large."""
    difference = share = 0.0
    for seed, batch in enumerate(batches):
        x = example_input(deployed.architecture, batch, seed=seed)
        with torch.inference_mode():
            ours, theirs = by_head(deployed.network(x)), by_head(network(x))
        if ours.keys() != theirs.keys() or any(ours[head].shape != theirs[head].shape for head in ours):
            raise ExportError(
                f"{one.file} answers {_shapes(theirs)}, the trained network {_shapes(ours)}: {_fault(one)}"
            )
        for head, answer in ours.items():
            apart = float((answer - theirs[head]).abs().max()) if answer.numel() else 0.0
            of_largest = apart / max(1.0, float(answer.abs().max()))
            if not of_largest <= TOLERANCE:  # nor nan
                raise ExportError(
                    f"{one.file} may differ from the trained network by {TOLERANCE:g} of the largest answer, it does "
                    f"by {of_largest:.2g}: {_fault(one)}"
                )
            difference, share = max(difference, apart), max(share, of_largest)
    return {"examples": sum(batches), "largest_difference": difference, "relative_difference": share}


def judge(one: Format, network: Network, deployed: Deployed, data: Data) -> Json:
    """Accuracy of an int8 file beside that of the trial's int8 network, on examples of the validation split.

    For numbers it is R². ExportError if they are more than half a point apart.
    """
    split = first(data.validation, JUDGED)
    several = len(data.targets) > 1
    names = [f"{target.head}.{JUDGES[target.kind]}" if several else JUDGES[target.kind] for target in data.targets]
    file, trial = (quality(each, split, data, names) for each in (Called(network), deployed.answering))
    for name in names:
        if not abs(file[name] - trial[name]) <= POINTS:
            raise ExportError(
                f"{one.int8} may differ from the trial by {POINTS:g} in {name}, it has {file[name]:.4f} and the trial "
                f"{trial[name]:.4f} on {len(split)} examples: nothing was written, leave {one.word} out of the formats"
            )
    return {"examples": len(split), "split": "validation", "quality": file, "quality_of_trial": trial}


class Called(nn.Module):
    """What runs a file, as a module that can be judged."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def forward(self, x: Tensor) -> Answers:
        return self._network(x)


def first(split: Split | LazySplit, count: int) -> Split:
    """So many examples, or all."""
    x, y = next(iter(split.batches(min(count, len(split)))))
    return Split(x, y)


def by_head(answers: Answers) -> dict[str, Tensor]:
    """A network's answers as a dict, also where there is one head."""
    return answers if isinstance(answers, dict) else {"": answers}


def _shapes(answers: Mapping[str, Tensor]) -> str:
    return " and ".join(f"{head or 'scores'} of shape {tuple(answer.shape)}" for head, answer in answers.items())


def _fault(one: Format) -> str:
    return f"nothing was written; leave {one.word} out of the formats, and report this"
