"""What other studies on the store saw before this one began."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..storage import Evaluation, Store
from .constraints import held
from .gain import Seen
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


def _seen(one: Evaluation, goals: Sequence[Goal], study: "Study") -> Seen | None:
    values = {goal.name: one.values[goal.name] for goal in goals if goal.name in one.values}
    finished = one.state == "complete"
    if finished and len(values) < len(goals):
        return None
    feasible = finished and held(study.definition.bounds, one.values)
    return Seen(traits(one.candidate), values, "finished" if feasible else "failed")


def _readable(store: Store, identities: Sequence[int]) -> list[Evaluation]:
    """The evaluations, less those of code that this process may not run."""
    try:
        return store.read(identities)
    except UsageError:
        if len(identities) == 1:
            return []
        middle = len(identities) // 2
        return _readable(store, identities[:middle]) + _readable(store, identities[middle:])
