"""The components that let the agent watch by the API: who may read what, with which token, from where."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml  # noqa: TID251 a patch in the README is Kubernetes' YAML, not a PM's

from abside_agent.settings import AgentSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.k8s.conftest import Object, Rendered, Workload

LABEL = {"abside.dev/sidecar": "enabled"}
TOKEN_SECONDS = 600  # the least an API server grants


@dataclass(frozen=True, slots=True)
class Watch:
    """A component, the ConfigMap it has watched, and where that is named and mounted."""

    component: str
    config_map: str
    variable: str
    directory: str

    @property
    def role(self) -> str:
        return f"{self.config_map}-reader"

    def readers(self, rendered: Rendered) -> list[Object]:
        """Return the subjects that the Role is bound to."""
        binding = rendered.of("RoleBinding")[self.role]
        assert binding["roleRef"]["name"] == self.role
        subjects: list[Object] = binding["subjects"]
        return subjects


PAUSES = Watch("fast-watch", "abside-paused", "ABSIDE_FAST_WATCH", "ABSIDE_PAUSED")
EXPERIMENTS = Watch("fast-watch-experiments", "abside-experiments", "ABSIDE_FAST_WATCH_CONFIG", "ABSIDE_CONFIG")
each = pytest.mark.parametrize("watch", [PAUSES, EXPERIMENTS], ids=lambda watch: watch.component)
# what is listed: either component alone, and both in either order
LISTED = [["fast-watch"], ["fast-watch-experiments"]]
LISTED += [["fast-watch", "fast-watch-experiments"], ["fast-watch-experiments", "fast-watch"]]


def config_maps_of(volume: Object) -> list[str]:
    """Return the names of the ConfigMaps a volume shows, in its order."""
    sources = [volume] if "configMap" in volume else volume["projected"]["sources"]
    return [source["configMap"]["name"] for source in sources]


def volume_of_token(workload: Workload) -> str:
    """Return the name of the one volume with a token."""
    (name,) = (
        name
        for name, volume in workload.volumes.items()
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
    )
    return name


@each
def test_the_role_allows_to_list_and_watch_that_config_map_and_nothing_else(everything: Rendered, watch: Watch) -> None:
    (rule,) = everything.of("Role")[watch.role]["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [watch.config_map],
        "verbs": ["list", "watch"],
    }


@each
def test_what_is_watched_is_what_the_directory_mounts_and_the_role_allows(everything: Rendered, watch: Watch) -> None:
    recs = everything.role("rec-service", "abside-agent")
    names = recs.variables[watch.variable].split()
    assert config_maps_of(recs.workload.volumes[recs.mount_of(recs.variables[watch.directory])["name"]]) == names
    assert everything.of("Role")[watch.role]["rules"][0]["resourceNames"] == names


@each
def test_it_is_one_service_account_of_the_overlays_namespace_that_may_read_and_no_group_of_them(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], watch: Watch
) -> None:
    rendered = overlay([existing("recs", labels=LABEL)], "sidecar", watch.component, namespace="shop")
    assert rendered.workload("recs").object["metadata"]["namespace"] == "shop"
    for kind in ("Role", "RoleBinding"):
        assert rendered.of(kind)[watch.role]["metadata"]["namespace"] == "shop"
    assert watch.readers(rendered) == [{"kind": "ServiceAccount", "name": "default", "namespace": "shop"}]


@pytest.mark.parametrize("listed", LISTED, ids="+".join)
def test_a_workload_with_an_account_of_its_own_is_let_in_by_a_patch(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], root: Path, listed: list[str]
) -> None:
    readme = (root / "k8s" / "README.md").read_text()
    ((target, patch),) = re.findall(r"target: (.+reader})\n +patch: '(.+/subjects/0.+)'", readme)
    patches = [{"target": yaml.safe_load(target), "patch": patch}]
    recs = existing("recs", labels=LABEL, serviceAccountName="recs")
    rendered = overlay([recs], "sidecar", *listed, patches=patches, namespace="shop")
    for watch in (PAUSES, EXPERIMENTS):
        if watch.component in listed:
            assert watch.readers(rendered) == [{"kind": "ServiceAccount", "name": "recs", "namespace": "shop"}]


@pytest.mark.parametrize("listed", LISTED, ids="+".join)
def test_the_token_is_the_agents_alone_and_lasts_an_hour(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], listed: list[str]
) -> None:
    rendered = overlay([existing("recs", labels=LABEL)], "sidecar", *listed)
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
    assert not [name for name in recs.variables("abside-agent") if name.startswith("ABSIDE_FAST_WATCH")]


@pytest.mark.parametrize("listed", LISTED, ids="+".join)
def test_each_component_brings_its_own_watch_and_no_other(
    overlay: Callable[..., Rendered], existing: Callable[..., Object], listed: list[str]
) -> None:
    rendered = overlay([existing("recs", labels=LABEL)], "sidecar", *listed)
    recs = rendered.workload("recs")
    agent = recs.container("abside-agent")
    for watch in (PAUSES, EXPERIMENTS):
        is_listed = watch.component in listed
        assert recs.variables("abside-agent").get(watch.variable) == (watch.config_map if is_listed else None)
        assert (watch.role in rendered.of("Role")) == (watch.role in rendered.of("RoleBinding")) == is_listed
    assert agent["resources"]["requests"]["memory"] == "64Mi"
