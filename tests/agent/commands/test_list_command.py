from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from abside_agent.commands.listing.list import main
from abside_agent.settings import OverviewSettings, instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = instant("2026-11-23T12:00:00Z")
DOCUMENT = """\
placements:
  pdp: {parameters: {model: v1, count: 12}}
  home: {parameters: {}}
layers:
  ranking: {}
experiments:
  asleep: {name: n, hypothesis: h, status: paused, placements: [home], control: only, variants: {only: {weight: 100%}}}
  over:
    name: n
    hypothesis: h
    status: running
    end: "2026-11-22T09:30:00Z"
    placements: [home]
    control: only
    variants: {only: {weight: 100%}}
  reranker:
    name: n
    hypothesis: h
    owner: anna
    status: running
    placements: [pdp, home]
    layer: ranking
    slots: 0%-50%
    steps:
      - {from: "2026-11-20T09:00:59Z", traffic: 10%}
      - {from: "2026-12-20T09:00:00Z", traffic: 50%}
    control: usual
    variants:
      new: {weight: 80%, parameters: {pdp: {model: v2}}}
      usual: {weight: 20%}
  soon:
    name: n
    hypothesis: h
    status: running
    start: "2026-12-01T00:00:00Z"
    end: "2026-12-24T00:00:00Z"
    placements: [pdp]
    control: usual
    variants: {usual: {weight: 50%}, other: {weight: 50%, parameters: {pdp: {count: 9}}}}
"""
TABLE = """\
experiment  status       traffic  since              next                          placements  variants             layer           owner
reranker    running      10 %     2026-11-20 09:00Z  50 % from 2026-12-20 09:00Z   pdp, home   usual, new  20/80    ranking 0%-50%  anna
asleep      paused                                                                 home        only  100
soon        not started                              100 % from 2026-12-01 00:00Z  pdp         usual, other  50/50
over        ended                 2026-11-22 09:30Z                                home        only  100
"""  # noqa: E501 a terminal's table


@pytest.fixture
def config(tmp_path: Path) -> str:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "all.yaml").write_text(DOCUMENT)
    return str(folder)


@pytest.fixture
def serve() -> Iterator[Callable[[bytes], str]]:
    """Return a function that answers every request with a body, and returns the address."""
    servers = []

    def start(body: bytes) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200 if self.path == "/v1/status" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        server = HTTPServer(("127.0.0.1", 0), Answer)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_it_lists_what_runs_first_with_its_share_its_time_and_what_comes_next(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(OverviewSettings((config,), at=NOW)) == 0
    assert capsys.readouterr().out == TABLE


def test_a_pause_of_a_directory_is_named_with_its_reason(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paused").mkdir()
    (tmp_path / "paused" / "reranker").write_text("carts broken")
    assert main(OverviewSettings((config,), paused=(str(tmp_path / "paused"),), at=NOW)) == 0
    assert "reranker    paused: carts broken" in capsys.readouterr().out


def test_what_is_out_of_force_ends_with_1_and_its_problem(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"{config}/b.yaml"
    with open(name, "w", encoding="utf-8") as file:  # noqa: PTH123 one line
        file.write("experiments:\n  broken: {status: nope}\n")
    assert main(OverviewSettings((config,), at=NOW)) == 1
    said = capsys.readouterr()
    assert said.out == TABLE
    assert "b.yaml:2" in said.err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "write either --config DIR, which lists documents, or --url URL"),
        ({"config": ("x",), "url": "http://127.0.0.1:1"}, "write either --config DIR"),
        ({"url": "http://127.0.0.1:1", "at": NOW}, "--paused and --at go with --config"),
        ({"url": "127.0.0.1:7600"}, "write it with its scheme"),
        ({"url": "http://127.0.0.1:1"}, "must be the address of a sidecar that runs"),
        ({"config": ("nowhere",)}, "no such directory: nowhere"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_would_be_right(
    settings: dict[str, Any], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(OverviewSettings(**settings)) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>", "its answer is no JSON"),
        (b"[]", "its answer has no experiments"),
        (
            b'{"experiments": {"a": {}}, "problems": []}',
            "is not that of a sidecar of this version: KeyError('variants')",
        ),
        (b'{"experiments": [], "problems": []}', "is not that of a sidecar of this version"),
    ],
)
def test_what_is_no_sidecar_is_named(
    serve: Callable[[bytes], str], body: bytes, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(OverviewSettings(url=serve(body))) == 2
    assert words in capsys.readouterr().err


def test_as_json_every_field_is_there(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(OverviewSettings((config,), at=NOW, json=True)) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "experiment": "reranker",
        "name": "n",
        "status": "running",
        "reason": None,
        "traffic_bp": 1000,
        "since_us": instant("2026-11-20T09:00:59Z"),
        "next": {"at_us": instant("2026-12-20T09:00:00Z"), "what": "traffic", "traffic_bp": 5000},
        "placements": ["pdp", "home"],
        "weights_bp": {"usual": 2000, "new": 8000},
        "layer": "ranking",
        "slots_bp": [0, 5000],
        "owner": "anna",
    }
