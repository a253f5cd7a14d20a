"""A proxy before a database server, which can lose the answer to a commit, the worst moment to break."""

import re
import socket
import threading
from contextlib import suppress

PIECE = 65536
# What a server says when a transaction that wrote is over, of one statement or more (PostgreSQL, chapter 54.7:
# CommandComplete, then ReadyForQuery outside of a transaction).
COMMITTED = re.compile(rb"C.{4}(COMMIT|INSERT 0 \d+|UPDATE \d+|DELETE \d+)\0.*Z\0\0\0\x05I", re.DOTALL)


class Proxy:
    """Forwards what comes on ``port`` of loopback to a server there. One commit is done, and not answered: that after
    the next ``spare`` ones; none if that is negative.
    """

    def __init__(self, server: int) -> None:
        self.server = server
        self.spare = -1
        self.lost = 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.listening.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listening.accept()
                server = socket.create_connection(("127.0.0.1", self.server))
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(source, target, client), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(PIECE):
                if source is not client and self.spare >= 0 and COMMITTED.search(piece):
                    self.spare -= 1
                    if self.spare < 0:  # the server has done it; nobody is told
                        self.lost += 1
                        break
                target.sendall(piece)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
