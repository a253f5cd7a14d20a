"""The data of a study, read once in a process."""

from typing import TYPE_CHECKING

import torch

from ..errors import StudyError, UsageError
from ..objectives import Data, Task
from ..spaces import DataSpec

if TYPE_CHECKING:
    from .definition import Definition

_kept: dict[tuple[str, str], Data] = {}  # by the task's key, with the fingerprint of the data, and device
MOST_KEPT = 4  # a process that goes through many studies does not keep the data of all


def data_of(definition: "Definition", device: str) -> Data:
    """The data of a study on a device. StudyError if they are no longer those that it began with."""
    fingerprint = definition.task.fingerprint()
    if fingerprint != definition.fingerprint:
        raise StudyError(
            f"the data of {definition.task.where} changed since the study began, so its results would not compare: put "
            "the old data back, or begin a study under another name"
        )
    return load_data(definition.task, device, fingerprint=fingerprint)


def load_data(task: Task, device: str = "cpu", *, fingerprint: str | None = None) -> Data:
    """The splits of a task on a device. UsageError says what is wrong with the data, or that the device is missing.

    fingerprint: of the data as they are now, by default asked of the task.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("the study trains on cuda and this machine has no CUDA device: use another worker or device")
    fingerprint = task.fingerprint() if fingerprint is None else fingerprint
    key = (task.key_with(fingerprint), device)
    if key not in _kept:
        whole = task.load() if device == "cpu" else load_data(task, fingerprint=fingerprint)
        data = whole.to(torch.device(device))
        while len(_kept) >= MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = data
    return _kept[key]


def in_words(spec: DataSpec) -> str:
    """What comes into a network, such as ``1x8x8 input`` or ``64 tokens``."""
    shape = "x".join(map(str, spec.input_shape))
    return f"{shape} input" if spec.vocabulary is None else f"{shape} tokens"
