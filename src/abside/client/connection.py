"""A blocking connection that keeps one deadline: before each system call it computes what is left of it."""

from __future__ import annotations

import io
import socket
import time
from http.client import HTTPResponse, IncompleteRead
from typing import TYPE_CHECKING, Any, cast

from abside.client.message import MAX_ANSWER_BYTES
from abside.client.raised import is_ours
from abside.client.result import CallFailed

if TYPE_CHECKING:
    from abside.client.address import Address

MAX_HEAD_BYTES = 64 * 1024  # beside the body; the sidecar sends about 150


class Stale(Exception):  # noqa: N818 not a fault: the caller takes a new connection
    """A kept connection that the sidecar closed before it answered a byte: take a new one."""


class Connection:
    """One HTTP/1.1 connection. Of one thread at a time; after a failed exchange, close it."""

    def __init__(self, address: Address, until: float) -> None:
        """Connect before `until` (monotonic seconds). Raises CallFailed."""
        self._socket = _connect(address, until)
        self._wire = _Wire(self._socket)
        self._reader = _AnswerReader(self._wire)
        self.kept = False  # it has answered before
        self.idle_from = 0.0  # monotonic seconds

    def exchange(self, request: bytes, until: float) -> tuple[int, bytes]:
        """Send a request and read its answer before `until`: status and body. Raises CallFailed, Stale.

        What else it raises is the application's own, a signal handler's for example.
        """
        try:
            return self._exchange(request, until)
        except CallFailed:
            raise
        except Exception as exc:
            if not is_ours(exc):
                raise
            if isinstance(exc, TimeoutError):
                raise CallFailed("timeout", "no answer within the deadline") from exc
            if isinstance(exc, OSError | IncompleteRead):
                if self.kept and not self._wire.received:
                    raise Stale from exc
                raise CallFailed("unreachable", type(exc).__name__) from exc
            # http.client over hostile bytes: whatever it raises, there is no answer
            raise CallFailed("garbage", type(exc).__name__) from exc

    def is_clean(self) -> bool:
        """Return whether nothing was received since the last answer: neither its end nor further bytes."""
        if self._wire.closed:  # an exception of the application's came when it had just been put back
            return False
        self._wire.rest()
        return not self._reader.peek(1) and not self._wire.ended

    def makefile(self, _mode: str) -> _AnswerReader:
        """Return the reader, as http.client expects of a socket."""
        return self._reader

    def close(self) -> None:
        """Close the socket. In a forked child this leaves the parent's connection as it is."""
        self._wire.close()
        self._socket.close()

    def _exchange(self, request: bytes, until: float) -> tuple[int, bytes]:
        self._wire.begin(until)
        self._socket.settimeout(_left(until))
        self._socket.sendall(request)
        response = HTTPResponse(cast("Any", self), method="POST")
        response.begin()
        if response.length is None or response.length > MAX_ANSWER_BYTES:
            # Chunked, or until the connection closes: the sidecar always sends Content-Length.
            raise CallFailed("garbage", "an answer of unknown length, or of more than 1 MiB")
        body = response.read()
        self.kept = not response.will_close
        self.idle_from = time.monotonic()
        return response.status, body


class _AnswerReader(io.BufferedReader):
    def close(self) -> None:
        """Stay open: http.client closes it after each answer, but bytes that follow an answer must still be seen."""


class _Wire(io.RawIOBase):
    """The receiving end: between `begin` and `rest` it waits for bytes until the deadline, otherwise it never waits."""

    def __init__(self, receiving: socket.socket) -> None:
        self._socket = receiving
        self._until: float | None = None
        self.received = 0
        self.ended = False

    def begin(self, until: float) -> None:
        self._until = until
        self.received = 0

    def rest(self) -> None:
        self._until = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._until is None:
            return self._look(buffer)
        self._socket.settimeout(_left(self._until))
        count = self._socket.recv_into(buffer)
        self.received += count
        if self.received > MAX_ANSWER_BYTES + MAX_HEAD_BYTES:
            raise CallFailed("garbage", "an answer of more than 1 MiB")
        return count

    def _look(self, buffer: Any) -> int | None:
        self._socket.setblocking(False)
        try:
            count = self._socket.recv_into(buffer)
        except BlockingIOError:
            return None
        except OSError as exc:
            if not is_ours(exc):
                raise
            count = 0
        self.ended = count == 0
        return count


def _connect(address: Address, until: float) -> socket.socket:
    internet = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        made = socket.socket(internet if address.path is None else socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError as exc:
        if not is_ours(exc):
            raise
        raise CallFailed("unreachable", type(exc).__name__) from exc
    try:
        made.settimeout(_left(until))
        made.connect(address.path or (address.host, address.port))
        if address.path is None:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException as exc:
        made.close()
        if not isinstance(exc, OSError) or not is_ours(exc):
            raise
        if isinstance(exc, TimeoutError):
            raise CallFailed("timeout", "no connection within the deadline") from exc
        raise CallFailed("unreachable", type(exc).__name__) from exc
    return made


def _left(until: float) -> float:
    """Return the seconds left. Raises TimeoutError when none are: a socket reads a timeout of 0 as non-blocking."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
