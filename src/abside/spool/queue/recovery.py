"""Start-up: what an earlier process left behind becomes sealed segments; nothing accepted is dropped."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from abside.files import read_regular
from abside.log import Log
from abside.spool.errors import SpoolFailed
from abside.spool.folder import move, sync
from abside.spool.frame import MAGIC, MAX_SEGMENT_BYTES, good_frames
from abside.spool.segment import MAX_SEQ, OPEN, SEALED, WHOLE, Segment, listed, strangers, unfinished

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.folder import Folder
    from abside.spool.queue.dead import Dead
    from abside.spool.settings import SpoolStats

TAIL = ".tail"
KINDS = (OPEN, SEALED, WHOLE + SEALED)
SHOWN_STRANGERS = 5  # in the log line: of a directory full of them nobody reads more

log = Log("abside.spool")


def recover(folder: Folder, dead: Dead, stats: SpoolStats, *, durable: bool) -> list[Segment]:
    """Seal what was left open, cut behind its last good frame, and list all that is sealed, oldest first.

    Damage between good frames stays where it is: who reads the segment puts it into dead/. Never refuses to start
    because of what a file contains: what cannot be read is buried, what cannot be moved stays.
    """
    directories = [folder.queue] if folder.open == folder.queue else [folder.queue, folder.open]
    for directory in directories:
        _report_strangers(directory, stats)
        for copy in unfinished(directory):
            with suppress(OSError):
                copy.unlink()
    known = {(segment.seq, segment.boot) for directory in directories for segment in listed(directory, SEALED)}
    counts: dict[tuple[int, str], int | None] = {}
    left: set[str] = set()  # boots of which an open segment stays
    for directory in directories:
        for segment in listed(directory, OPEN):
            try:
                if (segment.seq, segment.boot) in known:
                    segment.path.unlink()  # its copy was sealed, and the move cut short
                else:
                    sealed_as = replace(segment, late=segment.boot in left)
                    counts[segment.seq, segment.boot] = seal_found(
                        sealed_as, folder.queue, dead, stats, durable=durable
                    )
            except (OSError, SpoolFailed) as exc:
                left.add(segment.boot)
                stats.failed(exc)
    sealed = [
        replace(segment, events=counts.get((segment.seq, segment.boot)))
        for directory in directories
        for segment in listed(directory, SEALED)
    ]
    return sorted(sealed, key=lambda segment: (segment.seq, segment.boot))


def _report_strangers(directory: Path, stats: SpoolStats) -> None:
    names = strangers(directory)
    if names:
        stats.stranger_files += len(names)
        log.warning(
            "spool_strangers",
            directory=str(directory),
            files=len(names),
            first=names[:SHOWN_STRANGERS],
            consequence="no segments of ours by name, kind or size: they are not shipped and stay where they are",
        )


def highest_seq(folder: Folder) -> int:
    """Return the highest sequence number in use, 0 when there is none. One beyond MAX_SEQ was never counted up to."""
    directories = (folder.queue, folder.open, folder.dead)
    found = [segment.seq for where in directories for kind in KINDS for segment in listed(where, kind)]
    return max((seq for seq in found if seq < MAX_SEQ), default=0)


def seal_found(segment: Segment, queue: Path, dead: Dead, stats: SpoolStats, *, durable: bool) -> int | None:
    """Seal one file; return how many events it contains, None where damage hides it. Raises OSError, SpoolFailed."""
    data = read_regular(segment.path, MAX_SEGMENT_BYTES)
    frames = good_frames(data)
    last = frames.damage[-1] if frames.damage else None
    end = last.offset if last and last.stop == len(data) else len(data)
    tail = data[end:]
    worthless = not tail.strip(b"\0") or (end == 0 and MAGIC.startswith(tail))
    if not frames.payloads:
        if worthless:
            segment.path.unlink()
        else:
            dead.take(segment.path, segment.name + SEALED, f"found open at start; {last}")
        return 0
    if not worthless:  # not a torn append for certain: a flipped length hides good frames
        with suppress(SpoolFailed):
            dead.keep(segment.name + TAIL, tail, f"cut off an open segment at start; {last}")
    if tail:
        os.truncate(segment.path, end)
        stats.cut_bytes += len(tail)
    if durable:
        sync(segment.path)
    move(segment.path, queue / segment.file_name, durable=durable)
    stats.recovered_segments += 1
    stats.recovered_events += len(frames.payloads)
    inside = frames.damage[:-1] if tail else frames.damage
    return None if inside else len(frames.payloads)
