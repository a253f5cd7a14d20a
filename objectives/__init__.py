"""Measuring a candidate: training it and judging its answers, counting and timing what it costs."""

from .costs import macs, parameters
from .deployed import Deployed, Measurement
from .distillation import Lesson, Teacher, check_teacher
from .gradients import loss_gradients
from .latency import Host, Latency, calibrate, cpu_threads
from .latency import measure as measure_latency
from .layers import cheapest_layers
from .metrics import METRICS, Metric, default_metrics, metric_of, predict, qualities, quality
from .objective import COSTS, OBJECTIVES, Objective, check_objectives, objective_of
from .onnx import OnnxNetwork, to_onnx
from .quantization import quantize, quantize_for
from .quantization_aware import fake_quantization
from .shrinking import Shrunk, shrink
from .tasks import (
    MNIST1D,
    TASKS,
    AudioFolder,
    Augment,
    Data,
    Digits,
    DigitsParity,
    ImageFolder,
    Labels,
    LazySplit,
    OwnTask,
    Split,
    Table,
    Target,
    Task,
    TextFile,
    TextTable,
    Vision,
    as_task,
)
from .training import Epoch, train

__all__ = [
    "COSTS",
    "METRICS",
    "MNIST1D",
    "OBJECTIVES",
    "TASKS",
    "AudioFolder",
    "Augment",
    "Data",
    "Deployed",
    "Digits",
    "DigitsParity",
    "Epoch",
    "Host",
    "ImageFolder",
    "Labels",
    "Latency",
    "LazySplit",
    "Lesson",
    "Measurement",
    "Metric",
    "Objective",
    "OnnxNetwork",
    "OwnTask",
    "Shrunk",
    "Split",
    "Table",
    "Target",
    "Task",
    "Teacher",
    "TextFile",
    "TextTable",
    "Vision",
    "as_task",
    "calibrate",
    "cheapest_layers",
    "check_objectives",
    "check_teacher",
    "cpu_threads",
    "default_metrics",
    "fake_quantization",
    "loss_gradients",
    "macs",
    "measure_latency",
    "metric_of",
    "objective_of",
    "parameters",
    "predict",
    "qualities",
    "quality",
    "quantize",
    "quantize_for",
    "shrink",
    "to_onnx",
    "train",
]
