"""The winner leaves: a readable module, its weights, other formats of it, its card and a script to train it on."""

import hashlib
import importlib.util
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn

from ... import own
from ...errors import CandidateFailed, ExportError, UsageError
from ...objectives import Data, Deployed
from ...spaces import Architecture, example_input, write_source
from ...spaces.architecture import Json
from ...storage import weights_in_bytes
from ..data import data_of
from .card import NOT_STATED, card_of, docstring, figures_of
from .card_text import card_text
from .formats import ALL, FORMATS, Format, formats_of
from .formats_checked import by_head, write_format
from .script import write_script

if TYPE_CHECKING:
    from ..trial import Trial

SOURCE, WEIGHTS, CARD, PAGE, SCRIPT = "net.py", "net.safetensors", "net.json", "README.md", "train.py"
FILES = (SOURCE, WEIGHTS, CARD, PAGE, SCRIPT)  # of every export
EVER = {*FILES, *(one.file for one in FORMATS.values()), *(one.int8 for one in FORMATS.values())}


def export(
    trial: "Trial",
    folder: Path,
    *,
    formats: str | Sequence[str] = (),
    licence: str = NOT_STATED,
    force: bool = False,
) -> Path:
    """See ``Trial.export``. Either all files are written, after the check, or none."""
    chosen = formats_of(formats)
    deployed = trial.deployed()
    if deployed.quantized is not None and FORMATS["onnx"] not in chosen:
        chosen = [FORMATS["onnx"], *chosen]  # what its figures were measured on
    check_free(folder, (*FILES, *(one.name(deployed) for one in chosen)), force=force)
    data = data_of(trial.study.definition, "cpu")
    figures = figures_of(trial)
    text = write_source(trial.architecture, docstring(trial, data, figures))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as name:
            place = Path(name)
            source, weights = place / SOURCE, place / WEIGHTS
            source.write_text(text, encoding="utf-8")
            weights.write_bytes(weights_in_bytes(trial.architecture, deployed.network.state_dict()))
            check(deployed.network, trial.architecture, source, weights)
            threads, optional = trial.study.definition.threads, ALL in formats
            checks = {
                one.name(deployed): _written(one, deployed, data, place, threads=threads, optional=optional)
                for one in chosen
            }
            card = card_of(trial, data, figures, weights, checks, licence)
            (place / PAGE).write_text(card_text(trial, data, figures, card), encoding="utf-8")
            (place / SCRIPT).write_text(write_script(trial, data), encoding="utf-8")
            card["files"] = {path.name: _sha256(path) for path in sorted(place.iterdir())}
            (place / CARD).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
            _put(place, folder)
    except OSError as error:
        raise ExportError(
            f"{folder} cannot take the export: {error.strerror or error}: choose a folder that is writable and has room"
        ) from error
    return folder


def check_free(folder: Path, files: Sequence[str] = FILES, *, force: bool) -> None:
    """ExportError if a file is there that may not be overwritten; it says which were changed since an export."""
    if force:
        return
    before = _earlier(folder)
    there = [
        f"{name} (changed since its export)" if name in before and before[name] != _sha256(folder / name) else name
        for name in files
        if (folder / name).exists()
    ]
    if there:
        raise ExportError(f"{', '.join(there)} of {folder} would be overwritten: export elsewhere, or force it")


def _put(place: Path, folder: Path) -> None:
    """Move all files of a place into a folder; those of an earlier export that are of no use now leave it."""
    written = [path.name for path in place.iterdir()]
    stale = [name for name, digest in _earlier(folder).items() if name not in written]
    stale = [name for name in stale if (folder / name).is_file() and _sha256(folder / name) == _earlier(folder)[name]]
    for name in written:
        (place / name).replace(folder / name)
    for name in stale:
        (folder / name).unlink()


def _earlier(folder: Path) -> dict[str, str]:
    """The files of an earlier export into a folder, with their hashes, as its card has them; {} if there is none."""
    try:
        files = json.loads((folder / CARD).read_text(encoding="utf-8"))["files"]
        return {name: str(files[name]) for name in files if name in EVER}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _written(one: Format, deployed: Deployed, data: Data, place: Path, *, threads: int, optional: bool) -> Json:
    """Write a format; what the card says of it. optional: why it cannot be written is said there too."""
    try:
        return write_format(one, deployed, data, place, threads=threads)
    except (UsageError, CandidateFailed, ExportError) as error:
        (place / one.name(deployed)).unlink(missing_ok=True)
        if optional:
            return {"format": one.word, "left_out": str(error)}
        if isinstance(error, ExportError):
            raise
        raise ExportError(
            f"this network cannot be written as {one.word}: {error}; nothing was written, leave {one.word} out of the "
            "formats"
        ) from error


def check(network: nn.Module, architecture: Architecture, source: Path, weights: Path) -> None:
    """Raise ExportError unless the written files give bitwise the outputs of ``network``."""
    code = ", ".join(sorted(own.names(architecture.to_json())))
    fault = f"nothing was written; this is a fault of {code or 'paretonas'}"
    try:
        agree = agrees(network, architecture, source, weights)
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        raise ExportError(f"the exported network does not run ({type(error).__name__}: {text}): {fault}") from error
    if not agree:
        raise ExportError(f"the exported network answers otherwise than the trained one: {fault}")


def agrees(network: nn.Module, architecture: Architecture, source: Path, weights: Path) -> bool:
    """Whether the written files give bitwise the outputs of ``network``. Raises whatever they raise."""
    spec = importlib.util.spec_from_file_location("paretonas_exported_net", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # our text and what it took of trusted code, written a moment ago
    exported = module.Net().eval()
    exported.load_state_dict(load_file(weights))
    batch = example_input(architecture, 16)
    with torch.inference_mode():
        ours, theirs = by_head(network(batch)), by_head(exported(batch))
    return ours.keys() == theirs.keys() and all(torch.equal(ours[head], theirs[head]) for head in ours)
