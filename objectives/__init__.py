"""Measuring a candidate: training it for accuracy, counting and timing what it costs."""

from .costs import macs, parameters
from .latency import Host, Latency, calibrate, cpu_threads
from .latency import measure as measure_latency
from .objective import OBJECTIVES, Measurement, Objective
from .tasks import TASKS, Data, Split, Task
from .training import Epoch, accuracy, train

__all__ = [
    "OBJECTIVES",
    "TASKS",
    "Data",
    "Epoch",
    "Host",
    "Latency",
    "Measurement",
    "Objective",
    "Split",
    "Task",
    "accuracy",
    "calibrate",
    "cpu_threads",
    "macs",
    "measure_latency",
    "parameters",
    "train",
]
