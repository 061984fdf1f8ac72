"""Settings: each stands once, as a field of its room's frozen settings record, with kind, default, help and bounds.

    class SidecarSettings:
        poll_seconds: float = setting(0.25, "how often the snapshot file is looked at", unit=SECONDS)

The command line option (`--poll-seconds`), the environment variable (`ABSIDE_POLL_SECONDS`) and the README's table
are all read off that field. The clock and the limit on descriptors stand here too: a process takes them from outside.
"""

from __future__ import annotations

import dataclasses
import re
import resource
import sys
import time
from contextlib import suppress
from dataclasses import MISSING, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "ABSIDE_"
_META = "abside.setting"


def now_us() -> int:
    """Give the wall clock in µs UTC."""
    return time.time_ns() // 1000


def raise_descriptor_limit() -> int:
    """Raise this process's soft limit on open descriptors to its hard one, where that is allowed; give the limit.

    Soft limits are low for the sake of select(), which nothing here uses; a descriptor short costs a disk operation.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it: the soft one then counts
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


RESERVED_DESCRIPTORS = 256  # files, locks, the upstream, name look-ups, 64 of the admin door, and bursts of accepts
BURST_SHARE = 16  # of the limit, for each door's connections beyond its bound: with 1,024 it is 64 for each of two


def connections_within(limit: int, wanted: int) -> int:
    """Give how many connections may be open, so that a limit on descriptors leaves enough for everything else."""
    return max(1, min(wanted, limit - min(RESERVED_DESCRIPTORS, limit // 2)))


def burst_within(wanted: int) -> int:
    """Give how many connections beyond its bound a door may have for a moment, by this process's limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft // BURST_SHARE))


def text(value: str) -> str:
    """Take the value as written."""
    return value


def listed(value: str) -> str:
    """Take one of several words as written. In an environment variable, commas or blanks stand between them."""
    return value


listed.separator = ","  # type: ignore[attr-defined]


def host_name(value: str) -> str:
    """Read the name of a host, for example `shop.example`, without scheme and port. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", value):
        raise ValueError(f"{value!r} is not the name of a host: write it without scheme and port, as in shop.example")
    return value.lower().rstrip(".")


host_name.separator = ","  # type: ignore[attr-defined]


def integer(value: str) -> int:
    """Read a whole number ≥ 0. Raises ValueError."""
    if not re.fullmatch(r"\d{1,12}", value):
        raise ValueError(f"{value!r} is not a whole number, for example 4000")
    return int(value)


def seconds(value: str) -> float:
    """Read seconds ≥ 0, for example `0.25`. Raises ValueError."""
    if not re.fullmatch(r"\d{1,9}(\.\d{1,6})?", value):
        raise ValueError(f"{value!r} is not a number of seconds, for example 0.25 or 30")
    return float(value)


SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def size(value: str) -> int:
    """Read a size in bytes with a binary unit, for example `256MiB`. Raises ValueError."""
    match = re.fullmatch(r"(\d{1,9})\s*(B|KiB|MiB|GiB)", value)
    if not match:
        raise ValueError(f"{value!r} is not a size: write a number and B, KiB, MiB or GiB, for example 256MiB")
    return int(match[1]) * SIZES[match[2]]


def one_of(*allowed: str) -> Callable[[str], str]:
    """Give a reader that takes one of a few words. The reader raises ValueError."""

    def choice(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"{value!r} is not one of {', '.join(allowed)}")
        return value

    choice.allowed = allowed  # type: ignore[attr-defined]
    return choice


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people meet it. `many`: given several times; `words`: a positional argument, not an option."""

    name: str
    read: Callable[[str], Any]
    default: Any  # as written on the command line; None: absent; MISSING: required
    help: str
    many: bool
    words: bool
    flag: bool

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
        """Whether it must be given."""
        return self.default is MISSING


def setting(
    default: Any,
    help: str,  # noqa: A002 the word people know it by
    read: Callable[[str], Any] = text,
    *,
    many: bool = False,
    words: bool = False,
    flag: bool = False,
) -> Any:
    """Declare a setting as a dataclass field. `default` is what a person would type (`"256MiB"`), None, or MISSING."""
    value: Any
    if default is MISSING or default is None:
        value = default
    elif many:
        value = tuple(read(item) for item in default)
    else:
        value = default if flag else read(default)
    meta = {_META: (read, default, help, many, words, flag)}
    return dataclasses.field(metadata=meta) if value is MISSING else dataclasses.field(default=value, metadata=meta)


def settings_of(record: type[Any]) -> list[Setting]:
    """List the settings of a settings record, in its own order."""
    return [Setting(field.name, *field.metadata[_META]) for field in dataclasses.fields(record)]
