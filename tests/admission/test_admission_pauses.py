"""A pause at the webhook: always allowed, and told at once where it pauses nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.admission.conftest import Data, Webhook

ALLOWED = {"allowed": True}
PAUSED = "abside-paused"


@pytest.fixture(scope="module")
def api(documents: Callable[..., Data]) -> Iterator[FakeApi]:
    server = FakeApi(names=("abside-experiments",)).start()
    server.set("abside-experiments", documents())
    yield server
    server.end()


@pytest.fixture(scope="module")
def reading(api: FakeApi, start: Callable[..., Webhook], tmp_path_factory: pytest.TempPathFactory) -> Webhook:
    """Return a webhook that may read the documents."""
    folder = api.credentials(tmp_path_factory.mktemp("account"))
    (folder / "namespace").write_text("another")  # its own: the documents are read where the pause is
    return start("--cluster-api", api.url, "--cluster-credentials", str(folder), "--pause-seconds", "25")


def test_a_pause_of_an_experiment_that_exists_is_taken_without_a_word(reading: Webhook) -> None:
    assert reading.review({"pdp-reranker": "carts broken"}, {}, name=PAUSED) == ALLOWED
    assert reading.review({}, {"pdp-reranker": "carts broken"}, name=PAUSED) == ALLOWED


def test_a_pause_that_pauses_nothing_is_told_with_what_was_meant(reading: Webhook) -> None:
    response = reading.review({"pdp-rerankr": "x", "cart-cross-sell": "y", "zzz": ""}, {}, name=PAUSED)
    assert response["allowed"] is True
    assert response["warnings"] == [
        "abside-paused: NOTHING IS PAUSED by pdp-rerankr: no experiment has this id — did you mean pdp-reranker?",
        "abside-paused: NOTHING IS PAUSED by zzz: no experiment has this id — delete the key",
    ]


def test_documents_that_did_not_change_are_parsed_once(reading: Webhook, api: FakeApi) -> None:
    reading.review({"pdp-rerankr": "x"}, {}, name=PAUSED)
    begun = api.lists
    for _ in range(3):
        assert "NOTHING IS PAUSED" in reading.review({"pdp-rerankr": "x"}, {}, name=PAUSED)["warnings"][0]
    assert api.lists == begun + 3  # the API is asked each time: the documents may have changed


def test_a_file_that_cannot_be_read_is_named_since_the_id_may_be_in_it(
    reading: Webhook, api: FakeApi, documents: Callable[..., Data]
) -> None:
    api.set("abside-experiments", documents() | {"new.yaml": "experiments: ["})
    try:
        (warning,) = reading.review({"mine": "x"}, {}, name=PAUSED)["warnings"]
    finally:
        api.set("abside-experiments", documents())
    assert "no experiment has this id in what can be read (new.yaml cannot)" in warning


def test_where_the_documents_cannot_be_read_it_says_that_the_ids_were_not_checked(
    webhook: Webhook, reading: Webhook, api: FakeApi
) -> None:
    unread = (
        "abside-paused: the pause is taken; WHETHER THESE IDS EXIST WAS NOT CHECKED: x: abside-experiments could not"
    )
    response = webhook.review({"x": ""}, {}, name=PAUSED)  # without a service account
    assert response["allowed"] is True
    assert response["warnings"][0].startswith(unread)
    api.fails = 403
    try:
        response = reading.review({"x": ""}, {}, name=PAUSED)
    finally:
        api.fails = 0
    assert response["allowed"] is True
    assert "the API answered 403" in response["warnings"][0]
    assert reading.is_logged("ids_not_checked")


def test_a_pause_waits_for_nobody_and_what_came_late_is_known_to_the_next_one(
    api: FakeApi, start: Callable[..., Webhook], documents: Callable[..., Data], tmp_path: Path
) -> None:
    folder = api.credentials(tmp_path / "account")
    options = ("--cluster-api", api.url, "--cluster-credentials", str(folder), "--check-seconds", "25")
    many = "experiments:\n" + "".join(f"  e{number}: {{status: draft}}\n" for number in range(6000))
    api.set("abside-experiments", documents() | {"many.yaml": many})
    late = start(*options, "--pause-seconds", "0.05", "--check-cpu-seconds", "25")
    try:
        (warning,) = late.review({"e5999x": ""}, {}, name=PAUSED)["warnings"]
        assert "NOT CHECKED" in warning
        assert "it took longer than" not in warning or "it took longer than 0.05 s" in warning
        until = time.monotonic() + 30
        while "NOT CHECKED" in warning:
            assert time.monotonic() < until, warning
            (warning,) = late.review({"e5999x": ""}, {}, name=PAUSED)["warnings"]
            assert "it took longer than" not in warning or "it took longer than 0.05 s" in warning
    finally:
        api.set("abside-experiments", documents())
    assert "did you mean e5999?" in warning


def test_the_log_names_who_changed_which_keys_and_nothing_of_their_content(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    webhook.review({"b": "new secret", "c": "x"}, {"a": "x", "b": "old secret"}, name=PAUSED)
    line = next(one for one in webhook.log.read_text().splitlines() if "reviewed" in one and "removed=a" in one)
    assert "user=pm@example.org operation=UPDATE namespace=recs name=abside-paused" in line
    assert "added=c removed=a changed=b" in line
    assert "secret" not in webhook.log.read_text()
    webhook.review(documents(("pdp.yaml", "traffic: 50%", "traffic: 75%")), documents())
    assert webhook.is_logged("name=abside-experiments changed=pdp.yaml dry_run=false allowed=true")
