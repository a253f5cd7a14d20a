"""The command line: each command is one call of a public function."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from ..errors import ParetonasError, SpaceExhausted, UsageError
from ..objectives import BACKENDS, COSTS, METRICS, TASKS, as_task, split_names
from ..spaces import SPACES
from . import (
    choosing_commands,
    compress_command,
    drawing_command,
    looking,
    report_command,
    reshape_commands,
    result_commands,
    upkeep_commands,
)
from .creation import DEFAULT_SAMPLER, DEFAULT_STOPPING
from .definition import KEEPS
from .goals import STOPPINGS
from .options import (
    Artifacts,
    AsJson,
    CheckpointEvery,
    GpusPerWorker,
    Lease,
    LogFormat,
    MaxFailed,
    On,
    OnLostDevice,
    Quiet,
    RayAddress,
    Storage,
    StudyName,
    TensorBoardFolder,
    Timeout,
    TotalEpochs,
    Trust,
)
from .sampler import SAMPLERS
from .study import Study, load_study
from .study_file import TRIALS, StudyFile
from .views.log import say
from .views.tables import print_front

DEFAULTS = StudyFile()
app = typer.Typer(
    name="paretonas",
    help="Search small, fast networks: quality against parameters against latency.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
WORDS = dict.fromkeys((*(name for kind in METRICS.values() for name in kind), *COSTS))


class _Voice:
    """How this process says warnings and errors on standard error; a command that was asked to changes it."""

    log_format: Literal["text", "json"] = "text"


VOICE = _Voice()


@app.command()
def run(
    file: Annotated[
        Path | None,
        typer.Argument(help="Study file (TOML); options given beside it come first.", metavar="[STUDY.TOML]"),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help=f"Search space: {', '.join(SPACES)}.  \\[default: {DEFAULTS.space.name}]")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help=f"Data: {', '.join(TASKS)}; those that need more than a word stand in a study file, see paretonas "
            f"tasks.  \\[default: {DEFAULTS.task.name}]",
        ),
    ] = None,
    objectives: Annotated[
        str | None,
        typer.Option(
            help=f"Comma-separated: {', '.join(WORDS)}; with several heads as digit.accuracy; on a backend "
            f"({', '.join(BACKENDS)}) as latency:onnxruntime,threads=2,batch=8.  \\[default: the metrics of the data, "
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
    study: Annotated[str | None, typer.Option(help="Name of the study.  \\[default: TASK-SPACE]")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            envvar="PARETONAS_STORAGE",
            help=f"Database URL of the store.  \\[default: {DEFAULTS.storage}]",
            metavar="URL",
        ),
    ] = None,
    artifacts: Artifacts = None,
    trials: Annotated[
        int | None,
        typer.Option(
            help="Candidates to have in the study in all, those stopped early among them.  "
            f"\\[default: {TRIALS}, or as many as --total-epochs takes]",
            min=1,
        ),
    ] = None,
    total_epochs: TotalEpochs = None,
    timeout: Timeout = None,
    workers: Annotated[
        int | None,
        typer.Option(help=f"Processes on this machine, or tasks on a cluster.  \\[default: {DEFAULTS.workers}]", min=1),
    ] = None,
    on: On = None,
    gpus_per_worker: GpusPerWorker = None,
    ray_address: RayAddress = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help=f"CPU threads of each worker, in training and for latency.  \\[default: {DEFAULTS.threads}]", min=1
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of training for each candidate, before pruning.  "
            f"\\[default: {DEFAULTS.space.training.epochs}]",
            min=1,
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            help=f"What proposes candidates: {', '.join(SAMPLERS)}, or MODULE:NAME of your own.  \\[default: "
            f"{DEFAULT_SAMPLER}]"
        ),
    ] = None,
    stopping: Annotated[
        str | None,
        typer.Option(
            help=f"What stops candidates that cannot add to the front: {', '.join(STOPPINGS)}.  \\[default: "
            f"{DEFAULT_STOPPING}]"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=f"Of proposals, weights and data order.  \\[default: {DEFAULTS.seed}]", min=0)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help=f"Where candidates train: cpu or cuda.  \\[default: {DEFAULTS.device}]")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Whom candidates learn from: best (the best point so far), STUDY:TRIAL of the same store, or "
            "MODULE:NAME of your own.  \\[default: nobody]",
            metavar="WHO",
        ),
    ] = None,
    moves: Annotated[
        float | None,
        typer.Option(
            help=f"Share of the proposals that change a trained network of the front.  \\[default: {DEFAULTS.moves:g}]",
            min=0,
            max=1,
        ),
    ] = None,
    trial_timeout: Annotated[
        float | None,
        typer.Option(help="Seconds that one candidate may train, all its attempts together.  \\[default: no limit]"),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help=f"Whose trained weights are kept: {', '.join(KEEPS)}; front bounds the disk space.  \\[default: "
            f"{DEFAULTS.keep}]"
        ),
    ] = None,
    repeat: Annotated[
        bool | None,
        typer.Option("--repeat", help="Train also what another study of the store has trained in the same way."),
    ] = None,
    max_failed: MaxFailed = None,
    lease: Lease = None,
    checkpoint_every: CheckpointEvery = None,
    on_lost_device: OnLostDevice = "stop",
    tensorboard: TensorBoardFolder = None,
    log_format: LogFormat = "text",
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
        on=on,
        gpus_per_worker=gpus_per_worker,
        ray_address=ray_address,
        threads=threads,
        sampler=sampler,
        stopping=stopping,
        seed=seed,
        device=device,
        teacher=teacher,
        moves=moves,
        trial_timeout=trial_timeout,
        keep=keep,
        repeat=repeat,
        max_failed=max_failed,
        lease=lease,
        checkpoint_every=checkpoint_every,
    )
    if epochs is not None:
        asked = asked.with_changes(space=asked.space.replace_training(epochs=epochs))
    opened = asked.create()
    try:
        with _progressing(opened, asked.n_trials, quiet=quiet, log_format=log_format) as show:
            opened.optimize(
                asked.n_trials,
                n_epochs=asked.total_epochs,
                timeout=asked.timeout,
                workers=asked.workers,
                on=asked.on,
                gpus_per_worker=asked.gpus_per_worker,
                ray_address=asked.ray_address,
                show_progress=show,
                log_format=log_format,
                tensorboard=tensorboard,
                on_lost_device=on_lost_device,
                max_failed=asked.max_failed,
                lease=asked.lease,
                checkpoint_every=asked.checkpoint_every,
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
            help=f"Candidates to have in the study in all.  \\[default: {TRIALS}, or as many as --total-epochs takes]",
            min=1,
        ),
    ] = None,
    total_epochs: TotalEpochs = None,
    timeout: Timeout = None,
    trust: Trust = None,
    max_failed: MaxFailed = None,
    lease: Lease = None,
    checkpoint_every: CheckpointEvery = None,
    on_lost_device: OnLostDevice = "stop",
    log_format: LogFormat = "text",
    quiet: Quiet = False,
) -> None:
    """Help with a study that exists; its whole definition comes from the store."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    asked = StudyFile(trials=trials, total_epochs=total_epochs)
    asked = asked.with_changes(max_failed=max_failed, lease=lease, checkpoint_every=checkpoint_every)
    with _progressing(opened, asked.n_trials, quiet=quiet, log_format=log_format) as show:
        opened.optimize(
            asked.n_trials,
            n_epochs=total_epochs,
            timeout=timeout,
            show_progress=show,
            log_format=log_format,
            on_lost_device=on_lost_device,
            max_failed=asked.max_failed,
            lease=asked.lease,
            checkpoint_every=asked.checkpoint_every,
            helping=True,
        )


app.command()(result_commands.front)
app.command()(result_commands.pick)
app.command("export")(result_commands.export_)
app.command()(result_commands.dashboard)
app.command()(drawing_command.draw)
app.command()(report_command.report)
app.command()(upkeep_commands.status)
app.command()(upkeep_commands.stop)
app.command()(upkeep_commands.doctor)
app.command()(choosing_commands.confirm)
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
    VOICE.log_format = "text"
    warnings.showwarning = lambda message, *_: _say(f"warning: {message}", "yellow")
    try:
        app()
    except ParetonasError as error:
        _fail(str(error), 2 if isinstance(error, UsageError) else 1)


def _fail(message: str, code: int) -> NoReturn:
    _say(message, "red")
    sys.exit(code)


def _say(message: str, colour: str) -> None:
    """One line on standard error: for people, or for machines where a command was asked for that."""
    if VOICE.log_format == "json":
        say({"red": "error", "yellow": "warning"}[colour], message=message)
        return
    Console(stderr=True, emoji=False).print(
        f"[{colour}]paretonas: {escape(message)}[/{colour}]", soft_wrap=True, highlight=False
    )


@contextmanager
def _progressing(
    study: Study, trials: int | None, *, quiet: bool, log_format: Literal["text", "json"]
) -> Iterator[bool]:
    """Whether to show progress; says that there is nothing left to do, and what an interruption left."""
    VOICE.log_format = log_format
    before = len(study.store.finished_ids(study.id))
    enough = trials is not None and before >= trials
    if enough and not quiet and log_format == "text":
        print(f"{study.name} has {before} trials already; --trials with a larger number goes on", file=sys.stderr)
    try:
        yield not quiet and (log_format == "json" or not enough)
    except KeyboardInterrupt:
        _fail("interrupted: the trial in hand was put back, finished ones are kept; the same command goes on", 130)
