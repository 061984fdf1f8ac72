"""A prefix of an object store as a place, through obstore: S3, GCS and Azure, with a conditional put for creation.

Credentials and endpoint come from the environment variables of obstore itself: AWS_ACCESS_KEY_ID, AWS_ENDPOINT, …
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from abside.collector.store.place.contract import (
    NameFound,
    NameMissing,
    NameTaken,
    PlaceError,
    PlaceFailed,
    PlaceRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obstore.store import ObjectStore

# Few: whoever asks tries again itself, and shows that it does.
TRIES = 3
TRIES_SECONDS = 30
LONGEST_REASON = 300  # characters: an answer may contain a page
PASSING = {408, 409, 425, 429}  # statuses below 500 that another try may change
LASTING = {501, 505}  # and those above that none will
_STATUS = re.compile(r"status code: ([0-9]{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,64})</Code>")


class BucketPlace:
    """The objects below a prefix. A conditional put is one request: an object has at most the 5 GB that S3 allows."""

    def __init__(self, url: str, store: ObjectStore | None = None) -> None:
        """Connect nothing. Raises PlaceRefused for a URL or a variable that obstore cannot use."""
        self.shown = url.rstrip("/")
        with self._errors(""):
            self._store = store or from_url(
                url, retry_config={"max_retries": TRIES, "retry_timeout": timedelta(seconds=TRIES_SECONDS)}
            )

    def names(self, below: str = "", *, after: str = "") -> list[str]:
        """List the objects below a folder in order."""
        with self._errors(below):
            chunks = obstore.list(self._store, below or None, offset=after or None)
            return sorted(one["path"] for chunk in chunks for one in chunk)

    def size(self, name: str) -> int:
        """Return the bytes of an object."""
        with self._errors(name):
            return obstore.head(self._store, name)["size"]

    def read(self, name: str) -> bytes:
        """Return a whole object."""
        with self._errors(name):
            return bytes(obstore.get(self._store, name).bytes())

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """Return some bytes of an object."""
        with self._errors(name):
            return bytes(obstore.get_range(self._store, name, start=start, length=length))

    def create(self, name: str, content: bytes | Path) -> None:
        """Create an object with If-None-Match.

        Some servers refuse a name that is taken before they have read the content, and end the connection: the answer
        is lost then. So after a failure it is looked whether the name exists. An object appears whole.
        """
        try:
            with self._errors(name):
                obstore.put(self._store, name, content, mode="create")
        except NameMissing as exc:
            raise PlaceRefused(exc.name, "there is no such bucket or container") from exc
        except PlaceFailed as exc:
            if not self._exists(name):
                raise
            raise NameFound(exc.name, f"the name is taken; of its creation was said: {exc.reason}") from exc

    def _exists(self, name: str) -> bool:
        try:
            self.size(name)
        except PlaceError:
            return False
        return True

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        shown = f"{self.shown}/{name}" if name else self.shown
        try:
            yield
        except FileNotFoundError as exc:
            raise NameMissing(shown, "there is no such object") from exc
        except (BaseError, OSError, NotImplementedError, ValueError) as exc:
            raise _told(shown, exc) from exc


def _told(shown: str, error: Exception) -> PlaceError:
    """Return an error of obstore as one of ours: it has few types, so the status that it quotes decides."""
    if isinstance(error, (AlreadyExistsError, PreconditionError)):
        return NameTaken(shown, "the name is taken")
    reason = _reason(str(error))
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError, NotSupportedError, NotImplementedError)):
        return PlaceRefused(shown, reason)
    if isinstance(error, OSError):
        return PlaceFailed(shown, reason)
    found = _STATUS.search(str(error))
    status = int(found[1]) if found else None
    if status is None:  # no answer at all, or a configuration from which no request could be made
        asked = "HTTP error" in str(error) and "builder error" not in str(error)
        return (PlaceFailed if asked else PlaceRefused)(shown, reason)
    passing = status in PASSING or (status >= 500 and status not in LASTING)
    return (PlaceFailed if passing else PlaceRefused)(shown, reason)


def _reason(text: str) -> str:
    """Return the first line of obstore's text, which ends before the answer's body, and the code in that."""
    code = _CODE.search(text)
    line = text.partition("\n")[0].partition(": <?xml")[0].partition(": <Error>")[0]
    return line[:LONGEST_REASON] + (f" ({code[1]})" if code else "")
