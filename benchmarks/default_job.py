"""The default job against a script that a user of Optuna would write, in one run.

    python benchmarks/default_job.py [--repeats 1]

Both search convolutional networks on scikit-learn's digits with 30 trials of 10 epochs and one thread, for accuracy,
parameters and latency. Reported for each: seconds as a whole process, the share of the time that goes into timing
networks (the latency lane), the share outside training and timing, the time of all proposals against that of training,
trials that repeated a network, size and span of the front, and the accuracy of its most accurate point on the test
split.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from stopwatch import timed  # type: ignore[import-not-found]


def run(script: str, folder: str) -> dict[str, float]:
    """Run one side as a process of its own; it prints its figures as JSON."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--side", script], cwd=folder, check=True, stdout=subprocess.PIPE, text=True
    )
    wall = time.perf_counter() - began
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {"process_s": wall, **figures}


def side_paretonas() -> dict[str, float]:
    """The default job, by its public face."""
    import optuna
    import torch  # noqa: F401 - both sides pay this import before the clock starts

    import paretonas as pn
    from paretonas.search import bench, worker

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with ExitStack() as clocks:
        lanes = [clocks.enter_context(timed(bench, name)) for name in ("measure_latencies", "calibrate")]
        proposals = clocks.enter_context(timed(worker, "propose"))
        began = time.perf_counter()
        study = pn.create_study("digits-conv", space=pn.ConvSpace())
        study.optimize(n_trials=30, show_progress=False, remeasure=False)  # that is timed apart
        searched = time.perf_counter()
        study.remeasure_front()
        remeasuring = time.perf_counter() - searched
        front = study.pareto_front
        wall = time.perf_counter() - began
    lane = sum(map(sum, lanes))
    in_trials = sum(trial.evaluation.seconds or 0.0 for trial in study.trials)
    parameters = [trial.values["parameters"] for trial in front]
    keys = [trial.candidate.key for trial in study.trials]
    return {
        "job_s": wall,
        "lane_share": (lane + remeasuring) / wall,
        "outside_share": 1 - (in_trials + remeasuring) / wall,
        "proposals_to_training": sum(proposals) / (in_trials - lane),
        "repeated": len(keys) - len(set(keys)),
        "front": len(front),
        "span": max(parameters) / min(parameters),
        "test_accuracy": study.pick("best").test_metrics()["test_accuracy"],
    }


def side_optuna() -> dict[str, float]:  # noqa: PLR0915 - one script, as its user would write it
    """What a user of Optuna would write, with the usual data loader and a timer around the forward pass."""
    import optuna
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    began = time.perf_counter()
    pixels, labels = load_digits(return_X_y=True)
    rest, test = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    train, validation = train_test_split(rest, test_size=0.25, stratify=labels[rest], random_state=0)
    x = torch.tensor(pixels / 16.0, dtype=torch.float32).reshape(-1, 1, 8, 8)
    y = torch.tensor(labels)
    loader = DataLoader(TensorDataset(x[train], y[train]), batch_size=64, shuffle=True)
    activations = {"relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "silu": nn.SiLU}
    inside, lane, proposals, networks = 0.0, 0.0, 0.0, {}

    def accuracy(network: nn.Module, rows: list[int]) -> float:
        network.eval()
        with torch.no_grad():
            return float((network(x[rows]).argmax(1) == y[rows]).float().mean())

    def objective(trial: optuna.Trial) -> tuple[float, int, float]:
        nonlocal inside, lane, proposals
        entered = time.perf_counter()
        layers = trial.suggest_int("layers", 2, 5)
        stages = min(trial.suggest_int("stages", 1, 3), layers)
        activation = activations[trial.suggest_categorical("activation", list(activations))]
        parts: list[nn.Module] = []
        width = 1
        for layer in range(layers):
            stage = layer * stages // layers
            out = trial.suggest_categorical(f"width{stage}", [8, 16, 24, 32, 48, 64])
            parts += [nn.Conv2d(width, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), activation()]
            width = out
            if layer + 1 == layers or (layer + 1) * stages // layers != stage:
                parts.append(nn.MaxPool2d(2))
        network = nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
        start = time.perf_counter()
        proposals += start - entered
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, epochs=10, steps_per_epoch=len(loader))
        for _ in range(10):
            network.train()
            for batch, target in loader:
                loss = nn.functional.cross_entropy(network(batch), target)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
        score = accuracy(network, validation)
        with torch.no_grad():
            ticks = time.perf_counter()
            for _ in range(100):
                network(x[:1])
            latency = (time.perf_counter() - ticks) * 10
        lane += latency / 10  # 100 calls in milliseconds each, in seconds
        inside += time.perf_counter() - start
        networks[trial.number] = network
        return score, sum(p.numel() for p in network.parameters()), latency

    study = optuna.create_study(
        storage="sqlite:///hand.db",
        directions=["maximize", "minimize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=0),
    )
    study.optimize(objective, n_trials=30)
    wall = time.perf_counter() - began
    front = study.best_trials
    parameters = [trial.values[1] for trial in front]
    best = max(front, key=lambda trial: trial.values[0])
    return {
        "job_s": wall,
        "lane_share": lane / wall,
        "outside_share": 1 - inside / wall,
        "proposals_to_training": proposals / (inside - lane),
        "repeated": 30 - len({tuple(sorted(trial.params.items())) for trial in study.trials}),
        "front": len(front),
        "span": max(parameters) / min(parameters),
        "test_accuracy": accuracy(networks[best.number], test),
    }


SIDES = {"paretonas": side_paretonas, "optuna": side_optuna}


def main() -> None:
    """Run both sides in turn, so often as asked for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1, help="how often both sides run (default 1)")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(SIDES[arguments.side]()))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, n = {arguments.repeats}")
    for repeat in range(arguments.repeats):
        rows = {}
        for name in SIDES:
            with tempfile.TemporaryDirectory() as folder:
                rows[name] = run(name, str(Path(folder)))
        for figure in rows["paretonas"]:
            ours, theirs = rows["paretonas"][figure], rows["optuna"][figure]
            ratio = f"{ours / theirs:10.2f}" if theirs else ""
            print(f"run {repeat}  {figure:22s} paretonas {ours:10.3f}   hand-written {theirs:10.3f}   ratio {ratio}")


if __name__ == "__main__":
    main()
