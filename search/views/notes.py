"""What optuna-dashboard shows as notes, in Markdown: of a study, and of each of its trials."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...objectives import on_meta
from ...spaces import Architecture, ModuleArchitecture, shapes, space_to_json
from ..delivery.card import unit_of
from .figures_data import Snapshot
from .labels import in_markdown, label_of
from .tables import in_figures, notes_on_times, recipe_of

if TYPE_CHECKING:
    from ...spaces.architecture import Block
    from ..trial import Trial

MOST_POINTS = 12  # of the front in a study's note
MOST_LAYERS = 60  # in a trial's note
LONGEST = 160  # characters of a cell
HIDDEN = {"width", "padding", "bias"}  # numbers of a block that its name or its shape says


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = ()) -> str:
    """A Markdown table. right: columns of numbers."""
    lines = [f"| {' | '.join(head)} |", "|" + "|".join("---:" if i in right else "---" for i in range(len(head))) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def study_note(shot: Snapshot) -> str:
    """The space, the task, what is searched for, what was spent, and the present best points."""
    study, definition = shot.study, shot.study.definition
    aims = "; ".join(f"{in_markdown(label_of(o.name))}, {o.direction}" for o in definition.resolved_objectives)
    facts = [
        ("task", in_markdown(task_in_words(shot))),
        ("space", in_markdown(f"{definition.space.name}: {space_in_words(shot)}")),
        ("objectives", aims),
        ("constraints", in_markdown(", ".join(definition.constraints)) or "none"),
        ("sampler", in_markdown(f"{definition.sampler}, stopping by {definition.stopping}, seed {definition.seed}")),
        ("trials", in_markdown(shot.in_words)),
        ("budget", in_markdown(shot.spending)),
    ]
    return "\n\n".join(
        [
            f"## {in_markdown(study.name)}",
            table(("what", ""), facts),
            "### Present front",
            front_table(shot),
            *(in_markdown(note) for note in notes_on_times(study, shot.front)),
            *_compared(shot),
            "Written by paretonas, and renewed as the study goes on; a note that you change is left alone.",
        ]
    )


def front_table(shot: Snapshot, most: int = MOST_POINTS) -> str:
    """The points of the front with what they reached, the knee and the best one named; a sentence if there are none."""
    if not shot.front:
        if not shot.trials:
            return "No trial has come to an end yet."
        return f"No trial is feasible: {in_markdown(shot.in_words)}."
    points = some_of(shot, most)
    names = list(dict.fromkeys(name for trial in points for name in trial.values))
    rows = [
        (
            trial.number,
            *(in_figures(name, trial.values[name]) if name in trial.values else "" for name in names),
            title_of(shot, trial),
            in_markdown(_cut(trial.architecture)),
        )
        for trial in points
    ]
    left = len(shot.front) - len(points)
    more = f"\n\nand {left} more between them: `paretonas front` lists all." if left else ""
    head = ("trial", *(in_markdown(label_of(name)) for name in names), "", "network")
    return table(head, rows, right=range(len(names) + 1)) + more


def some_of(shot: Snapshot, most: int) -> "list[Trial]":
    """At most so many points of the front, spread over it, with the knee and the best one."""
    front = list(shot.front)
    if len(front) <= most:
        return front
    kept = {round(index * (len(front) - 1) / (most - 3)) for index in range(most - 2)}
    kept |= {front.index(trial) for trial in (shot.knee, shot.best) if trial is not None}
    return [front[index] for index in sorted(kept)]


def title_of(shot: Snapshot, trial: "Trial") -> str:
    """Whether a point is the knee, or the best one."""
    names = [name for name, one in (("knee", shot.knee), ("best", shot.best)) if one and one.number == trial.number]
    return ", ".join(names)


def _compared(shot: Snapshot) -> list[str]:
    if not shot.references:
        return []
    rows = [
        (in_markdown(name), *(in_figures(o, values[o]) if o in values else "" for o in shot.objectives))
        for name, values in shot.references.items()
    ]
    head = ("network", *(in_markdown(label_of(name)) for name in shot.objectives))
    return ["### Compared with", table(head, rows, right=range(1, len(head)))]


def task_in_words(shot: Snapshot) -> str:
    """The data, with what was chosen of them."""
    fields = {name: value for name, value in shot.study.definition.task.to_json().items() if name != "type"}
    said = ", ".join(f"{name} {value}" for name, value in fields.items() if value not in (None, "", [], ()))
    return _cut(f"{shot.study.definition.task.name}{': ' if said else ''}{said}", 300)


def space_in_words(shot: Snapshot) -> str:
    """The choices of the space that are open, in one line."""
    described = space_to_json(shot.study.definition.space)
    said = [f"{name} {_choice(value)}" for name, value in described.items() if _is_open(value)]
    inner = [
        f"{name}.{field} {_choice(value)}"
        for name, fields in described.items()
        if isinstance(fields, dict)
        for field, value in fields.items()
        if _is_open(value)
    ]
    return _cut("; ".join([*said, *inner]) or "nothing is open", 600)


def _is_open(value: object) -> bool:
    return (isinstance(value, dict) and "low" in value) or (isinstance(value, list) and len(value) > 1)


def _choice(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['low']:g} to {value['high']:g}" + (", logarithmic" if value.get("log") else "")
    assert isinstance(value, list)
    return "of " + ", ".join(map(str, value))


def trial_note(shot: Snapshot, trial: "Trial") -> str:
    """What became of a trial, what it measured, and its network layer by layer."""
    return "\n\n".join(
        [
            f"### Trial {trial.number}: {in_markdown(outcome(shot, trial))}",
            *(f"{in_markdown(line)}" for line in story(shot, trial)),
            *([_figures(trial)] if trial.values else []),
            layer_table(trial),
            *_recipe(trial),
        ]
    )


def outcome(shot: Snapshot, trial: "Trial") -> str:
    """In a few words: ``stopped at epoch 4``, ``on the front, its knee``."""
    kind, title = shot.kinds[trial.number], title_of(shot, trial)
    if kind == "front":
        return "on the front" + (f", its {title.replace(', ', ' and ')} point" if title else "")
    if kind == "stopped":
        return f"stopped at epoch {len(shot.curve(trial))} of {trial.candidate.epochs}"
    if kind == "repetition":
        return f"complete, a repetition with seed {trial.evaluation.seed}, which is never on the front"
    said = {
        "dominated": "complete, dominated",
        "infeasible": "complete, but it violates a constraint",
    }
    return said.get(kind, f"{kind}: {trial.evaluation.kind}" if trial.evaluation.kind else kind)


def story(shot: Snapshot, trial: "Trial") -> list[str]:
    """What happened to it, a sentence each."""
    said, kind, evaluation = [], shot.kinds[trial.number], trial.evaluation
    if evaluation.reason:
        said.append(f"Why: {evaluation.reason}.")
    if kind == "dominated" and (better := dominating(shot, trial)):
        figures = ", ".join(f"{name} {in_figures(name, better.values[name])}" for name in shot.objectives)
        said.append(f"Dominated by trial {better.number}, which has {figures}.")
    if kind == "infeasible":
        broken = [str(b) for b in shot.study.definition.bounds if b.violation(trial.values.get(b.measure, b.bound)) > 0]
        said.append(f"It does not hold {' and '.join(broken)}.")
    epochs, seconds = len(shot.curve(trial)), evaluation.seconds
    if evaluation.reused is not None:
        said.append("Its results were taken over from another study of this store.")
    elif epochs:
        said.append(
            f"Trained for {epochs} epoch{'s' * (epochs > 1)}" + (f" in {seconds:.3g} seconds." if seconds else ".")
        )
    if trial.candidate.start is not None:
        said.append(f"It began with the weights of trial {trial.candidate.start.trial}.")
    return said


def dominating(shot: Snapshot, trial: "Trial") -> "Trial | None":
    """The point of the front that is at least as good in every objective, the most like it in quality; None if none."""
    objectives = shot.study.definition.resolved_objectives
    signs = {o.name: 1 if o.direction == "minimize" else -1 for o in objectives}
    if not signs.keys() <= trial.values.keys():
        return None
    mine = {name: sign * trial.values[name] for name, sign in signs.items()}
    there = [one for one in shot.front if all(signs[name] * one.values[name] <= mine[name] for name in signs)]
    quality = shot.study.definition.quality.name
    return min(there, key=lambda one: abs(one.values[quality] - trial.values[quality]), default=None)


def _figures(trial: "Trial") -> str:
    rows = [
        (in_markdown(name), in_figures(name, value), in_markdown(unit_of(name))) for name, value in trial.values.items()
    ]
    return table(("measure", "value", "unit"), rows, right=(1,))


def layer_table(trial: "Trial") -> str:
    """The network layer by layer, as it is left; what cannot be built here is said."""
    network = trial.architecture
    try:
        rows = layer_rows(network, trial.candidate.architecture)
    except Exception as error:  # noqa: BLE001 - code of the user's own may raise anything
        return f"Its layers cannot be listed here: {type(error).__name__}: {in_markdown(_cut(error))}"
    left = len(rows) - MOST_LAYERS
    shown = [tuple(map(in_markdown, row)) for row in rows[:MOST_LAYERS]]
    more = f"\n\nand {left} layers more" if left > 0 else ""
    return table(("\\#", "layer", "out", "parameters", "numbers"), shown, right=(0, 3)) + more


def layer_rows(network: Architecture, before: Architecture) -> list[tuple[str, str, str, str, str]]:
    """Number, op, shape that leaves, parameters, and what else defines each layer. before: pruning."""
    if isinstance(network, ModuleArchitecture):
        said = ", ".join(f"{name} {value}" for name, value in network.arguments.items())
        count = sum(p.numel() for p in on_meta(network).parameters() if p.requires_grad)
        return [("1", network.factory, "", f"{count:,}", said)]
    module, seen = on_meta(network), shapes(network)
    rows = []
    for index, block in enumerate(network.blocks):
        own = "shared" if block.shares is not None else _count(module, f"block{index}")
        rows.append((str(index), block.op, _times(seen[index + 1]), own, _numbers(network, index, before)))
    for head in network.heads:
        own = "tied" if head.tied is not None else _count(module, head.name)
        follows = "" if head.follows is None else f"after {head.follows}"
        rows.append(("", f"head {head.name}", str(head.outputs), own, follows))
    return rows


def _numbers(network: Architecture, index: int, before: Architecture) -> str:
    """What a block says of itself, where it stands, and from what width it was pruned."""
    block = network.blocks[index]
    said = [
        f"{name} {value}" for name, value in block.args.items() if name not in HIDDEN and value not in (False, "none")
    ]
    if block.follows is not None:
        said.insert(0, f"after {block.follows}")
    if block.shares is not None:
        said.insert(0, f"weights of {block.shares}")
    was = _width(before.blocks[index]) if len(before.blocks) == len(network.blocks) else None
    if was is not None and _width(block) is not None and was != _width(block):
        said.insert(0, f"pruned from {was} to {_width(block)}")
    return ", ".join(said)


def _width(block: "Block") -> int | None:
    return block.width


def _count(module: object, name: str) -> str:
    part = getattr(module, name, None)
    count = 0 if part is None else sum(p.numel() for p in part.parameters() if p.requires_grad)
    return f"{count:,}" if count else ""


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _recipe(trial: "Trial") -> list[str]:
    training, candidate = vars(trial.candidate.training), trial.candidate
    idle = {"temperature"} if not candidate.training.taught else set()
    idle |= set() if candidate.finetunes else {"finetune_epochs", "finetune_rate"}
    rows = [(name, value, meaning) for name, value, meaning in recipe_of(candidate)]
    rows += [(name, _plain(value), "") for name, value in training.items() if name not in idle and value]
    return [
        "How it was trained and made small:",
        table(("what", "value", ""), [tuple(in_markdown(_cut(cell)) for cell in row) for row in rows]),
    ]


def _plain(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _cut(text: object, most: int = LONGEST) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
