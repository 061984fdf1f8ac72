"""The manifests as an API server would get them: rendered, with accessors for the parts of a pod template."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # noqa: TID251 what kustomize prints is Kubernetes' YAML, not a PM's

from abside.cli import COMMANDS
from abside.environ import Setting, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
MINE = "mine"  # the overlay that the README has a person make: theirs, and none of these tests'
FOLDERS = sorted(
    path.parent.relative_to(K8S).as_posix() for path in K8S.rglob("kustomization.yaml") if path.parent.name != MINE
)

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Workload:
    """A Deployment, a StatefulSet or a CronJob, and its pod."""

    object: Object

    @property
    def name(self) -> str:
        return f"{self.object['kind']}/{self.object['metadata']['name']}"

    @property
    def is_job(self) -> bool:
        """Whether it ends by itself: no probes, no ports, no selector."""
        return bool(self.object["kind"] == "CronJob")

    @property
    def labels(self) -> dict[str, str]:
        return self.object["metadata"].get("labels") or {}

    @property
    def template(self) -> Object:
        spec = self.object["spec"]
        template: Object = spec["jobTemplate"]["spec"]["template"] if self.is_job else spec["template"]
        return template

    @property
    def pod(self) -> Object:
        spec: Object = self.template["spec"]
        return spec

    @property
    def containers(self) -> list[Object]:
        """All containers, in the order in which they start."""
        return [*self.pod.get("initContainers", []), *self.pod["containers"]]

    @property
    def ours(self) -> list[Object]:
        """The containers that run our image in one of its roles."""
        return [one for one in self.containers if one["name"].startswith("abside-")]

    def container(self, name: str) -> Object:
        (found,) = (one for one in self.containers if one["name"] == name)
        return found

    def variables(self, container: str) -> dict[str, str]:
        """Return the variables the manifest writes out for one container; those the kubelet fills in are left out."""
        return {one["name"]: one["value"] for one in self.container(container).get("env", []) if "value" in one}

    @property
    def volumes(self) -> dict[str, Object]:
        """The pod's volumes by name, those that a StatefulSet claims included."""
        claims = self.object["spec"].get("volumeClaimTemplates", [])
        claimed = {one["metadata"]["name"]: {"persistentVolumeClaim": one["spec"]} for one in claims}
        return claimed | {one["name"]: one for one in self.pod.get("volumes", [])}


@dataclass(frozen=True, slots=True)
class Role:
    """A container of ours, with the settings of the command it runs."""

    workload: Workload
    container: Object

    @property
    def variables(self) -> dict[str, str]:
        return self.workload.variables(self.container["name"])

    @property
    def settings(self) -> dict[str, Setting]:
        (command,) = self.container["args"]
        module, _, record = COMMANDS[command].settings.partition(":")
        return {setting.variable: setting for setting in settings_of(getattr(import_module(module), record))}

    def value(self, variable: str) -> Any:
        """Return a setting as the process will read it."""
        setting = self.settings[variable]
        written = self.variables.get(variable, setting.default)
        return setting.read(written) if isinstance(written, str) else written

    def port(self, variable: str) -> int:
        """Return the port of an address among the variables."""
        return int(self.variables[variable].rpartition(":")[2])

    def mount_of(self, path: str) -> Object:
        """Return the mount that contains a path."""
        inside = [
            m for m in self.container["volumeMounts"] if path == m["mountPath"] or path.startswith(m["mountPath"] + "/")
        ]
        assert inside, f"{self.container['name']}: {path} is in no mount"
        mount: Object = max(inside, key=lambda mount: len(mount["mountPath"]))
        return mount


@dataclass(frozen=True, slots=True)
class Rendered:
    """What one folder renders to."""

    folder: str
    text: str
    objects: tuple[Object, ...]

    def of(self, kind: str) -> dict[str, Object]:
        """Return the objects of one kind by name."""
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] == kind}

    @property
    def workloads(self) -> list[Workload]:
        return [Workload(one) for one in self.objects if one["kind"] in {"Deployment", "StatefulSet", "CronJob"}]

    @property
    def roles(self) -> list[Role]:
        """The containers that run our image."""
        return [Role(workload, container) for workload in self.workloads for container in workload.ours]

    def role(self, workload: str, container: str) -> Role:
        (found,) = (
            role
            for role in self.roles
            if role.workload.object["metadata"]["name"] == workload and role.container["name"] == container
        )
        return found

    def workload(self, name: str) -> Workload:
        (found,) = (one for one in self.workloads if one.object["metadata"]["name"] == name)
        return found


def find_tool(name: str) -> str:
    """Find a tool of tools.txt, or of this machine. Where CI runs its absence is a failure, elsewhere a skip."""
    places = f"{sys.prefix}/k8s/bin{os.pathsep}{os.environ['PATH']}"  # noqa: TID251 it is where tools are found
    found = shutil.which(name, path=places)
    if found is None:
        say = pytest.fail if os.environ.get("CI") == "true" else pytest.skip  # noqa: TID251 CI sets it
        say(f"{name} is not installed: run make tools")
    return found


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    return find_tool


@pytest.fixture(scope="session")
def kustomize() -> list[str]:
    """Return the command that renders a folder: kubectl's own, or the kustomize that `make tools` built."""
    if shutil.which("kubectl"):
        probe = subprocess.run(["kubectl", "kustomize", K8S / "overlays" / "example"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["kubectl", "kustomize"]
    return [find_tool("kustomize"), "build"]


@pytest.fixture(scope="session")
def render(kustomize: list[str]) -> Callable[[Path | str], Rendered]:
    """Return a function that renders a folder below k8s/, or any other directory; each is rendered once."""
    known: dict[Path, Rendered] = {}

    def rendered(folder: Path | str) -> Rendered:
        path = K8S / folder
        if path not in known:
            done = subprocess.run([*kustomize, str(path)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            objects = tuple(one for one in yaml.safe_load_all(done.stdout) if one)
            known[path] = Rendered(str(folder), done.stdout, objects)
        return known[path]

    return rendered


@pytest.fixture
def overlay(tmp_path: Path, render: Callable[[Path | str], Rendered]) -> Callable[..., Rendered]:
    """Return a function that renders a new overlay of objects, components by name, and lines of kustomization."""

    def make(objects: list[Object], *components: str, **lines: Any) -> Rendered:
        (tmp_path / "app.yaml").write_text(yaml.safe_dump_all(objects))
        above = os.path.relpath(K8S, tmp_path)
        resources = [f"{above}/{name}" for name in lines.pop("resources", [])]
        kustomization = {
            "resources": ["app.yaml", *resources],
            "components": [f"{above}/components/{name}" for name in components],
            **lines,
        }
        (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(tmp_path)

    return make


@pytest.fixture
def existing() -> Callable[..., Object]:
    """Return a workload as it was before abside: an init container and a volume of its own, and a longer way out."""

    def make(name: str, *, kind: str = "Deployment", labels: Mapping[str, str], **pod: Any) -> Object:
        mount = {"name": "models", "mountPath": "/models"}
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "labels": dict(labels)},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "initContainers": [{"name": "fetch-models", "image": "recs:1", "volumeMounts": [mount]}],
                        "containers": [{"name": "recs", "image": "recs:1", "volumeMounts": [mount]}],
                        "volumes": [{"name": "models", "emptyDir": {}}],
                        **pod,
                    },
                },
            },
        }

    return make


@pytest.fixture(scope="session")
def everything(
    render: Callable[[Path | str], Rendered],
    tmp_path_factory: pytest.TempPathFactory,
) -> Rendered:
    """Return the example with every component but those that take the place of what others set."""
    folder = tmp_path_factory.mktemp("everything")
    above = os.path.relpath(K8S, folder)
    listed = yaml.safe_load((K8S / "overlays" / "example" / "kustomization.yaml").read_text())["components"]
    listed += [f"../../components/{name}" for name in ("upstream-kafka", "openshift", "guaranteed")]
    others = [name for name in FOLDERS if name.startswith("components/") and f"../../{name}" not in listed]
    kustomization = {
        "resources": [f"{above}/overlays/example"],
        "components": [f"{above}/{name}" for name in others],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return render(folder)


@pytest.fixture(scope="session", params=[*FOLDERS, "everything"])
def rendered(
    request: pytest.FixtureRequest, render: Callable[[Path | str], Rendered], everything: Rendered
) -> Rendered:
    """Return each folder that contains a kustomization, and `everything`."""
    return everything if request.param == "everything" else render(str(request.param))
