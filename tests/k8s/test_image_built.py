"""The image, built and run as Kubernetes would, by root and with what builds and runs containers: by `make image`.

What is missing is installed, by root; without it the tests fail.
No registry is asked. Where the base is not in the local store it is made with mmdebstrap and given the name that the
Dockerfile's FROM asks for; the build takes the locked requirements from the package index.
"""

from __future__ import annotations

import copy
import fcntl
import json
import os
import re
import subprocess
import tempfile
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from abside import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.k8s.conftest import Object, Rendered

NEEDED = {name: name for name in ("buildah", "mmdebstrap", "podman", "runc")}  # command → Debian package
OURS_MIB = 200  # what the image may weigh above its base: pyarrow is two thirds of it
STARTUP_SECONDS = 20.0  # four containers start at once, on a machine that may be busy: a bound, not the figure
PATIENCE_SECONDS = 60.0
UP = ("listening", "published")  # what a role logs when it is ready
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
events_logger = "file"
"""

COUNT = """
import pathlib, pyarrow.parquet as pq
print(sum(pq.read_metadata(path).num_rows for path in pathlib.Path("/var/lib/abside/store").rglob("*.parquet")))
"""
# The first run on a machine installs, and another one may be building.
pytestmark = [pytest.mark.image, pytest.mark.timeout(900)]


def run(*command: str, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    content = done.stdout
    assert done.returncode == 0, f"{command}\n{content[-2000:]}\n{done.stderr[-4000:]}"
    return content


@pytest.fixture(scope="module")
def image(root: Path, tmp_path_factory: pytest.TempPathFactory, debian: Callable[..., None]) -> Iterator[str]:
    """Build the image and return its name in the local store, which all runs on a machine share: one at a time."""
    if os.geteuid() != 0:
        pytest.fail("only root makes such containers: sudo make image, which installs what is missing")
    debian(NEEDED, require=True)
    with (Path(tempfile.gettempdir()) / "abside-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield build(root, tmp_path_factory)


def build(root: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    if subprocess.run(["buildah", "inspect", "--type", "image", base], capture_output=True, check=False).returncode:
        begun = time.monotonic()
        make_base(base, tmp_path_factory.mktemp("base") / "base.tar")
        print(f"base made in {time.monotonic() - begun:.0f} s")
    # The build runs in the machine's own network; where it trusts a proxy of its own, so must pip in there.
    trust = ["--volume", "/etc/ssl/certs:/etc/ssl/certs:ro", "--env", f"PIP_CERT={CA_BUNDLE}"]
    name = f"localhost/abside:{__version__}"
    subprocess.run(["buildah", "rmi", name], capture_output=True, check=False)  # else it would stay there nameless
    begun = time.monotonic()
    run("buildah", "bud", "--isolation", "chroot", "--pull-never", *trust, "--tag", name, str(root))
    print(f"image built in {time.monotonic() - begun:.0f} s")
    return name


def make_base(name: str, archive: Path) -> None:
    """Make a substitute for the official image: Debian with its own Python."""
    packages = "--include=python3,python3-venv,ca-certificates"
    run("mmdebstrap", "--variant=minbase", packages, name.rpartition("-")[2], str(archive))
    container = run("buildah", "from", "scratch").strip()
    run("buildah", "add", container, str(archive), "/")
    run("buildah", "commit", "--rm", container, name)


def test_it_says_what_it_is_and_runs_as_a_number(image: str) -> None:
    (about,) = json.loads(run("podman", "image", "inspect", image))
    config = about["Config"]
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("10001:10001", ["abside"], ["--help"])
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.base.name"].startswith("python:")


def test_it_holds_what_the_lock_names_compiled_and_nothing_to_install_with(image: str, root: Path) -> None:
    locked = set(re.findall(r"^([a-z0-9-]+)==", (root / "requirements" / "image.txt").read_text(), re.MULTILINE))
    bill = json.loads(inside(image, "cat", "/opt/abside/sbom.cdx.json"))
    listed = {one["name"].lower().replace("_", "-"): one["version"] for one in bill["components"]}
    assert listed.keys() == locked | {"abside"}
    assert listed["abside"] == __version__
    files = inside(image, "find", "/opt/abside", "-name", "*.py*").splitlines()
    sources = {path for path in files if path.endswith(".py")}
    compiled = {re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc$", r"\1.py", path) for path in files if path.endswith("c")}
    assert sources == compiled
    assert "zipfile" in inside(image, "find", "/usr/lib", "/usr/local/lib", "-name", "zipfile.cpython-*.pyc")
    assert not {"pip", "setuptools", "wheel"} & listed.keys()


def test_it_is_small(image: str, root: Path) -> None:
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", (root / "Dockerfile").read_text(), re.MULTILINE)
    (whole, below) = (json.loads(run("podman", "image", "inspect", name))[0]["Size"] / 2**20 for name in (image, base))
    print(f"image {whole:.0f} MiB, of which its base {below:.0f} MiB")
    assert whole - below < OURS_MIB


def inside(image: str, *command: str) -> str:
    """Run something in the image, as unprivileged as Kubernetes would."""
    bare = ("--read-only", "--read-only-tmpfs=false", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    limits = ("--ulimit", "nofile=20000:20000", "--ulimit", "nproc=4096:4096", "--runtime", "runc", "--network", "none")
    return run("podman", "run", "--rm", *bare, *limits, "--entrypoint", command[0], image, *command[1:])


@pytest.fixture(params=[(10001, 10001), (1_000_660_000, 0)], ids=["usual", "openshift"])
def user(request: pytest.FixtureRequest) -> tuple[int, int]:
    """Return user and group: the manifests', and what OpenShift gives."""
    found: tuple[int, int] = request.param
    return found


@pytest.fixture
def pod(image: str, user: tuple[int, int], render: Callable[[str], Rendered], tmp_path: Path) -> Iterator[str]:
    """Run the dev overlay's pod and the collector, as one pod with a network of its own; return its name."""
    (tmp_path / "containers.conf").write_text(CONTAINERS_CONF)
    objects = playable(render, image, user)
    (tmp_path / "pod.yaml").write_text("\n---\n".join(map(json.dumps, objects)))
    environment = {**os.environ, "CONTAINERS_CONF": str(tmp_path / "containers.conf")}  # noqa: TID251 podman's own
    maps = [one["metadata"]["name"] for one in objects if one["kind"] == "ConfigMap"]
    for left in (
        ("pod", "rm", "--force", "--ignore", "--time", "1", "abside-test"),
        ("volume", "rm", "--force", *maps),
    ):
        subprocess.run(["podman", *left], capture_output=True, check=False)  # by a run that was killed
    run("podman", "kube", "play", "--network", "none", str(tmp_path / "pod.yaml"), env=environment)
    yield "abside-test"
    run("podman", "pod", "rm", "--force", "--time", "1", "abside-test")
    run("podman", "volume", "rm", *maps)  # podman keeps a ConfigMap as a volume, and would take it again next time


def playable(render: Callable[[str], Rendered], image: str, user: tuple[int, int]) -> list[Object]:
    """Return the rendered pod as podman can play it: native sidecars as containers, the claim as a directory."""
    rendered = copy.deepcopy(render("overlays/dev"))
    recs, collector = rendered.workload("rec-service"), rendered.workload("experiment-collector")
    containers = [*collector.containers, *recs.containers]
    for container in containers:
        container.pop("restartPolicy", None)
        container.pop("ports", None)  # podman would publish them
        container["image"] = image
        container["securityContext"] |= dict(zip(("runAsUser", "runAsGroup"), user, strict=True))
        for variable in container.get("env", []):
            if variable["name"] == "ABSIDE_UPSTREAM":
                variable["value"] = "http://127.0.0.1:7700"
            if "metadata.namespace" in str(variable.get("valueFrom")):  # podman does not know it
                del variable["valueFrom"]
                variable["value"] = "abside-dev"
    # The gateway is not in this pod: the sidecar takes the carts.
    recs.container("shopper")["command"][2:] = ["http://127.0.0.1:7600", "", "http://127.0.0.1:7600", "0.1"]
    volumes = [{"name": "store", "emptyDir": {}}]
    for name, volume in recs.volumes.items():
        source = volume["projected"]["sources"][0] if "projected" in volume else volume
        volumes.append({"name": name, **{kind: value for kind, value in source.items() if kind != "name"}})
    spec = {"containers": containers, "volumes": volumes, "restartPolicy": "Never"}
    labels = recs.template["metadata"]["labels"]
    play = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "abside-test", "labels": labels}, "spec": spec}
    maps = [{**one, "data": one.get("data", {})} for one in rendered.of("ConfigMap").values()]
    return [*maps, play]


def test_the_pod_runs_on_a_read_only_root_without_any_capability(pod: str, user: tuple[int, int]) -> None:
    for name in ("abside-agent", "abside-sidecar", "abside-collector"):
        container = f"{pod}-{name}"
        until(partial(is_up, container))
        status = run("podman", "exec", container, "cat", "/proc/1/status")
        assert re.search(rf"^Uid:\s+{user[0]}\s", status, re.MULTILINE)
        assert re.search(rf"^Gid:\s+{user[1]}\s", status, re.MULTILINE)
        assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE)
        assert re.search(r"^NoNewPrivs:\s+1$", status, re.MULTILINE)
        assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
        refused = subprocess.run(["podman", "exec", container, "touch", "/x"], capture_output=True, check=False)
        assert b"Read-only file system" in refused.stderr
        print(f"{name}: {startup_seconds(container):.2f} s from start to its first word of being up")
        assert startup_seconds(container) < STARTUP_SECONDS
    until(lambda: rows(pod) > 20)
    assert run("podman", "exec", f"{pod}-abside-sidecar", "ls", "-A", "/tmp") == ""  # noqa: S108 that nobody wrote there
    for name in ("shopper", "abside-sidecar", "abside-agent", "abside-collector"):
        run("podman", "stop", "--time", "40", f"{pod}-{name}")
        code = run("podman", "inspect", "--format", "{{.State.ExitCode}}", f"{pod}-{name}").strip()
        assert name == "shopper" or code == "0", logs(f"{pod}-{name}")


def is_up(container: str) -> bool:
    return any(observation in logs(container) for observation in UP)


def logs(container: str) -> str:
    done = subprocess.run(["podman", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def startup_seconds(container: str) -> float:
    """Return the time from the container's start to the log line that it listens, or has published."""
    started = run("podman", "inspect", "--format", "{{.State.StartedAt.UnixNano}}", container)
    lines = subprocess.run(["podman", "logs", "--timestamps", container], capture_output=True, text=True, check=True)
    line = next(
        line for line in (lines.stdout + lines.stderr).splitlines() if any(observation in line for observation in UP)
    )
    at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d*", r"\1", line.split(" ")[0]))
    return at.timestamp() - int(started) / 1e9


def rows(pod: str) -> int:
    """Count what the collector has stored, with the library that it has."""
    return int(run("podman", "exec", f"{pod}-abside-collector", "python", "-c", COUNT))


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.2)
