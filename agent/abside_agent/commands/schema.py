"""`abside schema`: the JSON Schema of the document, for editors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import orjson

from abside_agent.document.schema import schema

if TYPE_CHECKING:
    from abside_agent.settings import SchemaSettings


def main(_: SchemaSettings) -> int:
    """Print the schema."""
    sys.stdout.write(text())
    return 0


def text() -> str:
    """Return the schema as docs/schema.json has it."""
    return orjson.dumps(schema(), option=orjson.OPT_INDENT_2).decode() + "\n"
