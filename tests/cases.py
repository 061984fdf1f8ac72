"""How many cases a test draws: in `make test` enough to catch a slip, in `make deep` ten times as many."""

import os

TIMES = int(os.environ.get("ABSIDE_TEST_DEEP", "1"))  # noqa: TID251 set by `make deep`


def cases(usual: int) -> int:
    return usual * TIMES
