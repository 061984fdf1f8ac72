"""What `Local` has of one process: its decisions, and what it has to tell of calls that had none."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING, Any

from abside.client.away.fallback import Fallbacks
from abside.client.away.posting import post_all
from abside.client.result import CallFailed, Refused
from abside.client.values import MAX_INTEGER, MIN_INTEGER
from abside.local.deciding import Deciding
from abside.serve.answer import Refusal
from abside.spool.errors import SpoolRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from abside.client.result import Assignment
    from abside.local.deciding import LocalSettings

# Of all names of attributes, and of all values, divided evenly: what is longer goes by the whole rule. As JSON with
# every character escaped, which takes six bytes, both together are within its bound on a request.
MAX_PLAIN_CHARS = 4_096


class LocalProcess:
    """The state of one process. A forked child goes on from its parent's plans, with a spool of its own."""

    def __init__(self, settings: LocalSettings, parent: LocalProcess | None, max_waiting: int) -> None:
        self.pid = os.getpid()
        if parent is not None:
            parent.deciding.spool.abandon()
        bases = None if parent is None else parent.fallbacks.bases
        self.deciding: Deciding = Deciding(settings, None if parent is None else parent.deciding)
        self.fallbacks: Fallbacks = Fallbacks(time.monotonic, settings.clock, bases, max_waiting)

    def saw(self, answer: Assignment) -> None:
        """Count an answer, and tell of fallbacks that came before it."""
        self.fallbacks.seen((answer,))
        self.tell_if_due()

    def tell_if_due(self) -> None:
        """Write what is kept from before a call that went well, where it is time."""
        if self.fallbacks.due():
            self.tell()

    def tell(self) -> None:
        """Write what is kept, until nothing is left or the spool does not take it."""
        post_all(self.fallbacks, self._write)

    def _write(self, path: str, body: bytes) -> None:
        try:
            self.deciding.report(path, body)
        except OURS as exc:
            raise failure(exc) from exc


# What a call raises where it has no answer. An application's own exception, of a signal handler, passes through.
OURS = (CallFailed, Refusal, SpoolRefused)


def failure(exc: CallFailed | Refusal | SpoolRefused) -> CallFailed:
    """Return why a call has no answer."""
    if isinstance(exc, CallFailed):
        return exc
    if isinstance(exc, SpoolRefused):
        return CallFailed("unreachable", str(exc), remedy=_REMEDY)
    if exc.status < 500:
        return Refused(exc.code, exc.detail, status=exc.status, path=exc.path, index=exc.index)
    return CallFailed("unavailable", exc.detail, exc.code, _REMEDY)


def is_plain(attributes: Mapping[str, Any]) -> bool:
    """Whether JSON would return these attributes as they are."""
    if type(attributes) is not dict:
        return False
    longest = MAX_PLAIN_CHARS // (len(attributes) or 1)
    for name, value in attributes.items():
        kind = type(value)
        if type(name) is not str or len(name) > longest or not name.isascii() or kind not in _PLAIN:
            return False
        if kind is str and (len(value) > longest or not value.isascii()):
            return False
        if kind is float and not math.isfinite(value):
            return False
        if kind is int and not MIN_INTEGER <= value <= MAX_INTEGER:
            return False
    return True


_REMEDY = "docs/local.md has the remedy; `problem` of the client says what is missing"
_PLAIN = frozenset({str, int, float, bool, type(None)})
