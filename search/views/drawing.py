"""Drawings of trials: their networks, with what pruning took away."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...spaces import Architecture
from ...spaces.drawing import draw, draw_png
from ...spaces.module import ModuleArchitecture

if TYPE_CHECKING:
    from ..trial import Trial

KINDS = (".svg", ".png")


def draw_trial(trial: "Trial", *, beside: "Trial | None" = None) -> str:
    """The network of a trial as SVG text, and that of another beside it with the difference in words."""
    return draw(trial.architecture, **_described(trial, beside))


def draw_trial_png(trial: "Trial", *, beside: "Trial | None" = None) -> bytes:
    """As ``draw_trial``, as a PNG picture."""
    return draw_png(trial.architecture, **_described(trial, beside))


def write_drawing(trial: "Trial", path: str | Path, *, beside: "Trial | None" = None) -> Path:
    """Draw into a file, SVG or PNG as its name says. UsageError for another name or a place that cannot take it."""
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise UsageError(f"a drawing is a file named .svg or .png, {path.name!r} was given")
    if path.suffix.lower() == ".png":
        content = draw_trial_png(trial, beside=beside)
    else:
        content = (draw_trial(trial, beside=beside) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise UsageError(
            f"{path} cannot take the drawing: {error.strerror or error}: choose a file in a folder that is writable"
        ) from error
    return path


def _described(trial: "Trial", beside: "Trial | None") -> dict[str, Any]:
    """What a drawing says beside the network, and the one at its right."""
    said: dict[str, Any] = {"title": title_of(trial), "before": _before(trial)}
    if beside is not None:
        said |= {
            "beside": beside.architecture,
            "beside_title": title_of(beside),
            "beside_before": _before(beside),
        }
    return said


def title_of(trial: "Trial") -> str:
    """What stands above its drawing."""
    return f"Trial {trial.number} of {trial.study.name}"


def _before(trial: "Trial") -> Architecture | None:
    """The network that was trained, where something of it left afterwards."""
    whole = trial.candidate.architecture
    if whole == trial.architecture or isinstance(whole, ModuleArchitecture):
        return None
    return whole
