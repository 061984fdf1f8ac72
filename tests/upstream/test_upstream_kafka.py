"""The Kafka upstream against a real broker: what a record contains, and what is refused, waited for or begun anew."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
from confluent_kafka import KafkaError

from abside.kafka import KafkaSettingError
from abside.upstream.choose import check_url, open_upstream, without_credentials
from abside.upstream.contract import Acked, Batch, Rejected, Retry, Timeouts, TooLarge, UpstreamUrlError
from abside.upstream.kafka_verdict import KAFKA_TABLE
from abside.upstream.producer import KafkaProducer, properties_of
from kafka_broker import PASSWORD, USER, certify
from kafka_topic import once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from abside.upstream.contract import Result, Upstream
    from kafka_broker import KafkaBroker
    from kafka_topic import KafkaTopic

PATIENCE_SECONDS = 90.0
URL = "kafka://127.0.0.1:1/events"


@pytest.fixture
async def opened(topic: KafkaTopic, now_us: Any) -> AsyncIterator[Callable[..., Upstream]]:
    made: list[Upstream] = []

    def make(url: str = "", seconds: float = 20.0, **more: Any) -> Upstream:
        made.append(open_upstream(url or topic.url, now_us, timeouts=Timeouts(10.0, seconds), **more))
        return made[-1]

    yield make
    for upstream in made:
        await upstream.close()


def batch_of(events: list[dict[str, Any]], seq: int = 1, first: int = 0) -> Batch:
    payload = b"".join(map(msgpack.packb, events))
    return Batch(f"pod.{seq:020d}-boot", len(events), payload, "pod-boot", seq, first)


def clicks(count: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"type": "click", "user_id": f"u{number}", "session_id": None, "n": number, **more} for number in range(count)
    ]


async def until_stored(upstream: Upstream, batch: Batch) -> Result:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while isinstance(result := await upstream.send(batch), Retry):  # noqa: ASYNC110 the broker calls nobody
            await asyncio.sleep(0.05)
    return result


async def test_a_record_is_what_the_page_says(opened: Any, topic: KafkaTopic) -> None:
    events: list[dict[str, Any]] = [
        {"type": "click", "user_id": "u1", "session_id": "s1"},
        {"type": "click", "user_id": None, "session_id": "sé"},
        {"type": "config", "source": {"pod": "p"}},
    ]
    assert await opened().send(batch_of(events, seq=17, first=40)) == Acked()
    found = sorted(topic.read(), key=lambda record: record.index)
    assert [record.value for record in found] == [msgpack.packb(event) for event in events]
    assert [record.key for record in found] == [b"u1", "sé".encode(), None]
    assert [(record.spool, record.seq, record.index) for record in found] == [
        ("pod-boot-3", 17, 40),
        ("pod-boot-3", 17, 41),
        ("pod-boot-3", 17, 42),
    ]
    hashed = [record.key or b"pod-boot-3" for record in found]
    assert [record.partition for record in found] == [zlib.crc32(key) % 3 for key in hashed]


async def test_json_is_for_everybody_elses_readers(opened: Any, topic: KafkaTopic) -> None:
    event = {"type": "own", "user_id": "u1", "properties": {"a": 1.5, "raw": b"\xff"}}
    assert await opened(f"{topic.url}?format=json").send(batch_of([event])) == Acked()
    assert orjson.loads(topic.read()[0].value) == {**event, "properties": {"a": 1.5, "raw": "/w=="}}


async def test_an_event_that_is_too_large_is_named_and_nothing_is_produced(
    opened: Any, topic: KafkaTopic, tmp_path: Path
) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text("message.max.bytes=5000")
    events = clicks(5)
    events[3]["text"] = "x" * 6000
    result = await opened(kafka_config=config).send(batch_of(events))
    assert isinstance(result, Rejected)
    assert (result.final, result.some_of_it, result.index) == (True, True, 3)
    assert "message.max.bytes is 5000" in result.reason
    assert topic.read() == []


async def test_a_payload_that_is_no_event_is_named(opened: Any) -> None:
    payload = msgpack.packb({"type": "a"}) + msgpack.packb(7)
    result = await opened().send(Batch("b", 2, payload))
    assert isinstance(result, Rejected)
    assert (result.final, result.index) == (True, 1)


async def test_a_topic_with_a_small_bound_gets_smaller_requests_until_they_fit(opened: Any, topic: KafkaTopic) -> None:
    topic.configure(max_message_bytes="6000")
    upstream = opened()
    noisy = [{**event, "text": os.urandom(100)} for event in clicks(600)]
    assert await until_stored(upstream, batch_of(noisy)) == TooLarge()
    for first in range(0, 600, 60):
        assert await until_stored(upstream, batch_of(noisy[first : first + 60], first=first)) == Acked()
    stored = sorted(once(topic.read()), key=lambda record: record.index)
    assert [record.event for record in stored] == noisy


async def test_its_figures_are_what_the_library_has_and_what_went_wrong(opened: Any, topic: KafkaTopic) -> None:
    upstream = opened(seconds=0.5)

    def figures() -> dict[str, int]:
        return {one.name.removeprefix("kafka_"): one.value for one in upstream.figures()}

    assert await until_stored(upstream, batch_of(clicks(10))) == Acked()
    known = {"queue": 0, "partitions": 3, "records": 10, "delivery_failures": 0, "producers": 1}
    assert figures() == known
    topic.be_busy()
    assert isinstance(await upstream.send(batch_of(clicks(50), seq=2)), Retry)
    assert figures() == {**known, "queue": 50, "records": 60}
    topic.recover()
    assert await until_stored(upstream, batch_of(clicks(50), seq=2)) == Acked()
    topic.configure(max_message_bytes="6000")
    noisy = [{**event, "text": os.urandom(100)} for event in clicks(200)]
    assert await until_stored(upstream, batch_of(noisy, seq=3)) == TooLarge()
    assert (figures()["delivery_failures"], figures()["queue"]) == (1, 0)


async def test_a_batch_whose_time_is_over_is_waited_for_and_not_produced_again(opened: Any, topic: KafkaTopic) -> None:
    upstream = opened(seconds=0.5)
    assert await until_stored(upstream, batch_of(clicks(10))) == Acked()
    topic.be_busy()
    for _ in range(3):
        assert isinstance(await upstream.send(batch_of(clicks(500), seq=2)), Retry)
    topic.recover()
    assert await until_stored(upstream, batch_of(clicks(500), seq=2)) == Acked()
    assert len(topic.read()) == 510
    assert upstream.stats.producers == 1


async def test_another_batch_ends_what_was_not_stored_of_the_one_before(opened: Any, topic: KafkaTopic) -> None:
    upstream = opened(seconds=0.5)
    assert await until_stored(upstream, batch_of(clicks(10))) == Acked()
    topic.be_busy()
    assert isinstance(await upstream.send(batch_of(clicks(500), seq=2)), Retry)
    topic.recover()
    assert await until_stored(upstream, batch_of(clicks(20), seq=3)) == Acked()
    assert upstream.stats.producers == 2
    assert {record.seq for record in topic.read() if record.index >= 10} <= {2, 3}


async def test_a_cancelled_batch_is_produced_anew(opened: Any, topic: KafkaTopic) -> None:
    upstream = opened()
    assert await until_stored(upstream, batch_of(clicks(1))) == Acked()
    sending = asyncio.get_running_loop().create_task(upstream.send(batch_of(clicks(2000), seq=2)))
    while len(upstream._producer._producer) < 64:  # noqa: ASYNC110 the library calls nobody
        await asyncio.sleep(0)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert await until_stored(upstream, batch_of(clicks(2000), seq=2)) == Acked()
    assert len([record for record in once(topic.read()) if record.seq == 2]) == 2000


async def test_a_killed_broker_loses_nothing(opened: Any, topic: KafkaTopic, kafka_broker: KafkaBroker) -> None:
    upstream = opened(seconds=1.0)
    assert await until_stored(upstream, batch_of(clicks(200))) == Acked()
    kafka_broker.kill()
    result = await upstream.send(batch_of(clicks(300), seq=2))
    assert isinstance(result, Retry)
    assert not result.loud
    kafka_broker.start()
    assert await until_stored(upstream, batch_of(clicks(300), seq=2)) == Acked()
    assert len(once(topic.read())) == 500


async def test_more_partitions_are_another_series(opened: Any, topic: KafkaTopic, kafka_broker: KafkaBroker) -> None:
    first, second = opened(), opened()
    assert await until_stored(first, batch_of(clicks(30))) == Acked()
    kafka_broker.add_partitions(topic.name, 5)
    topic.partitions = 5
    assert await until_stored(second, batch_of(clicks(30), seq=2)) == Acked()
    assert {record.spool for record in topic.read()} == {"pod-boot-3", "pod-boot-5"}
    assert len(once(topic.read())) == 60


@pytest.mark.parametrize(
    ("password", "allowed", "says"),
    [
        ("wrong", True, "_AUTHENTICATION"),
        (PASSWORD, False, "TOPIC_AUTHORIZATION_FAILED: .*; this sender needs Write and Describe on the topic"),
        (PASSWORD, True, ""),
    ],
)
async def test_who_may_not_write_is_loud(
    opened: Any, topic: KafkaTopic, tmp_path: Path, password: str, allowed: bool, says: str
) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text(
        f"security.protocol=SASL_PLAINTEXT\nsasl.mechanisms=PLAIN\nsasl.username={USER}\nsasl.password={password}\n"
    )
    if allowed:
        topic.broker.allow(topic.name)
    upstream = opened(topic.url.replace(topic.broker.bootstrap, topic.broker.guests), kafka_config=config)
    result = await upstream.send(batch_of(clicks(3)))
    if says:
        assert isinstance(result, Retry)
        assert result.loud
        assert re.search(says, result.reason)
    else:
        assert result == Acked()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("kafka://b1:9092", "names no topic: ''; write for example kafka://"),
        ("kafka://b1:9092/t?format=avro", "the format avro is not known; write msgpack or json"),
        ("kafka://b1:9092/t?acks=1", "the parameter acks is not known; the file of --kafka-config"),
        ("kafka://me:secret@b1:9092/t", "has a name or a password; write sasl.username"),
    ],
)
def test_a_url_that_names_no_topic_is_refused(url: str, says: str) -> None:
    with pytest.raises(UpstreamUrlError, match=says.replace("?", r"\?")) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("enable.idempotence=false", "would store records twice or in disorder; leave it out, or write true"),
        ("acks=1", "an acknowledged event must survive its broker; leave it out, or write all"),
        ("max.in.flight=5", "stored behind a gap"),
        ("delivery.timeout.ms=1000", "stored behind a gap"),
        ("retries=3", "stored behind a gap.*leave it out"),
        ("transactional.id=x", "not sent in transactions"),
        (
            "no.such.property=1",
            "Kafka's library refuses its properties: No such configuration property: \"no.such.prop",
        ),
        ("compression.codec=best", "Kafka's library refuses its properties: Invalid value"),
        ("message.max.bytes=many", "Kafka's library refuses its properties"),
        ("security.protocol=ssl\nssl.ca.location=/no/such/file", "Kafka's library refuses its properties: .*ssl.ca"),
        ("bootstrap.servers=b2:9092", "the brokers are those of the address"),
    ],
)
def test_a_property_that_cannot_be_used_is_refused_at_start(tmp_path: Path, text: str, says: str) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text(text)
    with pytest.raises(KafkaSettingError, match=says):
        open_upstream(URL, lambda: 0, kafka_config=config)


async def test_the_same_as_ours_and_what_is_free_are_taken(opened: Any, topic: KafkaTopic, tmp_path: Path) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text("acks=-1\nenable.idempotence=TRUE\nmax.in.flight=1\ncompression.codec=gzip\nlinger.ms=0\n")
    assert await opened(kafka_config=config).send(batch_of(clicks(3))) == Acked()
    assert len(topic.read()) == 3


async def test_a_file_that_is_spoilt_later_is_loud(opened: Any, topic: KafkaTopic, tmp_path: Path) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text("linger.ms=1")
    upstream = opened(kafka_config=config)
    config.write_text("acks=0")
    result = await upstream.send(batch_of(clicks(3)))
    assert isinstance(result, Retry)
    assert result.loud
    config.write_text("")
    assert await upstream.send(batch_of(clicks(3))) == Acked()


async def test_tls_is_spoken_by_the_librarys_properties(
    opened: Any, topic: KafkaTopic, kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    config = tmp_path / "kafka.properties"
    config.write_text(f"security.protocol=ssl\nssl.ca.location={kafka_broker.authority}\n")
    upstream = opened(f"kafka://{kafka_broker.tls}/{topic.name}", kafka_config=config)
    assert await until_stored(upstream, batch_of(clicks(3))) == Acked()
    assert len(topic.read()) == 3


async def test_a_broker_of_another_authority_gets_nothing_and_a_person_reads_why(
    opened: Any, topic: KafkaTopic, kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    strange, config = tmp_path / "strange.pem", tmp_path / "kafka.properties"
    certify(strange, tmp_path / "store.pem")
    config.write_text(f"security.protocol=ssl\nssl.ca.location={strange}\n")
    result = await opened(f"kafka://{kafka_broker.tls}/{topic.name}", kafka_config=config).send(batch_of(clicks(3)))
    assert isinstance(result, Retry)
    assert result.loud
    assert re.match("_SSL: .*certificate verify failed.*; see what the file of --kafka-config contains", result.reason)
    assert topic.read() == []


async def test_the_reason_is_kept_when_all_brokers_are_down_for_it() -> None:
    producer = KafkaProducer("", properties_of(None))
    for code in (KafkaError._ALL_BROKERS_DOWN, KafkaError._SSL, KafkaError._ALL_BROKERS_DOWN):
        producer._hear(KafkaError(code))
    assert producer.said.name() == "_SSL"
    await producer.end()


def test_what_belongs_to_another_kind_of_upstream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UpstreamUrlError, match="--kafka-config is for kafka://; leave it out"):
        open_upstream("http://collector:7700", lambda: 0, kafka_config=tmp_path)
    with pytest.raises(UpstreamUrlError, match="--upstream-token-file is for http:// and https://; write sasl"):
        open_upstream(URL, lambda: 0, token_file=tmp_path)


def test_a_missing_extra_is_named_and_nobody_else_needs_it(tmp_path: Path) -> None:
    (tmp_path / "confluent_kafka.py").write_text("raise ImportError('there is none')")
    program = "from abside.upstream.choose import check_url; check_url('http://c:1'); check_url('kafka://b:1/t')"
    environment = {"PYTHONPATH": str(tmp_path), "PATH": os.defpath}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("needs confluent-kafka: pip install 'abside[kafka]'")


def test_the_address_is_shown_without_its_query() -> None:
    assert without_credentials("kafka://b1:9092,b2:9092/t?format=json") == "kafka://b1:9092,b2:9092/t"


def test_every_row_of_the_table_names_errors_of_the_library() -> None:
    for row in KAFKA_TABLE:
        assert row.why
        assert all(hasattr(KafkaError, name) for name in row.errors), row


def test_nothing_is_connected_before_the_first_batch(unused_port: int) -> None:
    upstream = open_upstream(f"kafka://127.0.0.1:{unused_port}/t", lambda: 0)
    assert upstream.in_order
