"""Databases for the tests of the store: a SQLite file, and a PostgreSQL server of the tests' own.

The server needs the programs of PostgreSQL (Debian's ``postgresql`` will do) and psycopg; without them its tests are
skipped.
"""

import getpass
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, make_url, text

_numbers = count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server that lives as long as the tests, on a socket in a folder of its own."""
    programs = _programs()
    root = os.geteuid() == 0
    user = "postgres" if root else getpass.getuser()  # the server refuses to be run by root
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        if root:
            shutil.chown(place, user)
        settings: dict[str, Any] = {"user": user, "cwd": place} if root else {"cwd": place}
        made: list[str | Path] = [
            programs / "initdb",
            "-D",
            "data",
            "-U",
            "tests",
            "-A",
            "trust",
            "-N",
            "--no-instructions",
        ]
        subprocess.run(made, check=True, capture_output=True, **settings)
        server = subprocess.Popen(
            [programs / "postgres", "-D", "data", "-F", "-k", place, "-c", "listen_addresses="],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **settings,
        )
        url = f"postgresql+psycopg://tests@/postgres?host={place}"
        try:
            _wait(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGINT)  # whoever is still connected is not waited for
            server.wait(60)


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database of each kind. What is connected to it after the test is closed."""
    url = f"sqlite:///{tmp_path / 'nas.db'}" if request.param == "sqlite" else _new(request)
    opened: list[Any] = []

    def note(connection: Any, _: object) -> None:
        opened.append(connection)

    event.listen(Engine, "connect", note)
    yield url
    event.remove(Engine, "connect", note)
    for connection in opened:
        connection.close()


def _new(request: pytest.FixtureRequest) -> str:
    server = request.getfixturevalue("postgresql")
    name = f"nas{next(_numbers)}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    anywhere = shutil.which("initdb")
    if not (found or anywhere) or find_spec("psycopg") is None:
        pytest.skip("no PostgreSQL server, or no psycopg, is installed")
    return found[-1].parent if found else Path(str(anywhere)).parent


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
