"""The commands that look after a study and a store: how it stands, having it end, finding what is wrong."""

import json
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ..errors import StoreError
from .options import Artifacts, AsJson, Storage, StudyName, Trust
from .status import Status
from .study import DEFAULT_STORAGE, load_study
from .views.tables import console

Watch = Annotated[
    float,
    typer.Option(
        help="Seconds to watch the workers of other machines; one that is dead shows after its lease, 60 seconds if it "
        "has no other.",
        min=0,
    ),
]


def status(
    study: StudyName = None,
    *,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
    watch: Watch = 0.0,
    as_json: AsJson = False,
) -> None:
    """Say how a study stands: workers, trials by state and failures by kind, rate, time left, disk space."""
    found = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ()).status(watch=watch)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        _print_status(found)


def stop(
    study: StudyName = None, *, storage: Storage = DEFAULT_STORAGE, artifacts: Artifacts = None, trust: Trust = None
) -> None:
    """Have the workers of a study, on all machines, finish the trial in hand and end; running it again goes on."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    opened.stop()
    print(f"{opened.name} was asked to stop: its workers finish the trial in hand; paretonas run goes on with it")


def doctor(
    *,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be: free what the dead hold, remove files of nobody.")
    ] = False,
    watch: Watch = 0.0,
    trust: Trust = None,
    as_json: AsJson = False,
) -> None:
    """Look through a store for ghosts, lost or changed weights, stale checkpoints and files of nobody."""
    from .doctor import doctor as look_through

    found = look_through(storage, artifacts=artifacts, fix=fix, watch=watch, trust=trust or ())
    if as_json:
        print(json.dumps([finding.to_json() for finding in found], indent=2))
    else:
        print("\n".join(map(str, found)) or "nothing is wrong")
    if left := [finding for finding in found if not finding.fixed]:
        raise StoreError(
            f"{len(left)} things are wrong: paretonas doctor --fix mends what can be"
            if not fix
            else f"{len(left)} things are wrong that --fix cannot mend"
        )


def _print_status(found: Status) -> None:
    dead = sum(worker.state == "dead" for worker in found.workers)
    asked = "" if found.total is None else f" of {found.total}"
    table = Table(title=f"{escape(found.study)} in {escape(found.storage)}", title_justify="left", show_header=False)
    table.add_row("finished", f"{found.finished}{asked}, {found.front} on the front")
    table.add_row("trials", _counted(found.trials))
    table.add_row("without a result", _counted(found.failures))
    table.add_row("workers", f"{found.alive} alive" + (f", {dead} dead" if dead else ""))
    for worker in (worker for worker in found.workers if worker.state != "ended"):
        doing = "" if worker.trial is None else f", trial {worker.trial}"
        table.add_row("", escape(f"{worker.name}: {worker.state}{doing}"))
    if found.per_hour is not None:
        left = "" if found.seconds_left is None else f", {_duration(found.seconds_left)} left"
        table.add_row("rate", f"{found.per_hour:.3g} trials per hour{left}")
    free = "" if found.free_bytes is None else f", {_size(found.free_bytes)} free"
    table.add_row("artifacts", escape(f"{_size(found.artifact_bytes)} of this study in {found.artifacts}{free}"))
    if found.database_bytes is not None:
        table.add_row("database", f"{_size(found.database_bytes)} for all studies")
    if found.asked_to_stop:
        table.add_row("stop", "asked to stop: workers end after the trial in hand")
    console().print(table)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.items()) or "none"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
