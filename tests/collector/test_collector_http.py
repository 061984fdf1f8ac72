from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import aiohttp
import pytest
import zstandard

from abside import event
from abside.collector.app import collector
from abside.collector.modes import SettingWrong
from abside.collector.receive.token import TokenUnreadable
from abside.collector.settings import CollectorSettings
from abside.collector.store import live_files, scan
from abside.serve.certificate import instant, not_after
from abside.upstream.choose import open_upstream
from abside.upstream.contract import Acked, Batch, Rejected, Retry, TooLarge

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.collector.conftest import Collector, Sender, Start, Views


def stored_ids(store: Path) -> list[str]:
    return sorted(scan(store).to_table(columns=["event_id"]).column(0).to_pylist())


async def test_a_batch_is_200_once_it_is_in_a_file_and_208_after(start: Start, store: Path, views: Views) -> None:
    async with start() as sender:
        reply = await sender.send("pod-1.17-ab", views("a", 3))
        assert (reply.status, reply.document) == (200, {"batch": "pod-1.17-ab", "events": 3, "status": "stored"})
        assert stored_ids(store) == ["a-0", "a-1", "a-2"]
        assert [path.name for path in live_files(store)] == ["pod-1.17-ab.parquet"]
        again = await sender.send("pod-1.17-ab", views("a", 3))
        assert (again.status, again.document["status"]) == (208, "known")
        status = await sender.status()
        assert {name: status[name] for name in ("files", "rows", "batches", "duplicates")} == {
            "files": 1,
            "rows": 3,
            "batches": 1,
            "duplicates": 1,
        }
    assert len(stored_ids(store)) == 3


async def test_a_sidecar_believes_what_this_collector_answers(start: Start, views: Views) -> None:
    payload = b"".join(map(event.encode, views("a", 3)))
    async with start(max_batch_bytes=1000) as sender:
        upstream = open_upstream(f"http://{sender.address}", lambda: 0)
        assert await upstream.send(Batch("pod-1.17-ab", 3, payload)) == Acked()
        assert await upstream.send(Batch("pod-1.17-ab", 3, payload)) == Acked(duplicate=True)
        assert await upstream.send(Batch("pod-1.18-ab", 30, payload * 10)) == TooLarge()
        for refused in (Batch("pod-1.19-ab", 4, payload), Batch("pod-1.19-ab", 3, b"\xc1")):
            assert isinstance(await upstream.send(refused), Rejected)
        nameless = await upstream.send(Batch("", 3, payload))  # as after a proxy that strips headers
        assert isinstance(nameless, Retry)
        assert nameless.loud
        await upstream.close()


@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("zstd", zstandard.compress), ("identity", bytes)]
)
async def test_each_encoding_is_taken(start: Start, store: Path, views: Views, encoding: str, compress: Any) -> None:
    body = compress(b"".join(map(event.encode, views("a", 2))))
    async with start() as sender:
        reply = await sender.send("b", body=body, Content_Encoding=encoding, X_Batch_Count="2")
        assert reply.status == 200
    assert stored_ids(store) == ["a-0", "a-1"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content_Type": "application/json"}, 415, "UNSUPPORTED_TYPE"),
        ({"Content_Type": None}, 415, "UNSUPPORTED_TYPE"),
        ({"Content_Encoding": "br"}, 415, "UNSUPPORTED_ENCODING"),
        ({"Content_Encoding": "gzip, zstd"}, 415, "UNSUPPORTED_ENCODING"),
        ({"Content_Encoding": "gzip"}, 422, "UNDECODABLE"),
        ({"Content_Encoding": "zstd"}, 422, "UNDECODABLE"),
        ({"X_Batch_Count": "2"}, 422, "COUNT_MISMATCH"),
        ({"X_Batch_Count": None}, 400, "MALFORMED"),
        ({"X_Batch_Count": "-1"}, 400, "MALFORMED"),
        ({"X_Batch_Count": "1e3"}, 400, "MALFORMED"),
        ({"Idempotency_Key": None}, 400, "MALFORMED"),
    ],
)
async def test_headers_that_do_not_fit_are_refused_and_nothing_is_stored(
    start: Start, store: Path, views: Views, headers: dict[str, Any], status: int, code: str
) -> None:
    async with start() as sender:
        reply = await sender.send("b", views("a"), **headers)
        assert (reply.status, reply.document["code"]) == (status, code)
        assert (await sender.status())["refused"] == {code: 1}
        assert live_files(store) == []
        assert (await sender.send("b", views("a"))).status == 200


@pytest.mark.parametrize(
    "batch_id",
    [
        "../../x",
        "..",
        ".",
        ".hidden",
        "_ignored",
        "-rf",
        "a/b",
        "a\\b",
        "a b",
        "a%2Fb",
        "a~1",
        "a@2",
        "",
        "x" * 129,
        "é",
    ],
)
async def test_a_batch_id_that_could_harm_as_a_file_name_is_400(
    start: Start, store: Path, views: Views, batch_id: str
) -> None:
    async with start() as sender:
        reply = await sender.send(batch_id, views("a"))
        assert (reply.status, reply.document["code"]) == (400, "MALFORMED")
    assert sorted(path.name for path in store.parent.rglob("*")) == ["_LOCK", "store"]


async def test_the_longest_batch_id_names_a_file(start: Start, store: Path, views: Views) -> None:
    async with start() as sender:
        assert (await sender.send("x" * 128, views("a"))).status == 200
    assert stored_ids(store) == ["a-0"]


async def test_garbage_is_422_with_the_index_and_the_process_lives(start: Start, store: Path, views: Views) -> None:
    good = b"".join(map(event.encode, views("a", 2)))
    async with start() as sender:
        reply = await sender.send("b", body=good + b"\xc1garbage", X_Batch_Count="3")
        assert (reply.status, reply.document["index"]) == (422, 2)
        wrong = [*views("a", 2), {**views("a")[0], "items": "not a list"}]
        reply = await sender.send("b", wrong)
        assert (reply.status, reply.document["index"], reply.document["path"]) == (422, 2, "items")
        assert (await sender.send("b", views("a"))).status == 200
    assert stored_ids(store) == ["a-0"]


@pytest.mark.parametrize("encoding", ["identity", "gzip", "zstd"])
async def test_a_batch_beyond_the_bound_is_413_packed_or_unpacked(start: Start, encoding: str) -> None:
    compressors: dict[str, Any] = {"identity": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}
    compress = compressors[encoding]
    async with start(max_batch_bytes=2**20) as sender:
        for body in (compress(bytes(2**20 + 1)), bytes(2**20 + 1)):
            reply = await sender.send("b", body=body, Content_Encoding=encoding, X_Batch_Count="1")
            assert (reply.status, reply.document["code"]) == (413, "TOO_LARGE")


@pytest.mark.parametrize(("bound", "size"), [(2**20, 2**22), (2**10, 2**10 + 1)])
async def test_a_body_of_unknown_length_is_bounded_too(start: Start, bound: int, size: int) -> None:
    async def chunks() -> Any:
        for begin in range(0, size, 2**16):
            yield bytes(min(2**16, size - begin))

    async with start(max_batch_bytes=bound) as sender:
        headers = {"Content-Type": "application/msgpack", "Idempotency-Key": "b", "X-Batch-Count": "1"}
        reply = await sender.ask("POST", "/v1/batches", data=chunks(), headers=headers)
        assert (reply.status, reply.document["code"]) == (413, "TOO_LARGE")


async def test_unknown_paths_and_methods_are_problem_documents(start: Start) -> None:
    async with start() as sender:
        assert (await sender.ask("GET", "/")).status == 404
        assert (await sender.ask("GET", "/v1/batches", headers={"Accept": "text/html"})).status == 405
        assert (await sender.ask("GET", "/livez")).document == {"status": "alive"}


async def test_half_a_body_is_408_at_its_deadline_and_gives_its_memory_back(start: Start) -> None:
    async with start(body_seconds=0.2) as sender:
        host, _, port = sender.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = "Content-Type: application/msgpack\r\nIdempotency-Key: b\r\nX-Batch-Count: 1\r\nContent-Length: 1000\r\n"
        writer.write(f"POST /v1/batches HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + b"half")
        answer = await asyncio.wait_for(reader.read(), 20)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"application/problem+json" in answer
        writer.close()
        await writer.wait_closed()
        assert (await sender.status())["pending_bytes"] == 0


async def test_a_token_is_asked_for_and_a_rotated_one_counts_at_once(
    start: Start, tmp_path: Path, views: Views
) -> None:
    token = tmp_path / "token"
    token.write_text("first\n")
    async with start(token_file=token) as sender:
        for shown in (None, "Bearer wrong", "Bearer", "Basic first", "first", "Bearer ü"):
            reply = await sender.send("b", views("a"), Authorization=shown)
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await sender.ask("GET", "/v1/status")).status == 401
        assert (await sender.ask("GET", "/livez")).status == 200
        assert (await sender.send("b", views("a"), Authorization="Bearer first")).status == 200
        token.write_text("second")
        assert (await sender.send("c", views("c"), Authorization="Bearer first")).status == 401
        assert (await sender.send("c", views("c"), Authorization="Bearer second")).status == 200
        token.unlink()  # half a rotation: the last one goes on
        assert (await sender.send("d", views("d"), Authorization="Bearer second")).status == 200
        status = await sender.ask("GET", "/v1/status", headers={"Authorization": "Bearer second"})
        assert "cannot be read" in status.document["errors"]["token"]


async def test_an_empty_token_file_lets_nobody_in_by_not_starting(start: Start, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(TokenUnreadable):
        await start(token_file=tmp_path / "token").__aenter__()


async def test_beyond_the_pending_bytes_a_batch_is_503_and_comes_back(start: Start, store: Path, views: Views) -> None:
    async with start(max_pending_bytes=20_000, group_seconds=1) as sender:
        first = asyncio.ensure_future(sender.send("a", views("a", 150)))  # noqa: TID251 a test's own task
        await sender.until_pending()
        reply = await sender.send("b", views("b", 100))
        assert (reply.status, reply.document["code"], reply.headers["Retry-After"]) == (503, "BUSY", "1")
        assert (await first).status == 200
        assert (await sender.send("b", views("b", 100))).status == 200
    assert len(stored_ids(store)) == 250


async def test_livez_does_not_wait_for_a_large_batch(start: Start, views: Views) -> None:
    clock = asyncio.get_running_loop().time
    longest = 0.0

    async def ask(sender: Sender) -> None:
        nonlocal longest
        while True:
            asked = clock()
            assert (await sender.ask("GET", "/livez")).status == 200
            longest = max(longest, clock() - asked)

    async with start() as sender:
        body = b"".join(map(event.encode, views("a", 60_000)))
        asking = asyncio.ensure_future(ask(sender))  # noqa: TID251 a test's own task
        sent = clock()
        assert (await sender.send("a", body=body, X_Batch_Count="60000")).status == 200
        whole = clock() - sent
        asking.cancel()
    print(f"a batch of 60,000 took {whole:.2f} s, /livez {longest:.3f} s at worst")
    assert longest < whole / 2  # decoded at one go it would be most of it


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Make a certificate of 127.0.0.1 and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    kind = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [openssl, *kind, *name, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True, timeout=60
    )
    return cert, key


async def test_batches_come_over_tls_too(start: Start, certificate: tuple[Path, Path], views: Views) -> None:
    cert, key = certificate
    async with start(tls_cert=cert, tls_key=key) as plain:
        trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(cert)))
        async with aiohttp.ClientSession(connector=trusting) as session:
            plain.scheme, plain.session = "https", session
            assert (await plain.send("a", views("a"))).status == 200


async def test_a_renewal_that_failed_and_the_end_of_the_certificate_are_shown(
    start: Start, certificate: tuple[Path, Path], views: Views
) -> None:
    cert, key = certificate
    end = not_after(cert.read_bytes())
    async with start(tls_cert=cert, tls_key=key, tls_poll_seconds=0.001) as sender:
        trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(cert)))
        async with aiohttp.ClientSession(connector=trusting) as session, asyncio.timeout(20):
            sender.scheme, sender.session = "https", session
            assert "tls" not in (await sender.ask("GET", "/v1/status")).document["errors"]
            key.write_bytes(b"half a key")
            while "tls" not in (status := (await sender.ask("GET", "/v1/status")).document)["errors"]:  # noqa: ASYNC110 it tells no one
                await asyncio.sleep(0.001)
            assert status["errors"]["tls"] == f"{key} is no private key in PEM"
            assert status["tls"] == {"not_after": instant(end)}
            found = await sender.metrics()
            assert found["abside_tls_certificate_not_after_seconds"] == end
            assert found["abside_tls_certificate_unusable"] == 1
            assert (await sender.send("a", views("a"))).status == 200


async def test_a_process_takes_tls_on_the_loop_that_it_runs_on(
    process: Collector, certificate: tuple[Path, Path], views: Views
) -> None:
    cert, key = certificate
    await asyncio.to_thread(process.start, "--tls-cert", str(cert), "--tls-key", str(key))
    trusting = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=str(cert)))
    headers = {"Content-Type": "application/msgpack", "Idempotency-Key": "a", "X-Batch-Count": "1"}
    body = event.encode(views("a")[0])
    async with (
        aiohttp.ClientSession(connector=trusting) as session,
        session.post(f"https://{process.address}/v1/batches", data=body, headers=headers) as response,
    ):
        assert response.status == 200


@pytest.mark.parametrize("wrong", [{"tls_key": "key.pem"}, {"listen": "nowhere"}])
async def test_settings_that_do_not_fit_are_said_before_the_store_is_touched(
    store: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(SettingWrong):
        await collector(CollectorSettings(store=store, **wrong)).__aenter__()
    assert not store.exists()


async def test_without_a_token_the_log_says_so_at_start(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "token").write_text("t")
    async with start(token_file=tmp_path / "token"):
        assert "no_token" not in caplog.text
    async with start():
        assert "no_token" in caplog.text
        assert "--token-file" in caplog.text
