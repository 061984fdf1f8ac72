"""The collector's settings, each once: what `abside collector` takes, with its bound's reason."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import host_name, integer, log_level, seconds, setting, size


def days(value: str) -> int:
    """Read a whole number of days ≥ 1. Raises ValueError."""
    # 0 would mean "keep nothing" to one reader and "keep all" to another, and the wrong guess deletes a store.
    if (number := integer(value)) < 1:
        raise ValueError(f"{value!r} is not a number of days ≥ 1; leave the setting out to keep every day")
    return number


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """All the collector can be told. Sizes are bytes, times seconds."""

    store: Path = setting(MISSING, "directory of the Parquet files; one collector owns it", Path)
    listen: str = setting("0.0.0.0:7700", "where batches are taken")  # sidecars of other pods send to it
    allow_name: tuple[str, ...] = setting(
        (),
        "a further name it may be asked by over loopback, as a proxy beside it does; may be given several times",
        host_name,
        many=True,
    )
    group_seconds: float = setting("1", "how long batches are gathered into one file before it is written", seconds)
    group_bytes: int = setting("64MiB", "a group of this size is written at once", size)
    keep_days: int | None = setting(None, "days kept beside the store's newest; without it every day is kept", days)
    known_days: int = setting("7", "days beside the store's newest whose batch ids are known after a restart", days)
    token_file: Path | None = setting(None, "file with the bearer token senders must show; read again when asked", Path)
    tls_cert: Path | None = setting(None, "certificate chain, PEM; together with --tls-key", Path)
    tls_key: Path | None = setting(None, "private key, PEM", Path)

    max_batch_bytes: int = setting("16MiB", "largest batch, packed or unpacked: a sidecar's largest segment", size)
    max_pending_bytes: int = setting("256MiB", "most bytes of batches not yet written; beyond it 503", size)
    max_connections: int = setting(
        "1024",
        "connections kept (beyond it the one idle longest gives way) and requests at once: 50 KB each, 300 by TLS",
        integer,
    )
    header_seconds: float = setting("10", "how long a connection's first headers may take", seconds)
    body_seconds: float = setting("30", "how long a body may take: 16 MiB at 5 Mbit/s", seconds)
    keepalive_seconds: float = setting("75", "how long an idle connection is kept", seconds)
    drain_seconds: float = setting("20", "from SIGTERM to exit, at most; below the pod's grace period", seconds)
    log_level: str = setting("info", "how much is logged", log_level)
