"""The watch of the paused ConfigMap against an API server that misbehaves in every way it can."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import time
from dataclasses import replace
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

import watchers
from abside_agent.document.reading import Pauses
from abside_agent.watch.api import Access
from abside_agent.watch.cluster import Cluster
from abside_agent.watch.config_map import MAX_ANSWER_BYTES
from abside_agent.watch.timeouts import WatchTimeouts
from abside_agent.watch.topic import PAUSES
from fake_api import FakeApi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

DEADLINE_SECONDS = 20.0
HASTE = WatchTimeouts(
    watch=(60.0, 60.0), answer=1.0, silence=5.0, first=0.02, longest=0.1, refused=0.2, look=0.02, content=0.3
)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    server = FakeApi().start()
    yield server
    server.end()


@pytest.fixture
def watch(api: FakeApi, tmp_path: Path) -> Iterator[Callable[..., Cluster[Pauses]]]:
    begun: list[Cluster[Pauses]] = []

    def begin(patience: WatchTimeouts = HASTE, url: str = "", credentials: Path | None = None) -> Cluster[Pauses]:
        access = Access(url or api.url, credentials or api.credentials(tmp_path / "credentials"))
        rings: SimpleQueue[None] = SimpleQueue()
        cluster = Cluster(access, "abside-paused", PAUSES, lambda: rings.put(None), patience)
        cluster.start()
        begun.append(cluster)
        return cluster

    yield begin
    for cluster in begun:
        cluster.close()


def until(holds: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def says(cluster: Cluster[Pauses], pauses: dict[str, str], *, fresh: bool = True) -> Callable[[], bool]:
    def holds() -> bool:
        observation = cluster.report.observation
        return observation is not None and observation.content == pauses and observation.is_fresh == fresh

    return holds


def test_it_lists_then_watches_for_one_name_with_bookmarks_and_a_bounded_time(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    api.put({"x": "carts broken\n"})
    cluster = watch(WatchTimeouts())
    until(says(cluster, {"x": "carts broken"}))
    until(lambda: api.watching)
    api.put({"x": "carts broken", "all": ""})
    until(says(cluster, {"x": "carts broken", "all": ""}))
    api.put({})
    until(says(cluster, {}))
    (query,) = api.watches
    assert 240 <= int(query.pop("timeoutSeconds")) <= 300
    assert query == {
        "fieldSelector": "metadata.name=abside-paused",
        "watch": "1",
        "resourceVersion": "2",
        "allowWatchBookmarks": "true",
    }
    assert api.lists == 1


def test_a_config_map_that_is_missing_or_deleted_pauses_nothing_as_its_volume_would(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    cluster = watch()
    until(says(cluster, {}))
    until(lambda: api.watching)
    api.put({"x": "why"})
    until(says(cluster, {"x": "why"}))
    api.put(None)
    until(says(cluster, {}))


def test_after_a_cut_it_goes_on_from_the_last_bookmark_and_misses_nothing(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    cluster = watch()
    until(lambda: api.watching)
    for _ in range(3):
        api.bookmark()
    bookmarked = str(api.version)
    time_of_cut = len(api.watches)
    until(lambda: cluster._version == bookmarked)
    api.cut()
    api.put({"x": "told while nobody watched"})
    until(says(cluster, {"x": "told while nobody watched"}))
    assert api.watches[time_of_cut]["resourceVersion"] == bookmarked
    assert api.lists == 1


def test_a_watch_that_the_api_ends_is_opened_again_and_stays_fresh(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    cluster = watch(WatchTimeouts(watch=(1.0, 1.0), first=0.02, look=0.02))
    until(lambda: len(api.watches) >= 3)
    assert api.lists == 1
    assert cluster.report.problem is None


def test_a_version_that_expired_is_listed_again_whether_told_inside_a_200_or_as_a_status(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    cluster = watch()
    until(lambda: api.watching)
    api.data = {"x": "changed while compacted"}
    api.expire()
    until(says(cluster, {"x": "changed while compacted"}))
    assert api.lists == 2
    until(lambda: api.watching)
    api.stop()
    api.version += 5
    api.forgotten = api.version - 1
    api.data = {"y": "changed while away"}
    api.start()
    until(says(cluster, {"y": "changed while away"}))
    assert api.lists == 3


def test_a_version_that_expired_in_an_outage_is_listed_without_a_second_wait(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]], tmp_path: Path
) -> None:
    cluster = watch(WatchTimeouts(first=600.0, longest=600.0, look=0.02))  # a wait is far longer than this test
    until(lambda: api.watching)
    api.stop()
    until(lambda: cluster._away_since)
    api.data = {"y": "changed while away"}
    api.version += 7
    api.forgotten = api.version - 1
    api.token = "token-2"  # noqa: S105 of a server that exists for a second
    api.start()
    (tmp_path / "credentials" / "token").write_text("token-2")  # which ends the first wait, and none but that
    until(says(cluster, {"y": "changed while away"}))
    assert api.lists == 2


def test_while_the_api_is_away_the_last_word_stays_and_is_known_to_be_old_and_it_catches_up(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]], caplog: pytest.LogCaptureFixture
) -> None:
    api.put({"x": "why"})
    cluster = watch()
    until(says(cluster, {"x": "why"}))
    until(lambda: api.watching)
    api.stop()
    until(says(cluster, {"x": "why"}, fresh=False))
    until(lambda: cluster.report.problem, "after a while a person is told")
    api.start()
    until(says(cluster, {"x": "why"}))
    until(lambda: cluster.report.problem is None)
    until(lambda: api.watching)
    api.put({})
    until(says(cluster, {}))
    assert caplog.text.count("fast_watch_lost") == 1


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_is_loud_once_and_slow(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]], caplog: pytest.LogCaptureFixture, code: int
) -> None:
    api.fails = code
    cluster = watch(WatchTimeouts(first=0.01, longest=0.02, refused=600.0, look=0.01))
    until(lambda: cluster.report.problem)
    time.sleep(0.3)  # time for many tries, were they to come
    assert len(api.tokens) == 1
    assert caplog.text.count("fast_watch_lost") == 1
    problem = cluster.report.problem
    assert problem is not None
    assert (problem.severity, problem.code) == ("warning", "FAST_WATCH")
    assert f"answered {code}" in problem.message
    assert "token-1" not in caplog.text + problem.message


def test_a_new_token_is_tried_at_once_and_read_at_every_connection(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]], tmp_path: Path
) -> None:
    cluster = watch(WatchTimeouts(refused=600.0, first=0.02, look=0.02))
    until(lambda: api.watching)
    api.token = "token-2"  # noqa: S105 of a server that exists for a second
    api.cut()
    until(lambda: cluster.report.problem)
    (tmp_path / "credentials" / "token").write_text("token-2\n")
    until(lambda: api.watching and cluster.report.problem is None)
    assert api.tokens[-1] == "token-2"


@pytest.mark.parametrize("code", [429, 500, 503])
def test_an_api_in_trouble_is_asked_again_later(api: FakeApi, watch: Callable[..., Cluster[Pauses]], code: int) -> None:
    api.fails = code
    cluster = watch()
    until(lambda: len(api.tokens) >= 3)
    api.fails = 0
    until(says(cluster, {}))


def test_how_long_a_refusal_asks_to_wait_is_waited_up_to_the_longest(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    api.fails, api.retry_after = 429, "600"
    watch(WatchTimeouts(first=0.01, longest=0.5, look=0.02))
    until(lambda: len(api.tokens) >= 1)
    time.sleep(0.35)  # time for many tries, were they to come
    assert len(api.tokens) == 1
    until(lambda: len(api.tokens) >= 2)


def test_a_watch_that_ends_at_once_is_waited_after(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    api.ends_at_once = True
    cluster = watch(WatchTimeouts(first=0.5, longest=0.5, look=0.02))
    until(lambda: len(api.watches) >= 2)
    time.sleep(0.5)
    assert len(api.watches) < 30, "a quarter of a second apart in the middle; hundreds, were there no wait"
    api.ends_at_once = False
    until(lambda: api.watching)
    assert api.lists == 1
    assert cluster.report.problem is None


def test_a_redirect_is_a_refusal_and_takes_the_token_nowhere(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    other = FakeApi().start()
    api.elsewhere = other.url
    try:
        cluster = watch()
        until(lambda: cluster.report.problem)
        assert cluster.report.problem is not None
        assert "answered 307" in cluster.report.problem.message
        assert other.tokens == []
    finally:
        other.end()


def test_a_list_beyond_its_bound_is_garbage(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    api.padding = MAX_ANSWER_BYTES
    cluster = watch(WatchTimeouts(first=0.02, longest=0.1, look=0.02, content=0.0))
    until(lambda: cluster.report.problem)
    assert cluster.report.problem is not None
    assert f"more than {MAX_ANSWER_BYTES} bytes" in cluster.report.problem.message
    assert cluster.report.observation is None
    api.padding = MAX_ANSWER_BYTES // 2
    until(says(cluster, {}))


def test_keys_that_begin_with_a_dot_are_no_pauses(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    api.put({"..data": "", ".all": "", "x": "why"})
    until(says(watch(), {"x": "why"}))


def test_an_api_that_takes_too_long_is_away(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    api.slow = 30.0
    cluster = watch(WatchTimeouts(answer=0.1, first=0.02, longest=0.05, look=0.02, content=0.0))
    until(lambda: cluster.report.problem)
    api.slow = 0.0
    until(says(cluster, {}))


def test_a_refusal_whose_body_never_comes_is_one_within_the_time_of_an_answer(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]]
) -> None:
    cluster = watch(WatchTimeouts(watch=(1.0, 1.0), answer=0.3, silence=600.0, first=0.02, longest=0.05, content=0.0))
    until(lambda: api.watching)
    api.is_mute = True
    api.fails = 503  # whatever asks next, and that is a watch, because the API ends this one
    until(says(cluster, {}, fresh=False))
    until(lambda: cluster.report.problem)
    api.fails = 0
    until(says(cluster, {}))


def test_a_connection_that_died_unnoticed_is_given_up(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    cluster = watch(WatchTimeouts(silence=0.3, first=0.02, longest=0.05, look=0.02))
    until(lambda: api.watching)
    api.is_deaf = True
    api.put({"x": "unheard"})
    api.is_deaf = False
    until(says(cluster, {"x": "unheard"}))


def test_who_doubts_is_told_by_a_new_list(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    cluster = watch(WatchTimeouts())
    until(lambda: api.watching)
    api.is_deaf = True
    api.put({"x": "unheard"})
    cluster.doubt()
    until(says(cluster, {"x": "unheard"}))
    assert api.lists == 2


def test_a_doubt_while_a_watch_begins_is_heard(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    cluster = watch(WatchTimeouts())
    until(lambda: api.watching)

    def doubt_once() -> None:
        api.before_watch = lambda: None
        cluster.doubt()

    api.before_watch = doubt_once
    api.cut()
    until(lambda: api.lists == 2)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'{"type": "MODIFIED"}\n',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": "abside-paused"}}}\n',
        b'{"type": "MODIFIED", "object": {"metadata": {"name": "abside-paused", "resourceVersion": "9"}, "data": 7}}\n',
        b'{"type": "NEWS", "object": {}}\n',
        b'{"type": "ERROR", "object": {"code": 500, "message": "etcd"}}\n',
        b"[" * 100_000 + b"\n",
        b"x" * (MAX_ANSWER_BYTES + 1),
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_garbage_changes_nothing_and_is_recovered_from(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]], line: bytes
) -> None:
    api.put({"x": "why"})
    cluster = watch()
    until(lambda: api.watching)
    api.say(line)
    until(lambda: len(api.watches) >= 2 and api.watching)
    until(says(cluster, {"x": "why"}))
    api.put({})
    until(says(cluster, {}))


def test_blank_lines_and_other_config_maps_are_passed_over(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    cluster = watch()
    until(lambda: api.watching)
    api.say(
        b'\n\n{"type": "ADDED", "object": {"metadata": {"name": "other", "resourceVersion": "9"}, "data": {"a": ""}}}\n'
    )
    api.put({"x": "why"})
    until(says(cluster, {"x": "why"}))
    assert len(api.watches) == 1


def test_credentials_that_are_not_there_yet_are_waited_for(
    api: FakeApi, watch: Callable[..., Cluster[Pauses]], tmp_path: Path
) -> None:
    cluster = watch(credentials=tmp_path / "later")
    until(lambda: cluster.report.problem)
    api.credentials(tmp_path / "later")
    until(says(cluster, {}))


def secured(tmp_path: Path, *names: str) -> FakeApi:
    """Start a server that shows the certificate of the first name."""
    for name in names:
        subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.crt")]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files]
        subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / f"{names[0]}.crt", tmp_path / f"{names[0]}.key")
    return FakeApi(tls=tls).start()


def test_only_the_authority_of_the_cluster_is_trusted(tmp_path: Path, watch: Callable[..., Cluster[Pauses]]) -> None:
    secure = secured(tmp_path, "ours", "theirs")
    try:
        wrong = secure.credentials(tmp_path / "wrong", (tmp_path / "theirs.crt").read_bytes())
        stranger = watch(url=secure.url, credentials=wrong)
        until(lambda: stranger.report.problem)
        assert secure.tokens == []
        right = secure.credentials(tmp_path / "right", (tmp_path / "ours.crt").read_bytes())
        until(says(watch(url=secure.url, credentials=right), {}))
    finally:
        secure.end()


@pytest.mark.parametrize("bundle", [b"", b"\n", b"\xff", b"no certificate"])
def test_without_an_authority_nothing_is_sent_not_even_to_whom_the_system_trusts(
    tmp_path: Path, watch: Callable[..., Cluster[Pauses]], monkeypatch: pytest.MonkeyPatch, bundle: bytes
) -> None:
    secure = secured(tmp_path, "system")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.crt"))
    try:
        cluster = watch(url=secure.url, credentials=secure.credentials(tmp_path / "credentials", bundle))
        until(lambda: cluster.report.problem)
        assert secure.tokens == []
        assert cluster.report.problem is not None
        assert "ca.crt holds no authority to trust: " in cluster.report.problem.message
    finally:
        secure.end()


class Dead(Cluster[Pauses]):
    """One whose thread ends before it has begun, as where no descriptor is left, or does not come to it for a while."""

    lingers = 0.0

    async def _run(self) -> None:
        await asyncio.sleep(self.lingers)
        raise OSError(24, "Too many open files")


@pytest.mark.parametrize(("lingers", "why"), [(0.0, "Too many open files"), (0.5, "its thread does not begin")])
def test_a_thread_that_does_not_live_leaves_the_volume_alone_and_says_so(
    api: FakeApi, tmp_path: Path, caplog: pytest.LogCaptureFixture, lingers: float, why: str
) -> None:
    rings: SimpleQueue[None] = SimpleQueue()
    access = Access(api.url, api.credentials(tmp_path / "credentials"))
    cluster = Dead(access, "abside-paused", PAUSES, lambda: rings.put(None), WatchTimeouts(start=0.1))
    cluster.lingers = lingers
    cluster.start()
    problem = cluster.report.problem
    assert problem is not None
    assert why in problem.message
    assert cluster.report.observation is None
    rings.get(timeout=DEADLINE_SECONDS)
    begun = time.monotonic()
    cluster.await_answer(DEADLINE_SECONDS)
    assert time.monotonic() - begun < DEADLINE_SECONDS / 2
    cluster.close()
    assert "fast_watch_died" in caplog.text


def test_what_could_not_be_read_is_told_again(api: FakeApi, tmp_path: Path) -> None:
    left = ["a mistake of ours"]

    def read(keys: Mapping[str, bytes]) -> Pauses:
        if keys and left:
            raise LookupError(left.pop())
        return PAUSES.read(keys)

    access = Access(api.url, api.credentials(tmp_path / "credentials"))
    cluster = Cluster(access, "abside-paused", replace(PAUSES, read=read), int, HASTE)
    cluster.start()
    try:
        until(lambda: api.watching)
        api.put({"x": "why"})
        until(says(cluster, {"x": "why"}))
    finally:
        cluster.close()


def test_closing_ends_the_thread_at_once_whatever_it_does(api: FakeApi, watch: Callable[..., Cluster[Pauses]]) -> None:
    for is_away in (False, True):
        cluster = watch()
        until(lambda: api.watching)
        if is_away:
            api.stop()
        begun = time.monotonic()
        cluster.close()
        assert time.monotonic() - begun < 1.9
        assert not cluster._thread.is_alive()


async def test_two_hundred_watchers_hear_every_change_and_all_come_back() -> None:
    took = await watchers.main(200, back_seconds=1.0)  # python bench/watchers.py does it with 1,000
    print({what: round(seconds, 2) for what, seconds in took.items()})
    assert took["lists of each"] == pytest.approx(2.0, abs=0.2), "one at the start, one when the version had expired"
