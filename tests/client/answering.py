"""The sidecar's good answer, and what a peer needs to send it or a changed one."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER: dict[str, Any] = {
    "placement": "pdp",
    "revision": "0123456789ab",
    "config_id": "ba9876543210",
    "exposure_id": None,
    "unit": {"type": "user", "id": "u1"},
    "config": {"model": "ranker-v1"},
    "assignments": [],
}


def http(body: object, status: str = "200 OK", length: int | None = None) -> bytes:
    """Write an answer; anything but bytes as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data) if length is None else length}\r\n\r\n".encode() + data


def read_request(connection: socket.socket) -> bool:
    """Read one whole request; false at the end."""
    return read_body(connection) is not None


def read_body(connection: socket.socket) -> bytes | None:
    """Read one whole request and return its body; None at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    # A caller of an earlier test may come here, to a port that was another's: it asks without a body.
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
    while len(body) < length:
        part = connection.recv(65536)
        if not part:
            return None
        body += part
    return body


def but(**changes: Any) -> bytes:
    """Return the good answer, changed."""
    return http({**ANSWER, **changes})


def says(*answers: bytes, then_close: bool = False) -> Callable[[socket.socket], None]:
    """Answer every request with the same bytes."""

    def behave(connection: socket.socket) -> None:
        while read_request(connection):
            for answer in answers:
                connection.sendall(answer)
            if then_close:
                connection.shutdown(socket.SHUT_RDWR)

    return behave
