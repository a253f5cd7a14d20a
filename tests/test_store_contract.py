"""What every database of a store does: places, leases, the front, clocks and latencies, also if several ask at once."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import BEGUN, candidate, finish, network, nothing, point
from old_stores import ask
from sqlalchemy import update

import paretonas as pn
from paretonas.errors import LeaseLost, StoreError, UsageError
from paretonas.spaces import ModuleArchitecture
from paretonas.storage import ENDED, FINISHED, LatencyRecord, Store, Valued
from paretonas.storage.tables import EvaluationRow

pytest_plugins = ["databases"]

DATA = pn.DataSpec((1, 8, 8), 10)
CONDITIONS: dict[str, Any] = {
    "backend": "torch",
    "version": "torch 2.13.0",
    "hardware": "a processor",
    "threads": 1,
    "batch": 1,
    "precision": "float32",
}
SAMPLES = tuple(np.random.default_rng(0).lognormal(0, 0.2, 300).astype(np.float32).tolist())
RECORD = LatencyRecord(
    latency_ms=0.9,
    noise=0.012,
    median_ms=1.0,
    p10_ms=0.8,
    p90_ms=1.3,
    samples=SAMPLES,
    warm_up=5,
    seconds=0.3,
    input_shape=(1, 8, 8),
    together=1,
    run="first",
    host="h",
    measured=datetime(2026, 5, 1, 12, 30, 15, 250, tzinfo=UTC),
    **CONDITIONS,
)


@pytest.fixture
def store(made: str) -> Store:
    """A store with the studies 1 and 2, which define nothing."""
    found = Store(made)
    for name in ("s", "t"):
        found.add_study(name, {})
    return found


def taken(store: Store, study: int = 1, total: int = 100) -> int:
    """A place, there for sure."""
    found = store.take_place(study, total)
    assert found is not None
    return found


def running(store: Store, width: int = 4, *, study: int = 1, trial: int = 0, **other: Any) -> int:
    """An evaluation that the worker of ``store`` has begun."""
    place = taken(store, study)
    assert store.begin(place, candidate(width), trial=trial, **BEGUN | other) is None
    return place


def another(store: Store, name: str = "g/2/0/x") -> Store:
    """The same database, for another worker."""
    return Store(store.url, worker=name)


# Places


def test_a_new_store_that_many_open_at_once_is_made_once(place: str) -> None:
    """Each has a connection of its own; whoever comes second finds the tables there, Optuna's too."""
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: Store(place).study_names(), range(4))) == [[]] * 4
    assert ask(place, "SELECT count(*) FROM paretonas_schema") == [(1,)]
    assert ask(place, "SELECT count(*) FROM version_info") == [(1,)]


def test_places_are_taken_exactly(store: Store) -> None:
    """Whoever asks at the same time, no more places are given than the total, and no place twice."""
    workers = [another(store, f"h/{number}/0/x") for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda worker: worker.take_place(1, 5), workers))
    places = [place for place in found if place is not None]
    assert len(places) == len(set(places)) == 5
    assert workers[found.index(places[0])].give_back(places[0])
    assert another(store, "h/17/0/x").take_place(1, 5) is not None
    assert another(store, "h/18/0/x").take_place(1, 5) is None


def test_a_worker_has_one_unused_place_of_a_study(store: Store) -> None:
    """Whoever asks again has the same one, so an answer may be lost; another study is another."""
    first = taken(store)
    assert taken(store) == first == taken(store, total=1)
    assert taken(store, 2) != first
    assert taken(another(store)) != first


def test_a_candidate_is_begun_once_in_a_study(store: Store) -> None:
    """The second place that wants a candidate is told of the first; what is finished is not given back."""
    one, other = running(store), taken(store)
    known = store.begin(other, candidate(), trial=1, **BEGUN)
    assert known is not None
    assert (known.id, known.trial_number, known.state) == (one, 0, "running")
    assert store.begin(one, candidate(), trial=0, **BEGUN) is None  # the same again, as after a lost answer
    assert store.open_places(1) == [(other, store.worker)]
    store.fail(one, kind="crashed", reason="for the test", seconds=0.1)
    assert not store.give_back(one)
    assert store.finished_ids(1) == [one]


def test_many_that_begin_the_same_at_once_have_one_that_does(store: Store) -> None:
    """The others are told which."""
    workers = [another(store, f"h/{number}/0/x") for number in range(4)]
    places = [taken(worker) for worker in workers]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda w, p: w.begin(p, candidate(), trial=p, **BEGUN), workers, places))
    [first] = [place for place, known in zip(places, found, strict=True) if known is None]
    assert {known.id for known in found if known is not None} == {first}


# Leases


def test_workers_say_that_they_live(store: Store) -> None:
    """A beat counts up in each study that a worker is on, until it leaves; it may come back."""
    other = another(store)
    store.enlist(1, 60)
    store.enlist(2, 60)
    other.enlist(1, 30)
    before = {worker.name: worker for worker in store.workers(1)}
    store.renew()
    after = {worker.name: worker for worker in store.workers(1)}
    assert after[store.worker].beat == before[store.worker].beat + 1
    assert after[other.worker] == before[other.worker]
    assert store.workers(2)[0].beat == before[store.worker].beat + 1
    assert (after[other.worker].lease, after[other.worker].state) == (30, "alive")
    other.leave()
    assert [worker.state for worker in store.workers(1)] == ["alive", "ended"]
    other.enlist(1, 40)
    back = store.workers(1)[1]
    assert (back.state, back.lease) == ("alive", 40)
    assert back.beat > before[other.worker].beat


def test_what_has_not_ended_is_listed_with_its_worker(store: Store) -> None:
    """In one look: places and what is trained, with attempts, and the row of the worker if it has one."""
    other = another(store)
    other.enlist(1, 30)
    mine, theirs, place = running(store), running(other, 5, trial=7), taken(other)
    done = running(store, 6, trial=2)
    finish(store, done, 6)
    held = {each.evaluation: each for each in store.held(1)}
    assert held.keys() == {mine, theirs, place}
    assert (held[mine].state, held[mine].worker, held[mine].alive) == ("running", store.worker, None)
    assert (held[theirs].trial_number, held[place].trial_number, held[theirs].attempts) == (7, None, 1)
    assert held[place].alive == store.workers(1)[0]
    assert store.held(2) == []


WRITES: dict[str, Callable[[Store, int], object]] = {
    "begin": lambda store, place: store.begin(place, candidate(), trial=0, **BEGUN),
    "add_epoch": lambda store, place: store.add_epoch(place, point(0)),
    "finish": finish,
    "fail": lambda store, place: store.fail(place, kind="crashed", reason="r", seconds=1),
    "refuse": lambda store, place: store.refuse(place, {"a": (1.0, {})}, reason="r", seconds=1),
    "stop": lambda store, place: store.stop(place, {"a": (1.0, {})}, reason="r", seconds=1),
    "rewind": lambda store, place: store.rewind(place),
    "claim_training": lambda store, place: store.claim_training(place, ["a"]),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_worker_whose_trial_was_taken_up_writes_nothing(store: Store, name: str) -> None:
    """It is told that its lease is lost, whatever it wants to write, and all is as the other has it."""
    mine = running(store)
    store.add_epoch(mine, point(1))
    other = another(store)
    assert other.take_up(mine, of=store.worker, died=True)
    before = other.evaluation(mine), other.curve(mine)
    with pytest.raises(LeaseLost, match=rf"no longer of {store.worker}, but of {other.worker}"):
        WRITES[name](store, mine)
    assert not store.release(mine)
    assert not store.give_back(mine)
    assert (other.evaluation(mine), other.curve(mine)) == before


@pytest.mark.parametrize("name", [name for name in WRITES if name != "begin"])
def test_what_is_written_twice_is_there_once(store: Store, name: str) -> None:
    """Whoever had no answer writes again: the store is as after the first time."""
    mine = running(store)
    WRITES[name](store, mine)
    before = store.evaluation(mine), store.curve(mine)
    assert WRITES[name](store, mine) is None
    assert (store.evaluation(mine), store.curve(mine)) == before


@pytest.mark.parametrize("end", ["finish", "fail", "refuse", "stop"])
def test_what_has_ended_stays_as_it_ended(store: Store, end: str) -> None:
    """Another end, and an epoch more, change nothing."""
    mine = running(store)
    WRITES[end](store, mine)
    before = store.evaluation(mine), store.curve(mine)
    for name in ("finish", "fail", "refuse", "stop", "add_epoch"):
        WRITES[name](store, mine)
    assert (store.evaluation(mine), store.curve(mine)) == before
    assert not another(store).take_up(mine, of=store.worker, died=True)


def test_who_loses_its_lease_while_it_writes_writes_nothing(store: Store) -> None:
    """What was taken up in a transaction that is not over yet is waited for, and then an epoch comes too late."""
    mine = running(store)
    with ThreadPoolExecutor(1) as pool:
        with store.writing() as connection:
            taking = update(EvaluationRow).where(EvaluationRow.id == mine).values(worker="g/2/0/x")
            connection.execute(taking)
            late = pool.submit(store.add_epoch, mine, point(0))
            with pytest.raises(TimeoutError):
                late.result(timeout=0.5)
        with pytest.raises(LeaseLost):
            late.result(timeout=60)
    assert store.curve(mine) == []


def test_a_place_that_is_gone_is_nobodys(store: Store) -> None:
    """Its worker writes nothing either, and is told."""
    mine = running(store)
    assert another(store).give_back(mine, of=store.worker)
    with pytest.raises(LeaseLost, match="but of nobody"):
        store.add_epoch(mine, point(0))
    assert store.counts(1) == {}


def test_one_of_many_takes_up_what_a_dead_worker_left(store: Store) -> None:
    """Its candidate, epochs and trial stay, and the attempt is counted once."""
    left = running(store)
    store.add_epoch(left, point(0))
    others = [another(store, f"h/{number}/0/x") for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        took = list(pool.map(lambda other: other.take_up(left, of=store.worker, died=True), others))
    assert took.count(True) == 1
    winner = others[took.index(True)]
    assert (winner.evaluation(left).worker, winner.evaluation(left).attempts) == (winner.worker, 2)
    assert winner.evaluation(left).candidate == candidate()
    assert winner.curve(left) == [point(0)]
    assert winner.take_up(left, of=store.worker, died=True)  # the same again, as after a lost answer
    assert winner.evaluation(left).attempts == 2


def test_what_is_released_is_anybodys(store: Store) -> None:
    """With its epochs, and without a death counted; a place that is not used yet is not released but given back."""
    mine = running(store)
    store.add_epoch(mine, point(0))
    assert store.release(mine)
    assert store.release(mine)  # the same again
    assert store.held(1)[0].worker == ""
    other = another(store)
    assert other.take_up(mine, of="", died=False)
    assert not store.take_up(mine, of="", died=False)
    assert (other.evaluation(mine).attempts, other.curve(mine)) == (1, [point(0)])
    place = taken(store)
    assert not store.release(place)
    assert store.give_back(place)


def test_epochs_after_a_checkpoint_are_deleted(store: Store) -> None:
    """Fine-tuning comes after training; without a checkpoint all of them go, and they can be added again."""
    mine = running(store)
    curve = [point(0), point(1), point(2), point(0, "finetune"), point(1, "finetune")]
    for each in curve:
        store.add_epoch(mine, each)
    for phase, number, left in (("finetune", 0, 4), ("train", 1, 2), (None, -1, 0)):
        store.rewind(mine, phase, number)
        assert store.curve(mine) == curve[:left]
    store.add_epoch(mine, point(0))
    assert store.curve(mine) == curve[:1]


def test_workers_can_be_asked_to_stop(store: Store) -> None:
    """Of one study, until they are asked no more."""
    assert not store.is_asked_to_stop(1)
    store.ask_to_stop(1)
    assert store.is_asked_to_stop(1)
    assert not store.is_asked_to_stop(2)
    store.ask_to_stop(1, stop=False)
    assert not store.is_asked_to_stop(1)


# One network, one training


def test_one_of_two_studies_trains_what_both_propose(store: Store) -> None:
    """The other is told which evaluation to wait for, and then finds its results."""
    other = another(store)
    mine, theirs = running(store), running(other, study=2)
    assert store.claim_training(mine, ["a"]) is None
    assert store.claim_training(mine, ["a"]) is None
    assert other.claim_training(theirs, ["a"]) == mine
    finish(store, mine)
    assert other.claim_training(theirs, ["a"]) == mine
    found = other.same_elsewhere(theirs, ["a"])
    assert found is not None
    assert found.id == mine
    assert other.claim_training(theirs, ["a", "b"]) is None  # what is complete has not measured that


def test_of_many_that_claim_a_training_at_once_one_has_it(store: Store) -> None:
    """In as many studies."""
    others = []
    for number in range(4):
        store.add_study(f"s{number}", {})
        found = store.definition(f"s{number}")
        assert found is not None
        worker = another(store, f"h/{number}/0/x")
        others.append((worker, running(worker, study=found[0])))
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda one: one[0].claim_training(one[1], ["a"]), others))
    [first] = [evaluation for (_, evaluation), known in zip(others, told, strict=True) if known is None]
    assert set(told) == {None, first}


@pytest.mark.parametrize("end", ["fail", "refuse", "stop", "release"])
def test_a_claim_ends_without_a_result(store: Store, end: str) -> None:
    """Then another study trains it."""
    other = another(store)
    mine, theirs = running(store), running(other, study=2)
    assert store.claim_training(mine, ["a"]) is None
    assert store.release(mine) if end == "release" else WRITES[end](store, mine) is None
    assert other.claim_training(theirs, ["a"]) is None


def test_a_claim_of_a_dead_worker_can_be_taken(store: Store) -> None:
    """By whoever says so; when the other is taken up, it has to wait."""
    other = another(store)
    mine, theirs = running(store), running(other, study=2)
    assert store.claim_training(mine, ["a"]) is None
    assert other.claim_training(theirs, ["a"], despite=mine) is None
    assert store.claim_training(mine, ["a"]) == theirs


@pytest.mark.parametrize("what", ["task", "seed", "threads", "device"])
def test_another_training_is_another(store: Store, what: str) -> None:
    """What differs in any condition does not wait."""
    other = another(store)
    different: Any = {"task": "t", "seed": 1, "threads": 2, "device": "cuda"}[what]
    mine, theirs = running(store), running(other, study=2, trial=0, **{what: different})
    assert store.claim_training(mine, ["a"]) is None
    assert other.claim_training(theirs, ["a"]) is None


# The front, and counting


def test_the_front_is_kept_as_it_grows(store: Store) -> None:
    """Whoever ends, asked one at a time, is compared with those that are on it, and with nobody else."""
    asked: list[list[int]] = []

    def largest(evaluations: Sequence[Valued]) -> set[int]:
        asked.append([each.id for each in evaluations])
        return {max(evaluations, key=lambda each: each.values["a"]).id}

    widths = [5, 4, 7, 6]
    places = [running(store, width, trial=width) for width in widths]
    for place, width in zip(places, widths, strict=True):
        finish(store, place, width, front=largest)
    a, b, c, d = places
    assert asked == [[a], [a, b], [a, c], [c, d]]
    assert store.front_ids(1) == [c]
    assert [each.id for each in store.front(1)] == [c]
    assert store.front_ids(2) == []
    store.set_front(1, [a, d])
    assert store.front_ids(1) == [a, d]


def test_evaluations_are_counted(store: Store) -> None:
    """By state, by kind, the newest first, and by epochs."""
    failed, stopped = running(store, 4, trial=0), running(store, 5, trial=1)
    store.add_epoch(stopped, point(0))
    store.add_epoch(stopped, point(1))
    WRITES["fail"](store, failed)
    WRITES["stop"](store, stopped)
    refused = running(store, 6, trial=2)
    WRITES["refuse"](store, refused)
    finish(store, running(store, 7, trial=3), 7)
    taken(store)
    assert store.counts(1) == {"failed": 1, "stopped": 1, "refused": 1, "complete": 1, "open": 1}
    assert store.kinds(1) == {"crashed": 1, "stopped": 1, "infeasible": 1}
    assert [each.kind for each in store.newest_finished(1, 2)] == ["stopped", None]
    assert (store.epochs_trained(1), store.epochs(1), store.epochs_trained(2)) == (2, {stopped: 2}, 0)
    assert (store.counts(2), store.kinds(2), store.newest_finished(2, 3)) == ({}, {}, [])


def test_what_cannot_be_read_is_read_as_far_as_it_can_be(store: Store, made: str) -> None:
    """A candidate of another release has its state and its figures; only who asks what it is learns that it cannot."""
    mine = running(store)
    finish(store, mine)
    text = json.dumps(candidate().to_json() | {"training": {"of": "another release"}})
    ask(made, "UPDATE paretonas_evaluations SET candidate = :text", text=text)
    [known] = store.evaluations(1)
    assert (known.state, known.key, known.values) == ("complete", candidate().key, {"a": 4.0})
    with pytest.raises(UsageError, match="not a candidate as paretonas writes it"):
        known.candidate  # noqa: B018 - asking is what is tested


# Refusals


@pytest.fixture
def refused(store: Store) -> int:
    """An evaluation of study 1 that violated a constraint by its parameters."""
    place = taken(store)
    assert store.begin(place, candidate(), trial=3, **BEGUN) is None
    store.refuse(place, {"parameters": (310.0, {"n": 1})}, reason="parameters <= 100, it has 310", seconds=0.5)
    return place


def test_a_refusal_keeps_its_reason_and_what_was_measured(store: Store, refused: int) -> None:
    """State, kind, reason, seconds and measurements are those that it was refused by, and the study lists it."""
    [known] = store.evaluations(1)
    assert known == store.evaluation(refused)
    assert (known.state, known.kind, known.trial_number) == ("refused", "infeasible", 3)
    assert (known.reason, known.seconds) == ("parameters <= 100, it has 310", 0.5)
    assert (known.values, known.details) == ({"parameters": 310.0}, {"parameters": {"n": 1}})
    assert (known.weights, known.candidate) == (None, candidate())


def test_a_refusal_takes_no_place(store: Store, refused: int) -> None:
    """A study of two has two networks beside those that were refused, and counts only them as finished."""
    other = another(store)
    places = [taken(store, total=2), taken(other, total=2)]
    assert another(store, "third").take_place(1, 2) is None
    for number, (place, worker) in enumerate(zip(places, (store, other), strict=True)):
        assert worker.begin(place, candidate(8 + number), trial=4 + number, **BEGUN) is None
        finish(worker, place, 8 + number)
    assert store.finished_ids(1) == places
    assert {each.state for each in store.evaluations(1)} == {"complete", "refused"} <= set(ENDED)
    assert store.evaluation(refused).state not in FINISHED


def test_a_refused_candidate_is_known(store: Store, refused: int) -> None:
    """Whoever wants it again in the study is told of the refusal, which is not given back like an interrupted trial."""
    again = taken(store)
    known = store.begin(again, candidate(), trial=9, **BEGUN)
    assert known is not None
    assert (known.id, known.state) == (refused, "refused")
    assert not store.give_back(refused)
    assert store.give_back(again)
    assert [each.id for each in store.evaluations(1)] == [refused]


def test_another_study_takes_nothing_over_from_a_refusal(store: Store, refused: int) -> None:
    """Its constraints may be others; what was measured in full is taken over."""
    other = taken(store, 2)
    assert store.begin(other, candidate(), trial=0, **BEGUN) is None
    assert store.same_elsewhere(other, ["parameters"]) is None
    store.finish(other, {"parameters": (310.0, {})}, deployed=network(4), seconds=1, weights="w", front=nothing)
    found = store.same_elsewhere(refused, ["parameters"])
    assert found is not None
    assert found.id == other


# Clocks


def test_the_first_calibration_of_a_kind_of_host_stays(store: Store) -> None:
    """Later ones of the same hardware, threads, torch and device do not change what latencies refer to."""
    assert store.clock("cpu", 1, "2", "cpu") is None
    store.keep_clock("cpu", 1, "2", "cpu", small_ms=0.25, large_ms=1.5, host="h")
    store.keep_clock("cpu", 1, "2", "cpu", small_ms=0.5, large_ms=2.5, host="g")
    assert store.clock("cpu", 1, "2", "cpu") == (0.25, 1.5, "h")
    for others in (("gpu", 1, "2", "cpu"), ("cpu", 2, "2", "cpu"), ("cpu", 1, "3", "cpu"), ("cpu", 1, "2", "cuda")):
        assert store.clock(*others) is None


# Latencies


def test_a_latency_comes_back_as_it_was_kept(store: Store) -> None:
    """All its fields, the samples to the last bit of a 32-bit float, and the time to the microsecond."""
    assert store.latency(network(4).key, **CONDITIONS) is None
    store.keep_latency(network(4), RECORD)
    assert store.latency(network(4).key, **CONDITIONS) == RECORD


def test_samples_are_kept_compactly(store: Store, made: str) -> None:
    """Less than 4 bytes for each, whatever noise is in them."""
    store.keep_latency(network(4), RECORD)
    assert 0 < len(bytes(ask(made, "SELECT samples FROM paretonas_latencies")[0][0])) < 4 * len(SAMPLES)


@pytest.mark.parametrize("name", [*CONDITIONS, "network"])
def test_a_latency_of_other_conditions_is_another(store: Store, name: str) -> None:
    """Each condition, and the network, has records of its own."""
    other = CONDITIONS if name == "network" else CONDITIONS | {name: 7 if name in ("threads", "batch") else "other"}
    elsewhere = network(5 if name == "network" else 4)
    store.keep_latency(network(4), RECORD)
    assert store.latency(elsewhere.key, **other) is None
    second = replace(RECORD, latency_ms=2.0, **other)
    store.keep_latency(elsewhere, second)
    assert store.latency(elsewhere.key, **other) == second
    assert store.latency(network(4).key, **CONDITIONS) == RECORD


@pytest.mark.parametrize(
    ("noise", "together", "replaces"),
    [(0.02, 1, False), (0.012, 1, True), (0.005, 1, True), (0.02, 2, True), (float("inf"), 1, False)],
)
def test_the_less_noisy_latency_stays(store: Store, noise: float, together: int, *, replaces: bool) -> None:
    """A measurement takes the place of a noisier one, and one that was made together with others of any."""
    new = replace(RECORD, latency_ms=1.1, noise=noise, together=together, run="second", samples=(1.0, 1.5))
    store.keep_latency(network(4), RECORD)
    store.keep_latency(network(4), new)
    assert store.latency(network(4).key, **CONDITIONS) == (new if replaces else RECORD)


def test_a_predictor_learns_from_the_newest(store: Store) -> None:
    """Networks and latencies of the same conditions in the order of their measurement, less the noisy ones."""
    for width in (1, 2, 3, 4, 5):
        when = RECORD.measured + timedelta(hours=-width)
        store.keep_latency(network(width), replace(RECORD, latency_ms=float(width), measured=when))
    store.keep_latency(network(6), replace(RECORD, noise=0.031))
    store.keep_latency(network(7), replace(RECORD, threads=2))
    store.keep_latency(network(4), replace(RECORD, latency_ms=4.5, measured=RECORD.measured, run="again"))
    expected = [(network(5), 5.0), (network(3), 3.0), (network(2), 2.0), (network(1), 1.0), (network(4), 4.5)]
    assert store.latencies(**CONDITIONS) == expected
    assert store.latencies(**CONDITIONS, limit=2) == expected[-2:]
    assert store.latencies(**CONDITIONS | {"batch": 8}) == []


def test_a_module_of_the_users_own_has_latencies_too(store: Store) -> None:
    """It comes back as the data that it is, without its code being run."""
    theirs = ModuleArchitecture.of("nobody.has.this:make_net", {"width": 4}, DATA)
    store.keep_latency(theirs, RECORD)
    assert store.latencies(**CONDITIONS) == [(theirs, 0.9)]


def test_a_network_that_cannot_be_read_teaches_nothing(store: Store, made: str) -> None:
    """Such as one of another release, or of the user's own blocks that nobody allowed to run; the others do."""
    for width in (4, 5):
        store.keep_latency(network(width), replace(RECORD, latency_ms=float(width)))
    text = json.dumps(network(4).to_json() | {"version": 99})
    ask(
        made,
        "UPDATE paretonas_architectures SET description = :text WHERE key = :key",
        text=text,
        key=network(4).key,
    )
    assert store.latencies(**CONDITIONS) == [(network(5), 5.0)]


def test_damaged_samples_are_named(store: Store, made: str) -> None:
    """One sentence of the store, with the row."""
    store.keep_latency(network(4), RECORD)
    ask(made, "UPDATE paretonas_latencies SET samples = :samples", samples=b"not what zlib writes")
    with pytest.raises(StoreError, match=r"samples of latency 1 cannot be read .*: delete its row"):
        store.latency(network(4).key, **CONDITIONS)


KEEPER = """
import sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from made_up import network
from test_store_contract import RECORD
from paretonas.storage import Store
store, me, begin = Store(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
begin.with_suffix(f".{me}").touch()
while not begin.exists():
    time.sleep(0.001)
for width in range(1, 31):
    noise = 0.01 + 0.001 * ((width + me) % 2)
    store.keep_latency(network(width), replace(RECORD, noise=noise, run=str(me)))
"""


def test_two_processes_keep_the_same_latencies_at_once(store: Store, made: str, tmp_path: Path) -> None:
    """Neither fails, each network has one record, and that is the less noisy one."""
    begin = tmp_path / "begin"
    command = [sys.executable, "-c", KEEPER, str(Path(__file__).parent), made]
    keepers = [
        subprocess.Popen([*command, str(me), str(begin)], stderr=subprocess.PIPE, text=True, cwd=Path.cwd())
        for me in (0, 1)
    ]
    while not all(begin.with_suffix(f".{me}").exists() for me in (0, 1)):
        assert [keeper.poll() for keeper in keepers] == [None, None]
        time.sleep(0.01)
    begin.touch()
    said = [keeper.communicate(timeout=120)[1] for keeper in keepers]
    assert [keeper.returncode for keeper in keepers] == [0, 0], said
    found = ask(made, "SELECT run, noise FROM paretonas_latencies ORDER BY id")
    assert len(found) == 30
    assert {noise for _, noise in found} == {0.01}
    for width in range(1, 31):
        kept = store.latency(network(width).key, **CONDITIONS)
        assert kept is not None
        assert kept.run == str(width % 2)
