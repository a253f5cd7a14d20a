"""What other studies on the store saw before this one began."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ParetonasError, UsageError
from ..storage import Evaluation, Store
from .constraints import held
from .front import non_dominated
from .gain import Seen
from .genes import Genes
from .goals import Goal
from .traits import traits

if TYPE_CHECKING:
    from .study import Study

MOST = 500  # evaluations, the newest
TEACHES = ("complete", "failed")


def earlier_studies(study: "Study", goals: Sequence[Goal], *, before: int | None) -> list[list[Seen]]:
    """The candidates that each other study tried, as it saw them; those whose description can be read here.

    before: the id of this study's first evaluation, None if it has none: what came later is left out, so that an
    interrupted study proposes what it would have proposed. Of those that finished only such that have all goals.
    """
    store = study.store
    found: list[tuple[int, int]] = []
    for name in store.study_names():
        other = store.definition(name)
        if other is not None and other[0] != study.id:
            states = store.states(other[0])
            found += [(identity, other[0]) for identity, state in states.items() if state in TEACHES]
    newest = sorted((identity, owner) for identity, owner in found if before is None or identity < before)[-MOST:]
    owners = dict(newest)
    groups: dict[int, list[Seen]] = {}
    for one in _readable(store, list(owners)):
        seen = _seen(one, goals, study)
        if seen is not None:
            groups.setdefault(owners[one.id], []).append(seen)
    return [groups[owner] for owner in sorted(groups)]


@dataclass(frozen=True)
class Earlier:
    """A point of the front of an earlier study. free: its results can be taken over, so trying it costs nothing."""

    key: str
    genes: Genes
    free: bool


def earlier_fronts(study: "Study", *, before: int | None) -> list[Earlier]:
    """The points of the front of each earlier study of the same space and task. before: as for ``earlier_studies``."""
    from .study import open_study

    definition, found = study.definition, dict[str, Earlier]()
    for name in study.store.study_names():
        try:
            other = open_study(study.store, name)
        except ParetonasError:  # of a newer release, or of code that may not run here
            continue
        theirs = other.definition
        if other.id == study.id or (theirs.space, theirs.task) != (definition.space, definition.task):
            continue
        ended = [one for one in other.trials if one.feasible and (before is None or one.evaluation.id < before)]
        front = [ended[i] for i in non_dominated([one.values for one in ended], theirs.resolved_objectives)]
        trials = study.store.optuna.numbered(name, [one.number for one in front]) if front else {}
        free = all(getattr(theirs, name) == getattr(definition, name) for name in ("seed", "threads", "device"))
        for one in front:
            if one.number in trials and (genes := trials[one.number].params):
                found[one.candidate.key] = Earlier(one.candidate.key, genes, free and not one.inherited)
    return list(found.values())


def _seen(one: Evaluation, goals: Sequence[Goal], study: "Study") -> Seen | None:
    values = {goal.name: one.values[goal.name] for goal in goals if goal.name in one.values}
    finished = one.state == "complete"
    if finished and len(values) < len(goals):
        return None
    feasible = finished and held(study.definition.bounds, one.values)
    return Seen(traits(one.candidate), values, "finished" if feasible else "failed")


def _readable(store: Store, identities: Sequence[int]) -> list[Evaluation]:
    """The evaluations, less those of code that this process may not run."""
    found = []
    for one in store.read(identities):
        with suppress(UsageError):
            one.candidate  # noqa: B018 - read here, because what cannot be read is left out
            found.append(one)
    return found
