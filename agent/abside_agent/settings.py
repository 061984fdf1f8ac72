"""The settings of the commands that know documents."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass

from abside.environ import address, integer, listed, log_format, log_level, one_of, positive, seconds, setting, size
from abside.snapshot import BASIS_POINTS


def instant(value: str) -> int:
    """Read an instant, `2026-12-01T09:00:00Z`, as µs UTC. Raises ValueError."""
    from abside.assignment.attribute import date  # noqa: PLC0415 a megabyte that an idle agent must not need

    at_us: int | None = date(value)
    if at_us is None:
        raise ValueError(f"{value!r} is not an instant with a zone, for example 2026-12-01T09:00:00Z")
    return at_us


_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"


def object_name(value: str) -> str:
    """Read the name of a Kubernetes object: a DNS subdomain (RFC 1123). Raises ValueError."""
    if len(value) > 253 or not re.fullmatch(rf"{_LABEL}(\.{_LABEL})*", value):
        raise ValueError(f"{value!r} is not a ConfigMap's name: lower-case letters, digits, '-' and '.', at most 253")
    return value


object_name.separator = ","  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """What the agent reads and publishes, and the limits of a compilation."""

    config: tuple[str, ...] = setting(MISSING, "directory of *.yaml documents; may be given several times", many=True)
    snapshot: str = setting(MISSING, "the file to publish, which the sidecar follows")
    paused: tuple[str, ...] = setting((), "directory whose keys are paused experiments", many=True)
    fast_watch: str | None = setting(
        None, "ConfigMap of --paused, also watched through the Kubernetes API", object_name
    )
    fast_watch_config: tuple[str, ...] = setting(
        (), "every ConfigMap of the one --config, in its order, also watched through the API", object_name, many=True
    )
    cluster_api: str | None = setting(
        None, "https://host:port of the Kubernetes API; default the one that Kubernetes names to pods"
    )
    cluster_credentials: str = setting(
        "/var/run/secrets/kubernetes.io/serviceaccount", "directory of token, ca.crt and namespace, for the watches"
    )
    once: bool = setting(False, "publish and exit; 1 when anything was rejected", flag=True)
    # Between two looks a change by events is seen at once; this bounds what a lost event costs. A look at 200 KiB
    # takes 0.3 ms.
    poll_seconds: float = setting(
        "0.5", "how often the directories are read, with or without file system events", positive(seconds)
    )
    # 1,000 experiments take 2 s on a quiet core; a throttled pod gets a tenth of one.
    compile_seconds: float = setting("60", "longest a compilation may take", positive(seconds))
    compile_cpu_seconds: int = setting("20", "CPU time a compilation may use", positive(integer))
    # The agent's container has a limit of 256 MiB; beyond it the kernel would end both parent and child.
    compile_memory: int = setting("192MiB", "address space a compilation may use", positive(size))
    log_level: str = setting("info", "least severe log line written", log_level)
    log_format: str = setting("text", "form of log lines: text, or json for one object a line", log_format)


LANGUAGES = ("python", "typescript")
FORMATS = "text, markdown for a comment on a pull request, or json"


@dataclass(frozen=True, slots=True)
class CheckSettings:
    """What to check, and the form of the output."""

    paths: tuple[str, ...] = setting(
        MISSING, "files, directories of *.yaml, or ConfigMap manifests", many=True, words=True
    )
    json: bool = setting(False, "print the problems as JSON", flag=True)
    format: str = setting("text", FORMATS, one_of("text", "markdown", "json"))
    strict: bool = setting(False, "warnings count as problems", flag=True)


@dataclass(frozen=True, slots=True)
class DiffSettings:
    """What to compare, and at which instant."""

    old: str = setting(
        MISSING, "the documents in force: a directory, a file, a ConfigMap manifest or REV:path", words=True
    )
    new: str = setting(MISSING, "the documents to put in force", words=True)
    at: int | None = setting(None, "the time to compare at; default now", instant)
    json: bool = setting(False, "print the difference as JSON", flag=True)
    format: str = setting("text", FORMATS, one_of("text", "markdown", "json"))


@dataclass(frozen=True, slots=True)
class ExplainSettings:
    """The shopper, the placement and the documents to explain."""

    config: tuple[str, ...] = setting(MISSING, "directory of *.yaml documents; may be given several times", many=True)
    placement: str = setting(MISSING, "the placement to explain")
    user_id: str | None = setting(None, "the shopper's user id")
    session_id: str | None = setting(None, "the shopper's session id")
    attribute: tuple[str, ...] = setting(
        (), "name=value or name:=JSON, for each attribute the rec service sends", many=True
    )
    shared_ids: tuple[str, ...] = setting((), "the --shared-ids of the sidecar, if it has any", listed, many=True)
    paused: tuple[str, ...] = setting((), "directory whose keys are paused experiments", many=True)
    at: int | None = setting(None, "the time to explain; default now", instant)
    json: bool = setting(False, "print what POST /v1/explain answers", flag=True)


@dataclass(frozen=True, slots=True)
class OverviewSettings:
    """The documents, or the sidecar, whose experiments are listed."""

    config: tuple[str, ...] = setting((), "directory of *.yaml documents; may be given several times", many=True)
    url: str | None = setting(None, "a running sidecar instead, for example http://127.0.0.1:7600")
    paused: tuple[str, ...] = setting((), "directory whose keys are paused experiments", many=True)
    at: int | None = setting(None, "the time to list; default now", instant)
    json: bool = setting(False, "print the list as JSON", flag=True)


@dataclass(frozen=True, slots=True)
class SimulateSettings:
    """The units and the documents to simulate."""

    config: tuple[str, ...] = setting(MISSING, "directory of *.yaml documents; may be given several times", many=True)
    units: int | None = setting(None, "number of synthetic units; default 100000", positive(integer))
    ids: str | None = setting(None, "file of ids, one a line, or - for stdin")
    attribute: tuple[str, ...] = setting(
        (), "name=value or name:=JSON of every unit; without one, every unit is eligible", many=True
    )
    paused: tuple[str, ...] = setting((), "directory whose keys are paused experiments", many=True)
    at: int | None = setting(None, "the time to simulate; default now", instant)
    json: bool = setting(False, "print everything as JSON", flag=True)


@dataclass(frozen=True, slots=True)
class AdmissionSettings:
    """The address of the webhook, the names of the ConfigMaps, and the limits of a review."""

    tls_cert: str = setting(MISSING, "certificate chain, PEM; read again when it changes")
    tls_key: str = setting(MISSING, "private key, PEM")
    listen: str = setting("*:8443", "address for reviews", address)  # the API server asks at the pod's address
    configmap: tuple[str, ...] = setting(
        ("abside-experiments",), "name of the documents' ConfigMap; several form one document", many=True
    )
    paused_configmap: str = setting("abside-paused", "name of the ConfigMap whose keys are paused experiments")
    # The webhook's own timeout is 10 s; whoever is slower than this is answered with a warning in time.
    check_seconds: float = setting(
        "7", "longest time of a check, with its wait; then the change is allowed", positive(seconds)
    )
    check_cpu_seconds: int = setting("7", "CPU time a check may use", positive(integer))
    # One check runs at a time. The container has a limit of 256 MiB, of which the process itself takes 45.
    check_memory: int = setting("192MiB", "address space a check may use", positive(size))
    # The pauses' webhook has a timeout of 1 s, after which kubectl shows no warning at all.
    pause_seconds: float = setting(
        "0.7", "how long to look whether the id of a pause exists; then the pause is allowed", positive(seconds)
    )
    template: str = setting("experiment-sidecar", "name of the Deployment whose template is injected into pods")
    template_seconds: float = setting("5", "how long a template is used before it is read again", positive(seconds))
    # The webhook's own timeout is 2 s, after which the pod has no sidecar and nobody a warning.
    inject_seconds: float = setting("1", "how long to read the template; then the last one is used", positive(seconds))
    cluster_api: str | None = setting(
        None, "https://host:port of the Kubernetes API; default the one that Kubernetes names to pods"
    )
    cluster_credentials: str = setting(
        "/var/run/secrets/kubernetes.io/serviceaccount",
        "directory of token, ca.crt and namespace, to read documents and the template",
    )
    tls_poll_seconds: float = setting("10", "how often the certificate's files are checked", positive(seconds))
    linger_seconds: float = setting("5", "how long after SIGTERM requests are still answered", seconds)
    # Old and new object, each up to 1 MiB of data, twice where the client's last-applied annotation holds it too; JSON
    # escapes add some.
    max_review_bytes: int = setting("8MiB", "largest AdmissionReview", positive(size))
    max_connections: int = setting(
        "256",
        "open connections (beyond it, the longest idle one is closed) and requests at once: 50 KB each, 300 by TLS",
        positive(integer),
    )
    header_seconds: float = setting("5", "how long a connection's first headers may take", positive(seconds))
    body_seconds: float = setting("5", "how long a body may take", positive(seconds))
    keepalive_seconds: float = setting("75", "how long an idle connection is kept", positive(seconds))
    log_level: str = setting("info", "least severe log line written", log_level)
    log_format: str = setting("text", "form of log lines: text, or json for one object a line", log_format)


@dataclass(frozen=True, slots=True)
class TypesSettings:
    """The documents whose placements become types, and the language."""

    config: tuple[str, ...] = setting(MISSING, "directory of *.yaml documents; may be given several times", many=True)
    language: str | None = setting(
        None, "python or typescript; default what the name of --check ends in, and else python", one_of(*LANGUAGES)
    )
    check: str | None = setting(
        None, "print nothing but how this file differs from what would be printed; 1 if it does"
    )


@dataclass(frozen=True, slots=True)
class SchemaSettings:
    """No settings: there is one document, and one schema of it."""


@dataclass(frozen=True, slots=True)
class NewSettings:
    """The id and the placement of the new experiment."""

    id: str = setting(MISSING, "the experiment's id, which never changes", words=True)
    placement: str = setting(MISSING, "the placement where it runs", words=True)
    config: tuple[str, ...] = setting(
        (), "directory of *.yaml documents: today's parameters, and ids that are taken", many=True
    )
    aa: bool = setting(False, "make both variants equal, to test the pipeline", flag=True)


@dataclass(frozen=True, slots=True)
class SetSettings:
    """The experiments, and the new values of their fields."""

    id: str = setting(MISSING, "the experiment", words=True)
    changes: tuple[str, ...] = setting(
        MISSING,
        "field=value: status=paused, traffic=20%, …; traffic= takes it away; after -- the next experiment and its own",
        many=True,
        words=True,
    )
    config: tuple[str, ...] = setting(MISSING, "directory of *.yaml documents; may be given several times", many=True)
    yes: bool = setting(False, "write without asking", flag=True)


@dataclass(frozen=True, slots=True)
class ShipSettings:
    """The experiment, and the variant that everyone is to get."""

    id: str = setting(MISSING, "the experiment", words=True)
    variant: str = setting(MISSING, "the variant that everyone gets", words=True)
    config: tuple[str, ...] = setting(MISSING, "directory of *.yaml documents; may be given several times", many=True)
    yes: bool = setting(False, "write without asking", flag=True)


def share(value: str) -> int:
    """Read `20%` or `2.5%` as basis points. Raises ValueError."""
    from abside_agent.document.forms import percent  # noqa: PLC0415 as above
    from abside_agent.document.tree import NOWHERE, Scalar  # noqa: PLC0415 as above

    return percent(Scalar(value, value, NOWHERE))


def split(value: str) -> tuple[int, ...]:
    """Read `80/20`, control first, as basis points. Raises ValueError."""
    weights = tuple(share(f"{part}%") for part in value.split("/"))
    if len(weights) < 2 or sum(weights) != BASIS_POINTS or min(weights) == 0:
        raise ValueError(f"{value!r} is no split: write the weights, control first, for example 80/20 or 34/33/33")
    return weights


def decimal(value: str) -> float:
    """Read a number above 0, for example 42.5. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", value.strip()) or not float(value):
        raise ValueError(f"{value!r} is not a number above 0, for example 42.5")
    return float(value)


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The metric today, the lift to detect or the days there are, and the traffic."""

    units_per_day: int = setting(MISSING, "eligible units a day", positive(integer))
    base: int | None = setting(None, "the rate today, for example 3%", share)
    mean: float | None = setting(None, "the mean a unit today instead of a rate, for example 4.2 of revenue", decimal)
    sd: float | None = setting(None, "its standard deviation over units, with --mean", decimal)
    events: str | None = setting(
        None, "take mean and standard deviation from a collector's store: a directory, or s3://bucket/prefix"
    )
    placement: str | None = setting(None, "with --events: of the units first exposed at this placement")
    metric: str | None = setting(None, "with --events: a metric of the report; default revenue_per_user")
    last: int | None = setting(
        None,
        "with --events: first exposures of so many days, the last whose windows are over; default 14",
        positive(integer),
    )
    window: int | None = setting(
        None, "with --events: days after its first exposure that count for a unit; default 7", positive(integer)
    )
    config: tuple[str, ...] = setting(
        (),
        "with --events: directory of documents, for metrics of your own and the currency",
        many=True,
        beside="events",
    )
    lift: int | None = setting(None, "the smallest relative lift worth detecting, for example 2%", share)
    days: int | None = setting(
        None, "instead of a lift: how long it can run, for the lift that shows", positive(integer)
    )
    split: tuple[int, ...] = setting("50/50", "the variants' weights, control first", split)
    alpha: int = setting("5%", "accepted rate of false positives", share)
    power: int = setting("80%", "probability of detecting the lift", share)
    json: bool = setting(False, "print the plan as JSON", flag=True)
