"""A real S3 server on loopback, for as long as somebody needs it: versitygw over a directory."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from s3_server import REGION, S3Server
from spark_server import HOST, free_port, until_listens

if TYPE_CHECKING:
    from pathlib import Path

KEY, SECRET = "shop", "secret-of-the-shop"


class VersityGateway:
    """`binary` is versitygw; `folder` gets its buckets, as directories with extended attributes, and its log."""

    def __init__(self, binary: Path, folder: Path) -> None:
        (folder / "buckets").mkdir(parents=True)
        port = free_port()
        self.server = S3Server(f"http://{HOST}:{port}", KEY, SECRET)
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        options = ["--access", KEY, "--secret", SECRET, "--region", REGION, "--port", f"{HOST}:{port}", "--quiet"]
        command = [*tied, str(binary), *options, "posix", str(folder / "buckets")]
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until_listens(port, self.process, (folder / "log").read_text)
        self.server.start()

    def end(self) -> None:
        self.server.stop()
        self.process.kill()
        self.process.wait()
