"""What the commands print of a study: its front, and one point of it."""

import json
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ...spaces import Candidate, Compression
from ...spaces.architecture import Json
from ..delivery.card import figures_of, unit_of
from ..delivery.comparing import comparisons

AS_IT_IS = Compression()
COUNTS = ("parameters", "nonzero_parameters", "macs", "size_bytes", "file_bytes", "activation_bytes")

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..delivery.comparing import Comparison
    from ..study import Study
    from ..trial import Trial


def print_front(study: "Study", *, as_json: bool) -> None:
    """The front as a table, and how many trials failed; or as JSON."""
    points = study.pareto_front
    if as_json:
        print(json.dumps(_as_json(study, points), indent=2))
        return
    trials = study.trials
    failed, stopped, refused = (
        [trial for trial in trials if trial.state == state] for state in ("failed", "stopped", "refused")
    )
    if not points:
        print(f"{study.name}: the front is empty, {len(failed)} trials failed, {len(refused)} were refused")
        return
    _print_points(study, points)
    if failed:
        print(f"{len(failed)} trials failed, the last one: {failed[-1].reason}")
    if stopped:
        print(f"{len(stopped)} were stopped early, the last one: {stopped[-1].evaluation.reason}")
    if refused:
        print(f"{len(refused)} were refused before training, the last one: {refused[-1].evaluation.reason}")
    if inherited := [str(trial.number) for trial in points if trial.inherited]:
        print(
            f"trial {', '.join(inherited)} began with trained weights: paretonas train {inherited[0]} --as-trial says "
            "what its network reaches from scratch"
        )
    print(study.spending)
    for note in notes_on_times(study, points):
        print(note)
    for comparison in comparisons(study):
        print(comparison)


def _print_points(study: "Study", points: "Sequence[Trial]") -> None:
    table = Table(
        title=f"Pareto front of {escape(study.name)}: {', '.join(study.definition.objectives)}", title_justify="left"
    )
    names = list(dict.fromkeys(name for trial in points for name in trial.values))
    for name in ("trial", *names):
        table.add_column(name, justify="right")
    table.add_column("network", overflow="fold")
    for trial in points:
        figures = [in_figures(name, trial.values[name]) if name in trial.values else "" for name in names]
        table.add_row(str(trial.number), *figures, escape(in_words(trial)))
    console().print(table)


def _as_json(study: "Study", points: "Sequence[Trial]") -> Json:
    objectives = study.definition.resolved_objectives
    return {
        "study": study.name,
        "objectives": {o.name: {"unit": o.unit, "direction": o.direction} for o in objectives},
        "constraints": list(study.definition.constraints),
        "trials": len(study.store.finished_ids(study.id)),
        "stopped": sum(trial.state == "stopped" for trial in study.trials),
        "refused": study.store.refused(study.id),
        "spending": study.spending.to_json(),
        "front": [trial.to_json() for trial in points],
        "references": {one.name: one.to_json() for one in comparisons(study)},
    }


def notes_on_times(study: "Study", points: "Sequence[Trial]") -> list[str]:
    """Under which conditions the times of a front were measured, and which of them stayed noisy."""
    notes = []
    for name in study.definition.measures:
        details = {trial.number: trial.evaluation.details.get(name, {}) for trial in points}
        timed = {number: detail for number, detail in details.items() if "noise" in detail}
        kinds = dict.fromkeys((one["version"], one["hardware"], one["threads"]) for one in timed.values())
        notes += [f"{name}: {version}, {hardware}, threads {threads}" for version, hardware, threads in kinds]
        if noisy := [str(number) for number, detail in timed.items() if detail["noisy"]]:
            notes.append(
                f"{name} of trial {', '.join(noisy)} stayed noisy: paretonas front --remeasure on a quieter host"
            )
    return notes


def print_pick(trial: "Trial", *, as_json: bool, compared: "Sequence[Comparison]" = ()) -> None:
    """One point with its units, now also on the test split, and beside references; or as JSON."""
    figures = figures_of(trial)
    if as_json:
        beside = {"references": {one.name: one.to_json() for one in compared}} if compared else {}
        print(json.dumps({**trial.to_json(), "values": figures, **beside}, indent=2))
        return
    table = Table(title=f"Trial {trial.number} of {escape(trial.study.name)}", show_header=False)
    for name, value in figures.items():
        table.add_row(name, in_figures(name, value), unit_of(name))
    for row in recipe_of(trial.candidate):
        table.add_row(*row)
    table.add_row("seed", str(trial.evaluation.seed), "")
    table.add_row("network", escape(str(trial.architecture)), "")
    console().print(table)
    for one in compared:
        point = one.points[0]
        print(f"beside {one.name}: {point}; {point.sentence}")


def in_words(trial: "Trial") -> str:
    """A trial's network in one line, with what its layers do not say."""
    recipe, start = trial.candidate.compression, trial.candidate.start
    said = [str(trial.architecture)]
    said += ["weights partly zero"] if recipe.sparse else []
    said += ["int8"] if recipe.bits == 8 else []
    said += [f"weights of trial {start.trial}"] if start is not None else []
    return "; ".join(said)


def recipe_of(candidate: Candidate) -> list[tuple[str, str, str]]:
    """How a network was made small: name, value and meaning of what differs from leaving it as it is."""
    recipe = candidate.compression
    competing = "units of all layers" if recipe.scope == "global" else "each layer's units"
    rows = [("pruning", f"{candidate.pruning:.2f}", f"share of {competing} that left")]
    if candidate.start is not None:
        moves = ", ".join(f"{move.kind}" for move in candidate.start.moves) or "its weights as they were"
        rows.append(("start", f"trial {candidate.start.trial}", moves))
    if recipe.removed_layers:
        rows.append(("removed_layers", str(recipe.removed_layers), "layers that left"))
    if recipe.sparse:
        share = recipe.pattern if ":" in recipe.pattern else f"{recipe.sparsity:.2f}"
        rows.append(("sparsity", share, "share of the weights that are zero, or N that stay of M"))
    if recipe.bits != AS_IT_IS.bits:
        rows.append(("bits", str(recipe.bits), f"of each weight, on ONNX Runtime, {recipe.quantization} quantization"))
    return rows


def in_figures(name: str, value: float) -> str:
    """A measured value for people."""
    if name in COUNTS:
        return f"{value:,.0f}"
    return f"{value:.4f}" if 0.01 <= abs(value) < 1000 or value == 0 else f"{value:.4g}"


def console() -> Console:
    """Standard output, wide enough for a table where it is no terminal."""
    terminal = Console(emoji=False)
    return terminal if terminal.is_terminal else Console(width=400, emoji=False)
