"""The command that compresses a trained module of the user's own."""

import json
from pathlib import Path
from typing import Annotated

import typer
from torch import nn

from .. import own
from ..errors import UsageError
from ..objectives import TASKS, Task, as_task
from ..spaces.compression import BITS
from ..spaces.importance import CRITERIA
from ..spaces.module_groups import first_line
from .compress import compress as compress_
from .options import AsJson, MaxLatency, MaxMacs, MaxParameters, Quiet
from .study_file import StudyFile
from .views.tables import console


def compress(
    made_by: Annotated[
        str, typer.Argument(help="Function of your own that gives the trained module.", metavar="MODULE:FUNCTION")
    ],
    *,
    task: Annotated[
        str, typer.Option(help=f"Data: {', '.join(TASKS)}, or a study file (.toml), whose task it is.")
    ] = "digits",
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    max_latency_ms: MaxLatency = None,
    max_bytes: Annotated[
        float | None, typer.Option(help="At most so many bytes of weights, as deployed.", metavar="COUNT")
    ] = None,
    bits: Annotated[int, typer.Option(help=f"Of each weight: {' or '.join(map(str, BITS))}.")] = 8,
    epochs: Annotated[int, typer.Option(help="Epochs of fine-tuning in all.", min=0)] = 5,
    criterion: Annotated[str, typer.Option(help=f"What ranks the units: {', '.join(CRITERIA)}.")] = "taylor",
    seed: Annotated[int, typer.Option(help="Of the data order.", min=0)] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads, in training and for latency.", min=1)] = 1,
    device: Annotated[str, typer.Option(help="Where it is trained: cpu or cuda.")] = "cpu",
    to: Annotated[str | None, typer.Option(help="Folder to export to.", metavar="FOLDER")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a trained module small: prune it within the bounds, fine-tune it with itself as teacher, quantize it."""
    own.trust([made_by])  # naming it here is trusting it
    small = compress_(
        module_of(made_by),
        task_of(task),
        max_parameters=max_parameters,
        max_macs=max_macs,
        max_latency_ms=max_latency_ms,
        max_bytes=max_bytes,
        bits=bits,
        epochs=epochs,
        criterion=criterion,
        seed=seed,
        threads=threads,
        device=device,
        show_progress=not quiet,
    )
    folder = None if to is None else small.export(to, force=force)
    if as_json:
        print(json.dumps({**small.to_json(), "folder": None if folder is None else str(folder)}, indent=2))
        return
    console().print(small.table())
    if folder is not None:
        print(f"it is in {folder}: {', '.join(sorted(path.name for path in folder.glob('net.*')))}")


def module_of(name: str) -> nn.Module:
    """What a function of the user's own gives. UsageError if that is no module, or it fails."""
    made_by = own.load(name)
    if not callable(made_by):
        raise UsageError(f"a function that gives the trained module is wanted, {name} is {type(made_by).__name__}")
    try:
        module = made_by()
    except Exception as error:
        raise UsageError(f"{name} gives no module, it fails: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(module, nn.Module):
        raise UsageError(f"a function that gives the trained module is wanted, {name} gave {type(module).__name__}")
    return module


def task_of(given: str) -> Task:
    """A task by its word, or that of a study file."""
    return StudyFile.read(Path(given)).task if given.endswith(".toml") else as_task(given)
