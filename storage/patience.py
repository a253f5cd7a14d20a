"""Waiting for a database that is away: restarted, out of connections, locked, or in a deadlock."""

import logging
import os
import random
import time
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ..errors import StoreError

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")

VARIABLE = "PARETONAS_PATIENCE"
PATIENCE = 600.0  # seconds that a database may be away
FIRST_PAUSE = 0.05  # seconds; twice as long each time
LONGEST_PAUSE = 5.0
SAID_AFTER = 1.0  # seconds of silence after which it is said what is waited for

_log = logging.getLogger(__name__)

# SQLSTATEs (PostgreSQL, appendix A): class 08 connections, 57P01-57P03 shutdowns, 53300 too many connections, 40001 and
# 40P01 transactions that got in each other's way, 55P03 a lock, 25P03 a session that was idle for too long.
_STATES = {"57P01", "57P02", "57P03", "57P05", "53300", "40001", "40P01", "55P03", "25P03"}
# For drivers' errors that have no SQLSTATE: a connection that could not be made, or broke.
_SAYINGS = (
    "connection refused",
    "connection failed",  # psycopg
    "connection reset",
    "connection timeout",
    "connection is lost",
    "connection is closed",
    "server closed the connection",
    "could not connect",
    "could not receive data",
    "terminating connection",
    "the database system is",  # starting up, shutting down, in recovery mode
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "no such file or directory",  # of a server's socket
    "database is locked",  # SQLite
    "database table is locked",
    "database schema is locked",
)
# What no waiting mends, though it comes as a connection that failed.
_FINAL = (
    "password",
    "authentication",
    "no pg_hba.conf entry",
    "does not exist",
    "could not translate host name",
    "name or service not known",
    "disk is full",
    "no space left",
)


class StoreAway(StoreError):
    """The database was away for longer than anybody waits."""


def seconds() -> float:
    """How long a database is waited for: 10 minutes, or what the environment says in ``PARETONAS_PATIENCE``."""
    try:
        return float(os.environ.get(VARIABLE, PATIENCE))
    except ValueError as error:
        given = os.environ[VARIABLE]
        raise StoreError(f"{VARIABLE} is a number of seconds, {given!r} was given") from error


def is_away(error: BaseException) -> bool:
    """Whether what a database said, or what was made of it, may be different a moment later."""
    if isinstance(error, StoreAway):
        return False
    for each in _causes(error):
        if isinstance(each, PoolTimeoutError):
            return True
        if isinstance(each, DBAPIError):
            said = str(each.orig).lower()
            state = str(getattr(each.orig, "sqlstate", None) or "")
            if state in _STATES or state.startswith("08"):
                return True
            if state or any(words in said for words in _FINAL):
                return False
            return each.connection_invalidated or any(words in said for words in _SAYINGS)
    return False


def repeated(action: Callable[[], R], *, at_most: float = float("inf")) -> R:
    """What ``action`` gives, which is repeated while the database is away. StoreAway when patience ends.

    Only for what may be done twice: an answer that is lost may have been that all is done. at_most: seconds, where no
    server answers at all.
    """
    began, pause = None, FIRST_PAUSE
    while True:
        try:
            return action()
        except Exception as error:
            if not is_away(error):
                raise
            began = began or time.monotonic()
            patience = seconds() if "FATAL" in str(error) else min(seconds(), at_most)
            waited = time.monotonic() - began
            if waited + pause > patience:
                raise StoreAway(f"{error}; it was waited for {patience:g} seconds") from error
            if pause <= SAID_AFTER < 2 * pause:
                _log.warning("%s; it is waited for, up to %g seconds", error, patience)
        time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that workers do not come back all at once
        pause = min(2 * pause, LONGEST_PAUSE)


def patient(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that is repeated while the database is away."""

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return repeated(lambda: method(self, *args, **kwargs))

    return call


def _causes(error: BaseException) -> Iterator[BaseException]:
    each: Any = error
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__
