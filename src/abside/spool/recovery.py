"""Start-up: what an earlier process left behind becomes sealed segments; nothing accepted is dropped."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolFailed
from abside.spool.folder import move, sync
from abside.spool.frame import MAGIC, good_prefix
from abside.spool.segment import OPEN, SEALED, UNFINISHED, Segment, listed

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.dead import Dead
    from abside.spool.folder import Folder
    from abside.spool.settings import SpoolStats

TAIL = ".tail"


def recover(folder: Folder, dead: Dead, stats: SpoolStats, *, durable: bool) -> list[Segment]:
    """Seal what was left open, cut at its last good frame, and list all that is sealed, oldest first.

    Never refuses to start because of what a file holds: what cannot be read is buried, what cannot be moved stays.
    """
    directories = [folder.queue] if folder.open == folder.queue else [folder.queue, folder.open]
    for directory in directories:
        for copy in listed(directory, SEALED + UNFINISHED):
            with suppress(OSError):
                copy.path.unlink()
    known = {(segment.seq, segment.boot) for directory in directories for segment in listed(directory, SEALED)}
    counts: dict[tuple[int, str], int] = {}
    for directory in directories:
        for segment in listed(directory, OPEN):
            try:
                if (segment.seq, segment.boot) in known:
                    segment.path.unlink()  # its copy was sealed, and the move cut short
                else:
                    counts[segment.seq, segment.boot] = _seal(segment, folder.queue, dead, stats, durable=durable)
            except (OSError, SpoolFailed) as exc:
                stats.failed(exc)
    sealed = [
        replace(segment, events=counts.get((segment.seq, segment.boot)))
        for directory in directories
        for segment in listed(directory, SEALED)
    ]
    return sorted(sealed, key=lambda segment: (segment.seq, segment.boot))


def highest_seq(folder: Folder) -> int:
    """Give the highest sequence number in use anywhere, 0 when there is none."""
    directories = (folder.queue, folder.open, folder.dead)
    found = [segment for where in directories for kind in (OPEN, SEALED) for segment in listed(where, kind)]
    return max((segment.seq for segment in found), default=0)


def _seal(segment: Segment, queue: Path, dead: Dead, stats: SpoolStats, *, durable: bool) -> int:
    """Seal one file, and give how many events it holds. Raises OSError, SpoolFailed."""
    data = segment.path.read_bytes()
    prefix = good_prefix(data)
    tail = data[prefix.good_bytes :]
    worthless = not tail.strip(b"\0") or (prefix.good_bytes == 0 and MAGIC.startswith(tail))
    if not prefix.payloads:
        if worthless:
            segment.path.unlink()
        else:
            dead.take(segment.path, segment.name + SEALED, f"found open at start; {prefix.damage}")
        return 0
    if not worthless:  # not a torn append for certain: a flipped length hides good frames
        with suppress(SpoolFailed):
            dead.keep(segment.name + TAIL, tail, f"cut off an open segment at start; {prefix.damage}")
    if tail:
        os.truncate(segment.path, prefix.good_bytes)
        stats.cut_bytes += len(tail)
    if durable:
        sync(segment.path)
    move(segment.path, queue / (segment.name + SEALED), durable=durable)
    stats.recovered_segments += 1
    stats.recovered_events += len(prefix.payloads)
    return len(prefix.payloads)
