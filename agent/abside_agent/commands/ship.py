"""`abside ship`: copies the better variant's parameters to their placements, and ends the experiment."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from abside.environ import now_us
from abside.snapshot import leaves
from abside_agent.commands.edit.documents import editing
from abside_agent.commands.edit.put import put
from abside_agent.commands.edit.spans import EditError, as_json
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.document.scalar import resolve_plain
from abside_agent.document.tree import Mapping, plain
from abside_agent.document.wording import did_you_mean
from abside_agent.sources.documents import DocumentsError

if TYPE_CHECKING:
    from abside_agent.commands.edit.documents import Editing
    from abside_agent.settings import ShipSettings


def main(settings: ShipSettings) -> int:
    """Ship a variant. Return 0 when the files are so, 1 when refused or not confirmed, 2 where --config is missing."""
    try:
        edited = shipped(editing(settings.config), settings.id, settings.variant)
    except DocumentsError as exc:
        return refuse("ship", exc)
    except EditError as exc:
        return refuse("ship", exc, ExitCode.PROBLEMS)
    return put(edited, now_us(), yes=settings.yes)


def shipped(edited: Editing, experiment: str, variant: str) -> Editing:
    """Return the files with a variant's parameters in its placements and the experiment ended. Raises EditError."""
    tree = edited.source("experiments", experiment)[1]
    variants = tree.node(("experiments", experiment, "variants"))
    arms = list(variants.items) if isinstance(variants, Mapping) else []
    if variant not in arms:
        remedy = did_you_mean(variant, arms) or f"its variants are {', '.join(arms)}"
        raise EditError(("experiments", experiment), f"there is no variant {variant}", remedy)
    node = tree.node(("experiments", experiment, "variants", variant, "parameters"))
    for placement, values in node.items.items() if isinstance(node, Mapping) else ():
        for name, value in values.items.items() if isinstance(values, Mapping) else ():
            path = ("placements", placement, "parameters")
            try:
                today = plain(value)
            except ValueError as exc:
                raise EditError((*path, name), f"{exc} as it is written", "run abside check") from exc
            for leaf, item in leaves({name: today}):
                edited = edited.changed((*path, *leaf), _flow(item))
    return edited.changed(("experiments", experiment, "status"), "ended")


def _flow(value: object) -> str:
    """Return a value on one line, text without quotes where possible, as people write it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(name)}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _BARE.fullmatch(value) and resolve_plain(value) == value:
        return value
    return as_json(value)


_BARE = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")  # no number begins with a letter
