"""What no schema sees: names, labels and ports that must agree between objects."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.k8s.conftest import Object, Rendered, Workload


def test_every_mount_has_a_volume_and_every_volume_a_mount(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        mounts = [mount for container in workload.containers for mount in container.get("volumeMounts", [])]
        assert {mount["name"] for mount in mounts} == workload.volumes.keys()
        for container in workload.containers:
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(set(paths)) == len(paths)


def test_every_service_finds_its_pods_by_label_and_number(rendered: Rendered) -> None:
    for name, service in rendered.of("Service").items():
        pods = [one for one in rendered.workloads if matches(service["spec"]["selector"], one)]
        assert pods, name
        declared = {port["containerPort"] for pod in pods for one in pod.containers for port in one.get("ports", [])}
        for port in service["spec"]["ports"]:
            assert port["targetPort"] in declared, name
        assert name.startswith("experiment-")  # a Service `abside` would inject ABSIDE_* variables


def test_the_upstream_is_a_service_that_exists_and_speaks_the_scheme(rendered: Rendered) -> None:
    if "experiment-collector" not in rendered.of("Service"):
        return
    collector = rendered.workload("experiment-collector")
    speaks_tls = "ABSIDE_TLS_CERT" in collector.variables("abside-collector")
    probe = collector.container("abside-collector")["livenessProbe"]["httpGet"]
    assert (probe.get("scheme") == "HTTPS") == speaks_tls
    asks_token = "ABSIDE_TOKEN_FILE" in collector.variables("abside-collector")
    for role in rendered.roles:
        if role.container["args"] != ["sidecar"]:
            continue
        upstream = urlsplit(role.variables["ABSIDE_UPSTREAM"])
        service = rendered.of("Service")[str(upstream.hostname)]
        assert upstream.port in {port["port"] for port in service["spec"]["ports"]}
        assert upstream.scheme == ("https" if speaks_tls else "http")
        assert ("SSL_CERT_FILE" in role.variables) == speaks_tls
        assert ("ABSIDE_UPSTREAM_TOKEN_FILE" in role.variables) == asks_token


def test_what_ships_to_the_collector_and_what_scrapes_it_is_let_in_by_its_network_policy(
    rendered: Rendered, render: Callable[[str], Rendered]
) -> None:
    policies = rendered.of("NetworkPolicy")
    policies.pop("abside-admin", None)  # not for one workload and its ports: see test_k8s_admin_policy.py
    for name, policy in policies.items():
        (owner,) = (one for one in rendered.workloads if matches(policy["spec"]["podSelector"]["matchLabels"], one))
        declared = {port["containerPort"] for one in owner.containers for port in one.get("ports", [])}
        assert {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]} <= declared, name
    if "experiment-collector" in policies:
        senders, scrapers = policies["experiment-collector"]["spec"]["ingress"]
        (sender,) = senders["from"]
        assert sender == {"podSelector": {"matchExpressions": [{"key": "abside.dev/sidecar", "operator": "Exists"}]}}
        admitted = render("components/admin-policy").of("NetworkPolicy")["abside-admin"]["spec"]["ingress"][-1]["from"]
        assert all(one in admitted for one in scrapers["from"])
    for role in rendered.roles:
        if role.container["args"] == ["sidecar"]:
            assert "abside.dev/sidecar" in role.workload.template["metadata"]["labels"]


def test_selectors_match_their_own_templates(rendered: Rendered) -> None:
    for workload in (one for one in rendered.workloads if not one.is_job):
        assert matches(workload.object["spec"]["selector"]["matchLabels"], workload)
        if workload.object["kind"] == "StatefulSet":
            headless = rendered.of("Service")[workload.object["spec"]["serviceName"]]["spec"]
            assert (headless["clusterIP"], headless["publishNotReadyAddresses"]) == ("None", True)
            assert matches(headless["selector"], workload)
    for name, budget in rendered.of("PodDisruptionBudget").items():
        assert any(matches(budget["spec"]["selector"]["matchLabels"], one) for one in rendered.workloads), name


MONITORED = {  # by the monitor: where one of its pods is, and the setting that has the address
    "abside": ("overlays/example", "rec-service", "ABSIDE_ADMIN"),
    "abside-gateway": ("gateway", "experiment-gateway", "ABSIDE_ADMIN"),
    "abside-collector": ("collector", "experiment-collector", "ABSIDE_LISTEN"),
    "abside-collector-kafka": ("collector-kafka", "experiment-collector-kafka", "ABSIDE_LISTEN"),
    "abside-admission": ("admission", "experiment-admission", "ABSIDE_LISTEN"),
}


def test_every_monitor_finds_its_pods_where_they_listen(render: Callable[[str], Rendered]) -> None:
    monitors = render("components/podmonitor").of("PodMonitor")
    assert monitors.keys() == MONITORED.keys()
    for name, (folder, workload, setting) in MONITORED.items():
        roles = [
            one
            for one in render(folder).roles
            if matches(monitors[name]["spec"]["selector"]["matchLabels"], one.workload)
        ]
        (role,) = [one for one in roles if setting in one.variables]
        assert role.workload.object["metadata"]["name"] == workload
        (endpoint,) = monitors[name]["spec"]["podMetricsEndpoints"]
        assert named_port(role.container, endpoint["port"]) == role.port(setting)
        assert endpoint.get("scheme", "http") == ("https" if "ABSIDE_TLS_CERT" in role.variables else "http")


def test_a_collector_with_tls_is_scraped_with_tls(everything: Rendered) -> None:
    (endpoint,) = everything.of("PodMonitor")["abside-collector"]["spec"]["podMetricsEndpoints"]
    assert endpoint["scheme"] == "https"
    assert "ABSIDE_TLS_CERT" in everything.workload("experiment-collector").variables("abside-collector")


def named_port(container: Object, name: str) -> int:
    """Return the one port of a container that has a name."""
    (port,) = (one["containerPort"] for one in container["ports"] if one.get("name") == name)
    return int(port)


def test_the_role_names_the_config_maps_that_are_there_and_no_more_may_be_done_to_them(rendered: Rendered) -> None:
    for name, role in rendered.of("Role").items():
        (rule,) = role["rules"]
        if rule["resources"] == ["deployments"]:  # the webhook's: what it injects
            assert (set(rule["resourceNames"]), rule["verbs"]) == ({"experiment-sidecar"}, ["list"])
            assert "experiment-sidecar" in rendered.of("Deployment")
            continue
        assert rule["resources"] == ["configmaps"]
        is_alone = rendered.folder.startswith("components/")  # a component by itself: the ConfigMap is elsewhere
        assert is_alone or set(rule["resourceNames"]) <= rendered.of("ConfigMap").keys(), name
        assert not {"create", "delete", "deletecollection", "*"} & set(rule["verbs"])
    for binding in rendered.of("RoleBinding").values():
        assert binding["roleRef"]["name"] in rendered.of(binding["roleRef"]["kind"])


def test_every_document_is_in_the_config_map_as_it_was_written(render: Callable[[str], Rendered], root: Path) -> None:
    config = root / "k8s" / "experiments" / "config"
    (name,) = (name for name in render("experiments").of("ConfigMap") if name != "abside-paused")
    data = render("experiments").of("ConfigMap")[name]["data"]
    assert name == "abside-experiments"  # no hash: pods follow the name
    assert data == {path.name: path.read_text() for path in config.iterdir()}
    assert sum(len(text.encode()) for text in data.values()) < 1_048_576


def test_applying_the_pauses_lifts_none(render: Callable[[str], Rendered]) -> None:
    assert "data" not in render("experiments").of("ConfigMap")["abside-paused"]


@pytest.mark.parametrize("name", ["abside-experiments", "abside-paused"])
def test_a_pod_follows_the_names_that_experiments_gives(render: Callable[[str], Rendered], name: str) -> None:
    example = render("overlays/example")
    assert name in example.of("ConfigMap")
    assert name in example.workload("rec-service").volumes


def matches(selector: dict[str, str], workload: Workload) -> bool:
    labels: dict[str, str] = workload.template["metadata"]["labels"]
    return selector.items() <= labels.items()
