"""TLS before HTTP: a connection is in the crowd from its accept, so one that does not finish its handshake can be cut.

asyncio's own TLS sockets report a connection only after its handshake. Those that never finish one would be bounded by
nothing: 300 KB each for a minute, as many as there are descriptors.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from abside.serve.crowd import Wait
from abside.supervise import start_once

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from abside.serve.crowd import Crowd

TLS_BURST = 128  # connections beyond the bound: each has 256 KiB of buffer from asyncio


class Handshakes:
    """Makes the connections of one TLS socket; after a handshake of at most `seconds`, `factory` makes its protocol."""

    def __init__(
        self, crowd: Crowd, context: ssl.SSLContext, factory: Callable[[], asyncio.BaseProtocol], seconds: float
    ) -> None:
        self.crowd = crowd
        self.context = context
        self.factory = factory
        self.seconds = seconds
        self.going_on: set[Handshake] = set()

    def __call__(self) -> Handshake:
        """Return the protocol of one new connection (asyncio's factory)."""
        return Handshake(self)

    def close(self) -> None:
        """End the handshakes that go on."""
        for one in list(self.going_on):
            one.give_way()


class Handshake(asyncio.Protocol):
    """One connection until its handshake is done."""

    def __init__(self, owner: Handshakes) -> None:
        self._owner = owner
        self._since = asyncio.get_running_loop().time()
        self._transport: Any = None
        self._early: list[bytes] = []  # what came with the end of the handshake
        self._shaking: asyncio.Task[None] | None = None  # kept, so that it is not collected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, and begin the handshake."""
        self._transport = transport
        transport.pause_reading()  # type: ignore[attr-defined]
        self._owner.going_on.add(self)
        self._owner.crowd.enter(self)
        self._shaking = start_once("handshake", self._shake())

    def data_received(self, data: bytes) -> None:
        """Keep what comes before its reader is in place."""
        self._early.append(data)

    def waits(self, now: float) -> Wait | None:  # noqa: ARG002 other kinds of connection ask the time
        """Return what it waits for, as the crowd asks."""
        return Wait(answered=False, since=self._since, head=True)

    def give_way(self) -> None:
        """End at once."""
        self._transport.abort()

    async def _shake(self) -> None:
        owner, transport = self._owner, self._transport
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport, self, owner.context, server_side=True, ssl_handshake_timeout=owner.seconds
            )
        except OSError:  # garbage, a refused certificate, a timeout, or a client that left: no fault of ours
            transport.abort()
            return
        finally:
            owner.going_on.discard(self)
            owner.crowd.leave(self)
        if secure is None or transport.is_closing():  # it gave way meanwhile
            return
        following: Any = owner.factory()
        secure.set_protocol(following)
        following.connection_made(secure)
        for data in self._early:
            following.data_received(data)
