"""What a collector from Kafka accepts has an effect; the rest is refused with its reason before anything begins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from abside.collector.consume.client import properties, topic_id_of
from abside.collector.modes import ONLY_HTTP, SettingWrong, check_mode
from abside.collector.settings import CollectorSettings, kafka_topic
from abside.kafka import KafkaSettingError

FROM_KAFKA = CollectorSettings("s3://bucket/events", kafka=kafka_topic("kafka://b:9092/events"), group="g")


def test_the_settings_of_both_modes_are_accepted() -> None:
    check_mode(FROM_KAFKA)
    check_mode(CollectorSettings(Path("store"), keep_days=3))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("token_file", Path("token")),
        ("tls_cert", Path("cert")),
        ("tls_key", Path("key")),
        ("keep_days", 30),
        ("known_days", 3),
        ("merge_seconds", 5.0),
        ("max_batch_bytes", 1),
        ("max_pending_bytes", 1),
    ],
)
def test_a_setting_of_batches_is_refused_with_its_reason(name: str, value: Any) -> None:
    with pytest.raises(SettingWrong, match=f"--{name.replace('_', '-')}: does not go with --kafka: {ONLY_HTTP[name]}"):
        check_mode(replace(FROM_KAFKA, **{name: value}))


@pytest.mark.parametrize("changed", [{"group": "g"}, {"kafka_config": Path("file")}, {"store": "s3://bucket/x"}])
def test_what_needs_kafka_is_refused_without_it(changed: dict[str, Any]) -> None:
    with pytest.raises(SettingWrong, match="needs --kafka"):
        check_mode(replace(CollectorSettings(Path("store")), **changed))


def test_a_group_is_required() -> None:
    with pytest.raises(SettingWrong, match="--group"):
        check_mode(replace(FROM_KAFKA, group=None))


def test_a_format_in_the_address_is_refused_because_both_are_read() -> None:
    with pytest.raises(ValueError, match="reads both formats"):
        kafka_topic("kafka://b:9092/events?format=json")


@pytest.mark.parametrize(
    "line",
    ["group.id=x", "enable.auto.commit=true", "auto.offset.reset=earliest", "partition.assignment.strategy=range"],
)
def test_a_property_that_the_promise_stands_on_is_not_free(tmp_path: Path, line: str) -> None:
    (tmp_path / "file").write_text(f"{line}\n")
    with pytest.raises(KafkaSettingError, match=line.partition("=")[0]):
        properties(kafka_topic("kafka://b:9092/events"), "g", tmp_path / "file")


def test_a_property_of_the_file_wins_over_a_default(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("fetch.max.bytes=2000000\nsecurity.protocol=SSL\n")
    made = properties(kafka_topic("kafka://b:9092/events"), "g", tmp_path / "file")
    assert (made["fetch.max.bytes"], made["security.protocol"]) == ("2000000", "SSL")
    assert (made["group.id"], made["auto.offset.reset"]) == ("g", "error")


def test_a_topics_id_is_a_name_of_one_folder() -> None:
    assert topic_id_of("/xRzl/CiQ7qyecti+PCIkg") == "_xRzl_CiQ7qyecti-PCIkg"
