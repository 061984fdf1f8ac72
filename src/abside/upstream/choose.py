"""The upstream a URL stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yarl import URL

from abside.files import read_regular
from abside.upstream.http import BATCHES_PATH, CONTENT_TYPES, USUAL, BearerTokenError, HttpUpstream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from abside.upstream.contract import Upstream
    from abside.upstream.encode import Encoding
    from abside.upstream.http import Format, Timeouts

SCHEMES = ("http", "https")
MAX_TOKEN_BYTES = 64 * 1024  # a service account's token has two thousand; more is another file


class UpstreamUrlError(ValueError):
    """A URL that names no upstream: what is wrong with it, and what would be right. Its password is never shown."""

    def __init__(self, url: str, problem: str, remedy: str) -> None:
        super().__init__(url, problem, remedy)
        self.url = url
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"upstream {self.url}: {self.problem}; {self.remedy}"


def open_upstream(
    url: str,
    now_us: Callable[[], int],
    *,
    token_file: Path | None = None,
    encoding: Encoding | None = None,
    timeouts: Timeouts = USUAL,
) -> Upstream:
    """Give the upstream for `url`; nothing is connected before the first batch.

    `http://host:port` and `https://…` are our collector; with `?format=json_array` the URL is used as it stands, for
    any receiver of JSON, its other query parameters kept. `token_file` holds a bearer token and is read before every
    delivery. Raises UpstreamUrlError.
    """
    target, form = check_url(url)
    return HttpUpstream(target, form, token_reader(token_file), now_us, encoding=encoding, timeouts=timeouts)


def check_url(url: str) -> tuple[URL, Format]:
    """Return the address that a URL names, and the form of batches it takes. Raises UpstreamUrlError."""
    try:
        parsed = URL(url)
    except ValueError as exc:
        raise UpstreamUrlError("(unreadable)", str(exc), "write for example http://collector:7700") from exc
    shown = str(parsed.with_user(None)) if parsed.absolute and parsed.host else url.partition("@")[2] or url
    if parsed.scheme not in SCHEMES:
        known = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UpstreamUrlError(shown, f"the scheme {parsed.scheme or '(none)'} is not known", f"write {known}")
    if not parsed.host:
        raise UpstreamUrlError(shown, "there is no host", "write for example http://collector:7700")
    if parsed.user is not None or parsed.password is not None:
        raise UpstreamUrlError(shown, "it holds a name or a password", "put a bearer token into a file")
    form = _format(parsed, shown)
    if form == "msgpack" and parsed.path.rstrip("/").endswith(f"/{BATCHES_PATH}"):
        remedy = f"the path is added to it; write {without_credentials(url).removesuffix(BATCHES_PATH).rstrip('/')}"
        raise UpstreamUrlError(shown, f"it ends in /{BATCHES_PATH}", remedy)
    return parsed.without_query_params("format").with_fragment(None), form


def without_credentials(url: str) -> str:
    """Return scheme, host, port and path of an upstream's URL, as logs and the status show it.

    A name, a password and the query, which may hold a key, are left out. Raises ValueError.
    """
    return str(URL(url).with_user(None).with_query(None).with_fragment(None)).rstrip("/")


def token_reader(path: Path | None) -> Callable[[], str | None]:
    """Give what reads the token file anew each time. It raises TokenError; without a file it gives None."""

    def read() -> str | None:
        if path is None:
            return None
        try:
            token = read_regular(path, MAX_TOKEN_BYTES).strip()
        except OSError as exc:
            raise BearerTokenError(f"the token file {path} cannot be read: {exc.strerror}") from exc
        if not token or not all(33 <= byte < 127 for byte in token):
            raise BearerTokenError(f"the token file {path} must hold one bearer token, visible ASCII in one word")
        return token.decode("ascii")

    return read


def _format(url: URL, shown: str) -> Format:
    given = url.query.getall("format", ["msgpack"])
    for known in CONTENT_TYPES:
        if given == [known]:
            return known
    raise UpstreamUrlError(shown, f"the format {', '.join(given)} is not known", f"write {' or '.join(CONTENT_TYPES)}")
