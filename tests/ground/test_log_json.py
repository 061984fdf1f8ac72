"""Log lines as JSON: one object a line, whatever is logged, warned of, raised or printed by Python itself."""

from __future__ import annotations

import datetime as dt
import gc
import json
import logging
import os
import re
import subprocess
import sys
import threading
import warnings
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abside import log as logs
from abside.log import FORM_VARIABLE, OWN_KEYS, Log

if TYPE_CHECKING:
    from tests.conftest import JsonStderr

SURROGATE = "\udce9"  # how Python carries a byte of a file name that is not UTF-8


class Mute:
    """What raises where it is to be written."""

    def __repr__(self) -> str:
        raise RuntimeError("nothing to show")


@pytest.fixture
def lines(json_lines: JsonStderr) -> JsonStderr:
    """Log as JSON, and return a function that returns what was written."""
    with redirect_stderr(json_lines):
        logs.setup("sidecar", "info", "json")
    return json_lines


def test_a_line_is_an_object_of_time_level_role_logger_message_and_fields(lines: JsonStderr) -> None:
    Log("abside.test").warning("listening", admin="0.0.0.0:7601", count=3, revision=None, seconds=0.25, all=[1, "b"])
    Log("abside.test").debug("below the level")
    (line,) = lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("ts"))
    assert line == {
        "level": "warning",
        "role": "sidecar",
        "logger": "abside.test",
        "message": "listening",
        "admin": "0.0.0.0:7601",
        "count": 3,
        "revision": None,
        "seconds": 0.25,
        "all": [1, "b"],
    }


def test_a_field_takes_no_key_of_the_line_itself(lines: JsonStderr) -> None:
    Log("abside.test").info("said", **dict.fromkeys(OWN_KEYS, "x"))
    (line,) = lines()
    assert (line["message"], line["level"], line["message_"], line["level_"]) == ("said", "info", "x", "x")


@pytest.mark.parametrize(
    ("value", "carried"),
    [
        ("line\nERROR forged\u2028\x1b[2J", "line\nERROR forged\u2028\x1b[2J"),
        (Path("a/b"), "a/b"),
        ({"path": Path("a")}, {"path": "a"}),
        (OSError(2, "gone"), "[Errno 2] gone"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        (float("nan"), None),
        (2**70, str(2**70)),
        ("caf" + SURROGATE, r"'caf\udce9'"),
        ({1: 2}, "{1: 2}"),
        (Mute(), "<Mute that cannot be shown>"),
        ([Mute()], "<list that cannot be shown>"),
    ],
)
def test_whatever_a_value_is_the_line_is_one_object(lines: JsonStderr, value: object, carried: object) -> None:
    Log("abside.test").error("event", value=value, after=Path("z"))
    (line,) = lines()
    assert (line["value"], line["after"]) == (carried, "z")


def test_a_crash_has_its_traceback_in_one_field(lines: JsonStderr) -> None:
    try:
        int("no\nnumber")
    except ValueError as exc:
        Log("abside.test").crash("task_died", exc, task="ship")
    (line,) = lines()
    assert (line["message"], line["task"]) == ("task_died", "ship")
    assert line["exception"].startswith("Traceback (most recent call last):\n")
    assert line["exception"].endswith(r"ValueError: invalid literal for int() with base 10: 'no\nnumber'")


def test_lines_of_libraries_are_objects_too_even_those_whose_words_do_not_fit(lines: JsonStderr) -> None:
    library = logging.getLogger("aiohttp.server")
    library.error("Error handling %s", "request\n2")
    library.info("two %s %s", "one")
    library.info("a name %(is)s", {"missing": 1})
    library.info("of %s", Mute())
    library.info(Mute())
    library.info("from", stack_info=True)
    found = lines()
    assert [line["message"] for line in found] == [
        "Error handling request\n2",
        "two %s %s",
        "a name %(is)s",
        "of %s",
        "<Mute that cannot be shown>",
        "from",
    ]
    assert {line["logger"] for line in found} == {"aiohttp.server"}
    assert [line["stack"].splitlines()[0] for line in found if "stack" in line] == ["Stack (most recent call last):"]


def test_a_name_that_json_cannot_carry_costs_no_line(lines: JsonStderr) -> None:
    Log("abside.test").info("event", **{SURROGATE: 1, "z": Path("z")})
    (line,) = lines()
    assert (line[r"'\udce9'"], line["z"]) == (1, "z")


def test_a_thread_that_ends_itself_is_no_trouble(lines: JsonStderr) -> None:
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()
    assert lines() == []


def test_warnings_are_lines(lines: JsonStderr) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # inside: catch_warnings puts back what shows them
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = lines()
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "DeprecationWarning: old" in line["message"]


def test_what_a_thread_or_a_finalizer_raises_is_a_line(lines: JsonStderr) -> None:
    class Bad:
        def __del__(self) -> None:
            raise ValueError("in a finalizer")

    def fail() -> None:
        raise KeyError("in a thread")

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Bad()
    gc.collect()
    assert [(line["message"], line["exception"].splitlines()[-1]) for line in lines()] == [
        ("thread_died", "KeyError: 'in a thread'"),
        ("unraisable", "ValueError: in a finalizer"),
    ]


CHILD = """
from abside import log
log.setup("sidecar", form="json")
import subprocess, sys
subprocess.run([sys.executable, "-c", "from abside.log import setup_child; setup_child('child'); 1 / 0"])
raise SystemError("nobody catches it")
"""


def test_what_nobody_catches_is_a_line_here_and_in_children() -> None:
    ended = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False, timeout=60)
    found = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [(one["role"], one["message"], one["exception"].splitlines()[-1]) for one in found] == [
        ("child", "uncaught", "ZeroDivisionError: division by zero"),
        ("sidecar", "uncaught", "SystemError: nobody catches it"),
    ]
    assert ended.returncode == 1


def test_a_child_of_a_parent_with_plain_lines_has_plain_ones() -> None:
    child = "from abside.log import setup_child; setup_child('child'); 1 / 0"
    plain = {name: value for name, value in os.environ.items() if name != FORM_VARIABLE}  # noqa: TID251 a child's own
    ended = subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=False, env=plain)
    assert ended.stderr.startswith("Traceback (most recent call last):\n")
