"""Settings: each is defined once, as a field of its room's frozen settings record, with type, default, help and bounds.

    class SidecarSettings:
        poll_seconds: float = setting("0.25", "how often the snapshot file is checked", seconds)

The command line option (`--poll-seconds`), the environment variable (`ABSIDE_POLL_SECONDS`) and the table in
docs/settings.md come from that field. The clock is here too: it is the other thing a process takes from outside.
"""

from __future__ import annotations

import dataclasses
import re
import socket
import time
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

PREFIX = "ABSIDE_"
_META = "abside.setting"
MAX_PORT = 65_535


def now_us() -> int:
    """Return the wall clock in µs UTC."""
    return time.time_ns() // 1000


def text(value: str) -> str:
    """Return the value as written."""
    return value


def listed(value: str) -> str:
    """Return one of several values as written. An environment variable separates them by commas or blanks."""
    return value


listed.separator = ","  # type: ignore[attr-defined]


def host_name(value: str) -> str:
    """Return the name of a host, for example `shop.example`, without scheme and port. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", value):
        raise ValueError(f"{value!r} is not the name of a host: write it without scheme and port, as in shop.example")
    return value.lower().rstrip(".")


host_name.separator = ","  # type: ignore[attr-defined]


def integer(value: str) -> int:
    """Return a whole number ≥ 0; blanks at the ends are ignored. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,12}", value.strip()):
        raise ValueError(f"{value!r} is not a whole number, for example 4000")
    return int(value)


SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
SECONDS |= {"sec": 1.0, "second": 1.0, "seconds": 1.0}


def seconds(value: str) -> float:
    """Return seconds ≥ 0, for example `0.25`, or with a unit, `250ms`, `5s`, `2m`, `1h`. Raises ValueError."""
    match = re.fullmatch(
        r"\+?([0-9]{1,9}(?:\.[0-9]{1,6})?|\.[0-9]{1,6})\s*(ms|s|sec|seconds?|m|min|h|)", value.strip().lower()
    )
    if not match:
        raise ValueError(f"{value!r} is not a number of seconds, for example 0.25 or 30, or 250ms, 5s, 2m")
    return float(match[1]) * SECONDS[match[2]]


SIZES = {"b": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "ki": 2**10, "mi": 2**20, "gi": 2**30}


def size(value: str) -> int:
    """Return a size in bytes, read with a binary unit: `256MiB` or, as Kubernetes writes it, `256Mi`.

    Raises ValueError, also for `MB`, which is 10^6 to some and 2^20 to others.
    """
    match = re.fullmatch(r"([0-9]{1,9})\s*(b|[kmg]ib?)", value.strip().lower())
    if not match:
        raise ValueError(f"{value!r} is not a size: write a number and B, KiB, MiB or GiB, for example 256MiB")
    return int(match[1]) * SIZES[match[2]]


def positive(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a reader as `read` that takes no zero, where it would mean that nothing works. It raises ValueError."""

    def reader(value: str) -> Any:
        number = read(value)
        if number <= 0:
            raise ValueError(f"{value!r} is nothing: it must be {'1 or more' if type(number) is int else 'above 0'}")
        return number

    reader.__name__ = read.__name__
    return reader


def address(value: str) -> str:
    """Take `host:port`, with port 0 for a free one, as written; host `*` is every address of IPv4 and IPv6.

    An address of IPv6 is in brackets, `[::1]:7600`. Raises ValueError.
    """
    host, colon, port = value.strip().rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > MAX_PORT:
        raise ValueError(f"{value!r} is not an address: write host:port, for example 127.0.0.1:7600 or *:7600")
    if (":" in host or "[" in host) and not _is_ipv6(host):
        raise ValueError(f"{value!r} is no address of IPv6: write it in brackets, for example [::1]:7600")
    return value.strip()


def _is_ipv6(host: str) -> bool:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        socket.inet_pton(socket.AF_INET6, bare.partition("%")[0])
    except OSError:
        return False
    return True


def address_or_socket(value: str) -> str:
    """Take an address, or `unix:PATH`. Raises ValueError."""
    if value.strip().startswith("unix:"):
        if value.strip() == "unix:":
            raise ValueError(f"{value!r} has no path: write unix:PATH, for example unix:/run/abside/abside.sock")
        return value.strip()
    try:
        return address(value)
    except ValueError as exc:
        raise ValueError(f"{exc}, or unix:PATH") from None


def one_of(*allowed: str, also: Mapping[str, str] | None = None) -> Callable[[str], str]:
    """Return a reader of one of a few words, in upper or lower case; it returns the word as it is written here.

    `also` maps other words to these. The reader raises ValueError.
    """
    known = {**{word.lower(): word for word in allowed}, **(also or {})}

    def choice(value: str) -> str:
        word = known.get(value.strip().lower())
        if word is None:
            raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
        return word

    choice.allowed = allowed  # type: ignore[attr-defined]
    return choice


LEVELS = {"warn": "warning", "err": "error", "information": "info", "trace": "debug"}
LEVELS |= {"critical": "error", "fatal": "error", "notice": "info"}
SWITCHES = {
    **dict.fromkeys(("true", "yes", "1", "enabled"), "on"),
    **dict.fromkeys(("false", "no", "0", "disabled"), "off"),
}
log_format = one_of("text", "json", also={"plain": "text"})
log_level = one_of("debug", "info", "warning", "error", also=LEVELS)
switch = one_of("on", "off", also=SWITCHES)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people see it. `many`: it may be repeated; `words`: a positional argument, not an option.

    `beside`: the setting without which it has no effect. On the command line it is refused then; its variable, which
    may be set for other commands, is ignored.
    """

    name: str
    read: Callable[[str], Any]
    default: Any  # as written on the command line; None: absent; MISSING: required
    help: str
    many: bool
    words: bool
    flag: bool
    beside: str = ""

    @property
    def option(self) -> str:
        """The command line option."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """The environment variable."""
        return PREFIX + self.name.upper()

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING


def setting(
    default: Any,
    help: str,  # noqa: A002 the usual word
    read: Callable[[str], Any] = text,
    *,
    many: bool = False,
    words: bool = False,
    flag: bool = False,
    beside: str = "",
) -> Any:
    """Return a dataclass field that declares a setting. `default` is as typed (`"256MiB"`), None or MISSING."""
    value: Any
    if default is MISSING or default is None:
        value = default
    elif many:
        value = tuple(read(item) for item in default)
    else:
        value = default if flag else read(default)
    meta = {_META: (read, default, help, many, words, flag, beside)}
    return dataclasses.field(metadata=meta) if value is MISSING else dataclasses.field(default=value, metadata=meta)


def settings_of(record: type[Any]) -> list[Setting]:
    """Return the settings of a settings record, in its own order."""
    return [Setting(field.name, *field.metadata[_META]) for field in dataclasses.fields(record)]


# The variables that Kubernetes adds to every pod for a Service called abside or abside-…: none is a setting.
_INJECTED = re.compile(r"ABSIDE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)?)")


def unknown(variables: Iterable[str], known: Iterable[Setting], every: Callable[[], set[str]]) -> Iterator[str]:
    """Yield a warning for each variable with our prefix that is no setting; `every` returns those of all commands."""
    own = {one.variable for one in known}
    ours = [name for name in variables if name.startswith(PREFIX) and not _INJECTED.fullmatch(name)]
    odd = sorted(set(ours) - own)
    if not odd:
        return
    from difflib import get_close_matches  # noqa: PLC0415 only a mistake pays for the import

    others = every()
    words = [variable.removeprefix(PREFIX) for variable in sorted(others | own)]
    for name in odd:
        if name not in others:
            close = get_close_matches(name.removeprefix(PREFIX), words, 1)
            hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
            yield f"warning: the environment variable {name} is no setting and is ignored{hint}"
