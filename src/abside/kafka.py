"""What both ends of Kafka share: its address, the file of librdkafka's properties, the library itself, and its log."""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any

from abside.files import read_regular
from abside.log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

SCHEME = "kafka"
EXAMPLE = "kafka://broker-1:9092,broker-2:9092/topic"
MAX_CONFIG_BYTES = 256 * 1024  # certificates may be written into it, and nothing else is long
EXPERIMENTAL = "CONFWARN"  # the library's facility for properties that it calls experimental: ours are chosen
SAME_KIND_SECONDS = 60.0  # as often as the shipper repeats that its upstream is away
_BROKER = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9_.-]{1,255})(:[0-9]{1,5})?\Z")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}\Z")  # Kafka's own rule
_BROKERS_OF_A_FILE = frozenset({"bootstrap.servers", "metadata.broker.list"})

log = Log("abside.kafka")


class KafkaSettingError(ValueError):
    """An address or a property that cannot be used: what is wrong, and what would be right."""


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """`kafka://<brokers>/<topic>?<query>`: `brokers` as the library takes them, and the query by name."""

    brokers: str
    topic: str
    query: Mapping[str, str]

    def __str__(self) -> str:
        return f"{SCHEME}://{self.brokers}/{self.topic}"


@dataclass(frozen=True, slots=True)
class OwnedProperty:
    """A property that we set: its names, the values that mean the same as ours, ours first, and why it is not free."""

    names: tuple[str, ...]
    values: tuple[str, ...]
    why: str


def parse_address(url: str) -> KafkaAddress:
    """Return the brokers, the topic and the query of a `kafka://` URL. Raises KafkaSettingError."""
    scheme, _, rest = url.partition("://")
    rest, _, query = rest.partition("?")
    brokers, slash, topic = rest.partition("/")
    shown = f"{scheme}://{brokers.rpartition('@')[2]}{slash}{topic}"
    if "@" in brokers:
        raise KafkaSettingError(f"{shown} has a name or a password; write sasl.username and sasl.password into a file")
    if not brokers or not all(_is_broker(one) for one in brokers.split(",")):
        raise KafkaSettingError(f"{shown} names no brokers; write for example {EXAMPLE}")
    if not _TOPIC.match(topic) or topic in {".", ".."}:
        raise KafkaSettingError(f"{shown} names no topic: {topic!r}; write for example {EXAMPLE}")
    pairs = [part.partition("=") for part in query.split("&") if part]
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise KafkaSettingError(f"{shown} has a parameter twice: {', '.join(names)}")
    return KafkaAddress(brokers, topic, {name: value for name, _, value in pairs})


def _is_broker(text: str) -> bool:
    match = _BROKER.match(text)
    return match is not None and int((match[2] or ":1")[1:]) in range(1, 65_536)


def read_properties(path: Path | None, owned: Iterable[OwnedProperty]) -> dict[str, str]:
    """Return the properties of a file of lines `name=value`, librdkafka's own names; none where there is no file.

    Empty lines and those that begin with `#` are left out, blanks around name and value too. What contradicts an
    owned property is refused. Raises KafkaSettingError.
    """
    if path is None:
        return {}
    try:
        text = read_regular(path, MAX_CONFIG_BYTES).decode()
    except OSError as exc:
        raise KafkaSettingError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except UnicodeDecodeError as exc:
        raise KafkaSettingError(f"{path} is not UTF-8: {exc.reason} at byte {exc.start}") from exc
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            raise KafkaSettingError(f"{path}:{number} is no property; write name=value, with librdkafka's names")
        if name in found:
            raise KafkaSettingError(f"{path}:{number} sets {name} a second time; leave one of the two")
        _check(f"{path}:{number}", name, value, owned)
        found[name] = value
    return found


def _check(place: str, name: str, value: str, owned: Iterable[OwnedProperty]) -> None:
    if name in _BROKERS_OF_A_FILE:
        raise KafkaSettingError(f"{place} sets {name}; the brokers are those of the address")
    for row in owned:
        if name in row.names and value.lower() not in row.values:
            meant = f"leave it out, or write {row.values[0]}" if row.values else "leave it out"
            raise KafkaSettingError(f"{place} sets {name} to {value!r}: {row.why}; {meant}")


def library() -> Any:
    """Return the module confluent_kafka. Raises KafkaSettingError where it is not installed."""
    try:
        return import_module("confluent_kafka")
    except ImportError as exc:
        raise KafkaSettingError("a kafka:// address needs confluent-kafka: pip install 'abside[kafka]'") from exc


class LibraryLog:
    """Takes the library's own lines into our log, as the `logger` of a client; by itself it writes them to stderr.

    What is an error to it is a warning to us: a broker that is away is what it was made for. It then writes up to
    twenty lines a second: of each kind one is logged in SAME_KIND_SECONDS, with a count of those left out before it. A
    line's kind is its level and its first word, FAIL or so. `clock` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._next: dict[tuple[int, str], float] = {}  # by kind: when a line is logged again
        self._left_out: Counter[tuple[int, str]] = Counter()

    def log(self, level: int, form: str, *words: object) -> None:
        """Log one line at a level of Python's logging, unless one of its kind was logged shortly before."""
        said = form % words if words else form
        if EXPERIMENTAL in said:
            return
        kind, now = (level, said.partition(" ")[0]), self._clock()
        if now < self._next.get(kind, now):
            self._left_out[kind] += 1
            return
        self._next[kind] = now + SAME_KIND_SECONDS
        left_out = self._left_out.pop(kind, 0)
        fields = {"said": said, **({"left_out": left_out} if left_out else {})}
        if level >= logging.ERROR:
            log.warning("kafka_library", **fields)
        elif level >= logging.WARNING:
            log.info("kafka_library", **fields)
        else:
            log.debug("kafka_library", **fields)
