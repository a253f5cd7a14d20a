"""A language model made small in five steps: its layers share weights, it is taught, pruned, and stored in bytes.

python examples/small_language_model.py [epochs]

The latency is that of torch but for int8, which runs on ONNX Runtime; ask for ``latency:onnxruntime`` to compare there.
"""

import sys
from pathlib import Path

from texts import PACKAGES, docstrings  # type: ignore[import-not-found]

import paretonas as pn

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 8

Path("docstrings.txt").write_text("\n".join(t for package in PACKAGES for t in docstrings(package)), encoding="utf-8")


def train(name: str, sharing: str, teacher: str = "") -> pn.Study:
    """A study of one network: a causal decoder of four layers, which has one set of weights for all or four."""
    space = pn.TransformerSpace(
        layers=4,
        widths=64,
        heads=4,
        head_widths=16,
        ratios=4,
        activations="gelu",
        positions="rotary",
        tied=True,
        sharing=sharing,
        pruning=0.0,
        training=pn.TrainingSpace(epochs=EPOCHS, batch_size=32, distillation=0.5, temperature=2.0),
    )
    study = pn.create_study(
        name,
        space=space,
        task=pn.TextFile(file=Path("docstrings.txt"), length=64),
        objectives=["perplexity", "parameters", "size_bytes", "latency_ms"],
        storage="sqlite:///examples.db",
        teacher=teacher,
    )
    study.optimize(n_trials=1, show_progress=False)
    return study


large = train("large", "none")
shared = train("shared", "all")
taught = train("taught", "all", teacher="large:0")
pruned = taught.shrink(
    0,
    pruning=0.3,
    compression=pn.Compression(criterion="taylor", scope="global", self_distillation=0.5),
    finetune_epochs=max(1, EPOCHS // 2),
)
int8 = taught.shrink(pruned.number, compression=pn.Compression(bits=8, quantization="dynamic"))

steps = {
    "as it is": large.pick(0),
    "layers shared": shared.pick(0),
    "and taught by the first": taught.pick(0),
    "and pruned, taught by itself": pruned,
    "and in int8": int8,
}
columns = ("parameters", "size_bytes", "latency_ms", "perplexity", "test_perplexity")
print(f"{'':28}", *(f"{column:>15}" for column in columns))
for step, trial in steps.items():
    figures = {**trial.values, **trial.test_metrics()}
    print(f"{step:28}", *(f"{figures[column]:15,.{0 if column in columns[:2] else 3}f}" for column in columns))
print(int8.architecture)
