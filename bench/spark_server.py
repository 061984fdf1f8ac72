"""One real Spark behind Spark Connect, on loopback, for as long as somebody needs it: a JVM and two cores.

It comes by `make engines`, into an environment of its own: the whole of Spark and the client that abside uses are two
packages of one name. It reads disks; the jars for S3 are not among what the package has.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOST = "127.0.0.1"
PATIENCE_SECONDS = 240.0  # for a start on a busy machine; a quiet one takes 15
# A report is hundreds of small statements. Most of what they take is compiling, by Spark and then by Java.
SMALL = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
}
SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


@dataclass
class SparkServer:
    """`environment` is a virtual environment with `pyspark[connect]`; `folder` gets its log and what it spills."""

    environment: Path
    folder: Path
    memory: str = "1g"
    zone: str = "UTC"  # of the machine, and of sessions that ask for none
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"sc://{HOST}:{self.port}"

    @property
    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self, **settings: str) -> float:
        """Start it, with settings of Spark, and wait until it listens; return the seconds it took.

        Call it in the main thread: it ends with the thread that started it.
        """
        begun = time.monotonic()
        self.port = free_port()
        (home,) = self.environment.glob("lib/python*/site-packages/pyspark")
        own = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": HOST, "SPARK_LOCAL_DIRS": str(self.folder / "spill")}
        own["TZ"] = self.zone
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*tied, str(home / "bin" / "spark-submit"), *self._options(settings), "spark-internal"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={**os.environ, **own},  # noqa: TID251 a child's own, made from ours
            )
        until_listens(self.port, self.process, lambda: self.log)
        return time.monotonic() - begun

    def kill(self) -> None:
        """Kill it with -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _options(self, settings: dict[str, str]) -> list[str]:
        told = {
            "spark.connect.grpc.binding.address": HOST,
            "spark.connect.grpc.binding.port": str(self.port),
            "spark.driver.bindAddress": HOST,
            "spark.driver.host": HOST,
            "spark.sql.session.timeZone": self.zone,
            "spark.ui.enabled": "false",
            "spark.sql.warehouse.dir": str(self.folder / "warehouse"),
            **settings,
        }
        options = ["--class", SERVER, "--master", "local[2]", "--driver-memory", self.memory]
        return [*options, *(word for name, value in told.items() for word in ("--conf", f"{name}={value}"))]


def free_port() -> int:
    with socket.create_server((HOST, 0)) as held:
        port: int = held.getsockname()[1]
    return port


def until_listens(port: int, process: subprocess.Popen[bytes], log: Callable[[], str]) -> None:
    """Wait until somebody listens there; the process must live."""
    begun = time.monotonic()
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            assert process.poll() is None, log()[-3000:]
            assert time.monotonic() - begun < PATIENCE_SECONDS, log()[-3000:]
            time.sleep(0.05)
        else:
            return
