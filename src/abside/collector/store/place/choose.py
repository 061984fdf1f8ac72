"""From what a person wrote to a place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from abside.collector.store.place.contract import PlaceRefused
from abside.collector.store.place.directory import DirectoryPlace

if TYPE_CHECKING:
    from abside.collector.store.place.contract import StorePlace

SCHEMES = ("s3", "gs", "az")
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)")


def is_url(text: str) -> bool:
    """Whether this names an object store, or tries to, and no directory."""
    return _URL.match(text) is not None


def open_place(text: str) -> StorePlace:
    """Return the place that `text` names: a directory, or `s3://bucket/prefix`, `gs://…`, `az://account/container/…`.

    Nothing is read or connected. Raises PlaceRefused, also where the extra `objects` is not installed.
    """
    url = _URL.match(text)
    if url is None:
        return DirectoryPlace(Path(text))
    scheme, rest = url[1].lower(), url[2]
    if "@" in rest or "?" in rest or "#" in rest:
        shown = f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"
        raise PlaceRefused(shown, "write scheme://bucket/prefix only: credentials come from environment variables")
    if scheme not in SCHEMES:
        known = ", ".join(f"{one}://bucket/prefix" for one in SCHEMES)
        raise PlaceRefused(text, f"the scheme {scheme} is not known; write a directory, or {known}")
    if not rest.strip("/") or rest.startswith("/"):
        raise PlaceRefused(text, f"it names no bucket; write {scheme}://bucket/prefix")
    try:
        from abside.collector.store.place.bucket import BucketPlace  # noqa: PLC0415 obstore is an extra, and 5 MB
    except ModuleNotFoundError as exc:
        raise PlaceRefused(text, "this needs obstore: pip install 'abside[objects]'") from exc
    return BucketPlace(f"{scheme}://{rest}")
