"""How far the work is, for a person who waits at a terminal: a bar with percent, by steps of known weight."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What a step weighs beside a small one: its seconds of 20 million exposures, estimated.
# Steps of one experiment follow ": ".
WEIGHTS = {
    "delays by batch": 4,
    "rows by type": 3,
    "stitching sessions to users": 12,
    "ids that occur twice": 8,
    "copies of outcomes": 12,
    "outcomes, each once": 12,
    "exposures by session": 12,
    "outcomes of units": 6,
    "carts of items shown": 6,
    "copies of exposures": 8,
}
SMALL = 0.25
SHARED, PAGE = 58.0, 42.0  # what all steps of the store weigh, and those of one experiment
BAR, BESIDE, WIDE = 20, 15, 60  # columns: of the bar, of percent and time beside it; a terminal that has room for both
MOST = 0.99  # until it is over: there may be more to do than was expected


@dataclass(slots=True)
class Steps:
    """The weight of the steps that are over, of those expected. It only grows."""

    pages: int  # expected
    done: float = 0.0
    now: float = 0.0  # the weight of the step that runs

    def begin(self, purpose: str) -> float:
        """Begin a step, which ends the one before; return how far the work is, from 0 to MOST."""
        self.done += self.now
        self.now = float(WEIGHTS.get(purpose.rpartition(": ")[2], SMALL))
        return min(MOST, self.done / (SHARED + PAGE * max(1, self.pages)))


@contextmanager
def progress(pages: int, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Report what is being done and how far it is, on a terminal; nothing on a pipe or in a file."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield lambda _purpose: None
        return
    steps = Steps(pages)
    length = BAR if console.width >= WIDE else BAR // 2
    room = max(0, console.width - length - BESIDE)  # rich would end it with a sign that an ASCII terminal has not
    columns = (
        TaskProgressColumn(),
        BarColumn(length),
        TimeElapsedColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda purpose: bar.update(task, completed=steps.begin(purpose), description=purpose[:room], refresh=True)
