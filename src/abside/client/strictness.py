"""What a strict client checks beside what the sidecar refuses: a fallback that lacks parameters of its placement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from abside.client.result import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from abside.client.result import Assignment

MAX_NAMED = 10  # parameters that a refusal names


def check_fallbacks(fallbacks: Mapping[str, Mapping[str, Any]], answers: Mapping[str, Assignment]) -> None:
    """Compare fallbacks with the answers, whose configurations have every declared parameter of the placement.

    Raises Refused INCOMPLETE_FALLBACK, with the names of those that a fallback lacks.
    """
    for placement, given in fallbacks.items():
        answer = answers.get(placement)
        if answer is None or answer.fallback:
            continue
        lacking = list(_lacking(given, answer.config))
        if lacking:
            unknown = [name for name in given if name not in answer.config]
            also = f"; {_named(unknown)} is no parameter of {placement}" if unknown else ""
            raise Refused(
                "INCOMPLETE_FALLBACK",
                f"the fallback of {placement} lacks {_named(lacking)}, which its configuration has: add it, with the "
                f"value of the code of today{also}",
                path="fallback",
            )


def _lacking(given: Mapping[str, Any], config: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Yield the names that a configuration has and a fallback lacks, those of a mapping's keys with dots."""
    for name, value in config.items():
        if name not in given:
            yield f"{within}{name}"
        elif isinstance(value, Mapping) and isinstance(given[name], Mapping):
            yield from _lacking(given[name], value, f"{within}{name}.")


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
