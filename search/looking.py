"""The commands for looking around: which data there are, and what is in a search space."""

import inspect
import json
from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import torch
import typer
from rich.markup import escape
from rich.table import Table

from ..errors import CandidateFailed, one_of
from ..objectives import TASKS, Task, as_task, macs, parameters
from ..spaces import SPACES, DataSpec, Options, Range, Space, build
from ..spaces.architecture import Json
from ..spaces.looking import GeneUse, Size
from .data import in_words, load_data
from .evaluate import failures
from .options import AsJson
from .study_file import StudyFile
from .views.tables import console

DEFAULTS = StudyFile()
space = typer.Typer(name="space", help="Look around in a search space.", no_args_is_help=True)


def space_by_word(word: str) -> Space:
    """A space of the catalogue with its default choices."""
    one_of("search space", word, SPACES)
    return SPACES[word]()


def tasks(*, as_json: AsJson = False) -> None:
    """List the data there are: each word, what it is, and its fields for a study file with their defaults."""
    described = [described_task(task) for task in TASKS.values()]
    if as_json:
        print(json.dumps(described, indent=2))
        return
    for one in described:
        print(f"{one['task']}: {one['about']}")
        for line in one["details"]:
            print(f"    {line}")
        print(f"    fields: {', '.join(map(_field_in_words, one['fields'])) or 'none'}\n")


def described_task(task: type[Task]) -> Json:
    """A kind of task as JSON: its word, what its docstring says, and its fields."""
    about, _, details = (inspect.getdoc(task) or "").partition("\n\n")
    return {
        "task": task.name,
        "about": " ".join(about.split()),
        "details": details.split("\n") if details else [],
        "fields": sorted(map(_described_field, fields(task)), key=lambda field: "default" in field),
    }


def _described_field(field: Field[Any]) -> Json:
    """Name and default of a field, none if it is needed, and its words if only some are allowed."""
    described: Json = {"name": field.name}
    if field.default is not MISSING:
        described["default"] = field.default
    elif field.default_factory is not MISSING:
        described["default"] = field.default_factory()
    words = get_args(field.type) if get_origin(field.type) is Literal else ()
    return {**described, "words": list(words)} if words else described


def _field_in_words(described: Json) -> str:
    words = f": {' | '.join(described['words'])}" if "words" in described else ""
    if "default" not in described:
        return f"{described['name']} (needed{words})"
    if described["default"] is None:
        return f"{described['name']} (may be left out{words})"
    return f"{described['name']} = {json.dumps(described['default'])}" + (f" ({words[2:]})" if words else "")


@space.command()
def show(
    *,
    file: Annotated[
        Path | None,
        typer.Argument(help="Study file (TOML); options given beside it come first.", metavar="[STUDY.TOML]"),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--space", help=f"Search space: {', '.join(SPACES)}.  \\[default: {DEFAULTS.space.name}]"),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help=f"Data: {', '.join(TASKS)}.  \\[default: {DEFAULTS.task.name}]")
    ] = None,
    samples: Annotated[int, typer.Option(help="How many random candidates to show.", min=0)] = 3,
    seed: Annotated[int, typer.Option(help="Of the random candidates.", min=0)] = 0,
    as_json: AsJson = False,
) -> None:
    """Print the genes of a space with their choices, its size, the share of it that fits the data, and samples."""
    asked = StudyFile() if file is None else StudyFile.read(file)
    asked = asked.with_changes(
        space=None if name is None else space_by_word(name), task=None if task is None else as_task(task)
    )
    view = look(asked.space, asked.task, range(seed, seed + samples))
    if as_json:
        print(json.dumps(view.to_json(), indent=2))
    else:
        _print_view(view)


@dataclass(frozen=True)
class View:
    """What there is to see of a space on some data. share: of random candidates that fit. samples: as JSON."""

    space: str
    task: str
    input: str
    share: float
    size: Size
    genes: tuple[GeneUse, ...]
    samples: list[Json]

    def to_json(self) -> Json:
        return {
            "space": self.space,
            "task": self.task,
            "input": self.input,
            "share_that_fits": self.share,
            "size": {"settings": self.size.count, "exact": self.size.exact, "continuous": list(self.size.continuous)},
            "genes": {gene.name: {"choice": gene.choice.to_json(), "share": gene.share} for gene in self.genes},
            "samples": self.samples,
        }


def look(space: Space, task: Task, seeds: Iterable[int]) -> View:
    """Look at a space on the data of a task, with a random candidate for each seed."""
    spec = load_data(task).spec
    share, size, genes = space.share_that_fits(spec), space.size(spec), space.genes(spec)
    samples = [sampled(space, spec, seed) for seed in seeds]
    return View(space.name, task.name, in_words(spec), share, size, genes, samples)


def sampled(space: Space, spec: DataSpec, seed: int) -> Json:
    """A random candidate as it would leave, after pruning, with what it costs, or why it is impossible."""
    try:
        with failures():
            candidate = space.sample(spec, seed=seed)
            with torch.device("meta"):
                network = build(candidate.deployed)
            costs = {"parameters": parameters(network), "macs": macs(candidate.deployed)}
    except CandidateFailed as failure:
        return {"seed": seed, "failed": f"{failure.kind}: {failure.reason}"}
    return {"seed": seed, "network": str(candidate.deployed), "pruning": candidate.pruning, **costs}


def _print_view(view: View) -> None:
    print(f"The {view.space} space on {view.task} ({view.input})")
    print(f"size: {view.size}")
    print(f"fits: {view.share:.0%} of random candidates")
    genes = Table("gene", "choices", "asked for by", title="Genes", title_justify="left")
    for gene in view.genes:
        genes.add_row(gene.name, escape(in_choices(gene.choice)), f"{gene.share:.0%}")
    console().print(genes)
    if not view.samples:
        return
    table = Table(title="Random candidates, after pruning", title_justify="left")
    for name in ("seed", "parameters", "macs"):
        table.add_column(name, justify="right")
    table.add_column("network", overflow="fold")
    for one in view.samples:
        costs = [f"{one[name]:,}" if name in one else "" for name in ("parameters", "macs")]
        table.add_row(str(one["seed"]), *costs, escape(one.get("network") or one["failed"]))
    console().print(table)


def in_choices(choice: Options | Range) -> str:
    """A choice for people: ``8, 16`` or ``0.001 to 0.1, log``."""
    if isinstance(choice, Options):
        return ", ".join(map(str, choice.values))
    step = "" if choice.step in (None, 1) else f", step {choice.step:g}"
    return f"{choice.low:g} to {choice.high:g}{step}{', log' if choice.log else ''}"
