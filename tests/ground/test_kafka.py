"""The address and the properties of Kafka: what is taken, and the sentence for what is not."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from abside.kafka import KafkaSettingError, LibraryLog, OwnedProperty, parse_address, read_properties

if TYPE_CHECKING:
    from pathlib import Path

OWNED = [OwnedProperty(("acks", "request.required.acks"), ("all", "-1"), "an event is acknowledged when it is safe")]


@pytest.mark.parametrize(
    ("url", "brokers", "topic", "query"),
    [
        ("kafka://b1:9092/events", "b1:9092", "events", {}),
        ("kafka://b1:9092,b2:9093/a.b_c-1?format=json", "b1:9092,b2:9093", "a.b_c-1", {"format": "json"}),
        ("kafka://[::1]:9092,10.0.0.1/t", "[::1]:9092,10.0.0.1", "t", {}),
    ],
)
def test_an_address_names_brokers_and_a_topic(url: str, brokers: str, topic: str, query: dict[str, str]) -> None:
    address = parse_address(url)
    assert (address.brokers, address.topic, address.query) == (brokers, topic, query)
    assert str(address) == url.partition("?")[0]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafka://b1:9092", "names no topic"),
        ("kafka://b1:9092/", "names no topic"),
        ("kafka://b1:9092/a/b", "names no topic"),
        ("kafka://b1:9092/..", "names no topic"),
        ("kafka:///events", "names no brokers"),
        ("kafka://b1:9092,/events", "names no brokers"),
        ("kafka://b1:0/events", "names no brokers"),
        ("kafka://b1:99999/events", "names no brokers"),
        ("kafka://me:secret@b1:9092/events", "has a name or a password"),
        ("kafka://b1/events?a=1&a=2", "a parameter twice"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(url: str, says: str) -> None:
    with pytest.raises(KafkaSettingError, match=says) as caught:
        parse_address(url)
    assert "secret" not in str(caught.value)


def test_properties_are_lines_of_name_and_value(tmp_path: Path) -> None:
    path = tmp_path / "kafka.properties"
    path.write_text("# of the cluster\n\nsasl.password = a=b#c \nacks=-1\n")
    assert read_properties(path, OWNED) == {"sasl.password": "a=b#c", "acks": "-1"}
    assert read_properties(None, OWNED) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("acks=1", r":1 sets acks to '1': an event is acknowledged when it is safe; leave it out, or write all"),
        ("\nrequest.required.acks=0", ":2 sets request.required.acks to '0'"),
        ("bootstrap.servers=b:1", "the brokers are those of the address"),
        ("linger.ms=1\nlinger.ms=2", "a second time"),
        ("linger.ms", "is no property"),
        ("=1", "is no property"),
    ],
)
def test_what_is_no_property_or_contradicts_ours_is_refused_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "kafka.properties"
    path.write_text(text)
    with pytest.raises(KafkaSettingError, match=says):
        read_properties(path, OWNED)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KafkaSettingError, match="absent cannot be read: No such file"):
        read_properties(tmp_path / "absent", OWNED)
    (tmp_path / "latin").write_bytes(b"a=\xe9")
    with pytest.raises(KafkaSettingError, match="is not UTF-8"):
        read_properties(tmp_path / "latin", OWNED)


def test_the_librarys_lines_come_into_our_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        LibraryLog().log(logging.ERROR, "%s [%s] %s", "FAIL", "producer-1", "Connection refused")
        LibraryLog().log(logging.WARNING, "CONFWARN a property is experimental")
        LibraryLog().log(logging.INFO, "100 % of it")
    assert [(line.levelno, line.getMessage()) for line in caplog.records] == [
        (logging.WARNING, 'kafka_library said="FAIL [producer-1] Connection refused"'),
        (logging.DEBUG, 'kafka_library said="100 % of it"'),
    ]


def test_a_broker_that_is_away_is_one_line_a_minute_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    seconds = 0.0
    library_log = LibraryLog(lambda: seconds)
    for number in range(130):
        seconds = float(number)
        library_log.log(logging.ERROR, "%s [%s] %s", "FAIL", f"producer-{number}", "Connection refused")
    library_log.log(logging.ERROR, "%s [%s] %s", "SSL", "producer-1", "100% wrong")
    assert [line.getMessage() for line in caplog.records] == [
        'kafka_library said="FAIL [producer-0] Connection refused"',
        'kafka_library said="FAIL [producer-60] Connection refused" left_out=59',
        'kafka_library said="FAIL [producer-120] Connection refused" left_out=59',
        'kafka_library said="SSL [producer-1] 100% wrong"',
    ]
