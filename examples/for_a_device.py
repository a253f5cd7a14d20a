"""A network for a small device: within its memory and its time, in int8 where that helps, and out as ONNX.

python examples/for_a_device.py [candidates]

The device is this machine. On a board, run ``paretonas front --remeasure`` there, on the same store.
"""

import sys

import numpy as np
import onnxruntime

import paretonas as pn

space = pn.ConvSpace(
    layers=(2, 4),
    widths=[8, 16, 32],
    blocks=["conv", "separable"],
    pruning=(0.0, 0.7),
    compression=pn.CompressionSpace(bits=[32, 8]),
)
study = pn.create_study(
    "device",
    space=space,
    task="digits",
    objectives=["accuracy", "size_bytes", "latency:onnxruntime"],
    constraints=["size_bytes <= 40_000", "activation_bytes <= 30_000", "latency:onnxruntime <= 2"],
    storage="sqlite:///examples.db",
)
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 16)
for trial in study.pareto_front:
    print(dict(trial.values), trial.candidate.compression.bits, "bits", trial.architecture)

best = study.pick(smallest="size_bytes", within_best=0.01)  # what is lost against the best is at most 1 % of it
print(best.test_metrics())
folder = best.export("device-net", formats="onnx", force=True)  # executorch as well, where its package is installed

# on the device: no torch, no paretonas
(file,) = folder.glob("*.onnx")
session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
picture = np.random.default_rng(0).random((1, 1, 8, 8), dtype=np.float32)
(scores,) = session.run(None, {session.get_inputs()[0].name: picture})
print(f"{file.name}, {file.stat().st_size:,} bytes, says {scores.argmax()}")
