"""What a PM sees: the real kubectl, and a fake API server that calls the webhook as the real one does."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.admission.conftest import Data, Webhook

CONFIG = Path(__file__).resolve().parents[2] / "k8s" / "experiments" / "config"
DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {
                "name": "configmaps",
                "singularName": "",
                "namespaced": True,
                "kind": "ConfigMap",
                "verbs": ["get", "patch"],
            }
        ],
    },
}
OURS = "/api/v1/namespaces/recs/configmaps/abside-experiments"


class Server(ThreadingHTTPServer):
    """Keeps one ConfigMap and sends every patch of it to the webhook."""

    daemon_threads = True

    def __init__(self, webhook: Webhook, data: Data) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.webhook = webhook
        self.data = data


class Requests(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path in DISCOVERY:
            self.reply(200, DISCOVERY[path])
        elif path == OURS:
            self.reply(200, self.object(self.server.data))
        else:
            self.reply(
                404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            )

    def do_PATCH(self) -> None:
        """Answer as apiserver's admission does: its name before the message, the rest of the status as it came."""
        applied = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self.server.webhook.review(applied["data"], self.server.data, dryRun="dryRun=All" in self.path)
        warnings = answer.get("warnings", [])
        if answer["allowed"]:
            self.reply(200, self.object(applied["data"]), warnings)
            return
        status = answer["status"]
        message = f'admission webhook "experiments.abside.dev" denied the request: {status["message"]}'
        self.reply(status["code"], status | {"message": message}, warnings)

    def object(self, data: Data) -> dict[str, Any]:
        metadata = {"name": "abside-experiments", "namespace": "recs", "uid": "u", "resourceVersion": "7"}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}

    def reply(self, status: int, document: dict[str, Any], warnings: tuple[str, ...] | list[str] = ()) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        for warning in warnings:
            text = warning.replace("\\", "\\\\").replace('"', '\\"')
            self.send_header("Warning", f'299 - "{text}"'.encode().decode("latin-1"))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


STATUS = (
    "experiments.cart-cross-sell.status: must be one of draft, ended, paused, running (got pausd)"
    " — did you mean paused?"
)
WEIGHTS = "experiments.pdp-reranker.variants: weights must sum to exactly 100 %, they sum to 110 % — take away 10 %"


@pytest.fixture
def apply(
    webhook: Webhook, documents: Callable[..., Data], tmp_path: Path
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Return a function that runs `kubectl apply` on changed samples."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl")
    server = Server(webhook, documents())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()

    def run(data: Data, *options: str) -> subprocess.CompletedProcess[str]:
        metadata = {"name": "abside-experiments", "namespace": "recs"}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        (tmp_path / "manifest.json").write_text(json.dumps(manifest))
        where = ["--server", f"http://127.0.0.1:{server.server_address[1]}", "--cache-dir", str(tmp_path)]
        command = [kubectl, *where, "apply", "--server-side", "--validate=false", *options]
        environment = {"HOME": str(tmp_path), "KUBECONFIG": "/dev/null"}
        return subprocess.run(
            [*command, "-f", str(tmp_path / "manifest.json")],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment,
        )

    yield run
    server.shutdown()
    thread.join()
    server.server_close()


def test_kubectl_prints_a_line_for_each_mistake(
    apply: Callable[..., subprocess.CompletedProcess[str]], documents: Callable[..., Data]
) -> None:
    split = ("pdp.yaml", "control:   {weight: 80%}", "control:   {weight: 90%}")
    done = apply(documents(split, ("cart.yaml", "status: paused ", "status: pausd ")))
    assert done.returncode == 1
    printed = [line.rstrip() for line in done.stderr.strip().splitlines()]
    assert printed == [
        'The ConfigMap "abside-experiments" is invalid:',
        f"* cart.yaml:9: {STATUS}",
        f"* pdp.yaml:16: {WEIGHTS}",
    ]
    assert "\n".join(printed) in (CONFIG.parents[1] / "README.md").read_text()  # which shows it


def test_a_preview_prints_the_warnings_and_changes_nothing(
    apply: Callable[..., subprocess.CompletedProcess[str]], documents: Callable[..., Data]
) -> None:
    done = apply(documents(("pdp.yaml", "margin: 0.3", "margin: 0.4")), "--dry-run=server")
    assert done.returncode == 0
    assert done.stdout == "configmap/abside-experiments serverside-applied (server dry run)\n"
    assert done.stderr.startswith("Warning: pdp.yaml:20: what treatment gives changes in mid-experiment")
