"""The options that several commands have."""

import math
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import UsageError
from ..objectives import METRICS

if TYPE_CHECKING:
    from .study import Study
    from .trial import Trial

PICKS = "knee (nearest to the ideal point), best (in the first quality objective) or a trial's number."

Storage = Annotated[
    str,
    typer.Option(envvar="PARETONAS_STORAGE", show_envvar=True, help="Database URL of the store.", metavar="URL"),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        help="Folder of the trained weights, or s3://BUCKET/PREFIX. Default: beside the SQLite file.", metavar="PLACE"
    ),
]
StudyName = Annotated[str | None, typer.Option("--study", help="Name of the study. Default: the only one there is.")]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-code",
        help="Code named by the study that may run here: a module, or one thing in it; again for more.",
        metavar="MODULE[:NAME]",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Timeout = Annotated[float | None, typer.Option(help="Begin no candidate after so many seconds.", min=0)]
TotalEpochs = Annotated[
    int | None, typer.Option(help="Begin no candidate after so many epochs of training in the study in all.", min=1)
]
On = Annotated[
    Literal["local", "ray"] | None,
    typer.Option(
        help="Where the workers run: processes of this machine, or on a Ray cluster, whose nodes all have to reach "
        "the database and the place of the artifacts.  \\[default: local]"
    ),
]
GpusPerWorker = Annotated[
    float | None,
    typer.Option(help="On a cluster with --device cuda: GPUs of each worker, also a share of one.  \\[default: 1]"),
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        help="Of the cluster.  \\[default: $RAY_ADDRESS, or that of this machine, which is started if there is none]",
        metavar="HOST:PORT",
    ),
]
OnLostDevice = Annotated[
    Literal["stop", "wait"],
    typer.Option(help="If a device vanishes: stop, or wait until it is back. The trial in hand is put back."),
]
MaxFailed = Annotated[
    float | None,
    typer.Option(
        help="Stop if a larger share of the newest 20 trials failed; 1 goes on whatever fails.  \\[default: 0.5]",
        min=0,
        max=1,
    ),
]
Lease = Annotated[
    float | None,
    typer.Option(
        help="Seconds without a sign of life after which others take over what a worker has in hand.  \\[default: 60]"
    ),
]
CheckpointEvery = Annotated[
    float | None,
    typer.Option(
        help="Seconds of training between two checkpoints, which take a twentieth of the time at most.  \\[default: 30]"
    ),
]
LogFormat = Annotated[
    Literal["text", "json"],
    typer.Option(help="Of the progress on standard error: for people, or one JSON object a line, for machines."),
]
TensorBoardFolder = Annotated[
    Path | None,
    typer.Option(
        "--tensorboard",
        help="Folder for the learning curves and hyperparameters of all trials, as TensorBoard reads them.",
        metavar="DIR",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
MaxLatency = Annotated[
    float | None, typer.Option(help="At most so many milliseconds, of the latency that is measured.", metavar="MS")
]
MaxParameters = Annotated[float | None, typer.Option(help="At most so many trainable numbers.", metavar="COUNT")]
MaxMacs = Annotated[float | None, typer.Option(help="At most so many multiply-accumulates.", metavar="COUNT")]
MinAccuracy = Annotated[float | None, typer.Option(help="At least this share, 0 to 1, of validation.", metavar="SHARE")]
Within = Annotated[
    list[str] | None,
    typer.Option(
        "--within",
        help="Bound on any measure, at most or at least as its direction is, such as mae=0.3; again for more. "
        f"Metrics: {', '.join(dict.fromkeys(name for kind in METRICS.values() for name in kind))}.",
        metavar="NAME=NUMBER",
    ),
]
Weight = Annotated[
    list[str] | None,
    typer.Option(
        "--weight",
        help="Choose by how much each measure counts, such as accuracy=2; again for more; those that are not named "
        "count nothing.",
        metavar="NAME=NUMBER",
    ),
]
Smallest = Annotated[
    str | None,
    typer.Option(
        help="Choose the smallest in this measure, such as parameters, of the points --within-best.", metavar="NAME"
    ),
]
WithinBest = Annotated[
    float | None,
    typer.Option(
        help="Share of the best quality that may be given away for a smaller network: 0.005 is 0.5 %; it is the one "
        "with the fewest parameters unless --smallest says otherwise.",
        metavar="SHARE",
    ),
]
OfFinal = Annotated[
    bool, typer.Option("--final", help="What paretonas train made of it, on train and validation, in its place.")
]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        "--compare",
        help="A network that you have, measured as the study measures: a module of yours, or a function that gives "
        "one. It is run. Again for more.",
        metavar="MODULE:NAME",
    ),
]


def bounds_of(given: list[str] | None) -> dict[str, float]:
    """What ``--within`` was given, by measure."""
    return _amounts(given, "a bound", "mae=0.3", "bounded")


def weights_of(given: list[str] | None) -> dict[str, float]:
    """What ``--weight`` was given, by measure."""
    return _amounts(given, "a weight", "accuracy=2", "weighted")


def _amounts(given: list[str] | None, what: str, example: str, done: str) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for text in given or ():
        name, _, number = (part.strip() for part in text.rpartition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if math.isnan(value) or not re.fullmatch(r"[\w.:,=]+", name):
            raise UsageError(f"{what} is a measure and a number such as {example}, {text!r} was given")
        if name in amounts:
            raise UsageError(f"a measure is {done} once, {name} was {done} twice")
        amounts[name] = value
    return amounts


def picked(
    study: "Study",
    which: str | None,
    *,
    default: str | None = None,
    max_latency_ms: float | None = None,
    max_parameters: float | None = None,
    max_macs: float | None = None,
    min_accuracy: float | None = None,
    within: list[str] | None = None,
    weight: list[str] | None = None,
    smallest: str | None = None,
    within_best: float | None = None,
) -> "Trial":
    """The trial that these options choose. default: the pick where none of them was given."""
    ways = (max_latency_ms, max_parameters, max_macs, min_accuracy, smallest, within_best)
    nothing = which is None and not within and not weight and all(way is None for way in ways)
    return study.pick(
        default if nothing else which,
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=bounds_of(within),
        weights=weights_of(weight),
        smallest=smallest,
        within_best=within_best,
    )


@contextmanager
def resumable(what: str) -> Iterator[None]:
    """After Ctrl-C, say that the same command goes on, and end as a shell expects it."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"paretonas: interrupted: {what} is kept as far as its last checkpoint; the same command goes on",
              file=sys.stderr)  # fmt: skip
        raise typer.Exit(130) from None
