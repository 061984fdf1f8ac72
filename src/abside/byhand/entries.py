"""The files of a spool: each with its state, its events and the reason beside it; nothing here changes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside.files import read_regular
from abside.spool.frame import MAX_SEGMENT_BYTES, good_frames
from abside.spool.queue.dead import MAX_REASON_BYTES, REASON
from abside.spool.queue.returning import REQUESTS
from abside.spool.segment import OPEN, SEALED, UNFINISHED, home, listed, share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OPENED, WAITING, DEAD, RETURNING = "open", "waiting", "dead", "returning"
SHOWN_DAMAGE = 3  # places named of one file
NO_SPOOL = 2  # the exit code of a mistake in the command line


class NoSpool(Exception):  # noqa: N818 read as a sentence where it is caught
    """A directory that is no spool, or a name that is not in it; the sentence contains what would be right."""


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """The good events of a file in order, and what is wrong with the rest (empty: nothing)."""

    payloads: list[bytes]
    damage: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One file. `part` is the cursor of a whole file (empty: at its beginning); `reason` why it is in dead/."""

    path: Path
    state: str
    bytes: int
    written_us: int
    part: str = ""
    reason: str = ""

    @property
    def name(self) -> str:
        """The file's name, as people write it."""
        return self.path.name if self.path.name.isprintable() else ascii(self.path.name)

    def contents(self) -> SpoolEntry:
        """Read the file's good events from its cursor on. Raises OSError."""
        found = good_frames(read_regular(self.path, MAX_SEGMENT_BYTES))
        left = share(self.part, len(found.payloads)).start
        damage = () if self.state == OPENED else found.damage  # what is being written may end anywhere
        shown = [str(one) for one in damage[:SHOWN_DAMAGE]]
        if len(damage) > SHOWN_DAMAGE:
            shown.append(f"and {len(damage) - SHOWN_DAMAGE} more")
        return SpoolEntry(found.payloads[left:], "; ".join(shown))

    def obstacle(self) -> str:
        """Return why a file of dead/ cannot go back into the queue; empty when it can."""
        if home(self.path.name) is None:
            return "stays: it is no segment; its good events went on without it, and what is damaged cannot be sent"
        try:
            found = self.contents()
        except OSError as exc:
            return f"stays: it cannot be read: {exc.strerror or exc}"
        if not found.payloads:
            return "stays: it holds no event that can be read"
        return ""


def entries(root: Path, elsewhere: Path | None = None) -> list[Entry]:
    """List the files of a spool: the queue oldest first, then dead/ by name. Raises NoSpool, OSError."""
    queue, dead = root / "q", root / "dead"
    if not queue.is_dir() or not dead.is_dir():
        raise NoSpool(f"{root} is no spool: it has no q/ and dead/; name the directory that the sidecar has as --spool")
    places = [queue] if elsewhere is None else [queue, elsewhere]
    waiting = [one for place in places for suffix in (SEALED, OPEN) for one in listed(place, suffix)]
    found = [
        Entry(one.path, OPENED if one.path.suffix == OPEN else WAITING, one.size, one.written_us, one.part)
        for one in sorted(waiting, key=lambda one: (one.seq, one.boot))
    ]
    return [*found, *_dead(dead, root / REQUESTS)]


def chosen(found: list[Entry], names: tuple[str, ...]) -> list[Entry]:
    """Return the entries with these names, all when there is none. Raises NoSpool for a name that is not there."""
    if not names:
        return found
    by_name = {entry.path.name: entry for entry in found}
    by_name |= {entry.path.name.removesuffix(SEALED): entry for entry in found}
    missing = [name for name in names if name not in by_name]
    if missing:
        raise NoSpool(f"{', '.join(missing)}: no such file here; `abside spool ls` lists them")
    return [by_name[name] for name in dict.fromkeys(names)]


def _dead(directory: Path, requests: Path) -> Iterator[Entry]:
    for path in sorted(directory.iterdir()):
        if path.suffix in {REASON, UNFINISHED} or path.is_symlink() or not path.is_file():
            continue
        status = path.stat()
        place = home(path.name)
        state = RETURNING if (requests / path.name).exists() else DEAD
        part = place[2] if place else ""
        yield Entry(path, state, status.st_size, status.st_mtime_ns // 1000, part, _reason(path))


def _reason(path: Path) -> str:
    try:
        words = read_regular(path.with_name(path.name + REASON), MAX_REASON_BYTES + 1)
    except OSError:
        return ""
    return " ".join(words.decode(errors="replace").split())
