"""What the commands return to the shell, and the line on stderr that goes with a refusal."""

from __future__ import annotations

import sys
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command that reads documents."""

    DONE = 0
    PROBLEMS = 1  # something in the documents is wrong, or the change was refused
    USAGE = 2  # the command line names something that is not there, or does not go together


def refuse(command: str, why: object, code: ExitCode = ExitCode.USAGE) -> ExitCode:
    """Write why a command does nothing, and return its exit code."""
    sys.stderr.write(f"abside {command}: {why}\n")
    return code
