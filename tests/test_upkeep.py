"""Looking after a study and a store: status, stop, doctor, which weights are kept, odd names, and no passwords."""

import json
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import update

import paretonas as pn
from paretonas.errors import StoreError, StudyError, UsageError
from paretonas.search.keeping import let_go
from paretonas.storage import Store
from paretonas.storage.artifact_store import VIEW, slots_of
from paretonas.storage.tables import EvaluationRow
from paretonas.storage.upkeep import files, referring

pytest_plugins = ["databases"]

Cli = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
SPACE = pn.MLPSpace(layers=1, widths=[4, 8, 16, 32], pruning=0.0, training=pn.TrainingSpace(epochs=1))
COUNTED = ["accuracy", "parameters"]
SEARCH = ("run", "--space", "mlp", "--objectives", "accuracy,parameters", "--quiet")


@pytest.fixture
def study(url: str) -> pn.Study:
    """A finished study of three trials."""
    made = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    made.optimize(3, show_progress=False)
    return made


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    """What it gives, once it gives something."""
    until = time.monotonic() + seconds
    while True:
        with suppress(StudyError, StoreError):
            if found := what():
                return found
        assert time.monotonic() < until
        time.sleep(0.1)


# Status and stop


def test_status_of_a_finished_study(small: pn.Study, cli: Cli) -> None:
    """Counts, the front, what was asked for, and the room that it takes; the command prints the same."""
    found = small.status()
    assert found.trials == {"complete": 8} | {
        state: count for state, count in found.trials.items() if state != "complete"
    }
    assert (found.finished, found.total, found.alive) == (sum(found.trials.values()), 8, 0)
    assert found.front == len(small.pareto_front)
    folder = Path(small.store.artifacts.where)
    kept = {file.id for file in files(small.store) if file.evaluation is not None}
    assert found.artifact_bytes == sum((folder / name).stat().st_size for name in kept)
    assert found.database_bytes is not None
    assert found.database_bytes >= Path(small.store.url.removeprefix("sqlite:///")).stat().st_size
    assert (found.per_hour, found.seconds_left, found.asked_to_stop) == (None, None, False)
    assert [worker.state for worker in found.workers] == ["ended"]
    printed = json.loads(cli("status", "--json", "--storage", small.store.url).stdout)
    volatile = {"database_bytes", "free_bytes"}
    assert {name: value for name, value in printed.items() if name not in volatile} == {
        name: value for name, value in json.loads(json.dumps(found.to_json())).items() if name not in volatile
    }
    said = cli("status", "--storage", small.store.url).stdout
    assert f"{found.finished} of 8, {found.front} on the front" in said
    assert "0 alive" in said


def test_status_counts_failures_by_kind(mixed: pn.Study) -> None:
    """What did not come to a result is counted by its kind."""
    found = mixed.status()
    assert found.failures == {"out_of_memory": 2}
    assert (found.trials["complete"], found.trials["failed"]) == (4, 2)


@pytest.mark.slow
def test_a_living_worker_a_dead_one_and_the_doctor(url: str, start: Start, cli: Cli) -> None:
    """A worker shows while it lives, and as dead at once when it was killed; the doctor frees what it had; the search
    goes on to its end with nothing lost.
    """
    begin = (*SEARCH, "--storage", url, "--trials", "4", "--epochs")
    process = start(*begin, "4000")  # so long that it is killed in its midst
    found = wait_for(lambda: (s := pn.load_study(storage=url).status()).trials.get("running") and s)
    assert (found.alive, found.total) == (1, 4)
    [worker] = found.workers
    assert (worker.state, worker.trial) == ("alive", 0)
    assert cli("doctor", "--storage", url).returncode == 0  # what runs is left alone
    process.kill()
    process.wait()
    assert [one.state for one in pn.load_study(storage=url).status().workers] == ["dead"]
    sick = cli("doctor", "--storage", url)
    assert sick.returncode == 1
    assert "worker: the study 'digits-mlp': " in sick.stdout
    assert "ghost: trial 0 of the study 'digits-mlp': running, in the hands of " in sick.stdout
    mended = json.loads(cli("doctor", "--fix", "--json", "--storage", url).stdout)
    assert [(one["kind"], one["fixed"]) for one in mended] == [("worker", True), ("ghost", True)]
    assert pn.doctor(url) == []
    [held] = pn.load_study(storage=url).store.held(1)
    assert (held.state, held.worker, held.attempts) == ("running", "", 2)


@pytest.mark.long
def test_stop_ends_workers_after_their_trial(url: str, start: Start, cli: Cli) -> None:
    """Its trial comes to its end, nothing new begins, helpers are refused, and running again goes on to the total."""
    command = (*SEARCH, "--storage", url, "--epochs", "2", "--trials", "500")
    process = start(*command)
    wait_for(lambda: pn.load_study(storage=url).trials)
    stopped = cli("stop", "--storage", url)
    assert stopped.returncode == 0
    assert "was asked to stop" in stopped.stdout
    assert process.wait(60) == 0
    study = pn.load_study(storage=url)
    done = study.status()
    assert done.asked_to_stop
    assert 0 < done.finished < 500
    assert done.finished == sum(done.trials.values())  # nothing is open or running
    assert not study.optuna.get_trials(states=(TrialState.RUNNING,))
    refused = cli("worker", "--storage", url, "--trials", "500")
    assert (refused.returncode, "was asked to stop" in refused.stderr) == (1, True)
    study.optimize(done.finished + 1, show_progress=False)
    assert study.status().finished == done.finished + 1
    assert not study.status().asked_to_stop


# The doctor


def test_nothing_is_wrong_with_a_store_that_was_left_alone(small: pn.Study, cli: Cli) -> None:
    """Exit 0 and one line."""
    answer = cli("doctor", "--storage", small.store.url)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "nothing is wrong\n", "")


def kinds(url: str, *, fix: bool = False) -> list[tuple[str, bool]]:
    return [(finding.kind, finding.fixed) for finding in pn.doctor(url, fix=fix)]


@pytest.mark.parametrize("fault", ["gone", "changed", "shorter"])
def test_lost_weights_are_found_and_taken_out(study: pn.Study, url: str, fault: str) -> None:
    """The trial keeps its figures, says that it has no weights, and what to do; the others are as they were."""
    trial = study.pick("best")
    file = Path(study.store.artifacts.where) / str(trial.evaluation.weights)
    content = file.read_bytes()
    if fault == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-1] + b"?" if fault == "changed" else content[:-1])
    assert kinds(url) == [("weights", False)]
    with pytest.raises(StoreError, match=str(trial.evaluation.weights)):
        trial.load()
    assert kinds(url, fix=True) == [("weights", True)]
    assert pn.doctor(url) == []
    assert not file.exists()
    after = pn.load_study(storage=url).pick(trial.number)
    assert after.values == trial.values
    with pytest.raises(StudyError, match=rf"trial {trial.number} has no weights: they were lost.*study.train"):
        after.load()


def test_a_folder_that_is_elsewhere_is_no_loss(study: pn.Study, url: str, tmp_path: Path) -> None:
    """Where no file is there, it is the place that is wrong: nothing is taken out."""
    [finding] = pn.doctor(url, artifacts=tmp_path / "elsewhere", fix=True)
    assert (finding.kind, finding.fixed) == ("place", False)
    assert "--artifacts" in str(finding)
    assert pn.doctor(url) == []
    assert study.pick("best").load() is not None


def test_files_of_nobody_are_found_and_removed(study: pn.Study, url: str) -> None:
    """Also what was not written to its end, and checkpoints of what has ended; what people uploaded stays."""
    store, folder = study.store, Path(study.store.artifacts.where)
    orphan, upload, half = str(uuid4()), str(uuid4()), str(uuid4())
    [token] = {one.token for one in referring(store) if one.trial_number == 0}
    for name in (orphan, upload, slots_of(token)[1]):
        store.artifacts.write(name, b"content")
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / f"{half}.dead").write_bytes(b"ha")
    (folder / "README").write_text("of the user")
    said = {"artifact_id": upload, "filename": "photo.png", "mimetype": "image/png", "encoding": None}
    study.optuna._storage.set_study_system_attr(study.optuna._study_id, f"artifacts:{upload}", json.dumps(said))
    assert sorted(kinds(url)) == [("checkpoint", False), ("orphan", False), ("orphan", False)]
    assert sorted(kinds(url, fix=True)) == [("checkpoint", True), ("orphan", True), ("orphan", True)]
    assert pn.doctor(url) == []
    left = {file.name for file in folder.iterdir() if file.is_file()} - views_of(study)
    assert left == {upload, "README", *(str(trial.evaluation.weights) for trial in study.trials)}
    assert not list((folder / "parts").iterdir())


def test_a_checkpoint_of_what_runs_is_left_alone(url: str) -> None:
    """So are weights that are not referred to yet; when the trial has ended without them they are left over."""
    store = Store(url, worker="elsewhere/1/2/3")
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url)
    place = store.take_place(study.id, 1)
    assert place is not None
    store.save_checkpoint(place, b"state")
    store.save_artifact(place, "net.safetensors", b"weights")
    assert pn.doctor(url, fix=True) == []
    assert store.checkpoint(place) == b"state"
    with store.session() as session:
        session.execute(update(EvaluationRow).where(EvaluationRow.id == place).values(state="failed"))
        session.commit()
    assert kinds(url, fix=True) == [("leftover", True)]
    assert list(store.artifacts.kept()) == []


def test_a_store_that_names_files_elsewhere_is_refused(study: pn.Study, url: str, tmp_path: Path) -> None:
    """A path in the place of an id is found by the doctor, and is neither read nor removed."""
    secret = tmp_path / "secret"
    secret.write_text("of the user")
    with study.store.session() as session:
        bent = update(EvaluationRow).where(EvaluationRow.trial_number == 0).values(weights="../secret")
        session.execute(bent)
        session.commit()
    trial = next(one for one in pn.load_study(storage=url).trials if one.number == 0)
    with pytest.raises(StoreError, match="named by a UUID"):
        trial.load()
    found = pn.doctor(url, fix=True)
    assert "weights: trial 0 of 's': the file ../secret is outside of the artifact store (fixed)" in map(str, found)
    assert secret.read_text() == "of the user"
    assert pn.doctor(url) == []


def test_trials_that_optuna_was_not_told_of_are_found_and_told(study: pn.Study, url: str) -> None:
    """A proposal of a process that died is closed; what ended in the store ends in Optuna's tables too."""
    ghost = study.optuna.ask()
    storage, identity = study.store.optuna, ghost._trial_id
    storage.set_trial_system_attr(identity, "paretonas:worker", "elsewhere/1/2/3 a-token")
    assert pn.doctor(url) == []  # of another host: nobody here can tell
    mine = pn.Study(Store(url), study.id, study.name, study.definition).store.worker
    host, _, _, place = mine.split("/")
    storage.set_trial_system_attr(identity, "paretonas:worker", f"{host}/4194300/1/{place} a-token")
    [finding] = pn.doctor(url)
    assert str(finding) == "ghost: trial 3 of the study 's': RUNNING for Optuna, but nobody proposes it any more"
    assert kinds(url, fix=True) == [("ghost", True)]
    assert study.optuna.get_trials()[ghost.number].state == TrialState.FAIL
    assert pn.doctor(url) == []


# Which weights are kept


def weights_of(study: pn.Study) -> set[str]:
    """All files but those for people."""
    return {kept.name for kept in study.store.artifacts.kept()} - views_of(study)


def views_of(study: pn.Study) -> set[str]:
    return {file.id for file in files(study.store) if file.name.startswith(VIEW)}


def test_keep_front_keeps_those_of_the_front(url: str, cli: Cli) -> None:
    """After each trial the folder has the front's weights and no others; the figures of all stay."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, keep="front", sampler="random")
    for total in range(1, 5):
        study.optimize(total, show_progress=False)
        assert weights_of(study) == {str(trial.evaluation.weights) for trial in study.pareto_front}
    others = {trial.number for trial in study.trials} - {trial.number for trial in study.pareto_front}
    assert others
    for number in others:
        with pytest.raises(StudyError, match=r"keeps those of its front only: paretonas train"):
            study.pick(number).load()
    assert pn.doctor(url) == []
    shown = cli("pick", str(min(others)), "--storage", url, "--json")
    assert shown.returncode == 0
    assert "test_accuracy" not in json.loads(shown.stdout)["values"]
    again = study.train(min(others), seed=7)
    assert again.values["parameters"] == study.pick(min(others)).values["parameters"]


def test_keep_none_keeps_nothing(url: str) -> None:
    """Figures only."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, keep="none")
    study.optimize(3, show_progress=False)
    assert weights_of(study) == set()
    with pytest.raises(StudyError, match="the study keeps none"):
        study.pick("best").load()
    assert pn.doctor(url) == []


def test_weights_that_another_study_took_over_or_learns_from_stay(url: str) -> None:
    """A file goes when the last one that has it lets it go, and not while it teaches."""
    first = pn.create_study("first", space=SPACE, objectives=COUNTED, storage=url, keep="none")
    first.definition.__dict__["keep"] = "all"  # as if it were letting go later
    first.optimize(4, show_progress=False)
    taught = pn.TrainingSpace(epochs=1, distillation=0.5)
    pupil = pn.MLPSpace(layers=1, widths=[4, 8], pruning=0.0, training=taught)
    pn.create_study("pupil", space=pupil, objectives=COUNTED, storage=url, teacher="first:2")
    second = pn.create_study("second", space=SPACE, objectives=COUNTED, storage=url)
    second.optimize(4, show_progress=False)
    reused = {str(trial.evaluation.weights) for trial in second.trials if trial.evaluation.reused is not None}
    assert reused
    let_go(pn.load_study("first", storage=url))
    teacher = str(next(trial for trial in first.trials if trial.number == 2).evaluation.weights)
    own = {str(trial.evaluation.weights) for trial in second.trials}
    assert weights_of(first) == {teacher, *reused, *own}
    assert pn.doctor(url) == []
    for trial in second.trials:
        assert trial.load() is not None


def test_a_parent_stays_while_its_child_is_trained(url: str) -> None:
    """What a running candidate began with is not let go of, though it left the front."""
    study = pn.create_study("s", space=SPACE, objectives=COUNTED, storage=url, keep="none")
    study.definition.__dict__["keep"] = "all"
    study.optimize(2, show_progress=False)
    parent = study.trials[0]
    before = weights_of(study)
    seen: list[set[str]] = []

    def look(_: object) -> None:
        let_go(pn.load_study(storage=url))
        seen.append(weights_of(study))

    child = study.shrink(parent.number, pruning=0.5, finetune_epochs=1, on_epoch=look)
    assert seen == [{str(parent.evaluation.weights)}]
    assert before > seen[0]
    let_go(pn.load_study(storage=url))
    assert weights_of(study) == set()
    assert child.inherited


# Names and passwords

ODD = ['it\'s "quoted" a/b\\c ../up %s {0} [red]', "-x --json", "caf\u00e9 \U0001f680 \u65e5\u672c", "a:1", "x" * 200]


@pytest.mark.parametrize("place", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_odd_names_of_studies_work(place: str, cli: Cli, tmp_path: Path) -> None:
    """On each database: made, gone on with by the command line, shown, and found by Optuna."""
    nets = str(tmp_path / "nets")
    for name in ODD:
        study = pn.create_study(name, space=SPACE, objectives=COUNTED, storage=place, artifacts=nets)
        study.optimize(1, show_progress=False)
        given = (f"--study={name}", "--storage", place, "--artifacts", nets)
        assert json.loads(cli("status", "--json", *given).stdout)["finished"] == 1
        assert name[:20] in cli("front", *given).stdout
        assert name[:20] in cli("status", *given).stdout
        told = optuna.load_study(study_name=name, storage=study.store.optuna)
        assert told.user_attrs["asked"]["n_trials"] == 1
    assert cli("worker", f"--study={ODD[1]}", "--trials", "2", "--quiet", *given[1:]).returncode == 0
    assert len(pn.load_study(ODD[1], storage=place, artifacts=nets).trials) == 2
    assert pn.load_study(ODD[2], storage=place, artifacts=nets).pick("best").load() is not None


@pytest.mark.parametrize("name", ["", "x" * 201, "a\0b", "a\nb", "\ud800", "\x1b[31m"])
def test_names_that_no_database_takes_are_refused(name: str, url: str) -> None:
    """One sentence that can be printed."""
    with pytest.raises(UsageError) as caught:
        pn.create_study(name, space=SPACE, storage=url)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("place", ["postgresql"], indirect=True)
def test_a_password_is_shown_nowhere(
    place: str, cli: Cli, tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by a command that works nor by one that fails, nor in what it writes or starts."""
    secret = "p%40ss-of-mine"  # noqa: S105 - of nobody
    with_password = place.replace("tests@", f"tests:{secret}@")
    given = ("--storage", with_password, "--artifacts", str(tmp_path / "nets"))
    said = [
        cli(*SEARCH, *given, "--trials", "1", "--epochs", "1"),
        cli("status", "--json", *given),
        cli("doctor", *given),
        cli("export", *given, "--to", str(tmp_path / "out")),
        cli("front", *given, "--study", "another"),
    ]
    monkeypatch.setenv("PARETONAS_PATIENCE", "0.1")
    said += [
        cli("status", "--storage", with_password.replace("host=", "host=/nowhere")),
        cli("status", "--storage", f"postgresql+psycopg://tests@/nothing?host={tmp_path}&password={secret}"),
    ]
    assert [(answer.returncode, answer.stderr) for answer in said[:4]] == [(0, "")] * 4
    assert [answer.returncode for answer in said[4:]] == [1] * 3
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    for text in (
        *(answer.stdout + answer.stderr for answer in said),
        *map(repr, (pn.load_study(storage=with_password),)),
    ):
        assert "of-mine" not in text
    assert not any(b"of-mine" in content for content in written)
    monkeypatch.delenv("PARETONAS_PATIENCE")
    monkeypatch.setenv("PARETONAS_STORAGE", with_password)
    process = start(*SEARCH, "--study", "more", "--trials", "100", "--workers", "2", *given[2:])
    children = wait_for(lambda: [text for text in _commands(process.pid) if " worker " in text])
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert not any("of-mine" in text for text in (*children, err))


def _commands(parent: int) -> list[str]:
    import psutil

    return [f"{' '.join(child.cmdline())} " for child in psutil.Process(parent).children(recursive=True)]
