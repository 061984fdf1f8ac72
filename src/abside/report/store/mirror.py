"""A store in an object store → a directory of the same names here: whole files, or only what each says of itself.

DuckDB reads whole files from here. Its extension for S3 is a separate download of exactly its own version, which an
offline machine does not get and 1.4.5 does not have on the package index; and a report reads the events some twenty
times, so that fetching them once is also the faster way. Spark reads them where they are, and here only the footers.
"""

from __future__ import annotations

import re
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from abside.collector.store import SUFFIX
from abside.collector.store.place import NameMissing, PlaceError, open_place
from abside.report.problem import NoEvents, NoRoom, StoreChanged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.collector.store.place import StorePlace

AT_ONCE = 8  # requests: a bucket answers one in tens of milliseconds
PART_BYTES = 8 * 2**20  # of a file, in memory at once
TAIL_BYTES = 64 * 2**10  # longer than most footers
MAX_FOOTER_BYTES = 64 * 2**20  # its length is a claim
OURS = re.compile(r"((store=[^/]+/)?dt=[0-9]{4}-[0-9]{2}-[0-9]{2}|topic=[^/]+/p=[0-9]{4,})/[^/]+")  # no other names


def mirror(url: str, folder: Path, *, whole: bool, tell: Callable[[str], None]) -> None:
    """Copy a store into a folder, or only its footers. Raises NoEvents, NoRoom, and StoreChanged."""
    try:
        place = open_place(url)
        names = [name for name in place.names() if OURS.fullmatch(name)]
        copy = _copy if whole else _copy_end
        with ThreadPoolExecutor(AT_ONCE) as pool:
            made = [pool.submit(copy, place, name, folder / name) for name in names]
            try:
                for number, one in enumerate(made):
                    one.result()
                    tell(f"{'fetching' if whole else 'looking at'} the store's files: {number + 1:,} of {len(names):,}")
            finally:
                for one in made:
                    one.cancel()
    except NameMissing as exc:
        raise StoreChanged from exc
    except PlaceError as exc:
        raise NoEvents(exc.name, exc.reason) from exc
    except OSError as exc:
        raise NoRoom("--work", exc) from exc


def _copy(place: StorePlace, name: str, path: Path) -> None:
    """Copy a file part by part; of one set aside only the name counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = place.size(name) if name.endswith(SUFFIX) else 0
    with path.open("xb") as out:
        for start in range(0, size, PART_BYTES):
            part = place.read_range(name, start, min(PART_BYTES, size - start))
            out.write(part)


def _copy_end(place: StorePlace, name: str, path: Path) -> None:
    """Copy a file's footer, which is its end: nothing else of it is looked at before it is read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    size = place.size(name) if name.endswith(SUFFIX) else 0
    end = b""
    if size:
        end = place.read_range(name, max(0, size - TAIL_BYTES), min(TAIL_BYTES, size))
        length = 8 + int(struct.unpack("<I", end[-8:-4].ljust(4, b"\0"))[0])
        if len(end) < length <= min(size, MAX_FOOTER_BYTES):
            end = place.read_range(name, size - length, length)
    path.write_bytes(end)
