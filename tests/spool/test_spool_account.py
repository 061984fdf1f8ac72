from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from abside.spool.errors import SpoolFull
from abside.spool.frame import MAX_PAYLOAD_BYTES
from abside.spool.queue.reader import read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from abside.spool.write.writer import Spool


class Ledger:
    """What the sidecar's accounts do: one payload at each seal, and a count of how often they were asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> Sequence[bytes]:
        self.asked += 1
        return [b"account %d" % self.asked]


async def contents(spool: Spool) -> list[list[bytes]]:
    return [(await read(segment)).payloads for segment in spool.sealed()]


async def test_the_account_is_the_last_event_of_each_sealed_segment(open_spool: Any) -> None:
    spool = open_spool()
    spool.before_seal = Ledger()
    spool.append([b"one"])
    await spool.seal()
    spool.append([b"two"])
    await spool.seal()
    assert await contents(spool) == [[b"one", b"account 1"], [b"two", b"account 2"]]


async def test_an_account_alone_is_sealed_when_it_is_asked_for(open_spool: Any) -> None:
    spool = open_spool()
    spool.before_seal = Ledger()
    await spool.seal()
    assert await contents(spool) == [[b"account 1"]]


async def test_losses_of_a_full_spool_are_told_by_age_though_nothing_was_accepted(open_spool: Any, clock: Any) -> None:
    spool = open_spool(limit_bytes=20)
    spool.before_seal = Ledger()
    with pytest.raises(SpoolFull):
        spool.append([b"too much for it"])
    assert not spool.seal_due(clock.seconds)
    clock.seconds += 5.0
    assert spool.seal_due(clock.seconds)
    await spool.seal()
    assert await contents(spool) == [[b"account 1"]]
    clock.seconds += 5.0
    assert not spool.seal_due(clock.seconds)


async def test_an_account_the_disk_did_not_take_is_written_at_the_next_seal(open_spool: Any, clock: Any) -> None:
    spool = open_spool()
    ledger = spool.before_seal = Ledger()
    kept = os.dup(spool._open.handle)
    broken = os.open("/dev/full", os.O_WRONLY)
    os.dup2(broken, spool._open.handle)
    await spool.seal()
    assert spool.sealed() == []
    assert spool.stats.failures == 1
    clock.seconds += 5.0
    assert spool.seal_due(clock.seconds), "it is tried again by age"
    os.dup2(kept, spool._open.handle)
    await spool.seal()
    assert await contents(spool) == [[b"account 1"]]
    assert ledger.asked == 1
    os.close(kept)
    os.close(broken)


async def test_an_account_that_is_too_large_does_not_keep_events_from_being_sealed(open_spool: Any) -> None:
    spool = open_spool()
    spool.before_seal = lambda: [bytes(MAX_PAYLOAD_BYTES + 1), b"the rest"]
    spool.append([b"one"])
    await spool.seal()
    assert await contents(spool) == [[b"one", b"the rest"]]
    assert spool.stats.failures == 1
