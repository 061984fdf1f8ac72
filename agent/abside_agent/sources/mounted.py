"""Reads mounted directories with the semantics of a ConfigMap volume: behind `..data`, all keys of one moment.

The kubelet swaps a ConfigMap by renaming the symlink `..data` to another directory. All keys are therefore read in the
directory that it points to, and again when that was replaced meanwhile. Plain directories work as well.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from abside.files import FileRefusedError, open_regular
from abside_agent.document.reading import MAX_FILES, MAX_TOTAL_BYTES, File, Lost, Reading, is_document
from abside_agent.document.tree import Severity, flaw
from abside_agent.sources.keys import READ_BYTES, Keys, odd_names

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

    from abside.snapshot import Problem
    from abside_agent.document.reading import Pauses
    from abside_agent.sources.followed import Followed
    from abside_agent.sources.newest import Watched

DATA = "..data"
READ_ATTEMPTS = 5  # a swap takes microseconds and there is one a minute; a key that is still missing is a broken link
MAX_REASON_BYTES = 1024  # of a pause's reason: a sentence, not a report
MOUNTS = Path("/proc/self/mountinfo")


@dataclass(slots=True)
class Mounted:
    """Reads the config and paused directories. `mounts`: this process's mount points, to recognise subPath.

    `watched`: the ConfigMap of the first paused directory by the API, sooner than the volume; `followed`: those of the
    first config directory.
    """

    config: tuple[str, ...]
    paused: tuple[str, ...] = ()
    mounts: frozenset[str] = frozenset()
    watched: Watched | None = None
    followed: Followed | None = None
    _pauses: dict[str, Pauses] = field(default_factory=dict)  # directory → its last pauses

    @property
    def is_atomic(self) -> bool:
        """Whether every directory is swapped as a whole, so that no file is ever half-written."""
        return all(Path(directory, DATA).is_symlink() for directory in (*self.config, *self.paused))

    def read(self) -> Reading:
        """Read everything once. Never raises for the state of the directories."""
        reader = _DirectoryReader(self.mounts)
        for number, (directory, label) in enumerate(zip(self.config, labels(self.config), strict=True)):
            reader.config(directory, label, self.followed if number == 0 else None)
        return self._with_pauses(reader)

    def read_pauses(self) -> Reading:
        """Read only the paused directories: the reading has no files."""
        return self._with_pauses(_DirectoryReader(self.mounts))

    def _with_pauses(self, reader: _DirectoryReader) -> Reading:
        for directory in self.paused:
            seen = reader.paused(directory)
            if seen is not None:
                self._pauses[directory] = seen
        called = [label or shown_name(Path(self.paused[0]).name) for label in labels(self.paused)]
        known = {label: self._pauses.get(directory) for directory, label in zip(self.paused, called, strict=True)}
        keeps: list[str] = []
        lifted: dict[str, tuple[str, ...]] = {}
        if self.watched is not None:
            first = called[0] if called else self.watched.name
            judged = self.watched.judge(known.get(first))
            known = {**known, first: judged.pauses}
            keeps += [first] if judged.keeps else []
            lifted |= {first: judged.lifted} if judged.lifted else {}
            reader.problems += self.watched.problems
        keeps += [label for label, found in known.items() if found is None]
        paused = {label: found or {} for label, found in known.items()}
        order = tuple(f"{label}/" for label in labels(self.config) if label)
        found = (tuple(reader.files), tuple(reader.lost), tuple(reader.problems))
        return Reading(*found, paused, tuple(keeps), lifted, order)


def labels(directories: tuple[str, ...]) -> list[str]:
    """Return a prefix for the files of each directory: empty for a single one, else its shortest distinct ending."""
    if len(directories) <= 1:
        return [""] * len(directories)
    directories = tuple(map(shown_name, directories))
    parts = [Path(directory).absolute().parts for directory in directories]
    for length in range(1, max(map(len, parts))):
        endings = ["/".join(path[-length:]) for path in parts]
        if len(set(endings)) == len(endings):
            return endings
    return list(directories)


def mount_points(text: str) -> frozenset[str]:
    """Return the mount points in a mountinfo (proc(5)): the fifth field, with blanks and the like in octal."""
    points = (line.split(" ")[4] for line in text.splitlines() if line.count(" ") > 4)
    return frozenset(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point) for point in points)


class _DirectoryReader:
    """One reading of all directories, within its bounds."""

    def __init__(self, mounts: frozenset[str]) -> None:
        self.mounts = mounts
        self.files: list[File] = []
        self.lost: list[Lost] = []
        self.problems: list[Problem] = []
        self.left_bytes = MAX_TOTAL_BYTES

    def config(self, directory: str, label: str, followed: Followed | None) -> None:
        prefix = f"{label}/" if label else ""
        keys, refusal = documents_in(directory)
        if followed is not None:
            keys = followed.judge(keys)
            self.problems += followed.problems
        if keys is None or not keys.found:
            self.lost.append(Lost(shown_name(directory), prefix, refusal if keys is None else ""))
        if keys is not None:
            for name, (data, why) in keys.found.items():
                self.files.append(self.file(prefix + name, data, why, label or shown_name(directory)))
            for name in keys.odd:
                message, remedy = "only *.yaml is read", f"rename it to {Path(name).stem}.yaml"
                self.note("FILE_NAME", prefix + name, message, remedy, severity="warning")
        with suppress(OSError):  # it vanished meanwhile: the next reading reports that
            self.subpaths(directory, prefix)

    def file(self, name: str, data: bytes, refusal: str, directory: str) -> File:
        self.left_bytes -= len(data)
        if len(self.files) >= MAX_FILES:
            return File(name, b"", directory, f"more than {MAX_FILES} files")
        if self.left_bytes < 0:
            return File(name, b"", directory, f"more than {MAX_TOTAL_BYTES // 2**20} MiB of documents")
        return File(name, data, directory, refusal)

    def subpaths(self, directory: str, prefix: str) -> None:
        """Warn of files mounted by subPath: the kubelet never updates them."""
        if Path(directory, DATA).is_symlink():
            return
        for name in _names(Path(directory)):
            if str(Path(directory, name).absolute()) in self.mounts:
                message = "mounted by subPath: Kubernetes never updates it"
                self.note("SUBPATH", prefix + name, message, "mount the ConfigMap as a directory", severity="warning")

    def paused(self, directory: str) -> Pauses | None:
        """Return the pauses of a directory; None when it cannot be seen."""
        try:
            found = read_keys(directory, lambda _: True, MAX_REASON_BYTES)
        except OSError as exc:
            message = f"the paused directory cannot be read: {exc.strerror}; what was paused stays paused"
            self.note("PAUSED_DIRECTORY", directory, message, "mount it there", severity="warning")
            return None
        return {name: reason_of(data) for name, (data, _) in found.items()}

    def note(self, code: str, file: str, message: str, remedy: str, *, severity: Severity = "error") -> None:
        self.problems.append(flaw(shown_name(file), code, (), message, remedy, severity=severity).problem)


def documents_in(directory: str) -> tuple[Keys | None, str]:
    """Return the documents of a directory; None, and why, when it cannot be read."""
    try:
        found = read_keys(directory, is_document, READ_BYTES)
    except OSError as exc:
        return None, exc.strerror or str(exc)
    try:
        return Keys(found, odd_names(map(shown_name, _names(Path(directory))))), ""
    except OSError:  # it vanished meanwhile: the next reading reports that
        return Keys(found), ""


def read_keys(directory: str, wanted: Callable[[str], bool], limit: int) -> dict[str, tuple[bytes, str]]:
    """Read the keys of one moment, each up to `limit` bytes: name → (data, why there is none).

    Names that begin with a dot are no keys. Raises OSError when the directory cannot be read.
    """
    attempt = 0
    while True:
        attempt += 1
        before = _target(directory)
        base = Path(directory, before or "")
        try:
            names = [name for name in _names(base) if not name.startswith(".") and wanted(name)]
        except FileNotFoundError:
            if attempt == READ_ATTEMPTS or not Path(directory).is_dir():
                raise
            continue
        found = {name: read_file(base / name, limit) for name in names}
        vanished = any(data is None for data, _ in found.values())
        if attempt == READ_ATTEMPTS or (not vanished and _target(directory) == before):
            return {shown_name(name): (data or b"", refusal) for name, (data, refusal) in found.items()}


def reason_of(data: bytes) -> str:
    """Return the reason of a pause as text, for any bytes."""
    return data[:MAX_REASON_BYTES].decode("utf-8", "replace").strip()


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def shown_name(name: str) -> str:
    """Return a file name as valid UTF-8, for any bytes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _target(directory: str) -> str | None:
    """Return the target of `..data`, None where there is no such link."""
    try:
        return str(Path(directory, DATA).readlink())
    except OSError:
        return None


def read_file(path: Path, limit: int) -> tuple[bytes | None, str]:
    """Read one key; None where it vanished. Refuses a pipe or a device without waiting."""
    try:
        handle, status = open_regular(path, sys.maxsize)
    except FileNotFoundError:
        return (b"" if path.is_symlink() else None), "the file is gone, or a link to nothing"
    except FileRefusedError as exc:
        return b"", f"this is not a regular file: it {exc.strerror}"
    except OSError as exc:
        return b"", f"the file cannot be opened: {exc.strerror}"
    try:
        with open(handle, "rb", buffering=0, closefd=False) as file:
            # A read allocates the number of bytes asked for, so ask for the size. Files of the kernel have none.
            return _whole(file, min(limit, status.st_size)), ""
    except OSError as exc:
        return b"", f"the file cannot be read: {exc.strerror}"
    finally:
        os.close(handle)


def _whole(file: FileIO, size: int) -> bytes:
    chunks: list[bytes] = []
    while size > 0 and (chunk := file.read(size)):
        chunks.append(chunk)
        size -= len(chunk)
    return b"".join(chunks)
