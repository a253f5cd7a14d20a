"""What a worker does with one candidate that it has in hand."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from optuna.trial import Trial as OptunaTrial

from ..errors import BrokenCheckpoint, CandidateFailed, LeaseLost, Refused, Stopped
from ..objectives import Checkpoint, Data, Epoch, Measurement, default_metrics
from ..spaces import Candidate
from ..storage import CurvePoint, Evaluation
from ..storage.artifact_store import INT8
from .bench import StoreBench
from .early_stopping import Watch
from .evaluate import Result, evaluate
from .front import still_on_front
from .keeping import let_go
from .leases import Lease, in_hand
from .reshape import start_of
from .teacher import teacher_of
from .telling import note, tell

if TYPE_CHECKING:
    from .study import Study

ALWAYS = ("parameters", "macs")  # measured for every candidate, objectives or not, as are the data's own metrics
CHECKPOINT_EVERY = 30.0  # seconds
SHARE = 0.05  # of the time, at most, goes into checkpoints
TICK = 0.5  # seconds between looks at what another worker trains


@dataclass(frozen=True)
class InHand:
    """An evaluation that this worker has in hand. begun: others trained it before.

    checkpoint: of the state that they left, if there is one; points: the epochs until then.
    """

    place: int
    trial: OptunaTrial
    candidate: Candidate
    begun: bool = False
    checkpoint: Checkpoint | None = None
    points: tuple[CurvePoint, ...] = ()

    @property
    def repetition(self) -> int | None:
        """The evaluation, where it repeats another with a seed of its own."""
        return None if self.candidate.counts else self.place


def try_candidate(
    study: "Study",
    hand: InHand,
    data: Data,
    bench: StoreBench,
    lease: Lease,
    *,
    watch: Watch | None = None,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
    checkpoint_every: float = CHECKPOINT_EVERY,
) -> Evaluation:
    """Evaluate the candidate, or take its results over from another study; keep them, and tell Optuna.

    watch: who may stop it early. checkpoint_every: seconds of training between two checkpoints. What is interrupted
    by something that is not its fault is nobody's, and goes on where the next worker takes it up. Raises LeaseLost if
    another worker has done that.
    """
    store, place, names = study.store, hand.place, measures(study, hand.candidate, data)
    with in_hand(store, place), released(study, hand):
        known = None if study.definition.repeat else _known_elsewhere(study, place, names, lease)
        if known is not None:
            _take_over(study, hand, known, names)
        else:
            _evaluate(study, hand, data, bench, names, watch, on_epoch, checkpoint_every)
        store.drop_checkpoint(place)
        ended = store.evaluation(place)
        tell(study, hand.trial, ended)
    if ended.state == "complete":
        let_go(study)
    return ended


@contextmanager
def released(study: "Study", hand: InHand) -> Iterator[None]:
    """Leave what is interrupted to the next worker. If the database is what failed, the end of the lease does that."""
    try:
        yield
    except BaseException as error:
        study.store.optuna.forget(hand.trial._trial_id)  # noqa: SLF001 - Optuna has no public name for it
        if not isinstance(error, LeaseLost):
            with suppress(Exception):
                study.store.release(hand.place)
        raise


def _known_elsewhere(study: "Study", place: int, names: Sequence[str], lease: Lease) -> Evaluation | None:
    """What another study has of the same network; one that is trained there at this moment is waited for.

    None: it is trained here, and whoever else on the store wants it waits for this worker.
    """
    store, despite = study.store, None
    while True:
        other = store.claim_training(place, names, despite=despite)
        if other is None or other == despite:  # ours now, or without weights
            return None
        known = store.same_elsewhere(place, names)
        if known is not None and known.weights is not None and store.has_artifact(known.weights):
            return known
        if lease.is_at_work(other):
            time.sleep(TICK)
        else:
            despite = other


def _take_over(study: "Study", hand: InHand, known: Evaluation, names: Sequence[str]) -> None:
    """The results that another study has of the same candidate."""
    assert known.weights is not None
    study.store.finish(
        hand.place,
        {name: (known.values[name], dict(known.details[name])) for name in names},
        deployed=known.deployed,
        seconds=0.0,
        weights=known.weights,
        quantized=known.quantized,
        reused=known.id,
        front=still_on_front(study.definition, hand.repetition),
    )
    note(hand.trial, "reused_from", f"evaluation {known.id} of the store")


def _evaluate(
    study: "Study",
    hand: InHand,
    data: Data,
    bench: StoreBench,
    names: Sequence[str],
    watch: Watch | None,
    on_epoch: Callable[[Epoch], None],
    checkpoint_every: float,
) -> None:
    """Train and measure a candidate, and keep what came of it: results, or why there are none."""
    store, definition, candidate, place = study.store, study.definition, hand.candidate, hand.place
    taught = teacher_of(study, data, hand.trial, begun=hand.begun) if candidate.training.taught else None
    clock = Clock(hand.checkpoint, definition.trial_timeout, checkpoint_every)
    if watch is not None:
        watch.go_on(hand.points)

    def keep(epoch: Epoch) -> str | None:
        store.add_epoch(place, CurvePoint(epoch.phase, epoch.number, epoch.loss, epoch.score, epoch.seconds))
        on_epoch(epoch)
        return None if watch is None else watch.reason(epoch)

    def save(make: Callable[[], Checkpoint]) -> None:
        if clock.is_due():
            store.save_checkpoint(place, make().to_bytes())
            clock.saved()

    try:
        result = evaluate(
            candidate,
            data,
            names,
            seed=definition.seed if candidate.seed is None else candidate.seed,
            device=definition.device,
            bench=bench,
            constraints=definition.bounds,
            teacher=taught,
            start=start_of(study, candidate),
            resume=hand.checkpoint,
            on_early=(lambda _: None) if watch is None else watch.begin,
            on_epoch=keep,
            on_checkpoint=save,
            on_batch=clock.check,
        )
    except BrokenCheckpoint:  # of another release: then from the start, once
        store.drop_checkpoint(place)
        store.rewind(place)
        anew = replace(hand, checkpoint=None, points=())
        _evaluate(study, anew, data, bench, names, watch, on_epoch, checkpoint_every)
    except Refused as end:
        store.refuse(place, _plain(end.known), kind=end.kind, reason=end.reason, seconds=clock.seconds)
    except Stopped as end:
        store.stop(place, _plain(end.known), reason=end.reason, seconds=clock.seconds)
    except CandidateFailed as end:
        store.fail(place, kind=end.kind, reason=end.reason, seconds=clock.seconds)
    else:
        _keep(study, hand, result)


class Clock:
    """How long a candidate takes, all its workers together, and when its state is to be saved."""

    def __init__(self, checkpoint: Checkpoint | None, limit: float | None, checkpoint_every: float) -> None:
        before = 0.0 if checkpoint is None else checkpoint.seconds
        self._began, self._limit = time.monotonic() - before, limit
        self._every, self._saved, self._cost, self._asked = checkpoint_every, time.monotonic(), 0.0, 0.0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def check(self) -> None:
        """Raise CandidateFailed if the candidate has had its time."""
        if self._limit is not None and self.seconds > self._limit:
            raise CandidateFailed("timeout", f"it was not ready after {self._limit:g} seconds")

    def is_due(self) -> bool:
        """Whether to save now: long enough after the last time, and as seldom as keeps it cheap."""
        self._asked = time.monotonic()
        return self._asked - self._saved >= max(self._every, self._cost / SHARE)

    def saved(self) -> None:
        """Take in that it was saved, and what that took."""
        self._saved = time.monotonic()
        self._cost = self._saved - self._asked


def _keep(study: "Study", hand: InHand, result: Result) -> None:
    """The network and what was measured of it, into the artifact store and the database."""
    made, store, place, trial = result.deployed, study.store, hand.place, hand.trial
    int8 = None if made.quantized is None else made.quantized.model
    store.finish(
        place,
        _plain(result.measured),
        deployed=made.architecture,
        seconds=result.seconds,
        weights=store.save_weights(place, trial, made.architecture, made.network.state_dict()),
        quantized=None if int8 is None else store.save_artifact(place, INT8, int8, trial=trial),
        front=still_on_front(study.definition, hand.repetition),
    )
    note(trial, "network", str(made.architecture))


def measures(study: "Study", candidate: Candidate, data: Data) -> tuple[str, ...]:
    """What is measured of a candidate: the metrics of the data, the costs of any, and the study's objectives."""
    sparse = ("nonzero_parameters",) if candidate.compression.sparse else ()
    return tuple(dict.fromkeys((*default_metrics(data), *ALWAYS, *sparse, *study.definition.measures)))


def _plain(measured: Mapping[str, Measurement]) -> dict[str, tuple[float, dict[str, object]]]:
    return {name: (measurement.value, measurement.detail) for name, measurement in measured.items()}
