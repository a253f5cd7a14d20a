"""The commands that show and hand out what a study found."""

import json
from typing import Annotated

import typer

from .delivery.card import NOT_STATED
from .delivery.card_text import checked_in_words
from .delivery.export import CARD
from .options import (
    PICKS,
    Artifacts,
    AsJson,
    Compare,
    MaxLatency,
    MaxMacs,
    MaxParameters,
    MinAccuracy,
    OfFinal,
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
from .views.choosing import print_comparisons
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
    compare: Compare = None,
    as_json: AsJson = False,
) -> None:
    """Print the Pareto front of a study, and how networks that you have stand beside it."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    if remeasure:
        opened.remeasure_front(again=True)
    compared = [opened.compare(name) for name in compare or ()]
    print_front(opened, as_json=as_json)
    if not as_json:
        print_comparisons(compared)


def pick(
    which: Annotated[str | None, typer.Argument(help=PICKS)] = None,
    *,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    weight: Weight = None,
    smallest: Smallest = None,
    within_best: WithinBest = None,
    compare: Compare = None,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Choose a point of the front and report it, now also on the test split.

    Within bounds the best in the first quality objective is chosen; under bounds on quality alone the one with the
    fewest parameters. With weights, or as the smallest of the good ones, bounds say which points may be chosen.
    """
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    trial = picked(
        opened,
        which,
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=within,
        weight=weight,
        smallest=smallest,
        within_best=within_best,
    )
    compared = [opened.compare(name).only(trial) for name in compare or ()]
    print_pick(trial, as_json=as_json, compared=compared)


def export_(
    to: Annotated[str, typer.Option(help="Folder for net.py, its weights, its card and train.py.", metavar="FOLDER")],
    which: Annotated[str | None, typer.Option("--pick", help=PICKS)] = None,
    *,
    formats: Annotated[
        str,
        typer.Option(
            help="What is written beside the source, with commas between: torch_export, onnx, executorch, or all that "
            "can be written here.",
            metavar="NAMES",
        ),
    ] = "source",
    licence: Annotated[
        str, typer.Option("--license", help="Under which the network is handed on, for its card.", metavar="TEXT")
    ] = NOT_STATED,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    weight: Weight = None,
    smallest: Smallest = None,
    within_best: WithinBest = None,
    final: OfFinal = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Write a point of the front as a module that needs only torch, its weights, its card and a script that trains it.

    Default: the knee. Other formats are written where they are asked for; each file is checked against the network.
    """
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
    trial = opened.final(trial.number) if final else trial
    folder = trial.export(to, formats=formats, licence=licence, force=force)
    card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    if as_json:
        made = {"folder": str(folder), "files": [*card["files"], CARD], "formats": card["formats"]}
        print(json.dumps({"trial": trial.number, "values": card["values"], **made}, indent=2))
        return
    print(f"trial {trial.number} is in {folder}: {', '.join([*card['files'], CARD])}; its outputs were checked")
    for name, one in card["formats"].items():
        print(f"{name}: {checked_in_words(one)}")


def dashboard(
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback are open to the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; the next free one is taken if it is in use.", min=1, max=65535)
    ] = 8080,
    trust: Trust = None,
) -> None:
    """Serve optuna-dashboard on the store, with notes, figures and files of each trial, until Ctrl-C.

    What a search did not write of these while it ran is written meanwhile.
    """
    from .views.dashboard import serve

    serve(storage, artifacts=artifacts, host=host, port=port, trust=trust or ())
