"""A real API server calls the real webhook for pods of seven kinds of workload; no controller runs, so we are all."""

from __future__ import annotations

import copy
import json
import re
import signal
import ssl
import threading
import time
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from tests.admission.conftest import Pair
from tests.admission.injection.workloads import KINDS, container, pod_of, template_in, workload
from tests.admission.installed import README, install

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.admission.conftest import Webhook
    from tests.admission.injection.workloads import Json
    from tests.admission.installed import Installed
    from tests.k8s.conftest import Rendered

    from real_api import RealApi

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
SIDECARS = ["abside-agent", "abside-sidecar"]
SHOP = "shop-of-injection"  # not the namespace of the install
PLAIN = "plain"  # where `hostNetwork` is allowed
(PATCH,) = re.findall(r"^kubectl patch deployment rec-service .+$", README, re.MULTILINE)
(TRY,) = re.findall(r"^kubectl run try .+$", README, re.MULTILINE)
(FIND,) = re.findall(r"^(kubectl get pods -A .+?) \\\n(.+) \| grep -v abside-sidecar$", README, re.MULTILINE)
ROLLOUTS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {
        "group": "argoproj.io",
        "names": {"kind": "Rollout", "plural": "rollouts"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def installed(
    real_api: RealApi, tmp_path_factory: pytest.TempPathFactory, start: Callable[..., Webhook]
) -> Iterator[Installed]:
    resources = "k8s/overlays/injected"
    with install(
        real_api, tmp_path_factory.mktemp("injection"), start, "--log-level", "debug", resources=resources
    ) as installed:
        real_api.make_namespace(SHOP)
        for name in (PLAIN, "kube-system"):
            made, _ = real_api.ask("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            assert made in {201, 409}
            account = {"metadata": {"name": "default"}}
            real_api.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
        create(real_api, ROLLOUTS)
        real_api.kubectl("wait", "--for=condition=Established", "crd/rollouts.argoproj.io", namespace=SHOP)
        yield installed
        real_api.kubectl("delete", "crd", "rollouts.argoproj.io", namespace=SHOP)


@pytest.fixture(autouse=True)
def clean(real_api: RealApi, installed: Installed) -> Iterator[None]:
    yield
    for namespace in (SHOP, PLAIN, "kube-system"):
        words = ["delete", "pods", "--all", "--force", "--grace-period=0"]
        real_api.kubectl(*words, namespace=namespace)


def create(api: RealApi, one: Json, namespace: str = SHOP, *words: str) -> tuple[Json, str]:
    """Create an object; return it as the server has it, and what kubectl printed beside."""
    done = api.kubectl("create", "-o", "json", *words, "-f", "-", namespace=namespace, stdin=json.dumps(one))
    found: Json = json.loads(done.stdout)
    return found, done.stderr


def pod_in(api: RealApi, made: Json, namespace: str = SHOP, *words: str) -> tuple[Json, str]:
    """Create the pod that a controller would make of a workload, in the workload's namespace."""
    pod = pod_of(made)
    pod["metadata"]["namespace"] = namespace
    return create(api, pod, namespace, *words)


def names(parts: list[Json]) -> list[str]:
    return [one["name"] for one in parts]


def counted(installed: Installed) -> dict[str, int]:
    """Count what the log says of pods: it is written before a pod is answered."""
    assert installed.webhook is not None
    found = re.findall(r" (injected|present|not_injected) namespace=", installed.webhook.log.read_text())
    return {outcome: found.count(outcome) for outcome in ("injected", "present", "not_injected")}


@pytest.mark.parametrize("kind", KINDS)
def test_the_pod_of_every_kind_of_workload_has_a_sidecar_once(
    real_api: RealApi, installed: Installed, kind: str
) -> None:
    before = counted(installed)
    made = workload(kind)
    if kind != "Pod":
        made, content = create(real_api, made)
        assert content == ""
    stored = copy.deepcopy(template_in(made)["spec"])  # with the server's defaults
    pod, content = pod_in(real_api, made)
    print(kind, names(pod["spec"]["initContainers"]), pod["metadata"]["name"])
    assert content == ""
    spec = pod["spec"]
    assert names(spec["initContainers"]) == [*SIDECARS, "fetch-models", "warm-up"]
    assert [one.get("restartPolicy") for one in spec["initContainers"]] == ["Always", "Always", None, None]
    assert names(spec["containers"]) == names(stored["containers"])
    theirs = [one for one in names(spec["volumes"]) if not one.startswith(("abside-", "kube-api-access-"))]
    assert theirs == ["models", "scratch"]
    assert spec["terminationGracePeriodSeconds"] == 60
    assert pod["metadata"].get("ownerReferences", [{}])[0].get("name", "") == ("" if kind == "Pod" else "recs-5d9f")
    if "restartPolicy" in stored:
        assert spec["restartPolicy"] == stored["restartPolicy"]
    tokens = {
        one["name"]: [mount["name"] for mount in one["volumeMounts"] if "serviceaccount" in mount["mountPath"]]
        for one in spec["initContainers"][:2]
    }
    assert tokens == {name: ["abside-no-token"] for name in SIDECARS}, "the API's token is none of our business"
    after = counted(installed)
    assert after["injected"] == before["injected"] + 1
    again, content = create(real_api, {**pod, "metadata": {"name": "copy", "labels": pod["metadata"]["labels"]}})
    assert (again["spec"]["initContainers"], content) == (spec["initContainers"], "")
    assert counted(installed)["injected"] == after["injected"]
    if kind != "Pod":
        real_api.kubectl("delete", made["kind"], "recs", namespace=SHOP)


def test_the_label_comes_by_the_readmes_line(real_api: RealApi, installed: Installed) -> None:
    made = workload("Deployment")
    made["metadata"]["name"] = "rec-service"
    del template_in(made)["metadata"]["labels"]["abside.dev/sidecar"]
    create(real_api, made)
    pod, _ = pod_in(real_api, made)
    assert names(pod["spec"]["initContainers"]) == ["fetch-models", "warm-up"]
    real_api.shell(["sh", "-c", PATCH], namespace=SHOP)
    done = real_api.kubectl("get", "deployment", "rec-service", "-o", "json", namespace=SHOP)
    pod, _ = pod_in(real_api, json.loads(done.stdout))
    assert names(pod["spec"]["initContainers"]) == [*SIDECARS, "fetch-models", "warm-up"]
    real_api.kubectl("delete", "deployment", "rec-service", namespace=SHOP)


def test_whether_it_works_is_answered_by_the_readmes_line_which_creates_nothing(
    real_api: RealApi, installed: Installed
) -> None:
    account = {"metadata": {"name": "default"}}  # which a controller makes elsewhere
    real_api.ask("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    assert installed.admin(TRY).split() == SIDECARS
    assert real_api.kubectl("get", "pods", "-o", "name", namespace="default").stdout == ""


def test_an_injected_pod_equals_one_that_the_component_rendered(
    real_api: RealApi, installed: Installed, overlay: Callable[..., Rendered]
) -> None:
    app = workload("Deployment")
    injected, _ = pod_in(real_api, app)
    app["metadata"]["labels"] = {"abside.dev/sidecar": "enabled"}
    (rendered,) = overlay([app], "sidecar").workloads
    before = counted(installed)
    component, _ = pod_in(real_api, rendered.object)
    after = counted(installed)
    assert (after["injected"], after["present"]) == (before["injected"], before["present"] + 1)
    assert without_chance(injected["spec"]) == without_chance(component["spec"])


def without_chance(spec: Json) -> Json:
    """Return a pod's spec without the random letters of the token's volume."""
    found: Json = json.loads(re.sub(r"kube-api-access-\w+", "kube-api-access", json.dumps(spec)))
    return found


def test_a_preview_is_answered_too(real_api: RealApi, installed: Installed) -> None:
    pod, _ = pod_in(real_api, workload("Job"), SHOP, "--dry-run=server")
    assert names(pod["spec"]["initContainers"])[:2] == SIDECARS


@pytest.fixture
def other(real_api: RealApi, tmp_path: Path) -> Iterator[list[str]]:
    """Put another webhook after ours that puts a container first, as a mesh does; yield what it saw."""
    seen: list[str] = []
    proxy = container("mesh-proxy", restartPolicy="Always", volumeMounts=[])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            there = names(request["object"]["spec"]["initContainers"])
            seen.extend(there)
            steps = [] if "mesh-proxy" in there else [{"op": "add", "path": "/spec/initContainers/0", "value": proxy}]
            patch = {"patchType": "JSONPatch", "patch": b64encode(json.dumps(steps).encode()).decode()}
            response = {"uid": request["uid"], "allowed": True, **patch}
            body = json.dumps(
                {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    pair = Pair(tmp_path)
    pair.renew()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"https://127.0.0.1:{server.server_port}/"
    hook = {
        "name": "mesh.example.org",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "clientConfig": {"url": address, "caBundle": b64encode(pair.cert.read_bytes()).decode()},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
    }
    configuration = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    create(real_api, {**configuration, "metadata": {"name": "mesh"}, "webhooks": [hook]})
    until_used(lambda: pod_in(real_api, workload("Pod"), SHOP, "--dry-run=server"), seen)
    yield seen
    real_api.kubectl("delete", "mutatingwebhookconfiguration", "mesh", namespace=SHOP)
    server.shutdown()
    server.server_close()


def until_used(create_pod: Callable[[], object], seen: list[str]) -> None:
    """Create pods until the server has taken notice of a new webhook."""
    until = time.monotonic() + 30
    while not seen:
        create_pod()
        assert time.monotonic() < until
    seen.clear()


def test_called_again_after_another_webhook_it_injects_nothing_twice(
    real_api: RealApi, installed: Installed, other: list[str]
) -> None:
    before = counted(installed)
    pod, content = pod_in(real_api, workload("StatefulSet"))
    assert content == ""
    assert names(pod["spec"]["initContainers"]) == ["mesh-proxy", *SIDECARS, "fetch-models", "warm-up"]
    assert other == [*SIDECARS, "fetch-models", "warm-up"], "it comes after ours"
    after = counted(installed)
    assert after == {**before, "injected": before["injected"] + 1, "present": before["present"] + 1}, "called twice"
    assert len(set(names(pod["spec"]["volumes"]))) == len(pod["spec"]["volumes"])


def test_a_pod_that_cannot_have_it_is_created_as_it_is_and_kubectl_prints_why(
    real_api: RealApi, installed: Installed
) -> None:
    pod, content = create(real_api, workload("Pod", hostNetwork=True), PLAIN)
    print(content)
    assert content.startswith("Warning: pod recs: NO SIDECAR IS INJECTED: it has hostNetwork, where 7600 and 7601 are")
    assert names(pod["spec"]["initContainers"]) == ["fetch-models", "warm-up"]
    taken = container("web", ports=[{"containerPort": 7600}])
    _, content = create(real_api, workload("Pod", containers=[taken]), SHOP)
    assert "its container web has the port 7600, which is ours" in content


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "Pod"])
def test_who_applies_a_workload_that_cannot_have_it_is_told_once(
    real_api: RealApi, installed: Installed, kind: str
) -> None:
    def apply(made: Json) -> str:
        words = ("apply", "--server-side", "-f", "-")
        return real_api.kubectl(*words, namespace=SHOP, stdin=json.dumps(made)).stderr

    taken = container("web", ports=[{"containerPort": 7600}])
    bad = workload(kind, containers=[taken])
    warning = f"Warning: {kind} recs: NO SIDECAR IS INJECTED: its container web has the port 7600, which is ours — "
    assert apply(bad).startswith(warning)
    assert f"{warning}use another port there".replace(kind, "Deployment") in README
    bad["metadata"]["labels"] = {"a": "b"}  # not in the spec
    assert apply(bad) == ""
    real_api.kubectl("delete", kind, "recs", namespace=SHOP)
    assert apply(workload(kind)) == ""
    real_api.kubectl("delete", kind, "recs", namespace=SHOP)
    unlabelled = workload(kind, containers=[taken])
    del template_in(unlabelled)["metadata"]["labels"]["abside.dev/sidecar"]
    assert apply(unlabelled) == ""
    real_api.kubectl("delete", kind, "recs", namespace=SHOP)


def test_pods_of_the_cluster_and_of_abside_are_never_sent(real_api: RealApi, installed: Installed) -> None:
    before = counted(installed)
    pod, _ = pod_in(real_api, workload("DaemonSet"), "kube-system")
    assert names(pod["spec"]["initContainers"]) == ["fetch-models", "warm-up"]
    ours = workload("Pod")
    ours["metadata"]["labels"]["app.kubernetes.io/part-of"] = "abside"
    pod, _ = create(real_api, ours)
    assert names(pod["spec"]["initContainers"]) == ["fetch-models", "warm-up"]
    assert counted(installed) == before


def test_a_changed_template_reaches_new_pods(real_api: RealApi, installed: Installed) -> None:
    kustomization = installed.folder / "kustomization.yaml"
    text = kustomization.read_text()
    try:
        kustomization.write_text(text + "images:\n  - {name: abside, newName: registry.test/abside, newTag: 9.9.9}\n")
        installed.admin("kubectl apply --server-side -k .")
        until = time.monotonic() + 60
        image = ""
        while image != "registry.test/abside:9.9.9":
            pod, _ = pod_in(real_api, workload("Deployment"), SHOP, "--dry-run=server")
            image = pod["spec"]["initContainers"][0]["image"]
            assert time.monotonic() < until
    finally:
        kustomization.write_text(text)
        installed.admin("kubectl apply --server-side -k .")


def test_a_webhook_that_hangs_holds_a_pod_up_for_two_seconds_and_such_pods_are_found(
    real_api: RealApi, installed: Installed
) -> None:
    pod_in(real_api, workload("Pod"))
    assert installed.webhook is not None
    process = installed.webhook.process
    process.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    pod, _ = pod_in(real_api, workload("Deployment"))
    took = time.monotonic() - begun
    process.send_signal(signal.SIGCONT)
    print(f"a pod when it hangs: {took:.1f} s")
    assert names(pod["spec"]["initContainers"]) == ["fetch-models", "warm-up"]
    done = real_api.shell(["sh", "-c", f"{' '.join(FIND)} | grep -v abside-sidecar"], namespace="none")
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [[SHOP, pod["metadata"]["name"]]]
