"""What is known of a trial that leaves: its figures with units and conditions, its data, its origin.

As the docstring of ``net.py``, and as data in ``net.json``. ``card_text.py`` tells the same to people.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...objectives import Data, Target, objective_of
from ...spaces import Compression, DataSpec
from ...spaces.architecture import Json
from ...storage.artifact_store import INT8

if TYPE_CHECKING:
    from ..trial import Trial

TEST = "test_"  # before the name of a metric: measured on the test split
NOT_STATED = "not stated"  # the licence, where nobody said one
USAGE = """Use (needs torch and safetensors):

    from safetensors.torch import load_file
    net = Net()
    net.load_state_dict(load_file("net.safetensors"))
    answers = net.eval()(batch)"""
FASTER = 0.95  # times the latency without zeros; what is nearer to it is noise
SHOWN = 12  # names of classes in a docstring; the card has all


def docstring(trial: "Trial", data: Data, measured: Mapping[str, float]) -> str:
    """The figures that the network was chosen by, what comes in and out, and how to use it."""
    figures = [f"{name} {number(value)} ({unit_of(name)})" for name, value in measured.items()]
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
    if trial.trained_on != "train":
        said.append(f"Its weights were trained on {trial.trained_on}, and judged on the test split once.")
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


def trial_in_words(trial: "Trial") -> list[str]:
    """How it was made small: a few words for each thing that was done; [] if nothing was."""
    recipe, start = trial.candidate.compression, trial.candidate.start
    said = [] if start is None else [f"began as trial {start.trial}"]
    said += [] if start is None else [move.kind for move in start.moves]
    if recipe.removed_layers:
        said.append(f"{recipe.removed_layers} layers left")
    if trial.candidate.pruning:
        whose = "all layers together" if recipe.scope == "global" else "each layer"
        said.append(f"{trial.candidate.pruning:.0%} of the units of {whose} left, by {recipe.criterion}")
    if recipe.sparse:
        said.append(f"weights are zero: {recipe.pattern if ':' in recipe.pattern else f'{recipe.sparsity:.0%}'}")
    if recipe.bits != Compression().bits:
        said.append(f"{recipe.bits} bits, {recipe.quantization} quantization on ONNX Runtime")
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


def card_of(
    trial: "Trial", data: Data, measured: Mapping[str, float], weights: Path, checks: Mapping[str, Json], licence: str
) -> Json:
    """The model card as data: figures with units and conditions, origin, and the whole description.

    checks: of each written format, by file.
    """
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
        "conditions": {name: _conditions(detail) for name, detail in evaluation.details.items() if detail},
        "preprocessing": {name: done for name, done in data.preprocessing.items() if name != "targets"},
        "targets": {target.head: target.to_json() for target in data.targets},
        "trained_on": trial.trained_on,
        "seed": evaluation.seed,
        "candidate": trial.candidate.to_json(),
        "architecture": trial.architecture.to_json(),
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "licence": licence,
        "check": "outputs of net.py with net.safetensors equal the trained network's bit for bit on 16 random examples",
        "formats": dict(checks),
    }


def _conditions(detail: Json) -> Json:
    """Without the name of the machine, which is nobody else's business."""
    return {name: value for name, value in detail.items() if name != "host"}


def unit_of(name: str) -> str:
    """The unit of a measured number, in words."""
    if not name.startswith(TEST):
        return objective_of(name).unit
    return unit_of(name.removeprefix(TEST)).replace(
        "on the validation split", "on the test split, which the search never saw"
    )


def number(value: float) -> str:
    """As people read it: whole numbers in thousands, others to four digits."""
    return f"{value:,.0f}" if float(value).is_integer() and value > 1 else f"{value:.4g}"
