"""How far the work is: said at a terminal, in percent that only grow, and nowhere else."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from abside.report.ask import Ask
from abside.report.engines.embedded import Embedded
from abside.report.progress import MOST, PAGE, SHARED, WEIGHTS, Steps, progress
from abside.report.report import build
from abside.report.store.source import open_source
from abside.snapshot import Snapshot


def test_percent_of_a_real_report_only_grow_and_name_what_is_done(
    till: Any, documents: Callable[..., Snapshot], tmp_path: Path
) -> None:
    till.config(0)
    for number in range(20):
        till.expose(0, "treatment" if number % 2 else "control", user_id=f"u{number}")
    out, steps, done = io.StringIO(), Steps(1), []
    with progress(1, Console(file=out, force_terminal=True, width=120)) as tell:

        def heard(purpose: str) -> None:
            done.append(steps.begin(purpose))
            tell(purpose)

        with Embedded.open(memory_bytes=2**30, spill=tmp_path / "spill", tell=heard) as engine:
            build(engine, open_source(engine, till.close()), documents(), Ask())
            purposes = {one.purpose.rpartition(": ")[2] for one in engine.asked}
    assert done == sorted(done)
    assert done[0] == 0.0
    assert 0.8 < done[-1] <= MOST
    assert purposes >= set(WEIGHTS)  # a step that is renamed would weigh nothing
    assert re.search(r"\d+%.*moments by variant", out.getvalue())


def test_more_work_than_expected_stays_below_the_end() -> None:
    steps = Steps(0)
    assert max(steps.begin("e: exposures by session") for _ in range(int(SHARED + PAGE))) == MOST


def test_a_pipe_hears_nothing() -> None:
    out = io.StringIO()
    with progress(1, Console(file=out)) as tell:
        tell("delays by batch")
    assert out.getvalue() == ""


def test_a_narrow_terminal_shows_percent_and_the_beginning_of_what_is_done() -> None:
    out = io.StringIO()
    with progress(1, Console(file=out, force_terminal=True, width=40)) as tell:
        tell("pdp-reranker: outcomes outside the windows")
    drawn = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "0%" in drawn
    assert "pdp-reran" in drawn
    assert "…" not in drawn
