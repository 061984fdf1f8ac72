"""The rendered dev overlay, run as processes: each container's own arguments, variables, files and probes.

What a kubelet does is done here by hand: volumes become directories, Services and ports become free ones on
loopback, containers start in their order, each after the startup probe of the one before.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest

from abside.collector.store import live_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import ConfigMapVolume
    from tests.k8s.conftest import Object, Rendered, Role, Workload

PATIENCE_SECONDS = 60.0
ADDRESS = re.compile(r"(?P<scheme>https?://)?(?P<host>\*|[a-z0-9.-]+):(?P<port>\d+)")


@dataclass
class Node:
    """Where pods run: a folder and free ports."""

    folder: Path
    rendered: Rendered
    volume: Callable[[str], ConfigMapVolume]
    ports: dict[tuple[str, int], int] = field(default_factory=dict)
    config_maps: dict[str, ConfigMapVolume] = field(default_factory=dict)
    secrets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def port(self, workload: str, port: int) -> int:
        """Return the free port used in place of one of a pod's."""
        if (workload, port) not in self.ports:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.ports[workload, port] = free.getsockname()[1]
        return self.ports[workload, port]

    def url(self, workload: str, port: int) -> str:
        return f"http://127.0.0.1:{self.port(workload, port)}"

    def start(self, role: Role) -> None:
        """Start one container and wait until its startup probe passes."""
        workload = role.workload.object["metadata"]["name"]
        name = f"{workload}/{role.container['name']}"
        given = [one for one in role.container["env"] if "configMapKeyRef" not in one.get("valueFrom", {})]  # optional
        variables = {one["name"]: self.value(role, one) for one in given}
        variables["PATH"] = os.environ["PATH"]  # noqa: TID251 nothing else of this process may leak in
        command = [sys.executable, "-m", "abside", *role.container["args"]]
        with (self.folder / f"{name.replace('/', '.')}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(command, env=variables, stderr=log, cwd=self.folder)
        probe = role.container.get("startupProbe")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while probe and self.probe(workload, probe) != 200:
            assert self.running[name].poll() is None, (self.folder / f"{name.replace('/', '.')}.log").read_text()
            assert time.monotonic() < deadline, name
            time.sleep(0.05)

    def value(self, role: Role, variable: Object) -> str:
        """Return a variable's value with this node's paths and ports in it."""
        workload = role.workload.object["metadata"]["name"]
        if "valueFrom" in variable:
            field_path = variable["valueFrom"]["fieldRef"]["fieldPath"]
            label = re.fullmatch(r"metadata\.labels\['(.+)'\]", field_path)
            return role.workload.template["metadata"]["labels"][label[1]] if label else f"{workload}-0"
        value = str(variable["value"])
        if match := ADDRESS.fullmatch(value):
            if match["scheme"]:
                return f"{match['scheme']}127.0.0.1:{self.port(match['host'], int(match['port']))}"
            return f"{match['host']}:{self.port(workload, int(match['port']))}"
        if value.startswith("/"):
            mount = role.mount_of(value)
            return value.replace(mount["mountPath"], str(self.directory(role.workload, mount["name"])), 1)
        return value

    def directory(self, workload: Workload, name: str) -> Path:
        """Return the directory used in place of a volume; a ConfigMap's or a Secret's is filled."""
        volume = workload.volumes[name]
        if "secret" in volume:
            directory = self.folder.joinpath(workload.object["metadata"]["name"], name)
            directory.mkdir(parents=True, exist_ok=True)
            keys = self.secrets[volume["secret"]["secretName"]]
            for item in volume["secret"].get("items", [{"key": key, "path": key} for key in keys]):
                (directory / item["path"]).write_bytes(keys[item["key"]])
            return directory
        if "projected" in volume:
            (source,) = volume["projected"]["sources"]
            volume = source
        if "configMap" not in volume:
            return self.folder.joinpath(workload.object["metadata"]["name"], name)
        config_map = volume["configMap"]["name"]
        if config_map not in self.config_maps:
            self.config_maps[config_map] = self.volume(config_map)
            self.config_maps[config_map].swap(self.rendered.of("ConfigMap")[config_map].get("data", {}))
        return self.config_maps[config_map].path

    def probe(self, workload: str, probe: Object) -> int:
        """Ask as the kubelet would; 0 when nobody listens."""
        asked = probe["httpGet"]
        try:
            url = (
                self.url(workload, asked["port"]).replace("http", asked.get("scheme", "HTTP").lower(), 1)
                + asked["path"]
            )
            unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE  # as the kubelet does
            with urllib.request.urlopen(url, timeout=5, context=unverified) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            return 0

    def stop(self, *names: str) -> int:
        """Ask them to end, all at once; return the worst exit code."""
        for name in names:
            self.running[name].send_signal(signal.SIGTERM)
        return max(self.running.pop(name).wait(PATIENCE_SECONDS) for name in names)


@contextmanager
def running(node: Node) -> Iterator[Node]:
    """Leave no process behind."""
    try:
        yield node
    finally:
        for process in node.running.values():
            process.kill()
            process.wait()


@pytest.fixture
def node(
    render: Callable[[str], Rendered], tmp_path: Path, configmap_volume: Callable[[str], ConfigMapVolume]
) -> Iterator[Node]:
    with running(Node(tmp_path, render("overlays/dev"), configmap_volume)) as node:
        yield node


def test_the_rendered_pods_serve_pause_and_ship(node: Node, root: Path) -> None:
    for workload in ("experiment-collector", "experiment-gateway", "rec-service"):
        for role in node.rendered.roles:
            if role.workload.object["metadata"]["name"] == workload:
                node.start(role)
    sidecar = node.rendered.role("rec-service", "abside-sidecar")
    assert node.probe("rec-service", sidecar.container["livenessProbe"]) == 200
    shopper = next(user for user in map(str, range(1, 1000)) if assigned(node, user))

    pay_visits(node, root, "20")
    node.config_maps["abside-paused"].swap({"pdp-reranker": "carts broken"})
    until(lambda: assigned(node, shopper) == [])
    node.config_maps["abside-paused"].swap({})
    until(lambda: assigned(node, shopper) != [])

    assert node.stop("rec-service/abside-sidecar", "rec-service/abside-agent", "experiment-gateway/abside-sidecar") == 0
    assert node.stop("experiment-collector/abside-collector") == 0
    kinds = stored(node)
    assert kinds.count("impression") == 20
    assert {"exposure", "config", "account"} <= set(kinds)


def test_a_token_and_tls_of_a_private_ca_lie_between_gateway_and_collector(
    everything: Rendered,
    tmp_path: Path,
    configmap_volume: Callable[[str], ConfigMapVolume],
    tool: Callable[[str], str],
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=experiment-collector", "-addext", "subjectAltName=IP:127.0.0.1"]
    where = ["-keyout", str(key), "-out", str(cert)]
    subprocess.run([tool("openssl"), *kind, *name, *where], check=True, capture_output=True, timeout=60)
    tls = {"tls.crt": cert.read_bytes(), "tls.key": key.read_bytes(), "ca.crt": cert.read_bytes()}
    with running(Node(tmp_path, everything, configmap_volume)) as node:
        node.secrets = {"experiment-collector-tls": tls, "abside-upstream-token": {"token": b"a-secret\n"}}
        node.start(everything.role("experiment-collector", "abside-collector"))
        node.start(everything.role("experiment-gateway", "abside-sidecar"))
        body = json.dumps({"type": "page_view", "user_id": "u1", "page_type": "home"}).encode()
        ask(f"{node.url('experiment-gateway', 7600)}/v1/events", body)
        assert node.stop("experiment-gateway/abside-sidecar") == 0
        assert node.stop("experiment-collector/abside-collector") == 0
        assert "page_view" in stored(node)


def pay_visits(node: Node, root: Path, visits: str) -> None:
    """Run the app's container: a substitute for a rec service and its shoppers."""
    (command,) = (one["command"] for one in node.rendered.workload("rec-service").pod["containers"])
    gateway = f"{node.url('experiment-gateway', 7600)}"
    assert command[0] == "python"
    assert command[2] == "http://experiment-gateway:7600"
    script = root / "k8s" / "overlays" / "dev" / "shopper.py"
    there = [sys.executable, str(script), gateway, visits, node.url("rec-service", 7600), "0"]
    done = subprocess.run(there, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == int(visits)
    assert {line["why"] for line in lines} == {None}
    assert {line["cart"] for line in lines} <= {None, True}


def assigned(node: Node, user: str) -> list[Any]:
    """Ask which experiments a shopper of the sample documents is in."""
    body = json.dumps({"placement": "pdp", "user_id": user, "attributes": {"country": "DE"}}).encode()
    assignments: list[Any] = ask(f"{node.url('rec-service', 7600)}/v1/assign", body)["assignments"]
    return assignments


def ask(url: str, body: bytes) -> dict[str, Any]:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        document: dict[str, Any] = json.load(answer)
        return document


def stored(node: Node) -> list[str]:
    """List the types of all events the collector has in its files."""
    files = [str(path) for path in live_files(node.folder / "experiment-collector" / "store" / "store")]
    kinds: list[str] = ds.dataset(files).to_table(columns=["type"]).column(0).to_pylist()
    return kinds


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
