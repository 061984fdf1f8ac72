"""One real Kafka broker on loopback, for as long as somebody needs it: KRaft, broker and controller in one process.

Its jars come by `make kafka` (tests/kafka/pom.xml). It ends with whoever started it, however that ends.
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewPartitions, NewTopic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_SECONDS = 120.0  # for a start on a busy machine; a quiet one takes 4
ANSWER_SECONDS = 30.0
HOST = "127.0.0.1"
CLUSTER_ID = "abside-tests-0000000AA"  # 22 characters of base64, as Kafka's tools make them
QUIET = 0  # of librdkafka's levels: a broker that is away is no news here
USER, PASSWORD = "guest", "guest-secret"  # may do nothing but what an ACL allows
JAVA = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")
# The least that one node of its own needs; topics are made by name, a group assigns without a wait, and after a kill
# the controller does not wait long for the broker that was there.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,GUESTS:SASL_PLAINTEXT,TLS:SSL,CONTROLLER:PLAINTEXT
listeners=PLAINTEXT://{host}:{port},GUESTS://{host}:{guests},TLS://{host}:{tls},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port},GUESTS://{host}:{guests},TLS://{host}:{tls}
ssl.keystore.type=PEM
ssl.keystore.location={folder}/tls.pem
sasl.enabled.mechanisms=PLAIN
listener.name.guests.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
num.network.threads=2
num.io.threads=2
log.cleaner.enable=false
"""


@dataclass
class KafkaBroker:
    """`jars` is the folder of its jars; `folder` gets its data, which a restart keeps."""

    jars: Path
    folder: Path
    port: int = 0
    guests_port: int = 0  # listens with SASL PLAIN, for USER
    tls_port: int = 0
    process: subprocess.Popen[bytes] | None = None
    _admin: AdminClient | None = field(default=None, init=False)

    @property
    def bootstrap(self) -> str:
        """The address that clients begin with."""
        return f"{HOST}:{self.port}"

    @property
    def guests(self) -> str:
        """The address that asks for USER and PASSWORD."""
        return f"{HOST}:{self.guests_port}"

    @property
    def tls(self) -> str:
        """The address that speaks TLS."""
        return f"{HOST}:{self.tls_port}"

    @property
    def authority(self) -> Path:
        """The certificate that a client of `tls` must trust."""
        return self.folder / "ca.pem"

    @property
    def log(self) -> str:
        """The last lines it wrote."""
        path = self.folder / "log"
        return path.read_text()[-3000:] if path.exists() else ""

    def start(self) -> float:
        """Start it, on the ports and the data it had, and wait for its first answer; return the seconds it took.

        Call it in the main thread: the broker ends with the thread that started it.
        """
        begun = time.monotonic()
        self.launch()
        self.until_ready()
        return time.monotonic() - begun

    def launch(self) -> None:
        """Start it and do not wait: see `start`."""
        if not self.port:
            self._format()
        self.process = self._java("kafka.Kafka", str(self.folder / "properties"))

    def until_ready(self) -> None:
        """Wait for its first answer."""
        begun = time.monotonic()
        while not self._answers():
            assert self.process is not None
            assert self.process.poll() is None, self.log
            assert time.monotonic() - begun < PATIENCE_SECONDS, self.log
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill it with -9; its data stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        self._admin = None  # its connection is gone, and it asks by no other

    def freeze(self) -> None:
        """Stop it as a hanging machine does: connections stay, and nothing is answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def create_topic(self, name: str, partitions: int = 1, **config: str) -> None:
        """Make a topic. An underscore in a setting's name stands for a dot: `max_message_bytes`."""
        dotted = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dotted)
        self.admin.create_topics([topic], operation_timeout=ANSWER_SECONDS)[name].result(ANSWER_SECONDS)
        self._until(lambda: len(self._leaders(name)) == partitions and min(self._leaders(name)) > 0)

    def delete_topic(self, name: str) -> None:
        self.admin.delete_topics([name], operation_timeout=ANSWER_SECONDS)[name].result(ANSWER_SECONDS)
        self._until(lambda: not self._leaders(name))

    def add_partitions(self, name: str, total: int) -> None:
        """Make a topic have so many partitions."""
        asked = [NewPartitions(name, total)]
        self.admin.create_partitions(asked, operation_timeout=ANSWER_SECONDS)[name].result(ANSWER_SECONDS)
        self._until(lambda: len(self._leaders(name)) == total and min(self._leaders(name)) > 0)

    def allow(self, name: str) -> None:
        """Let USER write to a topic."""
        may = (AclOperation.WRITE, AclPermissionType.ALLOW)  # it implies Describe
        rule = AclBinding(ResourceType.TOPIC, name, ResourcePatternType.LITERAL, f"User:{USER}", "*", *may)
        self.admin.create_acls([rule])[rule].result(ANSWER_SECONDS)

    def configure_topic(self, name: str, **config: str) -> None:
        """Change settings of a topic, named as in `create_topic`."""
        dotted = {key.replace("_", "."): value for key, value in config.items()}
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in dotted.items()
        ]
        resource = ConfigResource("topic", name, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result(ANSWER_SECONDS)

        def applied() -> bool:
            asked = ConfigResource("topic", name)
            found = self.admin.describe_configs([asked])[asked].result(ANSWER_SECONDS)
            return all(found[key].value == value for key, value in dotted.items())

        self._until(applied)

    def _leaders(self, name: str) -> list[int]:
        """Return the leader of each partition, -1 for none, as the broker knows them; it learns a little later."""
        found = self.admin.list_topics(timeout=ANSWER_SECONDS).topics.get(name)
        return [] if found is None else [partition.leader for partition in found.partitions.values()]

    def _until(self, holds: Callable[[], bool]) -> None:
        begun = time.monotonic()
        while not holds():
            assert time.monotonic() - begun < PATIENCE_SECONDS, self.log
            time.sleep(0.01)

    @property
    def admin(self) -> AdminClient:
        """The client of an administrator, one for all who ask."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": QUIET})
        return self._admin

    def _format(self) -> None:
        held = [socket.create_server((HOST, 0)) for _ in range(4)]
        self.port, self.guests_port, self.tls_port, controller = (one.getsockname()[1] for one in held)
        for one in held:
            one.close()
        names = {"host": HOST, "port": self.port, "guests": self.guests_port, "controller": controller}
        names["tls"] = self.tls_port
        certify(self.authority, self.folder / "tls.pem")
        text = PROPERTIES.format(**names, user=USER, password=PASSWORD, folder=self.folder)
        (self.folder / "properties").write_text(text)
        words = ("format", "--cluster-id", CLUSTER_ID, "--config", str(self.folder / "properties"))
        assert self._java("kafka.tools.StorageTool", *words).wait(PATIENCE_SECONDS) == 0, self.log

    def _java(self, *words: str) -> subprocess.Popen[bytes]:
        # Linux kills it when the thread that started it ends; elsewhere whoever starts it must come to its end.
        tied = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*tied, "java", *JAVA, "-cp", f"{self.jars}/*", *words]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _answers(self) -> bool:
        try:
            self.admin.list_topics(timeout=1.0)
        except KafkaException:
            return False
        return True


def certify(certificate: Path, store: Path) -> None:
    """Write a certificate of HOST, which is its own authority, and a key store that contains it."""
    key = store.with_suffix(".key")
    kind = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    name = ("-subj", "/CN=broker", "-addext", f"subjectAltName=IP:{HOST}")
    where = ("-keyout", str(key), "-out", str(certificate))
    subprocess.run(["openssl", *kind, *name, *where], check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
