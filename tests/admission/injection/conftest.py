"""A webhook whose API has one Deployment: the template, as the manifests render it."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.admission.injection.workloads import patched, review_of
from tests.k8s.conftest import existing, kustomize, overlay, render  # noqa: F401 fixtures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.admission.conftest import Webhook
    from tests.k8s.conftest import Rendered

Json = dict[str, Any]
NAME = "experiment-sidecar"


@dataclass
class DeploymentApi:
    """Lists Deployments of one namespace by name, to who has the token."""

    deployments: dict[str, Json] = field(default_factory=dict)
    fails: int = 0
    asked: int = 0

    def __post_init__(self) -> None:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, content = api.answer(self.path, self.headers.get("Authorization", ""))
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, authorization: str) -> tuple[int, Json]:
        self.asked += 1
        if self.fails:
            return self.fails, {"kind": "Status", "message": "deployments.apps is forbidden"}
        asked = urlsplit(path)
        assert asked.path == "/apis/apps/v1/namespaces/recs/deployments"
        assert authorization == "Bearer the-token"
        (selector,) = parse_qs(asked.query)["fieldSelector"]
        found = self.deployments.get(selector.removeprefix("metadata.name="))
        return 200, {"kind": "DeploymentList", "items": [found] if found else []}

    def credentials(self, folder: Path) -> Path:
        for name, text in (("token", "the-token"), ("namespace", "recs"), ("ca.crt", "")):
            (folder / name).write_text(text)
        return folder


@pytest.fixture(scope="session")
def deployment(render: Callable[[str], Rendered]) -> Json:  # noqa: F811 a fixture
    """Return the Deployment whose template is injected, as `kubectl apply -k k8s/admission` sends it."""
    return render("admission").of("Deployment")[NAME]


@pytest.fixture
def api(deployment: Json) -> Iterator[DeploymentApi]:
    api = DeploymentApi({NAME: deployment})
    yield api
    api.server.shutdown()
    api.server.server_close()


@pytest.fixture
def injecting(api: DeploymentApi, start: Callable[..., Webhook], tmp_path: Path) -> Webhook:
    """Return a webhook that reads the template anew for every pod."""
    folder = api.credentials(tmp_path)
    options = ("--inject-seconds", "20", "--template-seconds", "0.000001")
    return start(*options, "--cluster-api", api.url, "--cluster-credentials", str(folder))


@pytest.fixture(scope="module")
def asking(
    deployment: Json, start: Callable[..., Webhook], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Webhook]:
    """Return one webhook for all tests that only ask."""
    api = DeploymentApi({NAME: deployment})
    folder = api.credentials(tmp_path_factory.mktemp("account"))
    yield start("--inject-seconds", "20", "--cluster-api", api.url, "--cluster-credentials", str(folder))
    api.server.shutdown()
    api.server.server_close()


def injected(webhook: Webhook, pod: Json, **request: Any) -> tuple[Json, list[str]]:
    """Have a pod reviewed; return it as the API server would keep it, and the warnings."""
    status, document = webhook.ask("/inject", json.dumps(review_of(pod, **request)).encode())
    assert status == 200, document
    response = document["response"]
    assert response["allowed"] is True
    assert ("patch" in response) == ("patchType" in response)
    steps = json.loads(base64.b64decode(response.get("patch", "W10=")))
    return patched(pod, steps), response.get("warnings", [])
