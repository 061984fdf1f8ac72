"""Who an event is of: a session that ever logged in is its user, in all its events, those before the login included.

Plain user→session fallback counts a person who logs in mid-visit twice, once on each side of the login.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table

USER, SESSION = "u", "s"  # in front of an id: a session that is named like a user is someone else


def stitch(engine: Engine, events: Table) -> Table:
    """Keep the map from sessions to users: {session_id, member}, for sessions that were also seen anonymous.

    A session with several users (a shared machine) is its first user's.
    """
    told = events.filter(events.session_id.notnull())
    known = told.user_id.notnull()
    found = told.group_by("session_id").agg(
        member=told.user_id.argmin(told.ts, where=known), was_anonymous=(~known).any()
    )
    found = found.filter(found.was_anonymous, found.member.notnull()).select("session_id", "member")
    return engine.keep("stitching sessions to users", "stitched", found)


def with_person(events: Table, stitched: Table) -> Table:
    """Add `person`: the user, else the session's user, else the session; null where there is no id at all."""
    member = stitched.view()
    found = events.left_join(member, events.session_id == member.session_id).select(events, member.member)
    return found.mutate(
        person=ibis.cases(
            (found.user_id.notnull(), ibis.literal(USER) + found.user_id),
            (found.member.notnull(), ibis.literal(USER) + found.member),
            (found.session_id.notnull(), ibis.literal(SESSION) + found.session_id),
        )
    )


def with_session(events: Table) -> Table:
    """Add `person` for an experiment that randomises sessions: the session, whoever is logged in."""
    return events.mutate(person=ibis.literal(SESSION) + events.session_id)
