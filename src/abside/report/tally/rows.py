"""Units and outcomes as rows for an analyst's own tools: what `--export` writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from abside.report.store.people import USER
from abside.report.tally.before import before_of, with_before
from abside.report.tally.moments import terms_of

if TYPE_CHECKING:
    from abside.report.store.engine import Engine, Table
    from abside.report.tally.outcomes import Outcomes
    from abside.report.tally.units import Choice, Counted

UNITS, ATTRIBUTION = "units", "attribution"
OF_OUTCOME = (
    *("event_id", "type", "ts", "placement", "exposure_id", "item_id", "position", "quantity", "value", "currency"),
    *("page_type", "page_load_ms"),
)


def keep_rows(engine: Engine, outcomes: Outcomes, events: Table, choice: Choice, counted: Counted, number: int) -> None:
    """Keep the rows of one page until all are written. Raises EngineFailed."""
    engine.keep(f"{choice.experiment}: units to export", f"{UNITS}_{number}", _units(engine, choice, counted))
    attributed = _attribution(outcomes, events, choice, counted)
    engine.keep(f"{choice.experiment}: outcomes to export", f"{ATTRIBUTION}_{number}", attributed)


def kept_rows(engine: Engine, name: str, pages: int) -> Table:
    """Return the rows of all pages."""
    tables = [engine.kept(f"{name}_{number}") for number in range(pages)]
    return tables[0].union(*tables[1:]) if len(tables) > 1 else tables[0]


def _units(engine: Engine, choice: Choice, counted: Counted) -> Table:
    """Return one row a person, experiment and phase. Sums of fields are in the field's own unit."""
    before = {term.column: term for metric in choice.metrics if (term := before_of(metric)) is not None}
    units = with_before(engine, choice, counted.met, counted.units, list(before.values()))
    columns = {
        name: units[name] if term.scale == 1 else units[name].cast("float64") / term.scale
        for name, term in {**terms_of(choice.metrics), **before}.items()
    }
    plain = ("variant", "first_ts", "until", "crossed", "exposures", "placement", "attributes")
    return units.select(**_head(choice, units), **{name: units[name] for name in plain}, **columns)


def _attribution(outcomes: Outcomes, events: Table, choice: Choice, counted: Counted) -> Table:
    """Return one row an outcome and experiment, for outcomes of its units, inside their window or not."""
    units = counted.units.select("person", "variant", "first_ts", "until")
    met = outcomes.owned(outcomes.once(choice.unit), units, joined=True)
    mine = events.filter(
        events.type == "exposure", events.experiment == choice.experiment, events.phase == choice.phase
    )
    named = mine.filter(mine.exposure_id.notnull()).select(named_id=mine.exposure_id).distinct()
    met = met.left_join(named, met.exposure_id == named.named_id)
    shown = counted.shown_carts.view() if counted.shown_carts is not None else None
    is_shown = ibis.null("boolean")
    if shown is not None:
        keys = [met.person == shown.person, met.item_id == shown.item_id, met.ts == shown.carted_ts]
        met = met.left_join(shown.mutate(shown=True), keys)
        is_shown = ibis.ifelse(met.type == "add_to_cart", met.shown.fill_null(False), None)
    return met.select(
        **_head(choice, met),
        **{name: met[name] for name in OF_OUTCOME},
        variant=met.variant,
        first_ts=met.first_ts,
        in_window=(met.ts >= met.first_ts) & (met.ts < met.until),
        shown_24h=is_shown,
        by_exposure_id=met.named_id.notnull(),
    )


def _head(choice: Choice, table: Table) -> dict[str, object]:
    is_user = table.person.startswith(USER)
    return {
        "experiment": ibis.literal(choice.experiment),
        "phase": ibis.literal(choice.phase, "int32"),
        "person_type": ibis.ifelse(is_user, "user", "session"),
        "person": table.person.substr(1),
    }
