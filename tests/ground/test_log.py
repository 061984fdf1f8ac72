from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abside import log as logs
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator

SURROGATE = "\udce9"  # how Python carries a byte of a file name that is not UTF-8


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_a_line_is_time_level_role_event_and_fields(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("sidecar")
    Log("abside.test").info("listening", admin="0.0.0.0:7601", count=3, revision=None, ready=True, seconds=0.25)
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO sidecar"
        r" listening admin=0\.0\.0\.0:7601 count=3 revision=null ready=true seconds=0\.25\n",
        line,
    )


def test_the_level_is_a_threshold(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("agent", "warning")
    log = Log("abside.test")
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert re.findall(r"agent (\w+)", capsys.readouterr().err) == ["c", "d"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "x"', r'"say \"x\""'),
        ("line\nERROR forged", r'"line\nERROR forged"'),
        ("tab\there", r'"tab\there"'),
        ("return\rhere", r'"return\rhere"'),
        ("\x1b[2J", r'"\u001b[2J"'),
        ("line\u2028separator", '"line\u2028separator"'),
        ("café", "café"),
        (Path("a/b"), r'"\"a/b\""'),
        ([1, 2], "[1,2]"),
        ({"a": 1}, r'"{\"a\":1}"'),
        (2**70, None),
        ("caf" + SURROGATE, None),
        (Path("caf" + SURROGATE), None),
        ({SURROGATE: 1}, None),
        ({1: 2}, None),
        (float("nan"), "null"),
    ],
)
def test_a_value_never_ends_or_forges_a_line_and_never_raises(
    caplog: pytest.LogCaptureFixture, value: object, text: str | None
) -> None:
    Log("abside.test").error("event", value=value, after=1)
    line = caplog.messages[0]
    assert "\n" not in line
    assert line.encode()
    assert line.startswith("event value=")
    assert line.endswith(" after=1")
    assert text is None or line == f"event value={text} after=1"


def test_a_crash_brings_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError("broken")
    Log("abside.test").crash("task_died", error, task="ship")
    assert caplog.messages == ["task_died task=ship"]
    assert caplog.records[0].exc_info == (RuntimeError, error, None)
