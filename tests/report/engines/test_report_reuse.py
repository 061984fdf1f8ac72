"""`--reuse`: a second report about the same files uses the answers of the first, and never those about other files."""

import io
import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from abside.report.begin import main
from abside.report.engines.answers import FOLDER, Answers
from abside.report.settings import ReportSettings
from abside.snapshot import Snapshot, encode


@pytest.fixture
def config(tmp_path: Path, documents: Callable[..., Snapshot]) -> Path:
    path = tmp_path / "abside.snapshot"
    path.write_bytes(encode(documents()))
    return path


@dataclass
class Told:
    """Figures, the page, and how many answers were used again."""

    figures: dict[str, Any]
    page: str
    reused: int | None


class Begun:
    """A store of forty shoppers, reported on without answers of an earlier report and with none yet."""

    def __init__(self, till: Any, folder: Path, documents: Snapshot) -> None:
        self.till, self._folder, self._numbers = till, folder, itertools.count()
        (folder / "abside.snapshot").write_bytes(encode(documents))
        shopping(till, 1)
        self.plain, self.first = self.report(reuse=False), self.report()

    @property
    def answers(self) -> Path:
        return self._folder / "work" / FOLDER

    def report(self, *, reuse: bool = True, **options: Any) -> Told:
        out = self._folder / f"report-{next(self._numbers)}.json"
        options |= {"json": out, "work": self._folder / "work", "reuse": reuse}
        with redirect_stdout(io.StringIO()) as page:
            assert main(ReportSettings(self.till.folder, (self._folder / "abside.snapshot",), **options)) == 0
        figures = orjson.loads(out.read_bytes())
        reused = figures["events"].pop("reused")
        return Told(figures, page.getvalue(), reused and reused["answers"])


def shopping(till: Any, seed: int) -> None:
    """Put a file of forty shoppers into the store."""
    chance = random.Random(seed)
    for number in range(40):
        user_id = f"u{seed}-{number}"
        till.expose(number, chance.choice(("control", "treatment")), user_id=user_id, attributes={"country": "DE"})
        if chance.random() < 0.5:
            till.add("add_to_cart", number + 2, user_id=user_id, item_id="i1", quantity=1)
    till.close()


@pytest.fixture(scope="module")
def begun(
    tmp_path_factory: pytest.TempPathFactory, till_at: Callable[[Path], Any], documents: Callable[..., Snapshot]
) -> Begun:
    """Return what the tests have in common: each leaves the store, and answers about it, as they were."""
    folder = tmp_path_factory.mktemp("reuse")
    return Begun(till_at(folder / "store"), folder, documents())


def test_a_second_report_uses_every_answer_of_the_first(begun: Begun) -> None:
    assert begun.plain.reused is None
    assert (begun.first.figures, begun.first.reused) == (begun.plain.figures, 0)
    assert begun.first.page == begun.plain.page, "what is new is said of no page"
    second = begun.report()
    assert second.figures == begun.plain.figures
    count = of(second)
    assert count > 20
    assert f"used again: {count} of {count} answers, of an earlier report about the same files (--reuse)" in second.page


def test_another_process_asks_the_same_questions(till: Any, tmp_path: Path, config: Path) -> None:
    for number in range(40):
        user_id, variant = f"u{number}", ("control", "treatment")[number % 2]
        exposure_id = f"x-{number}"
        till.expose(number, variant, user_id=user_id, exposure_id=exposure_id)
        till.add("click", number + 2, user_id=user_id, exposure_id=exposure_id, placement="pdp", item_id="i1")
    till.close()
    command = [sys.executable, "-m", "abside", "report", "--events", str(till.folder), "--config", str(config)]
    command += ["--work", str(tmp_path), "--reuse", "--json", "-"]
    pages = []
    for seed in "01":  # sets of Python are in another order
        seeded = ["env", f"PYTHONHASHSEED={seed}", *command]
        pages.append(orjson.loads(subprocess.run(seeded, capture_output=True, check=True).stdout))
    reused = pages[1]["events"]["reused"]
    assert reused["answers"] == reused["of"]


def test_other_files_are_another_question(begun: Begun) -> None:
    (first,) = begun.till.folder.rglob("*.parquet")
    shopping(begun.till, 2)
    added = begun.report()
    assert added.reused == 0
    assert added.figures == begun.report(reuse=False).figures != begun.plain.figures
    (newest,) = {*begun.till.folder.rglob("*.parquet")} - {first}
    newest.unlink()
    assert of(begun.report()) > 20, "the store is what it was at first"
    was = first.stat()
    os.utime(first, ns=(1, 1))
    assert begun.report().reused == 0, "a file of the same name and size, written at another time"
    os.utime(first, ns=(was.st_atime_ns, was.st_mtime_ns))
    removed = begun.report()
    assert (removed.figures, of(removed) > 20) == (begun.plain.figures, True)


def of(told: Told) -> int:
    assert told.reused is not None
    return told.reused


def test_an_option_that_changes_little_asks_little(begun: Begun) -> None:
    phase = begun.report(phase=1)
    assert of(phase) > 20
    assert phase.figures == begun.plain.figures


def test_a_damaged_answer_is_asked_for_again(begun: Begun) -> None:
    files = sorted(begun.answers.iterdir())
    for number, path in enumerate(files):
        data = path.read_bytes()
        damaged = (b"", data[:-1], data[:40] + bytes([data[40] ^ 1]) + data[41:])[number % 3]
        path.write_bytes(damaged)
    again = begun.report()
    assert (again.figures, again.reused) == (begun.plain.figures, 0)
    assert of(begun.report()) > 20, "they were made anew"


def test_the_units_are_kept_with_their_types(begun: Begun) -> None:
    for path in begun.answers.iterdir():
        if len(path.name) == 64:  # an answer; the tables' columns stay
            path.unlink()
    before = {path: path.stat().st_ino for path in begun.answers.glob("*.duckdb")}
    again = begun.report()
    assert again.reused == 0
    assert again.figures == begun.plain.figures
    assert {path: path.stat().st_ino for path in begun.answers.glob("*.duckdb")} == before, "they were read, not made"


def test_what_was_used_longest_ago_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("abside.report.engines.answers.MAX_FILES", 2)
    answers = Answers(tmp_path)
    for number, name in enumerate("abc"):
        answers.take(name, b"x")
        os.utime(tmp_path / name, ns=(number, number))
    assert answers.text("a") == b"x", "which is a use of it"
    answers.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"work": None}, "--reuse keeps answers in a directory: name it with --work"),
        ({"events": "s3://bucket/p"}, "--reuse is of a store in a directory"),
        ({"engine": "sc://host"}, "--reuse is of DuckDB"),
        ({"show_sql": True}, "--reuse runs no statement whose answer it has"),
    ],
)
def test_what_answers_cannot_be_used_for_is_refused(
    till: Any, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any], said: str
) -> None:
    given = {"events": till.folder, "config": (config,), "work": tmp_path, "reuse": True, **options}
    assert main(ReportSettings(**given)) == 2
    assert said in capsys.readouterr().err
