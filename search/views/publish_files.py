"""The files that a trial has in optuna-dashboard beside its weights: source, learning curve, confusion matrices."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...objectives.metrics import predict
from ...spaces import write_source
from ..data import data_of
from .figures import score_name
from .figures_data import Snapshot
from .notes import outcome
from .publish_pictures import confusion, confusion_png, learning_curve_png
from .tables import in_figures

if TYPE_CHECKING:
    from ..trial import Trial

SOURCE, CURVE, CONFUSION = "net.py", "learning_curve.png", "confusion_matrix"
MOST_CLASSES = 200  # whose confusion can be seen


def files_of(shot: Snapshot, trial: "Trial") -> Iterator[tuple[str, bytes]]:
    """Name and content of each file; what cannot be made here (own code that is not trusted, weights that are gone) is
    left out.
    """
    if trial.state == "complete" and (source := _source(shot, trial)):
        yield SOURCE, source
    title, points = f"Trial {trial.number} of {shot.study.name}: {outcome(shot, trial)}", shot.curve(trial)
    if points:
        stopped = outcome(shot, trial) if trial.state == "stopped" else ""
        yield CURVE, learning_curve_png(points, title, score_name(shot), stopped=stopped)
    if trial.state == "complete" and trial.evaluation.weights is not None:
        yield from _confusions(trial, title)


def _source(shot: Snapshot, trial: "Trial") -> bytes | None:
    figures = ", ".join(f"{name} {in_figures(name, value)}" for name, value in trial.values.items())
    said = (
        f"Trial {trial.number} of the paretonas study {shot.study.name!r}: {figures}.\n\nLayers: {trial.architecture}"
    )
    try:
        return write_source(trial.architecture, said).encode()
    except Exception:  # noqa: BLE001 - code of the user's own may raise anything
        return None


def _confusions(trial: "Trial", title: str) -> Iterator[tuple[str, bytes]]:
    """A matrix for each head that answers classes, on the validation split."""
    try:
        data = data_of(trial.study.definition, "cpu")
        heads = [t for t in data.targets if t.kind == "classes" and len(t.names) <= MOST_CLASSES]
        predicted = predict(trial.load(), data.validation, data) if heads else {}
    except Exception:  # noqa: BLE001 - same
        return
    for target in heads:
        counts = confusion(*predicted[target.head], len(target.names))
        several = f"_{target.head}" if len(heads) > 1 else ""
        yield f"{CONFUSION}{several}.png", confusion_png(counts, target.names, title)
