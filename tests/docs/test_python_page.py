"""docs/python.md is true: its applications keep a visit's unit through a login, and its tables name what there is."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

import pytest

from abside.client import Assignment, Receipt, Stats
from abside.testing import AsyncFakeClient, FakeClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from abside.testing.fake import Pretended

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text()
PLACEMENTS: dict[str, Any] = {"pdp": {"model": "ranker-v1", "item_count": 12}}
VARIANTS: dict[str, Any] = {"reranker": {"treatment": {"pdp": {"model": "ranker-v2"}}}}


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import a file of the page by its name."""
    names = []
    for body in re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        name = body.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(body)
        names.append(name.removesuffix(".py"))
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def logs_in(get: Callable[[dict[str, str]], tuple[dict[str, Any], dict[str, str]]], client: Pretended) -> None:
    """Visit twice logged out and once after login: one unit, the session, whose id is in the cookie."""
    body, cookies = get({})
    assert body["model"] == "ranker-v2"
    assert cookies["shop_unit"] == "session"
    _, again = get(cookies)
    assert {**cookies, **again} == cookies
    get({**cookies, "user": "u1"})
    assert [one["user_id"] for one in client.exposures] == [None, None, "u1"]
    assert {one["session_id"] for one in client.exposures} == {cookies["shop_session"]}
    assert {one["assignments"][0]["unit_type"] for one in client.exposures} == {"session"}


def test_plain_http(example: Callable[[str], Any]) -> None:
    client = FakeClient(PLACEMENTS, VARIANTS)
    app = example("shop_wsgi").make_app(client)

    def get(cookies: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        environ: dict[str, Any] = {"HTTP_COOKIE": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        setup_testing_defaults(environ)
        started: list[Any] = []
        [body] = app(environ, lambda *given: started.append(given))
        sent = [value.partition(";")[0].split("=") for name, value in started[0][1] if name == "Set-Cookie"]
        return json.loads(body), dict(sent)

    logs_in(get, client)


def test_flask(example: Callable[[str], Any]) -> None:
    pytest.importorskip("flask")
    client = FakeClient(PLACEMENTS, VARIANTS)
    app = example("shop_flask").make_app(client)

    def get(cookies: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        browser = app.test_client()
        for name, value in cookies.items():
            browser.set_cookie(name, value)
        answer = browser.get("/products/i1")
        sent = [one.partition(";")[0].split("=") for one in answer.headers.getlist("Set-Cookie")]
        return answer.get_json(), dict(sent)

    logs_in(get, client)


def test_fastapi(example: Callable[[str], Any]) -> None:
    pytest.importorskip("fastapi")
    testing = pytest.importorskip("fastapi.testclient")
    client = AsyncFakeClient(PLACEMENTS, VARIANTS)
    app = example("shop_fastapi").make_app(client)

    def get(cookies: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        with testing.TestClient(app, cookies=cookies) as browser:
            answer = browser.get("/products/i1")
            return answer.json(), dict(answer.cookies)

    logs_in(get, client)


def test_django(example: Callable[[str], Any]) -> None:
    django = pytest.importorskip("django")
    conf = importlib.import_module("django.conf")
    client = FakeClient(PLACEMENTS, VARIANTS)
    conf.settings.configure(SHOP_CLIENT=client, ROOT_URLCONF="shop_django", ALLOWED_HOSTS=["testserver"])
    django.setup()
    example("shop_django")
    testing = importlib.import_module("django.test")

    def get(cookies: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
        browser = testing.Client()
        browser.cookies.load(cookies)
        answer = browser.get("/products/i1")
        return answer.json(), {name: one.value for name, one in answer.cookies.items()}

    logs_in(get, client)


def test_a_session_that_somebody_else_made_up_pins_nothing(example: Callable[[str], Any]) -> None:
    visits = example("visits")
    assert visits.visit_of({"shop_unit": "user"}).pinned_unit is None
    assert visits.visit_of({"shop_unit": "device", "shop_session": "s1"}).pinned_unit is None
    kept = visits.visit_of({"shop_unit": "session", "shop_session": "s1"}, "u1")
    assert (kept.pinned_unit, kept.user_id) == ({"type": "session", "id": "s1"}, "u1")


def test_the_page_names_every_field_of_a_receipt_and_every_count() -> None:
    for kind in (Receipt, Stats):
        for field in dataclasses.fields(kind):
            if field.name != "accepted":
                assert f"`{field.name}`" in PAGE, f"{kind.__name__}.{field.name}"
    assert {"config", "fallback", "why", "config_id"} <= {field.name for field in dataclasses.fields(Assignment)}


def test_a_client_alone_needs_no_library() -> None:
    """`pip install --no-deps`: nothing but the standard library is on the path."""
    script = f"""
import sys
sys.path = [one for one in sys.path if "site-packages" not in one] + [{str(ROOT / "src")!r}]
from abside.client import Client
assert Client("http://127.0.0.1:1").assign("pdp", user_id="u1", fallback={{"a": 1}}).why == "unreachable"
try:
    from abside.client import AsyncClient
except ImportError as exc:
    print(exc.name)
"""
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "aiohttp\n"
