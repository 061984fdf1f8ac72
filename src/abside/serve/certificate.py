"""The certificate that new connections are shown: the newest good pair of files, read again when they are renewed."""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
from calendar import timegm
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from abside.files import FileRefusedError, read_regular
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_PEM_BYTES = 2**20  # a Secret cannot have more; a chain of hundreds of certificates
MOMENTS = 3  # who renews a pair swaps it once
log = Log("abside.serve.certificate")
_FIRST = re.compile(rb"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----(.+?)-----END ", re.DOTALL)
CONSTRUCTED_VERSION, UTC_TIME = 0xA0, 0x17  # tags of DER (X.690)


class CertificateUnusable(Exception):  # noqa: N818 read as a sentence where it is caught
    """Two files that are no certificate with its key. `path` is the one that is to be changed."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


class Pair(NamedTuple):
    """A certificate with its key, ready to be shown."""

    digest: bytes  # of both files
    context: ssl.SSLContext
    not_after: int  # Unix seconds


class Certificate:
    """Two files, and the last good state of both. Raises CertificateUnusable where there is none yet.

    `context` is the one to listen with: it shows each new connection what is current then. Connections that are open go
    on with what they were shown.
    """

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self._current = self._load()
        self.problem: str | None = None  # why the files that are there now are not used
        # A new context for every pair: one that loads twice goes on presenting an older key of another kind.
        self.context = self._load().context
        self.context.sni_callback = self._choose  # called for every handshake, also without a name

    @property
    def not_after(self) -> int:
        """The end of the life of the certificate that is shown, in Unix seconds."""
        return self._current.not_after

    async def follow(self, poll_seconds: float) -> None:
        """Read changed files, for ever. A bad pair is a problem and a line in the log, nothing else."""
        while True:
            await asyncio.sleep(poll_seconds)
            self.look()

    def look(self) -> None:
        """Use the pair of files when it has changed and fits together."""
        try:
            if _digest(*self._read()) == self._current.digest:
                if self.problem is not None:
                    log.info("certificate_usable_again", cert=str(self._cert))
                self.problem = None
                return
            self._current = self._load()
        except CertificateUnusable as exc:
            if self.problem != str(exc):  # logged once, not at every look
                log.error("certificate_unusable", why=str(exc), then="the last good stays", not_after=self._end())
            self.problem = str(exc)
        else:
            self.problem = None
            log.info("certificate_changed", cert=str(self._cert), not_after=self._end())

    def _end(self) -> str:
        return instant(self.not_after)

    def _read(self) -> tuple[bytes, bytes]:
        return _regular(self._cert), _regular(self._key)

    def _load(self) -> Pair:
        """Load both files as they are at one moment: they may be swapped between two reads."""
        for _ in range(MOMENTS):
            files = self._read()
            try:
                pair = self._loaded(*files)
            except CertificateUnusable:
                if self._read() == files:
                    raise
            else:
                if self._read() == files:
                    return pair
        raise CertificateUnusable(self._cert, "is changed again and again while it is read")

    def _loaded(self, cert: bytes, key: bytes) -> Pair:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            end = not_after(cert)
            context.load_cert_chain(self._cert, self._key, password=str)  # no password: nobody is at a terminal to ask
        except (OSError, ValueError) as exc:  # SSLError is an OSError
            raise self._unusable(key, exc) from exc
        return Pair(_digest(cert, key), context, end)

    def _unusable(self, key: bytes, exc: Exception) -> CertificateUnusable:
        if isinstance(exc, ValueError):
            return CertificateUnusable(self._cert, f"is no certificate chain in PEM ({exc})")
        if b"PRIVATE KEY-----" not in key:
            return CertificateUnusable(self._key, "is no private key in PEM")
        if b"ENCRYPTED" in key:
            return CertificateUnusable(self._key, "has a password; write the key without one")
        if getattr(exc, "reason", None) == "KEY_VALUES_MISMATCH":
            return CertificateUnusable(self._key, f"is not the key of {self._cert}")
        return CertificateUnusable(self._cert, f"cannot be used with {self._key} ({exc})")

    def _choose(self, connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:  # noqa: ARG002 ssl's signature
        connection.context = self._current.context


def instant(seconds: int) -> str:
    """Write Unix seconds as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def not_after(pem: bytes) -> int:
    """Return the end of the life of the first certificate of a chain, in Unix seconds (RFC 5280, 4.1.2.5).

    The first is the one that is shown for this process; what comes after it leads to an authority. Raises ValueError.
    """
    found = _FIRST.search(pem)
    if found is None:
        raise ValueError("it has no BEGIN CERTIFICATE")
    try:
        der = ssl.PEM_cert_to_DER_cert(f"-----BEGIN CERTIFICATE-----{found[1].decode()}-----END CERTIFICATE-----")
        fields = [*_parts(next(_parts(next(_parts(der))[1]))[1])]
        validity = fields[4 if fields[0][0] == CONSTRUCTED_VERSION else 3][1]  # after serial, algorithm, issuer
        (_, (tag, text)) = _parts(validity)
        return _seconds(tag, text.decode())
    except (IndexError, StopIteration) as exc:
        raise ValueError("its first certificate is cut") from exc


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of each value of a DER sequence (X.690, 8.1)."""
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length >= 0x80:  # the length of the length
            at, length = at + length - 0x80, int.from_bytes(der[at : at + length - 0x80], "big")
        yield tag, der[at : at + length]
        at += length


def _seconds(tag: int, text: str) -> int:
    if tag == UTC_TIME:  # two digits of the year, from 1950
        text = ("19" if text[:2] >= "50" else "20") + text
    return timegm(datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timetuple())


def _digest(cert: bytes, key: bytes) -> bytes:
    return hashlib.sha256(cert + b"\0" + key).digest()


def _regular(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_PEM_BYTES)
    except FileRefusedError as exc:
        raise CertificateUnusable(path, str(exc.strerror)) from exc
    except OSError as exc:
        raise CertificateUnusable(path, f"cannot be read: {exc.strerror or exc}") from exc
