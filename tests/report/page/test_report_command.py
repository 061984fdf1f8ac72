"""What a person meets: the page, the file, the exit code, one line for what is wrong."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from abside.collector.store import SCHEMA
from abside.report.command import _build, main
from abside.report.page.text.document import write_report
from abside.report.page.text.pen import Pen
from abside.report.problem import StoreChanged
from abside.report.report import Report
from abside.report.settings import ReportSettings, moment
from abside.report.store.engine import Engine
from abside.report.store.source import COLUMNS, open_source
from abside.snapshot import Snapshot, encode

Configure = Callable[..., Path]
YAML = """
placements: {pdp: {parameters: {model: v1}}}
experiments:
  e:
    name: E
    hypothesis: Lifts.
    status: running
    placements: [pdp]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {pdp: {model: v2}}}}
    analysis: {window: 2d}
"""


@pytest.fixture
def store(till: Any) -> Path:
    return shopping(till)


def shopping(till: Any) -> Path:
    """Forty shoppers of `e`, half of them treated, some with a cart."""
    till.config(0)
    for number in range(40):
        user = f"u{number}"
        till.expose(number, "treatment" if number % 2 else "control", user_id=user)
        till.add("impression", number + 1, user_id=user, placement="pdp", items=["i1"])
        if number % 5 < 2:
            till.add("click", number + 1, user_id=user, placement="pdp", item_id="i1")
            till.add("add_to_cart", number + 2, user_id=user, item_id="i1")
    folder: Path = till.close()
    return folder


def ask(capsys: pytest.CaptureFixture[str], **settings: Any) -> tuple[int, str, str]:
    code = main(ReportSettings(**settings))
    out, err = capsys.readouterr()
    return code, out, err


@dataclass(frozen=True)
class Twice:
    """Two reports on one store: what was printed, and the two files; the second with the SQL that ran."""

    page: str
    page_with_sql: str
    files: tuple[bytes, bytes]


@pytest.fixture(scope="module")
def twice(module_till: Any, documents: Callable[..., Snapshot]) -> Twice:
    store = shopping(module_till)
    config = store.with_name("abside.snapshot")
    config.write_bytes(encode(documents()))
    folder = store.with_name("out")
    folder.mkdir()
    pages, files = [], []
    for name, show_sql in (("one", False), ("two", True)):
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            assert main(ReportSettings(events=store, config=(config,), json=folder / name, show_sql=show_sql)) == 0
        assert err.getvalue() == ""
        pages.append(out.getvalue())
        files.append((folder / name).read_bytes())
    assert sorted(path.name for path in folder.iterdir()) == ["one", "two"]
    return Twice(pages[0], pages[1], (files[0], files[1]))


def test_the_page_has_every_figure_and_no_escape_codes_in_a_pipe(twice: Twice) -> None:
    out = twice.page
    assert "\x1b" not in out
    assert [line.rstrip() for line in out.splitlines()] == out.splitlines()
    for words in ("DuckDB", "e: E", "started: 100 % of traffic, phase 1", "sample ratio: p = 1.000", "control   "):
        assert words in out
    for metric in ("add_to_cart_rate (primary)", "placement_add_to_cart_rate", "ctr", "bounce_rate"):
        assert f"\n{metric} " in out or f"\n{metric}, " in out
    assert "…" in out


def test_the_file_has_what_the_page_has_and_null_for_what_cannot_be_estimated(twice: Twice) -> None:
    document = json.loads(twice.files[0])
    assert document["events"]["rows_by_type"]["exposure"] == 40
    assert document["versions"]["duckdb"]
    (page,) = document["experiments"]
    assert [arm["units"] for arm in page["arms"]] == [20, 20]
    estimates = {one["metric"]: one for one in page["estimates"]}
    assert estimates["add_to_cart_rate"]["lift"] == pytest.approx(0.0)
    assert estimates["add_to_cart_rate"]["lift_interval"][0] < 0
    assert (estimates["conversion_rate"]["lift"], estimates["conversion_rate"]["p"]) == (None, None)
    assert estimates["conversion_rate"]["reason"]


def test_the_same_store_gives_the_same_file(twice: Twice) -> None:
    assert twice.files[0] == twice.files[1]


def test_a_terminal_sees_a_mismatch_in_red_before_anything_else_of_its_experiment(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    till.config(0)
    for number in range(60):
        till.expose(0, "treatment" if number % 6 == 0 else "control", user_id=f"u{number}")
    out = io.StringIO()
    write_report(report_on(till.close(), documents()), Pen(out, is_terminal=True, width=250))
    page = out.getvalue().partition("e: E")[2].splitlines()
    assert page[1].startswith("\x1b[1;31mSAMPLE RATIO MISMATCH, p = ")
    assert "control 50 of 30 expected, treatment 10 of 30 expected" in page[1]


def test_words_from_events_cannot_steer_the_terminal(
    till: Any, report_on: Callable[..., Report], documents: Callable[..., Snapshot]
) -> None:
    till.expose(0, "control", user_id="u1")
    till.expose(0, "evil\x1b]0;title\x07[red]", user_id="u2")
    out = io.StringIO()
    write_report(report_on(till.close(), documents()), Pen(out))
    assert "\x1b" not in out.getvalue()
    assert "evil?]0;title?[red] has 1 units" in out.getvalue()


def test_the_sql_that_ran_is_printed_on_request(twice: Twice) -> None:
    out = twice.page_with_sql
    assert "-- e: units\nCREATE OR REPLACE TEMP TABLE units AS\nSELECT" in out
    assert "-- e: moments by variant\nSELECT" in out


def test_the_documents_may_be_a_directory_as_the_agent_reads_it(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "e.yaml").write_text(YAML)
    code, out, err = ask(capsys, events=store, config=(folder,))
    assert (code, err) == (0, "")
    assert "outcomes within 2 d" in out
    (folder / "bad.yaml").write_text("experiments: {f: {}}")
    code, out, _ = ask(capsys, events=store, config=(folder,))
    assert code == 0
    assert "problems: abside check" in out
    (tmp_path / "up" / "config").mkdir(parents=True)
    (folder / "e.yaml").replace(tmp_path / "up" / "config" / "e.yaml")
    code, out, err = ask(capsys, events=store, config=(folder,))
    assert (code, out) == (1, "")
    assert "no snapshot came of these documents" in err
    assert "abside check" in err
    code, _, err = ask(capsys, events=store, config=(below := tmp_path / "up",))
    assert (code, err) == (1, f"abside report: --config {below}: holds no *.yaml; did you mean {below / 'config'}?\n")


def test_documents_of_several_directories_are_one(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    placements, _, experiments = YAML.partition("experiments:")
    folders = (tmp_path / "a", tmp_path / "b")
    for folder, text in zip(folders, (placements, "experiments:" + experiments), strict=True):
        folder.mkdir()
        (folder / "part.yaml").write_text(text)
    code, out, err = ask(capsys, events=store, config=folders)
    assert (code, err) == (0, "")
    assert "e: E" in out


def test_a_store_in_which_nothing_was_exposed_says_so_and_exits_1(
    till: Any, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    till.add("page_view", 0, user_id="u1")
    code, out, err = ask(capsys, events=till.close(), config=(config_file(),))
    assert (code, err) == (1, "")
    assert out.endswith("no experiment of the documents has an exposure in these events\n")


def test_an_experiment_that_was_asked_for_and_has_no_figures_is_exit_1(
    store: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = ask(capsys, events=store, config=(config_file(),), experiment=("e", "f"))
    assert code == 1
    assert err == "abside report: f: is in no document and in no event; found: e\n", "the page may be in a file"
    assert "e: E" in out
    assert "f: is in no document and in no event; found: e" in out


def test_whatever_is_wrong_is_one_line_and_exit_1(
    store: Path, config_file: Configure, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = (config_file(),)

    def line(**settings: Any) -> str:
        code, _, err = ask(capsys, **{"events": store, "config": config, **settings})
        assert code == 1
        assert err.count("\n") == 1
        return err

    assert "is no directory" in line(events=tmp_path / "nowhere")
    assert "neither a directory of *.yaml documents nor a snapshot file" in line(config=(tmp_path / "nowhere",))
    assert "snapshot refused" in line(config=(next(store.rglob("*.parquet")),))
    assert line(json=tmp_path / "no" / "out.json").startswith("abside report: --json: ")
    assert line(work=config[0] / "below").startswith("abside report: --work: ")


def test_a_period_in_which_nothing_can_have_begun_is_one_line_and_exit_1(
    store: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(since: str, until: str | None = None) -> str:
        period = {"since": moment(since), "until": None if until is None else moment(until)}
        code, out, err = ask(capsys, events=store, config=(config_file(),), **period)
        assert (code, out) == (1, "")
        return err

    assert line("2999-01-01") == (
        "abside report: --since 2999-01-01T00:00:00Z: is in the future: nothing was first exposed since then\n"
    )
    assert line("2026-11-02", "2026-11-02T01:00:00+01:00") == (
        "abside report: --until 2026-11-02T00:00:00Z: is not later than --since 2026-11-02T00:00:00Z\n"
    )
    with pytest.raises(ValueError, match="has no zone, write for example 2026-11-02 09:00Z"):
        moment("2026-11-02 09:00")


def test_first_exposures_until_a_moment_are_counted_with_all_their_outcomes(
    store: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ask(capsys, events=store, config=(config_file(),), until=moment("2026-11-02T09:10:00Z"))
    assert code == 0
    assert "figures are of first exposures before 2026-11-02 09:10:00Z as asked, 30 units first exposed later" in out
    code, out, _ = ask(capsys, events=store, config=(config_file(),), until=moment("2026-11-02T09:00:00Z"))
    assert code == 1
    assert (
        "e: has exposures, and none of them of a unit within the period asked for; 40 units first exposed later" in out
    )


def test_a_file_whose_pages_are_damaged_is_one_line_and_exit_1(
    store: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = store.rglob("*.parquet")
    pq.write_table(pq.read_table(file, schema=SCHEMA), file, compression="zstd")
    data = bytearray(file.read_bytes())
    footer = int.from_bytes(data[-8:-4], "little") + 8
    for at in range(4, len(data) - footer):
        data[at] ^= 0xFF
    file.write_bytes(bytes(data))
    code, _, err = ask(capsys, events=store, config=(config_file(),))
    assert code == 1
    assert err.startswith("abside report: ")
    assert err.count("\n") == 1


def test_a_file_that_a_collector_merges_meanwhile_is_looked_for_again(
    store: Path, config_file: Configure, engine: Engine, documents: Callable[..., Snapshot]
) -> None:
    source = open_source(engine, store)
    (file,) = source.files
    file.unlink()
    with pytest.raises(StoreChanged):
        _build(engine, source, documents(), ReportSettings(store, (config_file(),)))


def test_a_store_that_never_comes_to_rest_is_given_up(
    store: Path, config_file: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    (file,) = store.rglob("*.parquet")
    file.with_name("vanishing.parquet").symlink_to(file.with_name("nowhere"))  # listed, and gone when it is opened
    code, _, err = ask(capsys, events=store, config=(config_file(),))
    assert (code, "the store changed under 3 looks; ask again" in err) == (1, True)


def test_a_real_process_documents_its_usage_and_exits_2_when_told_wrongly(store: Path, config_file: Configure) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-X", "importtime", "-m", "abside", "report", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)

    done = run("--events", str(store), "--config", str(config_file()))
    loaded = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert (done.returncode, len(done.stderr.splitlines())) == (0, len(loaded))
    assert "add_to_cart_rate (primary)" in done.stdout
    names = {line.rpartition("|")[2].strip() for line in loaded}
    assert {"ibis", "duckdb"} <= names
    assert "pandas" not in names  # a fifth of a second, of which nothing is used
    assert run("--events", str(store)).returncode == 2
    assert run("--events", str(store), "--config", "x", "--phase", "last").returncode == 2


def test_the_columns_the_report_reads_are_the_collectors() -> None:
    assert set(COLUMNS) <= set(SCHEMA.names)
