"""An experiment of few people in a large store: the events that can count for them, found by their ids and kept.

What counts for a person: events of the user, of every session of the user's, of sessions exposed, outcomes that name an
exposure of theirs, and exposures that such outcomes name. Figures of units are made of these. What is said of the whole
store is asked of the whole store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

from abside.report.store.engine import PLACE
from abside.report.store.fallbacks import EVENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from abside.report.store.engine import Engine, Table

FEW = 0.01  # of the store's rows: with more, looking for people costs what it saves
MAX_PLACES = 20_000  # rows asked for by their place, each in the statement; more are joined
MAX_PARTS = 32  # of a statement that asks for rows by their place: a file each, of more files several
SAID = ("config", "account", EVENT)  # of sidecars, of no person but the last
# Of an exposure to another experiment: whose it was, where and when. Its own phases and arms are on no page here.
OF_OTHERS = ("event_id", "type", "ts", "seen_ts", "recv_ts", "user_id", "session_id", "bot", "exposure_id", "placement")


def are_few(phases: Mapping[str, Mapping[int, int]], names: Sequence[str], rows: int) -> bool:
    """Whether the exposures of these experiments are few among all rows; never where none is asked for by name."""
    return bool(names) and sum(sum(phases.get(name, {}).values()) for name in names) <= FEW * rows


def events_of_few(
    engine: Engine, events: Table, names: Sequence[str], kinds: Collection[str], *, are_named: bool = True
) -> Table:
    """Keep what can count for the people of these experiments, and what sidecars say. Raises EngineFailed.

    `kinds`: the types of all events; `are_named`: whether an outcome may name an exposure. People are looked for in few
    columns of many rows, then many columns are read of few rows: by their PLACE, where the engine has it.
    """
    keep = engine.keep
    said = [keep(f"{kind} events", f"few_{kind}", events.filter(events.type == kind)) for kind in SAID if kind in kinds]
    is_mine = _is_one_of(events.experiment, names)
    mine = events.filter(events.type == "exposure", is_mine)
    mine = keep("exposures of few", "few_exposed", _narrow(mine, "user_id", "session_id"))
    people = mine.select("user_id", "session_id")
    if EVENT in kinds:
        people = people.union(said[-1].select("user_id", "session_id"))
    crowd, theirs = _people(engine, events, keep("people of few", "few_people", people.distinct()))
    if not set(PLACE) <= set(events.columns):  # then they are whole, and those of the experiments are there already
        theirs = [one.filter(~((one.type == "exposure") & _is_one_of(one.experiment, names))) for one in theirs]
    found = keep("events of few, whole", "few_whole", _whole(engine, events, [mine, *theirs]))
    is_shown = found.type == "exposure"
    is_mine = is_shown & found.experiment.isin(list(names)).fill_null(False)
    own = found.filter(~found.type.isin(("exposure", *SAID)))
    tables = [*said, found.filter(is_mine), own, found.filter(is_shown, ~is_mine).select(*OF_OTHERS)]
    if are_named:
        shown = found.filter(is_shown).select("exposure_id")
        tables += _named(engine, events, crowd, own.select("exposure_id"), shown)
    absent = {name: ibis.null(kind) for name, kind in events.schema().items() if name not in PLACE}
    tables = [one.select(**{**absent, **{name: one[name] for name in absent if name in one.columns}}) for one in tables]
    return keep("events of few", "few", tables[0].union(*tables[1:]))


@dataclass(frozen=True, slots=True)
class FewPeople:
    """Some users and sessions, a table of ids each."""

    users: Table
    sessions: Table

    def is_user(self, events: Table) -> Any:
        """Whether an event is of one of the users."""
        return events.user_id.isin(self.users.user_id).fill_null(False)

    def is_session(self, events: Table) -> Any:
        """Whether an event is of one of the sessions, whoever was logged in."""
        return events.session_id.isin(self.sessions.session_id).fill_null(False)


def _people(engine: Engine, events: Table, people: Table) -> tuple[FewPeople, list[Table]]:
    """Return people with the users of their sessions and all sessions of these users; and keep the events of all.

    Nearly all events are found at once. Only for ids that are new then the others are looked at again.
    """
    first = crowd = FewPeople(_ids(people, "user_id"), _ids(people, "session_id"))
    found = _narrow(events.filter(first.is_user(events) | first.is_session(events)), "user_id", "session_id")
    tables = [engine.keep("events of few, found", "few_found_0", found)]
    logins = tables[0].filter(first.is_session(tables[0]), ~first.is_user(tables[0]))
    users = _fresh(engine, logins, "user_id")
    if users is not None:
        crowd = FewPeople(first.users.union(users), first.sessions)
        more = events.filter(FewPeople(users, first.sessions).is_user(events), ~first.is_session(events))
        more = _narrow(more, "user_id", "session_id")
        tables.append(engine.keep("events of further users of few", "few_found_1", more))
    theirs = tables[0].union(*tables[1:]) if len(tables) > 1 else tables[0]
    theirs = theirs.filter(crowd.is_user(theirs), ~first.is_session(theirs))
    sessions = _fresh(engine, theirs, "session_id")
    if sessions is not None:
        more = events.filter(FewPeople(users, sessions).is_session(events), ~crowd.is_user(events))
        more = _narrow(more, "user_id", "session_id")
        tables.append(engine.keep("events of further sessions of few", "few_found_2", more))
        crowd = FewPeople(crowd.users, first.sessions.union(sessions))
    return crowd, tables


def _fresh(engine: Engine, found: Table, name: str) -> Table | None:
    """Keep the ids in a column; None where there are none."""
    fresh = engine.keep(f"further {name}s of few", f"few_{name}s", _ids(found, name))
    count = engine.rows(f"further {name}s of few, counted", fresh.agg(count=fresh.count()))[0]["count"]
    return fresh if count else None


def _named(engine: Engine, events: Table, crowd: FewPeople, asked: Table, shown: Table) -> list[Table]:
    """Keep outcomes of others that name an exposure of these, and exposures of others that outcomes of these name."""
    shown = engine.keep("exposures of few by id", "few_shown", _ids(shown, "exposure_id"))
    asked = engine.keep("exposures that few name", "few_asked", _ids(asked, "exposure_id").union(shown).distinct())
    near = _narrow(events.filter(events.exposure_id.isin(asked.exposure_id)), "exposure_id")
    near = engine.keep("events that name what few name", "few_near", near)
    near = engine.keep("events that name what few name, whole", "few_near_whole", _whole(engine, events, [near]))
    near = near.filter(~crowd.is_user(near), ~crowd.is_session(near))
    outcomes = near.filter(near.type != "exposure", near.exposure_id.isin(shown.exposure_id))
    return [outcomes, near.filter(near.type == "exposure").select(*OF_OTHERS)]


def _narrow(events: Table, *columns: str) -> Table:
    """Return some columns and PLACE, where the events have it; else all columns."""
    return events.select(*columns, *PLACE) if set(PLACE) <= set(events.columns) else events


def _whole(engine: Engine, events: Table, found: Sequence[Table]) -> Table:
    """Return all columns of events that were found by some, each once: read by their PLACE, where it is known."""
    if not set(PLACE) <= set(events.columns):
        return found[0].union(*found[1:], distinct=False) if len(found) > 1 else found[0]
    file, row = PLACE
    places = [one.select(*PLACE) for one in found]
    every = places[0].union(*places[1:]) if len(places) > 1 else places[0]
    kept = engine.keep("places of few", "few_places", every.distinct())
    rows = engine.rows("places of few, listed", kept.limit(MAX_PLACES + 1))
    if len(rows) > MAX_PLACES:
        return events.semi_join(kept, list(PLACE))
    by_file: dict[str, list[int]] = {}
    for one in rows:
        by_file.setdefault(one[file], []).append(one[row])
    files = sorted(by_file)
    size = -(-len(files) // MAX_PARTS) or 1
    parts = []
    for start in range(0, max(1, len(files)), size):
        chunk = files[start : start + size]
        numbers = sorted({number for name in chunk for number in by_file[name]})
        part = events.filter(_is_one_of(events[file], chunk), events[row].isin(numbers))
        parts.append(part if len(chunk) == 1 else part.semi_join(kept, list(PLACE)))
    return parts[0].union(*parts[1:]) if len(parts) > 1 else parts[0]


def _is_one_of(column: Any, values: Sequence[Any]) -> Any:
    """Whether a column is one of few values. A scan is handed one value, and a search in a list; IN it is not."""
    if len(values) == 1:
        return column == values[0]
    return ibis.literal(list(values), "array<string>").contains(column).fill_null(False)


def _ids(people: Table, name: str) -> Table:
    return people.filter(people[name].notnull()).select(name).distinct()
