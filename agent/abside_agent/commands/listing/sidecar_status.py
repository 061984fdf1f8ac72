"""The status of a running sidecar, asked over HTTP."""

from __future__ import annotations

import urllib.request
from http.client import HTTPException
from typing import Any

import orjson

TIMEOUT_SECONDS = 5.0
MAX_STATUS_BYTES = 64 * 2**20  # thousands of experiments with their problems take a few


class StatusError(Exception):
    """A sidecar's status cannot be had; the message names the URL and what to do."""


def status_of(url: str) -> dict[str, Any]:
    """Return `GET /v1/status` of the sidecar at `url`, for example http://127.0.0.1:7600. Raises StatusError."""
    if not url.startswith(("http://", "https://")):
        raise StatusError(f"--url {url}: write it with its scheme, for example http://127.0.0.1:7600")
    whole = url.rstrip("/") + "/v1/status"
    try:
        # A sidecar is beside us, or behind `kubectl port-forward`: a proxy of the shell would not reach it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(whole, timeout=TIMEOUT_SECONDS) as answer:
            found = orjson.loads(answer.read(MAX_STATUS_BYTES))
    except orjson.JSONDecodeError as exc:
        raise StatusError(f"{whole}: its answer is no JSON: {exc}; is it a sidecar?") from exc
    except (OSError, HTTPException, ValueError) as exc:
        raise StatusError(f"{whole}: {exc}; it must be the address of a sidecar that runs") from exc
    if not isinstance(found, dict) or "experiments" not in found:
        raise StatusError(f"{whole}: its answer has no experiments; is it a sidecar?")
    return found
