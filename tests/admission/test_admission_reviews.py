"""The webhook's response to a change: exact causes, warnings, and what is allowed unread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.admission.conftest import Data, Webhook

ALLOWED = {"allowed": True}
OUTCOMES = ("allowed", "warned", "refused")
SPLIT = (
    "pdp.yaml",
    "control:   {weight: 80%}\n      treatment:\n        weight: 20%",
    "control:   {weight: 50%}\n      treatment:\n        weight: 50%",
)
TYPO = ("pdp.yaml", "model: ranker-v2", "modle: ranker-v2")


def test_good_documents_are_allowed_without_a_word(webhook: Webhook, documents: Callable[..., Data]) -> None:
    assert webhook.review(documents()) == ALLOWED
    ramp = documents(("pdp.yaml", "traffic: 50%", "traffic: 75%"))
    assert webhook.review(ramp, documents()) == ALLOWED


def test_bad_documents_are_denied_with_a_cause_for_each_mistake_by_file_and_line(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    bad = documents(TYPO, ("cart.yaml", "status: paused ", "status: pausd "))
    response = webhook.review(bad, documents())
    status = (
        "experiments.cart-cross-sell.status: must be one of draft, ended, paused, running (got pausd)"
        " — did you mean paused?"
    )
    parameter = (
        "experiments.pdp-reranker.variants.treatment.parameters.pdp.modle: pdp declares no such parameter (got modle)"
        " — did you mean model?"
    )
    causes = [
        {"reason": "UNKNOWN_VALUE", "field": "cart.yaml:9", "message": status},
        {"reason": "UNDECLARED_PARAMETER", "field": "pdp.yaml:22", "message": parameter},
    ]
    assert response.pop("warnings")[0].startswith("pdp.yaml:20: what treatment gives changes in mid-experiment")
    assert response == {
        "allowed": False,
        "status": {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "code": 422,
            "reason": "Invalid",
            "message": f"2 problems in abside-experiments, the first: cart.yaml:9: {status}",
            "details": {"kind": "ConfigMap", "name": "abside-experiments", "causes": causes},
        },
    }


def test_a_dry_run_is_answered_like_the_change_itself(webhook: Webhook, documents: Callable[..., Data]) -> None:
    bad = documents(TYPO)
    assert webhook.review(bad, documents(), dryRun=True) == webhook.review(bad, documents())
    assert webhook.is_logged("dry_run=true")


def test_a_new_split_needs_a_new_phase(webhook: Webhook, documents: Callable[..., Data]) -> None:
    response = webhook.review(documents(SPLIT), documents())
    (cause,) = response["status"]["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("NEEDS_PHASE", "pdp.yaml:16")
    assert "the weights change from 80/20 to 50/50" in cause["message"]
    assert "write phase: 2" in cause["message"]
    with_phase = documents(SPLIT, ("pdp.yaml", "status: running", "phase: 2\n    status: running"))
    assert webhook.review(with_phase, documents()) == ALLOWED


def test_a_change_of_parameters_in_mid_experiment_is_allowed_and_warned_of(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    response = webhook.review(documents(("pdp.yaml", "margin: 0.3", "margin: 0.4")), documents())
    assert response["allowed"] is True
    (warning,) = response["warnings"]
    assert warning.startswith("pdp.yaml:")
    assert len(warning) <= 256


def test_an_error_that_stood_in_another_file_before_is_only_warned_of(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    pause = ("cart.yaml", "traffic: 20%", "traffic: 0%")
    response = webhook.review(documents(TYPO, pause), documents(TYPO))
    assert response["allowed"] is True
    assert any("stood here before" in warning for warning in response["warnings"])
    assert (
        webhook.review(documents(TYPO, ("pdp.yaml", "traffic: 50%", "traffic: 75%")), documents(TYPO))["allowed"]
        is False
    )


def test_an_experiment_that_was_never_in_force_is_mended_freely(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    assert webhook.review(documents(SPLIT), documents(TYPO)) == ALLOWED


def test_a_change_that_breaks_an_untouched_file_is_denied(webhook: Webhook, documents: Callable[..., Data]) -> None:
    response = webhook.review(
        documents(("placements.yaml", "item_count: 12", "item_total: 12"))
        | {"pdp.yaml": documents()["pdp.yaml"].replace("model: ranker-v2", "item_count: 10")},
        documents(),
    )
    assert response["allowed"] is False


@pytest.mark.parametrize("data", [{}, {"pdp.yaml": ""}, {"pdp.yaml": "# all gone\n"}])
def test_emptying_the_documents_is_allowed_with_a_loud_warning(
    webhook: Webhook, documents: Callable[..., Data], data: Data
) -> None:
    response = webhook.review(data, documents())
    assert response["allowed"] is True
    left = "documents: NO DOCUMENT IS LEFT: agents keep the last good, a new pod starts without any configuration"
    assert response["warnings"] == [f"{left} — to end experiments write status: ended"]


def test_documents_without_the_last_experiment_are_denied_as_agents_would_refuse_them(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    response = webhook.review({"placements.yaml": documents()["placements.yaml"]}, documents())
    assert [one["reason"] for one in response["status"]["details"]["causes"]] == ["NO_EXPERIMENT"]
    assert sum("ran and is gone" in warning for warning in response["warnings"]) == 5  # of files that are gone too


def test_deleting_either_is_allowed_with_a_loud_warning(webhook: Webhook, documents: Callable[..., Data]) -> None:
    gone = webhook.review(None, documents())
    assert gone["allowed"] is True
    assert "WITHOUT THIS CONFIGMAP a new pod starts without any configuration" in gone["warnings"][0]
    lifted = webhook.review(None, {"pdp-reranker": "carts broken", "all": ""}, name="abside-paused")
    assert lifted["allowed"] is True
    assert "NOTHING IS PAUSED; the pauses that go with it: all, pdp-reranker" in lifted["warnings"][0]


def test_all_paused_is_warned_of(webhook: Webhook) -> None:
    response = webhook.review({"all": "fire"}, {}, name="abside-paused")
    assert response["allowed"] is True
    assert response["warnings"] == ["abside-paused: the key all pauses EVERY experiment — delete the key to resume"]


def test_what_is_not_ours_passes_untouched(webhook: Webhook) -> None:
    bad = {"pdp.yaml": "experiments: ["}
    assert webhook.review(bad, {}, name="kube-root-ca.crt") == ALLOWED
    assert webhook.review(bad, {}, kind={"group": "", "version": "v1", "kind": "Secret"}) == ALLOWED


def test_keys_no_agent_reads_are_warned_of_and_binary_keys_are_documents(
    webhook: Webhook, documents: Callable[..., Data]
) -> None:
    response = webhook.review(documents() | {"pdp.yml": "experiments: ["}, documents())
    assert response["allowed"] is True
    assert response["warnings"] == [
        "abside-experiments: no agent reads pdp.yml — give the key a name that ends in .yaml"
    ]
    binary = {"metadata": {"name": "abside-experiments"}, "binaryData": {"bad.yaml": "ZXhwZXJpbWVudHM6IFs="}}
    denied = webhook.review({}, documents(), object=binary)
    assert [one["field"] for one in denied["status"]["details"]["causes"]] == ["bad.yaml:1"]


def test_of_several_config_maps_what_another_may_declare_is_only_warned_of(
    start: Callable[..., Webhook], documents: Callable[..., Data]
) -> None:
    patience = ("--check-seconds", "25", "--check-cpu-seconds", "25")
    webhook = start("--configmap", "abside-experiments", "--configmap", "ground", *patience)
    alone = {"pdp.yaml": documents()["pdp.yaml"]}
    response = webhook.review(alone)
    assert response["allowed"] is True
    assert any("unless another ConfigMap does" in warning for warning in response["warnings"])
    refused = webhook.review({"pdp.yaml": documents(SPLIT)["pdp.yaml"]}, alone)
    assert [one["reason"] for one in refused["status"]["details"]["causes"]] == ["NEEDS_PHASE"]
    assert webhook.review({"placements.yaml": documents()["placements.yaml"]}, name="ground")["allowed"] is True
    assert webhook.review({"cart.yaml": "experiments: ["}, alone)["allowed"] is False


def test_what_cannot_be_checked_in_time_or_memory_is_allowed_with_a_warning(
    start: Callable[..., Webhook], documents: Callable[..., Data]
) -> None:
    long = "experiments:\n" + "".join(f"  e{number}: {{status: running}}\n" for number in range(10_000))  # some 50 MiB
    for limits, data, why in (
        (("--check-seconds", "0.01"), documents(TYPO), "it took longer than 0.01 s"),
        (("--check-memory", "32MiB"), {"long.yaml": long}, "it needed more than 32 MiB"),
    ):
        limited = start(*limits)
        response = limited.review(data)
        assert response["allowed"] is True, (limits, response)
        assert "NOT CHECKED, allowed as it is" in response["warnings"][0]
        counted = limited.metrics()
        outcomes = [counted[f'abside_admission_reviews_total{{outcome="{one}"}}'] for one in OUTCOMES]
        assert (outcomes, counted["abside_admission_not_checked_total"]) == ([0, 1, 0], 1)
        assert why in response["warnings"][0]


def test_more_problems_than_a_person_reads_are_counted(webhook: Webhook) -> None:
    many = "experiments:\n" + "".join(f"  e{number}: {{status: running}}\n" for number in range(300))
    response = webhook.review({"many.yaml": many})
    assert len(response["status"]["details"]["causes"]) == 100
    assert "more problems are not shown here" in response["warnings"][-1]
