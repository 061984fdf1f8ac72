"""Series as promtool's test files write them, `0x5 1+1x20`, and as a process exposes them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families
from tests.monitoring.evaluating import NAME, Labels, Points, Store

if TYPE_CHECKING:
    from collections.abc import Mapping

STEP_SECONDS = 60
RUN = re.compile(r"(?P<first>_|-?[\d.]+(?:e\d+)?)(?:(?P<more>[+-][\d.]+)?x(?P<times>\d+))?")


def store_of(series: Mapping[str, str], *, is_closed: bool = False) -> Store:
    """Return the samples of series by their notation, one a minute from second 0."""
    return Store({labels_of(name): points_of(values) for name, values in series.items()}, is_closed=is_closed)


def labels_of(name: str) -> Labels:
    """Read `metric{label="value"}`."""
    ((sample,),) = (one.samples for one in text_string_to_metric_families(f"{name} 1\n"))
    return frozenset({NAME: sample.name, **sample.labels}.items())


def points_of(values: str) -> Points:
    """Read promtool's notation: `7`, `0+1x3` is 0 1 2 3, `5x2` is 5 5 5, `_` has no sample, `_x4` four times."""
    found: list[float] = []
    for word in values.split():
        match = RUN.fullmatch(word)
        assert match, f"{word!r} is no run of samples"
        times = int(match["times"] or 0)
        if match["first"] == "_":
            found += [math.nan] * max(1, times)
            continue
        found += [float(match["first"]) + float(match["more"] or 0) * index for index in range(times + 1)]
    return [(index * STEP_SECONDS, value) for index, value in enumerate(found) if not math.isnan(value)]
