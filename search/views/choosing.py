"""What the commands print of choices: references beside the front, and repetitions with their spread."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..delivery.card import TEST, figures_of, unit_of
from .tables import console, in_figures

if TYPE_CHECKING:
    from ...objectives import Epoch
    from ..delivery.comparing import Comparison
    from ..delivery.confirmation import Confirmation, Confirmed
    from ..delivery.final import Final
    from ..trial import Trial

Tell = Callable[[int, int, "Epoch | None"], None]


def print_comparisons(found: "Sequence[Comparison]") -> None:
    """A table for each reference: its figures, and how each point of the front differs from it."""
    for comparison in found:
        values = comparison.values
        table = Table(title=f"The front beside {escape(comparison.name)}", title_justify="left")
        names = list(comparison.points[0].values) if comparison.points else list(values)
        for name in ("", *names):
            table.add_column(name, justify="right" if name else "left")
        table.add_column("it")
        mine = [in_figures(name, values[name]) for name in names]
        table.add_row(escape(comparison.name), *mine, "" if comparison.feasible else "violates a constraint")
        for point in comparison.points:
            shown = [
                f"{in_figures(name, value)} ({_change(point.differences[name], point.ratios.get(name))})"
                for name, value in point.values.items()
            ]
            table.add_row(f"trial {point.trial}", *shown, point.verdict)
        console().print(table)
        if not comparison.points:
            print(comparison)
        tested = [f"{name} {in_figures(name, value)}" for name, value in values.items() if name.startswith("test_")]
        print(f"{comparison.name}: {', '.join(tested)}; paretonas pick says what a point reaches there")


def _change(difference: float, ratio: float | None) -> str:
    return f"{difference:+.4f}" if ratio is None else f"x {ratio:.2f}"


def print_confirmation(found: "Confirmation", *, as_json: bool) -> None:
    """Means and spreads, ties, and what to take; or as JSON."""
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
        return
    table = Table(
        title=f"{len(found.points)} points of {escape(found.study)}, {escape(found.chosen)}, with "
        f"{len(found.seeds)} further seeds ({found.seeds[0]} to {found.seeds[-1]})",
        title_justify="left",
    )
    table.add_column("trial", justify="right")
    for name in found.measures:
        table.add_column(f"{name}: mean ± std", justify="right")
        table.add_column("as searched", justify="right")
        table.add_column("beside the best", justify="left")
    costs = list(found.points[0].costs)
    for name in costs:
        table.add_column(name, justify="right")
    for point in found.points:
        cells = [cell for name in found.measures for cell in cells_of(found, point, name)]
        table.add_row(str(point.trial), *cells, *(in_figures(name, point.costs[name]) for name in costs))
    console().print(table)
    for line in conclusions(found):
        print(line)


def conclusions(found: "Confirmation") -> list[str]:
    """What follows from the figures, and how much can be said with so few."""
    n, first = len(found.seeds), found.measures[0]
    said = [f"trial {point.trial}, seed {seed}: {why}" for point in found.points for seed, why in point.failed.items()]
    if found.best() is None:
        return [*said, "no repetition has a value: the points cannot be told apart"]
    for name in found.measures:
        by = {word: [p.trial for p in found.points if found.verdict(p.trial, name) == word] for word in ("tie", "open")}
        tied, unclear = (", ".join(map(str, by[word])) for word in ("tie", "open"))
        parts = [f"best mean {name}: trial {found.best(name)}"]
        parts += [f"trial {tied} cannot be told from it (tie)"] if tied else []
        parts += [f"trial {unclear} looks worse, which n = {n} does not prove"] if unclear else []
        parts += ["all others are worse"] if len(found.points) > 1 and not tied and not unclear else []
        said.append("; ".join(parts))
    smallest = found.smallest
    if smallest is not None and smallest != found.best():
        said.append(
            f"of those that tie in {first} trial {smallest} has the fewest parameters: it costs least, and more seeds "
            "may tell more"
        )
    dominated = [str(point.trial) for point in found.points if point.trial not in found.front]
    if dominated:
        said.append(f"by their means, trial {', '.join(dominated)} is dominated by another of these points")
    least = found.told_apart()
    if n > 1 and least == least:  # noqa: PLR0124 - NaN where nothing can be said
        said.append(
            f"with n = {n} a difference in {first} below about {least:.4f} cannot be told from chance (Welch's test, "
            f"Holm's correction, 5 %); the mean leaves out the run that a point was chosen by"
        )
    elif n == 1:
        said.append("one further seed has no spread: all points count as tied; --seeds 3 or more tells more")
    if found.resolution is not None:
        said.append(
            f"one example of the validation split is {found.resolution:.4f}; what other examples would give, seeds do "
            "not say"
        )
    return said


def cells_of(found: "Confirmation", point: "Confirmed", name: str) -> tuple[str, str, str]:
    """Of a point in a measure: mean and spread, the value of the search, and how it stands to the best."""
    spread, beside = point.qualities[name], found.verdict(point.trial, name)
    if beside != "best" and spread.n > 1:
        beside += f", p = {found.p_values(name)[point.trial]:.2g}"
    return str(spread), in_figures(name, spread.searched), beside


def print_final(final: "Final", trial: "Trial", folder: str | None, *, as_json: bool) -> None:
    """What a final training came to, beside the trial that it is of; or as JSON."""
    figures = figures_of(final)
    if as_json:
        where = {} if folder is None else {"folder": folder}
        print(json.dumps({**final.to_json(), "values": figures, **where}, indent=2))
        return
    table = Table(title=f"Trial {trial.number} of {escape(trial.study.name)}, trained on {final.trained_on}")
    for name in ("", "in the search", "in the end", ""):
        table.add_column(name, justify="right" if "in" in name else "left")
    known = {**trial.values, **known_tests(trial)}
    for name in dict.fromkeys((*known, *figures)):
        shown = [in_figures(name, some[name]) if name in some else "" for some in (known, figures)]
        table.add_row(name, *shown, unit_of(name))
    table.add_row("network", escape(str(trial.architecture)), escape(str(final.architecture)), "")
    console().print(table)
    began = "with the weights of the search" if final.record["from_weights"] else "from scratch"
    print(
        f"it began {began} and is no trial of the study: paretonas train {trial.number} --as-trial trains on the train "
        "split alone, so that figures compare"
    )
    if folder is None:
        print(f"paretonas export --pick {trial.number} --final --to FOLDER hands it out")
    else:
        print(f"it is in {folder}; its outputs were checked")


def known_tests(trial: "Trial") -> dict[str, float]:
    """What is known of a trial on the test split; nothing is run."""
    values = trial.study.store.evaluation(trial.evaluation.id).values
    return {TEST + name: values[TEST + name] for name in trial.values if TEST + name in values}


@contextmanager
def repeating(*, show: bool) -> Iterator[Tell]:
    """A line on standard error, where that is a terminal, that says how many repetitions are done."""
    screen = Console(stderr=True, quiet=not show)
    with screen.status("looking what is known") as status:

        def tell(done: int, total: int, epoch: "Epoch | None") -> None:
            trained = "" if epoch is None else f": {epoch.phase}, epoch {epoch.number + 1}, score {epoch.score:.4f}"
            status.update(f"repetition {min(done + 1, total)} of {total}{trained}")

        yield tell
