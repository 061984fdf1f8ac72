"""Where the sidecar listens: `http://127.0.0.1:7600` or `unix:PATH`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT = "http://127.0.0.1:7600"
MAX_UNIX_PATH_BYTES = 107  # of sockaddr_un on Linux, the closing zero left out


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address, or a Unix socket where `path` is set. `text` is the Host header."""

    host: str
    port: int
    path: str | None = None

    @property
    def text(self) -> str:
        """Return `host:port`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read an address. Raises ValueError with the remedy."""
    if not isinstance(text, str):  # for example None, from a variable that is not set
        raise ValueError(f"{text!r} is not an address; {_REMEDY}")  # noqa: TRY004 one error for every wrong address
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not 0 < len(os.fsencode(path)) <= MAX_UNIX_PATH_BYTES or "\0" in path:
            raise ValueError(f"{text!r}: a socket's path has 1 to {MAX_UNIX_PATH_BYTES} bytes")
        return Address("localhost", 80, path)
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise ValueError(f"{text!r} is not an address: {exc}; {_REMEDY}") from exc
    rest = parts.path.rstrip("/") or parts.query or parts.fragment or parts.username or parts.password
    if parts.scheme != "http" or host is None or not port or rest:
        raise ValueError(f"{text!r} is not an address; {_REMEDY}")
    if host == "localhost":
        host = "127.0.0.1"  # where the sidecar listens, without a name look-up
    try:
        ip_address(host)
    except ValueError as exc:
        raise ValueError(f"{text!r}: a name would be looked up outside the deadline; {_REMEDY}") from exc
    return Address(host, port)


_REMEDY = "write http:// with an IP address and a port, for example http://127.0.0.1:7600, or unix:PATH"
