"""Where a form of the report goes: a file appears whole, a device or a pipe is written to, `-` is standard output."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from abside.report.problem import NoRoom

STDOUT = Path("-")


@dataclass(frozen=True, slots=True)
class Outlet:
    """One place that can be written to. `place` None: standard output; `is_whole`: a file that is replaced."""

    option: str
    place: Path | None
    is_whole: bool

    @classmethod
    def open(cls, option: str, place: Path) -> Outlet:
        """Look whether a place can be written to, before any work. Raises NoRoom."""
        if place == STDOUT:
            return cls(option, None, is_whole=False)
        try:
            return cls._looked_at(option, place)
        except OSError as exc:
            raise NoRoom(option, exc) from exc

    @classmethod
    def _looked_at(cls, option: str, place: Path) -> Outlet:
        """Find out what a place is. A link stays one: what it leads to is written. Raises OSError."""
        target = place.resolve()
        try:
            found = place.stat()
        except FileNotFoundError:
            found = None
        if found is not None and _is_stream(found, 1):
            return cls(option, None, is_whole=False)
        if found is None and not target.parent.is_dir():
            raise FileNotFoundError(2, "is no directory; make it first", str(target.parent))
        if found is None or (stat.S_ISREG(found.st_mode) and not _is_stream(found, 2)):
            with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name[:100]}."):
                return cls(option, target, is_whole=True)
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(21, "is a directory; name a file in it", str(place))
        if not os.access(place, os.W_OK):
            raise PermissionError(13, "is not writable", str(place))
        return cls(option, place, is_whole=False)

    def write(self, data: bytes) -> None:
        """Write it all. Raises NoRoom; then a file is what it was."""
        try:
            if self.place is None:
                sys.stdout.flush()
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            elif self.is_whole:
                _replace(self.place, data)
            else:
                with self.place.open("ab", buffering=0) as out:  # a device has no end to cut
                    written = 0
                    while written < len(data):
                        written += out.write(data[written:])
        except OSError as exc:
            raise NoRoom(self.option, exc) from exc


def _is_stream(found: os.stat_result, descriptor: int) -> bool:
    """Whether a place is this process's own output, by whatever name: a redirected file must not be replaced."""
    with suppress(OSError):
        return os.path.samestat(found, os.fstat(descriptor))
    return False


def _replace(place: Path, data: bytes) -> None:
    """Write beside, then rename. What is left of a failure is removed."""
    prefix = f".{place.name[:100]}."
    beside = tempfile.NamedTemporaryFile(dir=place.parent, prefix=prefix, delete=False)  # noqa: SIM115 -- closed below
    try:
        with beside:
            beside.write(data)
        mode = place.stat().st_mode if place.exists() else 0o666 & ~_umask()
        Path(beside.name).chmod(stat.S_IMODE(mode))
        Path(beside.name).replace(place)
    except BaseException:
        with suppress(OSError):
            Path(beside.name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
