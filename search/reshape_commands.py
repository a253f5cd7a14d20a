"""The commands that make a trial more of a trained network: smaller, larger, or trained from scratch."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import UsageError
from ..objectives import COUNTED, Epoch
from ..spaces import Compression
from ..spaces.compression import QUANTIZATIONS, SCHEDULES
from ..spaces.importance import CRITERIA
from ..spaces.pruning import SCOPES
from .delivery.card import TEST, figures_of, unit_of
from .delivery.export import check_free
from .delivery.retraining import inheritance, inherited_values
from .options import (
    PICKS,
    Artifacts,
    AsJson,
    CheckpointEvery,
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
    picked,
    resumable,
)
from .study import DEFAULT_STORAGE, load_study
from .trying import CHECKPOINT_EVERY
from .views.choosing import print_final
from .views.tables import console, in_figures

if TYPE_CHECKING:
    from .trial import Trial

AS_IT_IS = Compression()
SIZE = "size_bytes"  # is always shown
Which = Annotated[str, typer.Argument(help=PICKS)]
To = Annotated[str | None, typer.Option(help="Also export the result into this folder.", metavar="FOLDER")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what is in the folder.")]
Epochs = Annotated[
    int | None, typer.Option(help="Epochs of fine-tuning. Default: as long as its parent was trained.", min=0)
]


def shrink(
    which: Which = "knee",
    *,
    pruning: Annotated[float, typer.Option(help="Share of the units that leaves, 0 up to 1.", min=0, max=1)] = 0.0,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    max_latency_ms: MaxLatency = None,
    scope: Annotated[
        str, typer.Option(help=f"Units leave from each layer in equal shares, or all compete: {', '.join(SCOPES)}.")
    ] = "global",
    criterion: Annotated[str, typer.Option(help=f"What ranks units: {', '.join(CRITERIA)}.")] = AS_IT_IS.criterion,
    remove_layers: Annotated[int, typer.Option(help="Layers that leave, those that are missed least.", min=0)] = 0,
    sparsity: Annotated[float, typer.Option(help="Share of the weights that becomes zero.", min=0, max=1)] = 0.0,
    pattern: Annotated[str, typer.Option(help="Which weights: global, layer, or N:M such as 2:4.")] = AS_IT_IS.pattern,
    schedule: Annotated[str, typer.Option(help=f"When they become zero: {', '.join(SCHEDULES)}.")] = AS_IT_IS.schedule,
    self_distillation: Annotated[
        float, typer.Option(help="Weight of the parent as teacher in fine-tuning.", min=0, max=1)
    ] = AS_IT_IS.self_distillation,
    bits: Annotated[int, typer.Option(help="32, or 8 for int8 on ONNX Runtime.")] = AS_IT_IS.bits,
    quantization: Annotated[
        str, typer.Option(help=f"How 8 bits are made: {', '.join(QUANTIZATIONS)}.")
    ] = AS_IT_IS.quantization,
    quantization_aware: Annotated[
        bool, typer.Option("--quantization-aware", help="Fine-tune with the rounding of int8 in sight.")
    ] = AS_IT_IS.quantization_aware,
    epochs: Epochs = None,
    to: To = None,
    force: Force = False,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a trained network smaller: layers, then units, then weights leave, it is fine-tuned, then quantized.

    Units leave by a share (--pruning), or as few as hold the bounds (--max-...). The result is a trial more.
    """
    if to is not None:
        check_free(Path(to), force=force)  # before the work, not after it
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    parent = opened.pick(which)
    recipe = Compression(
        criterion=criterion,
        scope=scope,
        removed_layers=remove_layers,
        sparsity=sparsity,
        pattern=pattern,
        schedule=schedule,
        self_distillation=self_distillation,
        bits=bits,
        quantization=quantization,
        quantization_aware=quantization_aware,
    )
    with _progress(quiet=quiet) as on_epoch:
        result = opened.shrink(
            parent.number,
            pruning=pruning,
            compression=recipe,
            max_parameters=max_parameters,
            max_macs=max_macs,
            max_latency_ms=max_latency_ms,
            finetune_epochs=epochs,
            on_epoch=on_epoch,
        )
    _show(parent, result, to, force=force, as_json=as_json)


def grow(
    which: Which = "knee",
    *,
    widen: Annotated[
        float | None, typer.Option(help="Times as wide, above 1, such as 1.5.", min=1, metavar="TIMES")
    ] = None,
    layers: Annotated[int, typer.Option(help="Layers to insert, spread over the depth.", min=0)] = 0,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training afterwards. Default: as its parent.", min=1)
    ] = None,
    to: To = None,
    force: Force = False,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a trained network larger: it answers the same at first, and is trained on. The result is a trial more."""
    if to is not None:
        check_free(Path(to), force=force)  # before the work, not after it
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    parent = opened.pick(which)
    with _progress(quiet=quiet) as on_epoch:
        result = opened.grow(parent.number, widen=widen, layers=layers, epochs=epochs, on_epoch=on_epoch)
    _show(parent, result, to, force=force, as_json=as_json)


def train(
    which: Annotated[str | None, typer.Argument(help=f"{PICKS}  \\[default: knee]")] = None,
    *,
    pick: Annotated[str | None, typer.Option("--pick", help="The same, as an option.")] = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    weight: Weight = None,
    smallest: Smallest = None,
    within_best: WithinBest = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training. Default: as many as without inherited weights.", min=1)
    ] = None,
    from_weights: Annotated[
        bool, typer.Option("--from-weights", help="Begin with the weights of the search, instead of from scratch.")
    ] = False,
    as_trial: Annotated[
        bool,
        typer.Option(
            "--as-trial",
            help="Train it from scratch on the train split alone, as a trial more, so that its figures compare with "
            "those of the search.",
        ),
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Of the weights and the order of the data. Default: the study's.", min=0)
    ] = None,
    checkpoint_every: CheckpointEvery = None,
    to: To = None,
    force: Force = False,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a chosen network to its end, on train and validation, and judge it once on the test split.

    From scratch, or from its weights, with its compression. The result is kept beside the study: paretonas export
    --final hands it out. What is interrupted goes on with the same command; what was trained so before is shown.
    """
    if which is not None and pick is not None:
        raise UsageError(f"a pick is given once, {which!r} and --pick {pick!r} came")
    if as_trial and from_weights:
        raise UsageError("--as-trial is from scratch, --from-weights is not: leave one of them")
    if to is not None:
        check_free(Path(to), force=force)  # before the work, not after it
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    parent = picked(
        opened,
        which or pick,
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
    if as_trial:
        _train_as_trial(parent, epochs, seed, to, force=force, quiet=quiet, as_json=as_json)
        return
    with resumable("the final training"), _progress(quiet=quiet) as on_epoch:
        result = opened.train_final(
            parent.number,
            epochs=epochs,
            from_weights=from_weights,
            seed=seed,
            on_epoch=on_epoch,
            checkpoint_every=checkpoint_every or CHECKPOINT_EVERY,
        )
    folder = None if to is None else str(result.export(Path(to), force=force))
    print_final(result, parent, folder, as_json=as_json)


def _train_as_trial(
    parent: "Trial", epochs: int | None, seed: int | None, to: str | None, *, force: bool, quiet: bool, as_json: bool
) -> None:
    """Train from scratch, without inherited weights, so that figures compare; print both."""
    with _progress(quiet=quiet) as on_epoch:
        result = parent.study.train(parent.number, epochs=epochs, seed=seed, on_epoch=on_epoch)
    titles = (f"trial {parent.number}", "from scratch")
    _show(parent, result, to, force=force, as_json=as_json, titles=titles)
    if not as_json:
        print(inheritance(parent))
        if result.number == parent.number:
            print(
                f"it is what training from scratch gives: with --epochs or --seed trial {parent.number} is trained anew"
            )


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[Epoch], None]]:
    """A line on standard error, where that is a terminal, that says how far the training is."""
    screen = Console(stderr=True, quiet=quiet)
    with screen.status("measuring what leaves") as status:
        yield lambda epoch: status.update(
            f"{epoch.phase}, epoch {epoch.number + 1} done: loss {epoch.loss:.4f}, score {epoch.score:.4f}"
        )


def _show(
    parent: "Trial",
    result: "Trial",
    to: str | None,
    *,
    force: bool,
    as_json: bool,
    titles: tuple[str, str] = ("before", "after"),
) -> None:
    """Both, side by side, and where the result is. What the parent inherited is marked."""
    folder = None if to is None else str(result.export(Path(to), force=force))
    before, after = (
        {**figures_of(trial), SIZE: COUNTED[SIZE].count(trial.deployed()).value} for trial in (parent, result)
    )
    inherited = inherited_values(parent)
    if as_json:
        made_of = {"trial": parent.number, "inherited": inherited, "values": before}
        document = {**result.to_json(), "values": after, "parent": made_of}
        print(json.dumps({**document, **({} if folder is None else {"folder": folder})}, indent=2))
        return
    table = Table(title=f"Trial {result.number} of {escape(result.study.name)}, made of trial {parent.number}")
    for name in ("", *titles, "ratio", ""):
        table.add_column(name, justify="left" if not name else "right")
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        ratio = f"{new / old:.2f}" if old and new is not None else ""
        shown = ["" if value is None else in_figures(name, value) for value in (old, new)]
        shown[0] += " (inherited)" if name.removeprefix(TEST) in inherited else ""
        table.add_row(name, *shown, ratio, unit_of(name))
    table.add_row("network", escape(str(parent.architecture)), escape(str(result.architecture)), "", "")
    console().print(table)
    if folder is not None:
        print(f"trial {result.number} is in {folder}; its outputs were checked")
