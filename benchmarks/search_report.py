"""What the runs of ``search.py`` say: medians over seeds, as lines to read and as JSON."""

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from search_measure import at_cost, first_cost, hypervolume, progress, repeated, wasted  # type: ignore[import-not-found]
from search_runs import OURS, REFERENCE, Begun, Run  # type: ignore[import-not-found]
from search_table import Table  # type: ignore[import-not-found]

from paretonas.search.goals import Goal

Matrix = npt.NDArray[np.float64]
Runs = Mapping[str, Sequence[Run]]  # of each strategy, one for a seed
Json = dict[str, Any]
EVALUATIONS = (20, 50, 100, 200)
TRAININGS = (10, 20, 50, 100, 200)  # full trainings, whose cost others may spend otherwise
FROM = 20  # full trainings, from which on ours must not be behind
LAST = 20  # proposals, whose mean is shown beside that of all


def machine() -> str:
    """Where it ran."""
    return f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def milestones(of: Sequence[int], trials: int) -> list[int]:
    """Those up to the number of trials, and that number."""
    return sorted({*(number for number in of if number < trials), trials})


def table_report(table: Table, runs: Runs, missing: Mapping[str, Sequence[int]], trials: int) -> Json:
    """Regret of the hypervolume at so many evaluations and at equal cost, by strategy."""
    best = hypervolume(table.losses[~table.fails])

    def regrets(run: Run) -> tuple[Matrix, Matrix]:
        costs, volumes = progress(run, lambda one: table.losses[int(one.key)])
        return costs, 1 - volumes / (best or 1.0)

    found: Json = {}
    for name, each in runs.items():
        curves = [regrets(run) for run in each]
        by_count = {
            str(n): _median([float(regret[min(n, len(regret)) - 1]) for _, regret in curves])
            for n in milestones(EVALUATIONS, trials)
        }
        by_cost = {
            str(n): _median([1 - at_cost(costs, 1 - regret, n * table.cost) for costs, regret in curves])
            for n in milestones(TRAININGS, trials)
        }
        found[name] = {
            "regret_at_evaluations": by_count,
            **({"regret_at_cost_of_trainings": by_cost} if table.epochs else {}),
            **_habits(each),
            "missing": _median(list(missing[name])),
            "runs": [{"cost": costs.tolist(), "regret": regret.tolist()} for costs, regret in curves],
        }
    return found


def _habits(runs: Sequence[Run]) -> Json:
    """How a strategy proposes: medians over seeds."""
    return {
        "seconds_per_proposal": _median([float(np.mean([one.proposal_s for one in run])) for run in runs]),
        "seconds_of_the_last_proposals": _median(
            [float(np.mean([one.proposal_s for one in run[-LAST:]])) for run in runs]
        ),
        "begun": _median([len(run) for run in runs]),
        "stopped": _median([sum(one.state == "stopped" for one in run) for run in runs]),
        "failed": _median([sum(one.state == "failed" for one in run) for run in runs]),
        "failed_in_the_second_half": _median([wasted(run) for run in runs]),
        "repeated": _median([repeated(run) for run in runs]),
    }


def print_table(found: Json) -> None:
    """A line for each strategy."""
    first = next(iter(found.values()))
    counts, costs = first["regret_at_evaluations"], first.get("regret_at_cost_of_trainings", {})
    heads = " |".join("".join(f"{n:>7}" for n in group) for group in (counts, costs) if group)
    print(
        f"{'':24s}regret in % after so many evaluations{'' if not costs else ', | and at the cost of full trainings'}"
    )
    print(f"{'strategy':24s}{heads} | s/proposal   last begun stopped failed repeated missing")
    for name, one in found.items():
        groups = one["regret_at_evaluations"], one.get("regret_at_cost_of_trainings", {})
        shown = " |".join("".join(f"{100 * regret:7.2f}" for regret in group.values()) for group in groups if group)
        print(
            f"{name:24s}{shown} | {one['seconds_per_proposal']:10.3f} "
            f"{one['seconds_of_the_last_proposals']:6.3f} {one['begun']:5.0f} {one['stopped']:7.0f} "
            f"{one['failed']:6.0f} {one['repeated']:8.0f} {one['missing']:7.0f}"
        )
    for name, one in found.items():
        if one["failed"]:
            print(f"{name}: {one['failed_in_the_second_half']:.0%} of the second half of what it began failed")


def loss_of_workers(found: Json, one: str, several: str) -> dict[str, float]:
    """By how much of the regret of one worker that of several is larger, at so many evaluations."""
    alone, together = (found[name]["regret_at_evaluations"] for name in (one, several))
    return {n: together[n] / alone[n] - 1 if alone[n] else float(together[n] > 0) for n in alone}


def real_report(runs: Runs, goals: Sequence[Goal], trials: int, epochs: int) -> Json:
    """Hypervolume over epochs, in the box of all points of these runs. epochs: of ``trials`` full trainings."""
    scaled = _in_the_box_of([one for each in runs.values() for run in each for one in run], goals)
    full = epochs / trials
    grid = [number * full for number in range(1, trials + 1)]
    found: Json = {}
    for name, each in runs.items():
        curves = [progress(run, scaled) for run in each]
        median = [_median([at_cost(costs, volumes, cost) for costs, volumes in curves]) for cost in grid]
        training = [sum(one.training_s for one in run) for run in each]
        proposals = [sum(one.proposal_s for one in run) for run in each]
        found[name] = {
            "hypervolume_after_trainings": {str(n): median[n - 1] for n in milestones(TRAININGS, trials)},
            "median_hypervolume": median,
            **_habits(each),
            "epochs": _median([sum(one.cost for one in run) for run in each]),
            "proposal_share_of_training": _median(
                [spent / max(trained, 1e-9) for spent, trained in zip(proposals, training, strict=True)]
            ),
            "runs": [{"epochs": costs.tolist(), "hypervolume": volumes.tolist()} for costs, volumes in curves],
        }
    if REFERENCE in found:
        reference = found[REFERENCE]["median_hypervolume"][-1]
        for one in found.values():
            needed = first_cost(np.array(grid), np.array(one["median_hypervolume"]), reference)
            one["epochs_for_what_tpe_has"] = needed
            one["share_of_the_epochs_of_tpe"] = None if needed is None else needed / grid[-1]
    if OURS in found:
        ours = found[OURS]["median_hypervolume"]
        for one in found.values():
            median = one["median_hypervolume"]
            one["ahead_of_ours_at_trainings"] = [n for n in range(FROM, trials + 1) if median[n - 1] > ours[n - 1]]
    return found


def print_real(found: Json) -> None:
    """A line for each strategy, and how ours stands to the reference."""
    heads = next(iter(found.values()))["hypervolume_after_trainings"]
    print(f"{'':18s}hypervolume after the epochs of so many full trainings; share of the epochs for what tpe has")
    print(
        f"{'strategy':18s}{''.join(f'{n:>8}' for n in heads)} |   share s/proposal of training begun stopped repeated"
    )
    for name, one in found.items():
        share = one.get("share_of_the_epochs_of_tpe")
        print(
            f"{name:18s}{''.join(f'{value:8.4f}' for value in one['hypervolume_after_trainings'].values())} | "
            f"{'  never' if share is None else f'{share:7.3f}'} {one['seconds_per_proposal']:10.3f} "
            f"{one['proposal_share_of_training']:11.1%} {one['begun']:5.0f} {one['stopped']:7.0f} "
            f"{one['repeated']:8.0f}"
        )
    if OURS in found and len(found[OURS]["median_hypervolume"]) >= FROM:
        ahead = {name: one["ahead_of_ours_at_trainings"] for name, one in found.items()}
        for name, budgets in ahead.items():
            if budgets:
                print(f"{OURS} is behind {name} (median) at: {', '.join(map(str, budgets))}")
        if not any(ahead.values()):
            print(f"{OURS} is behind nobody (median) from {FROM} trainings on")


def _in_the_box_of(points: Sequence[Begun], goals: Sequence[Goal]) -> Callable[[Begun], Matrix]:
    """Losses scaled to the range of all points; costs as logarithms."""

    def losses(one: Begun) -> Matrix:
        assert one.values is not None
        values = np.array([goal.loss(one.values[goal.name]) for goal in goals])
        costs = [not goal.quality for goal in goals]
        values[costs] = np.log(np.maximum(values[costs], 1.0))
        return values

    known = np.stack([losses(one) for one in points if one.values is not None])
    low, width = known.min(0), np.ptp(known, axis=0)
    return lambda one: (losses(one) - low) / np.where(width > 0, width, 1.0)


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
