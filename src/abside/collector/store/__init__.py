"""The store on disk: Parquet files of one schema that appear whole, each with its batch ids in its footer."""

from abside.collector.store.files import (
    BESIDE,
    MERGED,
    SUFFIX,
    UNREADABLE,
    FileUnreadable,
    Footer,
    date_of,
    day_folders,
    days_of,
    footer_of,
    live_files,
    live_files_of,
    read_footer,
    read_metadata,
    reading,
    scan,
    superseded,
)
from abside.collector.store.schema import SCHEMA
from abside.collector.store.writing import NotSynced, StoreFailed, reason_of, sync, write_file

__all__ = [
    "BESIDE",
    "MERGED",
    "SCHEMA",
    "SUFFIX",
    "UNREADABLE",
    "FileUnreadable",
    "Footer",
    "NotSynced",
    "StoreFailed",
    "date_of",
    "day_folders",
    "days_of",
    "footer_of",
    "live_files",
    "live_files_of",
    "read_footer",
    "read_metadata",
    "reading",
    "reason_of",
    "scan",
    "superseded",
    "sync",
    "write_file",
]
