"""Files of evaluations: in a folder and in a bucket, whole or not there, known to the database, and of one writer."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import torch
from optuna.artifacts import download_artifact, get_all_artifact_meta
from safetensors.torch import load_file

import paretonas as pn
from paretonas.errors import LeaseLost, StoreError
from paretonas.storage import Store
from paretonas.storage.artifact_store import SLOTS, slots_of
from paretonas.storage.artifacts import PARTS, Artifacts, Folder, artifacts_at
from paretonas.storage.upkeep import files

SPACE = pn.MLPSpace(layers=1, widths=[4, 8, 16], pruning=0.0, training=pn.TrainingSpace(epochs=1))
LARGE = 20_000_000  # bytes: a write that can be killed in its midst


@pytest.fixture(scope="module")
def s3() -> Iterator[None]:
    """A server of moto with a bucket ``nets``, which is what boto3 talks to meanwhile."""
    pytest.importorskip("moto")
    boto3 = pytest.importorskip("boto3")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    said = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key-of-tests",
        "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
    }
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**said, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(port)
            boto3.client("s3").create_bucket(Bucket="nets")
            yield
        finally:
            server.kill()
            server.wait()


def _wait(port: int) -> None:
    until = time.monotonic() + 60
    while True:
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.fixture(params=["folder", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place of each kind, not made yet."""
    if request.param == "folder":
        return str(tmp_path / "artifacts")
    request.getfixturevalue("s3")
    return f"s3://nets/{uuid4()}/deep"


@pytest.fixture
def place(where: str) -> Artifacts:
    return artifacts_at(where, "sqlite:///unused.db")


def an_id() -> str:
    return str(uuid4())


# Places


class TestEveryPlace:
    """What holds of a folder and of a bucket alike."""

    def test_gives_back_what_it_got(self, place: Artifacts) -> None:
        """Content, size and list agree; a second write replaces the first; what is removed is gone, also twice."""
        one, other = an_id(), an_id()
        place.write(one, b"first")
        place.write(one, b"second")
        place.write(other, bytes(range(256)) * 50_000)  # more than S3 takes in one part
        assert place.read(one) == b"second"
        assert place.read(other) == bytes(range(256)) * 50_000
        assert {(kept.name, kept.bytes, kept.part) for kept in place.kept()} == {(one, 6, ""), (other, 12_800_000, "")}
        assert (place.size(one), place.size(an_id())) == (6, None)
        place.remove(one)
        place.remove(one)
        assert [kept.name for kept in place.kept()] == [other]

    def test_names_what_is_not_there(self, place: Artifacts) -> None:
        """The id, and the place, in one sentence."""
        lost = an_id()
        with pytest.raises(StoreError, match=f"the artifact {lost} is not in {place.where}: bring it back"):
            place.read(lost)

    @pytest.mark.parametrize("name", ["../nas.db", "/etc/passwd", "", "net.safetensors", "A" * 36, "-" * 36])
    def test_takes_only_ids(self, place: Artifacts, name: str) -> None:
        """No name that could lead elsewhere is read, written or removed."""
        for call in (place.read, place.size, place.remove, lambda given: place.write(given, b"")):
            with pytest.raises(StoreError, match="named by a UUID"):
                call(name)

    def test_removes_what_it_lists(self, place: Artifacts) -> None:
        """Also what another program put there."""
        name = an_id()
        place.write(name, b"x")
        for kept in list(place.kept()):
            place.remove_kept(kept)
        assert list(place.kept()) == []


@pytest.mark.usefixtures("s3")
def test_a_bucket_lists_and_aborts_uploads_that_were_not_ended() -> None:
    """A part of a large file takes room that no list of objects shows."""
    import boto3

    client, name = boto3.client("s3"), an_id()
    begun = client.create_multipart_upload(Bucket="nets", Key=f"left/{name}")
    place = artifacts_at("s3://nets/left", "sqlite:///unused.db")
    [kept] = place.kept()
    assert (kept.name, kept.part) == (name, begun["UploadId"])
    place.remove_kept(kept)
    assert list(place.kept()) == []


WRITING = """
import os, sys
from pathlib import Path
from paretonas.storage.artifacts import Folder
folder, name, size = Folder(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    while child == 0:
        for letter in (b"a", b"b"):
            folder.write(name, letter * size)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


@pytest.mark.slow
def test_a_write_that_is_killed_leaves_the_file_whole(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """After kill -9 at any moment the file is one of the two that were written; the next write clears what is left."""
    name, left = an_id(), 0
    folder = Folder(tmp_path)
    folder.write(name, b"a" * LARGE)
    either = {hashlib.sha256(letter * LARGE).digest() for letter in (b"a", b"b")}
    command = [sys.executable, "-c", WRITING, str(tmp_path), name, str(LARGE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = process.stdout
        assert said.readline() == "ready\n"
        for turn in range(200 if pytestconfig.getoption("long") else 15):
            print("go", file=process.stdin, flush=True)
            child = int(said.readline())
            time.sleep(0.01 + 0.013 * (turn % 9))
            os.kill(child, signal.SIGKILL)
            assert said.readline() == "dead\n"
            assert hashlib.sha256(folder.read(name)).digest() in either
            left += sum(bool(kept.part) for kept in folder.kept())
        process.stdin.close()
    assert left > 0  # some were killed in their midst
    folder.write(name, b"c")
    assert [kept.name for kept in folder.kept()] == [name]


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path: Path) -> None:
    """What does not fit is not begun to be seen, and takes no room."""
    name = an_id()
    Folder(tmp_path).write(name, b"old")
    script = """
import resource, signal, sys
from pathlib import Path
from paretonas.errors import StoreError
from paretonas.storage.artifacts import Folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    Folder(Path(sys.argv[1])).write(sys.argv[2], bytes(5000))
except StoreError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path), name], capture_output=True, text=True, check=True
    )
    assert said.stdout.count("\n") == 1
    assert f"the artifact {name} could not be written in {tmp_path}: " in said.stdout
    assert "the same command goes on" in said.stdout
    assert [(kept.name, kept.bytes) for kept in Folder(tmp_path).kept()] == [(name, 3)]


@pytest.mark.parametrize("where", ["s3://", "s3://key:secret-of-mine@nets/x", "gs://nets", "s3:///x"])
def test_other_places_are_refused_without_their_secrets(where: str, url: str) -> None:
    """A bucket is named without credentials; what was given in their place is not shown."""
    with pytest.raises(StoreError) as caught:
        Store(url, artifacts=where)
    assert "secret-of-mine" not in str(caught.value)
    assert "s3://BUCKET/PREFIX" in str(caught.value)


@pytest.mark.usefixtures("s3")
def test_a_bucket_that_is_not_there_is_one_sentence() -> None:
    """What S3 says, and where; no key, no secret."""
    place = artifacts_at("s3://nowhere", "sqlite:///unused.db")
    for call in (lambda: place.write(an_id(), b"x"), lambda: place.read(an_id()), lambda: list(place.kept())):
        with pytest.raises(StoreError, match=r"s3://nowhere.*") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert "of-tests" not in str(caught.value)


def test_a_bucket_needs_boto3(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(StoreError, match=r"pip install 'paretonas\[s3\]'"):
        artifacts_at("s3://nets", "sqlite:///unused.db")


# Files of evaluations


@pytest.fixture
def hand(url: str, where: str) -> tuple[Store, int]:
    """A store, and an evaluation that its worker has in hand."""
    return begun(url, where, "worker-a")


def begun(url: str, where: str, worker: str) -> tuple[Store, int]:
    store = Store(url, artifacts=where, worker=worker)
    store.add_study("s", {})
    found = store.definition("s")
    assert found is not None
    evaluation = store.take_place(found[0], 1)
    assert evaluation is not None
    return store, evaluation


def test_what_is_kept_is_what_is_read(hand: tuple[Store, int]) -> None:
    """The same file again is the same id; another content of the name takes its place, and the old one is gone."""
    store, evaluation = hand
    first = store.save_artifact(evaluation, "a.bin", b"content")
    assert store.save_artifact(evaluation, "a.bin", b"content") == first
    assert store.save_artifact(evaluation, "b.bin", b"content") != first
    assert store.read_artifact(first) == b"content"
    second = store.save_artifact(evaluation, "a.bin", b"other")
    assert second != first
    assert not store.has_artifact(first)
    assert {kept.name for kept in store.artifacts.kept()} == {file.id for file in files(store)}
    assert {file.name: file.bytes for file in files(store)} == {"a.bin": 5, "b.bin": 7}


@pytest.mark.parametrize("content", [b"", b"conteXt", b"content and more"])
def test_a_file_that_was_changed_is_refused(hand: tuple[Store, int], content: bytes) -> None:
    """One sentence that says which, where, and what to do; what has another size is not there for reuse either."""
    store, evaluation = hand
    artifact = store.save_artifact(evaluation, "a.bin", b"content")
    assert store.has_artifact(artifact)
    store.artifacts.write(artifact, content)
    with pytest.raises(StoreError, match=f"{artifact} in .* is not what was written there .its hash differs.: bring"):
        store.read_artifact(artifact)
    assert store.has_artifact(artifact) == (len(content) == 7)


def test_only_who_has_it_in_hand_writes(url: str, where: str) -> None:
    """A worker that others took for dead writes nothing any more, neither files nor rows."""
    slow, evaluation = begun(url, where, "slow")
    slow.save_checkpoint(evaluation, b"state of slow")
    quick = Store(url, artifacts=where, worker="quick")
    assert quick.take_up(evaluation, of="slow", died=True)
    quick.save_checkpoint(evaluation, b"state of quick")
    weights = quick.save_artifact(evaluation, "a.bin", b"of quick")
    before = {(kept.name, kept.bytes) for kept in quick.artifacts.kept()}
    for call in (
        lambda: slow.save_artifact(evaluation, "a.bin", b"of slow"),
        lambda: slow.save_checkpoint(evaluation, b"later state of slow"),
        lambda: slow.drop_checkpoint(evaluation),
    ):
        with pytest.raises(LeaseLost):
            call()
    assert {(kept.name, kept.bytes) for kept in quick.artifacts.kept()} == before
    assert quick.read_artifact(weights) == b"of quick"
    assert quick.checkpoint(evaluation) == b"state of quick"


def test_checkpoints_take_turns(hand: tuple[Store, int]) -> None:
    """There are two files at most, and the last whole one holds while another is written."""
    store, evaluation = hand
    assert store.checkpoint(evaluation) is None
    for number in range(5):
        store.save_checkpoint(evaluation, b"%d" % number)
        assert store.checkpoint(evaluation) == b"%d" % number
    kept = {one.name for one in store.artifacts.kept()}
    assert len(kept) == len(SLOTS)
    [row] = files(store)
    [free] = kept - {row.id}
    store.artifacts.write(free, b"half of the next o")  # a worker that is killed before the row is changed
    assert store.checkpoint(evaluation) == b"4"
    store.drop_checkpoint(evaluation)
    assert list(store.artifacts.kept()) == []
    assert files(store) == []
    assert store.checkpoint(evaluation) is None


def test_a_broken_checkpoint_is_said_and_none(hand: tuple[Store, int]) -> None:
    """The training begins anew, with a warning; the next checkpoint takes its place."""
    store, evaluation = hand
    store.save_checkpoint(evaluation, b"state")
    [row] = files(store)
    store.artifacts.write(row.id, b"stale")
    with pytest.warns(UserWarning, match="a training begins anew, because its checkpoint is lost"):
        assert store.checkpoint(evaluation) is None
    store.save_checkpoint(evaluation, b"next")
    assert store.checkpoint(evaluation) == b"next"


def test_an_evaluation_that_ended_keeps_what_it_refers_to(hand: tuple[Store, int]) -> None:
    """Weights that a dead worker wrote for a candidate that was stopped afterwards go with its checkpoint."""
    store, evaluation = hand
    store.save_checkpoint(evaluation, b"state")
    store.save_artifact(evaluation, "net.safetensors", b"weights")
    store.fail(evaluation, kind="crashed", reason="as a test wants it", seconds=1.0)
    assert len(list(store.artifacts.kept())) == 2
    store.drop_checkpoint(evaluation)
    store.drop_checkpoint(evaluation)
    assert list(store.artifacts.kept()) == []
    assert files(store) == []


def test_answers_of_a_teacher_are_kept_for_all(hand: tuple[Store, int]) -> None:
    """What was changed or lost is nothing, and is made anew."""
    store, _ = hand
    answers = {"": torch.arange(6.0).reshape(2, 3), "other": torch.ones(1)}
    assert store.answers("trial-3") is None
    store.keep_answers("trial-3", answers)
    store.keep_answers("trial-3", answers)
    again = Store(store.url, artifacts=store.artifacts.where).answers("trial-3")
    assert again is not None
    assert {head: value.tolist() for head, value in again.items()} == {h: v.tolist() for h, v in answers.items()}
    assert store.answers("trial-4") is None
    [row] = files(store)
    for content in (b"x", bytes(row.bytes)):
        store.artifacts.write(row.id, content)
        assert store.answers("trial-3") is None
    store.keep_answers("trial-3", {"": torch.zeros(2)})
    now = store.answers("trial-3")
    assert now is not None
    assert now.keys() == {""}


def test_slots_follow_from_the_token() -> None:
    """Two files for each evaluation, which can be found without the database."""
    one, other = slots_of(str(uuid4())), slots_of(str(uuid4()))
    assert len({*one, *other}) == 4
    assert slots_of("5b1d6f4e-4d3c-4a55-9a9d-2b0a5c1f7e11") == slots_of("5b1d6f4e-4d3c-4a55-9a9d-2b0a5c1f7e11")


# Studies


@pytest.mark.usefixtures("s3")
def test_a_study_in_a_bucket(url: str, tmp_path: Path, cli: Callable[..., Any]) -> None:
    """Search, load, export and optuna-dashboard's list work as with a folder."""
    where = f"s3://nets/{uuid4()}"
    study = pn.create_study("s", space=SPACE, objectives=["accuracy", "parameters"], storage=url, artifacts=where)
    study.optimize(2, show_progress=False)
    given = ("--storage", url, "--artifacts", where)
    assert cli("worker", "--trials", "3", "--quiet", *given).returncode == 0
    assert len(study.trials) == 3
    assert {kept.name for kept in study.store.artifacts.kept()} >= {trial.evaluation.weights for trial in study.trials}
    best = pn.load_study(storage=url, artifacts=where).pick("best")
    told = study.optuna.get_trials()[best.number]
    [meta] = get_all_artifact_meta(told, storage=study.store.optuna)
    assert (meta.artifact_id, meta.filename) == (best.evaluation.weights, "net.safetensors")
    file = tmp_path / "net.safetensors"
    download_artifact(artifact_store=study.store.artifacts.optuna, artifact_id=meta.artifact_id, file_path=str(file))
    kept, loaded = load_file(file), best.load().state_dict()
    assert all(torch.equal(kept[name], loaded[name]) for name in kept)
    exported = cli("export", "--to", str(tmp_path / "out"), *given)
    assert exported.returncode == 0
    assert (tmp_path / "out" / "net.safetensors").exists()
    assert not list(tmp_path.glob("*artifacts*"))


def test_parts_are_in_a_folder_of_their_own(tmp_path: Path) -> None:
    """What is not written to its end is never where a reader looks."""
    folder, name = Folder(tmp_path), an_id()
    (tmp_path / PARTS).mkdir()
    (tmp_path / PARTS / f"{name}.dead").write_bytes(b"half")
    assert folder.size(name) is None
    [part] = folder.kept()
    assert (part.name, part.bytes, part.part) == (name, 4, f"{name}.dead")
    folder.remove(name)
    assert list(folder.kept()) == []
