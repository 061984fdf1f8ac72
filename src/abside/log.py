"""One line per event on stderr: `time level role event key=value …`, or the same as one JSON object.

Never an id or an attribute value of a shopper.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

import orjson

FORM_VARIABLE = "ABSIDE_LOG_FORMAT"  # of a process's children, which have no options
# A field of such a name gets a "_".
OWN_KEYS = ("ts", "level", "role", "logger", "message", "exception", "stack")
# JSON leaves them as they are, and some readers end a line there.
_SEPARATORS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


class LogEntry:
    """An event and its fields, formatted where they are written."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return " ".join([self.event, *(f"{name}={_value(value)}" for name, value in self.fields.items())])


class Log:
    """A named logger whose lines are an event name and fields."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, event: str, **fields: Any) -> None:
        """Log what only a developer needs."""
        self._logger.debug(LogEntry(event, fields))

    def info(self, event: str, **fields: Any) -> None:
        """Log what happened."""
        self._logger.info(LogEntry(event, fields))

    def warning(self, event: str, **fields: Any) -> None:
        """Log what is degraded but still works."""
        self._logger.warning(LogEntry(event, fields))

    def error(self, event: str, **fields: Any) -> None:
        """Log what does not work."""
        self._logger.error(LogEntry(event, fields))

    def crash(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log a bug with its traceback; never used for bad input."""
        self._logger.error(LogEntry(event, fields), exc_info=error)


def setup(role: str, level: str = "info", form: str = "text") -> None:
    """Send every log line of this process to stderr, stamped with its role; `form` is text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_text(role) if form == "text" else JsonLines(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if form == "json":
        _nothing_beside()


def setup_child(role: str) -> None:
    """Write what a short-lived child may say in its parent's form."""
    if os.environ.get(FORM_VARIABLE) == "json":  # noqa: TID251 a child's settings are its parent's
        setup(role, form="json")


class JsonLines(logging.Formatter):
    """One JSON object a line, whatever is in it: `ts`, `level`, `role`, `logger`, `message`, then the fields."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        entry = record.msg if isinstance(record.msg, LogEntry) else LogEntry(_message(record), {})
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"ts": at, "level": record.levelname.lower(), "role": self._role}
        line |= {"logger": record.name, "message": entry.event}
        line |= {f"{name}_" if name in OWN_KEYS else name: value for name, value in entry.fields.items()}
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        try:
            text = orjson.dumps(line, default=str)
        except TypeError:
            text = orjson.dumps({_carried(name): _carried(value) for name, value in line.items()}, default=str)
        return text.decode().translate(_SEPARATORS)


def _text(role: str) -> logging.Formatter:
    form = logging.Formatter(f"%(asctime)s.%(msecs)03dZ %(levelname)s {role} %(message)s", "%Y-%m-%dT%H:%M:%S")
    form.converter = time.gmtime
    return form


def _nothing_beside() -> None:
    """Let Python itself write no line of its own form: warnings, and what nobody catches, are log lines too."""
    os.environ[FORM_VARIABLE] = "json"  # noqa: TID251 for the children of this process
    logging.raiseExceptions = False
    logging.captureWarnings(True)
    log = Log("abside.log")
    sys.excepthook = lambda _, error, trace: log.crash("uncaught", error.with_traceback(trace))
    sys.unraisablehook = lambda one: log.crash("unraisable", one.exc_value or RuntimeError(one.err_msg))
    threading.excepthook = lambda one: _thread_died(log, one)


def _thread_died(log: Log, one: threading.ExceptHookArgs) -> None:
    if not issubclass(one.exc_type, SystemExit):  # a thread that ended itself, of which Python says nothing either
        log.crash("thread_died", one.exc_value or RuntimeError(one.exc_type))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 its words do not fit, or one has no text: a bug of a library, and still one line
        return record.msg if isinstance(record.msg, str) else _ascii(record.msg)


def _carried(value: Any) -> Any:
    """Return the value where JSON can carry it, else Python's ASCII form."""
    try:
        orjson.dumps(value, default=str)
    except TypeError:
        return _ascii(value)
    return value


def _ascii(value: Any) -> str:
    """Return Python's ASCII form; of what has none, its type."""
    try:
        return ascii(value)
    except Exception:  # noqa: BLE001 whatever its own `__repr__` raises, the line is written
        return f"<{type(value).__name__} that cannot be shown>"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else _json(value)
    plain = text and text.isprintable() and not set(text) & {" ", "=", '"'}  # nothing that could end or forge a line
    return text if plain else _json(text)


def _json(value: Any) -> str:
    """Return JSON; for what JSON cannot carry, such as a file name that is not UTF-8, Python's ASCII form."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:
        return orjson.dumps(_ascii(value)).decode()
