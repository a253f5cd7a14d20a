"""The data that candidates are trained and judged on."""

from .audio import AudioFolder
from .base import Augment, Data, Target, Task
from .catalog import TASKS, as_task
from .digits import Digits, DigitsParity
from .images import ImageFolder
from .mnist1d import MNIST1D
from .own import OwnTask
from .splits import Labels, LazySplit, Split
from .tables import Table
from .text import TextFile, TextTable
from .vision import Vision

__all__ = [
    "MNIST1D",
    "TASKS",
    "AudioFolder",
    "Augment",
    "Data",
    "Digits",
    "DigitsParity",
    "ImageFolder",
    "Labels",
    "LazySplit",
    "OwnTask",
    "Split",
    "Table",
    "Target",
    "Task",
    "TextFile",
    "TextTable",
    "Vision",
    "as_task",
]
