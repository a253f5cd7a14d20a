"""Databases for the tests of the store: a SQLite file, and PostgreSQL servers of the tests' own.

The server needs the programs of PostgreSQL (Debian's ``postgresql`` will do) and psycopg; without them its tests are
skipped.
"""

import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

_numbers = count()


class Server:
    """A PostgreSQL server in a folder, on a socket there and on loopback, that can be stopped and started again.

    Over the socket (``url``) anybody is let in, over loopback (``loopback``) with a password.
    """

    password = "s3cret/w%rd"  # noqa: S105 - of a server that lives for a test

    def __init__(self, place: str) -> None:
        self.place = place
        self.programs = _programs()
        root = os.geteuid() == 0
        user = "postgres" if root else getpass.getuser()  # the server refuses to be run by root
        if root:
            shutil.chown(place, user)
        self.settings: dict[str, Any] = {"user": user, "cwd": place} if root else {"cwd": place}
        Path(place, "password").write_text(self.password, encoding="utf-8")
        made = "-D data -U tests --auth-local=trust --auth-host=scram-sha-256 --pwfile=password -N --no-instructions"
        subprocess.run([self.programs / "initdb", *made.split()], check=True, capture_output=True, **self.settings)
        self.port = _free_port()
        self.url = f"postgresql+psycopg://tests@/postgres?host={place}&port={self.port}"
        self.loopback = make_url(
            f"postgresql+psycopg://tests:{quote(self.password, safe='')}@127.0.0.1:{self.port}/postgres"
        ).render_as_string(hide_password=False)
        self.start()

    def start(self, *, flush: bool = False, connections: int = 100) -> None:
        """Come back, and take connections. flush: to the disk, as servers do by default."""
        said = f"-D data -k {self.place} -p {self.port} -c listen_addresses=127.0.0.1 -c max_connections={connections}"
        self.process = subprocess.Popen(
            [self.programs / "postgres", *said.split(), *([] if flush else ["-F"])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **self.settings,
        )
        _wait(self.url, self.process)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Go away. SIGINT ends whoever is connected, SIGQUIT does not even write down what is in memory."""
        self.process.send_signal(how)
        self.process.wait(60)

    def new(self, template: str = "template1") -> str:
        """The URL, over loopback, of a new database with what is in ``template``."""
        name = f"nas{next(_numbers)}"
        engine = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        engine.dispose()
        return make_url(self.loopback).set(database=name).render_as_string(hide_password=False)


@contextmanager
def serving() -> Iterator[Server]:
    """A server of one's own, as long as the block lasts."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        server = Server(place)
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.stop(signal.SIGQUIT)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server that lives as long as the tests, on a socket in a folder of its own."""
    with serving() as server:
        yield server.url


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that tests may stop; each leaves it running."""
    with serving() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind. What is connected to it after the test is closed."""
    with closing():
        yield f"sqlite:///{tmp_path / 'nas.db'}" if request.param == "sqlite" else _new(request, "template1")


@pytest.fixture(params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database of each kind that has the tables of a store, with nothing in them."""
    with closing():
        if request.param == "sqlite":
            shutil.copy(request.getfixturevalue("_made_file"), tmp_path / "nas.db")
            yield f"sqlite:///{tmp_path / 'nas.db'}"
        else:
            yield _new(request, request.getfixturevalue("_made_database"))


@pytest.fixture(scope="session")
def _made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("made") / "nas.db"
    _make(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def _made_database(request: pytest.FixtureRequest) -> str:
    url = _new(request, "template1")
    _make(url)
    return str(make_url(url).database)


def _make(url: str) -> None:
    from paretonas.storage.database import open_database

    with closing():
        open_database(url, create=True).engine.dispose()


def _new(request: pytest.FixtureRequest, template: str) -> str:
    """A database of the tests' server with what is in ``template``."""
    server = request.getfixturevalue("postgresql")
    name = f"nas{next(_numbers)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


@contextmanager
def closing() -> Iterator[None]:
    """Close what is connected within the block."""
    opened: list[Any] = []

    def note(connection: Any, _: object) -> None:
        opened.append(connection)

    event.listen(Engine, "connect", note)
    yield
    event.remove(Engine, "connect", note)
    for connection in opened:
        connection.close()


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    anywhere = shutil.which("initdb")
    if not (found or anywhere) or find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL server, or no psycopg, is installed")
    return found[-1].parent if found else Path(str(anywhere)).parent


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    engine = create_engine(url)
    until = time.monotonic() + 60
    while True:
        try:
            with engine.connect():
                break
        except Exception:
            if server.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.05)
    engine.dispose()
