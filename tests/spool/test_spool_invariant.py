"""accepted = acknowledged + on disk + dead, at any moment, whatever happens in whatever order."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from abside.spool.errors import SpoolFull
from abside.spool.reader import read
from abside.spool.settings import SpoolSettings
from abside.spool.writer import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(min_value=1, max_value=4)),
        st.tuples(st.sampled_from(["seal", "acknowledge", "bury", "kill", "close", "tear"]), st.just(0)),
    ),
    max_size=25,
)


@how(max_examples=60)
@given(STEPS)
def test_nothing_accepted_is_lost_or_doubled(payloads_in: Callable[[Path], list[bytes]], steps: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(walk(Path(place), steps, payloads_in))


async def walk(place: Path, steps: list[Any], payloads_in: Callable[[Path], list[bytes]]) -> None:
    directory, number, lives = place / "0", 0, 0
    accepted: Counter[bytes] = Counter()
    acknowledged: Counter[bytes] = Counter()

    def start() -> Spool:
        settings = SpoolSettings(directory, limit_bytes=600, floor_bytes=0, fsync="never")
        return Spool.open(settings, f"boot{lives}", lambda: 1)

    spool = start()
    for step, size in steps:
        oldest = spool.backlog.oldest()
        if step == "append":
            payloads = [b"event %d" % (number + n) for n in range(size)]
            number += size
            try:
                spool.append(payloads)
                accepted.update(payloads)
            except SpoolFull:
                assert spool.used_bytes + 40 > 600 - 40 * size
        elif step == "seal":
            await spool.seal()
        elif step == "acknowledge" and oldest is not None:
            acknowledged.update((await read(oldest)).payloads)
            await spool.backlog.acknowledge(oldest)
        elif step == "bury" and oldest is not None:
            spool.backlog.bury(oldest, "rejected")
        elif step in {"kill", "tear", "close"}:
            lives += 1
            if step == "close":
                await spool.close()
            image = place / str(lives)
            shutil.copytree(directory, image, symlinks=True)  # what a new process finds
            await spool.close()
            directory = image
            if step == "tear":
                for path in (directory / "q").glob("*.open"):
                    path.write_bytes(path.read_bytes() + b"\x30\x00\x00\x00half a frame")
            spool = start()
        on_disk = Counter(payloads_in(directory / "q"))
        dead = Counter(payloads_in(directory / "dead"))
        assert acknowledged + on_disk + dead == accepted
        sizes = sum(path.stat().st_size for path in (directory / "q").iterdir())
        assert spool.used_bytes == sizes, "the quota's integers are what the directory holds"
    await spool.close()
