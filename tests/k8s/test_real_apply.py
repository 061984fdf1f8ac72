"""The manifests against a real API server: what it refuses, warns of and adds, and who may change what."""

from __future__ import annotations

import copy
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import yaml  # noqa: TID251 what kubectl reads is Kubernetes' YAML, not a PM's

from real_api import PM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.k8s.conftest import Object, Rendered, Workload

    from real_api import RealApi

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
API_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 a path, where Kubernetes mounts it
UNKNOWN_KINDS = {"PodMonitor", "PrometheusRule"}  # known where the Prometheus operator is installed, which installs it
DOCUMENTS = ("-l", "abside.dev/documents=experiments")


@pytest.fixture(scope="module")
def recs(real_api: RealApi) -> RealApi:
    """Return the server, with the namespaces of both overlays, where `restricted` is enforced."""
    for name in ("recs", "abside-dev"):
        real_api.make_namespace(name)
    return real_api


def test_every_folder_is_taken_without_a_warning(recs: RealApi, rendered: Rendered) -> None:
    known = [one for one in rendered.objects if one["kind"] not in UNKNOWN_KINDS]
    if not known:
        assert rendered.folder.startswith("components/")  # it only patches; `everything` contains what it patches
        return
    here = [] if rendered.folder.startswith("overlays/") else ["--namespace", "recs"]
    words = ["apply", "--server-side", "--dry-run=server", *here, "-f", "-"]
    done = recs.kubectl(*words, namespace="none", stdin=as_json({"apiVersion": "v1", "kind": "List", "items": known}))
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(known)


def test_every_pod_is_restricted_and_the_api_token_is_the_agents_alone(
    recs: RealApi, everything: Rendered, render: Callable[[str], Rendered]
) -> None:
    workloads = [*everything.workloads, *render("admission").workloads]
    assert len(workloads) == 5
    for workload in workloads:
        pod = pod_of(workload)
        account = {"metadata": {"name": pod["spec"].get("serviceAccountName", "default")}}
        recs.ask("POST", "/api/v1/namespaces/recs/serviceaccounts", account)  # it may be there already
        pod["spec"].pop("automountServiceAccountToken", None)  # then the server mounts a token wherever it can
        done = recs.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", namespace="recs", stdin=as_json(pod))
        assert done.stderr == ""
        spec = json.loads(done.stdout)["spec"]
        mounted = {
            container["name"]: mount["name"]
            for container in [*spec.get("initContainers", []), *spec["containers"]]
            for mount in container["volumeMounts"]
            if mount["mountPath"] == API_TOKEN
        }
        if "abside-agent" in mounted:
            assert mounted["abside-sidecar"] == "abside-no-token"
            assert mounted["abside-agent"].startswith("abside-")
        if "rec-service" in mounted:
            assert mounted["abside-agent"] == "abside-api-token"
            assert mounted["rec-service"].startswith("kube-api-access-"), "the app keeps what it would have without us"


def pod_of(workload: Workload) -> dict[str, Any]:
    """Return the pod that a controller would make of a workload."""
    spec = copy.deepcopy(workload.pod)
    claims = workload.object["spec"].get("volumeClaimTemplates", [])
    spec["volumes"] = spec.get("volumes", []) + [{"name": one["metadata"]["name"], "emptyDir": {}} for one in claims]
    metadata = {"name": workload.object["metadata"]["name"], "labels": workload.template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def as_json(one: Object) -> str:
    return json.dumps(one)


def test_what_is_not_restricted_would_have_been_refused(recs: RealApi, everything: Rendered) -> None:
    pod = pod_of(everything.workload("rec-service"))
    del pod["spec"]["initContainers"][0]["securityContext"]
    words = ("create", "--dry-run=server", "-f", "-")
    done = recs.kubectl(*words, namespace="recs", stdin=as_json(pod), check=False)
    assert 'violates PodSecurity "restricted:latest"' in done.stderr
    deployment = copy.deepcopy(everything.workload("rec-service").object)
    del deployment["spec"]["template"]["spec"]["initContainers"][0]["securityContext"]
    done = recs.kubectl(*words, namespace="recs", stdin=as_json(deployment), check=False)
    assert "Warning: would violate PodSecurity" in done.stderr


class Overlay:
    """A copy of the manifests with an overlay `mine` of one workload, applied as a person would."""

    def __init__(self, api: RealApi, root: Path, folder: Path, namespace: str, app: Object) -> None:
        self.api = api
        self.namespace = namespace
        self.app = app
        self.k8s = folder / "k8s"
        self.mine = self.k8s / "overlays" / "mine"
        shutil.copytree(root / "k8s", self.k8s, ignore=shutil.ignore_patterns(self.mine.name))
        self.mine.mkdir()
        lines = {"namespace": namespace, "resources": ["app.yaml"], "components": ["../../components/sidecar"]}
        (self.mine / "kustomization.yaml").write_text(yaml.safe_dump(lines))

    def write(self, *, labelled: bool) -> None:
        app = copy.deepcopy(self.app)
        if labelled:
            app["metadata"]["labels"]["abside.dev/sidecar"] = "enabled"
        (self.mine / "app.yaml").write_text(yaml.safe_dump(app))

    def apply(self, *words: str, check: bool = True) -> str:
        command = ("apply", "--server-side", *words, "-k", str(self.mine))
        return self.api.kubectl(*command, namespace=self.namespace, check=check).stderr

    @property
    def spec(self) -> dict[str, Any]:
        done = self.api.kubectl("get", "deployment", "recs", "-o", "json", namespace=self.namespace)
        spec: dict[str, Any] = json.loads(done.stdout)["spec"]
        return spec

    @property
    def init_containers(self) -> list[str]:
        return [one["name"] for one in self.spec["template"]["spec"]["initContainers"]]


@pytest.fixture
def mine(real_api: RealApi, root: Path, tmp_path: Path, existing: Callable[..., Object]) -> Iterator[Overlay]:
    namespace = real_api.make_namespace("mine")
    app = existing("recs", labels={"app": "recs"})
    yield Overlay(real_api, root, tmp_path, namespace, app)
    real_api.kubectl("delete", "deployment", "recs", namespace=namespace)


def test_a_copy_of_the_example_makes_its_namespace_and_applying_it_again_would_change_nothing(
    real_api: RealApi, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "k8s", tmp_path / "k8s")
    mine = shutil.copytree(tmp_path / "k8s" / "overlays" / "example", tmp_path / "k8s" / "overlays" / "shop")
    lines = (mine / "kustomization.yaml").read_text().replace("namespace: recs", "namespace: shop")
    for component in ("fast-watch", "upstream-token", "upstream-tls"):
        lines = lines.replace(f"# - ../../components/{component}", f"- ../../components/{component}")
    (mine / "kustomization.yaml").write_text(lines)
    done = real_api.kubectl("apply", "--server-side", "-k", str(mine), namespace="none")
    assert done.stderr == ""
    assert "rolebinding.rbac.authorization.k8s.io/abside-paused-reader" in done.stdout
    dev = str(root / "k8s" / "overlays" / "dev")
    real_api.kubectl("apply", "--server-side", "-k", dev, namespace="none")
    for folder in (str(mine), dev):
        done = real_api.kubectl("diff", "--server-side", "-k", folder, namespace="none")  # 1 where anything differs
        assert done.stdout == ""


@pytest.mark.parametrize("before", ["kubectl apply", "kubectl create", "kubectl apply --server-side"])
def test_a_workload_that_was_there_gets_the_sidecar_first_and_is_as_it_was_without_the_label(
    mine: Overlay, root: Path, before: str
) -> None:
    words = [*before.split()[1:], "-f", "-"]
    mine.api.kubectl(*words, namespace=mine.namespace, stdin=as_json(mine.app))
    was = mine.spec
    mine.write(labelled=True)
    content = mine.apply(check=False)
    if before != "kubectl apply --server-side":  # who applied it otherwise owns its grace period, if only by default
        assert "Apply failed with 1 conflict" in content
        assert ".spec.template.spec.terminationGracePeriodSeconds" in content
        readme = (root / "k8s" / "README.md").read_text()
        assert "`--force-conflicts`" in readme.partition("## Without the webhook")[2].partition("\n## ")[0]
        mine.apply("--force-conflicts")
    assert mine.init_containers == ["abside-agent", "abside-sidecar", "fetch-models"]
    assert mine.spec["template"]["spec"]["terminationGracePeriodSeconds"] == 60
    mine.write(labelled=False)
    mine.apply()
    assert mine.spec == was, "nothing stays in the pod"


def test_a_pm_changes_both_config_maps_by_the_readmes_lines_and_nothing_else(
    recs: RealApi, root: Path, tmp_path: Path
) -> None:
    k8s = tmp_path / "k8s"
    shutil.copytree(root / "k8s", k8s)
    recs.kubectl("apply", "--server-side", "-k", str(k8s / "overlays" / "example"), namespace="recs")
    readme = (root / "k8s" / "README.md").read_text()

    def types(line: str, *, check: bool = True) -> str:
        words = ["sh", "-c", line]
        done = recs.shell(words, namespace="recs", token=PM, cwd=tmp_path, check=check)
        return done.stdout + done.stderr

    (change,) = re.findall(r"^kubectl apply --server-side -k k8s/experiments .+$", readme, re.MULTILINE)
    document = k8s / "experiments" / "config" / "pdp.yaml"
    document.write_text(document.read_text().replace("traffic: 50%", "traffic: 60%"))
    assert types(change) == "configmap/abside-experiments serverside-applied\n"
    assert "traffic: 60%" in held(recs, "abside-experiments")["pdp.yaml"]

    pause, resume = re.findall(r"^kubectl patch configmap abside-paused .+$", readme, re.MULTILINE)
    assert types(pause) == "configmap/abside-paused patched\n"
    recs.kubectl("apply", "--server-side", "-k", str(k8s / "experiments"), namespace="recs")
    assert held(recs, "abside-paused") == {"pdp-reranker": "carts broken"}, "applying the folder lifts no pause"
    types(resume)
    assert held(recs, "abside-paused") == {}

    for refused in (
        "kubectl delete configmap abside-paused",
        "kubectl delete configmap abside-experiments",
        "kubectl create configmap other --from-literal=a=b",
        "kubectl get configmaps",
        "kubectl get secrets",
        "kubectl get pods",
        "kubectl auth can-i create configmaps",
    ):
        content = types(refused, check=False)
        assert "forbidden" in content or content == "no\n", content


def held(api: RealApi, name: str) -> dict[str, str]:
    _, answer = api.ask("GET", f"/api/v1/namespaces/recs/configmaps/{name}")
    data: dict[str, str] = answer.get("data", {})
    return data


def test_what_somebody_edited_in_place_is_not_overwritten_unasked(recs: RealApi, root: Path) -> None:
    folder = str(root / "k8s" / "experiments")
    recs.kubectl("apply", "--server-side", "--force-conflicts", "-k", folder, namespace="recs")
    recs.shell(
        ["kubectl", "edit", "configmap", "abside-experiments"],
        namespace="recs",
        token=PM,
        environment={"EDITOR": "sed -i s/margin:.0.3/margin:\\ 0.4/"},
    )
    words = ("apply", "--server-side", *DOCUMENTS, "-k", folder)
    done = recs.kubectl(*words, namespace="recs", token=PM, check=False)
    assert 'conflict with "kubectl-edit"' in done.stderr
    assert "margin: 0.4" in held(recs, "abside-experiments")["pdp.yaml"]
    recs.kubectl(*words, "--force-conflicts", namespace="recs", token=PM)
    assert "margin: 0.3" in held(recs, "abside-experiments")["pdp.yaml"]


def test_a_collector_of_before_gets_its_headless_service_by_the_readmes_line(
    real_api: RealApi, root: Path, render: Callable[[str], Rendered]
) -> None:
    namespace = real_api.make_namespace("before")
    before = copy.deepcopy(render("collector").workload("experiment-collector").object)
    before["spec"]["serviceName"] = "experiment-collector"
    words = ("apply", "--server-side", "-f", "-")
    real_api.kubectl(*words, namespace=namespace, stdin=as_json(before))
    apply = ("apply", "--server-side", "-k", str(root / "k8s" / "collector"))
    done = real_api.kubectl(*apply, namespace=namespace, check=False)
    assert "updates to statefulset spec for fields other than" in done.stderr
    readme = (root / "k8s" / "README.md").read_text()
    (line,) = re.findall(r"`(kubectl delete statefulset .+?)`", readme)
    # No garbage collector runs here, which would take the mark off that keeps the object until its pods are nobody's.
    real_api.shell(["sh", "-c", f"{line} --wait=false"], namespace=namespace)
    patch = ("patch", "statefulset", "experiment-collector", "--type", "merge", "-p")
    real_api.kubectl(*patch, '{"metadata": {"finalizers": null}}', namespace=namespace)
    assert real_api.kubectl(*apply, namespace=namespace).stderr == ""


def test_an_upgrade_by_the_readmes_lines_leaves_the_documents_and_taking_abside_out_leaves_nothing(
    recs: RealApi, root: Path, tmp_path: Path
) -> None:
    k8s = tmp_path / "k8s"
    shutil.copytree(root / "k8s", k8s, ignore=shutil.ignore_patterns("mine"))
    mine = shutil.copytree(k8s / "overlays" / "example", k8s / "overlays" / "mine")
    readme = (root / "k8s" / "README.md").read_text()

    def types(line: str) -> str:
        return recs.shell(["sh", "-c", line], namespace="recs", cwd=tmp_path).stdout

    def images() -> dict[str, str]:
        found = recs.kubectl("get", "deployments,statefulsets", "-o", "json", namespace="recs").stdout
        pods = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in json.loads(found)["items"]}
        return {
            name: container["image"]
            for name, pod in pods.items()
            for container in [*pod.get("initContainers", []), *pod["containers"]]
            if container["name"] in {"abside-sidecar", "abside-collector"}
        }

    recs.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(mine), namespace="recs")
    document = k8s / "experiments" / "config" / "pdp.yaml"
    older = document.read_text()
    document.write_text(older.replace("traffic: 50%", "traffic: 90%"))
    recs.kubectl("apply", "--server-side", *DOCUMENTS, "-k", str(k8s / "experiments"), namespace="recs")
    document.write_text(older)  # a checkout that does not know of it
    overlay = mine / "kustomization.yaml"
    overlay.write_text(overlay.read_text().replace("newTag: 0.1.0", "newTag: 0.2.0"))

    lines = r"^kubectl apply --server-side -k k8s/overlays/mine (?:\\\n  )?-l .+$"
    receivers, workloads, back, rest = re.findall(lines, readme, re.MULTILINE)
    assert "rec-service" not in types(receivers)
    assert images() == {
        "rec-service": "abside:0.1.0",
        "experiment-gateway": "abside:0.2.0",
        "experiment-collector": "abside:0.2.0",
    }
    assert "abside-experiments" not in types(workloads)
    assert set(images().values()) == {"abside:0.2.0"}
    overlay.write_text(overlay.read_text().replace("newTag: 0.2.0", "newTag: 0.1.0"))
    types(back)
    assert images() == {
        "rec-service": "abside:0.1.0",
        "experiment-gateway": "abside:0.2.0",
        "experiment-collector": "abside:0.2.0",
    }
    types(rest)
    assert set(images().values()) == {"abside:0.1.0"}
    assert "traffic: 90%" in held(recs, "abside-experiments")["pdp.yaml"]

    block = readme.partition("To take abside out:")[2].partition("```sh\n")[2].partition("```")[0]
    types(f"set -e\n{block}")
    kinds = "deployments,statefulsets,services,networkpolicies,poddisruptionbudgets,configmaps,roles,rolebindings"
    left = recs.kubectl("get", kinds, "-o", "name", namespace="recs").stdout.split()
    assert [one for one in left if "rec-service" not in one and "kube-root-ca" not in one] == []
