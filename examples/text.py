"""Text classification by a transformer encoder: which package of Python's standard library a docstring is from.

python examples/text.py [candidates]
"""

import csv
import sys
from pathlib import Path

from texts import PACKAGES, docstrings  # type: ignore[import-not-found]

import paretonas as pn

with Path("docstrings.csv").open("w", encoding="utf-8", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["text", "package"])
    rows.writerows((text, package) for package in PACKAGES for text in docstrings(package))

space = pn.TransformerSpace(
    layers=(1, 4),
    widths=[32, 64],
    heads=[2, 4],
    head_widths=16,
    ratios=[1, 2],
    norm_places=["pre", "post"],
    positions=["learned", "rotary", "none"],
    embedding_widths=[0, 16],
    sharing=["none", "all", "cycle"],
    training=pn.TrainingSpace(epochs=6, learning_rate=pn.Range(1e-3, 1e-2, log=True), dropout=[0.0, 0.1, 0.3]),
)
study = pn.create_study(
    "text",
    space=space,
    task=pn.TextTable(
        file=Path("docstrings.csv"), text="text", label="package", tokenizer="bpe", vocabulary=1000, length=32
    ),
    objectives=["balanced_accuracy", "parameters", "latency_ms"],
    storage="sqlite:///examples.db",
)
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 10)
for trial in study.pareto_front:
    print(dict(trial.values), trial.architecture)
print(study.pick("best").test_metrics())
