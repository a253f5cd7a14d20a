"""The command line: each command is one call of a public function."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ParetonasError, SpaceExhausted, UsageError
from ..objectives import BACKENDS, COSTS, METRICS, TASKS, as_task, split_names
from ..spaces import SPACES
from . import compress_command, looking, reshape_commands
from .creation import DEFAULT_SAMPLER, DEFAULT_STOPPING
from .export import figures_of
from .goals import STOPPINGS
from .options import (
    PICKS,
    Artifacts,
    AsJson,
    MaxLatency,
    MaxMacs,
    MaxParameters,
    MinAccuracy,
    OnLostDevice,
    Quiet,
    Storage,
    StudyName,
    Timeout,
    TotalEpochs,
    Trust,
    Within,
    bounds_of,
)
from .sampler import SAMPLERS
from .showing import print_front, print_pick
from .study import Study, load_study
from .study_file import TRIALS, StudyFile

DEFAULTS = StudyFile()
app = typer.Typer(
    name="paretonas",
    help="Search small, fast networks: quality against parameters against latency.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
WORDS = dict.fromkeys((*(name for kind in METRICS.values() for name in kind), *COSTS))


@app.command()
def run(
    file: Annotated[
        Path | None,
        typer.Argument(help="Study file (TOML); options given beside it come first.", metavar="[STUDY.TOML]"),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help=f"Search space: {', '.join(SPACES)}.  [default: {DEFAULTS.space.name}]")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help=f"Data: {', '.join(TASKS)}; those that need more than a word stand in a study file, see paretonas "
            f"tasks.  [default: {DEFAULTS.task.name}]",
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated: {', '.join(WORDS)}; with several heads as digit.accuracy; on a backend "
            f"({', '.join(BACKENDS)}) as latency:onnxruntime,threads=2,batch=8.  [default: the metrics of the data, "
            "parameters, latency_ms]",
            metavar="NAMES",
        ),
    ] = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            help="What a network has to hold, of any of these figures, such as 'parameters <= 50_000'; again for more. "
            "What is known before training is refused before it.",
            metavar="BOUND",
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
        int | None,
        typer.Option(
            help=f"Candidates to have in the study in all, those stopped early among them.  [default: {TRIALS}, or as "
            "many as --total-epochs takes]",
            min=1,
        ),
    ] = None,
    total_epochs: TotalEpochs = None,
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
        typer.Option(
            help=f"What proposes candidates: {', '.join(SAMPLERS)}, or MODULE:NAME of your own.  [default: "
            f"{DEFAULT_SAMPLER}]"
        ),
    ] = None,
    stopping: Annotated[
        str | None,
        typer.Option(
            help=f"What stops candidates that cannot add to the front: {', '.join(STOPPINGS)}.  [default: "
            f"{DEFAULT_STOPPING}]"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"Of proposals, weights and data order.  [default: {DEFAULTS.seed}]", min=0)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help=f"Where candidates train: cpu or cuda.  [default: {DEFAULTS.device}]")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Whom candidates learn from: best (the best point so far), STUDY:TRIAL of the same store, or "
            "MODULE:NAME of your own.  [default: nobody]",
            metavar="WHO",
        ),
    ] = None,
    moves: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the proposals that change a trained network of the front.  [default: {DEFAULTS.moves:g}]",
            min=0,
            max=1,
        ),
    ] = None,
    on_lost_device: OnLostDevice = "stop",
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Search, and print the Pareto front. The same command again goes on where it was."""
    asked = StudyFile() if file is None else StudyFile.read(file)
    asked = asked.with_changes(
        space=None if space is None else looking.space_by_word(space),
        task=None if task is None else as_task(task),
        objectives=None if objectives is None else tuple(split_names(objectives)),
        constraints=None if constraint is None else tuple(constraint),
        study=study,
        storage=storage,
        artifacts=artifacts,
        trials=trials,
        total_epochs=total_epochs,
        timeout=timeout,
        workers=workers,
        threads=threads,
        sampler=sampler,
        stopping=stopping,
        seed=seed,
        device=device,
        teacher=teacher,
        moves=moves,
    )
    if epochs is not None:
        asked = asked.with_changes(space=asked.space.replace_training(epochs=epochs))
    opened = asked.create()
    try:
        with _progressing(opened, asked.n_trials, quiet=quiet) as show:
            opened.optimize(
                asked.n_trials,
                n_epochs=asked.total_epochs,
                timeout=asked.timeout,
                workers=asked.workers,
                show_progress=show,
                on_lost_device=on_lost_device,
            )
    except SpaceExhausted:  # what was found is the whole front
        opened.remeasure_front()
        print_front(opened, as_json=as_json)
        raise
    print_front(opened, as_json=as_json)


@app.command()
def worker(
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help=f"Candidates to have in the study in all.  [default: {TRIALS}, or as many as --total-epochs takes]",
            min=1,
        ),
    ] = None,
    total_epochs: TotalEpochs = None,
    timeout: Timeout = None,
    trust: Trust = None,
    on_lost_device: OnLostDevice = "stop",
    quiet: Quiet = False,
) -> None:
    """Help with a study that exists; its whole definition comes from the store."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    trials = StudyFile(trials=trials, total_epochs=total_epochs).n_trials
    with _progressing(opened, trials, quiet=quiet) as show:
        opened.optimize(
            trials,
            n_epochs=total_epochs,
            timeout=timeout,
            show_progress=show,
            on_lost_device=on_lost_device,
            remeasure=False,
        )


@app.command()
def front(
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    trust: Trust = None,
    remeasure: Annotated[
        bool, typer.Option("--remeasure", help="First time its points again on this machine, in one run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the Pareto front of a study."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    if remeasure:
        opened.remeasure_front(again=True)
    print_front(opened, as_json=as_json)


@app.command()
def pick(
    which: Annotated[str | None, typer.Argument(help=PICKS)] = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Choose a point of the front and report it, now also on the test split.

    Within bounds the best in the first quality objective is chosen; under bounds on quality alone the one with the
    fewest parameters.
    """
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    trial = opened.pick(
        which,
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=bounds_of(within),
    )
    print_pick(trial, as_json=as_json)


@app.command("export")
def export_(
    to: Annotated[str, typer.Option(help="Folder for net.py, net.safetensors and net.json.", metavar="FOLDER")],
    which: Annotated[str | None, typer.Option("--pick", help=PICKS)] = None,
    max_latency_ms: MaxLatency = None,
    max_parameters: MaxParameters = None,
    max_macs: MaxMacs = None,
    min_accuracy: MinAccuracy = None,
    within: Within = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    study: StudyName = None,
    storage: Storage = DEFAULTS.storage,
    artifacts: Artifacts = None,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Write a point of the front as a module that needs only torch, its weights and its card. Default: the knee."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    bounded = within or (max_latency_ms, max_parameters, max_macs, min_accuracy) != (None,) * 4
    trial = opened.pick(
        which or (None if bounded else "knee"),
        max_latency_ms=max_latency_ms,
        max_parameters=max_parameters,
        max_macs=max_macs,
        min_accuracy=min_accuracy,
        within=bounds_of(within),
    )
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


app.command()(reshape_commands.shrink)
app.command()(reshape_commands.grow)
app.command()(reshape_commands.train)
app.command()(compress_command.compress)
app.command()(looking.tasks)
app.add_typer(looking.space)


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
    Console(stderr=True, emoji=False).print(
        f"[{colour}]paretonas: {escape(message)}[/{colour}]", soft_wrap=True, highlight=False
    )


@contextmanager
def _progressing(study: Study, trials: int | None, *, quiet: bool) -> Iterator[bool]:
    """Whether to show progress; says that there is nothing left to do, and what an interruption left."""
    before = len(study.store.finished_ids(study.id))
    enough = trials is not None and before >= trials
    if enough and not quiet:
        print(f"{study.name} has {before} trials already; --trials with a larger number goes on", file=sys.stderr)
    try:
        yield not quiet and not enough
    except KeyboardInterrupt:
        _fail("interrupted: the trial in hand was put back, finished ones are kept; the same command goes on", 130)
