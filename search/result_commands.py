"""The commands that show and hand out what a study found."""

import json
from typing import Annotated

import typer

from .delivery.export import figures_of
from .options import (
    PICKS,
    Artifacts,
    AsJson,
    MaxLatency,
    MaxMacs,
    MaxParameters,
    MinAccuracy,
    Storage,
    StudyName,
    Trust,
    Within,
    bounds_of,
)
from .study import DEFAULT_STORAGE, load_study
from .views.tables import print_front, print_pick


def front(
    study: StudyName = None,
    *,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="First time its points again on this machine, in one run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the Pareto front of a study."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    if remeasure:
        opened.remeasure_front(again=True)
    print_front(opened, as_json=as_json)


def pick(
    which: Annotated[str | None, typer.Argument(help=PICKS)] = None,
    *,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Choose a point of the front and report it, now also on the test split.

    Within bounds the best in the first quality objective is chosen; under bounds on quality alone the one with the
    fewest parameters.
    """
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    trial = opened.pick(
        which,
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=bounds_of(within),
    )
    print_pick(trial, as_json=as_json)


def export_(
    to: Annotated[str, typer.Option(help="Folder for net.py, net.safetensors and net.json.", metavar="FOLDER")],
    which: Annotated[str | None, typer.Option("--pick", help=PICKS)] = None,
    *,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Write a point of the front as a module that needs only torch, its weights and its card. Default: the knee."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    bounded = within or (max_latency_ms, max_parameters, max_macs, min_accuracy) != (None,) * 4
    trial = opened.pick(
        which or (None if bounded else "knee"),
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=bounds_of(within),
    )
    folder = trial.export(to, force=force)
    if as_json:
        print(json.dumps({"trial": trial.number, "folder": str(folder), "values": figures_of(trial)}, indent=2))
    else:
        print(f"trial {trial.number} is in {folder}: net.py, net.safetensors, net.json; its outputs were checked")


def dashboard(
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback are open to the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; the next free one is taken if it is in use.", min=1, max=65535)
    ] = 8080,
) -> None:
    """Serve optuna-dashboard on the store, with the trained weights, until Ctrl-C."""
    from .views.dashboard import serve

    serve(storage, artifacts=artifacts, host=host, port=port)
