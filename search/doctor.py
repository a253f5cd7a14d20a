"""Finding what is wrong with a store, and mending what can be: ghosts, lost or changed weights, files of nobody."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .. import own
from ..errors import UntrustedCode
from ..spaces.architecture import Json
from .study import open_study


@dataclass(frozen=True)
class Finding:
    """Something that is wrong. kind: one word for counting; where: in which trial, study or file; fixed: no longer."""

    kind: str
    where: str
    what: str
    fixed: bool = False

    def to_json(self) -> Json:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}{' (fixed)' if self.fixed else ''}"


def doctor(
    storage: str,
    *,
    artifacts: str | Path | None = None,
    fix: bool = False,
    watch: float = 0.0,
    trust: Sequence[str] = (),
) -> list[Finding]:
    """Look through a whole store, and say what is wrong with it; [] if nothing is.

    Looked for are trials and workers of dead processes, in paretonas's tables and in Optuna's; weights that are missing
    or are not what was written; checkpoints of trials that have ended; and files of nobody. What runs is left alone, so
    it may be asked at any time. storage, artifacts, trust: as for ``load_study``. fix: mend what can be: what was in
    the hands of the dead is free for the next worker, files of no use are removed, and weights that are lost are taken
    out of their trials, which keep their figures. watch: seconds to watch workers of other hosts; those that are to be
    told dead need more than their lease.
    """
    from ..storage import Store
    from .doctor_files import look_at_files
    from .doctor_ghosts import look_for_ghosts

    own.trust(trust)
    store = Store(storage, artifacts=artifacts, create=False)
    found: list[Finding] = []
    for name in store.study_names():
        try:
            found += look_for_ghosts(open_study(store, name), fix=fix, watch=watch)
        except UntrustedCode as error:
            found.append(Finding("unseen", f"the study {name!r}", str(error)))
    return found + list(look_at_files(store, fix=fix))
