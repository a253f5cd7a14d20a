"""Stores of earlier releases: with their rows, empty, in SQLite and PostgreSQL, opened by one or by many."""

import json
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

pytest_plugins = ["databases"]

NOW = 4


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
def leave(place: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Make a store of a version, with a study of two trials or with nothing in it."""

    def call(version: int, *, rows: bool) -> str:
        fill(place, "version3.sql" if version == 3 else "version1.sql", rows=rows)
        if version == 2:
            engine = create_engine(place)
            with monkeypatch.context() as patch:
                patch.setattr(steps, "SCHEMA_VERSION", 2)
                steps.migrate(engine, 1)
            engine.dispose()
        assert ask(place, "SELECT version FROM paretonas_schema") == [(version,)]
        return place

    return call


def layout(url: str) -> dict[str, set[Any]]:
    """Names of columns, and whether they may be empty, by table."""
    engine = create_engine(url)
    look = inspect(engine)
    names = [name for name in look.get_table_names() if name.startswith("paretonas_")]
    found = {name: {(column["name"], column["nullable"]) for column in look.get_columns(name)} for name in names}
    engine.dispose()
    return found


def plain(value: Any) -> Any:
    """A JSON column, which SQLite gives as text."""
    return json.loads(value) if isinstance(value, str) else value


# Every version


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "empty"])
@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_old_store_has_the_tables_of_a_new_one(
    leave: Callable[..., str], tmp_path: Path, *, version: int, rows: bool
) -> None:
    """The same tables and columns, the rows that there were, and all that is new can be kept in it."""
    url = leave(version, rows=rows)
    store = Store(url)
    fresh = f"sqlite:///{tmp_path / 'fresh.db'}"
    Store(fresh)
    assert layout(url) == layout(fresh)
    assert ask(url, "SELECT version FROM paretonas_schema") == [(NOW,)]
    assert ask(url, "SELECT count(*) FROM paretonas_evaluations") == [(2 if rows else 0,)]
    network = pn.MLPSpace().sample(pn.DataSpec((1, 8, 8), 10)).architecture
    store.keep_latency(network, record())
    store.keep_clock("cpu", 1, "2", "cpu", small_ms=0.25, large_ms=1.0, host="h")
    store.add_study("new", {})
    found = store.definition("new")
    assert found is not None
    assert store.take_place(found[0], 1, worker="h/1/0", host="h") is not None


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
        steps.renew_keys(connection)
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
    query = "SELECT * FROM paretonas_evaluations ORDER BY id"
    before = ask(old, query)
    Store(old)
    after = ask(old, query)
    assert after[0] == (*before[0], None)  # a column more: the int8 model, which it has not
    assert after[1] != (*before[1], None)
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


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_migration_that_fails_changes_nothing(old: str, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is one transaction: the version and the tables stay together, and the next start goes on from there."""
    monkeypatch.setitem(steps.STEPS, step, (*steps.STEPS[step], "ALTER TABLE nowhere RENAME COLUMN accuracy TO score"))
    with pytest.raises(StoreError, match="nowhere"):
        Store(old)
    assert ask(old, "SELECT version FROM paretonas_schema") == [(step,)]
    assert "paretonas_hosts" in layout(old)
    monkeypatch.setitem(steps.STEPS, step, steps.STEPS[step][:-1])
    assert pn.load_study(storage=old).trials[0].learning_curve[0].score == pytest.approx(0.40555556)
    assert "paretonas_hosts" not in layout(old)
