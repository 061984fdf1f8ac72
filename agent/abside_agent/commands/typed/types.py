"""`abside types`: the placements' configurations as types of the language that reads them."""

from __future__ import annotations

import sys
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from abside.environ import now_us
from abside_agent.commands.exit_codes import ExitCode, refuse
from abside_agent.commands.in_force import NothingInForceError, UsageError, put_in_force
from abside_agent.commands.typed.python import python_module
from abside_agent.commands.typed.typescript import typescript_module

if TYPE_CHECKING:
    from abside_agent.settings import TypesSettings

MODULES = {"python": python_module, "typescript": typescript_module}
ENDINGS = {".py": "python", ".pyi": "python", ".ts": "typescript", ".mts": "typescript"}


def main(settings: TypesSettings) -> int:
    """Print the module. Return 0; 1 for documents with errors, or where a checked file differs; 2 for a wrong call."""
    try:
        language, there = _wanted(settings)
        found = put_in_force(settings.config, (), now_us())
    except (UsageError, OSError, UnicodeDecodeError) as exc:
        return refuse("types", exc)
    except NothingInForceError as exc:
        sys.stderr.writelines(f"{problem}\n" for problem in exc.problems)
        return ExitCode.PROBLEMS
    if found.errors:  # a placement that is left out would be missing in the module too
        sys.stderr.writelines(f"{problem}\n" for problem in found.errors)
        return ExitCode.PROBLEMS
    module = MODULES[language]({name: one.parameters for name, one in found.snapshot.placements.items()})
    if there is None:
        sys.stdout.write(module)
        return ExitCode.DONE
    if there == module:
        return ExitCode.DONE
    made = f"abside types --language {language}"
    sys.stdout.writelines(unified_diff(there.splitlines(True), module.splitlines(True), str(settings.check), made))
    sys.stderr.write(f"abside types: {settings.check} is not what the documents say: run {made} > {settings.check}\n")
    return ExitCode.PROBLEMS


def _wanted(settings: TypesSettings) -> tuple[str, str | None]:
    """Return the language, and the text of the file to check. Raises UsageError, OSError, UnicodeDecodeError."""
    if settings.check is None:
        return settings.language or "python", None
    language = settings.language or ENDINGS.get(Path(settings.check).suffix)
    if language is None:
        raise UsageError(f"--check {settings.check}: is it Python or TypeScript? add --language")
    return language, Path(settings.check).read_text()
