"""The calls of a client, decided in the caller's process; the base install, and imported when it is asked for."""

from abside.client.local.local import SNAPSHOT, SPOOL, Local

__all__ = ["SNAPSHOT", "SPOOL", "Local"]
