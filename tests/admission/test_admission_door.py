"""The webhook's door: sizes, garbage, slowness, certificates, and its end."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from abside.serve.certificate import not_after
from abside.snapshot import Problem
from abside_agent.admission.metrics import ReviewCounts

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from pathlib import Path

    from tests.admission.conftest import Data, Webhook

MIB = 2**20


def test_it_says_that_it_lives(webhook: Webhook) -> None:
    assert webhook.ask("/livez") == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"", None),
        (b"\xff\x00garbage", None),
        (b"[]", "kind"),
        (b'{"kind": "Pod"}', "kind"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}', "apiVersion"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": []}', "request"),
        (b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {}}', "request.uid"),
    ],
)
def test_garbage_is_refused_and_says_where(webhook: Webhook, body: bytes, path: str | None) -> None:
    status, document = webhook.ask("/validate", body)
    assert (status, document["code"], document.get("path")) == (400, "MALFORMED", path)


@pytest.mark.parametrize("changed", [{"data": ["x"]}, {"data": {"a.yaml": 1}}, {"binaryData": {"a.yaml": "%"}}])
def test_a_config_map_of_another_shape_is_refused_and_says_where(webhook: Webhook, changed: dict[str, Any]) -> None:
    request = {"uid": "u", "operation": "CREATE", "kind": {"kind": "ConfigMap"}, "name": "abside-experiments"}
    body = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request | {"object": changed}}
    status, document = webhook.ask("/validate", json.dumps(body).encode())
    assert (status, document["code"]) == (400, "MALFORMED")
    assert document["path"].startswith("request.object.")


def test_the_largest_config_maps_fit_and_what_is_larger_is_refused(webhook: Webhook) -> None:
    full = {"notes.txt": "x" * MIB}
    assert webhook.review(full, full)["allowed"] is True
    status, document = webhook.ask("/validate", b" " * (8 * MIB + 1))
    assert (status, document["code"]) == (413, "TOO_LARGE")


def test_a_body_that_does_not_arrive_is_given_up(webhook: Webhook) -> None:
    with connected(webhook) as sent:
        sent.sendall(b"POST /validate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert sent.recv(64).startswith(b"HTTP/1.1 408 ")
    assert webhook.ask("/livez")[0] == 200


def connected(webhook: Webhook) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", webhook.port), timeout=30)
    return webhook.pair.trusted().wrap_socket(plain, server_hostname="127.0.0.1")


def test_plain_http_gets_no_answer_and_harms_nobody(webhook: Webhook) -> None:
    with socket.create_connection(("127.0.0.1", webhook.port), timeout=30) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in plain.recv(64)
    assert webhook.ask("/livez")[0] == 200


def test_changes_that_come_together_are_all_judged(webhook: Webhook, documents: Callable[..., Data]) -> None:
    bad = documents(("pdp.yaml", "model: ranker-v2", "modle: ranker-v2"))
    with ThreadPoolExecutor(4) as senders:
        answers = list(senders.map(webhook.review, [bad, documents()] * 2))
    assert [one["allowed"] for one in answers] == [False, True] * 2


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    start: Callable[..., Webhook], kind: str
) -> None:
    webhook = start("--tls-poll-seconds", "0.1")
    with connected(webhook) as kept:
        webhook.pair.renew(kind)
        webhook.await_log("certificate_changed")
        assert webhook.ask("/livez")[0] == 200  # trusts the new one alone
        kept.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert kept.recv(64).startswith(b"HTTP/1.1 200 ")


def test_a_pair_that_does_not_fit_together_changes_nothing(start: Callable[..., Webhook]) -> None:
    webhook = start("--tls-poll-seconds", "0.1")
    good = webhook.pair.key.read_bytes()
    webhook.pair.key.write_bytes(b"no key at all")
    webhook.await_log("certificate_unusable")
    assert webhook.ask("/livez")[0] == 200
    found = webhook.metrics()
    assert found["abside_tls_certificate_unusable"] == 1
    assert found["abside_tls_certificate_not_after_seconds"] == not_after(webhook.pair.cert.read_bytes())
    webhook.pair.key.write_bytes(good)
    webhook.await_log("certificate_usable_again")
    assert webhook.ask("/livez")[0] == 200


def test_sigterm_ends_it_in_good_order_with_an_answer_to_what_is_in_flight(
    start: Callable[..., Webhook], documents: Callable[..., Data]
) -> None:
    webhook = start("--check-seconds", "25", "--check-cpu-seconds", "25", "--linger-seconds", "1")
    with ThreadPoolExecutor(1) as sender:
        asked = sender.submit(webhook.review, documents(), documents())
        assert webhook.stop() == 0
        assert asked.result()["allowed"] is True
    assert webhook.is_logged("stopped")


def test_without_a_certificate_it_does_not_start_and_says_why(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "abside", "admission", "--listen", "127.0.0.1:0"]
    tls = ["--tls-cert", str(tmp_path / "none.crt"), "--tls-key", str(tmp_path / "none.key")]
    done = subprocess.run([*command, *tls], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "cannot_start" in done.stderr
    assert "none.crt" in done.stderr


def test_the_webhook_reads_no_yaml_itself_and_the_agent_brings_no_http() -> None:
    absent = {
        "abside_agent.admission.app": "yaml",
        "abside_agent.admission.inside": "aiohttp",
        "abside_agent.run.loop": "aiohttp",
    }
    for module, library in absent.items():
        code = f"import sys, {module}; sys.exit({library!r} in sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_metrics_count_reviews_by_outcome_and_seconds(webhook: Webhook, documents: Callable[..., Data]) -> None:
    split = ("pdp.yaml", "control:   {weight: 80%}", "control:   {weight: 50%}")
    assert webhook.review(documents())["allowed"] is True
    assert webhook.review(documents(split))["allowed"] is False
    assert "warnings" in webhook.review({"all": "carts broken"}, name="abside-paused")
    found = webhook.metrics()
    outcomes = [found[f'abside_admission_reviews_total{{outcome="{one}"}}'] for one in ("allowed", "warned", "refused")]
    assert min(outcomes) >= 1
    assert sum(outcomes) == found["abside_admission_review_seconds_count"]
    assert found["abside_admission_review_seconds_sum"] > 0
    assert found['abside_admission_review_seconds_bucket{le="+Inf"}'] == sum(outcomes)
    assert found['abside_admission_requests_total{route="/validate",status="200"}'] == sum(outcomes)
    assert found["process_open_fds"] > 0


def test_a_review_is_counted_by_its_worst_problem_and_in_the_bucket_of_its_seconds() -> None:
    counts = ReviewCounts()
    warning, error = (Problem(severity, "X", "f", 0, 0, "", "", "m", "r") for severity in ("warning", "error"))
    for problems, seconds in (((), 0.01), ((warning,), 0.011), ((warning, error), 3.0), ((error,), 11.0)):
        counts.add(problems, seconds)
    assert counts.outcomes == {"allowed": 1, "warned": 1, "refused": 2}
    assert counts.took == [1, 1, 0, 0, 0, 0, 0, 1, 0, 1]
    assert (counts.not_checked, counts.seconds) == (0, 14.021)
