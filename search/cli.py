"""The command line: each command is one call of a public function."""

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..errors import ParetonasError, UsageError, one_of
from ..objectives import OBJECTIVES, TASKS
from ..spaces import SPACES
from .export import figures_of, unit_of
from .sampler import SAMPLERS
from .study import Study, load_study
from .study_file import StudyFile
from .trial import Trial

DEFAULTS = StudyFile()
app = typer.Typer(
    name="paretonas",
    help="Search small, fast networks: accuracy against parameters against latency.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Storage = Annotated[
    str,
    typer.Option(envvar="PARETONAS_STORAGE", show_envvar=True, help="Database URL of the store.", metavar="URL"),
]
Artifacts = Annotated[
    str | None,
    typer.Option(help="Folder of the trained weights. Default: beside the SQLite file.", metavar="FOLDER"),
]
StudyName = Annotated[str | None, typer.Option("--study", help="Name of the study. Default: the only one there is.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Timeout = Annotated[float | None, typer.Option(help="Begin no candidate after so many seconds.", min=0)]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
MaxLatency = Annotated[float | None, typer.Option(help="At most so many milliseconds per example.", metavar="MS")]
MaxParameters = Annotated[float | None, typer.Option(help="At most so many trainable numbers.", metavar="COUNT")]
MaxMacs = Annotated[float | None, typer.Option(help="At most so many multiply-accumulates.", metavar="COUNT")]
MinAccuracy = Annotated[float | None, typer.Option(help="At least this share, 0 to 1, of validation.", metavar="SHARE")]
PICKS = "knee (nearest to the ideal point), best (most accurate) or a trial's number."


@app.command()
def run(
    file: Annotated[
        Path | None,
        typer.Argument(help="Study file (TOML); options given beside it come first.", metavar="[STUDY.TOML]"),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help=f"Search space: {', '.join(SPACES)}.  [default: {DEFAULTS.space.name}]")
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"Data: {', '.join(TASKS)}.  [default: {DEFAULTS.task}]")] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated: {', '.join(OBJECTIVES)}.  [default: {','.join(DEFAULTS.objectives)}]",
            metavar="NAMES",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Name of the study.  [default: TASK-SPACE]")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="PARETONAS_STORAGE",
            help=f"Database URL of the store.  [default: {DEFAULTS.storage}]",
            metavar="URL",
        ),
    ] = None,
    artifacts: Artifacts = None,
    trials: Annotated[
        int | None, typer.Option(help=f"Candidates to have in the study in all.  [default: {DEFAULTS.trials}]", min=1)
    ] = None,
    timeout: Timeout = None,
    workers: Annotated[
        int | None, typer.Option(help=f"Processes on this machine.  [default: {DEFAULTS.workers}]", min=1)
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help=f"CPU threads of each worker, in training and for latency.  [default: {DEFAULTS.threads}]", min=1
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help=f"Epochs of training for each candidate, before pruning.  [default: {DEFAULTS.space.training.epochs}]",
            min=1,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(help=f"What proposes candidates: {', '.join(SAMPLERS)}.  [default: {DEFAULTS.sampler}]"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"Of proposals, weights and data order.  [default: {DEFAULTS.seed}]", min=0)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help=f"Where candidates train: cpu or cuda.  [default: {DEFAULTS.device}]")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search, and print the Pareto front. The same command again goes on where it was."""
    asked = StudyFile() if file is None else StudyFile.read(file)
    if space is not None:
        one_of("search space", space, SPACES)
    asked = asked.with_changes(
        space=None if space is None else SPACES[space](),
        task=task,
        objectives=None if objectives is None else tuple(name.strip() for name in objectives.split(",")),
        study=study,
        storage=storage,
        artifacts=artifacts,
        trials=trials,
        timeout=timeout,
        workers=workers,
        threads=threads,
        sampler=sampler,
        seed=seed,
        device=device,
    )
    if epochs is not None:
        asked = asked.with_changes(space=asked.space.replace_training(epochs=epochs))
    opened = asked.create()
    _optimize(opened, asked.trials, asked.timeout, asked.workers, quiet)
    _print_front(opened, as_json)


@app.command()
def worker(
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    trials: Annotated[int, typer.Option(help="Candidates to have in the study in all.", min=1)] = DEFAULTS.trials,
    timeout: Timeout = None,
    quiet: Quiet = False,
) -> None:
    """Help with a study that exists; its whole definition comes from the store."""
    _optimize(load_study(study, storage=storage, artifacts=artifacts), trials, timeout, 1, quiet)


@app.command()
def front(
    study: StudyName = None, storage: Storage = DEFAULTS.storage, artifacts: Artifacts = None, as_json: AsJson = False
) -> None:
    """Print the Pareto front of a study."""
    _print_front(load_study(study, storage=storage, artifacts=artifacts), as_json)


@app.command()
def pick(
    which: Annotated[str | None, typer.Argument(help=PICKS)] = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Choose a point of the front and report it, now also on the test split.

    Within bounds the most accurate is chosen; under --min-accuracy alone the one with the fewest parameters.
    """
    opened = load_study(study, storage=storage, artifacts=artifacts)
    trial = _pick(opened, which, max_latency_ms, max_parameters, max_macs, min_accuracy)
    figures = figures_of(trial)
    if as_json:
        print(json.dumps({**trial.to_json(), "values": figures}, indent=2))
        return
    table = Table(title=f"Trial {trial.number} of {escape(opened.name)}", show_header=False)
    for name, value in figures.items():
        table.add_row(name, _shown(name, value), unit_of(name))
    table.add_row("pruning", f"{trial.candidate.pruning:.2f}", "share of each layer's channels that left")
    table.add_row("seed", str(trial.evaluation.seed), "")
    table.add_row("network", escape(str(trial.architecture)), "")
    _console().print(table)


@app.command("export")
def export_(
    to: Annotated[str, typer.Option(help="Folder for net.py, net.safetensors and net.json.", metavar="FOLDER")],
    which: Annotated[str | None, typer.Option("--pick", help=PICKS)] = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    as_json: AsJson = False,
) -> None:
    """Write a point of the front as a module that needs only torch, its weights and its card. Default: the knee."""
    opened = load_study(study, storage=storage, artifacts=artifacts)
    bounds = (max_latency_ms, max_parameters, max_macs, min_accuracy)
    trial = _pick(opened, which or ("knee" if bounds == (None,) * 4 else None), *bounds)
    folder = trial.export(to, force=force)
    if as_json:
        print(json.dumps({"trial": trial.number, "folder": str(folder), "values": figures_of(trial)}, indent=2))
    else:
        print(f"trial {trial.number} is in {folder}: net.py, net.safetensors, net.json; its outputs were checked")


@app.command()
def dashboard(
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback are open to the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port; the next free one is taken if it is in use.", min=1, max=65535)
    ] = 8080,
) -> None:
    """Serve optuna-dashboard on the store, with the trained weights, until Ctrl-C."""
    from .dashboard import serve

    serve(storage, artifacts=artifacts, host=host, port=port)


def main() -> None:
    """Run the command line: one error, one red line; exit code 2 for usage, 1 for failure, 130 for Ctrl-C."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.showwarning = lambda message, *_: _say(f"warning: {message}", "yellow")
    try:
        app()
    except ParetonasError as error:
        _fail(str(error), 2 if isinstance(error, UsageError) else 1)


def _fail(message: str, code: int) -> NoReturn:
    _say(message, "red")
    sys.exit(code)


def _say(message: str, colour: str) -> None:
    """One line on standard error."""
    Console(stderr=True).print(f"[{colour}]paretonas: {escape(message)}[/{colour}]", soft_wrap=True, highlight=False)


def _optimize(study: Study, trials: int, timeout: float | None, workers: int, quiet: bool) -> None:
    before = len(study.store.finished_ids(study.id))
    if before >= trials and not quiet:
        print(f"{study.name} has {before} trials already; --trials with a larger number goes on", file=sys.stderr)
    try:
        study.optimize(n_trials=trials, timeout=timeout, workers=workers, show_progress=not quiet and before < trials)
    except KeyboardInterrupt:
        _fail("interrupted: the trial in hand was put back, finished ones are kept; the same command goes on", 130)


def _pick(study: Study, which: str | None, *bounds: float | None) -> Trial:
    latency, parameters, macs, accuracy = bounds
    return study.pick(which, max_latency_ms=latency, max_parameters=parameters, max_macs=macs, min_accuracy=accuracy)


def _print_front(study: Study, as_json: bool) -> None:
    points = study.pareto_front
    if as_json:
        print(json.dumps(_front_json(study, points), indent=2))
        return
    failed = [trial for trial in study.trials if trial.state == "failed"]
    if not points:
        print(f"{study.name}: the front is empty, {len(failed)} trials failed")
        return
    names = sorted(points[0].values, key=list(OBJECTIVES).index)
    table = Table(
        title=f"Pareto front of {escape(study.name)}: {', '.join(study.definition.objectives)}", title_justify="left"
    )
    table.add_column("trial", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("network", overflow="fold")
    for trial in points:
        table.add_row(str(trial.number), *(_shown(n, trial.values[n]) for n in names), escape(str(trial.architecture)))
    _console().print(table)
    if failed:
        print(f"{len(failed)} trials failed, the last one: {failed[-1].reason}")


def _front_json(study: Study, points: list[Trial]) -> dict[str, Any]:
    return {
        "study": study.name,
        "objectives": {
            o.name: {"unit": o.unit, "direction": o.direction} for o in study.definition.resolved_objectives
        },
        "trials": len(study.trials),
        "front": [trial.to_json() for trial in points],
    }


def _shown(name: str, value: float) -> str:
    return f"{value:,.0f}" if name in ("parameters", "macs") else f"{value:.4f}"


def _console() -> Console:
    """Standard output, wide enough for a table where it is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=140)
