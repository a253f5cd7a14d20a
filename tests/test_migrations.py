"""Stores of earlier releases: with their rows, empty, in SQLite and PostgreSQL, opened by one or by many."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from old_stores import ask, fill
from sqlalchemy import create_engine, inspect

import paretonas as pn
from paretonas.errors import StoreError
from paretonas.objectives import Digits
from paretonas.storage import LatencyRecord, Store
from paretonas.storage import migrations as steps
from paretonas.storage.rekeying import renew_keys

pytest_plugins = ["databases"]

NOW = 5


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The artifact folder of a store on a server is in the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def old(place: str) -> str:
    """A store that version 1 of the tables and of the definition made: a study of two trials (version1.sql)."""
    fill(place, "version1.sql")
    return place


@pytest.fixture
def leave(place: str) -> Callable[..., str]:
    """Make a store of a version, with its rows or with nothing in it."""

    def call(version: int, *, rows: bool) -> str:
        fill(place, f"version{1 if version == 2 else version}.sql", rows=rows)
        if version == 2:
            go_up(place, 1, 2)
            ask(place, f"DROP TABLE {steps.VERSIONS}")  # which the releases before Alembic have not
        assert ask(place, "SELECT version FROM paretonas_schema") == [(version,)]
        return place

    return call


def go_up(url: str, version: int, to: int) -> None:
    """Take some of the steps."""
    engine = create_engine(url)
    with engine.connect() as connection:
        steps.alone(connection)
        steps.upgrade(connection, version, to)
        connection.commit()
    engine.dispose()


def layout(url: str) -> dict[str, Any]:
    """Names and emptiness of columns, and what is indexed or unique, by table."""
    engine = create_engine(url)
    look = inspect(engine)
    names = [name for name in look.get_table_names() if name.startswith("paretonas_")]
    found: dict[str, Any] = {}
    for name in names:
        indexes: list[Any] = [*look.get_indexes(name)]
        indexes += [{**each, "unique": True} for each in look.get_unique_constraints(name)]
        found[name] = (
            {(column["name"], column["nullable"]) for column in look.get_columns(name)},
            {(tuple(each["column_names"]), bool(each["unique"])) for each in indexes},
            {(tuple(each["constrained_columns"]), each["referred_table"]) for each in look.get_foreign_keys(name)},
        )
    engine.dispose()
    return found


def plain(value: Any) -> Any:
    """A JSON column, which SQLite gives as text."""
    return json.loads(value) if isinstance(value, str) else value


# Every version


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "empty"])
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_an_old_store_has_the_tables_of_a_new_one(
    leave: Callable[..., str], tmp_path: Path, *, version: int, rows: bool
) -> None:
    """The same tables, columns and indexes, the rows that there were, and all that is new can be kept in it."""
    url = leave(version, rows=rows)
    before = ask(url, "SELECT count(*) FROM paretonas_evaluations")
    store = Store(url)
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    Store(fresh)
    assert layout(url) == layout(fresh)
    assert ask(url, "SELECT version FROM paretonas_schema") == [(NOW,)]
    assert ask(url, "SELECT version_num FROM paretonas_alembic_version") == [(str(NOW),)]
    assert ask(url, "SELECT count(*) FROM paretonas_evaluations") == before
    assert (before > [(0,)]) == rows
    network = pn.MLPSpace().sample(pn.DataSpec((1, 8, 8), 10)).architecture
    store.keep_latency(network, record())
    store.keep_clock("cpu", 1, "2", "cpu", small_ms=0.25, large_ms=1.0, host="h")
    store.add_study("new", {})
    found = store.definition("new")
    assert found is not None
    assert store.take_place(found[0], 1) is not None
    store.enlist(found[0], 60)
    assert [worker.name for worker in store.workers(found[0])] == [store.worker]


def test_what_a_worker_of_version_4_left_can_be_taken_up(leave: Callable[..., str]) -> None:
    """Its evaluation in training has its epoch and its candidate, and files of its own; its place can be freed."""
    url = leave(4, rows=True)
    store = Store(url)
    running, place = store.held(1)
    assert (running.state, running.attempts, running.alive) == ("running", 1, None)
    assert (place.state, place.worker, running.worker) == ("open", "vm/1/1795338208.41", "vm/1/1795338208.41")
    assert store.take_up(running.evaluation, of=running.worker, died=True)
    taken = store.evaluation(running.evaluation)
    assert (taken.attempts, [point.score for point in store.curve(taken.id)]) == (2, [0.25])
    assert len({each.token for each in store.evaluations(1)} - {""}) == 3
    assert store.give_back(place.evaluation, of=place.worker)
    assert store.counts(1) == {"complete": 2, "running": 1}


def test_the_front_of_an_old_study_is_not_known_to_the_store(leave: Callable[..., str]) -> None:
    """Until it is set; that of a new study is, and has nothing on it."""
    store = Store(leave(4, rows=True))
    assert store.front_ids(1) is None
    store.set_front(1, [2])
    assert store.front_ids(1) == [2]
    store.add_study("new", {})
    found = store.definition("new")
    assert found is not None
    assert store.front_ids(found[0]) == []


def test_epochs_that_are_there_twice_are_kept_once(leave: Callable[..., str]) -> None:
    """The first of them, whoever wrote the others past the package."""
    url = leave(4, rows=True)
    epochs = "evaluation_id, phase, number, loss, score, seconds"
    ask(url, f"INSERT INTO paretonas_epochs (id, {epochs}) SELECT id + 100, {epochs} FROM paretonas_epochs")  # noqa: S608 - our own words
    before = ask(url, "SELECT count(*) FROM paretonas_epochs WHERE id < 100")
    Store(url)
    assert ask(url, "SELECT count(*) FROM paretonas_epochs") == before
    assert ask(url, "SELECT max(id) FROM paretonas_epochs") < [(100,)]


def test_a_latency_of_version_3_has_its_new_name(leave: Callable[..., str]) -> None:
    """What was ``onnx_latency_ms`` is ``latency:onnxruntime``, with value and conditions; the rest stays as it was."""
    url = leave(3, rows=True)
    query = "SELECT evaluation_id, name, value, detail FROM paretonas_measurements ORDER BY evaluation_id, name"
    before = ask(url, query)
    first, second = Store(url).evaluations(1)
    assert first.values == {
        "accuracy": pytest.approx(0.35555556),
        "parameters": 618,
        "macs": 592,
        "latency_ms": pytest.approx(0.07158128),
        "latency:onnxruntime": pytest.approx(0.03925615),
    }
    assert second.values.keys() == first.values.keys()
    assert second.details["latency:onnxruntime"]["backend"] == "onnxruntime 1.31.1"
    renamed = [(i, name.replace("onnx_latency_ms", "latency:onnxruntime"), *rest) for i, name, *rest in before]
    assert ask(url, query) == sorted(renamed, key=lambda row: row[:2])


def test_an_old_clock_is_forgotten(leave: Callable[..., str]) -> None:
    """It had one reference network: figures of the new one do not compare with its own."""
    url = leave(3, rows=True)
    assert ask(url, "SELECT name, threads FROM paretonas_hosts") == [("vm", 1)]
    Store(url)
    assert "paretonas_hosts" not in layout(url)
    assert ask(url, "SELECT * FROM paretonas_clocks") == []


def test_a_network_that_leaves_takes_its_latencies_along(old: str) -> None:
    """Renewing keys deletes what no evaluation uses, whatever was measured of it; what is used keeps its latency."""
    store = Store(old)
    used = store.evaluations(1)[0].deployed
    unused = pn.ConvSpace().sample(pn.DataSpec((1, 8, 8), 10)).architecture
    for network in (used, unused):
        store.keep_latency(network, record())
    with store.optuna.engine.begin() as connection:
        renew_keys(connection)
    assert ask(old, "SELECT architecture_key FROM paretonas_latencies") == [(used.key,)]


def record() -> LatencyRecord:
    return LatencyRecord(
        latency_ms=0.5,
        noise=0.01,
        median_ms=0.6,
        p10_ms=0.5,
        p90_ms=0.9,
        samples=(0.5, 0.75),
        warm_up=3,
        seconds=0.1,
        input_shape=(1, 8, 8),
        together=1,
        run="r",
        host="h",
        backend="torch",
        version="2",
        hardware="cpu",
        threads=1,
        batch=1,
        precision="float32",
    )


# Version 1


def test_a_store_of_version_1_is_brought_up_to_date(old: str) -> None:
    """Trials, values and learning curves are what they were, and the version is the present one."""
    study = pn.load_study(storage=old)
    assert [trial.values for trial in study.trials] == [
        {"accuracy": 0.6, "parameters": 542, "macs": 518},
        {"accuracy": 0.3, "parameters": 162, "macs": 148},
    ]
    assert [(point.phase, point.number) for point in study.trials[0].learning_curve] == [
        ("train", 0),
        ("train", 1),
        ("finetune", 0),
    ]
    assert [trial.learning_curve[-1].score for trial in study.trials] == [0.6, 0.3]
    assert study.trials[0].test_metrics() == {"test_accuracy": pytest.approx(0.59166667)}
    assert study.definition.task == Digits()
    assert study.definition.objectives == ("accuracy", "parameters")
    assert ask(old, "SELECT version FROM paretonas_schema") == [(NOW,)]


def test_a_study_of_version_1_goes_on(old: str) -> None:
    """The same call in this release opens it and adds to it."""
    space = pn.MLPSpace(
        layers=1, widths=[4, 8], activations=["relu"], training=pn.TrainingSpace(epochs=2, finetune_epochs=1)
    )
    study = pn.create_study("old", space=space, objectives=["accuracy", "parameters"], storage=old)
    for known in study.trials:
        study.optuna.enqueue_trial(study.optuna.get_trials()[known.number].params)
    study.optimize(3, show_progress=False)
    assert [trial.state for trial in study.trials] == ["complete"] * 3
    assert len({trial.candidate.key for trial in study.trials}) == 3
    assert study.trials[2].learning_curve
    assert [told.user_attrs.get("duplicate_of") for told in study.optuna.get_trials()[:4]] == [None, None, 0, 1]


def test_keys_of_version_1_are_those_of_this_release(old: str) -> None:
    """Candidates and networks are found under their keys, with all their numbers, and no other network is left."""
    Store(old)
    found = ask(old, "SELECT candidate, key, architecture_key, deployed_key FROM paretonas_evaluations")
    networks = dict(ask(old, "SELECT key, description FROM paretonas_architectures"))
    used = set()
    for data, *keys in found:
        candidate = pn.Candidate.from_json(plain(data))
        assert plain(data) == candidate.to_json()
        assert keys == [candidate.key, candidate.architecture.key, candidate.deployed.key]
        used |= set(keys[1:])
        for network in (candidate.architecture, candidate.deployed):
            assert plain(networks[network.key]) == network.to_json()
    assert networks.keys() == used


def test_a_candidate_of_version_1_that_cannot_be_read_stays(old: str) -> None:
    """It keeps its row, and the others are brought up to date."""
    spoil(old, "replace(candidate, 'linear', 'curve')", "replace(candidate::text, 'linear', 'curve')::json")
    query = "SELECT key, architecture_key, deployed_key, candidate FROM paretonas_evaluations ORDER BY id"
    before = ask(old, query)
    Store(old)
    after = ask(old, query)
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert ask(old, "SELECT count(key) FROM paretonas_architectures") == [(4,)]


def test_equal_candidates_of_version_1_do_not_collide(old: str) -> None:
    """The first has the key, the second stays as it was."""
    ask(
        old,
        "UPDATE paretonas_evaluations SET candidate = (SELECT candidate FROM paretonas_evaluations WHERE id = 1)"
        " WHERE id = 2",
    )
    Store(old)
    first = pn.load_study(storage=old).trials[0].candidate
    keys = ask(old, "SELECT key FROM paretonas_evaluations ORDER BY id")
    assert keys == [(first.key,), ("873b9aeddba4e32df55847cd262c34a5",)]


def spoil(url: str, sqlite: str, postgresql: str) -> None:
    """Change the first candidate, by an expression of each database."""
    change = sqlite if url.startswith("sqlite") else postgresql
    ask(url, f"UPDATE paretonas_evaluations SET candidate = {change} WHERE id = 1")  # noqa: S608 - our own words


# Several at once, and a step that fails


def test_an_old_store_that_many_open_at_once_is_migrated_once(old: str) -> None:
    """Each has a connection of its own; whoever comes second waits and finds nothing to do."""
    with ThreadPoolExecutor(8) as pool:
        lengths = pool.map(lambda _: len(Store(old).curve(1)), range(8))
        assert list(lengths) == [3] * 8
    assert ask(old, "SELECT version FROM paretonas_schema") == [(NOW,)]


@pytest.mark.parametrize("step", ["v2_scores", "v3_quantized", "v4_latencies", "v5_workers"])
def test_a_migration_that_fails_changes_nothing(old: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps are one transaction, so the tables are as they were; the next start takes all of them."""
    before = layout(old)
    with monkeypatch.context() as patch:
        folder = shutil.copytree(steps.REVISIONS, Path("revisions"))
        file = folder / "versions" / f"{step}.py"
        with file.open("a", encoding="utf-8") as more:
            more.write("\n\n_first = upgrade\ndef upgrade():\n    _first()\n    op.execute('DROP TABLE nowhere')\n")
        patch.setattr(steps, "REVISIONS", folder)
        with pytest.raises(StoreError, match="nowhere"):
            Store(old)
    assert ask(old, "SELECT version FROM paretonas_schema") == [(1,)]
    assert layout(old) == before
    assert pn.load_study(storage=old).trials[0].learning_curve[0].score == pytest.approx(0.40555556)
    assert "paretonas_hosts" not in layout(old)


def test_a_store_of_a_newer_release_is_refused_and_left_alone(place: str) -> None:
    """In one sentence with both versions, by this release and by those before Alembic, which look at one table."""
    Store(place)
    ask(place, "UPDATE paretonas_schema SET version = 6")
    ask(place, "UPDATE paretonas_alembic_version SET version_num = '6'")
    before = layout(place)
    with pytest.raises(StoreError, match=rf"has tables of version 6, this paretonas knows .* up to {NOW}"):
        Store(place)
    assert layout(place) == before
