"""The command that repeats chosen points, so that chance does not choose."""

from typing import Annotated

import typer

from .delivery.choosing import joined_bounds
from .options import (
    Artifacts,
    AsJson,
    MaxLatency,
    MaxMacs,
    MaxParameters,
    MinAccuracy,
    Quiet,
    Smallest,
    Storage,
    StudyName,
    Trust,
    Weight,
    Within,
    WithinBest,
    bounds_of,
    resumable,
    weights_of,
)
from .study import DEFAULT_STORAGE, load_study
from .views.choosing import print_confirmation


def confirm(
    trials: Annotated[
        list[int] | None,
        typer.Argument(help="Numbers of the trials.  \\[default: the first points of the front]", metavar="[TRIAL]..."),
    ] = None,
    *,
    pick: Annotated[
        str | None,
        typer.Option(
            "--pick",
            help="In which order points come first: knee (nearest to the ideal point) or best.  \\[default: knee]",
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many points.", min=1)] = 5,
    seeds: Annotated[int, typer.Option(help="How many further seeds each is trained with.", min=1)] = 3,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    weight: Weight = None,
    smallest: Smallest = None,
    within_best: WithinBest = None,
    workers: Annotated[int, typer.Option(help="Processes on this machine.", min=1)] = 1,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    turn: Annotated[int, typer.Option(help="Which repetition a helper begins with.", hidden=True, min=0)] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train chosen points again with further seeds: mean, spread, and which of them chance alone tells apart.

    Repetitions are trials more, never on the front. Those that are there are not run again, and what was interrupted
    goes on with the same command.
    """
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    bounds = joined_bounds(
        opened.definition,
        bounds_of(within),
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
    )
    with resumable("what is repeated"):
        found = opened.confirm(
            trials or pick,
            top=top,
            seeds=seeds,
            within=bounds,
            weights=weights_of(weight),
            smallest=smallest,
            within_best=within_best,
            workers=workers,
            show_progress=not quiet,
            turn=turn,
        )
    print_confirmation(found, as_json=as_json)
