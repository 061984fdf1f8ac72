"""The files to append to: each made before it is needed, by a thread, so that no append waits for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from abside.spool.errors import SpoolFailed
from abside.spool.write.openfile import create

if TYPE_CHECKING:
    from pathlib import Path

    from abside.spool.write.openfile import OpenFile


class Starting:
    """Makes open files in `directory`, with sequence numbers above `seq`."""

    def __init__(self, directory: Path, boot: str, seq: int) -> None:
        self._directory = directory
        self._boot = boot
        self._seq = seq
        self._making: asyncio.Future[OpenFile] | None = None

    def now(self) -> OpenFile:
        """Make one here and now. Raises SpoolFailed."""
        self._seq += 1
        return create(self._directory, self._seq, self._boot)

    async def soon(self) -> OpenFile:
        """Make one in a thread. Raises SpoolFailed. A caller that is cancelled leaves the file to the next."""
        if self._making is None:
            self._seq += 1
            loop = asyncio.get_running_loop()
            self._making = loop.run_in_executor(None, create, self._directory, self._seq, self._boot)
        await asyncio.wait([self._making])
        made, self._making = self._making, None
        return made.result()

    async def end(self) -> None:
        """Remove a file that was made for nobody."""
        if self._making is not None:
            try:
                (await self.soon()).discard()
            except SpoolFailed:  # there is none
                return
