"""Two tasks at once: which digit it is and whether it is odd, from one trunk; where the tasks part is searched.

python examples/two_tasks.py [candidates]
"""

import sys

import paretonas as pn

space = pn.ConvSpace(layers=(2, 4), widths=[8, 16, 32], hidden_layers=(0, 2), trunk=[0.25, 0.5, 0.75, 1.0])
study = pn.create_study(
    "two-tasks",
    space=space,
    task="digits_parity",
    objectives=["digit.accuracy", "parity.accuracy", "parameters"],
    storage="sqlite:///examples.db",
)
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 12)
for trial in study.pareto_front:
    print(dict(trial.values), trial.architecture)
print(study.pick("best").test_metrics())
