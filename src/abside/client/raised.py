"""Whose an exception is: a socket's and a library's become a fallback, the application's own passes through a call."""

from __future__ import annotations

# Where the innermost frame is of one of these, a step of the call failed. gevent and eventlet have sockets in Python.
_STEPS = frozenset(
    {"abside", "http", "email", "json", "socket", "selectors", "encodings", "codecs"}
    | {"asyncio", "aiohttp", "aiohappyeyeballs", "yarl", "multidict", "uvloop", "gevent", "eventlet"}
)
_TYPES = _STEPS | {"builtins"}


def is_ours(exc: BaseException) -> bool:
    """Return whether a step of the call raised this.

    A signal handler runs between any two steps, and what it raises comes out of the step that was interrupted, even as
    a TimeoutError. The innermost frame is then the handler's. An exception that another thread put into this one has
    no frame of its own, and is known by where its type is from.
    """
    kind = type(exc)
    if not issubclass(kind, Exception) or kind.__module__.partition(".")[0] not in _TYPES:
        return False
    innermost = exc.__traceback__
    if innermost is None:
        return True
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    module: str = innermost.tb_frame.f_globals.get("__name__") or ""
    return module.partition(".")[0] in _STEPS
