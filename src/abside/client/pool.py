"""The connections that one process keeps between calls. Thread-safe."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from abside.client.connection import Connection, Stale

if TYPE_CHECKING:
    from abside.client.address import Address

MAX_IDLE = 32  # more threads than that at once open and close theirs; the sidecar takes 1,024 of all clients
IDLE_SECONDS = 60.0  # below the sidecar's 75: so that this side closes


class Pool:
    """Posts over kept connections, the most recently used first."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._host = address.text.encode()
        self._lock = threading.RLock()  # a signal handler may call within a call
        self._idle: list[Connection] = []

    def post(self, path: str, body: bytes, until: float) -> tuple[int, bytes]:
        """Send one request before `until` (monotonic seconds); return status and body. Raises CallFailed.

        It is sent once. Only where a kept connection breaks before the first byte of an answer, as after a restart of
        the sidecar, it is sent again over a new connection, within the same deadline: an assignment is the same again,
        and events carry their ids.
        """
        head = b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        # Head and body in one segment: one system call, and one wake of the sidecar.
        request = head % (path.encode(), self._host, len(body)) + body
        kept = self._take()
        if kept is not None:
            try:
                return self._exchange(kept, request, until)
            except Stale:
                pass
        return self._exchange(Connection(self._address, until), request, until)

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def abandon(self) -> None:
        """Close a forked child's copies, without the lock: a thread of the parent may have taken it at the fork."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _exchange(self, connection: Connection, request: bytes, until: float) -> tuple[int, bytes]:
        try:
            answer = connection.exchange(request, until)
            if not connection.kept or not self._keep(connection):
                connection.close()
        except BaseException:
            connection.close()
            raise
        return answer

    def _take(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            try:
                if time.monotonic() - connection.idle_from < IDLE_SECONDS and connection.is_clean():
                    return connection
            except BaseException:
                connection.close()
                raise
            connection.close()

    def _keep(self, connection: Connection) -> bool:
        with self._lock:
            if len(self._idle) >= MAX_IDLE:
                return False
            self._idle.append(connection)
            return True
