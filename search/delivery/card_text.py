"""The model card: a page for people who get the exported folder and were not there (Mitchell et al. 2019)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from ...objectives import Data
from ...spaces.architecture import Json
from ..views.labels import in_markdown
from .card import NOT_STATED, TEST, notes, number, trial_in_words, unit_of, what_comes_in, what_comes_out
from .formats import FORMATS

if TYPE_CHECKING:
    from ..trial import Trial

POINTS = 30  # of the front at most; paretonas report has all
LONGEST = 3000  # characters of preprocessing that stand on the page
LIMITS = (
    "The test split comes from where the training data come from; nothing is known of data from elsewhere. The figures "
    "are of one training with one seed. Times hold for the hardware that is named beside them."
)
SOURCE = """```python
from net import Net
from safetensors.torch import load_file

net = Net()
net.load_state_dict(load_file("net.safetensors"))
answers = net.eval()(batch)
```
"""
HEAD = """# {title}

{summary}

| | |
|---|---|
| in | {comes_in}, prepared as [below](#data) |
{comes_out}
| network | {network} |
| made small by | {compression} |
| licence | {licence} |
"""


def card_text(trial: "Trial", data: Data, measured: Mapping[str, float], card: Json) -> str:
    """The page, in Markdown. card: the same as data."""
    return "\n".join(
        [
            _head(trial, data, measured, str(card["licence"])),
            *_figures(trial, measured, data),
            *_files(card["formats"]),
            *_use(card),
            *_data(trial, data),
            *_compared(trial),
            *_training(trial),
            "## Limits",
            "",
            LIMITS,
            "",
        ]
    )


def _head(trial: "Trial", data: Data, measured: Mapping[str, float], licence: str) -> str:
    outputs = "\n".join(f"| out | {in_markdown(what_comes_out(target, data.spec))} |" for target in data.targets)
    named = [word for word in trial.study.definition.objectives if word in measured]
    brief = in_markdown(", ".join(f"{word} {number(measured[word])}" for word in named))
    words = trial_in_words(trial)
    return HEAD.format(
        title=f"Trial {trial.number} of {in_markdown(trial.study.name)}",
        summary=f"A network for the task {in_markdown(trial.study.definition.task.name)}, found by a multi-objective "
        f"architecture search with paretonas{f': {brief}' if brief else ''}.",
        comes_in=in_markdown(what_comes_in(data.spec)),
        comes_out=outputs,
        network=in_markdown(trial.architecture),
        compression=in_markdown("; ".join(words)) if words else "nothing: it is as it was trained",
        licence=in_markdown(licence)
        + (" (whoever publishes it states one: `--license`)" if licence == NOT_STATED else ""),
    )


# what it reached


def _figures(trial: "Trial", measured: Mapping[str, float], data: Data) -> list[str]:
    rows = [
        f"| {in_markdown(name)} | {number(value)} | {in_markdown(unit_of(name))}{_interval(name, value, data)} |"
        for name, value in measured.items()
    ]
    said = [f"- {line}" for line in (*map(in_markdown, notes(trial)), *_conditions(trial))]
    return ["## Figures", "", "| measure | value | of |", "|---|---|---|", *rows, "", *said, *([""] if said else [])]


def _interval(name: str, share: float, data: Data) -> str:
    """The 95 % interval of an accuracy on the test split (Wilson 1927, eq. 1): how much the number of examples says."""
    if not name.startswith(TEST) or name.rpartition(".")[2].removeprefix(TEST) != "accuracy" or data.spec.per_position:
        return ""
    z, n = 1.96, len(data.test)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return f"; n = {n:,}, 95 % interval {centre - half:.3f} to {centre + half:.3f}"


def _conditions(trial: "Trial") -> list[str]:
    """Under which conditions times were measured."""
    said = []
    for name, detail in trial.evaluation.details.items():
        if "noise" in detail:
            noisy = "; it stayed noisy" if detail.get("noisy") else ""
            said.append(
                f"{name}: {detail['version']}, {detail['hardware']}, threads {detail['threads']}, batch "
                f"{detail['batch']}, {detail['precision']}, coefficient of variation {detail['noise']:.1%} over "
                f"{detail['samples']} calls{noisy}."
            )
    return [in_markdown(line) for line in said]


# what is there, and how to use it


def _files(formats: Mapping[str, Json]) -> list[str]:
    rows = [
        "| `net.py`, `net.safetensors` | PyTorch source and weights | equal bit for bit on 16 random examples |",
        *(
            f"| `{name}` | {in_markdown(_says(one))} | {in_markdown(checked_in_words(one))} |"
            for name, one in formats.items()
        ),
        "| `train.py` | a training script to start from; needs torch and safetensors | |",
        "| `net.json` | this page as data, with all conditions and the whole description | |",
    ]
    header = ["## Files", "", "| file | what | its answers beside those of the trained network |", "|---|---|---|"]
    return [*header, *rows, ""]


def _says(one: Json) -> str:
    return f"{FORMATS[one['format']].says}; {one['takes']}" if "takes" in one else FORMATS[one["format"]].says


def checked_in_words(one: Json) -> str:
    """How the answers of a written file stand to those of the trained network."""
    if "left_out" in one:
        return f"not written: {one['left_out']}"
    ran = f"{one['examples']} random examples, {one['runs_on']}"
    if "largest_difference" in one:
        apart = one["largest_difference"]
        return f"differ by at most {apart:.1e} on {ran}" if apart else f"equal on {ran}"
    both = ", ".join(
        f"{name} {value:.4f} ({one['quality_of_trial'][name]:.4f})" for name, value in one["quality"].items()
    )
    return (
        f"{both} on {one['examples']} examples of the {one['split']} split, {one['runs_on']}; the trial's in brackets"
    )


def _use(card: Json) -> list[str]:
    others = [
        f"```python\n{FORMATS[one['format']].use.format(file=name)}\n```\n"
        for name, one in card["formats"].items()
        if "left_out" not in one
    ]
    return ["## Use", "", "paretonas is not needed. In this folder:", "", SOURCE, *others]


# where it comes from


def _data(trial: "Trial", data: Data) -> list[str]:
    definition = trial.study.definition
    fields = {name: value for name, value in definition.task.to_json().items() if name != "type"}
    said = [f"Task {in_markdown(definition.task.name)}{_settings(fields)}."]
    sizes = ", ".join(f"{len(getattr(data, part)):,} {part}" for part in ("train", "validation", "test"))
    said.append(f"Examples: {sizes}. The search never saw the test split.")
    if definition.fingerprint:
        said.append(f"Fingerprint of the data: `{in_markdown(definition.fingerprint)}`.")
    for target in data.targets:
        if target.kind == "classes":
            said.append(in_markdown(f"Classes of {target.head}: {_classes(target.names)}."))
        elif target.kind == "number":
            said.append(
                in_markdown(f"{target.head}: a number, standardised by mean {target.mean:g}, std {target.std:g}.")
            )
    done = json.dumps(data.preprocessing["input"], indent=2, ensure_ascii=True)
    page = (
        ["What was done to each example:", "", "```json", done.replace("```", "\\u0060" * 3), "```"]
        if len(done) <= LONGEST
        else ["What was done to each example stands in `net.json` under `preprocessing`."]
    )
    return ["## Data", "", *(f"- {line}" for line in said), "", *page, ""]


def _classes(names: Sequence[str]) -> str:
    """By their places among the scores."""
    if list(names) == [str(place) for place in range(len(names))]:
        return f"0 to {len(names) - 1}, in this order"
    return ", ".join(f"{place} is {name}" for place, name in enumerate(names))


def _settings(fields: Mapping[str, object]) -> str:
    said = ", ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", (), [], {}))
    return f": {in_markdown(said)}" if said else ""


def _compared(trial: "Trial") -> list[str]:
    """The front that it was chosen from, the reference networks, and what else was tried."""
    from .comparing import references_of

    study = trial.study
    names = [objective.name for objective in study.definition.resolved_objectives]
    front, trials = study.pareto_front, study.trials
    named = {f"trial {one.number}": one.values for one in front[:POINTS] if one.number != trial.number}
    named = {f"**trial {trial.number}, this one**": trial.values, **named}
    named |= {f"reference {in_markdown(name)}": values for name, values in references_of(study).items()}
    rows = [
        f"| {who} | {' | '.join(number(values[name]) if name in values else '' for name in names)} |"
        for who, values in named.items()
    ]
    states = {
        state: sum(one.state == state for one in trials) for state in ("complete", "stopped", "failed", "refused")
    }
    counted = ", ".join(f"{count} {state}" for state, count in states.items() if count)
    more = (
        [f"The front has {len(front)} points, of which the {POINTS} smallest are here."] if len(front) > POINTS else []
    )
    bounds = in_markdown(", ".join(study.definition.constraints))
    under = f", under {bounds}" if bounds else ""
    return [
        "## What it was compared with",
        "",
        f"The Pareto front of {len(trials)} trials ({counted}), judged on the validation split{under}.",
        *more,
        "",
        f"| | {' | '.join(map(in_markdown, names))} |",
        f"|---|{'---|' * len(names)}",
        *rows,
        "",
    ]


def _training(trial: "Trial") -> list[str]:
    training, evaluation = trial.candidate.training, trial.evaluation
    idle = {"temperature"} if not training.taught else set()
    idle |= set() if trial.candidate.finetunes else {"finetune_epochs", "finetune_rate"}
    used = {name: value for name, value in asdict(training).items() if value and name not in idle}
    said = ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in used.items()
    )
    inherited = [f"It began with the weights of trial {trial.candidate.start.trial}."] if trial.candidate.start else []
    split = f"Trained on {trial.trained_on}."
    return ["## Training", "", split, in_markdown(f"{said}; seed {evaluation.seed}."), *inherited, ""]
