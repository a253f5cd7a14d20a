"""Several workers, on this machine or on a cluster: started, replaced when they die, interrupted."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..errors import SpaceExhausted, StudyError, UsageError, one_of
from .leases import Lease
from .places import PLACES, SAID, Place, Where, Worker, is_over, on_this_machine
from .proposals import EXHAUSTED
from .recovery import clean_up, has_left
from .worker import Budget, Terms, check_positive, terminable

if TYPE_CHECKING:
    from .study import Study

TICK = 0.5  # seconds between looks at the store
DEATHS = 4  # in a row for each worker, without a trial that ended meanwhile: one more than a candidate is tried


def where_of(device: str, on: str, gpus_per_worker: float | None, ray_address: str | None) -> Where:
    """The place that is asked for. UsageError for what does not go together."""
    one_of("place of workers", on, PLACES)
    if on == "local":
        if gpus_per_worker is not None or ray_address is not None:
            raise UsageError("gpus_per_worker and ray_address are for workers on a cluster: ask for it with on='ray'")
        return on_this_machine
    check_positive({"gpus_per_worker": gpus_per_worker})
    if gpus_per_worker is not None and device != "cuda":
        raise UsageError(f"gpus_per_worker is for candidates that train on cuda, those of the study train on {device}")
    if gpus_per_worker is not None and gpus_per_worker > 1 and gpus_per_worker % 1:
        raise UsageError(f"a worker has a share of one GPU, or whole GPUs, {gpus_per_worker} were asked for")
    from .cluster import on_ray

    gpus = 0.0 if device != "cuda" else gpus_per_worker or 1.0
    return partial(on_ray, gpus=gpus, address=ray_address)


def run_workers(
    study: "Study",
    count: int,
    budget: Budget,
    *,
    on_tick: Callable[[], None],
    terms: Terms = Terms(),  # noqa: B008 - frozen
    where: Where = on_this_machine,
) -> None:
    """Start ``count`` workers and wait for them; the store sees to it that together they keep to the budget.

    One that dies is replaced, as long as trials end meanwhile. Ctrl-C and SIGTERM are passed on to each once.
    """
    with terminable(), where(study, budget, terms) as place:
        workers: list[Worker] = []
        try:
            workers += [place.start() for _ in range(count)]
            codes = _watch(study, budget, place, workers, on_tick)
        except BaseException:
            _interrupt(workers)
            raise
        if has_left(study):  # by one that died last
            with Lease(study, terms.lease) as lease:
                clean_up(study, lease)
        if any(codes) and not is_over(study, budget):
            said = place.said() or "they said nothing"
            if said.endswith(EXHAUSTED):
                raise SpaceExhausted(said)
            raise StudyError(f"workers ended early (exit {', '.join(map(str, codes))}): {said}")


def _watch(
    study: "Study", budget: Budget, place: Place, workers: list[Worker], on_tick: Callable[[], None]
) -> list[int | None]:
    """Replace those that die until all have ended; their exit codes."""
    done = deaths = 0
    while True:
        if (now := study.store.finished(study.id)) > done:
            done, deaths = now, 0
        for index, worker in enumerate(workers):
            died = worker.poll() not in (None, *SAID)
            if died and deaths < DEATHS * len(workers) and not is_over(study, budget):
                deaths += 1
                workers[index] = place.start()
        codes = [worker.poll() for worker in workers]
        if None not in codes:
            return codes
        time.sleep(TICK)
        on_tick()


def _interrupt(workers: Sequence[Worker]) -> None:
    """Pass Ctrl-C on, and wait until each has left what it has in hand."""
    for worker in workers:
        worker.interrupt()
    while any(worker.poll() is None for worker in workers):
        time.sleep(TICK / 10)
