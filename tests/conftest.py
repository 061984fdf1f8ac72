"""What tests of several rooms share."""

from __future__ import annotations

import gc
import io
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from tests.cases import cases

from kafka_broker import KafkaBroker
from real_api import RealApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s3_server import S3Server


# Hypothesis' own number of examples is 100; how long one takes says nothing on a busy machine.
settings.register_profile("abside", max_examples=cases(50), deadline=None)
settings.load_profile("abside")


def pytest_collection_finish() -> None:
    """Spare the collector of cycles: what was collected stays to the end, and a report makes a million objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@dataclass
class ConfigMapVolume:
    """A mounted ConfigMap: kubelet's atomic writer, step by step (pkg/volume/util/atomic_writer.go)."""

    path: Path
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def swap(self, keys: Mapping[str, str | bytes]) -> None:
        """Replace all keys at once."""
        old = self.path / "..data"
        before = old.readlink() if old.is_symlink() else None
        stamped = self.path / f"..2026_11_23_09_00_00.{next(self._numbers):09}"
        stamped.mkdir()
        for name, content in keys.items():
            (stamped / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        (self.path / "..data_tmp").symlink_to(stamped.name)
        (self.path / "..data_tmp").rename(self.path / "..data")
        for name in keys:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(Path("..data") / name)
        for link in self.path.iterdir():
            if not link.name.startswith("..") and link.name not in keys:
                link.unlink()
        if before is not None:
            shutil.rmtree(self.path / before)


@pytest.fixture
def configmap_volume(tmp_path: Path) -> Callable[[str], ConfigMapVolume]:
    """Make a ConfigMap volume of a name; it is empty until its first swap."""

    def make(name: str) -> ConfigMapVolume:
        path = tmp_path / name
        path.mkdir()
        return ConfigMapVolume(path)

    return make


IN_CI = os.environ.get("CI") == "true"  # noqa: TID251 CI sets it
APISERVER = os.environ.get("ABSIDE_TEST_APISERVER")  # noqa: TID251 a path, by a person or by `make cluster`
INSTALL_SECONDS = 220
# The address of a real S3 server (http://127.0.0.1:9000), and the keys of somebody who may make buckets there.
REAL_S3 = os.environ.get("ABSIDE_TEST_S3")  # noqa: TID251 set by a person who runs one
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
REAL_S3_KEYS = [os.environ.get(name, "") for name in _KEYS]  # noqa: TID251 as that person has them


def have_installed(needed: Mapping[str, str], *, install: bool = True, require: bool = IN_CI) -> None:
    """Install the packages of missing commands where we may; elsewhere fail where they are required, else skip."""
    missing = missing_of(needed)
    if missing and install and os.geteuid() == 0 and shutil.which("apt-get"):
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}  # noqa: TID251 a child's own, made from ours
        for command in (["apt-get", "update"], ["apt-get", "install", "-y", *missing]):
            subprocess.run(command, env=quiet, capture_output=True, check=False, timeout=INSTALL_SECONDS)
        missing = missing_of(needed)
    if missing:
        say = pytest.fail if require else pytest.skip
        say(f"this takes Debian's packages; as root: apt-get install {' '.join(missing)}")


def missing_of(needed: Mapping[str, str]) -> list[str]:
    return [package for command, package in needed.items() if shutil.which(command) is None]


@pytest.fixture(scope="session")
def debian() -> Callable[..., None]:
    """Return the check that commands exist; it names the Debian package of a missing one."""
    return have_installed


@pytest.fixture(scope="session")
def real_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealApi]:
    """Return a real API server, which all tests of a run share: each uses a namespace of its own."""
    if APISERVER is None:
        pytest.fail("ABSIDE_TEST_APISERVER names no kube-apiserver: run make cluster")
    have_installed({"etcd": "etcd-server", "openssl": "openssl"}, require=True)
    api = RealApi(Path(APISERVER), tmp_path_factory.mktemp("real-api"))
    try:
        print(f"etcd and kube-apiserver are ready after {api.start():.1f} s")
        yield api
    finally:
        api.end()


KAFKA_JARS = Path(sys.prefix) / "kafka"


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Return a real broker, which all tests of a run share: each uses topics of its own, and leaves it running."""
    have_installed({"java": "default-jre-headless"})
    if not (KAFKA_JARS / ".installed").exists():
        say = pytest.fail if IN_CI else pytest.skip
        say("a Kafka broker needs its jars, and Maven to fetch them: make kafka")
    broker = KafkaBroker(KAFKA_JARS, tmp_path_factory.mktemp("kafka"))
    try:
        print(f"the Kafka broker is ready after {broker.start():.1f} s")
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """Return the S3 server that all tests of a run share: one in this process, or that which ABSIDE_TEST_S3 names."""
    from s3_server import S3Server  # noqa: PLC0415 a second of imports, where it is used

    server = S3Server(REAL_S3, *REAL_S3_KEYS) if REAL_S3 else S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Return the same, with the environment variables set by which obstore finds it, here and in child processes."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:  # noqa: TID251 a person's own would win
        monkeypatch.delenv(name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


class JsonStderr(io.StringIO):
    """Stands for stderr, of which every line must be a JSON object."""

    def __call__(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def json_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[JsonStderr]:
    """Return what to have as stderr; what a process does for JSON lines is put back at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("ABSIDE_LOG_FORMAT", "")
    for owner, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    yield JsonStderr()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
