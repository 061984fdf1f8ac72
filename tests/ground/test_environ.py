from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import MISSING, FrozenInstanceError, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abside import environ
from abside.environ import (
    integer,
    now_us,
    one_of,
    positive,
    seconds,
    setting,
    settings_of,
    size,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Sample:
    needed: Path = setting(MISSING, "what is needed", Path)
    paths: tuple[Path, ...] = setting(MISSING, "what to read", Path, many=True, words=True)
    limit: int = setting("256MiB", "how much", size)
    poll_seconds: float = setting("0.25", "how often", seconds)
    listen: tuple[str, ...] = setting(("127.0.0.1:7600",), "where", many=True)
    counts: tuple[int, ...] = setting(("1", "2"), "how many", integer, many=True)
    upstream: str | None = setting(None, "where to")
    loud: bool = setting(False, "whether", flag=True)


def test_a_setting_names_its_option_and_its_variable() -> None:
    listed = {one.name: one for one in settings_of(Sample)}
    assert list(listed) == ["needed", "paths", "limit", "poll_seconds", "listen", "counts", "upstream", "loud"]
    assert listed["poll_seconds"].option == "--poll-seconds"
    assert listed["poll_seconds"].variable == "ABSIDE_POLL_SECONDS"
    assert [one.name for one in listed.values() if one.required] == ["needed", "paths"]
    assert listed["limit"].default == "256MiB"
    assert (listed["loud"].flag, listed["listen"].many, listed["paths"].words) == (True, True, True)


def test_defaults_are_read_as_if_a_person_had_typed_them() -> None:
    sample = Sample(needed=Path("x"), paths=())
    assert sample.limit == 256 * 2**20
    assert sample.poll_seconds == 0.25
    assert sample.listen == ("127.0.0.1:7600",)
    assert sample.counts == (1, 2)
    assert (sample.upstream, sample.loud) == (None, False)


def test_settings_are_frozen() -> None:
    sample = Sample(needed=Path("x"), paths=())
    with pytest.raises(FrozenInstanceError):
        sample.limit = 1  # type: ignore[misc]


def test_a_required_setting_has_no_default() -> None:
    assert next(field for field in fields(Sample) if field.name == "needed").default is MISSING


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (integer, "0", 0),
        (integer, "4000", 4000),
        (seconds, "30", 30.0),
        (seconds, "0.25", 0.25),
        (seconds, "0", 0.0),
        (size, "1B", 1),
        (size, "64KiB", 65536),
        (size, "256 MiB", 256 * 2**20),
        (size, "2GiB", 2**31),
        (integer, "5 ", 5),
        (seconds, "5 ", 5.0),
        (seconds, "5s", 5.0),
        (seconds, "250 ms", 0.25),
        (seconds, "2M", 120.0),
        (seconds, "1h", 3600.0),
        (size, "256mib", 256 * 2**20),
        (size, "256Mi", 256 * 2**20),
        (size, " 1GIB ", 2**30),
        (one_of("never", "always"), "Always ", "always"),
        (environ.log_level, "INFO", "info"),
        (environ.log_level, "warn", "warning"),
        (environ.log_level, "Error", "error"),
        (environ.switch, "True", "on"),
        (environ.switch, "NO", "off"),
        (environ.switch, "1", "on"),
        (positive(integer), "1", 1),
        (environ.address, "[::1]:7600 ", "[::1]:7600"),
        (environ.address, "localhost:0", "localhost:0"),
        *((environ.address, text, text) for text in ("*:7601", ":7601", "[::]:7601", "0.0.0.0:7601", "[fe80::1%lo]:1")),
        (environ.address_or_socket, "unix:/run/a.sock", "unix:/run/a.sock"),
        (environ.text, " as written ", " as written "),
        (one_of("never", "always"), "never", "never"),
    ],
)
def test_a_value_is_read_by_its_kind(read: Callable[[str], object], text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text", "remedy"),
    [
        (integer, "", "is not a whole number, for example 4000"),
        (integer, "-1", "is not a whole number"),
        (integer, "1.5", "is not a whole number"),
        (integer, "1_000", "is not a whole number"),
        (integer, "9" * 13, "is not a whole number"),
        (seconds, "5 days", "is not a number of seconds, for example 0.25 or 30"),
        (seconds, "\u0665", "is not a number of seconds"),
        (integer, "\u0665", "is not a whole number"),
        (seconds, "-1", "is not a number of seconds"),
        (seconds, "inf", "is not a number of seconds"),
        (seconds, "1e3", "is not a number of seconds"),
        (size, "256", "is not a size: write a number and B, KiB, MiB or GiB, for example 256MiB"),
        (size, "256MB", "is not a size"),
        (size, "1.5GiB", "is not a size"),
        (size, "-1B", "is not a size"),
        (positive(integer), "0", "'0' is nothing: it must be 1 or more"),
        (positive(size), "0B", "'0B' is nothing: it must be 1 or more"),
        (positive(seconds), "0", "'0' is nothing: it must be above 0"),
        (environ.address, "127.0.0.1", "'127.0.0.1' is not an address: write host:port"),
        (environ.address, "localhost:65536", "is not an address"),
        (environ.address, "localhost:-1", "is not an address"),
        (environ.address, "::7601", r"is no address of IPv6: write it in brackets, for example \[::1\]:7600"),
        (environ.address, "[::1:7601", "is no address of IPv6"),
        (environ.address_or_socket, "unix:", "write unix:PATH"),
        (environ.address_or_socket, "nothing", "or unix:PATH"),
        (one_of("never", "always"), "sometimes", "'sometimes' is not one of never, always"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(read: Callable[[str], object], text: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        read(text)


@given(st.text())
def test_no_text_breaks_a_reader(text: str) -> None:
    for read in (integer, seconds, size, one_of("a", "b")):
        with suppress(ValueError):
            read(text)


def test_the_clock_gives_microseconds() -> None:
    assert abs(now_us() / 1e6 - time.time()) < 60  # noqa: TID251 the other clock to compare with


@pytest.mark.parametrize(
    ("written", "meant"), [(".5", 0.5), ("+5", 5.0), ("5 seconds", 5.0), ("5sec", 5.0), ("1 second", 1.0)]
)
def test_seconds_are_read_as_people_write_them(written: str, meant: float) -> None:
    assert environ.seconds(written) == meant


@pytest.mark.parametrize(("written", "meant"), [("FATAL", "error"), ("notice", "info")])
def test_levels_of_other_programs_are_taken(written: str, meant: str) -> None:
    assert environ.log_level(written) == meant
