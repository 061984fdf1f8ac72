"""Owners that crash, sleep and come back, on one partition: every event is stored exactly once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from obstore.store import MemoryStore

from abside.collector.consume.gather import SILENT_US, Gatherer
from abside.collector.consume.storing import store
from abside.collector.store import chain
from abside.collector.store.chain import ChainBroken, ChainKey, ChainTip, find_tip, follow, read_tip
from abside.collector.store.place import NameMissing, NameTaken
from abside.collector.store.place.bucket import BucketPlace
from kafka_records import NOW_US, Message, gathered, message

if TYPE_CHECKING:
    from abside.collector.consume.gather import SealedGroup
    from abside.collector.store.place import StorePlace

KEY = ChainKey("_bCdEfGhIjKlMnOpQrStUv", 3)


def files(place: StorePlace) -> list[str]:
    return [name for name in place.names(KEY.folder) if name.endswith(".parquet")]


def ids(place: StorePlace) -> list[str]:
    """List the event ids of the chain as a reader finds them."""
    tables = [pq.read_table(pa.BufferReader(place.read(name))) for name in files(place)]
    return [one for table in tables for one in table["event_id"].to_pylist()]


def cut(gatherer: Gatherer) -> SealedGroup:
    sealed = gatherer.cut()
    assert sealed is not None
    return sealed


@dataclass
class Owner:
    """A collector that believes that the partition is its own; whether it is, only the store can tell."""

    gatherer: Gatherer
    alive: bool = True


@dataclass
class Sender:
    """A sidecar that sends its segments in order, and again from the beginning of one that was not acknowledged."""

    name: str
    sequence: int = 1
    sent: int = 0  # of the segment it is at
    lengths: dict[int, int] = field(default_factory=dict)


class Partition(RuleBasedStateMachine):
    """The log, its senders, and any number of owners over one store."""

    owners: Bundle[Owner] = Bundle("owners")

    def __init__(self) -> None:
        super().__init__()
        self.place = BucketPlace("memory://", MemoryStore())
        self.log: list[Message] = []
        self.senders = [Sender("a"), Sender("b")]
        self.sent: list[str] = []  # distinct events in the order of their first record

    @rule(which=st.integers(0, 1), count=st.integers(1, 4), ends=st.booleans())
    def send(self, which: int, count: int, ends: bool) -> None:
        sender = self.senders[which]
        for index in range(sender.sent, sender.sent + count):
            self._append(sender, index)
        sender.sent += count
        if ends:
            sender.sequence, sender.sent = sender.sequence + 1, 0

    @rule(which=st.integers(0, 1))
    def send_again_from_the_segments_begin(self, which: int) -> None:
        sender = self.senders[which]
        for index in range(sender.sent):
            self._append(sender, index)

    @rule()
    def somebody_else_writes(self) -> None:
        self.log.append(Message(len(self.log), b"[1]", None))

    @rule(target=owners)
    def assign(self) -> Owner:
        return Owner(Gatherer(find_tip(self.place, KEY, len(self.log))))

    @rule(owner=owners, count=st.integers(1, 6))
    def read(self, owner: Owner, count: int) -> None:
        if owner.alive:
            begin = owner.gatherer.end
            owner.gatherer.take(self.log[begin : begin + count], now=0.0, now_us=NOW_US)

    @rule(owner=owners)
    def seal(self, owner: Owner) -> None:
        if owner.alive:
            owner.gatherer.cut()

    @rule(owner=owners, lost=st.booleans())
    def write(self, owner: Owner, lost: bool) -> None:
        """Write the sealed group; `lost`: the answer does not arrive, and it is tried again."""
        sealed = owner.gatherer.sealed
        if sealed is None:
            return
        try:
            store(self.place, KEY, sealed, "events")
            if lost:
                store(self.place, KEY, sealed, "events")
        except NameTaken:
            owner.gatherer = Gatherer(follow(self.place, KEY, ChainTip()))
        else:
            owner.gatherer.stored()

    @rule(owner=consumes(owners), writes=st.booleans())
    def crash(self, owner: Owner, writes: bool) -> None:
        """Lose everything in memory; `writes`: its last request still arrives."""
        if writes and owner.gatherer.sealed:
            with suppress(NameTaken):
                store(self.place, KEY, owner.gatherer.sealed, "events")
        owner.alive = False

    @invariant()
    def what_is_stored_is_a_beginning_of_what_was_sent(self) -> None:
        stored = ids(self.place)
        assert stored == self.sent[: len(stored)]

    def teardown(self) -> None:
        last = Gatherer(find_tip(self.place, KEY, len(self.log)))
        last.take(self.log[last.end :], now=0.0, now_us=NOW_US)
        if sealed := last.cut():
            store(self.place, KEY, sealed, "events")
        assert ids(self.place) == self.sent

    def _append(self, sender: Sender, index: int) -> None:
        self.log.append(message(len(self.log), sender.name, sender.sequence, index))
        name = f"{sender.name}-{sender.sequence}-{index}"
        if name not in self.sent:
            self.sent.append(name)


TestPartition = Partition.TestCase
TestPartition.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def place() -> StorePlace:
    return BucketPlace("memory://", MemoryStore())


def test_a_footer_says_where_the_chain_ends_and_what_each_spool_sent_last(place: StorePlace) -> None:
    gatherer = gathered(ChainTip(), message(5, "a", 7, 0), message(6, "b", 1, 4), message(9, "a", 7, 1))
    store(place, KEY, cut(gatherer), "events")
    assert files(place) == [f"topic=_bCdEfGhIjKlMnOpQrStUv/p=0003/{0:020d}.parquet"]
    tip = find_tip(place, KEY, 10)
    assert tip.next_offset == 10
    assert {spool: (mark.sequence, mark.index) for spool, mark in tip.marks.items()} == {"a": (7, 1), "b": (1, 4)}


def test_a_re_send_is_known_by_an_owner_that_only_read_the_footer(place: StorePlace) -> None:
    store(place, KEY, cut(gathered(ChainTip(), message(0, "a", 7, 0), message(1, "a", 7, 1))), "events")
    again = gathered(find_tip(place, KEY, 2), message(2, "a", 7, 0), message(3, "a", 7, 1), message(4, "a", 7, 2))
    assert (again.counts.resent, again.cut() is None) == (2, False)
    assert again.counts.events == 1


def test_a_spool_silent_for_seven_days_is_forgotten_by_the_partitions_own_time(place: StorePlace) -> None:
    store(place, KEY, cut(gathered(ChainTip(), message(0, "old", 1, 0), message(1, "a", 1, 0))), "events")
    later = NOW_US + SILENT_US + 1_000
    gatherer = gathered(find_tip(place, KEY, 2), message(2, "a", 1, 1, us=later), now_us=later)
    assert set(cut(gatherer).tip.marks) == {"a"}


def test_a_clock_that_jumps_ahead_forgets_no_spool(place: StorePlace) -> None:
    store(place, KEY, cut(gathered(ChainTip(), message(0, "old", 1, 0), message(1, "a", 1, 0))), "events")
    ours_ahead = gathered(find_tip(place, KEY, 2), message(2, "a", 1, 1), now_us=NOW_US + 2 * SILENT_US)
    theirs_ahead = gathered(find_tip(place, KEY, 2), message(2, "a", 1, 1, us=NOW_US + 2 * SILENT_US))
    assert set(cut(ours_ahead).tip.marks) == set(cut(theirs_ahead).tip.marks) == {"a", "old"}


def test_a_listing_that_is_old_is_corrected_by_reading_on(place: StorePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    tip = ChainTip()
    for offset in range(4):
        store(place, KEY, cut(gathered(tip, message(offset, "a", 1, offset))), "events")
        tip = find_tip(place, KEY, 4)
    monkeypatch.setattr(place, "names", lambda *_, **__: [KEY.name(0)])
    assert find_tip(place, KEY, 4) == tip


def test_the_newest_of_many_files_is_found_without_listing_all_of_them(
    place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "STEP_OFFSETS", 2)
    tip = ChainTip()
    for offset in range(40):
        store(place, KEY, cut(gathered(tip, message(offset, "a", 1, offset))), "events")
        tip = read_tip(place, KEY, KEY.name(offset))
    listed: list[int] = []
    names = place.names

    def counting(below: str = "", *, after: str = "") -> list[str]:
        found = names(below, after=after)
        listed.append(len(found))
        return found

    monkeypatch.setattr(place, "names", counting)
    assert find_tip(place, KEY, 50).next_offset == 40
    assert listed == [0, 5]
    assert find_tip(place, KEY, 40).next_offset == 40


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PAR1",
        b"not a Parquet file at all",
        b"x" * 100 + b"\xff\xff\xff\x7fPAR1",
        b"\x00" * 50 + b"\x10\0\0\0PAR1",
    ],
)
def test_a_damaged_newest_file_is_named_and_nothing_is_guessed(place: StorePlace, content: bytes) -> None:
    store(place, KEY, cut(gathered(ChainTip(), message(0, "a", 1, 0))), "events")
    place.create(KEY.name(1), content)
    with pytest.raises(ChainBroken, match=r"0+1\.parquet: it is damaged"):
        find_tip(place, KEY, 1)


def test_a_parquet_file_of_somebody_else_under_a_name_of_ours_is_named(place: StorePlace) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1]}), sink)
    place.create(KEY.name(0), sink.getvalue().to_pybytes())
    with pytest.raises(ChainBroken, match="not a file of a Kafka collector"):
        find_tip(place, KEY, 0)


def test_a_file_copied_from_another_partition_is_named(place: StorePlace) -> None:
    other = ChainKey(KEY.topic_id, 4)
    store(place, other, cut(gathered(ChainTip(), message(0, "a", 1, 0))), "events")
    place.create(KEY.name(0), place.read(other.name(0)))
    with pytest.raises(ChainBroken, match="belongs elsewhere"):
        find_tip(place, KEY, 0)


def test_other_files_beside_a_chain_are_no_part_of_it(place: StorePlace) -> None:
    store(place, KEY, cut(gathered(ChainTip(), message(0, "a", 1, 0))), "events")
    for name in ("readme.txt", "99999999999999999999.parquet.crc", f"deeper/{7:020d}.parquet"):
        place.create(f"{KEY.folder}/{name}", b"else")
    assert find_tip(place, KEY, 1).next_offset == 1


def test_a_missing_file_is_no_broken_one(place: StorePlace) -> None:
    with pytest.raises(NameMissing):
        read_tip(place, KEY, KEY.name(0))
    assert find_tip(place, KEY, 1_000) == ChainTip()
