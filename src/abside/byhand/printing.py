"""`abside spool cat`: the events of files as JSON lines, and a sentence on stderr for what cannot be read."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import click
import msgpack
import orjson

from abside.byhand.entries import NO_SPOOL, NoSpool, chosen, entries

if TYPE_CHECKING:
    from abside.byhand.entries import Entry
    from abside.byhand.settings import PrintSettings


def main(settings: PrintSettings) -> int:
    """Print one event a line. Exit 0, 1 where something could not be read, 2 where there is no such file."""
    try:
        files = chosen(entries(settings.spool, settings.spool_open), settings.names)
    except (NoSpool, OSError) as exc:
        click.echo(f"abside spool cat: {exc}", err=True)
        return NO_SPOOL
    problems = [problem for entry in files for problem in _print(entry, named=bool(settings.names))]
    for problem in problems:
        click.echo(problem, err=True)
    return 1 if problems else 0


def _print(entry: Entry, *, named: bool) -> list[str]:
    """Print the good events of one file, and return a sentence for all that is not."""
    try:
        found = entry.contents()
    except FileNotFoundError:  # acknowledged while we looked
        return [f"{entry.name}: is gone"] if named else []
    except OSError as exc:
        return [f"{entry.name}: cannot be read: {exc.strerror or exc}"]
    problems = [f"{entry.name}: {found.damage}"] if found.damage else []
    for number, payload in enumerate(found.payloads):
        try:
            event = msgpack.unpackb(payload, unicode_errors="replace", strict_map_key=False)
            line = orjson.dumps(event, default=_readable, option=orjson.OPT_NON_STR_KEYS)
        except (ValueError, TypeError, msgpack.UnpackException) as exc:  # never its bytes: they are a shopper's
            problems.append(f"{entry.name}: event {number} is no msgpack that JSON can hold: {type(exc).__name__}")
        else:
            click.echo(line)
    return problems


def _readable(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
