"""Collectors that read from a real broker: killed, frozen, doubled, and over stores that fail."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import TopicPartition

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_server import Environ, S3Server

    StageOver = Callable[..., Any]

pytestmark = pytest.mark.timeout(240)
SOON = ("--group-seconds", "0.3")
LATE = ("--group-seconds", "600")


def test_events_of_both_formats_are_stored_once_over_restarts_and_re_sends(stage_over: StageOver) -> None:
    stage = stage_over(partitions=2)
    sender = stage.sender()
    first = sender.segment(300)
    sender.segment(200, partition=1, as_json=True)
    collector = stage.collector(*SOON)
    collector.start()
    collector.until(rows=500)
    assert collector.ask("/readyz")[0] == collector.ask("/livez")[0] == 200
    assert "\nabside_consumer_rows_total 500.0\n" in collector.text("/metrics")
    sender.again(first, 300)  # as a sidecar that was killed before it saw the answer
    sender.segment(100)
    collector.until(rows=600, resent=300)
    assert collector.stop() == 0
    sender.again(first, 300)
    sender.segment(50, partition=1)
    collector.start(*LATE)
    collector.until(resent=300, events=50)
    assert collector.stop() == 0  # what was gathered is written at the end
    assert stage.stored() == sorted(sender.sent)
    assert {row["batch_id"] for row in stage.rows() if row["event_id"] == "rec-1.aa-1-0"} == {
        "rec-1.aa.00000000000000000001"
    }


def test_two_collectors_share_partitions_and_are_killed_in_turn(stage_over: StageOver) -> None:
    stage = stage_over(partitions=4)
    senders = [stage.sender(f"rec-{number}.aa") for number in range(4)]
    one, other = stage.collector(*SOON), stage.collector(*SOON)
    one.start()
    other.start()
    for victim in (one, other, one):
        for number, sender in enumerate(senders):
            sender.segment(200, partition=number)
        victim.kill()
        for number, sender in enumerate(senders):
            sender.segment(50, partition=number)
        victim.start()
    other.until_said("partition_begins")
    sent = sorted(event_id for sender in senders for event_id in sender.sent)
    one.until_said("assigned")
    assert one.stop() == other.stop() == 0
    last = stage.collector(*SOON)
    last.start()
    stage.until_stored(sent)
    assert last.stop() == 0
    assert stage.stored() == sent


def test_a_frozen_collector_that_wakes_up_stores_nothing_twice(stage_over: StageOver) -> None:
    stage = stage_over()
    sender = stage.sender()
    zombie = stage.collector("--group-seconds", "3")
    zombie.start()
    sender.segment(100)
    zombie.until(events=100)
    zombie.signal(signal.SIGSTOP)
    heir = stage.collector(*SOON)
    heir.start()
    heir.until(rows=100)  # the group has given it the partition, and it reads from where the store ended
    zombie.signal(signal.SIGCONT)
    zombie.until_said(r" (fenced|lost) ")
    sender.segment(100)
    heir.until(rows=200)
    assert heir.stop() == zombie.stop() == 0
    assert stage.stored() == sorted(sender.sent)


def test_two_groups_over_one_store_fence_each_other_and_store_nothing_twice(stage_over: StageOver) -> None:
    stage = stage_over()
    sender = stage.sender()
    one, other = stage.collector(*SOON, group="a"), stage.collector(*SOON, group="b")
    one.start()
    other.start()
    for collector in (one, other):
        collector.until_said("partition_begins")
    for _ in range(8):
        sender.segment(100)
        stage.until_stored(sender.sent)
    assert one.status()["fenced"] + other.status()["fenced"] > 0
    assert one.stop() == other.stop() == 0
    assert stage.stored() == sorted(sender.sent)


def test_records_that_retention_deleted_are_counted_and_the_rest_is_read(stage_over: StageOver) -> None:
    stage = stage_over()
    sender = stage.sender()
    stage.stored_before(sender.segment(100), 100)
    sender.segment(100)
    sender.segment(7)
    collector = stage.collector(*SOON)
    where = TopicPartition(stage.topic, 0, 200)
    stage.broker.admin.delete_records([where])[where].result(60)
    collector.start()
    assert collector.until(rows=7)["overrun_records"] == 100
    assert "retention_overrun partition=0 lost=100" in collector.read()
    sender.segment(5)
    collector.until(rows=12)
    assert collector.stop() == 0
    assert len(stage.stored()) == 112


def test_a_topic_is_waited_for_and_one_made_anew_is_another(stage_over: StageOver) -> None:
    stage = stage_over(topic=False)
    collector = stage.collector(*SOON)
    collector.start()
    collector.until_said("the topic does not exist")
    status, body = collector.ask("/readyz")
    assert (status, body["ready"]) == (503, False)
    stage.broker.create_topic(stage.topic)
    stage.sender("a.aa").segment(30)
    collector.until(rows=30)
    stage.broker.delete_topic(stage.topic)
    stage.broker.create_topic(stage.topic)
    stage.sender("b.aa").segment(20)  # from offset 0 on, which the store has of the other one
    collector.until(rows=50)
    assert collector.stop() == 0
    assert len(set(stage.stored())) == 50


def test_foreign_and_broken_records_are_counted_and_stop_nothing(stage_over: StageOver) -> None:
    stage = stage_over()
    sender = stage.sender()
    collector = stage.collector(*SOON)
    collector.start()
    sender.segment(10)
    for value in (b"[1]", None, b"x" * 900_000):
        sender.foreign(value)
    headers: list[tuple[str, str | bytes | None]] = [
        ("abside-spool", b"x.aa"),
        ("abside-seq", b"1"),
        ("abside-index", b"0"),
    ]
    sender.producer.produce(stage.topic, b"\xc1", partition=0, headers=headers)
    sender.segment(10)
    status = collector.until(rows=20, refused=1)
    assert (status["foreign"], status["refused"]) == ({"no_headers": 3}, 1)
    assert "foreign_records partition=0 offset=10" in collector.read()
    assert "records_refused partition=0 records=1 first_offset=13" in collector.read()
    assert collector.stop() == 0
    assert stage.stored() == sorted(sender.sent)


def test_a_store_that_fails_for_a_while_pauses_reading_and_loses_nothing(stage_over: StageOver, s3: S3Server) -> None:
    stage = stage_over(on="s3")
    sender = stage.sender()
    collector = stage.collector("--group-seconds", "0.3", "--group-bytes", "64KiB")
    collector.start()
    collector.until_said("partition_begins")

    def ended(environ: Environ) -> tuple[str, bytes] | None:
        return (
            ("403 Forbidden", b"<Error><Code>ExpiredToken</Code></Error>")
            if environ["REQUEST_METHOD"] == "PUT"
            else None
        )

    with s3.faulty(ended):
        for _ in range(10):
            sender.segment(500)
        collector.until_said("reading_pauses")
        collector.until(write_failures=1)
        status, body = collector.ask("/readyz")
        assert status == 503
        assert "ExpiredToken" in body["errors"]["partition 0"]
    collector.until(rows=5000)
    assert collector.stop() == 0
    assert stage.stored() == sorted(sender.sent)


def test_a_store_that_no_waiting_mends_ends_the_start(stage_over: StageOver, s3: S3Server) -> None:
    stage = stage_over()

    def forget(environ: Environ) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)

    missing = stage.collector(store="s3://nobody-has-this/events")
    missing.launch()
    assert missing.ended() == 1
    assert "no such bucket" in missing.read()
    with s3.faulty(forget):
        careless = stage.collector(store=f"s3://{s3.bucket()}/events")
        careless.launch()
        assert careless.ended() == 1
    assert "overwrites a file that exists" in careless.read()


def test_partitions_that_are_added_are_read_from_their_beginning(stage_over: StageOver) -> None:
    stage = stage_over()
    sender = stage.sender()
    collector = stage.collector(*SOON, properties="topic.metadata.refresh.interval.ms=500\n")
    collector.start()
    sender.segment(10)
    collector.until(rows=10)
    stage.broker.add_partitions(stage.topic, 3)
    other = stage.sender("rec-2.aa")
    for partition in (1, 2):
        other.segment(10, partition=partition)
    collector.until(rows=30)
    assert collector.stop() == 0
    assert stage.stored() == sorted(sender.sent + other.sent)


def test_a_broker_that_is_away_from_the_start_is_waited_for(stage_over: StageOver) -> None:
    stage = stage_over()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()[1]
    quick = "socket.timeout.ms=2000\n"  # its end waits for the last question
    collector = stage.collector(*SOON, properties=quick, bootstrap=f"127.0.0.1:{address}")
    collector.start()
    collector.until_said("kafka_connection|topic_not_known")
    status, body = collector.ask("/readyz")
    assert (status, body["ready"]) == (503, False)
    assert collector.ask("/livez")[0] == 200
    assert collector.stop() == 0
