"""What a sidecar's upstream makes of a batch is what a collector from Kafka reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from abside import event
from abside.collector.store.chain import ChainTip
from abside.upstream.contract import Batch
from abside.upstream.record import KafkaRecord, records
from kafka_records import Message, gathered, view

if TYPE_CHECKING:
    from abside.upstream.record import RecordFormat


def batch(count: int, first: int = 0) -> Batch:
    payload = b"".join(event.encode(view(f"e{first + number}")) for number in range(count))
    return Batch("host.00000000000000000007-aa", count, payload, series="host.aa", seq=7, first=first)


@pytest.mark.parametrize("form", ["msgpack", "json"])
async def test_a_sidecars_records_become_rows_and_its_re_sends_none(form: RecordFormat) -> None:
    sent = await records(batch(100), 1, form, 1_000_000)
    again = await records(batch(60, first=40), 1, form, 1_000_000)  # the second half of the segment, once more
    assert isinstance(sent, list)
    assert isinstance(again, list)
    both: list[KafkaRecord] = [*sent, *again]
    gatherer = gathered(ChainTip(), *[Message(at, one.value, list(one.headers)) for at, one in enumerate(both)])
    sealed = gatherer.cut()
    assert sealed is not None
    assert pa.Table.from_batches(sealed.pieces)["event_id"].to_pylist() == [f"e{number}" for number in range(100)]
    assert (gatherer.counts.resent, gatherer.counts.foreign, gatherer.counts.refused) == (60, {}, 0)
