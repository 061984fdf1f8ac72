"""What a pod gets: the template of the Deployment that `components/sidecar` filled in. Pure.

Shape: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeAlias

PodPart: TypeAlias = "dict[str, Any]"  # a container, a volume or a mount, as Kubernetes has it

LABEL = "abside.dev/sidecar"
ENABLED = "enabled"
AGENT, SIDECAR = "abside-agent", "abside-sidecar"
OUR_LABELS = "abside.dev/"  # all other labels of the template are those of its own Deployment
NOT_FOR_PODS = ("kubectl.kubernetes.io/", "deployment.kubernetes.io/")  # annotations about that Deployment
LISTENS = frozenset({"ABSIDE_LISTEN", "ABSIDE_ADMIN"})
DEFAULT_GRACE_SECONDS = 30  # Kubernetes' own


@dataclass(frozen=True, slots=True)
class SidecarTemplate:
    """Both containers and what belongs to them. `mounts` are for the app's first container."""

    containers: tuple[PodPart, ...]
    volumes: tuple[PodPart, ...]
    mounts: tuple[PodPart, ...]
    labels: dict[str, str]
    annotations: dict[str, str]
    grace_seconds: int
    fs_group: int | None
    ports: frozenset[int]  # on which both listen

    @property
    def image(self) -> str:
        """The sidecar's image, for the log."""
        return next(str(one.get("image")) for one in self.containers if one["name"] == SIDECAR)


class TemplateUnusableError(Exception):
    """A Deployment whose template has no agent and no sidecar to inject."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return self.why


def template_of(deployment: PodPart) -> SidecarTemplate:
    """Read a Deployment as the API returns it. Raises TemplateUnusableError."""
    template = _part(_part(deployment, "spec"), "template")
    metadata, spec = _part(template, "metadata"), _part(template, "spec")
    containers = _parts(spec, "initContainers")
    names = [one.get("name") for one in containers]
    if names[:2] != [AGENT, SIDECAR]:
        raise TemplateUnusableError(f"its initContainers do not begin with {AGENT} and {SIDECAR}")
    apps = _parts(spec, "containers")
    grace = spec.get("terminationGracePeriodSeconds")
    group = _part(spec, "securityContext").get("fsGroup")
    return SidecarTemplate(
        tuple(containers),
        tuple(_parts(spec, "volumes")),
        tuple(_parts(apps[0], "volumeMounts")) if apps else (),
        {name: value for name, value in _part(metadata, "labels").items() if name.startswith(OUR_LABELS)},
        {name: value for name, value in _part(metadata, "annotations").items() if not name.startswith(NOT_FOR_PODS)},
        grace if isinstance(grace, int) else DEFAULT_GRACE_SECONDS,
        group if isinstance(group, int) else None,
        frozenset(_ports(containers)),
    )


def _ports(containers: list[PodPart]) -> set[int]:
    """Return the ports that are declared, and those of addresses that are set."""
    declared = {port.get("containerPort") for one in containers for port in _parts(one, "ports")}
    addresses = [
        str(variable.get("value", ""))
        for one in containers
        for variable in _parts(one, "env")
        if variable.get("name") in LISTENS
    ]
    written = {int(port) for address in addresses for port in re.findall(r":(\d+)(?=\s|$)", address)}
    return written | {port for port in declared if isinstance(port, int)}


def _part(parent: PodPart, name: str) -> PodPart:
    found = parent.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise TemplateUnusableError(f"its {name} is no object")
    return found


def _parts(parent: PodPart, name: str) -> list[PodPart]:
    found = parent.get(name)
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TemplateUnusableError(f"its {name} is no list of objects")
    return found
