"""Plain, residual, separable and inverted residual networks for handwritten digits, with how strongly to augment.

python examples/images.py [candidates]
"""

import sys

import paretonas as pn

space = pn.ConvSpace(
    layers=(2, 5),
    widths=[8, 16, 32],
    blocks=["conv", "residual", "separable", "inverted_residual"],
    kernels=[3, 5],
    activations=["relu", "hardswish", "silu"],
    pooling=["max", "stride"],
    sharing=["none", "stage"],
    pruning=(0.0, 0.5),
    training=pn.TrainingSpace(learning_rate=pn.Range(3e-3, 3e-2, log=True), augment=[0.0, 0.3, 0.6]),
)
study = pn.create_study("images", space=space, task="digits", storage="sqlite:///examples.db")
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 16)
for trial in study.pareto_front:
    print(dict(trial.values), trial.architecture)
print(study.pick("knee").test_metrics())
