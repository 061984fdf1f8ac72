"""The open connections of a listener: beyond the bound, who never got an answer is cut first, then who waited longest.

A new connection is always let in. So silent connections, or a client that leaks them, keep neither the kubelet from
its probes nor other clients from their decisions.
"""

from __future__ import annotations

import asyncio
from heapq import nlargest, nsmallest
from typing import NamedTuple, Protocol

from abside.log import Log

log = Log("abside.serve.crowd")
# Between two looks at a crowd that is too large; a connection that waits at both is cut. A kubelet sends its request
# with the connection, so half a second is ample; with less, clients that reconnect at once would cost too much.
LOOK_SECONDS = 0.5
SLOW_SECONDS = 1.0  # a body may take so long before it gives way to relieve: clients on this machine need milliseconds
BURST = 2048  # connections beyond the bound between two looks: twice what one turn of the loop accepts
LOG_SECONDS = 60.0  # between two log lines: a flood of connections must not flood the log
NEVER = float("-inf")


class Wait(NamedTuple):
    """What a connection waits for, in the order in which they give way.

    First who never got an answer, whatever it sent: half a body costs a stranger no more than silence. Then who waited
    longest. Where many are noted at the same moment, half a body goes before a client that is only idle.
    """

    answered: bool
    since: float  # the loop's seconds
    head: bool  # a head is awaited; else the rest of a body


class Guest(Protocol):
    """One open connection."""

    def waits(self, now: float) -> Wait | None:
        """Return what it waits for; None while its request is worked on. `now` is the loop's time in seconds."""

    def give_way(self) -> None:
        """End at once."""


class Crowd:
    """The open connections of one listener: `most` of them, and `burst` more for as long as two looks take."""

    def __init__(self, most: int, burst: int = BURST, look_seconds: float = LOOK_SECONDS) -> None:
        self.most = most
        self.burst = burst
        self.look_seconds = look_seconds
        self.gave_way = 0
        self.closed = False  # a connection that still comes, after a long handshake, is closed at once
        self._guests: set[Guest] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._looked = NEVER  # the loop's seconds of the last look, while there are too many
        self._logged = NEVER

    def __len__(self) -> int:
        """Count the open connections."""
        return len(self._guests)

    def enter(self, guest: Guest) -> None:
        """Let a connection in; where another has to give way for it, it does so within two looks."""
        self._guests.add(guest)
        if len(self._guests) > self.most:
            if len(self._guests) > self.most + self.burst:
                # Half of the burst: connections of this turn of the loop are in the other half, and are read next.
                now, half = asyncio.get_running_loop().time(), self.burst // 2
                waiting = self._waiting(now, now)
                fresh = {guest for _, guest in nlargest(half, filter(_is_silent, waiting), key=_first)}
                self._thin([one for one in waiting if one[1] not in fresh], half + 1, now)
            self._look_soon()

    def leave(self, guest: Guest) -> None:
        """Take a connection out."""
        self._guests.discard(guest)

    def relieve(self) -> bool:
        """Cut the connection whose body is the slowest; return False where none is slow."""
        now = asyncio.get_running_loop().time()
        slow = [one for one in self._waiting(now, now - SLOW_SECONDS) if not one[0].head]
        if not slow:
            return False
        self._cut(min(slow, key=_first)[1])
        return True

    def _look_soon(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.look_seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        if len(self._guests) <= self.most:
            self._looked = NEVER
            return
        now = asyncio.get_running_loop().time()
        before, self._looked = self._looked, now
        self._thin(self._waiting(now, before), len(self._guests) - self.most, now)
        self._look_soon()

    def _thin(self, waiting: list[tuple[Wait, Guest]], count: int, now: float) -> None:
        """Cut `count` of these connections, in the order of Wait."""
        for _, guest in nsmallest(count, waiting, key=_first):
            self._cut(guest)
        if self.gave_way and now - self._logged >= LOG_SECONDS:
            self._logged = now
            log.warning("connections_give_way", most=self.most, gave_way=self.gave_way)

    def _waiting(self, now: float, until: float) -> list[tuple[Wait, Guest]]:
        """List the connections that have waited since `until` or longer."""
        found = []
        for guest in self._guests:
            wait = guest.waits(now)
            if wait is not None and wait.since <= until:
                found.append((wait, guest))
        return found

    def _cut(self, guest: Guest) -> None:
        self.gave_way += 1
        self._guests.discard(guest)
        guest.give_way()


def _is_silent(one: tuple[Wait, Guest]) -> bool:
    """Return whether a connection has sent no request yet, as a probe that has just come."""
    return one[0].head and not one[0].answered


def _first(one: tuple[Wait, Guest]) -> Wait:
    return one[0]
