"""How long a watch of the Kubernetes API waits, for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WatchTimeouts:
    """How long to wait, in seconds; 10,000 agents must not reconnect at the same time, nor ask too often."""

    watch: tuple[float, float] = (240.0, 300.0)  # after which the API ends a watch; jittered
    answer: float = 10.0  # for a connection, the head of a response, a list
    silence: float = 330.0  # longer than any watch: the connection is dead without a sign
    first: float = 1.0  # the longest first wait after a cut connection or an error; then it doubles
    longest: float = 30.0
    refused: float = 60.0  # after 401 and 403; jittered
    look: float = 1.0  # how often the token is read while waiting
    start: float = 5.0  # for a thread to start: the volume must not wait for it
    content: float = 60.0  # away for longer: log and status report it; an upgrade of the API takes less
