"""A sealed group becomes a file of its chain, or finds that another owner was there first. Blocks; made for threads."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from abside.collector.store.chain import packed_file
from abside.collector.store.place import NameTaken

if TYPE_CHECKING:
    from abside.collector.consume.gather import SealedGroup
    from abside.collector.store.chain import ChainKey
    from abside.collector.store.place import StorePlace

REFUSED = ".refused"  # of a record's value, set aside under its offset
MOST_REFUSED = (
    100  # set aside of one group: each is a file of its own; the others stay in Kafka as long as it keeps them
)


def store(place: StorePlace, key: ChainKey, group: SealedGroup, topic: str) -> None:
    """Write a group's file, and before it the refused records it passes.

    Raises NameTaken where another owner has written the name: the group is worth nothing then. Raises PlaceFailed and
    PlaceRefused.
    """
    for refused in group.refused[:MOST_REFUSED]:
        with suppress(NameTaken):  # by an owner before, who did not come as far as the file: an offset has one value
            place.create(f"{key.folder}/{refused.offset:020d}{REFUSED}", refused.value)
    place.create(key.name(group.begin), packed_file(group.pieces, key, group.begin, group.tip, topic))
