"""What every place promises: a name is created once, whole and durable, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

PROBE = "_PROBE"  # readers of Parquet skip names that begin with an underscore


class PlaceError(Exception):
    """An operation that did not happen: `name` is the file or prefix as it may be shown, `reason` a sentence's end."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class NameTaken(PlaceError):  # noqa: N818 read as a sentence where it is caught
    """The name exists. Nothing was written; what is there may be one's own, where an earlier answer was lost."""


class NameFound(NameTaken):
    """The name was looked up after a creation without an answer, and exists: no proof that a second one is refused."""


class NameMissing(PlaceError):  # noqa: N818 read as a sentence where it is caught
    """No file has this name, or no longer."""


class PlaceFailed(PlaceError):  # noqa: N818 read as a sentence where it is caught
    """It failed for now: a full disk, a server that is away or busy. The same call may work later."""


class PlaceRefused(PlaceError):  # noqa: N818 read as a sentence where it is caught
    """It is refused until a person changes something: no such bucket, no permission, read-only, not supported."""


class StorePlace(Protocol):
    """A directory or a prefix. Names are relative, with `/` between parts; every method blocks, and any thread may ask.

    All raise PlaceFailed and PlaceRefused. `shown` names the place in logs: it contains no credentials.
    """

    shown: str

    def names(self, below: str = "", *, after: str = "") -> list[str]:
        """List the whole files below a folder, at any depth, in order; those greater than the name `after` only.

        A folder that does not exist has none.
        """
        ...

    def size(self, name: str) -> int:
        """Return the bytes of a file. Raises NameMissing."""
        ...

    def read(self, name: str) -> bytes:
        """Return a whole file. Raises NameMissing."""
        ...

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return `length` ≥ 1 bytes from `start`, which is inside the file; fewer where it ends before.

        Raises NameMissing.
        """
        ...

    def create(self, name: str, content: bytes | Path) -> None:
        """Create a file with these bytes, or those of a local file: whole, durable, and by one writer only.

        Raises NameTaken for a name that exists, whoever made it; then nothing is changed.
        """
        ...


def probe(place: StorePlace) -> None:
    """Check that a place can be written and refuses the second writer of a name: all that stands on it needs that.

    The name stays, so nobody needs a permission to delete. Raises PlaceFailed and PlaceRefused.
    """
    for _ in range(2):
        try:
            place.create(PROBE, b"abside writes this name to see that a name is created once only\n")
        except NameFound as exc:
            raise PlaceFailed(exc.name, exc.reason) from exc
        except NameTaken:
            return
    raise PlaceRefused(place.shown, "it overwrites a file that exists; a store needs creation that is exclusive")
