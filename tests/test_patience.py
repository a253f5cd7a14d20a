"""Databases that are away for a while, answers that are lost, and passwords that are never said. Nothing is mocked."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import optuna
import psutil
import pytest
from cutting import Proxy
from made_up import BEGUN, candidate, finish, point
from old_stores import ask
from optuna.trial import TrialState
from sqlalchemy import make_url

from paretonas.errors import StoreError
from paretonas.storage import Store, creator_of, database, is_gone, me, patience

if TYPE_CHECKING:
    from databases import Server

pytest_plugins = ["databases"]

EPOCHS = 3


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The artifact folder of a store on a server is in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(patience.VARIABLE, "120")
    from databases import closing

    with closing():
        yield


def closed(*stores: Store) -> None:
    for store in stores:
        store.optuna.close()


# A server that is stopped and started again


def live(url: str, name: str, total: int) -> int:
    """Do all that a worker does with trials, from an empty place to the end, until the study has so many."""
    store = Store(url, worker=name)
    study = optuna.load_study(study_name="s", storage=store.optuna)
    store.enlist(1, 60)
    done = 0
    while (place := store.take_place(1, total)) is not None:
        trial = study.ask()
        width = trial.suggest_int("width", 1, 10**6)
        trial.set_user_attr("network", "n")
        assert store.begin(place, candidate(width), trial=trial.number, **BEGUN) is None
        assert store.claim_training(place, ["a"]) is None
        for number in range(EPOCHS):
            store.add_epoch(place, point(number))
            store.renew()
        finish(store, place, width, front=lambda on_it: {each.id for each in on_it[-3:]})
        trial.set_constraint("c", 0.0)
        study.tell(trial, [1.0, 2.0])
        done += 1
    store.leave()
    closed(store)
    return done


def whole(url: str, total: int) -> None:
    """All is there, once, and nothing is left over."""
    store = Store(url)
    assert store.counts(1) == {"complete": total}
    assert set(store.epochs(1).values()) == {EPOCHS}
    evaluations = store.evaluations(1)
    assert {each.attempts for each in evaluations} == {1}
    assert len({each.candidate.key for each in evaluations}) == total
    study = optuna.load_study(study_name="s", storage=store.optuna)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * total
    assert sorted(each.trial_number for each in evaluations) == list(range(total))
    assert {worker.state for worker in store.workers(1)} == {"ended"}
    front = store.front_ids(1)
    assert front is not None
    assert len(front) == 3
    closed(store)


def prepared(url: str) -> None:
    store = Store(url)
    store.add_study("s", {})
    optuna.create_study(study_name="s", storage=store.optuna, directions=["minimize", "maximize"])
    closed(store)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL, pytest.param(signal.SIGQUIT, marks=pytest.mark.long)])
def test_no_operation_fails_while_a_server_is_restarted(server: "Server", how: signal.Signals) -> None:
    """Four workers go on when it is back: every trial is there once, with its epochs, and nothing is left over."""
    url, total = server.new(), 16
    prepared(url)
    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(live, url, f"h/{number}/0/x", total) for number in range(4)]
        for _ in range(2):
            time.sleep(0.7)
            server.stop(how)
            time.sleep(0.5)
            server.start(flush=how != signal.SIGINT)
        assert sum(worker.result() for worker in workers) == total
    whole(url, total)


def test_more_workers_than_connections_wait_for_each_other(server: "Server") -> None:
    """A server that has too few for all refuses some at first, and none fails."""
    url, total = server.new(), 12
    prepared(url)
    server.stop()
    server.start(connections=6)
    try:
        with ThreadPoolExecutor(8) as pool:
            workers = [pool.submit(live, url, f"h/{number}/0/x", total) for number in range(8)]
            assert sum(worker.result() for worker in workers) == total
        whole(url, total)
    finally:
        server.stop()
        server.start()


def test_a_server_that_stays_away_is_one_sentence(server: "Server", monkeypatch: pytest.MonkeyPatch) -> None:
    """After the patience that is asked for, for our tables and for Optuna's, without the password."""
    url = server.new()
    prepared(url)
    store = Store(url)
    study = optuna.load_study(study_name="s", storage=store.optuna)
    monkeypatch.setenv(patience.VARIABLE, "0.5")
    server.stop()
    try:
        for action in (lambda: store.counts(1), study.ask, lambda: Store(url)):
            began = time.monotonic()
            with pytest.raises(StoreError, match=r"refused.*it was waited for 0.5 seconds") as caught:
                action()
            assert 0.2 < time.monotonic() - began < 5
            silent_about(server, caught.value)
    finally:
        server.start()
        closed(store)


# Answers that are lost


@pytest.fixture(scope="module")
def template(server: "Server") -> str:
    """A database with the tables, and study s, of the store and of Optuna."""
    url = server.new()
    prepared(url)
    return str(make_url(url).database)


@pytest.fixture(scope="module")
def proxy(server: "Server") -> Iterator[Proxy]:
    found = Proxy(server.port)
    yield found
    found.close()


def through(proxy: Proxy, url: str) -> Store:
    return Store(make_url(url).set(port=proxy.port).render_as_string(hide_password=False), worker="h/1/0/x")


def begun(store: Store, width: int = 4) -> int:
    place = store.take_place(1, 100)
    assert place is not None
    assert store.begin(place, candidate(width), trial=0, **BEGUN) is None
    return place


def left_behind(store: Store) -> int:
    return begun(Store(store.url, worker="dead"))


Prepare = Callable[[Store], Any]
ACTIONS: dict[str, tuple[Prepare, Callable[[Store, Any], object]]] = {
    "add_study": (lambda _: None, lambda store, _: store.add_study("t", {"a": 1})),
    "enlist": (lambda _: None, lambda store, _: store.enlist(1, 60)),
    "leave": (lambda store: store.enlist(1, 60), lambda store, _: store.leave()),
    "take_place": (lambda _: None, lambda store, _: store.take_place(1, 10)),
    "begin": (
        lambda store: store.take_place(1, 10),
        lambda store, place: store.begin(place, candidate(), trial=0, **BEGUN),
    ),
    "claim_training": (begun, lambda store, place: store.claim_training(place, ["a"])),
    "add_epoch": (begun, lambda store, place: store.add_epoch(place, point(0))),
    "finish": (begun, lambda store, place: finish(store, place, front=lambda on_it: {each.id for each in on_it})),
    "fail": (begun, lambda store, place: store.fail(place, kind="crashed", reason="r", seconds=1.0)),
    "refuse": (begun, lambda store, place: store.refuse(place, {"a": (1.0, {})}, reason="r", seconds=1.0)),
    "stop": (begun, lambda store, place: store.stop(place, {"a": (1.0, {})}, reason="r", seconds=1.0)),
    "take_up": (left_behind, lambda store, place: store.take_up(place, of="dead", died=True)),
    "release": (begun, lambda store, place: store.release(place)),
    "give_back": (begun, lambda store, place: store.give_back(place)),
    "rewind": (begun, lambda store, place: store.rewind(place)),
    "set_front": (begun, lambda store, place: store.set_front(1, [place])),
    "add_measurement": (begun, lambda store, place: store.add_measurement(place, "b", 1.0, {})),
    "ask_to_stop": (lambda _: None, lambda store, _: store.ask_to_stop(1)),
    "keep_clock": (
        lambda _: None,
        lambda store, _: store.keep_clock("cpu", 1, "2", "cpu", small_ms=0.5, large_ms=1.0, host="h"),
    ),
}
TABLES = ("studies", "workers", "evaluations", "measurements", "epochs", "architectures", "clocks")
CHANGING = {"token", "started", "created", "id", "study_id", "evaluation_id"}  # of every run its own


def contents(url: str) -> dict[str, list[dict[str, Any]]]:
    """All that is in our tables, but for what no two runs have alike."""
    found = {}
    for table in TABLES:
        names = ask(
            url,
            "SELECT column_name FROM information_schema.columns WHERE table_name = :table",
            table=f"paretonas_{table}",
        )
        columns = sorted({name for (name,) in names} - CHANGING)
        rows = ask(url, f"SELECT {', '.join(columns)} FROM paretonas_{table}")  # noqa: S608 - our own words
        found[table] = sorted((dict(zip(columns, row, strict=True)) for row in rows), key=str)
    return found


@pytest.mark.parametrize("name", ACTIONS)
def test_a_lost_answer_changes_nothing(server: "Server", template: str, proxy: Proxy, name: str) -> None:
    """Whatever was being written when the connection broke after its commit: it is there once, and the result is that
    of an action which nothing disturbed.
    """
    prepare, act = ACTIONS[name]
    answers, found = [], []
    for lost in (0, 1):
        url = server.new(template)
        store, before = through(proxy, url), proxy.lost
        prior = prepare(store)
        proxy.spare = lost - 1
        answers.append(act(store, prior))
        assert proxy.lost - before == lost
        found.append(contents(url))
        for worker in found[-1]["workers"]:
            worker["beat"] = worker["beat"] > 0 or worker["state"] == "alive"  # it may count once more
        closed(store)
    assert answers[0] == answers[1]
    assert found[0] == found[1]


def begin_a_waiting_one(study: optuna.Study) -> float:
    study.enqueue_trial({"x": 0.5})
    return study.ask().suggest_float("x", 0, 1)


OPTUNAS: dict[str, Callable[[optuna.Study], object]] = {
    "create": lambda study: optuna.create_study(study_name="t", storage=study._storage).study_name,
    "begin": begin_a_waiting_one,
    "suggest": lambda study: study.ask().suggest_int("x", 1, 1),
    "attribute": lambda study: study.ask().set_user_attr("a", 1),
    "tell": lambda study: study.tell(study.ask(), [1.0, 2.0]).values,
    "fail": lambda study: study.tell(study.ask(), state=TrialState.FAIL).state,
}


@pytest.mark.parametrize("name", OPTUNAS)
def test_a_lost_answer_changes_nothing_of_optunas(server: "Server", template: str, proxy: Proxy, name: str) -> None:
    """Each of its commits in turn: no trial is made twice, none that waited is lost, and what is told is told."""
    undisturbed, spare = None, -1
    while True:
        store = through(proxy, server.new(template))
        study = optuna.load_study(study_name="s", storage=store.optuna)
        before, proxy.spare = proxy.lost, spare
        answer = OPTUNAS[name](study)
        lost, proxy.spare = proxy.lost - before, -1
        trials = [(trial.number, trial.state, trial.params, trial.values, trial.user_attrs) for trial in study.trials]
        assert {creator_of(trial) for trial in study.trials} <= {"h/1/0/x"}
        closed(store)
        if undisturbed is None:
            undisturbed = (answer, trials)
        assert (answer, trials) == undisturbed
        if spare >= 0 and not lost:  # it has no more commits
            break
        spare += 1
    assert spare > 0


# What is not waited for


def silent_about(server: "Server", error: BaseException | None) -> None:
    """Neither an error nor what it came from says the password, as it is or as a URL has it."""
    while error is not None:
        for secret in (server.password, quote(server.password, safe=""), quote(server.password)):
            assert secret not in "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__


def test_what_no_waiting_mends_is_said_at_once(server: "Server", template: str) -> None:
    """A wrong password, a missing database, a lost table: one sentence each, without the password."""
    url = make_url(server.new(template))
    began = time.monotonic()
    for wrong, said in (
        (url.set(password=server.password + "x"), "password authentication failed"),
        (url.set(database="nowhere"), 'database "nowhere" does not exist'),
    ):
        with pytest.raises(StoreError, match=said) as caught:
            Store(wrong.render_as_string(hide_password=False))
        silent_about(server, caught.value)
        assert "\n" not in str(caught.value)
    store = Store(url.render_as_string(hide_password=False))
    assert server.password not in repr(store)
    ask(store.url, "DROP TABLE paretonas_workers")
    with pytest.raises(StoreError, match="paretonas_workers") as caught:
        store.renew()
    silent_about(server, caught.value)
    closed(store)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:s3cret/w%25rd@127.0.0.1/x",  # a slash ends the host
        "postgresql+psycopg//me:s3cret/w%25rd@127.0.0.1/x",
        "postgresql+nodriver://me:s3cret%2Fw%25rd@127.0.0.1/x",
        "postgresql+psycopg://me@127.0.0.1:1/x?password=s3cret%2Fw%25rd",
        "me:s3cret/w%rd@127.0.0.1",
    ],
)
def test_no_url_shows_its_password(server: "Server", monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """However it is written, and whatever is wrong with it."""
    monkeypatch.setenv(patience.VARIABLE, "0.1")
    with pytest.raises(StoreError) as caught:
        Store(url)
    silent_about(server, caught.value)
    assert "w%25rd" not in str(caught.value)


def test_a_file_that_another_process_writes_to_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than SQLite itself waits."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path / 'nas.db'}"
    prepared(url)
    store = Store(url)
    study = optuna.load_study(study_name="s", storage=store.optuna)
    holding = sqlite3.connect(tmp_path / "nas.db", check_same_thread=False, isolation_level=None)
    holding.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(1.5, holding.commit)
    letting_go.start()
    began = time.monotonic()
    assert store.take_place(1, 1) == 1
    assert time.monotonic() - began > 1
    assert study.ask().number == 0
    letting_go.join()
    holding.close()
    closed(store)


# Opening an empty database


OPENERS = """
import os, sys, time
from paretonas.storage import Store
begin, errors = os.pipe(), os.pipe()
children = []
for number in range(6):
    if (child := os.fork()) == 0:
        os.close(begin[1])
        os.read(begin[0], 1)
        try:
            Store(sys.argv[1], worker=f"h/{number}/0/x").add_study("s", {})
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(1)
        os._exit(0)
    children.append(child)
time.sleep(0.2)
os.close(begin[1])
sys.exit(sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_processes_that_open_an_empty_database_in_the_same_moment_make_one(place: str) -> None:
    """Optuna's tables and ours are there once, with one version each and one study, and nobody fails."""
    done = subprocess.run(
        [sys.executable, "-c", OPENERS, place], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    for table in ("paretonas_schema", "version_info", "alembic_version", "paretonas_alembic_version"):
        assert ask(place, f"SELECT count(*) FROM {table}") == [(1,)]  # noqa: S608 - our own words
    assert ask(place, "SELECT name FROM paretonas_studies") == [("s",)]


# Who is who


def test_a_process_is_known_by_its_name() -> None:
    """It is there while it runs, and gone when it is killed, whether it was reaped or not."""
    assert me() == me()
    assert not is_gone(me())
    host, pid, start, place = me().split("/")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        theirs = (
            f"{host}/{child.pid}/{Path(f'/proc/{child.pid}/stat').read_text().rpartition(')')[2].split()[19]}/{place}"
        )
        assert not is_gone(theirs)
        child.kill()
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            time.sleep(0.01)
        assert is_gone(theirs)
    assert is_gone(theirs)
    assert is_gone(f"{host}/{pid}/{int(start) - 1}/{place}")  # an earlier process of the same number
    assert is_gone(f"{host}/{pid}/{int(start) - 1}/{place}/3")  # one of several workers of it
    assert not is_gone(f"elsewhere/{pid}/{int(start) - 1}/{place}")
    assert not is_gone(f"{host}/{pid}/{int(start) - 1}/other")  # another boot, or another container
    assert not is_gone("")


def test_a_name_of_an_earlier_release_is_understood() -> None:
    """Which had no place, and a start by the clock."""
    own = psutil.Process()
    host = me().split("/")[0]
    assert not is_gone(f"{host}/{own.pid}/{own.create_time():.2f}")
    assert is_gone(f"{host}/{own.pid}/{own.create_time() - 5:.2f}")
