"""The collector's two modes, over HTTP and from Kafka, and which settings belong to which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abside.environ import settings_of

if TYPE_CHECKING:
    from abside.collector.settings import CollectorSettings

ONLY_KAFKA = ("group", "kafka_config")
# Of batches that are received over HTTP; a topic and a bucket have rules of their own for all of this.
ONLY_HTTP = {
    "token_file": "only those who may write to the topic send events",
    "tls_cert": "the listener answers /v1/status, /metrics and probes only",
    "tls_key": "the listener answers /v1/status, /metrics and probes only",
    "tls_poll_seconds": "the listener answers /v1/status, /metrics and probes only",
    "keep_days": "how long files are kept is the store's own rule: a lifecycle rule of the bucket",
    "known_days": "a re-send is known by its place in its spool",
    "merge_seconds": "files are large from the start, and one writer each; nothing merges them",
    "archive": "--store itself may be a bucket",
    "max_batch_bytes": "there are no batches",
    "max_pending_bytes": "memory is bounded by --group-bytes, of which it takes up to twice as much",
}


class SettingWrong(Exception):  # noqa: N818 read as a sentence where it is caught
    """A setting that cannot be, or does not go with another."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(option, reason)
        self.option = option
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.option}: {self.reason}"


def check_mode(settings: CollectorSettings) -> None:
    """Raise SettingWrong for a setting that has no effect in the mode that was chosen."""
    rows = {one.name: one for one in settings_of(type(settings))}
    for name in ONLY_HTTP if settings.kafka else ONLY_KAFKA:
        row = rows[name]
        usual = row.read(row.default) if isinstance(row.default, str) else row.default
        if getattr(settings, name) != usual:
            reason = f"does not go with --kafka: {ONLY_HTTP[name]}" if settings.kafka else "needs --kafka"
            raise SettingWrong(row.option, reason)
    if settings.kafka and not settings.group:
        raise SettingWrong("--group", "--kafka needs the name of a group, which collectors of one store share")
    if not settings.kafka and isinstance(settings.store, str):
        raise SettingWrong("--store", f"{settings.store} needs --kafka: over HTTP a collector has a disk of its own")
