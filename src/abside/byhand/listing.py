"""`abside spool ls`: what waits, what is dead and why, as a table or as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import orjson

from abside.byhand.entries import NO_SPOOL, NoSpool, entries
from abside.environ import now_us

if TYPE_CHECKING:
    from abside.byhand.entries import Entry
    from abside.byhand.settings import ListSettings

HEAD = ("file", "state", "events", "bytes", "age", "reason")
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def main(settings: ListSettings) -> int:
    """Print the list. Exit 0, 2 where there is no spool."""
    try:
        rows = [row for entry in entries(settings.spool, settings.spool_open) if (row := _row(entry)) is not None]
    except (NoSpool, OSError) as exc:
        click.echo(f"abside spool ls: {exc}", err=True)
        return NO_SPOOL
    if settings.json:
        click.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return 0
    table = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD) - 1)]
    for line in table:
        cells = [
            cell.rjust(width) if 2 <= n <= 4 else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=False))
        ]
        click.echo("  ".join([*cells, line[-1]]).rstrip())
    return 0


def _row(entry: Entry) -> dict[str, Any] | None:
    """Return what is known of a file; None where it went while we looked. `events` None: it cannot be read."""
    events, damage = None, ""
    try:
        found = entry.contents()
        events, damage = len(found.payloads), found.damage
    except FileNotFoundError:
        return None
    except OSError as exc:
        damage = f"cannot be read: {exc.strerror or exc}"
    return {
        "file": entry.name,
        "state": entry.state,
        "events": events,
        "bytes": entry.bytes,
        "age_seconds": round(max(0, now_us() - entry.written_us) / 1e6, 3),
        "reason": entry.reason or None,
        "damage": damage or None,
        "path": str(entry.path) if str(entry.path).isprintable() else ascii(str(entry.path)),
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    why = row["reason"] or row["damage"] or ""
    events = "?" if row["events"] is None else f"{row['events']:,}"
    shown = "".join(sign if sign.isprintable() else "?" for sign in why)
    return row["file"], row["state"], events, f"{row['bytes']:,}", _age(row["age_seconds"]), shown


def _age(seconds: float) -> str:
    return next((f"{seconds / size:.1f} {unit}" for size, unit in UNITS if seconds >= size), f"{seconds:.0f} s")
