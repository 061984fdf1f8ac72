"""Run as a script: the rounds of upkeep on copies of a store, each killed just before another step on the disk.

`cut_off.py BEFORE INTO AGAIN` writes INTO/0, INTO/1, …: the store as it is after that many steps.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

from abside.collector.keep.compact import merge, publish

STEPS = {"os.rename", "os.remove", "os.link"}
ROUNDS = 3
MOST = 100


def rounds(store: Path, *, again: bool) -> None:
    for _ in range(ROUNDS):
        for day in sorted(store.glob("dt=*")):
            publish(day)
            merge(day, again=again)


def die_before(number: int) -> None:
    left = number

    def hook(event: str, _: object) -> None:
        nonlocal left
        if event in STEPS:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)


def main(before: Path, into: Path, again: bool) -> None:
    for number in range(MOST):
        shutil.copytree(before, into / str(number))
        child = os.fork()
        if child == 0:
            die_before(number)
            rounds(into / str(number), again=again)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            return
    raise AssertionError


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "again")
