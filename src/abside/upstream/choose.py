"""Which upstream a URL names: the table of schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from yarl import URL

from abside.files import read_regular
from abside.kafka import SCHEME as KAFKA
from abside.kafka import parse_address
from abside.upstream.contract import USUAL, BearerTokenError, OpenOptions, Upstream, UpstreamUrlError
from abside.upstream.http import open_http
from abside.upstream.kafka import open_kafka

if TYPE_CHECKING:
    from pathlib import Path

    from abside.upstream.contract import Encoding, Timeouts

# From a URL and the options to an upstream that keeps the contract; raises UpstreamUrlError, and KafkaSettingError
# where a Kafka library or its properties are the reason. An opener connects nothing.
Opener = Callable[[str, OpenOptions], Upstream]
SCHEMES: Mapping[str, Opener] = {"http": open_http, "https": open_http, KAFKA: open_kafka}
MAX_TOKEN_BYTES = 64 * 1024  # a service account's token has two thousand; more is another file


def open_upstream(
    url: str,
    now_us: Callable[[], int],
    *,
    token_file: Path | None = None,
    kafka_config: Path | None = None,
    encoding: Encoding | None = None,
    timeouts: Timeouts = USUAL,
) -> Upstream:
    """Return the upstream that `url` names; nothing is connected before the first batch.

    `token_file` contains a bearer token and is read before every delivery; it is for HTTP. `kafka_config` contains
    librdkafka's properties; it is for Kafka. Raises UpstreamUrlError, KafkaSettingError.
    """
    scheme = url.partition(":")[0].lower() if ":" in url else ""
    opener = SCHEMES.get(scheme)
    shown = url.partition("@")[2] or url
    if opener is None:
        known = " or ".join(f"{scheme}://" for scheme in SCHEMES)
        raise UpstreamUrlError(shown, f"the scheme {scheme or '(none)'} is not known", f"write {known}")
    if kafka_config is not None and scheme != KAFKA:
        raise UpstreamUrlError(shown, "--kafka-config is for kafka://", "leave it out")
    if token_file is not None and scheme == KAFKA:
        remedy = "write sasl.mechanisms and what it needs into the file of --kafka-config"
        raise UpstreamUrlError(shown, "--upstream-token-file is for http:// and https://", remedy)
    return opener(url, OpenOptions(now_us, token_reader(token_file), encoding, timeouts, kafka_config))


def check_url(url: str) -> None:
    """Raise ValueError where `url` names no upstream. It is opened for that, which connects nothing."""
    open_upstream(url, lambda: 0)


def without_credentials(url: str) -> str:
    """Return scheme, host, port and path of an upstream's URL, as logs and the status show it.

    A name, a password and the query, which may hold a key, are left out. Raises ValueError.
    """
    if url.partition(":")[0].lower() == KAFKA:
        return str(parse_address(url))
    return str(URL(url).with_user(None).with_query(None).with_fragment(None)).rstrip("/")


def token_reader(path: Path | None) -> Callable[[], str | None]:
    """Return a function that reads the token file anew each time, or returns None where there is no file.

    It raises BearerTokenError.
    """

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
