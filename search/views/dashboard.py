"""optuna-dashboard on the store, with the artifact store, and with what its studies did not publish themselves."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar
from wsgiref.simple_server import WSGIRequestHandler, make_server

from ... import own
from ...errors import ParetonasError, UsageError
from ...storage import Store

R = TypeVar("R")

PORTS_TO_TRY = 20
LOOK_EVERY = 10.0  # seconds between looks for what is not published
LEFT_ALONE = 90.0  # seconds after a search published itself


def serve(
    storage: str,
    *,
    artifacts: str | Path | None = None,
    host: str = "127.0.0.1",
    port: int = 8080,
    trust: Sequence[str] = (),
) -> None:
    """Serve optuna-dashboard until interrupted; a port in use gives way to the next free one, which is said.

    Notes, figures and files of trials that are missing are written meanwhile. trust: the names of code of the user's
    own that may run for this; without it such studies show what their searches published.
    """
    from optuna_dashboard import wsgi

    own.trust(trust)
    store = Store(storage, artifacts=artifacts, create=False)
    free = free_port(host, port)
    store.artifacts.prepare()
    app = wsgi(store.optuna, artifact_store=store.artifacts.optuna)
    over = threading.Event()
    with make_server(host, free, app, handler_class=_Quiet) as server:
        taken = "" if free == port else f" (port {port} is in use)"
        print(f"optuna-dashboard on {store!r}: http://{host}:{free}/{taken}", file=sys.stderr, flush=True)
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
        publishing = threading.Thread(target=publish_all, args=(store, over), name="paretonas-publish", daemon=True)
        publishing.start()
        try:
            server.serve_forever()
        finally:
            over.set()
            publishing.join(5.0)


def publish_all(store: Store, over: threading.Event) -> None:
    """Publish every study of a store that is not published as it is now, again and again until it is over.

    A study whose search published a moment ago is left to that search.
    """
    from ..study import open_study
    from .publish import Publisher, published

    said: set[str] = set()
    publishers: dict[str, Publisher] = {}
    while not over.is_set():
        for name in _tried(store.study_names, said, "the store") or []:
            if over.is_set():
                return

            def publish(name: str = name) -> None:
                publisher = publishers.setdefault(name, Publisher(open_study(store, name)))
                ended, at, whole = published(publisher.study)
                now = publisher.study.store.finished(publisher.study.id)
                if (now != ended or not whole) and abs(time.time() - at) > LEFT_ALONE:
                    publisher.catch_up(stop=over.is_set)

            _tried(publish, said, f"the study {name!r}")
        over.wait(LOOK_EVERY)


def _tried(do: Callable[[], R], said: set[str], what: str) -> R | None:
    """What ``do`` gives; what it raises is said once, because the pages are served all the same."""
    try:
        return do()
    except Exception as error:  # noqa: BLE001
        text = str(error).strip().split("\n")[0]
        kind = "" if isinstance(error, ParetonasError) else f"{type(error).__name__}: "
        if what not in said:
            said.add(what)
            print(f"paretonas: {what} is not shown in full: {kind}{text}", file=sys.stderr, flush=True)
        return None


def free_port(host: str, port: int) -> int:
    """The first port from ``port`` on that nobody listens on."""
    for number in range(port, min(port + PORTS_TO_TRY, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, number))
            except OSError as error:
                last = error
                continue
            return number
    raise UsageError(f"no port from {port} to {port + PORTS_TO_TRY - 1} is free on {host}: {last}")


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""
