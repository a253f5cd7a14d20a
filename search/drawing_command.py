"""The command that draws networks."""

from pathlib import Path
from typing import Annotated

import typer

from ..spaces import difference
from .options import (
    PICKS,
    Artifacts,
    MaxLatency,
    MaxMacs,
    MaxParameters,
    MinAccuracy,
    Smallest,
    Storage,
    StudyName,
    Trust,
    Weight,
    Within,
    WithinBest,
    picked,
)
from .study import DEFAULT_STORAGE, load_study


def draw(
    to: Annotated[Path, typer.Option(help="Picture to write, named .svg or .png.", metavar="FILE")],
    which: Annotated[str | None, typer.Argument(help=f"{PICKS}  \\[default: knee]")] = None,
    *,
    against: Annotated[
        str | None, typer.Option(help="Another pick, drawn beside it, with the difference in words.", metavar="PICK")
    ] = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    weight: Weight = None,
    smallest: Smallest = None,
    within_best: WithinBest = None,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
) -> None:
    """Draw the network of a point: depth, width, what shares weights, and what pruning took away."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    trial = picked(
        opened,
        which,
        default="knee",
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=within,
        weight=weight,
        smallest=smallest,
        within_best=within_best,
    )
    other = None if against is None else opened.pick(against)
    trial.draw(to, against=other)
    print(f"trial {trial.number}{'' if other is None else f' beside trial {other.number}'} is drawn in {to}")
    if other is not None:
        for words in difference(trial.architecture, other.architecture) or ["the two networks are equal"]:
            print(words)
