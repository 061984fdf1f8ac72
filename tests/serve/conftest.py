"""Certificates made with openssl, and a Secret as Kubernetes mounts it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from abside.serve.certificate import Certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
KINDS = {
    "one": (*EC, "-nodes", "-days", "2"),
    "two": (*EC, "-nodes", "-days", "9"),
    "rsa": ("-newkey", "rsa:2048", "-nodes", "-days", "2"),
    "late": (*EC, "-nodes", "-days", "20000"),  # after 2049, whose times are written in another form
    "locked": (*EC, "-passout", "pass:x", "-days", "2"),
}


def openssl(*words: str) -> str:
    found = shutil.which("openssl")
    if found is None:
        pytest.skip("no openssl to make a certificate with")
    return subprocess.run([found, *words], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the folder with tls.crt and tls.key of one kind, made once."""
    folder = tmp_path_factory.mktemp("certificates")

    def make(kind: str) -> Path:
        there = folder / kind
        if not there.exists():
            there.mkdir()
            files = ("-keyout", str(there / "tls.key"), "-out", str(there / "tls.crt"))
            openssl("req", "-x509", *KINDS[kind], "-subj", f"/CN={kind}", *files, "-addext", "subjectAltName=DNS:a")
        return there

    return make


class Mount:
    """A Secret as the kubelet mounts it: a link to a directory, which is changed as a whole."""

    def __init__(self, at: Path, first: Path) -> None:
        self.at = at
        self.show(first)

    def show(self, folder: Path) -> None:
        link = self.at.with_name("next")
        link.symlink_to(folder)
        link.replace(self.at)

    def certificate(self) -> Certificate:
        return Certificate(self.at / "tls.crt", self.at / "tls.key")


@pytest.fixture
def mount(tmp_path: Path, made: Callable[[str], Path]) -> Mount:
    return Mount(tmp_path / "mount", made("one"))
