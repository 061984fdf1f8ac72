"""docs/reference.md, put together."""

from __future__ import annotations

import inspect as python
import re
from collections import defaultdict
from typing import TYPE_CHECKING, get_args

from reference_codes import Site, found
from reference_fields import RECORDS, fields, forms_table, groups, kinds, operators, types
from reference_world import CODES

from abside.assignment.assign import Reason
from abside.assignment.condition import MAX_CONDITIONS, MAX_DEPTH, MAX_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

INTRODUCTION = """\
# Reference of the documents and of the codes

What a document may contain, field by field, and what each code of a problem means. The tables are made from the
records and the rules of the code: the examples pass `abside check`, and "while an experiment runs" is what `diff`
reports of such a change. [experiments.md](experiments.md) shows how to use it, [schema.json](schema.json) is the same
for editors, and [settings.md](settings.md) lists the settings of the commands.

Each file of a ConfigMap is a mapping of sections; a section may be spread over files. YAML is read as 1.2, without
anchors, aliases, tags and merge keys. A field that is not in these tables is refused, and so is a key with nothing
behind it.
"""
SEVERITIES = {"error": "error", "warning": "warning", "either": "error or warning"}
PROCESSES = {
    "src/abside/sidecar": "sidecar",
    "src/abside/collector": "collector",
    "agent/abside_agent/admission": "admission",
    "src/abside/serve": "all",
    "src/abside/event": "sidecar",
    "src/abside/local": "local client",
}


def page() -> str:
    """Return docs/reference.md as the code defines it; `python tests/docs/test_reference.py` writes it."""
    lines = [*INTRODUCTION.splitlines(), "", "## Forms", "", *forms_table(), ""]
    for name, record in RECORDS.items():
        sentence = (python.getdoc(record) or "").split(". ")[0].rstrip(".") + "."
        lines += [f"## {name.capitalize()}", sentence, "", *fields(name), ""]
        lines += ["A layer has no fields: `layers: {ranking: {}}`.", ""] if name == "sections" else []
    return "\n".join([*lines, *kinds(), "", *_eligibility(), "", *_codes()]) + "\n"


def _eligibility() -> Iterator[str]:
    yield "## Eligibility"
    yield f"A list of conditions, all of which must hold: up to {MAX_CONDITIONS}, with up to {MAX_VALUES:,} values"
    yield f"each, in groups up to {MAX_DEPTH} deep. A value that was not sent, or is of another type, is not known: its"
    yield "condition does not hold, neither with `ne` nor with `not_in`, unless it has `or_missing: true`."
    yield ""
    yield from types()
    yield ""
    yield "### Operators"
    yield from operators()
    yield ""
    yield "### Groups"
    yield from groups()


def by_code(sites: Iterable[Site]) -> dict[str, dict[str, list[Site]]]:
    """Return the sites by kind of problem and by code."""
    sorted_: dict[str, dict[str, list[Site]]] = defaultdict(lambda: defaultdict(list))
    for site in sites:
        sorted_[site.kind][site.code].append(site)
    return sorted_


def words_of(kind: str, code: str, sites: list[Site]) -> tuple[str, str] | None:
    """Return (meaning, remedy): of codes.toml, or of the one place that makes it; None where there is neither."""
    if code in CODES[kind]:
        meaning, remedy = CODES[kind][code]
        return meaning, remedy
    is_whole = len(sites) == 1 and sites[0].message and sites[0].remedy
    return (sites[0].message, sites[0].remedy) if is_whole else None


def _codes() -> Iterator[str]:
    kinds_ = by_code(found().sites)
    yield "## Codes of problems in documents"
    yield "`abside check`, `diff`, admission, the agent's log, `/v1/status` and the status page show them, with file,"
    yield "line, value and the exact remedy. An error keeps its experiment at its last good version; a warning keeps"
    yield "nothing. `…` is where the message has a name or a value."
    yield ""
    yield "| code | | meaning | remedy |"
    yield "|---|---|---|---|"
    for code, sites in sorted(kinds_["documents"].items()):
        severities = {site.severity for site in sites}
        severity = SEVERITIES[severities.pop() if len(severities) == 1 else "either"]
        yield _row("documents", code, sites, severity)
    yield ""
    yield "## Codes of decisions"
    yield "Why a shopper is in an experiment or not: `abside explain`, `/v1/explain`, `simulate` and the status page."
    yield "They are looked at in this order, and the first one that applies decides."
    yield ""
    yield "| code | meaning | to change it |"
    yield "|---|---|---|"
    for reason in get_args(Reason):
        yield f"| `{reason}` | {' | '.join(CODES['decisions'][reason])} |"
    yield ""
    yield "## Codes of HTTP answers"
    yield "The member `code` of a problem document (RFC 9457). None repeats an id or a value of a shopper."
    yield ""
    yield "| code | status | from | meaning | remedy |"
    yield "|---|---|---|---|---|"
    for code, sites in sorted(kinds_["http"].items()):
        statuses = sorted({str(site.status) for site in sites if site.status})
        who = sorted({_process(site) for site in sites})
        yield _row("http", code, sites, f"{', '.join(statuses)} | {'all' if 'all' in who else ', '.join(who)}")
    yield ""
    yield "The Python client with `strict=True` raises `Refused` with these codes, and with these of its own:"
    yield ""
    yield "| code | | meaning | remedy |"
    yield "|---|---|---|---|"
    for code, sites in sorted(kinds_["client"].items()):
        yield _row("client", code, sites, "not sent" if code == "UNSENDABLE" else "answered")


def _process(site: Site) -> str:
    known = (name for start, name in PROCESSES.items() if site.file.startswith(start))
    return next(known, site.file)  # of a room that is new: name it in PROCESSES


def _row(kind: str, code: str, sites: list[Site], between: str) -> str:
    meaning, remedy = words_of(kind, code, sites) or ("", "")
    cells = [re.sub(r"(?<!`)\*\.yaml", "`*.yaml`", one.replace("|", r"\|")) for one in (meaning, remedy)]
    return f"| `{code}` | {between} | {cells[0]} | {cells[1]} |"
