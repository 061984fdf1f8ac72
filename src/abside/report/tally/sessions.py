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


def sessions_by_day(exposed: Table, outcomes: Table, units: Table) -> Table:
    """Return {person, day, sessions, bounces}: what each day adds to both.

    A session is exposed on the day of its first exposure. It is one that bounced until it does something, or its second
    page view: where that is on a later day, the bounce is taken back then.
    """
    windows = units.select("person", "first_ts", "until")
    met = exposed.filter(exposed.session_id.notnull()).inner_join(windows, "person")
    met = met.filter(met.ts < met.until).select("person", "session_id", "ts", "until")
    acts = outcomes.filter(outcomes.session_id.notnull(), outcomes.type.isin(("page_view", *ACTS)))
    views = acts.filter(acts.type == "page_view").select("session_id", "ts")
    number = ibis.row_number().over(group_by="session_id", order_by="ts")
    views = views.mutate(number=number).filter(lambda table: table.number == MOST_VIEWS).drop("number")
    ends = acts.filter(acts.type != "page_view").select("session_id", "ts").union(views)
    ended = ends.group_by(ended_session=ends.session_id).agg(ended=ends.ts.min())
    spans = met.left_join(ended, met.session_id == ended.ended_session)
    spans = spans.mutate(
        begun=spans.ts.date().cast("string"),
        left=ibis.ifelse(spans.ended < spans.until, spans.ended, None).date().cast("string"),
    )
    is_bounce = spans.left.isnull() | (spans.left > spans.begun)
    begins = spans.select("person", day=spans.begun, sessions=ibis.literal(1), bounces=is_bounce.cast("int64"))
    taken_back = spans.filter(spans.left > spans.begun)
    taken_back = taken_back.select("person", day=taken_back.left, sessions=ibis.literal(0), bounces=ibis.literal(-1))
    whole = begins.mutate(sessions=begins.sessions.cast("int64")).union(
        taken_back.mutate(sessions=taken_back.sessions.cast("int64"), bounces=taken_back.bounces.cast("int64"))
    )
    return whole.group_by("person", "day").agg(sessions=whole.sessions.sum(), bounces=whole.bounces.sum())
