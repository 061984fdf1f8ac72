"""The retry table of Kafka: what an error of a broker or of the library means for a batch, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from abside.upstream.contract import Result, Retry, TooLarge

KafkaMeaning = Literal["later", "halve", "mend"]


@dataclass(frozen=True, slots=True)
class KafkaRule:
    """Some errors by the library's names (a leading `_`: its own, else a broker's), what they mean, and the reason."""

    errors: frozenset[str]
    meaning: KafkaMeaning
    why: str


KAFKA_TABLE: tuple[KafkaRule, ...] = (
    KafkaRule(
        frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"}),
        "halve",
        "a produce request is larger than the topic's max.message.bytes",
    ),
    KafkaRule(
        frozenset(
            {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION", "UNKNOWN_TOPIC_ID", "TOPIC_EXCEPTION"}
        ),
        "mend",
        "make the topic: nothing here makes one",
    ),
    KafkaRule(
        frozenset({"TOPIC_AUTHORIZATION_FAILED", "CLUSTER_AUTHORIZATION_FAILED"}),
        "mend",
        "this sender needs Write and Describe on the topic",
    ),
    KafkaRule(
        frozenset(
            {
                "_AUTHENTICATION",
                "SASL_AUTHENTICATION_FAILED",
                "UNSUPPORTED_SASL_MECHANISM",
                "ILLEGAL_SASL_STATE",
                "_SSL",
            }
        ),
        "mend",
        "see what the file of --kafka-config contains",
    ),
    KafkaRule(
        frozenset({"INVALID_RECORD", "POLICY_VIOLATION", "INVALID_REQUIRED_ACKS", "UNSUPPORTED_VERSION"}),
        "mend",
        "the topic does not take our records: see its cleanup.policy and the broker's version",
    ),
)
_OTHER = KafkaRule(frozenset(), "later", "the library starts again, and the batch is sent again")
_AWAY = frozenset({"_ALL_BROKERS_DOWN", "_TRANSPORT", "_RESOLVE", "_TIMED_OUT", "_TIMED_OUT_QUEUE"})  # nobody answered


def kafka_verdict(error: Any) -> Result:
    """Return what a KafkaError means for the batch that was on its way."""
    name = error.name()
    row = next((row for row in KAFKA_TABLE if name in row.errors), _OTHER)
    match row.meaning:
        case "halve":
            return TooLarge()
        case "mend":
            return Retry(f"{name}: {error.str()}; {row.why}", loud=True)
        case "later":
            return Retry(f"{name}: {error.str()}", unheard=name in _AWAY)
