"""Regression on a table with a category column: how diabetes progressed within a year (Efron et al. 2004).

python examples/tables.py [candidates]
"""

import sys
from pathlib import Path

import polars as pl
from sklearn.datasets import load_diabetes

import paretonas as pn

patients = load_diabetes(scaled=False)
table = pl.DataFrame(patients.data, schema=[str(name) for name in patients.feature_names])
table = table.with_columns(
    sex=pl.when(pl.col("sex") == 1).then(pl.lit("one")).otherwise(pl.lit("other")), progression=patients.target
)
table.write_csv("diabetes.csv")

space = pn.MLPSpace(
    layers=(0, 4),
    widths=[8, 16, 32, 64],
    blocks=["linear", "residual"],
    norms=["batch", "layer"],
    embedding_widths=[1, 2],
    training=pn.TrainingSpace(
        epochs=40,
        batch_size=32,
        learning_rate=pn.Range(1e-3, 3e-2, log=True),
        weight_decay=pn.Range(1e-4, 1.0, log=True),
        dropout=(0.0, 0.5),
    ),
)
study = pn.create_study(
    "tables",
    space=space,
    task=pn.Table(file=Path("diabetes.csv"), target="progression", kind="number"),
    storage="sqlite:///examples.db",
)
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 20)
for trial in study.pareto_front:
    print(dict(trial.values), trial.architecture)
print(study.pick("best").test_metrics())
