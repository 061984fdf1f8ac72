"""The broker that tests of Kafka rest on: what they take for granted of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException

if TYPE_CHECKING:
    from kafka_broker import KafkaBroker


def test_a_topic_has_the_partitions_asked_for_and_outlives_a_kill(kafka_broker: KafkaBroker) -> None:
    kafka_broker.create_topic("three", 3, max_message_bytes="100000")
    kafka_broker.kill()
    kafka_broker.start()
    assert len(kafka_broker.admin.list_topics(timeout=10).topics["three"].partitions) == 3
    kafka_broker.delete_topic("three")
    with pytest.raises(KafkaException, match="UNKNOWN_TOPIC_OR_PART"):
        kafka_broker.delete_topic("three")
