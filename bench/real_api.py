"""A real Kubernetes API server on loopback, with its etcd, RBAC and TLS, for as long as somebody needs it.

There is no kubelet, no scheduler and no controller beside it: it checks and keeps objects, and runs nothing.
Its range of cluster IPs lies in 127/8, so that it reaches a Service whose port one of our own processes listens on.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 90.0  # for a start on a busy machine; a quiet one takes 4
ADMIN = "token-of-the-admin"
PM = "token-of-a-pm"
TOKENS = f'{ADMIN},admin,1,"system:masters"\n{PM},pm,2,"recs-product-managers"\n'  # the overlay's group
CLUSTER_IPS = "127.77.0.0/24"
HOST = "127.0.0.1"

Json = dict[str, Any]


@dataclass
class RealApi:
    """`binary` is a kube-apiserver; etcd and kubectl are found on the PATH."""

    binary: Path
    folder: Path
    etcd: subprocess.Popen[bytes] | None = None
    server: subprocess.Popen[bytes] | None = None
    ports: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        held = [socket.create_server((HOST, 0)) for _ in range(3)]
        self.ports = [one.getsockname()[1] for one in held]
        for one in held:
            one.close()
        make_certificates(self.folder)
        (self.folder / "tokens.csv").write_text(TOKENS)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.ports[0]}"

    @property
    def authority(self) -> Path:
        """The certificate of the authority, in a pod ca.crt."""
        return self.folder / "ca.crt"

    def start(self, *options: str) -> float:
        """Start what does not run, the API server with further options, and wait for it; return the seconds it took."""
        begun = time.monotonic()
        if self.etcd is None:
            self.etcd = self._run("etcd", self._etcd_command())
        self.server = self._run("kube-apiserver", [*self._server_command(), *options])
        while not self._is_ready():
            assert self.server.poll() is None, self.log
            assert time.monotonic() - begun < PATIENCE_SECONDS, self.log
            time.sleep(0.05)
        return time.monotonic() - begun

    def kill(self) -> None:
        """Kill the API server; etcd stays."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()

    def end(self) -> None:
        self.kill()
        if self.etcd is not None:
            self.etcd.kill()
            self.etcd.wait()

    @property
    def log(self) -> str:
        """The last lines that both logged."""
        return "\n".join((self.folder / f"{name}.log").read_text()[-3000:] for name in ("etcd", "kube-apiserver"))

    def connect(self) -> http.client.HTTPSConnection:
        trusted = ssl.create_default_context(cafile=str(self.authority))
        return http.client.HTTPSConnection(HOST, self.ports[0], timeout=PATIENCE_SECONDS, context=trusted)

    def ask(self, method: str, path: str, body: Json | None = None, *, token: str = ADMIN) -> tuple[int, Json]:
        """Ask on a connection of its own; return status and answer."""
        connection = self.connect()
        try:
            return ask(connection, method, path, body, token=token)
        finally:
            connection.close()

    def environment(self, namespace: str, token: str = ADMIN) -> dict[str, str]:
        """Return the environment in which a plain `kubectl` uses this server, as one user, in one namespace."""
        home = self.folder / f"home-{token}-{namespace}"
        home.mkdir(exist_ok=True)
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        context = {"cluster": "real", "user": "somebody", "namespace": namespace}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "real",
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "somebody", "user": {"token": token}}],
            "contexts": [{"name": "real", "context": context}],
        }
        (home / "config").write_text(json.dumps(config))
        return {"HOME": str(home), "KUBECONFIG": str(home / "config"), "PATH": os.environ["PATH"]}  # noqa: TID251 tools

    def kubectl(
        self, *words: str, namespace: str, token: str = ADMIN, stdin: str = "", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run the real kubectl; with `check` anything but success is an error."""
        return self.shell(["kubectl", *words], namespace=namespace, token=token, stdin=stdin, check=check)

    def shell(
        self,
        command: list[str],
        *,
        namespace: str,
        token: str = ADMIN,
        stdin: str = "",
        check: bool = True,
        cwd: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run anything that calls kubectl."""
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
            cwd=cwd,
            env=self.environment(namespace, token) | (environment or {}),
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def make_namespace(self, name: str) -> str:
        """Make a namespace that refuses and warns of what is not `restricted`, with its first service account."""
        levels = dict.fromkeys(("pod-security.kubernetes.io/enforce", "pod-security.kubernetes.io/warn"), "restricted")
        metadata = {"name": name, "labels": levels}
        made, _ = self.ask("POST", "/api/v1/namespaces", {"metadata": metadata})
        assert made in {201, 409}, "made, or there already"
        account = {"metadata": {"name": "default"}}  # which a controller makes elsewhere
        made, _ = self.ask("POST", f"/api/v1/namespaces/{name}/serviceaccounts", account)
        assert made in {201, 409}
        return name

    def make_token(self, namespace: str, secret: str) -> str:
        """Make a token of the service account `default`, good for as long as a Secret of this name exists."""
        made, bound = self.ask("POST", f"/api/v1/namespaces/{namespace}/secrets", {"metadata": {"name": secret}})
        assert made == 201, bound
        reference = {"apiVersion": "v1", "kind": "Secret", "name": secret, "uid": bound["metadata"]["uid"]}
        wanted = {"spec": {"expirationSeconds": 3600, "boundObjectRef": reference}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
        made, answer = self.ask("POST", path, wanted)
        assert made == 201, answer
        token: str = answer["status"]["token"]
        return token

    def compact(self) -> int:
        """Have etcd forget all versions but the newest; return that one."""
        newest = int(self._ask_etcd("/v3/kv/range", {"key": "AA=="})["header"]["revision"])
        self._ask_etcd("/v3/kv/compaction", {"revision": newest, "physical": True})
        return newest

    def _ask_etcd(self, path: str, body: Json) -> Json:
        connection = http.client.HTTPConnection(HOST, self.ports[1], timeout=PATIENCE_SECONDS)
        connection.request("POST", path, json.dumps(body))
        answer: Json = json.load(connection.getresponse())
        connection.close()
        assert "error" not in answer, answer
        return answer

    def _run(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            dies_with_us = ["setpriv", "--pdeathsig", "KILL", "--"]  # whatever ends us, neither is left behind
            return subprocess.Popen([*dies_with_us, *command], stdout=log, stderr=log, cwd=self.folder)

    def _is_ready(self) -> bool:
        try:
            status, _ = self.ask("GET", "/readyz")
        except OSError:
            return False
        return status == 200

    def _etcd_command(self) -> list[str]:
        etcd = shutil.which("etcd")
        assert etcd is not None, "no etcd: on Debian, apt-get install etcd-server"
        client, peer = (f"http://{HOST}:{port}" for port in self.ports[1:])
        listen = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        return [etcd, "--data-dir", "etcd", "--unsafe-no-fsync", *listen]  # nothing here outlives the test

    def _server_command(self) -> list[str]:
        return [
            str(self.binary),
            f"--etcd-servers=http://{HOST}:{self.ports[1]}",
            f"--bind-address={HOST}",
            f"--secure-port={self.ports[0]}",
            "--tls-cert-file=server.crt",
            "--tls-private-key-file=server.key",
            "--authorization-mode=RBAC",
            "--token-auth-file=tokens.csv",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=accounts.key",
            "--service-account-signing-key-file=accounts.key",
            f"--service-cluster-ip-range={CLUSTER_IPS}",
            "--endpoint-reconciler-type=none",  # it would publish its address, which must not be loopback
            "--cert-dir=certificates",
        ]


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Json | None = None, *, token: str = ADMIN
) -> tuple[int, Json]:
    """Ask on an open connection; a PATCH is a merge patch, as `kubectl patch --type merge` sends it."""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}
    connection.request(method, path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    text = response.read()
    return response.status, json.loads(text) if text.startswith(b"{") else {}


def make_certificates(folder: Path) -> None:
    """Make an authority, the server's pair, and the key that signs the tokens of service accounts."""
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    _openssl(folder, "req", "-x509", *curve, "-days", "2", "-subj", "/CN=kubernetes", *_pair("ca"))
    _openssl(folder, "req", *curve, "-subj", "/CN=kube-apiserver", "-keyout", "server.key", "-out", "server.csr")
    (folder / "names").write_text(f"subjectAltName=IP:{HOST}\n")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-days", "2"]
    _openssl(folder, "x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "accounts.key")


def _pair(name: str) -> list[str]:
    return ["-keyout", f"{name}.key", "-out", f"{name}.crt"]


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
