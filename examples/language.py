"""Language modelling by a causal decoder: the next character of the standard library's docstrings.

python examples/language.py [candidates]
"""

import sys
from pathlib import Path

import torch
from texts import PACKAGES, docstrings  # type: ignore[import-not-found]

import paretonas as pn

Path("docstrings.txt").write_text("\n".join(t for package in PACKAGES for t in docstrings(package)), encoding="utf-8")

space = pn.TransformerSpace(
    layers=(1, 4),
    widths=[32, 64],
    heads=[2, 4],
    head_widths=16,
    ratios=[2, 4],
    positions=["learned", "rotary"],
    tied=[True, False],
    sharing=["none", "all", "cycle", "groups"],
    sets=2,
    pruning=0.0,
    training=pn.TrainingSpace(epochs=4, batch_size=32, learning_rate=pn.Range(2e-3, 1e-2, log=True)),
)
study = pn.create_study(
    "language",
    space=space,
    task=pn.TextFile(file=Path("docstrings.txt"), length=64),
    objectives=["perplexity", "parameters", "latency_ms"],
    storage="sqlite:///examples.db",
)
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 8)
for trial in study.pareto_front:
    print(dict(trial.values), trial.architecture)

best = study.pick("best")
model, written = best.load(), list(b"Return the ")
with torch.inference_mode():
    for _ in range(100):
        scores = model(torch.tensor([(written[-64:] + [0] * 64)[:64]]))
        written.append(int(scores[0, min(len(written), 64) - 1].argmax()))
print(best.test_metrics(), bytes(written).decode(errors="replace"))
