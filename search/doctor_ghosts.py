"""Ghosts: trials, places and workers of processes that died, in our tables and in Optuna's."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..storage.upkeep import end_workers
from .doctor import Finding
from .leases import LEASE, Lease, beat_of
from .recovery import clean_up, left_open

if TYPE_CHECKING:
    from .study import Study


def look_for_ghosts(study: "Study", *, fix: bool, watch: float) -> Iterator[Finding]:
    """The ghosts of one study."""
    store, lease = study.store, Lease(study)
    until = time.monotonic() + watch
    while lease.held() and (rest := until - time.monotonic()) > 0:
        time.sleep(min(rest, beat_of(LEASE)))
    where = f"the study {study.name!r}"
    alive = [one for one in store.workers(study.id) if one.state == "alive" and one.name != store.worker]
    dead = [one.name for one in alive if lease.fate(one.name, one) == "died"]
    if fix and dead:
        end_workers(store, study.id, dead)
    yield from (Finding("worker", where, f"{name} died", fixed=fix) for name in dead)
    for one in lease.held()[0]:
        if not one.worker:  # it waits for a worker, as it should
            continue
        died = one.worker in dead or lease.fate(one.worker, one.alive) == "died"
        if fix and one.state == "open":
            store.give_back(one.evaluation, of=one.worker)
        elif fix and store.take_up(one.evaluation, of=one.worker, died=died):
            store.release(one.evaluation)
        trial = "a place" if one.trial_number is None else f"trial {one.trial_number}"
        what = f"{one.state}, in the hands of {one.worker}, which {'died' if died else 'ended'}"
        yield Finding("ghost", f"{trial} of {where}", what, fixed=fix)
    left = left_open(study, lease)
    if fix and left:
        clean_up(study, lease)
    for frozen, evaluation, _ in left:
        what = "nobody proposes it any more" if evaluation is None else f"it is {evaluation.state} in the store"
        yield Finding("ghost", f"trial {frozen.number} of {where}", f"RUNNING for Optuna, but {what}", fixed=fix)
