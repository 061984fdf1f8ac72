"""Where a store's files are: a directory, or a prefix of an object store. One contract, chosen by how it is written."""

from abside.collector.store.place.choose import SCHEMES, is_url, open_place
from abside.collector.store.place.contract import (
    NameFound,
    NameMissing,
    NameTaken,
    PlaceError,
    PlaceFailed,
    PlaceRefused,
    StorePlace,
    probe,
)
from abside.collector.store.place.directory import DirectoryPlace

__all__ = [
    "SCHEMES",
    "DirectoryPlace",
    "NameFound",
    "NameMissing",
    "NameTaken",
    "PlaceError",
    "PlaceFailed",
    "PlaceRefused",
    "StorePlace",
    "is_url",
    "open_place",
    "probe",
]
