from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from abside_agent.commands.explain import main
from abside_agent.commands.listing import list as list_command
from abside_agent.settings import ExplainSettings, OverviewSettings, instant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = instant("2026-11-23T12:00:00.5Z")
DOCUMENT = """\
attributes:
  country: {type: string}
  age: {type: number}
  member: {type: boolean}
  tags: {type: list}
placements:
  pdp: {parameters: {model: v1, count: 12}}
  home: {parameters: {}}
  cart: {parameters: {}}
layers:
  ranking: {}
experiments:
  reranker:
    name: n
    hypothesis: h
    status: running
    placements: [pdp]
    layer: ranking
    slots: 0%-50%
    traffic: 50%
    eligibility:
      - {attribute: country, op: in, value: [DE, AT]}
    variants:
      control: {weight: 20%}
      treatment: {weight: 80%, parameters: {pdp: {model: v2}}}
    force: {treatment: [qa]}
  asleep: {name: n, hypothesis: h, status: paused, placements: [cart], variants: {control: {weight: 100%}}}
  sessions:
    name: n
    hypothesis: h
    status: running
    unit: session
    start: "2026-12-01T00:00:00Z"
    placements: [pdp]
    variants: {control: {weight: 50%}, other: {weight: 50%, parameters: {pdp: {count: 9}}}}
"""
# Of layer `ranking` u1 is in bucket 6746 and u6 in 1932.
IN, OUT = "u6", "u1"


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yaml").write_text(DOCUMENT)
    return str(tmp_path / "config")


def asked(directory: str, **changes: Any) -> ExplainSettings:
    words: dict[str, Any] = {"config": (directory,), "placement": "pdp", "attribute": ("country=DE",), "at": NOW}
    return ExplainSettings(**{**words, **changes})


def shown(config: str, capsys: pytest.CaptureFixture[str], **changes: Any) -> list[str]:
    assert main(asked(config, **changes)) == 0
    return capsys.readouterr().out.splitlines()


def test_a_shopper_who_is_in_sees_every_question_and_where_each_parameter_is_from(
    config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(config, capsys, user_id=IN) == [
        "pdp for user u6, at 2026-11-23T12:00:00Z, revision 1c5a113a52b3",
        "",
        "reranker: treatment",
        "  yes  status       running",
        "  yes  unit         user u6",
        '  yes  eligibility  country in [AT, DE]: saw "DE"',
        "  yes  layer        bucket 1932 of ranking, its slots are 0 to 4999",
        "  yes  traffic      bucket 2561, in are 0 to 4999, which is 50 %",
        "  yes  variant      bucket 7830, treatment has 2000 to 9999  SPLIT",
        "",
        "sessions: not in",
        "  no   status       it starts at 2026-12-01T00:00:00Z  NOT_STARTED",
        "",
        "configuration ab836bf178d4",
        '  model  "v2"  from reranker/treatment',
        "  count  12    from the placement",
    ]


def test_a_shopper_who_is_out_sees_where_it_ended(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(config, capsys, user_id=OUT) == [
        "pdp for user u1, at 2026-11-23T12:00:00Z, revision 1c5a113a52b3",
        "",
        "reranker: not in",
        "  yes  status       running",
        "  yes  unit         user u1",
        '  yes  eligibility  country in [AT, DE]: saw "DE"',
        "  no   layer        bucket 6746 of ranking, its slots are 0 to 4999  OUTSIDE_SLOTS",
        "",
        "sessions: not in",
        "  no   status       it starts at 2026-12-01T00:00:00Z  NOT_STARTED",
        "",
        "configuration 640b8f831dbc",
        '  model  "v1"  from the placement',
        "  count  12    from the placement",
    ]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"attribute": ()}, "  no   eligibility  country in [AT, DE]: saw nothing  NOT_ELIGIBLE"),
        ({"attribute": ("country=FR",)}, '  no   eligibility  country in [AT, DE]: saw "FR"  NOT_ELIGIBLE'),
        ({"user_id": "qa", "attribute": ()}, "  yes  force        the document forces this unit  FORCED"),
        ({"at": NOW}, "  no   status       it starts at 2026-12-01T00:00:00Z  NOT_STARTED"),
        (
            {"at": instant("2026-12-02T00:00:00Z")},
            "  no   unit         it needs a session id, and none was given  NO_UNIT",
        ),
        ({"at": instant("2026-12-02T00:00:00Z"), "session_id": "s1"}, "  yes  unit         session s1"),
        ({"placement": "home"}, "No experiment names this placement."),
        ({"placement": "home"}, "  the placement has no parameters"),
    ],
)
def test_each_reason_is_told_with_the_value_it_saw(
    changes: dict[str, Any], line: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in shown(config, capsys, **{"user_id": IN, **changes})


def test_a_pause_is_told_with_its_reason(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "paused").mkdir()
    (tmp_path / "paused" / "reranker").write_text("carts broken\n")
    lines = shown(config, capsys, user_id=IN, paused=(str(tmp_path / "paused"),))
    assert "  no   status       paused: carts broken  PAUSED" in lines


def test_attributes_are_read_by_their_declared_type(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config" / "b.yaml"
    conditions = [
        "{attribute: age, op: gt, value: 17}",
        "{attribute: member, op: eq, value: true}",
        "{attribute: tags, op: has_any, value: [b]}",
    ]
    path.write_text(
        "experiments:\n  typed: {name: n, hypothesis: h, status: running, placements: [home],"
        f" variants: {{control: {{weight: 100%}}}}, eligibility: [{', '.join(conditions)}]}}\n"
    )
    words = ("age=18", "member=true", "tags=a,b")
    lines = shown(config, capsys, user_id=IN, placement="home", attribute=words)
    assert "typed: control" in lines
    assert '  yes  eligibility  tags has_any [b]: saw ["a","b"]' in lines
    assert "typed: not in" in shown(config, capsys, user_id=IN, placement="home", attribute=("age=16.5", *words[1:]))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"config": ("/nowhere",)}, "no such directory: /nowhere"),
        ({"paused": ("/nowhere",)}, "no such directory: /nowhere"),
        ({"placement": "pdq"}, "no placement is called that; did you mean pdp?"),
        ({"placement": "zzz"}, "there is cart, home, pdp"),
        ({"user_id": None}, "neither --user-id nor --session-id is usable"),
        ({"user_id": "guest"}, "neither --user-id nor --session-id is usable"),
        ({"user_id": "é" * 129}, "--user-id: got a string: it has 258 bytes"),
        ({"user_id": "\ud800"}, "lone surrogate"),
        ({"attribute": ("country",)}, "write name=value"),
        ({"attribute": ("country:=DE",)}, "after := stands JSON"),
        ({"attribute": ("tags=[a",)}, "after := stands JSON"),
        ({"attribute": ("age=1e999",)}, "no JSON holds a number as large"),
        ({"attribute": ("age=old",)}, "this attribute is a number"),
        ({"attribute": ("member=yes",)}, "this attribute is true or false"),
    ],
)
def test_a_bad_call_says_what_would_be_right(
    changes: dict[str, Any], why: str, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(asked(config, **{"user_id": IN, **changes})) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err


def test_what_the_documents_hold_back_is_said_beside_the_answer(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config" / "b.yaml").write_text("experiments:\n  bad: {status: running}\n")
    assert main(asked(config, user_id=IN)) == 1
    out, err = capsys.readouterr()
    assert "reranker: treatment" in out
    assert "b.yaml:2:" in err


def test_documents_that_give_nothing_are_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(asked(str(tmp_path), user_id=IN)) == 1
    assert "[NO_FILE]" in capsys.readouterr().err


@pytest.fixture
def sidecar(config: str, tmp_path: Path) -> Iterator[str]:
    """Publish the documents and run a real sidecar on them; yield its address."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    listen, admin = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    command, snapshot = [sys.executable, "-m", "abside"], str(tmp_path / "snapshot")
    subprocess.run([*command, "agent", "--config", config, "--snapshot", snapshot, "--once"], check=True)
    at = ["--snapshot", snapshot, "--spool", str(tmp_path / "spool"), "--listen", listen, "--admin", admin]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([*command, "sidecar", *at], stderr=log)
    try:
        deadline = time.monotonic() + 30
        while not answers(listen):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield listen
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def answers(listen: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{listen}/v1/status", timeout=5) as reply:
            return bool(json.load(reply)["revision"])
    except OSError:
        return False


def test_as_json_it_is_what_the_sidecar_answers(config: str, sidecar: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        placement = ("pdp", "pdp", "home", "cart")[number % 4]
        person = {"user_id": f"u{number}", "session_id": f"s{number}"}
        body = json.dumps({"placement": placement, "attributes": {"country": "DE"}, **person}).encode()
        request = urllib.request.Request(
            f"http://{sidecar}/v1/explain", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            told = json.load(reply)
        assert main(asked(config, **person, placement=placement, at=None, json=True)) == 0
        assert json.loads(capsys.readouterr().out) == told


def test_list_has_the_same_lines_from_a_sidecar_as_from_its_documents(
    config: str, sidecar: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list_command.main(OverviewSettings((config,), json=True)) == 0
    written = json.loads(capsys.readouterr().out)
    assert list_command.main(OverviewSettings(url=f"http://{sidecar}/", json=True)) == 0
    assert json.loads(capsys.readouterr().out) == written
