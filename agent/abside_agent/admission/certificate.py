"""The certificate for each new connection: the newest good pair of files, read again when the Secret is renewed."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path

from abside.files import read_regular
from abside.log import Log

MAX_PEM_BYTES = 2**20  # a Secret cannot have more
log = Log("abside.admission")


class Certificate:
    """Two files, and the TLS context of their last good state. Raises OSError where the first cannot be used."""

    def __init__(self, cert: str, key: str) -> None:
        self._cert = Path(cert)
        self._key = Path(key)
        self._digest = self._read()
        self._current = self._load()
        # A new context for every pair: one that loads twice goes on presenting an older key of another kind.
        self.context = self._load()
        self.context.sni_callback = self._choose  # called for every handshake, also without a name

    async def follow(self, poll_seconds: float) -> None:
        """Read changed files, for ever. A bad pair only causes a line in the log."""
        while True:
            await asyncio.sleep(poll_seconds)
            self.look()

    def look(self) -> None:
        """Use the pair of files when it has changed and fits together."""
        try:
            digest = self._read()
            if digest == self._digest:
                return
            self._digest = digest  # a bad pair is logged once, not at every look
            self._current = self._load()
        except OSError as exc:  # SSLError is a subclass
            log.error("certificate_unusable", cert=str(self._cert), why=str(exc), then="the last good stays")
        else:
            log.info("certificate_changed", cert=str(self._cert))

    def _read(self) -> bytes:
        cert, key = (read_regular(path, MAX_PEM_BYTES) for path in (self._cert, self._key))
        return hashlib.sha256(cert + b"\0" + key).digest()

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._cert, self._key)
        return context

    def _choose(self, connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:  # noqa: ARG002 ssl's signature
        connection.context = self._current
