"""What a manifest sets, against the settings of the command it runs: variables, paths, sizes, probes and times."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from abside import __version__
from abside.environ import size
from abside.spool.settings import DEAD_LIMIT_BYTES, MAX_OPEN_BYTES, SEAL_BYTES, SEAL_GROWTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.k8s.conftest import Object, Rendered

UNITS = {"": 1, "m": 1e-3, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
NEVER_WRITTEN_OUT = {"ABSIDE_POD", "ABSIDE_APP", "ABSIDE_APP_VERSION"}  # the kubelet knows them
NEVER_WRITTEN_OUT |= {"ABSIDE_NAMESPACE", "ABSIDE_CLUSTER"}
WRITES = {"ABSIDE_SPOOL", "ABSIDE_SPOOL_OPEN", "ABSIDE_STORE", "ABSIDE_HTML", "ABSIDE_JSON", "ABSIDE_WORK"}
READS = {"ABSIDE_EVENTS", "ABSIDE_CONFIG", "ABSIDE_PAUSED", "ABSIDE_TOKEN_FILE", "ABSIDE_UPSTREAM_TOKEN_FILE"}
READS |= {"ABSIDE_KAFKA_CONFIG", "ABSIDE_TLS_CERT", "ABSIDE_TLS_KEY", "SSL_CERT_FILE"}
APPS_GRACE_SECONDS = 30  # Kubernetes' default: what a workload had before


def quantity(text: str) -> float:
    """Read a Kubernetes quantity: `100m`, `256Mi`, `2`."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text))
    assert match, text
    return float(match[1]) * UNITS[match[2]]


def test_every_variable_is_a_setting_of_its_command_and_has_a_value_it_takes(rendered: Rendered) -> None:
    for role in rendered.roles:
        for one in role.container["env"]:
            if not one["name"].startswith("ABSIDE_"):
                continue
            setting = role.settings[one["name"]]
            if "value" in one:
                assert setting.flag or setting.read(one["value"]) is not None
                assert not setting.flag or one["value"] in {"true", "false"}
            else:
                assert one["name"] in NEVER_WRITTEN_OUT
        required = {setting.variable for setting in role.settings.values() if setting.required}
        assert required <= role.variables.keys()


def test_events_name_namespace_and_cluster_wherever_a_sidecar_runs(rendered: Rendered) -> None:
    for role in rendered.roles:
        if role.container["args"] == ["sidecar"]:
            given = {one["name"]: one.get("valueFrom") for one in role.container["env"]}
            assert given["ABSIDE_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
            cluster = {"name": "abside-cluster", "key": "name", "optional": True}  # a pod starts without it
            assert given["ABSIDE_CLUSTER"] == {"configMapKeyRef": cluster}


def test_every_path_lies_in_a_mount_of_its_container(rendered: Rendered) -> None:
    for role in rendered.roles:
        for name, path in role.variables.items():
            if name in WRITES | READS and "://" not in path:  # a bucket is no path
                assert role.mount_of(path).get("readOnly", False) == (name in READS), name


def test_agent_and_sidecar_meet_in_one_snapshot(rendered: Rendered) -> None:
    for workload in rendered.workloads:
        pair = [
            role
            for role in rendered.roles
            if role.workload == workload and role.container in workload.pod.get("initContainers", [])
        ]
        if not pair:
            continue
        agent, sidecar = pair
        path = agent.variables["ABSIDE_SNAPSHOT"]
        assert sidecar.variables["ABSIDE_SNAPSHOT"] == path
        writes, reads = agent.mount_of(path), sidecar.mount_of(path)
        assert (writes["name"], writes["mountPath"]) == (reads["name"], reads["mountPath"])
        assert (writes.get("readOnly"), reads.get("readOnly")) == (None, True)
        assert workload.volumes[writes["name"]]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Mi"}


def test_the_spools_volume_is_a_quarter_larger_than_its_quota(rendered: Rendered) -> None:
    for role in rendered.roles:
        if role.container["args"] != ["sidecar"]:
            continue
        volume = role.workload.volumes[role.mount_of(role.variables["ABSIDE_SPOOL"])["name"]]
        assert volume["emptyDir"].keys() == {"sizeLimit"}  # on disk
        room, quota = quantity(volume["emptyDir"]["sizeLimit"]), size(role.variables["ABSIDE_SPOOL_LIMIT"])
        assert room >= 1.25 * quota
        assert room >= quota + DEAD_LIMIT_BYTES + MAX_OPEN_BYTES
        assert quantity(role.container["resources"]["requests"]["ephemeral-storage"]) == room


def test_what_is_written_before_an_answer_is_in_memory_that_holds_it_at_worst_and_counts_in_the_limit(
    rendered: Rendered,
) -> None:
    """With a disk that does not answer, one file waits to be sealed and one is written: both may be full."""
    for role in rendered.roles:
        if role.container["args"] != ["sidecar"]:
            continue
        volume = role.workload.volumes[role.mount_of(role.variables["ABSIDE_SPOOL_OPEN"])["name"]]["emptyDir"]
        assert volume["medium"] == "Memory"
        assert quantity(volume["sizeLimit"]) >= 2 * MAX_OPEN_BYTES + SEAL_GROWTH * SEAL_BYTES
        limit = quantity(role.container["resources"]["limits"]["memory"])
        assert limit - quantity(volume["sizeLimit"]) >= quantity("256Mi")


def test_every_request_is_within_its_limit_and_memory_has_one(rendered: Rendered) -> None:
    for role in rendered.roles:
        resources = role.container["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys()
        assert resources["limits"].keys() == {"memory"}  # a CPU limit would be throttling
        assert quantity(resources["requests"]["memory"]) <= quantity(resources["limits"]["memory"])


def test_the_agents_memory_holds_itself_and_the_child_that_compiles(render: Callable[[str], Rendered]) -> None:
    agent = render("overlays/example").role("rec-service", "abside-agent")
    idle = 25 * 2**20
    assert agent.value("ABSIDE_COMPILE_MEMORY") + idle <= quantity(agent.container["resources"]["limits"]["memory"])


def test_probes_ask_by_number_a_port_that_is_declared_and_listened_to(rendered: Rendered) -> None:
    for role in rendered.roles:
        (command,) = role.container["args"]
        if command == "agent" or role.workload.is_job:
            assert not any(name.endswith("Probe") for name in role.container)
            continue
        expected = {"sidecar": "ABSIDE_ADMIN"}.get(command, "ABSIDE_LISTEN")
        assert role.variables[expected].startswith("*:")  # the kubelet asks at the pod's address, of IPv4 or IPv6
        declared = {port["containerPort"] for port in role.container["ports"]}
        for name in ("startupProbe", "livenessProbe"):
            asked = role.container[name]["httpGet"]
            assert asked["port"] == role.port(expected)
            assert asked["port"] in declared


def test_the_sidecar_beside_an_app_fails_open_and_never_takes_the_pod_out_of_its_service(
    render: Callable[[str], Rendered],
) -> None:
    sidecar = render("overlays/example").role("rec-service", "abside-sidecar")
    assert "readinessProbe" not in sidecar.container
    assert sidecar.container["startupProbe"]["httpGet"] == {"path": "/startupz", "port": 7601}
    assert sidecar.container["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 7601}
    probe = sidecar.container["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] > 2 * sidecar.value("ABSIDE_STARTUP_SECONDS")
    for name in ("abside-experiments", "abside-paused"):
        volume = sidecar.workload.volumes[name]
        sources = (
            [volume["configMap"]] if "configMap" in volume else [s["configMap"] for s in volume["projected"]["sources"]]
        )
        assert [(one["name"], one["optional"]) for one in sources] == [(name, True)]


def test_decisions_are_answered_on_loopback_and_only_health_and_metrics_elsewhere(
    render: Callable[[str], Rendered],
) -> None:
    recs = render("overlays/example").workload("rec-service")
    variables = recs.variables("abside-sidecar")
    assert (variables["ABSIDE_LISTEN"], variables["ABSIDE_ADMIN"]) == ("127.0.0.1:7600", "*:7601")
    assert recs.container("abside-sidecar")["ports"] == [{"containerPort": 7601, "name": "abside-admin"}]


def test_the_grace_period_holds_the_apps_way_out_and_the_sidecars(rendered: Rendered) -> None:
    for role in rendered.roles:
        if "ABSIDE_DRAIN_SECONDS" not in role.settings:
            continue
        grace, drain = role.workload.pod["terminationGracePeriodSeconds"], role.value("ABSIDE_DRAIN_SECONDS")
        before = APPS_GRACE_SECONDS if role.container in role.workload.pod.get("initContainers", []) else 0
        assert grace >= before + drain + 5, role.workload.name


def test_the_image_is_ours_at_this_version(rendered: Rendered) -> None:
    tag = "dev" if rendered.folder == "overlays/dev" else __version__
    for role in rendered.roles:
        name = "abside-report" if role.container["args"] == ["report"] else "abside"
        assert role.container["image"] == f"{name}:{tag}"


def test_a_component_without_any_overlay_brings_the_same_image(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    rendered = overlay([existing("recs", labels={"abside.dev/sidecar": "enabled"})], "sidecar")
    assert {role.container["image"] for role in rendered.roles} == {f"abside:{__version__}"}
