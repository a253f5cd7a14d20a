"""What every database of a store does: places, refusals, clocks and latencies, also when several ask at once."""

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from old_stores import ask

import paretonas as pn
from paretonas.errors import StoreError
from paretonas.spaces import Architecture, Block, Head, ModuleArchitecture
from paretonas.storage import ENDED, FINISHED, LatencyRecord, Store
from paretonas.storage.tables import Base

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
BEGUN: dict[str, Any] = {"task": "digits", "seed": 0, "threads": 1, "device": "cpu"}
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


def network(width: int) -> Architecture:
    return Architecture((1, 8, 8), (Block("flatten"), Block("linear", width=width)), (Head(10),))


def candidate(width: int = 4) -> pn.Candidate:
    return pn.Candidate(network(width))


@pytest.fixture
def store(place: str) -> Store:
    """A store with the studies 1 and 2, which define nothing."""
    made = Store(place)
    for name in ("s", "t"):
        made.add_study(name, {})
    return made


def taken(store: Store, study: int = 1, total: int = 100) -> int:
    """A place, there for sure."""
    found = store.take_place(study, total, worker="h/1/0", host="h")
    assert found is not None
    return found


# Places


def test_a_new_store_that_many_open_at_once_is_made_once(place: str) -> None:
    """Each has a connection of its own; whoever comes second finds the tables there."""
    Store(place)
    for table in reversed(Base.metadata.sorted_tables):  # Optuna's stay: those are its own to make
        ask(place, f"DROP TABLE {table.name}")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: Store(place).study_names(), range(8))) == [[]] * 8


def test_places_are_taken_exactly(store: Store) -> None:
    """Whoever asks at the same time, no more places are given than the total, and no place twice."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: store.take_place(1, 10, worker="h/1/0", host="h"), range(24)))
    places = [place for place in found if place is not None]
    assert len(places) == len(set(places)) == 10
    assert store.give_back(places[0])
    assert store.take_place(1, 10, worker="h/1/0", host="h") is not None
    assert store.take_place(1, 10, worker="h/1/0", host="h") is None


def test_a_candidate_is_begun_once_in_a_study(store: Store) -> None:
    """The second place that wants a candidate is told of the first; what is finished is not given back."""
    one, other = taken(store), taken(store)
    assert store.begin(one, candidate(), trial=0, **BEGUN) is None
    known = store.begin(other, candidate(), trial=1, **BEGUN)
    assert known is not None
    assert (known.id, known.trial_number, known.state) == (one, 0, "running")
    assert store.open_places(1) == [(other, "h/1/0")]
    store.fail(one, kind="crashed", reason="for the test", seconds=0.1)
    assert not store.give_back(one)
    assert store.finished_ids(1) == [one]


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
    places = [taken(store, total=2), taken(store, total=2)]
    assert store.take_place(1, 2, worker="h/1/0", host="h") is None
    for number, place in enumerate(places):
        assert store.begin(place, candidate(8 + number), trial=4 + number, **BEGUN) is None
        store.finish(place, {}, deployed=network(8 + number), seconds=1, weights="w")
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
    store.finish(other, {"parameters": (310.0, {})}, deployed=network(4), seconds=1, weights="w")
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


def test_samples_are_kept_compactly(store: Store, place: str) -> None:
    """Less than 4 bytes for each, whatever noise is in them."""
    store.keep_latency(network(4), RECORD)
    assert 0 < len(bytes(ask(place, "SELECT samples FROM paretonas_latencies")[0][0])) < 4 * len(SAMPLES)


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


def test_a_network_that_cannot_be_read_teaches_nothing(store: Store, place: str) -> None:
    """Such as one of another release, or of the user's own blocks that nobody allowed to run; the others do."""
    for width in (4, 5):
        store.keep_latency(network(width), replace(RECORD, latency_ms=float(width)))
    text = json.dumps(network(4).to_json() | {"version": 99})
    ask(
        place,
        "UPDATE paretonas_architectures SET description = :text WHERE key = :key",
        text=text,
        key=network(4).key,
    )
    assert store.latencies(**CONDITIONS) == [(network(5), 5.0)]


def test_damaged_samples_are_named(store: Store, place: str) -> None:
    """One sentence of the store, with the row."""
    store.keep_latency(network(4), RECORD)
    ask(place, "UPDATE paretonas_latencies SET samples = :samples", samples=b"not what zlib writes")
    with pytest.raises(StoreError, match=r"samples of latency 1 cannot be read .*: delete its row"):
        store.latency(network(4).key, **CONDITIONS)


KEEPER = """
import sys, time
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store_contract import RECORD, network
from paretonas.storage import Store
store, me, begin = Store(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
begin.with_suffix(f".{me}").touch()
while not begin.exists():
    time.sleep(0.001)
for width in range(1, 31):
    noise = 0.01 + 0.001 * ((width + me) % 2)
    store.keep_latency(network(width), replace(RECORD, noise=noise, run=str(me)))
"""


def test_two_processes_keep_the_same_latencies_at_once(store: Store, place: str, tmp_path: Path) -> None:
    """Neither fails, each network has one record, and that is the less noisy one."""
    begin = tmp_path / "begin"
    command = [sys.executable, "-c", KEEPER, str(Path(__file__).parent), place]
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
    found = ask(place, "SELECT run, noise FROM paretonas_latencies ORDER BY id")
    assert len(found) == 30
    assert {noise for _, noise in found} == {0.01}
    for width in range(1, 31):
        kept = store.latency(network(width).key, **CONDITIONS)
        assert kept is not None
        assert kept.run == str(width % 2)
