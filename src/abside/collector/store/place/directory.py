"""A directory as a place: written beside, forced to disk, and named by `link()`, which never replaces."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from abside.collector.store.place.contract import NameMissing, NameTaken, PlaceFailed, PlaceRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

BESIDE = ".tmp"  # of a file not yet whole; its name begins with a dot too, which every reader skips
# What waiting does not mend. EPERM of link() is a file system without hard links.
REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOTSUP, errno.ENAMETOOLONG, errno.ELOOP}


class DirectoryPlace:
    """The files below a directory, which the first creation makes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shown = str(root)

    def names(self, below: str = "", *, after: str = "") -> list[str]:
        """List the whole files below a folder in order; names that begin with a dot are not whole, or not ours."""
        top = self.root / below
        found: list[str] = []
        with self._errors(below):
            for folder, folders, files in os.walk(top, onerror=_raise_unless_missing):
                folders[:] = [name for name in folders if not name.startswith(".")]
                inside = Path(folder).relative_to(self.root)
                found += [str(inside / name) for name in files if not name.startswith(".")]
        return sorted(name for name in found if name > after)

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        with self._errors(name):
            return (self.root / name).stat().st_size

    def read(self, name: str) -> bytes:
        """Return a whole file."""
        with self._errors(name):
            return (self.root / name).read_bytes()

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return some bytes of a file."""
        with self._errors(name), (self.root / name).open("rb") as file:
            return os.pread(file.fileno(), length, start)

    def create(self, name: str, content: bytes | Path) -> None:
        """Create a file: beside, fsync, link, fsync of its directory."""
        path = self.root / name
        # At random, and not by process id: two containers that share a disk are both process 1.
        beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}{BESIDE}")
        try:
            with self._errors(name):
                _make_folder(path.parent)
                try:
                    _write(beside, content)
                    _link(beside, path)
                finally:
                    with suppress(OSError):
                        beside.unlink()
                    _sync(path.parent)  # also of a name that is taken: whoever goes on from it relies on it
        except NameMissing as exc:  # the folder, removed in between; or the local file
            raise PlaceFailed(exc.name, "its folder was removed") from exc

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        shown = str(self.root / name)
        try:
            yield
        except FileExistsError as exc:
            raise NameTaken(shown, "the name is taken") from exc
        except FileNotFoundError as exc:
            raise NameMissing(shown, "there is no such file") from exc
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise (PlaceRefused if exc.errno in REFUSED else PlaceFailed)(shown, reason) from exc


def _make_folder(folder: Path) -> None:
    """Make a folder, and force each new name to disk: without it the files would go with it."""
    missing = [folder, *folder.parents]
    for one in reversed(missing[: next((at for at, path in enumerate(missing) if path.is_dir()), len(missing))]):
        try:
            one.mkdir(exist_ok=True)
        except FileExistsError as exc:
            raise NotADirectoryError(errno.ENOTDIR, "a file is where its folder belongs", str(one)) from exc
        _sync(one.parent)


def _write(path: Path, content: bytes | Path) -> None:
    with path.open("xb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            with content.open("rb") as source:
                shutil.copyfileobj(source, file, 2**20)
        file.flush()
        os.fsync(file.fileno())


def _link(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)
    except OSError:
        # A network file system may do it, lose the answer, and report an error when it tries again: two names tell.
        if beside.stat().st_nlink != 2:
            raise


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
