"""The SQL store and the artifact folder: what is in the tables, and what is said when they cannot be used."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.artifacts import FileSystemArtifactStore, download_artifact, get_all_artifact_meta
from safetensors.torch import load_file, save_file
from sqlalchemy import make_url

import paretonas as pn
from paretonas.errors import StoreError
from paretonas.storage import Store


def file_of(store: Store) -> Path:
    return Path(make_url(store.url).database or "")


def rows(store: Store, query: str, *values: object) -> list[tuple[Any, ...]]:
    """Ask the database itself, past the package."""
    with closing(sqlite3.connect(f"file:{file_of(store)}?mode=ro", uri=True)) as connection:
        return connection.execute(query, values).fetchall()


def change(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


# What is in the tables


def test_every_measurement_is_a_row(small: pn.Study) -> None:
    """Accuracy, parameters, MACs and latency of each trial stand in the database as the trial says them."""
    for trial in small.trials:
        found = rows(
            small.store, "SELECT name, value FROM paretonas_measurements WHERE evaluation_id = ?", trial.evaluation.id
        )
        measured = dict(found)
        measured.pop("test_accuracy", None)  # other tests ask for it
        assert measured == {name: trial.values[name] for name in ("accuracy", "parameters", "macs", "latency_ms")}


CONDITIONS = ("backend", "version", "hardware", "threads", "batch", "precision")


def test_latency_is_kept_with_its_conditions(small: pn.Study) -> None:
    """Every latency has its spread and conditions beside it, and stands in one record of its network, whose samples
    say the same.
    """
    measured = rows(
        small.store,
        "SELECT e.deployed_key, m.value, m.detail FROM paretonas_measurements m"
        " JOIN paretonas_evaluations e ON e.id = m.evaluation_id WHERE m.name = 'latency_ms'",
    )
    assert len(measured) == 8
    for key, value, text in measured:
        detail = json.loads(text)
        record = small.store.latency(key, **{name: detail[name] for name in CONDITIONS})
        assert record is not None
        assert value == detail["latency_ms"] == record.latency_ms > 0
        assert 0 < record.p10_ms <= record.median_ms <= record.p90_ms
        assert min(record.samples) <= record.median_ms <= max(record.samples)
        assert (record.threads, record.batch, record.precision) == (1, 1, "float32")
        assert (record.input_shape, record.warm_up > 0) == ((1, 8, 8), True)
    networks = {key for key, _, _ in measured}
    assert rows(small.store, "SELECT count(*) FROM paretonas_latencies") == [(len(networks),)]


def test_the_clock_is_calibrated_once(small: pn.Study) -> None:
    """What the reference networks take stands in the database, for the hardware that measured."""
    clocks = rows(small.store, "SELECT hardware, threads, device, small_ms, large_ms FROM paretonas_clocks")
    measured_on = rows(small.store, "SELECT DISTINCT hardware FROM paretonas_latencies")
    assert len(clocks) == 1
    hardware, threads, device, small_ms, large_ms = clocks[0]
    assert ([(hardware,)], threads, device) == (measured_on, 1, "cpu")
    assert 0 < small_ms < large_ms


def test_every_evaluation_is_a_row(small: pn.Study) -> None:
    """State, seed, seconds, task, threads, worker, weights and keys of each trial stand in the database."""
    found = rows(
        small.store,
        "SELECT trial_number, state, seed, seconds, task, threads, worker, weights, key, architecture_key, deployed_key"
        " FROM paretonas_evaluations ORDER BY trial_number",
    )
    assert found == [
        (
            trial.number,
            "complete",
            small.definition.seed,
            trial.evaluation.seconds,
            "digits",
            small.definition.threads,
            trial.evaluation.worker,
            trial.evaluation.weights,
            trial.candidate.key,
            trial.candidate.architecture.key,
            trial.candidate.deployed.key,
        )
        for trial in small.trials
    ]
    assert all(seconds > 0 for _, _, _, seconds, *_ in found)


def test_architectures_stand_in_the_database_once(small: pn.Study) -> None:
    """Each network, before and after pruning, has one row under its key, from which it can be built."""
    stored = dict(rows(small.store, "SELECT key, description FROM paretonas_architectures"))
    wanted = {
        architecture.key: architecture
        for trial in small.trials
        for architecture in (trial.candidate.architecture, trial.candidate.deployed)
    }
    assert stored.keys() == wanted.keys()
    for key, description in stored.items():
        assert pn.Architecture.from_json(json.loads(description)) == wanted[key]


def test_learning_curves_stand_in_the_database(small: pn.Study) -> None:
    """An epoch of training, one of fine-tuning where channels left, numbered within their phase, in order."""
    for trial in small.trials:
        found = rows(
            small.store,
            "SELECT phase, number, loss, score, seconds FROM paretonas_epochs WHERE evaluation_id = ? ORDER BY id",
            trial.evaluation.id,
        )
        pruned = trial.candidate.deployed != trial.candidate.architecture
        assert [row[:2] for row in found] == [("train", 0), *([("finetune", 0)] if pruned else [])]
        assert found == [
            (point.phase, point.number, point.loss, point.score, point.seconds) for point in trial.learning_curve
        ]
        assert all(loss > 0 and 0 <= score <= 1 and seconds > 0 for _, _, loss, score, seconds in found)


def test_failures_stand_in_the_database(mixed: pn.Study) -> None:
    """A failed candidate has its kind, reason and time, and neither weights nor measurements."""
    found = rows(
        mixed.store,
        "SELECT e.kind, e.reason, e.seconds, e.weights, count(m.name) FROM paretonas_evaluations e"
        " LEFT JOIN paretonas_measurements m ON m.evaluation_id = e.id WHERE e.state = 'failed' GROUP BY e.id",
    )
    assert len(found) == 2
    for kind, reason, seconds, weights, measurements in found:
        assert kind == "out_of_memory"
        assert "allocate" in reason
        assert seconds > 0
        assert (weights, measurements) == (None, 0)


def test_the_definition_stands_in_the_database(small: pn.Study) -> None:
    """The study's row holds all that is needed to go on."""
    [(name, text)] = rows(small.store, "SELECT name, definition FROM paretonas_studies")
    assert name == "small"
    assert json.loads(text) == small.definition.to_json()


def test_optuna_has_the_same_values(small: pn.Study) -> None:
    """Optuna's tables, which the dashboard shows, say what ours say, with the objectives' names; but for times, which
    were measured again since.
    """
    assert small.optuna.metric_names == ["accuracy (share)", "parameters (count)", "latency_ms (per example)"]
    told = small.optuna.get_trials()
    for trial in small.trials:
        accuracy, parameters, latency = told[trial.number].values
        assert (accuracy, parameters) == (trial.values["accuracy"], trial.values["parameters"])
        assert latency == pytest.approx(trial.values["latency_ms"], rel=0.5)
        assert told[trial.number].user_attrs["network"] == str(trial.architecture)


# Weights


def test_weights_are_found_from_the_optuna_trial(small: pn.Study, tmp_path: Path) -> None:
    """Optuna's own functions list one artifact for each trial, whose tensors are those of ``load()``."""
    folder = FileSystemArtifactStore(small.store.artifacts.where)
    for trial in small.trials:
        told = small.optuna.get_trials()[trial.number]
        [meta] = get_all_artifact_meta(told, storage=small.store.optuna)
        assert meta.artifact_id == trial.evaluation.weights
        assert meta.filename == "net.safetensors"
        file = tmp_path / f"{trial.number}.safetensors"
        download_artifact(artifact_store=folder, artifact_id=meta.artifact_id, file_path=str(file))
        kept, loaded = load_file(file), trial.load().state_dict()
        assert kept.keys() == loaded.keys()
        assert all(torch.equal(kept[name], loaded[name]) for name in kept)


@pytest.mark.parametrize("artifact", ["../../etc/passwd", "/etc/passwd", "", "net.safetensors", "A" * 36])
def test_an_artifact_is_named_by_a_uuid(small: pn.Study, artifact: str) -> None:
    """No name that could lead out of the folder is opened."""
    with pytest.raises(StoreError, match="named by a UUID"):
        small.store.load_weights(artifact)


@pytest.fixture
def spoilt(url: str) -> tuple[pn.Study, Path]:
    """A study of one trial, and the file of its weights, for the test to spoil."""
    space = pn.MLPSpace(layers=1, widths=[4, 8], pruning=0.0, training=pn.TrainingSpace(epochs=1))
    study = pn.create_study("s", space=space, objectives=["accuracy", "macs"], storage=url)
    study.optimize(1, show_progress=False)
    return study, Path(study.store.artifacts.where) / str(study.trials[0].evaluation.weights)


@pytest.mark.parametrize("content", [None, b"", b"no tensors at all, but long enough for a header"])
def test_weights_that_cannot_be_read_are_named(spoilt: tuple[pn.Study, Path], content: bytes | None) -> None:
    """A file that is gone or that is no safetensors is one sentence with the artifact and its folder."""
    study, file = spoilt
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        study.trials[0].load()
    assert study.store.artifacts.where in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_refused(spoilt: tuple[pn.Study, Path]) -> None:
    """An artifact that was exchanged for one of another shape is an error of the store, in one sentence."""
    study, file = spoilt
    save_file({name: torch.zeros(3) for name in study.trials[0].load().state_dict()}, file)
    with pytest.raises(StoreError) as caught:
        study.trials[0].load()
    assert "\n" not in str(caught.value)


# What cannot be used


def refusal(place: str) -> str:
    """What is said when a store cannot be opened: one sentence, the same whether it may be created or not."""
    with pytest.raises(StoreError) as caught:
        Store(place)
    with pytest.raises(StoreError):
        pn.load_study(storage=place)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("place", ["sqlite://", "sqlite:///:memory:", "sqlite:///"])
def test_an_in_memory_database_is_refused(place: str) -> None:
    """A study in memory would be lost: the error asks for a file."""
    assert "name a file, such as sqlite:///paretonas.db" in refusal(place)


@pytest.mark.parametrize("place", ["", "nas.db", "sqlite", "nosuchdatabase://host/name"])
def test_a_malformed_url_is_refused(place: str) -> None:
    """The error repeats what came and shows what a URL looks like."""
    message = refusal(place)
    assert repr(place) in message
    assert "sqlite:///paretonas.db" in message


@pytest.mark.parametrize("place", ["oracle+cx_oracle://h/x", "sqlite+aiosqlite:///x.db"])
def test_a_driver_that_is_not_installed_is_named(place: str) -> None:
    """The error names the storage and the missing module."""
    message = refusal(place)
    assert place in message
    assert "No module named" in message


@pytest.mark.parametrize(
    "place",
    [
        "postgresql+psycopg://u:secret@127.0.0.1:1/x",
        "mysql://u:secret@127.0.0.1:1/x",
        "nosuchdatabase://u:secret@127.0.0.1/x",
        "postgresql+psycopg//u:secret@127.0.0.1/x",
        "postgresql+psycopg://u:secret@127.0.0.1:port/x",
    ],
)
def test_a_password_is_never_said(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with the URL, the message does not hold its password."""
    monkeypatch.setenv("PARETONAS_PATIENCE", "0.1")
    assert "secret" not in refusal(place)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """SQLite makes files, not folders."""
    file = tmp_path / "nowhere" / "nas.db"
    assert str(file) in refusal(f"sqlite:///{file}")
    assert not file.parent.exists()


def test_a_folder_where_a_file_is_expected_is_named(tmp_path: Path) -> None:
    """A folder is no database."""
    assert str(tmp_path) in refusal(f"sqlite:///{tmp_path}")


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    """A file of something else is not touched."""
    file = tmp_path / "notes.txt"
    file.write_text("these are notes, not a database\n" * 100)
    message = refusal(f"sqlite:///{file}")
    assert str(file) in message
    assert "not a database" in message
    assert file.read_text() == "these are notes, not a database\n" * 100


def test_loading_does_not_make_a_store(url: str, tmp_path: Path) -> None:
    """A missing file stays missing when a study, or a model, is asked for."""
    with pytest.raises(StoreError, match=r"there is no store at .*nas\.db"):
        pn.load_study("s", storage=url)
    with pytest.raises(StoreError, match=r"there is no store at .*nas\.db"):
        pn.load_model(url)
    assert list(tmp_path.iterdir()) == []


def test_tables_of_a_newer_release_are_refused(url: str) -> None:
    """The error gives both versions and what to do."""
    store = Store(url)
    change(file_of(store), "UPDATE paretonas_schema SET version = 99")
    message = refusal(url)
    assert "tables of version 99, this paretonas knows versions up to 5" in message


def test_optunas_tables_of_another_release_are_refused(url: str) -> None:
    """A database that Optuna cannot read is an error of the store too."""
    store = Store(url)
    change(file_of(store), "UPDATE version_info SET schema_version = 99")
    change(file_of(store), "UPDATE alembic_version SET version_num = 'v9.9.9'")
    assert url in refusal(url)


def test_an_existing_optuna_database_can_be_used(url: str) -> None:
    """Our tables are added beside those of an Optuna storage, whose studies stay."""
    optuna.create_study(study_name="theirs", storage=url)
    pn.create_study("ours", space=pn.MLPSpace(), storage=url)
    assert pn.load_study(storage=url).name == "ours"
    assert "theirs" in optuna.get_all_study_names(url)


def test_a_database_that_is_damaged_later_is_one_sentence(url: str) -> None:
    """What the database says while a study is used becomes a StoreError as well."""
    study = pn.create_study("s", space=pn.MLPSpace(), storage=url)
    change(file_of(study.store), "DROP TABLE paretonas_evaluations")
    with pytest.raises(StoreError) as caught:
        study.optimize(1, show_progress=False)
    assert "\n" not in str(caught.value)
    assert "no such table" in str(caught.value)
