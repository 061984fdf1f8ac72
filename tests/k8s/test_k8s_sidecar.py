"""The component beside workloads that were there before: what it adds, leaves alone, and when it adds nothing."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import pytest

from abside.client.local import SNAPSHOT, SPOOL
from abside.kafka import parse_address
from abside.upstream.choose import check_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.k8s.conftest import Object, Rendered, Workload

LABEL = {"abside.dev/sidecar": "enabled"}
SIDECARS = ["abside-agent", "abside-sidecar"]
PRODUCT = [
    "sidecar",
    "fast-watch",
    "fast-watch-experiments",
    "upstream-token",
    "upstream-tls",
    "upstream-kafka",
    "podmonitor",
]

KAFKA_MOUNT = {"name": "abside-upstream-kafka", "mountPath": "/etc/abside/upstream-kafka", "readOnly": True}


class NothingPatchedError(AssertionError):
    """A rendering in which nobody got a sidecar: the label is on no workload, or the component is not listed."""


def sidecars_of(rendered: Rendered) -> list[Workload]:
    """Return the workloads that carry the label, each with both containers first. Raises NothingPatchedError."""
    labelled = [one for one in rendered.workloads if one.labels.get("abside.dev/sidecar") == "enabled"]
    bare = [one.name for one in labelled if [c["name"] for c in one.containers][:2] != SIDECARS]
    if not labelled or bare:
        raise NothingPatchedError(f"{rendered.folder}: {bare or 'no workload carries the label'}")
    return labelled


def without_ours(workload: Workload) -> Object:
    """Take away what the component added."""
    rest = copy.deepcopy(workload.object)
    spec = rest["spec"]["template"]["spec"]
    del rest["spec"]["template"]["metadata"]["labels"]["abside.dev/sidecar"]
    del rest["spec"]["template"]["metadata"]["annotations"]  # see elsewhere/test_k8s_elsewhere.py
    spec["initContainers"] = [one for one in spec["initContainers"] if not one["name"].startswith("abside-")]
    spec["volumes"] = [one for one in spec["volumes"] if not one["name"].startswith("abside-")]
    return rest


@pytest.mark.parametrize("folder", ["overlays/example", "overlays/dev"])
def test_every_labelled_workload_of_the_overlays_has_agent_and_sidecar(
    render: Callable[[str], Rendered], folder: str
) -> None:
    assert [one.name for one in sidecars_of(render(folder))] == ["Deployment/rec-service"]


@pytest.mark.parametrize("labels", [{}, {"abside.dev/sidecar": "enable"}, {"abside.dev/sidecars": "enabled"}])
def test_a_rendering_that_patched_nothing_is_found_out(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], labels: dict[str, str]
) -> None:
    rendered = overlay([existing("recs", labels=labels)], "sidecar")  # kustomize itself reports nothing
    with pytest.raises(NothingPatchedError):
        sidecars_of(rendered)


def test_a_label_without_the_component_is_found_out(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    with pytest.raises(NothingPatchedError, match="Deployment/recs"):
        sidecars_of(overlay([existing("recs", labels=LABEL)]))


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_an_existing_workload_keeps_all_it_had(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], kind: str
) -> None:
    before = existing("recs", kind=kind, labels=LABEL)
    (after,) = sidecars_of(overlay([before], "sidecar"))
    rest = without_ours(after)
    assert rest["spec"]["template"]["spec"].pop("terminationGracePeriodSeconds") == 60
    assert rest == before


@pytest.mark.parametrize("count", range(1, len(PRODUCT) + 1))
def test_agent_then_sidecar_then_the_apps_own_init_containers(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], count: int
) -> None:
    (after,) = sidecars_of(overlay([existing("recs", labels=LABEL)], *PRODUCT[:count]))
    assert [one["name"] for one in after.containers] == [*SIDECARS, "fetch-models", "recs"]
    assert [one.get("restartPolicy") for one in after.containers] == ["Always", "Always", None, None]


def test_a_workload_without_the_label_is_left_alone(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    checkout = existing("checkout", labels={"app": "checkout"}, terminationGracePeriodSeconds=10)
    rendered = overlay([existing("recs", labels=LABEL), checkout], *PRODUCT)
    assert rendered.workload("checkout").object == checkout


def test_a_pod_that_takes_longer_to_end_keeps_its_time_by_a_label(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    own = {**LABEL, "abside.dev/grace-period": "own"}
    (after,) = sidecars_of(overlay([existing("recs", labels=own, terminationGracePeriodSeconds=300)], "sidecar"))
    assert after.pod["terminationGracePeriodSeconds"] == 300


def test_a_patch_of_ones_own_changes_one_setting_and_keeps_the_order(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    url = {"name": "ABSIDE_UPSTREAM", "value": "https://events.example.internal"}
    both = [{"name": "abside-agent"}, {"name": "abside-sidecar", "env": [url]}]
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "any"},
        "spec": {"template": {"spec": {"initContainers": both}}},
    }
    target = {"labelSelector": "abside.dev/sidecar=enabled"}
    lines = [{"patch": json.dumps(patch), "target": target}]
    (after,) = sidecars_of(overlay([existing("recs", labels=LABEL)], "sidecar", patches=lines))
    variables = after.variables("abside-sidecar")
    assert variables["ABSIDE_UPSTREAM"] == "https://events.example.internal"
    assert variables["ABSIDE_SPOOL"] == "/var/spool/abside"


def test_a_name_prefix_reaches_volumes_and_the_role_but_no_variable(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    rendered = overlay(
        [existing("recs", labels=LABEL)], "sidecar", resources=["experiments", "collector"], namePrefix="blue-"
    )
    recs = rendered.workload("blue-recs")
    assert recs.volumes["abside-paused"]["configMap"]["name"] == "blue-abside-paused"
    assert set(rendered.of("ConfigMap")) == {"blue-abside-experiments", "blue-abside-paused"}
    (role,) = rendered.of("Role").values()
    assert role["rules"][0]["resourceNames"] == ["blue-abside-experiments", "blue-abside-paused"]
    # This is why the README recommends a namespace and not a prefix.
    assert recs.variables("abside-sidecar")["ABSIDE_UPSTREAM"] == "http://experiment-collector:7700"
    assert "experiment-collector" not in rendered.of("Service")


def settings_of(container: Object) -> dict[str, str]:
    return {one["name"]: one.get("value", "") for one in container["env"]}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_a_sidecar_sends_to_kafka_with_properties_from_one_key_of_a_secret(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], kind: str
) -> None:
    rendered = overlay([existing("recs", kind=kind, labels=LABEL)], "sidecar", "upstream-kafka")
    (workload,) = (one for one in rendered.workloads if one.labels.get("abside.dev/sidecar") == "enabled")
    agent, sidecar = workload.containers[:2]
    assert (agent["name"], sidecar["name"]) == ("abside-agent", "abside-sidecar")
    set_here = settings_of(sidecar)
    check_url(set_here["ABSIDE_UPSTREAM"])
    assert parse_address(set_here["ABSIDE_UPSTREAM"]).topic == "abside-events"
    assert set_here["ABSIDE_KAFKA_CONFIG"] == "/etc/abside/upstream-kafka/kafka.properties"
    assert KAFKA_MOUNT in sidecar["volumeMounts"]
    assert KAFKA_MOUNT not in agent["volumeMounts"]
    secret = workload.volumes["abside-upstream-kafka"]["secret"]
    assert secret == {
        "secretName": "abside-upstream-kafka",
        "items": [{"key": "kafka.properties", "path": "kafka.properties"}],
    }


def test_an_app_that_decides_itself_reads_the_snapshot_and_shares_the_spools_group(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    recs = existing("recs", labels=LABEL)
    app = recs["spec"]["template"]["spec"]["containers"][0]
    app["volumeMounts"] = app.get("volumeMounts", [])
    spec = overlay([recs], "sidecar", "local").workload("recs").object["spec"]["template"]["spec"]
    sidecar = next(one for one in spec["initContainers"] if one["name"] == "abside-sidecar")
    of_app = {one["name"]: one for one in spec["containers"][0]["volumeMounts"]}
    of_sidecar = {one["name"]: one for one in sidecar["volumeMounts"]}
    assert of_app["abside-snapshot"] == of_sidecar["abside-snapshot"]
    assert of_app["abside-spool"] == of_sidecar["abside-spool"]
    assert spec["securityContext"]["fsGroup"] == sidecar["securityContext"]["runAsGroup"]


def test_the_clients_own_paths_are_the_manifests(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    spec = overlay([existing("recs", labels=LABEL)], "sidecar").workload("recs").object["spec"]["template"]["spec"]
    sidecar = next(one for one in spec["initContainers"] if one["name"] == "abside-sidecar")
    variables = {one["name"]: one.get("value") for one in sidecar["env"]}
    assert (variables["ABSIDE_SNAPSHOT"], variables["ABSIDE_SPOOL"]) == (SNAPSHOT, SPOOL)
