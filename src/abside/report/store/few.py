"""An experiment of few people in a large store: the events that can count for them, found by their ids and kept.

What counts for a person: events of the user, of every session of the user's, of sessions exposed, outcomes that name an
exposure of theirs, and exposures that such outcomes name. Figures of units are made of these. What is said of the whole
store is asked of the whole store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ibis

from abside.report.store.fallbacks import EVENT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from abside.report.store.engine import Engine, Table

FEW = 0.01  # of the store's rows: with more, looking for people costs what it saves
MAX_LISTED = 500  # ids handed to a scan as a list; each row is compared with all of them
SAID = ("config", "account")  # of sidecars, of no person
# Of an exposure to another experiment: whose it was, where and when. Its own phases and arms are on no page here.
OF_OTHERS = ("event_id", "type", "ts", "seen_ts", "recv_ts", "user_id", "session_id", "bot", "exposure_id", "placement")


def are_few(phases: Mapping[str, Mapping[int, int]], names: Sequence[str], rows: int) -> bool:
    """Whether the exposures of these experiments are few among all rows; never where none is asked for by name."""
    return bool(names) and sum(sum(phases.get(name, {}).values()) for name in names) <= FEW * rows


def events_of_few(engine: Engine, events: Table, names: Sequence[str]) -> Table:
    """Keep what can count for the people of these experiments, and what sidecars say. Raises EngineFailed.

    Each statement looks at the whole store once, and reads few columns of many rows or many of few. Many columns are
    read twice, by user and by session: a scan is handed a filter of one column, and then skips the others' rows.
    """
    keep, is_shown = engine.keep, events.type == "exposure"
    mine = keep("exposures of few", "few_exposed", events.filter(is_shown, events.experiment.isin(list(names))))
    said = [keep(f"{kind} events", f"few_{kind}", events.filter(events.type == kind)) for kind in (*SAID, EVENT)]
    people = mine.select("user_id", "session_id").union(said[-1].select("user_id", "session_id")).distinct()
    people = keep("people of few", "people_0", people)
    logins = events.filter(events.user_id.notnull(), events.session_id.notnull()).select("user_id", "session_id")
    logins = logins.semi_join(_ids(people, "session_id"), "session_id").distinct()
    people = people.union(keep("users of the sessions of few", "people_1", logins))
    is_user = _test(engine, people, "user_id")
    of_users = keep("events of users of few", "few_users", events.filter(is_user(events)))
    people = people.union(of_users.select("user_id", "session_id").distinct())
    crowd = FewPeople(is_user, _test(engine, people, "session_id"))
    of_sessions = events.filter(crowd.is_session(events), ~is_user(events))
    of_sessions = keep("events of sessions of few", "few_sessions", of_sessions)
    theirs = of_users.union(of_sessions)
    own = theirs.filter(~theirs.type.isin(("exposure", EVENT, *SAID)))
    others = theirs.filter(theirs.type == "exposure", ~theirs.experiment.isin(list(names)).fill_null(False))
    others = others.select(*OF_OTHERS)
    shown = mine.select("exposure_id").union(others.select("exposure_id"))
    absent = {name: ibis.null(kind) for name, kind in events.schema().items()}
    named = _named(engine, events, crowd, own, shown)
    tables = [one.select(**{**absent, **{name: one[name] for name in one.columns}}) for one in (others, *named)]
    return keep("events of few", "few", mine.union(*said, own, *tables))


@dataclass(frozen=True, slots=True)
class FewPeople:
    """Some users and sessions: a test of a column for each."""

    is_user: Callable[[Table], Any]
    is_session: Callable[[Table], Any]

    def far(self, events: Table) -> Table:
        """Return the events of everybody else."""
        return events.filter(~self.is_user(events), ~self.is_session(events))


def _test(engine: Engine, people: Table, name: str) -> Callable[[Table], Any]:
    """Return a test whether a column holds an id of these people. A scan is handed a list; a join it is not."""
    ids = _ids(people, name)
    found = [row[name] for row in engine.rows(f"{name}s of few", ids.limit(MAX_LISTED + 1))]
    if len(found) > MAX_LISTED:
        return lambda events: events[name].isin(ids[name]).fill_null(False)
    listed = ibis.literal(found, "array<string>")
    return lambda events: listed.contains(events[name]).fill_null(False)


def _ids(people: Table, name: str) -> Table:
    return people.filter(people[name].notnull()).select(name).distinct()


def _named(engine: Engine, events: Table, crowd: FewPeople, own: Table, shown: Table) -> list[Table]:
    """Keep outcomes of others that name an exposure of these, and exposures of others that outcomes of these name."""
    shown = shown.filter(shown.exposure_id.notnull()).select(named="exposure_id").distinct()
    outcomes = events.filter(events.type != "exposure", events.exposure_id.notnull())
    outcomes = outcomes.semi_join(shown, outcomes.exposure_id == shown.named)
    outcomes = crowd.far(engine.keep("outcomes that name few", "naming", outcomes))
    asked = own.select(named="exposure_id").union(outcomes.select(named="exposure_id"))
    asked = engine.keep("exposures that few name", "asked", asked.filter(asked.named.notnull()).distinct())
    if not engine.rows("exposures that few name, counted", asked.agg(count=asked.count()))[0]["count"]:
        return [outcomes]
    exposures = events.filter(events.type == "exposure").select(*OF_OTHERS)
    exposures = exposures.semi_join(asked, exposures.exposure_id == asked.named)
    return [outcomes, crowd.far(engine.keep("exposures that few name", "named_by_few", exposures))]
