"""Trying candidates until a study has what was asked for, losing nothing on the way."""

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from threadpoolctl import threadpool_limits

from .. import own
from ..errors import DeviceLost, LeaseLost, ParetonasError, StudyError, UsageError, one_of
from ..objectives import Data, cpu_threads, objective_of
from ..spaces import DataSpec, FunctionSpace, ModuleSpace, Space
from ..storage import Evaluation
from .bench import StoreBench
from .data import data_of
from .early_stopping import EarlyStopping
from .leases import LEASE, Lease, in_hand
from .proposals import ANY, propose
from .recovery import clean_up, has_left, take_up
from .telling import check_failures, check_hopeful, check_possible
from .trying import CHECKPOINT_EVERY, TICK, InHand, try_candidate

if TYPE_CHECKING:
    from .study import Study

REFUSED_IN_A_ROW = 500  # proposals after which a study gives up that found candidates before
LOST_IN_A_ROW = 5  # times that the device is waited for, twice as long each time
FIRST_WAIT = 2.0  # seconds
MAX_FAILED = 0.5  # share of the newest trials
PARENT = "PARETONAS_PARENT"  # environment variable: the process whose end a worker follows
Lost = Literal["stop", "wait"]


@dataclass(frozen=True)
class Budget:
    """What a study may use in all: candidates, epochs of training, and ``time.monotonic()`` at the latest."""

    trials: int
    epochs: int | None = None
    deadline: float | None = None

    @classmethod
    def of(cls, trials: int | None, epochs: int | None, timeout: float | None) -> Self:
        """What was asked for, of which something has to be; timeout: seconds from now."""
        asked = {"n_trials": trials, "n_epochs": epochs, "timeout": timeout}
        if all(value is None for value in asked.values()):
            raise UsageError("how far to search is needed: n_trials, n_epochs or timeout (seconds), or several of them")
        check_positive(asked)
        deadline = None if timeout is None else time.monotonic() + timeout
        return cls(ANY if trials is None else trials, epochs, deadline)

    @property
    def is_over(self) -> bool:
        """Whether the time is."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def has_all(self, study: "Study") -> bool:
        """Whether as many candidates came to an end as were asked for."""
        return study.store.finished(study.id) >= self.trials

    def is_spent(self, study: "Study") -> bool:
        """Whether no candidate may begin any more."""
        if self.is_over or self.has_all(study):
            return True
        return self.epochs is not None and study.store.epochs_trained(study.id) >= self.epochs


@dataclass(frozen=True)
class Terms:
    """How a worker works. on_lost_device: whether a device that vanishes ends the study, or is waited for.

    max_failed: the share of the newest trials that may fail before the study stops. lease: seconds without a sign of
    life after which another worker takes over what this one has. checkpoint_every: seconds of training.
    """

    on_lost_device: Lost = "stop"
    max_failed: float = MAX_FAILED
    lease: float = LEASE
    checkpoint_every: float = CHECKPOINT_EVERY

    def __post_init__(self) -> None:
        one_of("on_lost_device", self.on_lost_device, ("stop", "wait"))
        check_positive({"lease": self.lease, "checkpoint_every": self.checkpoint_every})
        if not 0 <= self.max_failed <= 1:
            raise UsageError(f"max_failed is a share of the trials, from 0 to 1, {self.max_failed} was given")


def check_positive(numbers: Mapping[str, float | None]) -> None:
    """UsageError for one that is not above 0; None may be."""
    for name, value in numbers.items():
        if value is not None and not value > 0:
            raise UsageError(f"{name} must be above 0, {value} was given")


def work(
    study: "Study",
    budget: Budget,
    *,
    on_trial: Callable[[], None],
    on_epoch: Callable[[], None] = lambda: None,
    terms: Terms = Terms(),
) -> None:
    """Try candidates until the budget is spent; the last one comes to its end.

    What others began and do not go on with comes first. While others are at work, it is waited for what they leave.
    What is refused before it is trained does not count. An interruption (Ctrl-C, SIGTERM, a full disk) leaves the trial
    in hand to the next worker and goes on up.
    """
    definition = study.definition
    if budget.is_spent(study) and not has_left(study):
        return
    check_code(definition.space)
    for name in definition.measures:
        objective_of(name).check()
    threads = threadpool_limits(definition.threads, user_api="blas")
    with terminable(), following(), cpu_threads(definition.threads), threads, Lease(study, terms.lease) as lease:
        data, bench = data_of(definition, definition.device), StoreBench(study.store, definition)
        clean_up(study, lease)
        try:
            _search(study, budget, data, bench, lease, on_trial, on_epoch, terms)
        finally:
            gc.unfreeze()
        clean_up(study, lease)


def _search(
    study: "Study",
    budget: Budget,
    data: Data,
    bench: StoreBench,
    lease: Lease,
    on_trial: Callable[[], None],
    on_epoch: Callable[[], None],
    terms: Terms,
) -> None:
    stopping = None if study.definition.stopping == "none" else EarlyStopping(study)
    lost, refused, imported = 0, 0, False
    while not budget.is_over and not study.store.is_asked_to_stop(study.id):
        try:
            hand = take_up(study, lease) or begin_new(study, budget, data.spec)
            if hand is None and (budget.has_all(study) or not lease.held()[1]):
                return
            if hand is None:
                time.sleep(TICK)
                on_trial()
                continue
            ended = try_candidate(
                study,
                hand,
                data,
                bench,
                lease,
                # a repetition is wanted whatever it adds
                watch=stopping.watch(hand.candidate) if stopping and hand.candidate.counts else None,
                on_epoch=lambda _: on_epoch(),
                checkpoint_every=terms.checkpoint_every,
            )
        except LeaseLost:  # another worker goes on with it
            continue
        except DeviceLost as error:
            lost += 1
            _wait_for_device(error, lost if terms.on_lost_device == "wait" else LOST_IN_A_ROW)
            continue
        on_trial()
        if not imported and ended.state != "refused":
            imported = True
            _set_aside_what_is_imported()
        lost, refused = 0, refused + 1 if ended.state == "refused" else 0
        _check(study, ended, refused, terms)


def _set_aside_what_is_imported() -> None:
    """Let garbage be looked for in what is made from now on: a look at all that a training imports takes 0.2 s."""
    gc.collect()
    gc.freeze()


def begin_new(study: "Study", budget: Budget, spec: DataSpec) -> InHand | None:
    """A new candidate in a place of the study; None if none may begin."""
    store = study.store
    place = None if budget.is_spent(study) else store.take_place(study.id, budget.trials)
    if place is None:
        return None
    with in_hand(store, place):
        try:
            return InHand(place, *propose(study, place, spec))
        except BaseException:
            with suppress(Exception):  # then the end of the lease frees it
                store.give_back(place)
            raise


def _check(study: "Study", ended: Evaluation, refused: int, terms: Terms) -> None:
    """Raise StudyError if there is no hope that going on gives more. refused: candidates in a row, until now."""
    if ended.state == "failed":
        check_hopeful(study)
        check_failures(study, terms.max_failed)
    if refused:
        check_possible(study)
    if refused == REFUSED_IN_A_ROW:
        raise StudyError(
            f"the last {refused} proposals were refused, the last one because {ended.reason}: widen the space "
            "or loosen the constraints, under another name; or pick from the front"
        )


def _wait_for_device(error: DeviceLost, times: int) -> None:
    if times >= LOST_IN_A_ROW:
        raise StudyError(
            f"{error}: the trial in hand was put back; bring the device back and give the same command again"
        ) from error
    time.sleep(FIRST_WAIT * 2 ** (times - 1))


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, by which a cluster ends a process, be an interruption as Ctrl-C is, unless the caller handles it."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def following() -> Iterator[None]:
    """End as by SIGTERM when the search that started this worker is gone, so that the same command starts no more."""
    parent, over = os.environ.pop(PARENT, None), threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if os.getppid() != int(parent or 0):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    if parent is not None:
        threading.Thread(target=watch, name="paretonas-parent", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def check_code(space: Space) -> None:
    """Load the space's own code before anything is tried: where it is missing or broken, no candidate is to blame."""
    if not isinstance(space, FunctionSpace | ModuleSpace):
        return
    name = space.function if isinstance(space, FunctionSpace) else space.factory
    try:
        own.load(name)
    except ParetonasError:
        raise
    except Exception as error:
        text = str(error).strip().split("\n")[0]
        raise StudyError(f"{name} cannot be imported: {type(error).__name__}: {text}: mend it") from error
