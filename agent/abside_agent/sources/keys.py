"""The documents among the keys of a ConfigMap, from its volume or from the API."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from abside_agent.document.reading import MAX_FILE_BYTES, is_document

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

READ_BYTES = MAX_FILE_BYTES + 1  # of one key: enough to see that it is too large


@dataclass(frozen=True, slots=True)
class Keys:
    """The documents of one directory at one moment: name → (data, why there is none); `odd`: similar names."""

    found: dict[str, tuple[bytes, str]]
    odd: tuple[str, ...] = ()

    def digest(self) -> bytes:
        """Return the digest that distinguishes two of them; names that are not read do not count."""
        digest = hashlib.sha256()
        for name, (data, refusal) in self.found.items():
            for part in (name.encode(), data, refusal.encode()):
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
        return digest.digest()


def odd_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that were probably meant as documents, as `x.yml`."""
    return tuple(
        name
        for name in names
        if name[0] != "." and not name.endswith(".yaml") and name.lower().endswith((".yml", ".yaml"))
    )


def documents_of(keys: Mapping[str, bytes]) -> Keys:
    """Return the documents of a ConfigMap as its directory shows them: the same names, order and bound."""
    found = {name: (data[:READ_BYTES], "") for name, data in sorted(keys.items()) if is_document(name)}
    return Keys(found, odd_names(sorted(keys)))


def merged(parts: Iterable[Keys]) -> Keys:
    """Return what one projected volume of several ConfigMaps shows: of a key in two of them, the later one."""
    found: dict[str, tuple[bytes, str]] = {}
    odd: set[str] = set()
    for part in parts:
        found |= part.found
        odd |= set(part.odd)
    return Keys(dict(sorted(found.items())), tuple(sorted(odd)))
