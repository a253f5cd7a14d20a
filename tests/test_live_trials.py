"""Optuna's side of the store: trials that this process works on, beside plain Optuna on the same database."""

import shutil
import warnings
from collections.abc import Callable, Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import FrozenTrial, TrialState
from simulated import begun
from sqlalchemy import event

import paretonas as pn
from paretonas.errors import LeaseLost
from paretonas.search import proposals
from paretonas.search.data import data_of
from paretonas.search.leases import Lease
from paretonas.search.queue import enqueue
from paretonas.search.recovery import clean_up, opened, put_back
from paretonas.search.study import Study
from paretonas.storage import Store, creator_of
from paretonas.storage.database import open_database
from paretonas.storage.live_trials import LiveStorage
from paretonas.storage.trials import CREATOR

pytest_plugins = ["databases"]

SPACE = pn.MLPSpace(layers=(1, 3), widths=[4, 8, 16])
DIRECTIONS = [optuna.study.StudyDirection.MINIMIZE] * 2


def study_on(storage: Any, sampler: BaseSampler | None = None) -> optuna.Study:
    return optuna.create_study(
        study_name="s", storage=storage, directions=DIRECTIONS, load_if_exists=True, sampler=sampler or RandomSampler(0)
    )


@pytest.fixture
def ours(made: str) -> Iterator[optuna.Study]:
    """A study as paretonas has it."""
    store = Store(made, worker="h/1/0/x")
    yield study_on(store.optuna)
    store.optuna.close()


@pytest.fixture
def theirs(ours: optuna.Study) -> Iterator[optuna.Study]:
    """The same study in another process, that knows only Optuna."""
    storage = optuna.storages.RDBStorage(live(ours).url)
    yield study_on(storage)
    storage.engine.dispose()


def live(study: optuna.Study) -> LiveStorage:
    assert isinstance(study._storage, LiveStorage)
    return study._storage


def seen(trial: FrozenTrial) -> tuple[Any, ...]:
    """All that a sampler may learn from a trial."""
    ours = {key: value for key, value in trial.system_attrs.items() if key != CREATOR}
    return (trial.number, trial.state, trial.values, list(trial.params.items()), trial.distributions), (
        trial.user_attrs,
        ours,
        trial.constraints,
        trial.intermediate_values,
    )


# What Optuna asks of any storage


class Unsigned(LiveStorage):
    """Without the attribute by which we know who made a trial, which Optuna's tests do not expect."""

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return unsigned(super().get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,  # noqa: FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        return [unsigned(trial) for trial in super().get_all_trials(study_id, deepcopy, states)]


def unsigned(trial: FrozenTrial) -> FrozenTrial:
    trial.system_attrs.pop(CREATOR, None)
    return trial


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def emptied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a store without studies, which each test leaves as it found it."""
    from databases import _new, closing

    with closing():
        if request.param == "sqlite":
            yield f"sqlite:///{shutil.copy(request.getfixturevalue('_made_file'), tmp_path_factory.mktemp('own'))}"
        else:
            yield _new(request, request.getfixturevalue("_made_database"))


class TestOptunasOwn(StorageTestCase):
    """Optuna's own tests of what a storage has to do."""

    @pytest.fixture
    def storage(self, emptied: str) -> Iterator[LiveStorage]:
        storage = open_database(emptied, create=True)
        yield Unsigned(storage._backend)
        for study in storage.get_all_studies():
            storage.delete_study(study._study_id)
        storage.close()


# Beside plain Optuna


SAMPLERS: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: RandomSampler(seed=1),
    "tpe": lambda: TPESampler(seed=1, n_startup_trials=4, multivariate=True, group=True, constant_liar=True),
    "nsga2": lambda: NSGAIISampler(seed=1, population_size=4),
    "gp": lambda: GPSampler(seed=1, n_startup_trials=7),
}


def searched(study: optuna.Study, trials: int) -> None:
    """Trials with all that one can have; one runs beside the others, one is given."""
    study.enqueue_trial({"x": 0.25}, user_attrs={"given": [1, 2]})
    beside = study.ask()
    beside.suggest_float("x", 0, 1)
    beside.set_user_attr("network", "beside")
    for number in range(trials):
        trial = study.ask()
        x, kind = trial.suggest_float("x", 0, 1), trial.suggest_categorical("kind", ["a", "b", None])
        width = trial.suggest_int("width", 1, 64, log=True) if kind == "a" else 1
        trial.set_user_attr("network", f"{width}")
        trial.set_constraint("narrow", width - 32)
        if number == 3:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, [x**2 + width, -x])


@pytest.mark.parametrize("word", SAMPLERS)
def test_samplers_learn_what_they_learn_of_plain_optuna(ours: optuna.Study, tmp_path: Path, word: str) -> None:
    """The same seed proposes the same there and here, and plain Optuna reads the same of both."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        ours.sampler, plain = SAMPLERS[word](), optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'plain.db'}")
        theirs = study_on(plain, SAMPLERS[word]())
    for study in (ours, theirs):
        searched(study, 9)
    again = optuna.storages.RDBStorage(live(ours).url)
    found = [seen(trial) for trial in theirs.get_trials()]
    assert [seen(trial) for trial in ours.get_trials()] == found
    assert [seen(trial) for trial in study_on(again).get_trials()] == found
    for storage in (plain, again):
        storage.engine.dispose()


def test_others_see_a_trial_as_far_as_it_was_said(ours: optuna.Study, theirs: optuna.Study) -> None:
    """It runs at once, its parameters come with its first attribute, its end with all that was said of it."""
    trial = ours.ask()
    x = trial.suggest_float("x", 0, 1)
    assert [(t.number, t.state, t.params) for t in theirs.trials] == [(0, TrialState.RUNNING, {})]
    assert ours.trials[0].params == {"x": x}
    trial.set_user_attr("network", "n")
    assert theirs.trials[0].params == {"x": x}
    assert theirs.trials[0].user_attrs == {"network": "n"}
    with live(ours).together(trial._trial_id):
        trial.set_constraint("c", 1.0)
        trial.set_user_attr("said", 1)
        assert trial.constraints == {"c": 1.0}
        assert (theirs.trials[0].constraints, theirs.trials[0].user_attrs) == ({}, {"network": "n"})
    assert (theirs.trials[0].constraints, theirs.trials[0].user_attrs) == ({"c": 1.0}, {"network": "n", "said": 1})
    ours.tell(trial, [1.0, 2.0])
    assert [seen(one) for one in theirs.trials] == [seen(one) for one in ours.trials]
    assert (theirs.trials[0].datetime_start, theirs.trials[0].datetime_complete) == (
        ours.trials[0].datetime_start,
        ours.trials[0].datetime_complete,
    )


def test_what_another_process_does_is_seen(ours: optuna.Study, theirs: optuna.Study) -> None:
    """Its trials, and what it queues; numbers go on, whoever asks."""
    numbers = [(theirs if turn % 3 else ours).ask().number for turn in range(7)]
    assert numbers == list(range(7))
    theirs.tell(theirs.ask(), [1.0, 2.0])
    theirs.enqueue_trial({"x": 0.5})
    trial = ours.ask()
    assert (trial.number, trial.suggest_float("x", 0, 1)) == (8, 0.5)
    assert [one.state for one in ours.get_trials()] == [
        *[TrialState.RUNNING] * 7,
        TrialState.COMPLETE,
        TrialState.RUNNING,
    ]


def test_a_parameter_keeps_its_distribution(ours: optuna.Study, theirs: optuna.Study) -> None:
    """Also that of a trial of another process, which this one never read."""
    theirs.ask().suggest_categorical("kind", ["a", "b"])
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        ours.ask().suggest_categorical("kind", ["a", "c"])


@pytest.mark.parametrize("outcome", [[1.0, 2.0], None])
def test_a_trial_that_another_process_ended_stays_as_it_is(
    ours: optuna.Study, theirs: optuna.Study, outcome: list[float] | None
) -> None:
    """Nothing of what is said of it afterwards is written, neither at once nor with its end."""
    trial, other = ours.ask(), ours.ask()
    for one in (trial, other):
        one.suggest_float("x", 0, 1)
        theirs.tell(one.number, state=TrialState.FAIL)
    with pytest.raises(UpdateFinishedTrialError):
        trial.set_user_attr("network", "n")
    with pytest.raises(UpdateFinishedTrialError):
        ours.tell(other, outcome, state=None if outcome else TrialState.PRUNED)
    for found in (*theirs.get_trials(), *ours.get_trials()):
        assert (found.state, found.values, found.params, found.user_attrs) == (TrialState.FAIL, None, {}, {})


def test_a_trial_that_is_taken_is_read_anew(ours: optuna.Study, made: str) -> None:
    """What its worker had not written is forgotten, and what another one wrote meanwhile is known."""
    trial = ours.ask()
    trial.suggest_float("x", 0, 1)
    other = study_on(Store(made, worker="h/2/0/x").optuna)
    other._storage.set_trial_user_attr(trial._trial_id, "teacher", "t")
    live(ours).take(trial._trial_id)
    assert ours.get_trials()[0].user_attrs == {"teacher": "t"}
    assert ours.get_trials()[0].params == {}
    live(other).close()


def test_many_that_ask_at_once_get_numbers_of_their_own(ours: optuna.Study, made: str) -> None:
    """As they do of what waits: each is begun once, by the worker that it says."""
    for _ in range(8):
        ours.enqueue_trial({})

    def asked(worker: str) -> list[tuple[int, str]]:
        store = Store(made, worker=worker)
        study = study_on(store.optuna)
        found = [(study.ask().number, worker) for _ in range(8)]
        store.optuna.close()
        return found

    with ThreadPoolExecutor(4) as pool:
        found = [each for one in pool.map(asked, [f"h/{number}/0/x" for number in range(4)]) for each in one]
    assert sorted(number for number, _ in found) == list(range(32))
    assert {trial.number: creator_of(trial) for trial in ours.get_trials()} == dict(found)


def test_who_starts_reads_no_trials_that_ended(ours: optuna.Study, made: str) -> None:
    """A trial, from its question to its end, reads few others, however many there are; a sampler may ask for all."""
    for _ in range(40):
        trial = ours.ask()
        ours.tell(trial, [trial.suggest_float("x", 0, 1), 1.0])
    ours.ask().suggest_float("x", 0, 1)
    store, read = Store(made), list[int]()

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if statement.startswith("SELECT trial_params.trial_id"):
            read.append(len(parameters))

    event.listen(store.optuna.engine, "before_cursor_execute", note)
    study = study_on(store.optuna)
    trial = study.ask()
    study.tell(trial, [trial.suggest_float("x", 0, 1), 1.0])
    assert [t.number for t in study.get_trials(states=(TrialState.RUNNING,))] == [40]
    assert store.optuna.numbered("s", [3, 41])[41].state is TrialState.COMPLETE
    assert max(read) <= 2
    assert len(study.get_trials()) == 42
    assert max(read) >= 40
    store.optuna.close()


# Proposals


@pytest.fixture
def study(made: str) -> Study:
    return pn.create_study("s", space=SPACE, objectives=["accuracy", "parameters"], storage=made, sampler="random")


def of_another(study: Study) -> Study:
    return Study(Store(study.store.url, worker="elsewhere/1/2/3"), study.id, study.name, study.definition)


def test_what_a_candidate_is_made_of_is_there_before_it_has_begun(study: Study) -> None:
    """Another process, that reads the database when the evaluation is there, sees the genes and the network."""
    candidate = begun(study)
    other = of_another(study)
    [told] = other.optuna.get_trials()
    assert told.user_attrs == {"network": str(candidate.deployed)}
    assert told.params["layers"] == len(candidate.architecture.blocks) - 1
    assert len(told.params) > 2


def test_a_proposal_that_another_worker_closed_is_dropped(study: Study) -> None:
    """It is not begun, and what it was queued with is back in the queue once."""
    enqueue(study, {"layers": 2})
    place = study.store.take_place(study.id, 9)
    assert place is not None
    trial = study.optuna.ask()
    other = of_another(study)
    put_back(other, opened(other, trial.number))
    with pytest.raises(LeaseLost, match="proposal 0 of 's' was taken for left behind"):
        proposals._begin(study, place, trial, data_of(study.definition, "cpu").spec)
    put_back(study, trial)
    states = [told.state for told in other.optuna.get_trials()]
    assert states == [TrialState.FAIL, TrialState.WAITING]


def test_a_proposal_of_which_nothing_is_written_is_put_back(study: Study) -> None:
    """A worker that dies while it draws leaves a trial without parameters, which the next one closes."""
    dead = of_another(study)
    dead.optuna.ask().suggest_int("layers", 1, 3)
    dead.store.enlist(study.id, 60)
    dead.store.leave()
    with Lease(study) as lease:
        assert clean_up(study, lease) == 1
    [told] = study.optuna.get_trials()
    assert (told.state, told.params) == (TrialState.FAIL, {})
