"""A store in which everything happens, the documents of it, and the engines that are to agree on it."""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from abside.report.command import main
from abside.report.documents import read_documents
from abside.report.settings import ReportSettings
from abside.snapshot import encode
from spark_server import SMALL, SparkServer

YAML = """
attributes: {country: {type: string, log: true}, age: {type: number, log: true}, tags: {type: list, log: true}}
placements: {pdp: {parameters: {model: v1}}, home: {parameters: {model: v1}}}
experiments:
  e:
    name: E
    hypothesis: Lifts.
    status: running
    placements: [pdp]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {pdp: {model: v2}}}}
    analysis:
      primary: add_to_cart_rate
      secondary: [deep, basket, rating]
      guardrails: {inventory_exposure_gini: {max_increase: 20%}, page_load_mean: {max_increase: 10%}}
      planned_units: 200
      window: 2d
  visits:
    name: Visits
    hypothesis: Of sessions.
    status: running
    unit: session
    placements: [home]
    variants: {control: {weight: 50%}, treatment: {weight: 50%, parameters: {home: {model: v2}}}}
metrics:
  deep: {kind: proportion, event: scroll, where: [{attribute: properties.depth, op: gte, value: 0.5}]}
  basket: {kind: mean, event: add_to_cart, of: value, cap: 50}
  rating: {kind: ratio, numerator: {sum: rated.properties.stars}, denominator: {count: rated}}
  quoted: {kind: mean, event: rated, of: count, where: [{attribute: properties.note, op: contains, value: 'a"b\\'}]}
"""
COUNTRIES = ("DE", "FR", 'say "hi"\\', "line\nbreak", "", "5")


def fill(till: Any) -> None:
    """Ninety shoppers: logins, crossovers, ramps, a late sidecar, bots, copies, several placements and currencies."""
    till.config(0, traffic_bp=1_000)
    till.serve(0, "c0", {"model": "v1", "deep": {"x": [1, {"y": None}]}})
    till.serve(0, "c1", {"model": "v2", "deep": {"x": [1, {"y": None}]}})
    till.config(30, traffic_bp=10_000)
    till.config(60, status="paused", pause='carts "broken" {[')
    till.config(61)
    for number in range(90):
        shopper(till, number, "treatment" if number * 7 % 2 else "control")
    tell_losses(till)


def shopper(till: Any, number: int, variant: str) -> None:
    minute, user, visit = number * 13.0, f"u{number}", f"s{number}"
    attributes = {"country": COUNTRIES[number % 6], "age": number / 4, "tags": ["a", 'b"]'][: number % 3]}
    attributes = {name: value for index, (name, value) in enumerate(attributes.items()) if (number + index) % 5}
    config_id = "c1" if variant == "treatment" else "c0"
    ids = {"session_id": visit} | ({"user_id": user} if number % 3 else {})
    exposure_id = f"x{number}"
    till.expose(minute, variant, **ids, attributes=attributes, exposure_id=exposure_id, config_id=config_id)
    till.expose(minute + 1, variant, experiment="visits", placement="home", **ids, bot=number % 17 == 0)
    till.expose(minute + 2, "control" if number % 11 == 0 else variant, session_id=visit, user_id=user)
    till.add("page_view", minute - 2_000, page_type="home", page_load_ms=100.5, user_id=user)
    till.add("add_to_cart", minute - 3_000, item_id="i1", value=2, currency="EUR", user_id=user)
    for seen in range(number % 3):
        items = [f"i{(number * seen + rank) % 12}" for rank in range(4)]
        till.add("impression", minute + 3 + seen, placement="pdp", items=items, exposure_id=exposure_id, **ids)
        till.add("page_view", minute + 3 + seen, page_type="pdp", page_load_ms=1000 + 37.25 * number, **ids)
    for _ in range(1 + (number % 7 == 0)):  # a copy now and then
        click = {"item_id": f"i{number % 12}", "position": number % 4, "placement": "pdp"}
        till.add("click", minute + 6, **click, user_id=user)["event_id"] = f"click-{number}"
    if number % 4 < 2:
        till.add("add_to_cart", minute + 7, item_id=f"i{number % 12}", quantity=1 + number % 3, value=number, **ids)
    if number % 5 == 0:
        money = {"value": number + 0.1234, "currency": "EUR"}
        till.add("purchase", minute + 1_500 + number * 30, **money, user_id=user, exposure_id=exposure_id)
    till.add("scroll", minute + 8, user_id=user, properties={"depth": number / 90, "page": "pdp"})
    note = ('a"b\\', "a", 7, None, 'x a"b\\ y')[number % 5]
    till.add("rated", minute + 9, user_id=user, properties={"stars": number % 7, "note": note, "new": number % 2 == 0})
    till.events[-1]["~"] = ("pod-b.00000000000000000007-0123456789abcdef", till.events[-1]["ts"])


def tell_losses(till: Any) -> None:
    for boot, minute in (("b1", 100), ("b2", 200)):
        arms = [{"experiment": "e", "variant": "control", "accepted": 40 + minute, "lost": 2}]
        arms += [{"experiment": "visits", "variant": "control", "accepted": 3, "lost": 0}]
        counts = {"accepted": {"click": minute}, "lost": {"exposure": 1}}
        till.add("account", minute, boot=boot, source={"pod": boot}, **counts, exposures=arms)
        till.add("account", minute + 1, boot=boot, source={}, **counts, exposures=arms[:1], clean_end=boot == "b1")
    for number in range(6):
        properties = {"reason": "timeout", "count": number, "placement": "pdp"}
        till.add("client_fallback", 300, user_id=f"u{number * 20}", properties=properties)
    since = len(till.events)
    for number in range(25):
        till.add("click", 400 + number, user_id=f"u{number}", item_id="i1", placement="pdp")
    till.by("pod-a", 5_000_000, since=since)  # its clock is ahead


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, till_at: Callable[[Path], Any]) -> Path:
    """Return a folder with `store` and `snapshot`, which the agent made of the documents."""
    folder = tmp_path_factory.mktemp("world")
    till = till_at(folder / "store")
    fill(till)
    till.close()
    (folder / "config").mkdir()
    (folder / "config" / "e.yaml").write_text(YAML)
    snapshot = read_documents([folder / "config"])
    assert snapshot.head.problems == ()
    (folder / "snapshot").write_bytes(encode(snapshot))
    return folder


@dataclass(frozen=True)
class Reported:
    """What one run of the command made."""

    figures: dict[str, Any]
    printed: str
    exported: dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def reported(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Reported]:
    """Report on the world, with all forms that an engine has a part in."""

    def make(**settings: Any) -> Reported:
        out = tmp_path_factory.mktemp("out")
        asked = {"events": world / "store", "by": ("country", "age", "tags"), "show_sql": True, **settings}
        asked |= {"config": (world / "snapshot",), "json": out / "figures.json", "export": out / "rows"}
        with redirect_stdout(io.StringIO()) as printed:
            assert main(ReportSettings(**asked)) == 0
        rows = {path.name: sorted(pq.read_table(path).to_pylist(), key=repr) for path in (out / "rows").iterdir()}
        return Reported(json.loads((out / "figures.json").read_text()), printed.getvalue(), rows)

    return make


@pytest.fixture(scope="session")
def embedded(reported: Callable[..., Reported]) -> Reported:
    """Return what the default engine says of the world, from a disk: others are held to it."""
    return reported()


# A virtual environment with the whole of Spark, as `make engines` makes it: the suite runs on that, in Sail's place.
REAL_SPARK = os.environ.get("ABSIDE_TEST_SPARK")  # noqa: TID251 set by `make engines`


@contextmanager
def sail_server(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run a Spark Connect server without a JVM; yield its URL, and what ends it."""
    os.environ["SAIL_EXECUTION__CHECKPOINT__PATH"] = folder.as_uri()  # noqa: TID251 the server's, in this process
    from pysail.spark import SparkConnectServer  # noqa: PLC0415 it reads its settings when it is imported

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    host, port = server.listening_address
    try:
        yield f"sc://{host}:{port}", server.stop
    finally:
        with suppress(RuntimeError):  # a test ended it
            server.stop()


@contextmanager
def real_spark(folder: Path) -> Iterator[SparkServer]:
    """Run Spark itself, in another zone than ours."""
    server = SparkServer(Path(REAL_SPARK or ""), folder, zone="America/St_Johns")
    try:
        print(f"Spark is ready after {server.start(**SMALL):.1f} s")
        yield server
    finally:
        server.kill()


@contextmanager
def connect_server(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Run Sail, or Spark where it is asked for; yield its URL, and what ends it."""
    if REAL_SPARK:
        with real_spark(folder) as server:
            yield server.url, server.kill
    else:
        with sail_server(folder) as found:
            yield found


@pytest.fixture(scope="session")
def connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of the Spark Connect server that all tests of a run share."""
    with connect_server(tmp_path_factory.mktemp("connect")) as (url, _):
        yield url


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Return the URL of a Spark Connect server of a test's own, and what ends it."""
    folder = tmp_path / "connect"
    folder.mkdir()
    with connect_server(folder) as found:
        yield found


@pytest.fixture
def spark(tmp_path: Path) -> Iterator[SparkServer]:
    """Return a real Spark of a test's own."""
    if not REAL_SPARK:
        pytest.fail("ABSIDE_TEST_SPARK names no environment with Spark: run make engines")
    folder = tmp_path / "spark"
    folder.mkdir()
    with real_spark(folder) as server:
        yield server
