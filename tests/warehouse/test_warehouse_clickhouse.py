"""The page's ways into ClickHouse, on its own engine: what sidecars and log pipelines send, and files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.request import urlopen

import orjson
import pytest
from tests.warehouse.world import PAGE, TOOLS, UNITS, World, statement_of, statements

from abside import event
from abside.collector.store.place import open_place
from abside.environ import now_us
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_server import S3Server

BATCH = 100
(ADDRESS,) = re.findall(r"^http://clickhouse:8123(/.+)$", PAGE.read_text(), re.MULTILINE)
(FLUENT_BITS,) = re.findall(r"^ +uri: (/.+)$", PAGE.read_text(), re.MULTILINE)


@pytest.fixture
def run(clickhouse: str) -> Callable[[str, str], None]:
    def post(script: str, database: str) -> None:
        for one in statements(script):
            with urlopen(f"{clickhouse}/?database={database}", data=one.encode()):
                pass

    return post


def arms(ask: Callable[..., list[list[object]]], database: str, experiment: str, tool: int) -> list[tuple[object, ...]]:
    rows = ask(TOOLS[tool].statement(experiment), database)
    return [(arm, int(str(units)), int(str(buyers)), revenue) for arm, units, buyers, revenue in rows]


async def test_what_sidecars_send_to_it_twice_has_the_arms_of_the_report(
    world: World, clickhouse: str, run: Callable[[str, str], None], ask: Callable[..., list[list[object]]]
) -> None:
    run(statement_of("ClickHouse: what arrives"), "default")
    run(statement_of("views"), "abside")
    upstream = open_upstream(clickhouse + ADDRESS, now_us)
    for begin in (*range(0, len(world.events), BATCH), 0):  # the first batch once more
        packed = [event.encode(one) for one in world.events[begin : begin + BATCH]]
        assert await upstream.send(Batch(f"b.{begin}", len(packed), b"".join(packed))) == Acked()
    await upstream.close()
    for number, experiment in enumerate(UNITS):
        assert arms(ask, "abside", experiment, number) == world.reported[experiment]
    (counted,) = ask("SELECT toInt32(count()), toInt32(uniqExact(event_id)) FROM arrived FINAL", "abside")
    assert counted[0] == counted[1] == len({one["event_id"] for one in world.events})
    exposures = {one["event_id"] for one in world.events if one["type"] == "exposure"}
    (where,) = ask(statement_of("ClickHouse: exposures by cluster"), "abside")
    assert [str(one) for one in where] == ["eu-1", "recs", "rec", str(len(exposures))]


async def test_a_table_that_is_missing_acknowledges_nothing(world: World, clickhouse: str) -> None:
    upstream = open_upstream(clickhouse + ADDRESS.replace("arrived", "elsewhere"), now_us)
    answer = await upstream.send(Batch("b.1", 1, event.encode(world.events[0])))
    await upstream.close()
    assert not isinstance(answer, Acked)


def test_lines_of_a_log_pipeline_with_fields_of_its_own_are_taken(
    world: World, clickhouse: str, run: Callable[[str, str], None], ask: Callable[..., list[list[object]]]
) -> None:
    run(statement_of("ClickHouse: what arrives").replace("abside", "piped"), "default")
    run(statement_of("views"), "piped")
    theirs = {"path": "/", "source_type": "http_server", "timestamp": "2026-11-23T09:00:00.000001Z"}
    lines = b"\n".join(orjson.dumps({**one, **theirs}) for one in world.events)
    with urlopen(clickhouse + FLUENT_BITS.replace("abside", "piped"), data=lines):
        pass
    assert arms(ask, "piped", "pdp-reranker", 2) == world.reported["pdp-reranker"]


def test_files_read_in_place_and_copied_twice_have_the_arms_of_the_report(
    world: World, run: Callable[[str, str], None], ask: Callable[..., list[list[object]]]
) -> None:
    for database, title in (("files", "ClickHouse: events of files"), ("copies", "ClickHouse: a copy of files")):
        run(f"CREATE DATABASE {database}", "default")
        run(statement_of(title), database)
        run(statement_of("views"), database)
        for experiment in UNITS:
            assert arms(ask, database, experiment, 2) == world.reported[experiment]


def test_an_archive_in_a_bucket_has_the_arms_of_the_report(
    world: World, s3: S3Server, run: Callable[[str, str], None], ask: Callable[..., list[list[object]]]
) -> None:
    bucket = s3.bucket()
    for number, path in enumerate((world.folder / "store").rglob("*.parquet")):
        open_place(f"s3://{bucket}/PREFIX").create(f"store=a/{path.parent.name}/merged~{number}.parquet", path)
    said = statement_of("ClickHouse: events of an archive")
    for placeholder, real in (
        ("https://BUCKET.s3.REGION.amazonaws.com", f"{s3.endpoint}/{bucket}"),
        ("KEY ID", s3.key),
        ("SECRET KEY", s3.secret),
    ):
        assert placeholder in said
        said = said.replace(placeholder, real)
    run("CREATE DATABASE archived", "default")
    run(said, "archived")
    run(statement_of("views"), "archived")
    assert arms(ask, "archived", "pdp-reranker", 0) == world.reported["pdp-reranker"]
