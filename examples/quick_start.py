"""The shortest way: search, look at the front, choose, use.

python examples/quick_start.py [candidates]
"""

import sys

import torch

import paretonas as pn

space = pn.ConvSpace(layers=(2, 4), widths=[8, 16, 32], pruning=(0.0, 0.7))
study = pn.create_study("quick-start", space=space, task="digits", storage="sqlite:///examples.db")
study.optimize(n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 12)  # the study's total: again, it goes on to it

for trial in study.pareto_front:
    print(dict(trial.values), trial.architecture)
best = study.pick("knee")
print(best.test_metrics())

model = best.load()  # a plain nn.Module
with torch.inference_mode():
    print("three random pictures are the digits", model(torch.rand(3, 1, 8, 8)).argmax(1).tolist())
print("net.py, its weights, its card and train.py are in", best.export("quick-start-net", force=True))
