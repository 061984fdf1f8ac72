"""A real `abside admission` over TLS, certificates made on the spot, and reviews as an API server sends them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS = 30.0
CONFIG = Path(__file__).resolve().parents[2] / "k8s" / "experiments" / "config"

Data = dict[str, str]
Json = dict[str, Any]


@dataclass
class Pair:
    """A certificate and its key on disk, as a mounted Secret has them."""

    folder: Path

    @property
    def cert(self) -> Path:
        return self.folder / "tls.crt"

    @property
    def key(self) -> Path:
        return self.folder / "tls.key"

    def renew(self, kind: str = "ec") -> None:
        """Write a new self-signed pair."""
        openssl = shutil.which("openssl")
        if openssl is None:
            pytest.skip("no openssl to make a certificate with")
        algorithm = (
            ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"] if kind == "ec" else ["-newkey", "rsa:2048"]
        )
        name = ["-subj", "/CN=experiment-admission", "-addext", "subjectAltName=IP:127.0.0.1"]
        where = ["-keyout", str(self.folder / "new.key"), "-out", str(self.folder / "new.crt")]
        command = [openssl, "req", "-x509", *algorithm, "-nodes", "-days", "2", *name, *where]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
        (self.folder / "new.crt").rename(self.cert)
        (self.folder / "new.key").rename(self.key)

    def trusted(self) -> ssl.SSLContext:
        """Trust the certificate that is on disk now, and no other."""
        return ssl.create_default_context(cafile=str(self.cert))


@dataclass
class Webhook:
    """A running webhook, and requests as an API server sends them."""

    process: subprocess.Popen[bytes]
    port: int
    pair: Pair
    log: Path

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, Json]:
        """Send one request on a connection of its own, with the certificate on disk as the only one trusted."""
        url = f"https://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS, context=self.pair.trusted()) as reply:
                return int(reply.status), json.load(reply)
        except urllib.error.HTTPError as exc:
            return exc.code, json.load(exc)

    def metrics(self) -> dict[str, float]:
        """Return the samples of `/metrics` by name and labels, as they are written."""
        url = f"https://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS, context=self.pair.trusted()) as reply:
            lines = reply.read().decode().splitlines()
        samples = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def review(
        self, new: Data | None, old: Data | None = None, *, name: str = "abside-experiments", **request: Any
    ) -> Json:
        """Have a change reviewed; return the response."""
        status, document = self.ask("/validate", json.dumps(review(new, old, name=name, **request)).encode())
        assert status == 200, document
        assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        response: Json = document["response"]
        assert response.pop("uid") == UID
        return response

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def is_logged(self, text: str) -> bool:
        return text in self.log.read_text()

    def await_log(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.is_logged(text):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)


UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def review(new: Data | None, old: Data | None, *, name: str, **request: Any) -> Json:
    """Return an AdmissionReview of a ConfigMap: CREATE, UPDATE or DELETE by its arguments."""
    operation = "CREATE" if old is None else "DELETE" if new is None else "UPDATE"
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": UID,
            "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
            "resource": {"group": "", "version": "v1", "resource": "configmaps"},
            "name": name,
            "namespace": "recs",
            "operation": operation,
            "userInfo": {"username": "pm@example.org"},
            "object": config_map(name, new),
            "oldObject": config_map(name, old),
            "dryRun": False,
            **request,
        },
    }


def config_map(name: str, data: Data | None) -> Json | None:
    if data is None:
        return None
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "recs"}, "data": data}


@pytest.fixture(scope="session")
def documents() -> Callable[..., Data]:
    """Return the sample documents as a ConfigMap's data, with (file, old text, new text) changes made."""

    def make(*changes: tuple[str, str, str]) -> Data:
        data = {path.name: path.read_text() for path in sorted(CONFIG.glob("*.yaml"))}
        for file, old, new in changes:
            assert data[file].count(old) == 1, f"{old} stands {data[file].count(old)} times in {file}"
            data[file] = data[file].replace(old, new)
        return data

    return make


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Webhook]]:
    """Return a function that starts a webhook with further options; all are stopped after the test."""
    running: list[Webhook] = []

    def begin(*options: str) -> Webhook:
        folder = tmp_path_factory.mktemp("webhook")
        pair = Pair(folder)
        pair.renew()
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "abside", "admission", "--listen", f"127.0.0.1:{port}"]
        tls = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--linger-seconds", "0"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([*command, *tls, *options], stderr=log)
        webhook = Webhook(process, port, pair, folder / "log")
        running.append(webhook)
        webhook.await_log("listening")
        return webhook

    yield begin
    for webhook in running:
        webhook.process.kill()
        webhook.process.wait()


@pytest.fixture(scope="session")
def webhook(start: Callable[..., Webhook]) -> Webhook:
    """Return one webhook, shared by all tests that change nothing about it."""
    return start("--body-seconds", "1", "--check-seconds", "25", "--check-cpu-seconds", "25")
