"""Where a listener is: `host:port` as sockets to listen on; `*` is every address of this machine, of IPv4 and IPv6."""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING

from abside.log import Log

if TYPE_CHECKING:
    import asyncio

EVERYWHERE = "*"
# What a machine without IPv6 answers: no such family, no such address, or no socket of it that takes IPv4 as well.
NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL, errno.ENOPROTOOPT})
log = Log("abside.serve.address")


def split_address(address: str) -> tuple[str, int]:
    """Read `host:port` (`[::1]:7600` and `*:7600` too; no host is `*`). Raises ValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{address!r} is not an address: write host:port, for example 127.0.0.1:7600, or unix:PATH")
    return host.strip("[]") or EVERYWHERE, int(port)


def join_address(host: str, port: int) -> str:
    """Write an address as `split_address` reads it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_everywhere(port: int) -> socket.socket:
    """Return one socket for every address: of both families where this machine has IPv6, else of IPv4.

    A probe asks a pod at its first address, whose family is the cluster's choice. With a socket for each family, port 0
    would be two ports. Raises OSError for one that is taken.
    """
    try:
        return _bound(socket.AF_INET6, "::", port)
    except OSError as exc:
        if exc.errno not in NO_IPV6:
            raise
        log.info("ipv4_only", port=port, why=exc.strerror)
    return _bound(socket.AF_INET, "0.0.0.0", port)  # noqa: S104 it is what `*` asks for


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    made = socket.socket(family)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # a system may have it on
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio does: a restart gets its port at once
        made.bind((host, port))
    except OSError as exc:
        made.close()
        raise OSError(exc.errno, f"{EVERYWHERE}:{port} cannot be listened on: {exc.strerror}") from exc
    return made


def require_sockets(server: asyncio.Server, address: str) -> asyncio.Server:
    """Return a server that listens; asyncio makes one without a socket where the kernel has no such family.

    Raises OSError.
    """
    if not server.sockets:
        why = "this machine has no such addresses; host * is every address that it has"
        raise OSError(errno.EAFNOSUPPORT, f"{address} cannot be listened on: {why}")
    return server
