"""The tasks there are, by name."""

from typing import Any

from ...errors import UsageError, one_of
from .audio import AudioFolder
from .base import Task
from .digits import Digits, DigitsParity
from .images import ImageFolder
from .mnist1d import MNIST1D
from .own import OwnTask
from .tables import Table
from .text import TextFile, TextTable
from .vision import Vision

TASKS: dict[str, type[Task]] = {
    task.name: task
    for task in (
        Digits,
        DigitsParity,
        Vision,
        ImageFolder,
        Table,
        TextTable,
        TextFile,
        AudioFolder,
        MNIST1D,
        OwnTask,
    )
}


def as_task(given: Any) -> Task:
    """A task, its word, or a dict with its ``type`` and fields. UsageError says what is unknown or missing."""
    if isinstance(given, Task):
        return given
    if isinstance(given, str):
        given = {"type": given}
    if not isinstance(given, dict):
        raise UsageError(
            f"a task is a word, a table with a type and fields, or a Task such as Digits(), {given!r} came"
        )
    if "type" not in given:
        raise UsageError(f"a task needs a type, {given!r} was given: there is {', '.join(TASKS)}")
    one_of("task", given["type"], TASKS)
    return TASKS[given["type"]].from_json(given)
