"""The folder of a process beside the sidecar, made and locked."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from abside.spool.errors import disk_failed
from abside.spool.page import LIMIT, LOCAL, PAGE, OwnPage, make_shared
from abside.spool.segment import OPEN, SEALED, listed
from abside.spool.settings import LIMIT_BYTES

if TYPE_CHECKING:
    from pathlib import Path

# Before the sidecar has said what this process may write, which takes it up to half a second: 30,000 exposures. But not
# more than this part of what is left: workers that die and come back while no sidecar runs must not fill the disk.
FIRST_BYTES = 16 * 2**20
FIRST_PART = 4

MAX_LOOKED = 100  # folders of others; the rest is taken to be like these, else two thousand that start take minutes


def claim(spool: Path, boot: str) -> OwnPage:
    """Make and lock `<spool>/local/<boot>`, under another name until it is locked. Raises SpoolFailed."""
    local, making = spool / LOCAL, spool / LOCAL / f".{boot}"
    page: OwnPage | None = None
    try:
        if not local.is_dir():
            with suppress(FileExistsError):
                make_shared(local)
        make_shared(making)
        page = OwnPage(making, _first_bytes(spool))
        making.rename(local / boot)
    except OSError as exc:
        if page is not None:
            page.close()
        with suppress(OSError):  # nothing of it may be in the way of the next call, which tries again
            (making / PAGE).unlink(missing_ok=True)
            making.rmdir()
        raise disk_failed("make the directory", local / boot, exc) from exc
    return page


def _first_bytes(spool: Path) -> int:
    """Return what a process may write until the sidecar has looked: a part of what the quota leaves."""
    local = spool / LOCAL
    try:
        limit = int((local / LIMIT).read_bytes())
    except (OSError, ValueError):  # no sidecar has been here
        limit = LIMIT_BYTES
    folders = list(local.iterdir())
    some = folders[:MAX_LOOKED]
    beside = sum(map(_bytes_in, some)) * len(folders) // max(1, len(some))
    return max(0, min(FIRST_BYTES, (limit - _bytes_in(spool / "q") - beside) // FIRST_PART))


def _bytes_in(directory: Path) -> int:
    return sum(one.size for suffix in (OPEN, SEALED) for one in listed(directory, suffix))
