"""The winner leaves: a readable module, its weights and its card."""

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
from ...errors import ExportError
from ...objectives import Data, Target, objective_of
from ...spaces import Architecture, DataSpec, example_input, write_source
from ...spaces.architecture import Json
from ...storage import weights_in_bytes
from ..data import data_of

if TYPE_CHECKING:
    from ..trial import Trial

TEST = "test_"  # before the name of a metric: measured on the test split
FILES = ("net.py", "net.safetensors", "net.json")
INT8 = "net.int8.onnx"  # beside them, of a trial of 8 bits: what its figures were measured on
USAGE = """Use (needs torch and safetensors):

    from safetensors.torch import load_file
    net = Net()
    net.load_state_dict(load_file("net.safetensors"))
    answers = net.eval()(batch)"""
FASTER = 0.95  # times the latency without zeros; what is nearer to it is noise
SHOWN = 12  # names of classes in a docstring; the card has all


def export(trial: "Trial", folder: Path, *, force: bool) -> Path:
    """See ``Trial.export``. Either all files are written, after the check, or none."""
    quantized = trial.evaluation.quantized
    files = FILES if quantized is None else (*FILES, INT8)
    check_free(folder, files, force=force)
    data = data_of(trial.study.definition, "cpu")
    network, figures = trial.load(quantized=False), figures_of(trial)
    text = write_source(trial.architecture, docstring(trial, data, figures))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export-") as place:
            source, weights, card = (Path(place) / name for name in FILES)
            if quantized is not None:
                (Path(place) / INT8).write_bytes(trial.study.store.read_artifact(quantized))
            source.write_text(text, encoding="utf-8")
            weights.write_bytes(weights_in_bytes(trial.architecture, network.state_dict()))
            check(network, trial.architecture, source, weights)
            card.write_text(json.dumps(card_of(trial, data, figures, weights), indent=2) + "\n", encoding="utf-8")
            for name in files:
                (Path(place) / name).replace(folder / name)
    except OSError as error:
        raise ExportError(
            f"{folder} cannot take the export: {error.strerror or error}: choose a folder that is writable and has room"
        ) from error
    return folder


def check_free(folder: Path, files: Sequence[str] = FILES, *, force: bool) -> None:
    """ExportError if a file is there that may not be overwritten."""
    there = [name for name in files if (folder / name).exists()]
    if there and not force:
        raise ExportError(f"{', '.join(there)} of {folder} would be overwritten: export elsewhere, or force it")


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


def by_head(answers: torch.Tensor | dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A network's answers as a dict, also where there is one head."""
    return answers if isinstance(answers, dict) else {"": answers}


def docstring(trial: "Trial", data: Data, measured: dict[str, float]) -> str:
    """The figures that the network was chosen by, what comes in and out, and how to use it."""
    figures = [f"{name} {_number(value)} ({unit_of(name)})" for name, value in measured.items()]
    return "\n".join(
        [
            f"Trial {trial.number} of the paretonas study {trial.study.name!r} on {trial.study.definition.task.name}.",
            "",
            *figures,
            *notes(trial),
            f"Layers: {trial.architecture}",
            "",
            f"In: {what_comes_in(data.spec)}, prepared as 'preprocessing' in net.json says.",
            *(f"Out: {what_comes_out(target, data.spec)}." for target in data.targets),
            "",
            USAGE,
        ]
    )


def notes(trial: "Trial") -> list[str]:
    """What has to be known of the figures: on what they were measured, and whether zeros among the weights helped."""
    said = []
    if trial.evaluation.quantized is not None:
        said.append(f"These are of {INT8}, the int8 network on ONNX Runtime; net.py is the one that it was made of.")
    for name, detail in trial.evaluation.details.items():
        if "dense" in detail:
            ratio = trial.values[name] / detail["dense"]
            gain = (
                "the zeros make it faster"
                if ratio < FASTER
                else "the zeros do not make it faster: they are multiplied too"
            )
            said.append(f"{name} is {ratio:.2f} of that of the same network without zeros: {gain}.")
    return said


def what_comes_in(spec: DataSpec) -> str:
    """Shape and type of a batch, in words."""
    shape = f"(N, {', '.join(map(str, spec.input_shape))})"
    if spec.vocabulary is not None:
        return f"{shape} int64, tokens below {spec.vocabulary}"
    if not spec.categories:
        return f"{shape} float32"
    below = ", ".join(map(str, spec.categories))
    return f"{shape} float32, of whose columns the last {len(spec.categories)} hold category codes below {below}"


def what_comes_out(target: Target, spec: DataSpec) -> str:
    """Shape and meaning of an answer, in words."""
    (head,) = (head for head in spec.heads if head.name == target.head)
    named = f"{head.name!r}: " if len(spec.heads) > 1 else ""
    if target.kind == "number":
        return f"{named}(N, 1), which times {target.std:g} plus {target.mean:g} is the value"
    if target.kind == "tokens":
        return f"{named}(N, length, {head.outputs}), scores of the token that comes next, at each position"
    names = ", ".join(target.names[:SHOWN]) + (", …" if len(target.names) > SHOWN else "")
    return f"{named}(N, {head.outputs}), scores of the classes {names}"


def figures_of(trial: "Trial") -> dict[str, float]:
    """What was measured, with the test split's figures, which a pick reports."""
    return {**trial.values, **trial.test_metrics()}


def card_of(trial: "Trial", data: Data, measured: dict[str, float], weights: Path) -> Json:
    """The model card as data: figures with units and conditions, origin, and the whole description."""
    definition, evaluation = trial.study.definition, trial.evaluation
    return {
        "study": trial.study.name,
        "trial": trial.number,
        "task": definition.task.to_json(),
        "fingerprint": definition.fingerprint,
        "objectives": list(definition.objectives),
        "values": measured,
        "units": {name: unit_of(name) for name in measured},
        "notes": notes(trial),
        "conditions": {name: detail for name, detail in evaluation.details.items() if detail},
        "preprocessing": {name: done for name, done in data.preprocessing.items() if name != "targets"},
        "targets": {target.head: target.to_json() for target in data.targets},
        "seed": evaluation.seed,
        "candidate": trial.candidate.to_json(),
        "architecture": trial.architecture.to_json(),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "check": "outputs of net.py with net.safetensors equal the trained network's bit for bit on 16 random examples",
    }


def unit_of(name: str) -> str:
    """The unit of a measured number, in words."""
    if not name.startswith(TEST):
        return objective_of(name).unit
    return unit_of(name.removeprefix(TEST)).replace(
        "on the validation split", "on the test split, which the search never saw"
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() and value > 1 else f"{value:.4g}"
