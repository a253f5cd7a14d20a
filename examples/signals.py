"""One-dimensional convolutions against transformers over patches, on MNIST-1D (Greydanus & Kobak 2020).

python examples/signals.py [candidates of each]
"""

import sys

import paretonas as pn

TRAINING = pn.TrainingSpace(epochs=8, learning_rate=pn.Range(1e-3, 2e-2, log=True), augment=[0.0, 0.3])
SPACES = {
    "signals-conv": pn.ConvSpace(
        layers=(2, 5),
        widths=[8, 16, 32],
        blocks=["conv", "residual", "separable"],
        kernels=[3, 5, 7],
        kernel_per=["network", "layer"],
        pruning=(0.0, 0.5),
        training=TRAINING,
    ),
    "signals-transformer": pn.TransformerSpace(
        layers=(1, 3), widths=[32, 48], heads=[2, 4], head_widths=[8], patch_sizes=[2, 4], training=TRAINING
    ),
}
for name, space in SPACES.items():
    study = pn.create_study(name, space=space, task="mnist1d", storage="sqlite:///examples.db")
    study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 8)
    best = study.pick("best")
    print(name, dict(best.values), best.test_metrics(), best.architecture)
