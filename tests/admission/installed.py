"""The webhooks as the README installs them on a real API server, for the tests that need both."""

from __future__ import annotations

import re
import shutil
import socket
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from real_api import PM

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

    from tests.admission.conftest import Data, Webhook

    from real_api import RealApi

K8S = Path(__file__).resolve().parents[2] / "k8s"
README = (K8S / "README.md").read_text()
(APPLY,) = re.findall(r"^kubectl apply --server-side -k k8s/experiments .+$", README, re.MULTILINE)
(PREVIEW,) = re.findall(r"^kubectl apply --server-side --dry-run=server .+$", README, re.MULTILINE)
(INSTALL,) = re.findall(r"^```sh\n(openssl req .+?)```", README, re.DOTALL | re.MULTILINE)
NAMESPACE = "recs"
HOOKS = {"ValidatingWebhookConfiguration": "webhook.yaml", "MutatingWebhookConfiguration": "injection.yaml"}
RESOURCES = "k8s/experiments, k8s/admission, k8s/overlays/example/role-binding.yaml"
OVERLAY = """\
namespace: recs
resources: [{resources}]
patches:
  - target: {{kind: Service, name: experiment-admission}}
    patch: '[{{"op": "replace", "path": "/spec/ports/0/port", "value": {port}}}]'
"""
PORT = """\
  - target: {{kind: {kind}}}
    patch: |-
      apiVersion: admissionregistration.k8s.io/v1
      kind: {kind}
      metadata: {{name: experiment-admission}}
      webhooks: [{webhooks}]
"""


class Installed:
    """The webhooks as the README installs them, and a PM with files in `k8s/experiments/config`."""

    def __init__(self, api: RealApi, folder: Path) -> None:
        self.api = api
        self.folder = folder
        self.webhook: Webhook | None = None

    def admin(self, line: str) -> str:
        done = self.api.shell(["sh", "-ec", line], namespace=NAMESPACE, cwd=self.folder)
        return done.stdout + done.stderr

    def pm(self, line: str) -> subprocess.CompletedProcess[str]:
        return self.api.shell(["sh", "-ec", line], namespace=NAMESPACE, cwd=self.folder, token=PM, check=False)

    def write(self, data: Data) -> None:
        for name, text in data.items():
            (self.folder / "k8s" / "experiments" / "config" / name).write_text(text)

    def apply(self, data: Data) -> subprocess.CompletedProcess[str]:
        """Write the files and type the README's line."""
        self.write(data)
        return self.pm(APPLY)

    def preview(self, data: Data) -> subprocess.CompletedProcess[str]:
        self.write(data)
        return self.pm(PREVIEW)

    def held(self, name: str = "abside-experiments") -> Data:
        _, answer = self.api.ask("GET", f"/api/v1/namespaces/{NAMESPACE}/configmaps/{name}")
        data: Data = answer.get("data", {})
        return data


def overlay(port: int, resources: str) -> str:
    """Return a kustomization of the install. Only the Service's port is another, so that it takes no root to listen."""
    text = OVERLAY.format(port=port, resources=resources)
    asked = f"clientConfig: {{service: {{name: experiment-admission, namespace: default, port: {port}}}}}"
    for kind, file in HOOKS.items():
        names = re.findall(r"^  - name: (\S+)$", (K8S / "admission" / file).read_text(), re.MULTILINE)
        webhooks = ", ".join(f"{{name: {name}, {asked}}}" for name in names)
        text += PORT.format(kind=kind, webhooks=webhooks)
    return text


@contextmanager
def install(
    api: RealApi, folder: Path, start: Callable[..., Webhook], *options: str, more: str = "", resources: str = RESOURCES
) -> Iterator[Installed]:
    """Install by the README's lines. `more` are further patches; `options`, further ones of the command."""
    api.make_namespace(NAMESPACE)
    shutil.copytree(K8S, folder / "k8s")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "kustomization.yaml").write_text(overlay(port, resources) + more)
    installed = Installed(api, folder)
    installed.admin("kubectl apply --server-side --force-conflicts -k .")
    installed.admin(INSTALL)
    address = installed.admin("kubectl get service experiment-admission -o jsonpath={.spec.clusterIP}")
    tls = ("--tls-cert", str(folder / "tls.crt"), "--tls-key", str(folder / "tls.key"))
    account = folder / "account"
    account.mkdir()
    (account / "ca.crt").write_bytes(api.authority.read_bytes())
    (account / "namespace").write_text(NAMESPACE)
    (account / "token").write_text(installed.admin("kubectl create token experiment-admission").strip())
    asked = ("--cluster-api", api.url, "--cluster-credentials", str(account))
    # An option given twice: the last one counts.
    installed.webhook = start("--listen", f"{address}:{port}", *tls, *asked, *options)
    yield installed
    installed.admin("kubectl delete --ignore-not-found -k k8s/admission")  # the namespace is shared with other tests
    installed.admin("kubectl delete --ignore-not-found configmap abside-paused")
    installed.admin("kubectl delete secret experiment-admission-tls")
