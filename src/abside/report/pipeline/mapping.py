"""The file of `--outcomes`: which Parquet files of a pipeline are read, and which of their columns are what of ours."""

from __future__ import annotations

import glob
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from abside.report.problem import NoOutcomes, listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

KEYS = ("files", "instead_of", "zone", "columns")
PEOPLE = ("user_id", "session_id")
TEXTS = (*PEOPLE, "event_id", "currency", "item_id", "placement", "exposure_id")
MAPPED = ("type", "ts", *TEXTS, "value", "quantity")  # columns of ours that theirs can be
CONSTANT = "type_is"
OURS_ALONE = ("exposure", "config", "account")  # types that only a sidecar tells


@dataclass(frozen=True, slots=True)
class OutcomeMapping:
    """What the file says. `columns`: ours → theirs. `type_is`: the type of every row, where no column tells it."""

    place: Path
    files: tuple[Path, ...]
    columns: dict[str, str]
    type_is: str | None
    instead_of: tuple[str, ...]
    zone: str | None  # of times without one

    def problem(self, reason: str) -> NoOutcomes:
        """Return what is wrong as the refusal."""
        return NoOutcomes(self.place, reason)


@dataclass(frozen=True, slots=True)
class JoinedOutcomes:
    """The outcomes of a pipeline that count with the store's."""

    place: str
    files: int
    rows: dict[str, int]  # by type
    left_out: int  # rows that a sidecar had refused: no type, time or id, a value below 0, a quantity below 1
    ahead: int  # and those that lie more than an hour ahead of now
    first: datetime | None
    last: datetime | None
    instead_of: tuple[str, ...]


def read_mapping(place: Path) -> OutcomeMapping:
    """Read the file of `--outcomes`. Raises NoOutcomes."""
    try:
        told = tomllib.loads(place.read_text("utf-8"))
    except OSError as exc:
        raise NoOutcomes(place, exc.strerror or str(exc)) from exc
    except ValueError as exc:
        raise NoOutcomes(place, f"is no TOML: {exc}") from exc
    _check_keys(place, told, KEYS, "")
    columns = told.get("columns", {})
    if not isinstance(columns, dict):
        raise NoOutcomes(place, 'columns is no table, write [columns] and below it lines like ts = "ordered_at"')
    _check_keys(place, columns, (*MAPPED, CONSTANT), "columns.")
    named = {name: _text(place, f"columns.{name}", value) for name, value in columns.items()}
    type_is = named.pop(CONSTANT, None)
    instead_of = _texts(place, "instead_of", told.get("instead_of", []))
    _check_columns(place, named, type_is)
    _check_types(place, instead_of, type_is)
    return OutcomeMapping(place, _found(place, told), named, type_is, instead_of, _zone(place, told.get("zone")))


def meant(name: str, known: Sequence[str]) -> str:
    """Return which of the names known is meant, or all of them."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there is {listed(known)}"


def _check_keys(place: Path, told: dict[str, Any], known: Sequence[str], where: str) -> None:
    for name in told:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise NoOutcomes(place, f"{where}{name} is no key of this file; {hint}")


def _check_columns(place: Path, named: dict[str, str], type_is: str | None) -> None:
    if (type_is is None) == ("type" not in named):
        how = "both are given" if type_is else "neither is given"
        raise NoOutcomes(place, f'[columns] needs type = "COLUMN" or type_is = "purchase", one of the two; {how}')
    for name in ("ts", "event_id"):
        if name not in named:
            raise NoOutcomes(place, f'[columns] has no {name}; write {name} = "COLUMN"')
    if not any(name in named for name in PEOPLE):
        raise NoOutcomes(place, "[columns] has no user_id and no session_id: whose the rows are is not known")


def _check_types(place: Path, instead_of: Sequence[str], type_is: str | None) -> None:
    for key, name in [("instead_of", one) for one in instead_of] + [("columns.type_is", type_is or "")]:
        if name in OURS_ALONE:
            raise NoOutcomes(place, f"{key}: {name} is a type that only a sidecar tells")
        if type_is is not None and name not in ("", type_is):
            raise NoOutcomes(place, f"{key}: {name} is not the type of these rows, which is {type_is}")


def _zone(place: Path, zone: Any) -> str | None:
    if zone is None or zone == "UTC":
        return zone  # type: ignore[no-any-return]  # None or that text
    name = _text(place, "zone", zone)
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise NoOutcomes(place, f"zone: {name!r} is no time zone, write for example UTC or Europe/Berlin") from exc
    return name


def _found(place: Path, told: dict[str, Any]) -> tuple[Path, ...]:
    """Return the files of all patterns, each once. Every pattern must match one."""
    patterns = _texts(place, "files", told.get("files", []))
    if not patterns:
        raise NoOutcomes(place, 'names no files, write files = ["orders/*.parquet"]')
    found: set[Path] = set()
    for pattern in patterns:
        names = glob.glob(pattern, root_dir=place.parent, recursive=True)  # noqa: PTH207 takes absolute ones too
        if not names:
            raise NoOutcomes(place, f"files: {pattern} matches no file, seen from {place.parent.resolve()}")
        found.update((place.parent / name).resolve() for name in names)
    return tuple(sorted(found))


def _texts(place: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise NoOutcomes(place, f'{key} is {value!r}, it must be a list of texts, like ["…"]')
    return tuple(_text(place, key, one) for one in value)


def _text(place: Path, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise NoOutcomes(place, f"{key}: {value!r} is no text")
    return value
