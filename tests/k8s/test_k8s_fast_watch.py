"""The component that lets the agent watch the pauses by the API: who may read what, with which token, from where."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from abside_agent.settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.k8s.conftest import Object, Rendered, Workload

LABEL = {"abside.dev/sidecar": "enabled"}
TOKEN_SECONDS = 600  # the least an API server grants


def readers(rendered: Rendered) -> list[Object]:
    """Give whom the Role is bound to."""
    binding = rendered.of("RoleBinding")["abside-paused-reader"]
    assert binding["roleRef"]["name"] == "abside-paused-reader"
    subjects: list[Object] = binding["subjects"]
    return subjects


def volume_of_token(workload: Workload) -> str:
    """Give the name of the one volume that holds a token."""
    (name,) = (
        name
        for name, volume in workload.volumes.items()
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
    )
    return name


def test_the_role_allows_to_list_and_watch_the_pauses_and_nothing_else(everything: Rendered) -> None:
    (rule,) = everything.of("Role")["abside-paused-reader"]["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["abside-paused"],
        "verbs": ["list", "watch"],
    }


def test_what_is_watched_is_what_the_paused_directory_mounts_and_the_role_allows(everything: Rendered) -> None:
    recs = everything.role("rec-service", "abside-agent")
    name = recs.variables["ABSIDE_FAST_WATCH"]
    mounted = recs.workload.volumes[recs.mount_of(recs.variables["ABSIDE_PAUSED"])["name"]]
    assert mounted["configMap"]["name"] == name
    assert everything.of("Role")["abside-paused-reader"]["rules"][0]["resourceNames"] == [name]


def test_it_is_one_service_account_of_the_overlays_namespace_that_may_read_and_no_group_of_them(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    rendered = overlay([existing("recs", labels=LABEL)], "sidecar", "fast-watch", namespace="shop")
    assert rendered.workload("recs").object["metadata"]["namespace"] == "shop"
    for kind in ("Role", "RoleBinding"):
        assert rendered.of(kind)["abside-paused-reader"]["metadata"]["namespace"] == "shop"
    assert readers(rendered) == [{"kind": "ServiceAccount", "name": "default", "namespace": "shop"}]


def test_a_workload_with_an_account_of_its_own_is_let_in_by_a_patch(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], root: Any
) -> None:
    readme = (root / "k8s" / "README.md").read_text()
    (patch,) = re.findall(r"patch: '(.+/subjects/0.+)'", readme)
    patches = [{"target": {"kind": "RoleBinding", "name": "abside-paused-reader"}, "patch": patch}]
    recs = existing("recs", labels=LABEL, serviceAccountName="recs")
    rendered = overlay([recs], "sidecar", "fast-watch", patches=patches, namespace="shop")
    assert readers(rendered) == [{"kind": "ServiceAccount", "name": "recs", "namespace": "shop"}]


def test_the_token_is_the_agents_alone_and_lasts_an_hour(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    rendered = overlay([existing("recs", labels=LABEL)], "sidecar", "fast-watch")
    recs = rendered.workload("recs")
    name = volume_of_token(recs)
    assert [
        one["name"] for one in recs.containers if name in [mount["name"] for mount in one.get("volumeMounts", [])]
    ] == ["abside-agent"]
    (mount,) = (one for one in recs.container("abside-agent")["volumeMounts"] if one["name"] == name)
    assert mount["mountPath"] == AgentSettings((), "").cluster_credentials
    assert mount["readOnly"] is True
    sources = recs.volumes[name]["projected"]["sources"]
    (token,) = (source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source)
    assert TOKEN_SECONDS <= token["expirationSeconds"] <= 3600
    files = {token["path"]} | {
        item["path"] for source in sources for part in source.values() for item in part.get("items", [])
    }
    assert files == {"token", "ca.crt", "namespace"}, json.dumps(sources)


def test_without_the_component_no_pod_has_a_token(
    overlay: Callable[..., Rendered], existing: Callable[..., Object]
) -> None:
    recs = overlay([existing("recs", labels=LABEL)], "sidecar").workload("recs")
    assert "serviceAccountToken" not in json.dumps(recs.object)
    assert "ABSIDE_FAST_WATCH" not in recs.variables("abside-agent")
