"""The winner leaves: a readable module, its weights and its card."""

import hashlib
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import nn

from ..errors import ExportError
from ..objectives import OBJECTIVES
from ..spaces import write_source
from ..spaces.architecture import Json
from ..storage import save_weights_file

if TYPE_CHECKING:
    from .trial import Trial

TEST_ACCURACY = "test_accuracy"
FILES = ("net.py", "net.safetensors", "net.json")
USAGE = """Use (needs torch and safetensors):

    from safetensors.torch import load_file
    net = Net()
    net.load_state_dict(load_file("net.safetensors"))
    scores = net.eval()(batch)"""


def export(trial: "Trial", folder: Path, *, force: bool) -> Path:
    """See ``Trial.export``. Either all three files are written, after the check, or none."""
    there = [name for name in FILES if (folder / name).exists()]
    if there and not force:
        raise ExportError(f"{', '.join(there)} of {folder} would be overwritten: export elsewhere, or force it")
    network, figures = trial.load(), figures_of(trial)
    text = write_source(trial.architecture, docstring(trial, figures))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as place:
            source, weights, card = (Path(place) / name for name in FILES)
            source.write_text(text, encoding="utf-8")
            save_weights_file(weights, trial.architecture, network.state_dict())
            check(network, trial.architecture.input_shape, source, weights)
            card.write_text(json.dumps(card_of(trial, figures, weights), indent=2) + "\n", encoding="utf-8")
            for name in FILES:
                (Path(place) / name).replace(folder / name)
    except OSError as error:
        raise ExportError(
            f"{folder} cannot take the export: {error.strerror or error}: choose a folder that is writable and has room"
        ) from error
    return folder


def check(network: nn.Module, input_shape: tuple[int, ...], source: Path, weights: Path) -> None:
    """Raise ExportError unless the written files give bitwise the outputs of ``network``."""
    spec = importlib.util.spec_from_file_location("paretonas_exported_net", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # our own text, written a moment ago
    exported = module.Net().eval()
    exported.load_state_dict(load_file(weights))
    batch = torch.rand(16, *input_shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours, theirs = network(batch), exported(batch)
    if not torch.equal(ours, theirs):
        raise ExportError(
            f"the exported network differs from the trained one by up to {(ours - theirs).abs().max().item():g}: "
            "nothing was written; this is a fault of paretonas"
        )


def docstring(trial: "Trial", measured: dict[str, float]) -> str:
    """The figures that the network was chosen by, and how to use it."""
    definition = trial.study.definition
    figures = [f"{name} {_number(value)} ({unit_of(name)})" for name, value in measured.items()]
    return "\n".join(
        [
            f"Trial {trial.number} of the paretonas study {trial.study.name!r} on {definition.task}.",
            "",
            *figures,
            f"Layers: {trial.architecture}",
            "",
            USAGE,
        ]
    )


def figures_of(trial: "Trial") -> dict[str, float]:
    """What was measured, with the test accuracy, which an export reports."""
    figures = {**trial.values, TEST_ACCURACY: trial.test_accuracy()}
    return {name: figures[name] for name in (*OBJECTIVES, TEST_ACCURACY) if name in figures}


def card_of(trial: "Trial", measured: dict[str, float], weights: Path) -> Json:
    """The model card as data: figures with units and conditions, origin, and the whole description."""
    definition, evaluation = trial.study.definition, trial.evaluation
    return {
        "study": trial.study.name,
        "trial": trial.number,
        "task": definition.task,
        "objectives": list(definition.objectives),
        "values": measured,
        "units": {name: unit_of(name) for name in measured},
        "conditions": {name: detail for name, detail in evaluation.details.items() if detail},
        "seed": evaluation.seed,
        "candidate": trial.candidate.to_json(),
        "architecture": trial.architecture.to_json(),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "check": "outputs of net.py with net.safetensors equal the trained network's bit for bit on 16 random examples",
    }


def unit_of(name: str) -> str:
    """The unit of a measured number, in words."""
    return "share of the test split, which the search never saw" if name == TEST_ACCURACY else OBJECTIVES[name].unit


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and value > 1 else f"{value:.4g}"
