"""The webhook's manifests: whom it asks, what it is sent, and that the times and names agree with the process."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from abside_agent.admission.injection.obstacles import OURS, PART_OF, SYSTEM
from abside_agent.admission.injection.template import ENABLED, LABEL, template_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.k8s.conftest import Object, Rendered, Role


@pytest.fixture
def admission(render: Callable[[str], Rendered]) -> Rendered:
    return render("admission")


@pytest.fixture
def role(admission: Rendered) -> Role:
    return admission.role("experiment-admission", "abside-admission")


def webhooks_of(rendered: Rendered) -> dict[str, dict[str, Any]]:
    """Return the webhooks by what they check: documents and pauses."""
    webhooks = rendered.of("ValidatingWebhookConfiguration")["experiment-admission"]["webhooks"]
    found = {webhook["matchConditions"][0]["name"]: webhook for webhook in webhooks}
    assert list(found) == ["documents", "pauses", "labelled"]  # in the order in which the README's patch counts them
    return found


def injecting(rendered: Rendered) -> dict[str, Any]:
    """Return the webhook that is sent pods."""
    webhook: dict[str, Any]
    (webhook,) = rendered.of("MutatingWebhookConfiguration")["experiment-admission"]["webhooks"]
    return webhook


def test_a_webhook_that_is_away_stops_nobody_and_holds_up_no_pause(admission: Rendered) -> None:
    webhooks = webhooks_of(admission)
    for webhook in webhooks.values():
        assert (webhook["failurePolicy"], webhook["sideEffects"]) == ("Ignore", "None")
    assert webhooks["pauses"]["timeoutSeconds"] == 1


def test_it_asks_the_service_at_a_port_it_has_and_a_path_the_process_serves(admission: Rendered, root: Path) -> None:
    for webhook in (*webhooks_of(admission).values(), injecting(admission)):
        asked = webhook["clientConfig"]["service"]
        service = admission.of("Service")[asked["name"]]
        assert asked["port"] in {port["port"] for port in service["spec"]["ports"]}
        app = (root / "agent" / "abside_agent" / "admission" / "app.py").read_text()
        assert f'"{asked["path"]}"' in app


def test_it_is_sent_the_two_config_maps_that_the_process_knows_and_no_other(
    admission: Rendered, role: Role, render: Callable[[str], Rendered]
) -> None:
    named = {}
    for what in ("documents", "pauses"):
        (condition,) = webhooks_of(admission)[what]["matchConditions"]
        (listed,) = re.findall(r"^request\.name in (\[.+\])$", condition["expression"])
        named[what] = json.loads(listed)
    documents, pauses = role.value("ABSIDE_CONFIGMAP"), role.value("ABSIDE_PAUSED_CONFIGMAP")
    assert named == {"documents": [*documents], "pauses": [pauses]}
    assert {*documents, pauses} == render("experiments").of("ConfigMap").keys()


def test_the_process_answers_before_the_webhook_times_out_and_before_its_pod_is_killed(
    admission: Rendered, role: Role
) -> None:
    check_seconds = role.value("ABSIDE_CHECK_SECONDS")
    assert check_seconds + 2 <= webhooks_of(admission)["documents"]["timeoutSeconds"]
    grace = role.workload.pod["terminationGracePeriodSeconds"]
    assert grace >= role.value("ABSIDE_LINGER_SECONDS") + check_seconds + 5


def test_it_may_read_the_documents_by_name_and_nothing_else_and_a_pause_has_its_answer_in_time(
    admission: Rendered, role: Role
) -> None:
    binding = admission.of("RoleBinding")["experiment-admission-reader"]
    for one in admission.of("RoleBinding").values():
        (subject,) = one["subjects"]
        assert (subject["kind"], subject["name"]) == ("ServiceAccount", role.workload.pod["serviceAccountName"])
    (rule,) = admission.of("ClusterRole")[binding["roleRef"]["name"]]["rules"]
    names = [*role.value("ABSIDE_CONFIGMAP")]
    assert rule == {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": names, "verbs": ["list"]}
    assert role.value("ABSIDE_PAUSE_SECONDS") <= webhooks_of(admission)["pauses"]["timeoutSeconds"] - 0.3
    (mount,) = (one for one in role.container["volumeMounts"] if one["name"] == "abside-api-token")
    assert mount["mountPath"] == role.value("ABSIDE_CLUSTER_CREDENTIALS")


def test_its_memory_holds_itself_and_the_child_that_checks(role: Role) -> None:
    process = 50 * 2**20
    limit = role.container["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert role.value("ABSIDE_CHECK_MEMORY") + process <= int(limit.removesuffix("Mi")) * 2**20


def test_an_overlays_namespace_reaches_the_address_it_asks(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    rendered = overlay([existing("recs", labels={})], resources=["admission"], namespace="experiments")
    for webhook in (*webhooks_of(rendered).values(), injecting(rendered)):
        assert webhook["clientConfig"]["service"]["namespace"] == "experiments"
    for binding in rendered.of("RoleBinding").values():
        assert [one["namespace"] for one in binding["subjects"]] == ["experiments"]


def test_pods_are_sent_at_creation_alone_and_no_pod_waits_long_or_is_refused(admission: Rendered, role: Role) -> None:
    webhook = injecting(admission)
    (rule,) = webhook["rules"]
    assert (rule["resources"], rule["operations"]) == (["pods"], ["CREATE"])
    assert (webhook["failurePolicy"], webhook["sideEffects"]) == ("Ignore", "None")
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert role.value("ABSIDE_INJECT_SECONDS") + 1 <= webhook["timeoutSeconds"] <= 2


def test_only_labelled_pods_are_sent_none_of_ours_and_none_of_the_cluster(admission: Rendered) -> None:
    webhook = injecting(admission)
    assert webhook["objectSelector"]["matchExpressions"] == [
        {"key": LABEL, "operator": "In", "values": [ENABLED]},
        {"key": PART_OF, "operator": "NotIn", "values": [OURS]},
    ]
    assert webhook["namespaceSelector"]["matchExpressions"] == [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [SYSTEM]}
    ]
    for workload in admission.workloads:
        assert workload.template["metadata"]["labels"][PART_OF] == OURS


def test_it_reads_the_template_that_the_component_filled_in_and_that_never_runs(
    admission: Rendered, role: Role
) -> None:
    name = role.value("ABSIDE_TEMPLATE")
    (rule,) = admission.of("Role")["experiment-admission-template"]["rules"]
    assert rule == {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": [name], "verbs": ["list"]}
    deployment = admission.of("Deployment")[name]
    assert deployment["spec"]["replicas"] == 0
    assert template_of(deployment).grace_seconds == 60
    (volume,) = (one for one in role.workload.pod["volumes"] if one["name"] == "abside-api-token")
    paths = [
        item["path"] for one in volume["projected"]["sources"] for item in next(iter(one.values())).get("items", [])
    ]
    assert "namespace" in paths  # whose Deployment it is
