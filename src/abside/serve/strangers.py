"""Which requests come from a web page of another site, by the headers that a browser adds.

A page of another site can post to localhost without a preflight (fetch with no-cors, sendBeacon, a form), and a site
whose name points to 127.0.0.1 after its page is loaded (DNS rebinding) can read the answers. Programs send neither
`Origin` nor `Sec-Fetch-Site`, and their Host is a name of this machine.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN_SITES = frozenset({"same-origin", "none"})  # of Sec-Fetch-Site: our own page; typed into the address bar
# Names that nobody can register, so that no page of a stranger is served under them: reserved, or of a cluster's DNS.
PRIVATE_ZONES = (".localhost", ".internal", ".svc", ".svc.cluster.local")
PORTS = {"http": "80", "https": "443"}
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+(?:%[0-9a-z._-]+)?\]|[a-z0-9._-]+?)\.?(?::([0-9]{0,5}))?\Z", re.IGNORECASE)
SHOWN_NAME_CHARS = 64  # of a name, in a refusal


class Hosts:
    """The names this process may be asked by; `names` are further ones, without a port."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = frozenset(name.lower().rstrip(".") for name in names)

    def lists(self, name: str) -> bool:
        """Return whether this name is among the further ones."""
        return name in self._names

    def knows(self, host: str) -> bool:
        """Return whether a Host header names this process.

        An address does: no DNS answer can change where it leads. So does a name without a dot or in PRIVATE_ZONES: it
        is this machine's, a pod's or a Service's.
        """
        name = name_of(host)
        if name is None:
            return False
        is_address = name.startswith("[") or name.rpartition(".")[2].isdigit()
        return is_address or "." not in name or name.endswith(PRIVATE_ZONES) or name in self._names


def name_of(authority: str) -> str | None:
    """Return the name in `name:port`, in lower case; None for text of another shape."""
    match = _AUTHORITY.match(authority.strip())
    return match[1].lower() if match else None


def foreign_page(sites: Iterable[str], origins: Iterable[str], host: str | None, hosts: Hosts) -> str | None:
    """Return the header that shows a request to come from another site's page, or None. Pure."""
    origins = list(origins)
    if origins and all(_is_listed(origin, hosts) for origin in origins):
        return None
    if not all(site.strip() in OWN_SITES for site in sites):
        return "Sec-Fetch-Site"
    if not all(_is_own(origin, host) for origin in origins):
        return "Origin"
    return None


def is_loopback(sockname: object) -> bool:
    """Return whether a connection came to a loopback address: from this machine, where a browser may run."""
    if not isinstance(sockname, tuple):
        return False  # a Unix socket: no browser connects to one
    address = str(sockname[0]).removeprefix("::ffff:")
    return address == "::1" or address.startswith("127.")


def _is_listed(origin: str, hosts: Hosts) -> bool:
    name = name_of(origin.partition("://")[2])
    return name is not None and hosts.lists(name)


def _is_own(origin: str, host: str | None) -> bool:
    """Compare an origin with the Host header, as both are written: a port that is its scheme's own may be left out."""
    scheme, _, authority = origin.strip().lower().partition("://")
    port = PORTS.get(scheme)
    asked, came = _AUTHORITY.match((host or "").strip().lower()), _AUTHORITY.match(authority)
    if port is None or asked is None or came is None:
        return False
    return (asked[1], asked[2] or port) == (came[1], came[2] or port)
