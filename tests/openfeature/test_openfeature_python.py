"""Python: the SDK with our own provider and with the protocol's, and what each call comes to."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.track import TrackingEventDetails

from abside.openfeature import Provider
from openfeature import api

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from openfeature.client import OpenFeatureClient
    from openfeature.provider import AbstractProvider
    from tests.openfeature.conftest import Backend

PLAIN = EvaluationContext("u9", {"session_id": "s1", "country": "DE"})
BASE = {"model": "ranker-v1", "feature_weights": {"margin": 0.0, "freshness": 1.0}, "item_count": 12}
RANKED = {**BASE, "model": "ranker-v2", "feature_weights": {"margin": 0.3, "freshness": 1.0}}
MINE: dict[str, Any] = {"model": "default"}


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[Callable[..., OpenFeatureClient]]:
    """Register a provider for this test alone."""
    used: list[AbstractProvider] = []

    def use(provider: AbstractProvider) -> OpenFeatureClient:
        domain = f"{request.node.name}-{len(used)}"
        used.append(provider)
        api.set_provider(provider, domain)
        return api.get_client(domain)

    yield use
    api.clear_providers()
    for provider in used:
        if isinstance(provider, OFREPProvider):
            provider.session.close()


def native(url: str) -> AbstractProvider:
    return Provider(url, deadline_seconds=10)


def protocol(url: str) -> AbstractProvider:
    return OFREPProvider(url, timeout=10)


def trip(case: str, details: Any) -> dict[str, Any]:
    value = details.value["model"] if isinstance(details.value, dict) else details.value
    code = details.error_code and str(details.error_code.value)
    return {"case": case, "value": value, "reason": str(details.reason), "error": code}


@pytest.mark.parametrize(("sdk", "provider"), [("Python, ours", native), ("Python, OFREP", protocol)])
def test_each_round_trip_is_what_the_page_says(
    backend: Backend, client: Callable[..., OpenFeatureClient], sdk: str, provider: Callable[[str], AbstractProvider]
) -> None:
    here, away = client(provider(backend.url)), client(provider(backend.away))
    done = [
        trip("an object", here.get_object_details("pdp", MINE, PLAIN)),
        trip("a string", here.get_string_details("pdp-reranker", "default", PLAIN)),
        trip("a string, not in the experiment", here.get_string_details("nobodys", "default", PLAIN)),
        trip("a boolean", here.get_boolean_details("pdp", False, PLAIN)),
        trip("a flag that does not exist", here.get_object_details("nope", MINE, PLAIN)),
        trip("an object without a context", here.get_object_details("pdp", MINE)),
        trip("a string without a context", here.get_string_details("pdp-reranker", "default")),
        trip("a sidecar that is away", away.get_object_details("pdp", MINE, PLAIN)),
    ]
    trips = {one["case"]: backend.cell(one) for one in done}
    before = len(backend.stored("add_to_cart", "u-python"))
    here.track(
        "add_to_cart", EvaluationContext("u-python"), TrackingEventDetails(19.9, {"itemId": "i7", "currency": "EUR"})
    )
    stored = backend.stored("add_to_cart", "u-python")[before:]
    trips["track"] = "stored" if stored else "sends nothing"
    assert trips == backend.column(sdk)


def test_an_answer_has_all_that_the_next_event_needs(
    backend: Backend, client: Callable[..., OpenFeatureClient]
) -> None:
    user = EvaluationContext("u9", {"session_id": "s1", "country": "DE", "since": datetime(2026, 1, 1, tzinfo=UTC)})
    one = client(native(backend.url)).get_object_details("pdp", {}, user)
    other = client(protocol(backend.url)).get_object_details("pdp", {}, PLAIN)
    assert (
        (one.value, one.variant, one.reason)
        == (other.value, other.variant, other.reason)
        == (RANKED, one.variant, "SPLIT")
    )
    names = {"experiment.pdp-reranker", "revision", "exposureId"}
    assert one.flag_metadata.keys() == other.flag_metadata.keys() == names
    first, second = backend.stored("exposure", "u9")[-2:]
    assert {**first, "exposure_id": ""} == {**second, "exposure_id": ""}
    assert (first["session_id"], first["attributes"]) == ("s1", {"country": "DE"})
    assert (one.flag_metadata["exposureId"], other.flag_metadata["exposureId"]) == (
        first["exposure_id"],
        second["exposure_id"],
    )


def test_a_prefetched_answer_is_exposed_when_it_is_used(
    backend: Backend, client: Callable[..., OpenFeatureClient]
) -> None:
    late = client(Provider(backend.url, deadline_seconds=10, expose=False))
    before = backend.stored("exposure", "u9")
    details = late.get_object_details("pdp", {}, PLAIN)
    assert details.value == RANKED
    assert backend.stored("exposure", "u9") == before
    token = str(details.flag_metadata["exposureToken"])
    late.track("$exposure", PLAIN, TrackingEventDetails(attributes={"exposureToken": token}))
    assert len(backend.stored("exposure", "u9")) == len(before) + 1
    refused = late.get_string_details("pdp-reranker", "mine", PLAIN)
    assert (refused.value, "experiment.pdp-reranker" in str(refused.error_message)) == ("mine", True)


def test_while_the_sidecar_is_away_the_base_parameters_go_on(
    client: Callable[..., OpenFeatureClient], backend: Backend
) -> None:
    provider = Provider(backend.away, deadline_seconds=0.05)
    learned = Provider(backend.url, deadline_seconds=10)
    learned.resolve_object_details("newsfeed", {}, PLAIN)
    learned.shutdown()
    provider.client._here().fallbacks.bases |= learned.client._here().fallbacks.bases
    shown = client(provider).get_object_details("newsfeed", {}, PLAIN)
    assert (shown.value, shown.reason, shown.flag_metadata["fallback"]) == ({"rows": 5}, "STALE", "unreachable")
    client(provider).get_string_details("pdp-reranker", "x", PLAIN)
    client(provider).track("add_to_cart", PLAIN)
    stats = provider.client.stats
    assert (stats.fallbacks, stats.waiting, stats.lost_reports) == ({"unreachable": 2}, 1, 0)


@pytest.mark.parametrize(
    ("key", "context", "code"),
    [
        ("pdp", EvaluationContext(None, {"user_id": 1.5}), "INVALID_CONTEXT"),
        ("a/b?c#d%", EvaluationContext("u9"), "FLAG_NOT_FOUND"),
        ("pdp-reranker", EvaluationContext("u9"), "FLAG_NOT_FOUND"),
        ("pdp-reranker", EvaluationContext(), "TARGETING_KEY_MISSING"),
    ],
)
def test_a_mistake_has_the_code_of_the_protocol(
    backend: Backend, client: Callable[..., OpenFeatureClient], key: str, context: EvaluationContext, code: str
) -> None:
    details = client(native(backend.url)).get_object_details(key, MINE, context)
    assert (details.value, details.error_code and details.error_code.value) == (MINE, code)


def test_an_attribute_that_cannot_be_sent_costs_no_decision(
    backend: Backend, client: Callable[..., OpenFeatureClient]
) -> None:
    provider = Provider(backend.url, deadline_seconds=10)
    unusable = {"a": {1, 2}, "b": float("nan"), "c": datetime(2026, 1, 1)}  # noqa: DTZ001 without a zone is the point
    details = client(provider).get_object_details("pdp", MINE, EvaluationContext("u9", unusable))  # type: ignore[arg-type]
    assert details.error_code is None
    assert provider.client.stats.left_out == {"a": 1, "b": 1, "c": 1}


def test_a_tracking_event_that_is_refused_is_logged_without_its_values(
    backend: Backend, client: Callable[..., OpenFeatureClient], caplog: pytest.LogCaptureFixture
) -> None:
    client(native(backend.url)).track("Add to cart", EvaluationContext("u-secret"), TrackingEventDetails(1.0))
    assert "write add_to_cart" in caplog.text
    assert "u-secret" not in caplog.text


def test_the_pages_file_runs(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(backend.file("shop.py"))
    done = subprocess.run(
        [sys.executable, "shop.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ranker-v2 treatment\n"), done.stderr
    stored = backend.stored("add_to_cart", "u9")[-1]
    assert (stored["item_id"], stored["value"], stored["properties"]) == ("i7", 19.9, {"shelf": "top"})


def test_the_pages_prefetch_is_one_exposure(backend: Backend, tmp_path: Path) -> None:
    before = len(backend.stored("exposure", "u9"))
    (tmp_path / "prefetch.py").write_text(backend.file("prefetch.py"))
    command = [sys.executable, "prefetch.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "ranker-v2\n"), done.stderr
    assert len(backend.stored("exposure", "u9")) == before + 1
