"""Warnings of documents that are nearly too large for a ConfigMap. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from abside_agent.document.reading import MAX_FILE_BYTES
from abside_agent.document.tree import Flaw, flaw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside_agent.document.reading import File

WARN_DIRECTORY_BYTES = 200 * 1024  # client-side `kubectl apply` fails above 256 KiB: warn before that


def sizes(files: list[File]) -> Iterator[Flaw]:
    """Warn of directories that approach the size limit of a ConfigMap, or of the client that applies it."""
    totals: dict[str, int] = defaultdict(int)
    for file in files:
        totals[file.directory] += len(
            file.data.lstrip(b"\n")
        )  # a manifest's keys begin with one empty line for each line above them
    for directory, total in totals.items():
        if total >= WARN_DIRECTORY_BYTES:
            message = f"{total // 1024} KiB of documents: a ConfigMap holds {MAX_FILE_BYTES // 1024} KiB"
            remedy = "use kubectl apply --server-side above 256 KiB, or split it over several ConfigMaps"
            where = directory or "documents"
            yield flaw(where, "CONFIGMAP_SIZE", (), message, remedy, severity="warning", value=f"{total} bytes")
