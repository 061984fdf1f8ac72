"""accepted = acknowledged + on disk + dead, at any moment, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from tests.cases import cases

from abside.sidecar.ship.shipper import Shipper, ShipperSettings
from abside.spool.errors import SpoolFailed, SpoolFull
from abside.spool.frame import MAGIC, good_frames
from abside.spool.queue.returning import ask
from abside.spool.segment import OPEN, SEALED, listed, share
from abside.spool.settings import SpoolSettings
from abside.spool.write.writer import Spool
from abside.upstream.contract import Acked, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable

    from abside.upstream.contract import Batch, Result

EVENT_BYTES = 10
LIMIT_BYTES = 600
HAPPENINGS = (
    *("seal", "seal", "seal fails", "seal without descriptors"),
    *("acknowledge", "too large", "too large", "too large", "reject", "refuse one", "put off", "unreadable"),
    *("kill", "close", "tear", "bring back", "bring back"),
    *("remove the open file", "remove q", "remove dead", "remove a segment", "flip"),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(min_value=1, max_value=4)),
        st.tuples(st.sampled_from(HAPPENINGS), st.just(0)),
    ),
    max_size=40,
)
ANSWERS: dict[str, Result] = {
    "acknowledge": Acked(),
    "too large": TooLarge(),
    "reject": Rejected("no", final=True),
    "refuse one": Rejected("no", final=True, some_of_it=True, index=0),
    "put off": Retry("later"),
}


class Door:
    """An upstream that gives the answer it was told to, and keeps what it acknowledged."""

    takes_large = True

    in_order = False
    in_flight = 8

    def __init__(self) -> None:
        self.answer: Result = Acked()
        self.acknowledged: Counter[bytes] = Counter()

    async def send(self, batch: Batch) -> Result:
        if isinstance(self.answer, Acked):
            starts = range(0, len(batch.payload), EVENT_BYTES)
            self.acknowledged.update(batch.payload[start : start + EVENT_BYTES] for start in starts)
        return self.answer

    async def close(self) -> None:
        """Nothing is open."""


@how(max_examples=cases(75))
@given(STEPS)
def test_nothing_accepted_is_lost_or_doubled(
    payloads_in: Callable[[Path], list[bytes]], no_descriptors: Any, steps: list[Any]
) -> None:
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(walk(Path(place), steps, payloads_in, no_descriptors))


async def walk(place: Path, steps: list[Any], payloads_in: Callable[[Path], list[bytes]], no_descriptors: Any) -> None:
    directory, number, lives, given_up, uncounted = place / "0", 0, 0, 0, 0
    accepted: Counter[bytes] = Counter()
    removed: Counter[bytes] = Counter()  # with a sealed file: nothing brings that back, and it is counted
    flipped: Counter[bytes] = Counter()  # of these the damaged bytes lie in dead/ at the end
    buried: Counter[bytes] = Counter()  # and then removed from dead/
    torn = False
    door = Door()

    def start() -> tuple[Spool, Shipper]:
        settings = SpoolSettings(directory, limit_bytes=LIMIT_BYTES, floor_bytes=0, fsync="interval")
        spool = Spool.open(settings, f"boot{lives}", lambda: 1)
        return spool, Shipper(spool, door, ShipperSettings("h"), lambda: 1)

    spool, shipper = start()
    for step, size in steps:
        if step == "append":
            payloads = [b"event %04d" % (number + n) for n in range(size)]
            number += size
            try:
                spool.append(payloads)
                accepted.update(payloads)
            except SpoolFull:
                assert spool.used_bytes + 80 > LIMIT_BYTES - 40 * size
        elif step == "seal":
            await spool.seal()
        elif step == "seal without descriptors":
            with no_descriptors():
                await spool.seal()
        elif step == "seal fails":
            await seal_in_vain(spool, directory / "q")
        elif step in ANSWERS:
            door.answer = ANSWERS[step]
            await shipper._step()
        elif step == "unreadable":
            tries, waiting = shipper.stats.unreadable, spool.sealed()
            with no_descriptors():
                await shipper._step()
            assert shipper.stats.unreadable == tries + bool(waiting)
            assert spool.sealed() == waiting
        elif step == "bring back":
            lying = Counter(payloads_in(directory / "dead"))
            for path in (directory / "dead").glob("*.seg"):
                # Of what a torn write left nobody knows, once it is a segment again, that nothing was accepted.
                torn = torn or bool(good_frames(path.read_bytes()).damage)
                ask(directory, path.name)
            await spool._returning.look(spool.used_bytes)
            given_up -= (lying - Counter(payloads_in(directory / "dead"))).total()
        elif step in {"kill", "tear", "close"}:
            lives += 1
            given_up += shipper.stats.dead_events
            uncounted += shipper.stats.uncounted_segments
            if step == "close":
                await spool.close()
            image = place / str(lives)
            shutil.copytree(directory, image, symlinks=True)  # what a new process finds
            await spool.close()
            directory = image
            if step == "tear":
                for path in (directory / "q").glob("*.open"):
                    path.write_bytes(path.read_bytes() + b"\x30\x00\x00\x00half a frame")
            spool, shipper = start()
        elif step == "remove the open file":
            for path in (directory / "q").glob("*.open"):
                path.unlink()
            await look(spool)
        elif step == "remove q":
            removed += to_send(directory / "q", SEALED)
            shutil.rmtree(directory / "q")
            await look(spool)
            notice_what_is_gone(spool)
        elif step == "remove a segment" and (segments := spool.sealed()):
            before = to_send(directory / "q")
            segments[-1].path.unlink()
            removed += before - to_send(directory / "q")
            notice_what_is_gone(spool)
        elif step == "flip" and (segments := [one for one in spool.sealed() if not one.part]):
            data = bytearray(segments[-1].path.read_bytes())
            if not good_frames(bytes(data)).damage:
                before = to_send(directory / "q")
                data[len(MAGIC) + 10] ^= 1
                segments[-1].path.write_bytes(data)
                flipped += before - to_send(directory / "q")
        elif step == "remove dead":
            buried += Counter(payloads_in(directory / "dead"))
            shutil.rmtree(directory / "dead")
            await look(spool)
        dead = buried + Counter(payloads_in(directory / "dead"))
        assert door.acknowledged + to_send(directory / "q") + dead + removed + flipped == accepted
        counted = given_up + shipper.stats.dead_events
        unknown = uncounted + shipper.stats.uncounted_segments
        assert counted <= (dead + flipped).total(), "what is dead is counted"
        assert unknown or dead.total() <= counted
        assert flipped or torn or not unknown
        sizes = sum(path.stat().st_size for path in (directory / "q").iterdir())
        assert spool.used_bytes == sizes, "the quota's integers are what the directory holds"
    await spool.close()


async def look(spool: Spool) -> None:
    """Do what the background does every second."""
    with suppress(SpoolFailed):
        await spool._look()
        if len(spool._sealing):
            await spool.seal()


def notice_what_is_gone(spool: Spool) -> None:
    """Do what the shipper does when it meets files that are gone, and see every one of them counted."""
    for segment in [one for one in spool.sealed() if not one.path.exists()]:
        before = spool.stats.lost_segments
        spool.backlog.lose(segment)
        assert spool.stats.lost_segments == before + 1


def to_send(queue: Path, *suffixes: str) -> Counter[bytes]:
    """Count what is on disk, of a segment in halves only what stands at its cursor and behind it."""
    found: Counter[bytes] = Counter()
    for segment in [one for suffix in suffixes or (OPEN, SEALED) for one in listed(queue, suffix)]:
        payloads = good_frames(segment.path.read_bytes()).payloads
        found.update(payloads[share(segment.part, len(payloads)).start :])
    return found


async def seal_in_vain(spool: Spool, queue: Path) -> None:
    """Seal while the names a segment could take are taken."""
    names = [path.with_suffix(SEALED) for path in queue.glob("*.open")]
    for name in names:
        name.mkdir()
    had = len(spool._sealing) > 0 or (spool._open is not None and spool._open.events > 0)
    try:
        await spool.seal()
    except SpoolFailed:
        assert had
    else:
        assert not had
    finally:
        for name in names:
            name.rmdir()
