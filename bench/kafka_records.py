"""Kafka records as a sidecar writes them, without a broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from abside import event
from abside.collector.consume.gather import Gatherer

if TYPE_CHECKING:
    from abside.collector.store.chain import ChainTip

NOW_US = 1_790_078_400_000_000


@dataclass
class Message:
    """A record as confluent-kafka returns it."""

    at: int
    content: bytes | None
    given: list[tuple[str, bytes]] | None
    us: int = NOW_US

    def offset(self) -> int:
        return self.at

    def timestamp(self) -> tuple[int, int]:
        return 1, self.us // 1000

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self.given

    def value(self) -> bytes | None:
        return self.content


def view(event_id: str) -> dict[str, Any]:
    return {
        "event_id": event_id,
        "type": "page_view",
        "ts": NOW_US,
        "seen_ts": NOW_US,
        "user_id": "u",
        "session_id": None,
        "page_type": "pdp",
    }


def message(at: int, spool: str, sequence: int, index: int, *, us: int = NOW_US, value: bytes | None = None) -> Message:
    headers = [
        ("abside-spool", spool.encode()),
        ("abside-seq", str(sequence).encode()),
        ("abside-index", str(index).encode()),
    ]
    return Message(at, event.encode(view(f"{spool}-{sequence}-{index}")) if value is None else value, headers, us)


def gathered(tip: ChainTip, *messages: Message, now_us: int = NOW_US) -> Gatherer:
    gatherer = Gatherer(tip)
    gatherer.take(messages, now=0.0, now_us=now_us)
    return gatherer
