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

from ..objectives import COUNTED, Epoch
from ..spaces import Compression
from ..spaces.compression import QUANTIZATIONS, SCHEDULES
from ..spaces.importance import CRITERIA
from ..spaces.pruning import SCOPES
from .delivery.export import TEST, check_free, figures_of, unit_of
from .delivery.retraining import inheritance, inherited_values
from .options import PICKS, Artifacts, AsJson, MaxLatency, MaxMacs, MaxParameters, Quiet, Storage, StudyName, Trust
from .study import DEFAULT_STORAGE, load_study
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
    which: Which = "knee",
    *,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of training. Default: as many as without inherited weights.", min=1)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of the weights and the order of the data. Default: the study's.", min=0)
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
    """Train the network of a trial from scratch, without inherited weights, so that its figures compare.

    It prints both, and which values were inherited. The result is a trial more, unless it was trained so before.
    """
    if to is not None:
        check_free(Path(to), force=force)  # before the work, not after it
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    parent = opened.pick(which)
    with _progress(quiet=quiet) as on_epoch:
        result = opened.train(parent.number, epochs=epochs, seed=seed, on_epoch=on_epoch)
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
