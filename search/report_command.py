"""The command that writes a report."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Artifacts, Storage, StudyName, Trust
from .study import DEFAULT_STORAGE, load_study


def report(
    to: Annotated[
        Path, typer.Option(help="File to write, named .html or .md; one that is there is replaced.", metavar="FILE")
    ],
    *,
    study: StudyName = None,
    storage: Storage = DEFAULT_STORAGE,
    artifacts: Artifacts = None,
    trust: Trust = None,
) -> None:
    """Write a report of a study in one file, with its figures inside: nothing is fetched when it is opened."""
    opened = load_study(study, storage=storage, artifacts=artifacts, trust=trust or ())
    path = opened.report(to)
    print(f"the report of {opened.name} is in {path} ({path.stat().st_size / 1e6:.1f} MB)")
