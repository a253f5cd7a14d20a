"""The options that several commands have."""

import math
import re
from typing import Annotated, Literal

import typer

from ..errors import UsageError
from ..objectives import METRICS

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


def bounds_of(given: list[str] | None) -> dict[str, float]:
    """What ``--within`` was given, by measure."""
    bounds: dict[str, float] = {}
    for text in given or ():
        name, _, number = (part.strip() for part in text.partition("="))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if math.isnan(value) or not re.fullmatch(r"[\w.]+", name):
            raise UsageError(f"a bound is a measure and a number such as mae=0.3, {text!r} was given")
        if name in bounds:
            raise UsageError(f"a measure is bounded once, {name} was bounded twice")
        bounds[name] = value
    return bounds
