"""What workers that died, or were interrupted, left behind: nothing of it is lost, nothing stays."""

from typing import TYPE_CHECKING

from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState
from optuna.trial import Trial as OptunaTrial

from ..errors import BrokenCheckpoint, CandidateFailed
from ..objectives import Checkpoint
from ..storage import ENDED, Evaluation, Held
from ..storage.trials import creator_of
from ..storage.upkeep import end_workers
from .leases import Lease
from .queue import requeue
from .sampler import INTERRUPTED
from .telling import close, note, tell, tell_failed, together
from .trying import InHand

if TYPE_CHECKING:
    from .study import Study

MOST_ATTEMPTS = (
    4  # workers that die of one candidate, none of which came further than the one before: it is retried 3 times
)
DIED = "died"  # user attribute of a trial whose worker died while it proposed it


def has_left(study: "Study") -> bool:
    """Whether something in a study has not ended, or Optuna was not told that it did."""
    running = study.store.optuna.get_n_trials(study.optuna._study_id, TrialState.RUNNING)  # noqa: SLF001 - Optuna has no public name for it
    return running > 0 or bool(study.store.held(study.id))


def take_up(study: "Study", lease: Lease, *, only: int | None = None) -> InHand | None:
    """An evaluation that nobody who lives has in hand, from now on in this worker's; None if there is none.

    What a dead worker had not proposed yet is closed. One of which as many workers died as may is closed as crashed.
    only: the evaluation that is looked for.
    """
    store = study.store
    for one in (one for one in lease.held()[0] if only in (None, one.evaluation)):
        died = lease.fate(one.worker, one.alive) == "died"
        last = died and one.attempts >= MOST_ATTEMPTS
        if one.state == "open":
            store.give_back(one.evaluation, of=one.worker)
        elif not store.take_up(one.evaluation, of=one.worker, died=died and not last):
            continue  # another one was faster
        elif last:
            _give_up(study, one)
        else:
            return _resumed(study, one)
    return None


def clean_up(study: "Study", lease: Lease) -> int:
    """Close the trials of Optuna that dead workers left open: proposals, and ends that it was not told.

    What a proposal was queued with goes back to the queue. Returns how many proposals there were.
    """
    left = left_open(study, lease)
    for frozen, evaluation, died in left:
        trial = opened(study, frozen.number)
        if evaluation is None:
            _close_proposal(study, trial, frozen, died=died)
        else:
            study.store.drop_checkpoint(evaluation.id)
            tell(study, trial, evaluation)
    _strike_off(study, lease)
    return sum(evaluation is None for _, evaluation, _ in left)


def _strike_off(study: "Study", lease: Lease) -> None:
    """Say of workers that died, and have nothing any more, that they ended."""
    store = study.store
    alive = [one for one in store.workers(study.id) if one.state == "alive"]
    holding = {one.worker for one in store.held(study.id)} if alive else set()
    dead = [one.name for one in alive if one.name not in holding and lease.fate(one.name, one) == "died"]
    if dead:
        end_workers(store, study.id, dead)


def left_open(study: "Study", lease: Lease) -> list[tuple[FrozenTrial, Evaluation | None, bool]]:
    """Trials of Optuna that nobody at work has: what came of each, None for a proposal, and whether its worker died."""
    store = study.store
    # Before their evaluations, so that what a living worker does meanwhile is seen at one of its stages
    running = study.optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    begun = store.numbered(study.id, [frozen.number for frozen in running])
    workers = {worker.name: worker for worker in store.workers(study.id)} if running else {}
    left = []
    for frozen in running:
        evaluation = begun.get(frozen.number)
        worker = (creator_of(frozen) or "") if evaluation is None else evaluation.worker
        fate = lease.fate(worker, workers.get(worker))
        if fate != "lives" and (evaluation is None or evaluation.state in ENDED):
            left.append((frozen, evaluation, fate == "died"))
    return left


def put_back(study: "Study", trial: OptunaTrial) -> None:
    """Close a proposal that was interrupted, so that its place is proposed for again; what was queued is queued."""
    with together(study, trial):
        note(trial, INTERRUPTED, "while it was proposed; its place is proposed for again")
        if close(study, trial, TrialState.FAIL):
            requeue(study, trial)


def _close_proposal(study: "Study", trial: OptunaTrial, frozen: FrozenTrial, *, died: bool) -> None:
    """Put a proposal back, unless as many workers died of it as may."""
    if died:
        note(trial, DIED, value=True)
        failed = study.optuna.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        same = [other for other in failed if DIED in other.user_attrs and other.params == frozen.params]
        if len(same) + 1 >= MOST_ATTEMPTS:
            reason = f"{MOST_ATTEMPTS} workers died while they proposed it: too much memory, or a crash below"
            tell_failed(study, trial, CandidateFailed("crashed", reason))
            return
    put_back(study, trial)


def opened(study: "Study", number: int) -> OptunaTrial:
    """Optuna's trial of a number, to be gone on with. Nothing more is proposed for it."""
    study.optuna.sampler = RandomSampler()  # the next proposal brings its own
    identity = study.store.optuna.get_trial_id_from_study_id_trial_number(study.optuna._study_id, number)  # noqa: SLF001 - Optuna has no public name for it
    study.store.optuna.take(identity)
    return OptunaTrial(study.optuna, identity)


def _resumed(study: "Study", one: Held) -> InHand:
    """What there is to go on with: the last checkpoint and the epochs until then, or the candidate alone."""
    store = study.store
    evaluation, begun = store.evaluation(one.evaluation), bool(store.curve(one.evaluation))
    content, checkpoint = store.checkpoint(one.evaluation), None
    if content is not None:
        try:
            checkpoint = Checkpoint.from_bytes(content)
        except BrokenCheckpoint:
            store.drop_checkpoint(one.evaluation)
    if checkpoint is None:
        store.rewind(one.evaluation)
    else:
        store.rewind(one.evaluation, checkpoint.phase, checkpoint.epoch)
    points = tuple(store.curve(one.evaluation))
    trial = opened(study, evaluation.trial_number)
    return InHand(one.evaluation, trial, evaluation.candidate, begun, checkpoint, points)


def _give_up(study: "Study", one: Held) -> None:
    """Close a candidate that its workers died of."""
    reason = f"its worker died {one.attempts} times, the last one as {one.worker}: too much memory, or a crash below"
    study.store.fail(one.evaluation, kind="crashed", reason=reason, seconds=0.0)
    study.store.drop_checkpoint(one.evaluation)
    tell(study, opened(study, one.trial_number or 0), study.store.evaluation(one.evaluation))
