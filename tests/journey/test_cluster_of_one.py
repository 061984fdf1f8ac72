"""The cluster on one machine, all of it killed once: whatever happens, each accepted event is in the bucket once."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from cluster import ClusterOfOne
from cluster_life import each_once, outcome, run

if TYPE_CHECKING:
    from pathlib import Path

    from kafka_broker import KafkaBroker
    from s3_server import S3Server


@pytest.mark.timeout(240)
def test_every_accepted_event_is_in_the_bucket_once(tmp_path: Path, kafka_broker: KafkaBroker, s3: S3Server) -> None:
    cluster = ClusterOfOne(tmp_path, kafka_broker, s3, topic="cluster-of-one", readers=2)
    cluster.group_seconds, cluster.session_seconds = 0.5, 1.5
    with ExitStack() as ends:
        cluster.start(ends)
        became = outcome(cluster, asyncio.run(run(cluster, lambda: each_once(cluster))))
    assert became.is_right, became
    assert not became.refused
