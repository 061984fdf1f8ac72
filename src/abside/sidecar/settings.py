"""The sidecar's settings, each once: what `abside sidecar` takes, with its bound's reason."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import (
    address,
    address_or_socket,
    host_name,
    integer,
    listed,
    log_format,
    log_level,
    one_of,
    positive,
    seconds,
    setting,
    size,
    switch,
    text,
)


def upstream_url(value: str) -> str:
    """Take an upstream's URL as written. Raises UpstreamUrlError, a ValueError."""
    from abside.upstream.choose import check_url  # noqa: PLC0415 aiohttp, of which the help of commands has no need

    check_url(value.strip())
    return value.strip()


@dataclass(frozen=True, slots=True)
class SidecarSettings:
    """The settings of the sidecar. Sizes are bytes, times seconds."""

    snapshot: Path = setting(MISSING, "the snapshot file the agent publishes", Path)
    spool: Path = setting(MISSING, "directory of accepted events not yet shipped", Path)
    listen: tuple[str, ...] = setting(
        ("127.0.0.1:7600",),
        "address for decisions, or unix:PATH; may be given several times",
        address_or_socket,
        many=True,
    )
    admin: str = setting("*:7601", "address for health and metrics", address)  # kubelet probes the pod
    allow_name: tuple[str, ...] = setting(
        (),
        "a further name accepted in Host and Origin over loopback; may be given several times",
        host_name,
        many=True,
    )
    upstream: str | None = setting(
        None, "address for batches: http(s)://… or kafka://…; without it events stay in the spool", upstream_url
    )
    upstream_token_file: Path | None = setting(None, "file with the bearer token of an http(s):// upstream", Path)
    kafka_config: Path | None = setting(
        None, "file of librdkafka's properties (TLS, SASL, …) for a kafka:// upstream, lines name=value", Path
    )
    upstream_seconds: float = setting("10", "longest time until the answer to one batch", positive(seconds))

    spool_open: Path | None = setting(
        None, "directory of the open segment, in memory, so that no answer waits for the disk", Path
    )
    spool_limit: int = setting(
        "256MiB", "spool quota; beyond it events are refused and exposures counted lost", positive(size)
    )
    spool_floor: int = setting("64MiB", "free disk space that the spool never uses", size)
    seal_seconds: float = setting("5", "a segment older than this is sealed: what a dying pod can lose", seconds)
    quiet_seconds: float = setting(
        "30", "age of a segment with fewer than 100 events and 64 KiB; where longer, instead of the above", seconds
    )
    seal_bytes: int = setting(
        "512KiB",
        "a segment of this size is sealed; while some wait for our collector, up to four times",
        positive(size),
    )
    seal_events: int = setting("4000", "a segment of this many events is sealed; as above", positive(integer))
    fsync: str = setting(
        "interval",
        "when the open segment is forced to disk: never, each second (interval), before outcomes are answered (always)",
        one_of("never", "interval", "always"),
    )

    poll_seconds: float = setting("0.25", "how often the snapshot file is checked", positive(seconds))
    startup_seconds: float = setting(
        "10", "how long start-up waits for a first snapshot before it reports ready", seconds
    )
    linger_seconds: float = setting(
        "2", "how long after SIGTERM requests are still answered; half of the drain at most", seconds
    )
    drain_seconds: float = setting("25", "from SIGTERM to exit, at most; below the pod's grace period", seconds)

    max_assign_bytes: int = setting("64KiB", "largest body of a decision, evaluation or track", positive(size))
    max_events_bytes: int = setting("4MiB", "largest events or exposures body", positive(size))
    max_nesting: int = setting("32", "deepest JSON", positive(integer))
    max_attributes: int = setting("64", "most attributes in a request", positive(integer))
    max_placements: int = setting("32", "most placements in a request", positive(integer))
    max_connections: int = setting(
        "1024",
        "open connections (beyond it, the longest idle one is closed) and requests at once: 50 KB each",
        positive(integer),
    )
    header_seconds: float = setting("10", "how long a connection's first headers may take", positive(seconds))
    body_seconds: float = setting("10", "how long a body may take", positive(seconds))
    keepalive_seconds: float = setting("75", "how long an idle connection is kept", positive(seconds))

    fast_path: str = setting("on", "answer plain requests ahead of aiohttp", switch)
    ofrep_expose: str = setting(
        "on", "an evaluation of one flag over OFREP is exposure; off: it answers with an exposureToken", switch
    )
    shared_ids: tuple[str, ...] = setting(
        (), "further ids that stand for nobody, in upper or lower case, beside those in api.md", listed, many=True
    )
    allow_force: bool = setting(False, "let requests force variants (flagged, left out of analysis)", flag=True)
    metric_experiments: bool = setting(False, "label metrics by experiment and variant", flag=True)
    pod: str = setting("", "this pod's name, for events", text)
    app: str = setting("", "the application beside it, for events", text)
    app_version: str = setting("", "its version, for events", text)
    namespace: str = setting("", "the pod's namespace, for events", text)
    cluster: str = setting("", "the name of the cluster, for events", text)
    log_level: str = setting("info", "least severe log line written", log_level)
    log_format: str = setting("text", "form of log lines: text, or json for one object a line", log_format)
