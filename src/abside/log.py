"""One line per event on stderr: `time level role event key=value …`. Never an id or an attribute value of a shopper."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson


class Log:
    """A named logger whose lines are an event name and fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        """Log what only a developer needs."""
        self._logger.debug(_line(event, fields))

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened."""
        self._logger.info(_line(event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Log what is degraded but still works."""
        self._logger.warning(_line(event, fields))

    def error(self, event: str, **fields: Any) -> None:
        """Log what does not work."""
        self._logger.error(_line(event, fields))

    def crash(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log a bug with its traceback; never used for bad input."""
        self._logger.error(_line(event, fields), exc_info=error)


def setup(role: str, level: str = "info") -> None:
    """Send every log line of this process to stderr, stamped with its role."""
    handler = logging.StreamHandler(sys.stderr)
    form = logging.Formatter(f"%(asctime)s.%(msecs)03dZ %(levelname)s {role} %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    handler.setFormatter(form)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _line(event: str, fields: dict[str, Any]) -> str:
    return " ".join([event, *(f"{name}={_value(value)}" for name, value in fields.items())])


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else _json(value)
    plain = text and text.isprintable() and not set(text) & {" ", "=", '"'}  # nothing that could end or forge a line
    return text if plain else _json(text)


def _json(value: Any) -> str:
    """Return JSON; for what JSON cannot carry, such as a file name that is not UTF-8, Python's ASCII form."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return orjson.dumps(ascii(value)).decode()
