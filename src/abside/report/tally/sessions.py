"""Sessions of a unit: those with an exposure, and of them those that bounced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table

ACTS = ("click", "add_to_cart", "purchase")  # whoever did one did not bounce
MOST_VIEWS = 1  # of a session that bounced


def sessions_of(engine: Engine, exposed: Table, outcomes: Table, units: Table) -> Table:
    """Keep {person, sessions, bounces}: `exposed` are {person, session_id, ts}, ts of its first exposure.

    Page views before the exposure are of the session too. An exposure without a session_id is of no session.
    """
    windows = units.select("person", "first_ts", "until")
    met = exposed.filter(exposed.session_id.notnull()).inner_join(windows, "person")
    met = met.filter(met.ts < met.until)
    sessions = met.select("person", "session_id", "until").distinct()
    sessions = engine.keep("sessions exposed", "sessions", sessions)
    acts = outcomes.filter(outcomes.session_id.notnull(), outcomes.type.isin(("page_view", *ACTS)))
    acts = acts.select(act_session="session_id", act="type", act_ts="ts")
    joined = sessions.left_join(acts, sessions.session_id == acts.act_session)
    is_in = (joined.act_ts < joined.until).fill_null(False)
    by_session = joined.group_by("person", "session_id").agg(
        views=((joined.act == "page_view") & is_in).sum(), acted=(joined.act.isin(ACTS) & is_in).any()
    )
    bounced = (by_session.views.fill_null(0) <= MOST_VIEWS) & ~by_session.acted.fill_null(False)
    found = by_session.group_by("person").agg(sessions=by_session.count(), bounces=bounced.sum())
    return engine.keep("sessions by unit", "sessions_by_unit", found.mutate(bounces=ibis._.bounces.fill_null(0)))
