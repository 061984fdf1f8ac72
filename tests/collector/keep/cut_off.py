"""Run as a script: the rounds of upkeep on copies of a store, each killed just before another step on the disk.

`cut_off.py BEFORE INTO AGAIN` writes INTO/0, INTO/1, …: the store as it is after that many steps. With `archive` for
AGAIN, INTO/0/archive and so on are the archive of each.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from abside.collector.keep.archive import Archive
from abside.collector.keep.compact import merge, publish
from abside.collector.store.place import DirectoryPlace

STEPS = {"os.rename", "os.remove", "os.link"}
ROUNDS = 3
MOST = 100


def rounds(store: Path, mode: str) -> None:
    for _ in range(ROUNDS):
        for day in sorted(store.glob("dt=*")):
            publish(day)
            merge(day, again=mode == "again")
        if mode == "archive":
            Archive(store, DirectoryPlace(store / "archive")).copy()


def die_before(number: int) -> None:
    left = number

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event in STEPS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def main(before: Path, into: Path, mode: str) -> None:
    for number in range(MOST):
        shutil.copytree(before, into / str(number))
        child = os.fork()
        if child == 0:
            die_before(number)
            rounds(into / str(number), mode)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return
    raise AssertionError


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
