"""The collector's settings, each once: what `abside collector` takes, with its bound's reason."""

from __future__ import annotations

from dataclasses import MISSING, dataclass
from pathlib import Path

from abside.environ import address, host_name, integer, log_format, log_level, positive, seconds, setting, size
from abside.kafka import KafkaAddress, parse_address


def days(value: str) -> int:
    """Read a whole number of days ≥ 1. Raises ValueError."""
    # 0 would mean "keep nothing" to one reader and "keep all" to another, and the wrong guess deletes a store.
    if (number := integer(value)) < 1:
        raise ValueError(f"{value!r} is not a number of days ≥ 1; leave the setting out to keep every day")
    return number


def store_place(value: str) -> Path | str:
    """Read a directory, or the URL of an object store, which stays text."""
    return value if "://" in value else Path(value)


def kafka_topic(value: str) -> KafkaAddress:
    """Read `kafka://broker:9092,…/topic`. Raises ValueError."""
    topic = parse_address(value)
    if topic.query:
        raise ValueError(f"{topic} takes no parameters here: a collector reads both formats; leave ?… out")
    return topic


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Every setting of the collector. Sizes are bytes, times seconds."""

    store: Path | str = setting(
        MISSING,
        "directory of the Parquet files; one collector owns it. With --kafka also s3://bucket/prefix, gs:// or az://, "
        "and any number of collectors",
        store_place,
    )
    listen: str = setting("*:7700", "address for batches", address)  # sidecars of other pods send to it
    allow_name: tuple[str, ...] = setting(
        (),
        "a further name accepted in Host over loopback, for a proxy on the same machine; may be given several times",
        host_name,
        many=True,
    )
    group_seconds: float | None = setting(
        None, "how long batches are collected before they are written to one file: 1 s; with --kafka 60 s", seconds
    )
    group_bytes: int = setting(
        "64MiB",
        "a group of this size is written at once; with --kafka, all groups together",
        positive(size),
    )
    kafka: KafkaAddress | None = setting(
        None, "read from this topic, kafka://broker:9092,broker:9092/topic, in place of receiving batches", kafka_topic
    )
    group: str | None = setting(None, "the consumer group, with --kafka: collectors of one store share it")
    kafka_config: Path | None = setting(
        None, "file of librdkafka properties, name=value a line, for TLS and SASL; with --kafka", Path
    )
    merge_seconds: float = setting(
        "600", "how often small files are merged; a file that a report reads stays as long", positive(seconds)
    )
    keep_days: int | None = setting(None, "days kept beside the store's newest; without it every day is kept", days)
    archive: str | None = setting(
        None, "s3://bucket/prefix, gs://…, az://… or a directory to which merged files are copied as well", str
    )
    known_days: int = setting("7", "days beside the store's newest whose batch ids are known after a restart", days)
    token_file: Path | None = setting(
        None, "file with the bearer token that senders must send; read for each request", Path
    )
    tls_cert: Path | None = setting(
        None, "certificate chain, PEM; together with --tls-key; read again when it changes", Path
    )
    tls_key: Path | None = setting(None, "private key, PEM", Path)
    tls_poll_seconds: float = setting(
        "10", "how often the certificate's files are checked; with --tls-cert", positive(seconds), beside="tls_cert"
    )

    max_batch_bytes: int = setting(
        "16MiB", "largest batch, packed or unpacked: a sidecar's largest segment", positive(size)
    )
    max_pending_bytes: int = setting("256MiB", "most bytes of batches not yet written; beyond it 503", positive(size))
    max_connections: int = setting(
        "1024",
        "open connections (beyond it, the longest idle one is closed) and requests at once: 50 KB each, 300 by TLS",
        positive(integer),
    )
    header_seconds: float = setting("10", "how long a connection's first headers may take", positive(seconds))
    body_seconds: float = setting("30", "how long a body may take: 16 MiB at 5 Mbit/s", positive(seconds))
    keepalive_seconds: float = setting("75", "how long an idle connection is kept", positive(seconds))
    drain_seconds: float = setting("20", "from SIGTERM to exit, at most; below the pod's grace period", seconds)
    log_level: str = setting("info", "least severe log line written", log_level)
    log_format: str = setting("text", "form of log lines: text, or json for one object a line", log_format)
