"""`--reuse`: a second report about the same files uses the answers of the first, and never those about other files."""

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Callable
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


@pytest.fixture
def report(till: Any, tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what reports on the till's store: the figures, how many answers were used again, and the page."""
    numbers = itertools.count()

    def make(*, reuse: bool = True, **options: Any) -> tuple[dict[str, Any], int | None, str]:
        out = tmp_path / f"report-{next(numbers)}.json"
        settings = ReportSettings(till.folder, (config,), json=out, work=tmp_path / "work", reuse=reuse, **options)
        assert main(settings) == 0
        page = orjson.loads(out.read_bytes())
        reused = page["events"].pop("reused")
        return page, reused and reused["answers"], capsys.readouterr().out

    return make


def shopping(till: Any, seed: int) -> None:
    """Put a file of forty shoppers into the store."""
    chance = random.Random(seed)
    for number in range(40):
        user_id = f"u{seed}-{number}"
        till.expose(number, chance.choice(("control", "treatment")), user_id=user_id, attributes={"country": "DE"})
        if chance.random() < 0.5:
            till.add("add_to_cart", number + 2, user_id=user_id, item_id="i1", quantity=1)
    till.close()


def test_a_second_report_uses_every_answer_of_the_first(till: Any, report: Callable[..., Any]) -> None:
    shopping(till, 1)
    plain, none, page = report(reuse=False)
    assert none is None
    first, count, said = report()
    assert (first, count) == (plain, 0)
    assert said == page, "what is new is said of no page"
    second, count, said = report()
    assert second == plain
    assert count > 20
    assert f"used again: {count} of {count} answers, of an earlier report about the same files (--reuse)" in said


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


def test_other_files_are_another_question(till: Any, report: Callable[..., Any]) -> None:
    shopping(till, 1)
    report()
    shopping(till, 2)
    added, count, _ = report()
    assert count == 0
    assert added == report(reuse=False)[0]
    (newest,) = sorted(till.folder.rglob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)[-1:]
    newest.rename(newest.with_suffix(".elsewhere"))
    removed, count, _ = report()
    assert removed == report(reuse=False)[0]
    assert count > 20, "the store is what it was at first"
    (left,) = till.folder.rglob("*.parquet")
    os.utime(left, ns=(1, 1))
    assert report()[1] == 0, "a file of the same name and size, written at another time"


def test_an_option_that_changes_little_asks_little(till: Any, report: Callable[..., Any]) -> None:
    shopping(till, 1)
    report()
    phase, count, _ = report(phase=1)
    assert count > 20
    assert phase == report(reuse=False)[0]


def test_a_damaged_answer_is_asked_for_again(till: Any, tmp_path: Path, report: Callable[..., Any]) -> None:
    shopping(till, 1)
    first, _, _ = report()
    folder = tmp_path / "work" / FOLDER
    files = sorted(folder.iterdir())
    for number, path in enumerate(files):
        data = path.read_bytes()
        damaged = (b"", data[:-1], data[:40] + bytes([data[40] ^ 1]) + data[41:])[number % 3]
        path.write_bytes(damaged)
    again, count, _ = report()
    assert (again, count) == (first, 0)
    assert report()[1] > 20, "they were made anew"


def test_the_units_are_kept_with_their_types(till: Any, tmp_path: Path, report: Callable[..., Any]) -> None:
    shopping(till, 1)
    report()
    (units,) = (tmp_path / "work" / FOLDER).glob("*.duckdb")
    for path in (tmp_path / "work" / FOLDER).iterdir():
        if len(path.name) == 64:  # an answer; the tables' columns stay
            path.unlink()
    before = units.stat().st_ino
    again, count, _ = report()
    assert count == 0
    assert again == report(reuse=False)[0]
    assert units.stat().st_ino == before, "they were read, not made"


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
