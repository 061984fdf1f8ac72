"""The bearer token that senders show, from a file that may be replaced while the process runs."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from abside.files import read_regular
from abside.log import Log

if TYPE_CHECKING:
    from pathlib import Path

log = Log("abside.collector.receive.token")
MAX_TOKEN_BYTES = 64 * 2**10  # as many as the longest header a request may have, and some


class TokenUnreadable(Exception):  # noqa: N818 read as a sentence where it is caught
    """The token file is missing, empty or not readable; without it every sender would be refused."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"the token file {self.path} {self.reason}; write the token into it, on one line"


class Token:
    """Read at each question, so that a rotated secret counts at once; a file that vanishes changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = _read(path)
        self.problem: str | None = None

    def allows(self, authorization: str | None) -> bool:
        """Return whether an Authorization header contains the token."""
        scheme, _, shown = (authorization or "").partition(" ")
        token = self._current()
        return scheme.lower() == "bearer" and hmac.compare_digest(_sent(shown), token)

    def _current(self) -> bytes:
        try:
            self._last = _read(self._path)
        except TokenUnreadable as exc:
            if self.problem is None:
                log.error("token_unreadable", reason=str(exc), then="the last one is kept")
            self.problem = str(exc)
        else:
            self.problem = None
        return self._last


def _sent(shown: str) -> bytes:
    """Return a header's value as it was sent: bytes that are no UTF-8 come as surrogates."""
    return shown.strip().encode("utf-8", "surrogateescape")


def _read(path: Path) -> bytes:
    try:
        token = read_regular(path, MAX_TOKEN_BYTES).strip()
    except OSError as exc:
        raise TokenUnreadable(path, f"cannot be read ({exc.strerror})") from exc
    if not token:
        raise TokenUnreadable(path, "is empty")
    return token
