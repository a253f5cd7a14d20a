"""optuna-dashboard on the store, with the artifact store."""

import socket
import sys
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, make_server

from ...errors import UsageError
from ...storage import Store

PORTS_TO_TRY = 20


def serve(storage: str, *, artifacts: str | Path | None = None, host: str = "127.0.0.1", port: int = 8080) -> None:
    """Serve optuna-dashboard until interrupted; a port in use gives way to the next free one, which is said."""
    from optuna_dashboard import wsgi

    store = Store(storage, artifacts=artifacts, create=False)
    free = free_port(host, port)
    store.artifacts.prepare()
    app = wsgi(store.optuna, artifact_store=store.artifacts.optuna)
    with make_server(host, free, app, handler_class=_Quiet) as server:
        taken = "" if free == port else f" (port {port} is in use)"
        print(f"optuna-dashboard on {store!r}: http://{host}:{free}/{taken}", file=sys.stderr, flush=True)
        print("Ctrl-C ends it", file=sys.stderr, flush=True)
        server.serve_forever()


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
