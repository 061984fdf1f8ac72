"""The report as JSON: every figure, with the versions and digests that made it. What is not estimable is null."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import orjson

from abside.report.page.aa import aa_fields
from abside.report.page.words import sentence
from abside.report.stats.compare import LEVEL
from abside.report.tally.moments import ARM_PLAIN

if TYPE_CHECKING:
    from abside.report.page.experiment import ExperimentPage
    from abside.report.report import Report
    from abside.report.store.losses import Ledger
    from abside.report.store.timeline import TimelineChange

FORMAT = 1  # of this file; fields may be added to it
EXACT_IN_JSON = 2**53  # readers of JSON take a number for a double, which is exact up to here
LIBRARIES = ("abside", "duckdb", "ibis-framework", "tea-tasting", "scipy", "numpy")


def to_json(report: Report, digest: str) -> bytes:
    """Return the report as JSON. `digest` names the files that were read."""
    seen = report.overview
    document = {
        "format": FORMAT,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        "documents": {
            "revision": report.documents.revision,
            "problems": [str(one) for one in report.documents.problems],
        },
        "events": {
            "digest": digest,
            "files": report.files,
            "files_read_whole": report.whole,
            "rows": report.rows,
            "files_set_aside": report.set_aside,
            "rows_by_type": seen.rows,
            "late_by_type": seen.late,
            "first": seen.first,
            "last": seen.last,
            "clocks": report.clocks,
            "duplicate_outcomes": report.outcome_copies,
            "reused": report.reused,
        },
        "outcomes": report.outcomes,
        "accounts": _sorted(report.ledger),
        "found": {
            name: {"phases": {str(one): rows for one, rows in found.items()}} for name, found in seen.phases.items()
        },
        "confidence_level": LEVEL,
        "aa": aa_fields(report.aa),
        "experiments": [_page(page) for page in report.pages],
        "refused": report.refused,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z)


def _page(page: ExperimentPage) -> dict[str, Any]:
    one = page.experiment
    return {
        "experiment": one.id,
        "name": one.name,
        "hypothesis": one.hypothesis,
        "unit": one.unit,
        "placements": one.placements,
        "phase": page.phase,
        "control": page.control,
        "window_seconds": page.window_seconds,
        "analysis": {
            "primary": page.analysis.primary,
            "secondary": page.analysis.secondary,
            "guardrails": page.analysis.guardrails,
            "planned_units": page.analysis.planned_units,
        },
        "primary": page.analysis.primary,
        "state": page.state,
        "sentence": sentence(page),
        "metrics": {metric.name: metric.text for metric in page.metrics},
        "timeline": [_change(change) for change in page.scope.history],
        "exposures": {
            "rows": page.exposures,
            "duplicates": page.copies,
            "late": page.late,
            "left_out": page.left_out,
            "arrived": page.arrived,
            "accounts": dict(sorted(page.ledger.items())),
        },
        "unmatched": page.unmatched,
        "definitions": {
            "since": page.scope.definitions.since,
            "changed": page.scope.definitions.changed,
            "unknown": page.scope.definitions.unknown,
            "strays": page.scope.strays,
        },
        "begins": {
            "since": page.scope.since,
            "is_asked": page.scope.is_asked,
            "units_before": page.before_since,
            "units_after": page.after_until,
            "parts": page.scope.parts,
        },
        "arms": [
            {
                **{name: getattr(arm, name) for name in ARM_PLAIN},
                "sums": {name: _number(total) for name, total in arm.sums.items()},
                "products": {f"{left}*{right}": _number(total) for (left, right), total in arm.products.items()},
            }
            for arm in page.arms
        ],
        "sample_ratio": {**_fields(page.sample_ratio), "is_mismatch": page.sample_ratio.is_mismatch},
        "values": page.values,
        "value_units": page.value_units,
        "without_value": page.without_value,
        "estimates": page.estimates,
        "page_load_p75_ms": page.load_p75,
        "lorenz_curves": page.curves,
        "cuts": page.cuts,
        "sensitivity": page.sensitivity,
        "fallbacks": page.fallbacks,
        "notes": page.notes,
    }


def _sorted(ledger: Ledger) -> dict[str, Any]:
    """Return an account of all sidecars, its types by name: whichever row an engine returns first."""
    counts = {"accepted": dict(sorted(ledger.accepted.items())), "lost": dict(sorted(ledger.lost.items()))}
    return {**_fields(ledger), **counts}


def _number(total: int) -> float:
    """Return a sum as JSON can hold it: exact where a double is, else the nearest double."""
    return total if abs(total) <= EXACT_IN_JSON else float(total)


def _change(change: TimelineChange) -> dict[str, Any]:
    return {"at": change.at, "what": change.what, "state": change.state}


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}
