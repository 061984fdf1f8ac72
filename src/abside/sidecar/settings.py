"""The sidecar's settings, each once: what `abside sidecar` takes, with its bound's reason."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import host_name, integer, listed, log_level, one_of, seconds, setting, size, switch, text


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """All the sidecar can be told. Sizes are bytes, times seconds."""

    snapshot: Path = setting(MISSING, "the snapshot file the agent publishes", Path)
    spool: Path = setting(MISSING, "directory of accepted events not yet shipped", Path)
    listen: tuple[str, ...] = setting(
        ("127.0.0.1:7600",), "where decisions are answered; also unix:PATH; may be given several times", many=True
    )
    admin: str = setting("0.0.0.0:7601", "where health and metrics are answered")  # kubelet probes the pod
    allow_name: tuple[str, ...] = setting(
        (),
        "a further name it may be asked by over loopback, and whose pages may ask; may be given several times",
        host_name,
        many=True,
    )
    upstream: str | None = setting(None, "where batches go: http(s)://…; without it events stay in the spool")
    upstream_token_file: Path | None = setting(None, "file with the upstream's bearer token", Path)
    upstream_seconds: float = setting("10", "how long one batch may take to be answered", seconds)

    spool_open: Path | None = setting(
        None, "directory for what is written before an answer: in memory, so that none waits for the disk", Path
    )
    spool_limit: int = setting("256MiB", "spool quota; beyond it events are refused and exposures counted lost", size)
    spool_floor: int = setting("64MiB", "free disk space that is left alone", size)
    seal_seconds: float = setting("5", "a segment older than this is sealed: what a dying pod can lose", seconds)
    seal_bytes: int = setting(
        "512KiB", "a segment of this size is sealed; while some wait for our collector, up to four times", size
    )
    seal_events: int = setting("4000", "a segment of this many events is sealed; as above", integer)
    fsync: str = setting(
        "interval",
        "when the open segment is forced to disk: never, each second (interval), before outcomes are answered (always)",
        one_of("never", "interval", "always"),
    )

    poll_seconds: float = setting("0.25", "how often the snapshot file is looked at", seconds)
    startup_seconds: float = setting(
        "10", "how long start-up waits for a first snapshot before it reports ready", seconds
    )
    linger_seconds: float = setting("2", "how long after SIGTERM requests are still taken", seconds)
    drain_seconds: float = setting("25", "from SIGTERM to exit, at most; below the pod's grace period", seconds)

    max_assign_bytes: int = setting("64KiB", "largest assign or explain body", size)
    max_events_bytes: int = setting("4MiB", "largest events or exposures body", size)
    max_nesting: int = setting("32", "deepest JSON", integer)
    max_attributes: int = setting("64", "most attributes in a request", integer)
    max_placements: int = setting("32", "most placements in a request", integer)
    max_connections: int = setting(
        "1024", "connections kept (beyond it the one idle longest gives way) and requests at once: 50 KB each", integer
    )
    header_seconds: float = setting("10", "how long a connection's first headers may take", seconds)
    body_seconds: float = setting("10", "how long a body may take", seconds)
    keepalive_seconds: float = setting("75", "how long an idle connection is kept", seconds)

    fast_path: str = setting("on", "answer plain requests ahead of aiohttp", switch)
    shared_ids: tuple[str, ...] = setting(
        (), "more ids that mean nobody, in any case of letters, besides those in api.md", listed, many=True
    )
    allow_force: bool = setting(False, "let requests force variants (flagged, left out of analysis)", flag=True)
    metric_experiments: bool = setting(False, "label metrics by experiment and variant", flag=True)
    pod: str = setting("", "this pod's name, for events", text)
    app: str = setting("", "the application beside it, for events", text)
    app_version: str = setting("", "its version, for events", text)
    log_level: str = setting("info", "how much is logged", log_level)
