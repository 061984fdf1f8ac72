"""The client where the sidecar hangs, and where it is killed and restarted: how late a call ends, how many fall back.

    python bench/client_hung.py [calls]

Both kinds of client make 10,000 calls to a server that accepts and never answers: every call must end as a fallback,
with p99.9 within the deadline and 5 ms, and nearly all of them at once, because one call a second waits. After each
call its caller sleeps as long as the deadline: how late a plain sleep ends is how late anything ends on this machine
now; it stands beside, and on a busy machine takes the deadline's place (as root, `chrt -f 10 python
bench/client_hung.py` leaves the neighbours out of it). Then a real sidecar under load is killed and started again:
nothing may be raised, and every fallback must be posted.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

from abside.client import Assignment, AsyncClient, Client
from abside.snapshot import Experiment, Placement, Variant, assemble, encode

CALLS = 10_000
AT_ONCE = 8  # callers at a time: 50 s for 10,000 calls and sleeps of 20 ms
DEADLINE_SECONDS = 0.02
ALLOWED_SECONDS = 0.005
RESTARTS = 5
AWAY_SECONDS = 0.5
LOAD_SECONDS = 15.0


def main() -> None:
    """Print the figures; exit 1 where a promise is broken."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    hung("Client, one thread", blocking, calls // 10, 1)
    good = [hung(f"Client, {AT_ONCE} threads", blocking, calls), hung(f"AsyncClient, {AT_ONCE} tasks", in_tasks, calls)]
    good += [asyncio.run(restarted())]
    sys.exit(not all(good))


def hung(name: str, run: object, calls: int, at_once: int = AT_ONCE) -> bool:
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    server = multiprocessing.Process(target=never_answer, args=(listening,), daemon=True)
    server.start()
    time.sleep(1)  # its start is not what is measured
    taken, answers, slept, not_waited = run(f"http://127.0.0.1:{listening.getsockname()[1]}", calls, at_once)  # type: ignore[operator]
    server.kill()
    listening.close()
    late = at(taken, 0.999) - max(DEADLINE_SECONDS, at(slept, 0.999))
    fallbacks = sum(answer.fallback for answer in answers)
    print(
        f"hung, {name}: {len(answers):,} calls, {fallbacks:,} fallbacks ({', '.join({str(a.why) for a in answers})}), "
        f"{len(answers) - not_waited:,} waited and {not_waited:,} did not; "
        f"call median {ms(at(taken, 0.5))}, p99 {ms(at(taken, 0.99))}, p99.9 {ms(at(taken, 0.999))}, "
        f"worst {ms(max(taken))}; plain sleep median {ms(at(slept, 0.5))}, p99 {ms(at(slept, 0.99))}, "
        f"p99.9 {ms(at(slept, 0.999))}, worst {ms(max(slept))}"
    )
    return fallbacks == len(answers) == calls and late <= ALLOWED_SECONDS


def blocking(address: str, calls: int, at_once: int) -> tuple[list[float], list[Assignment], list[float], int]:
    client = Client(address, deadline_seconds=DEADLINE_SECONDS)
    taken: list[float] = []
    slept: list[float] = []
    answers: list[Assignment] = []

    def caller(first: int) -> None:
        for number in range(first, calls, at_once):
            since = time.perf_counter()
            answers.append(client.assign("pdp", user_id=f"u{number}", fallback={"model": "mine"}))
            called = time.perf_counter()
            time.sleep(DEADLINE_SECONDS)
            taken.append(called - since)
            slept.append(time.perf_counter() - called)

    threads = [threading.Thread(target=caller, args=(first,)) for first in range(at_once)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return taken, answers, slept, client.stats.not_waited


def in_tasks(address: str, calls: int, at_once: int) -> tuple[list[float], list[Assignment], list[float], int]:
    async def run() -> tuple[list[float], list[Assignment], list[float], int]:
        taken: list[float] = []
        slept: list[float] = []
        answers: list[Assignment] = []
        client = AsyncClient(address, deadline_seconds=DEADLINE_SECONDS)

        async def caller(first: int) -> None:
            for number in range(first, calls, at_once):
                since = time.perf_counter()
                answers.append(await client.assign("pdp", user_id=f"u{number}", fallback={"model": "mine"}))
                called = time.perf_counter()
                await asyncio.sleep(DEADLINE_SECONDS)
                taken.append(called - since)
                slept.append(time.perf_counter() - called)

        await asyncio.gather(*(caller(first) for first in range(at_once)))
        await client.close()
        return taken, answers, slept, client.stats.not_waited

    return asyncio.run(run())


async def restarted() -> bool:
    """Kill and start a sidecar again and again, while eight threads and eight tasks ask."""
    folder = Path(tempfile.mkdtemp(prefix="abside-bench-"))
    arms = (Variant("control", 0, 5000), Variant("treatment", 5000, 10_000, {"pdp": {"model": "ranker-v2"}}))
    experiment = Experiment("reranker", "Re-ranker", "Lifts.", "running", ("pdp",), arms, "control")
    (folder / "snapshot").write_bytes(
        encode(assemble({}, [Placement("pdp", {"model": "v1"}), experiment], written_at_us=1))
    )
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    sidecar = await asyncio.to_thread(start, folder, port)
    stopping = threading.Event()
    address = f"http://127.0.0.1:{port}"
    waiting, tasking = Client(address), AsyncClient(address)
    raised = 0

    def thread(number: int) -> None:
        nonlocal raised
        turn = 0
        while not stopping.is_set():
            turn += 1
            try:
                waiting.assign("pdp", user_id=f"t{number}-{turn}")
            except Exception:  # noqa: BLE001 that there are none is what is shown
                raised += 1
            time.sleep(0.002)

    async def task(number: int) -> None:
        nonlocal raised
        turn = 0
        while not stopping.is_set():
            turn += 1
            try:
                await tasking.assign("pdp", user_id=f"a{number}-{turn}")
            except Exception:  # noqa: BLE001 any exception breaks the promise
                raised += 1
            await asyncio.sleep(0.002)

    async def fate() -> subprocess.Popen[bytes]:
        process = sidecar
        for _ in range(RESTARTS):
            await asyncio.sleep(LOAD_SECONDS / RESTARTS - AWAY_SECONDS)
            await asyncio.to_thread(kill, process)
            await asyncio.sleep(AWAY_SECONDS)
            process = await asyncio.to_thread(start, folder, port)
        await asyncio.sleep(1)
        stopping.set()
        return process

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(AT_ONCE)]
    for one in threads:
        one.start()
    process, *_ = await asyncio.gather(fate(), *(task(number) for number in range(AT_ONCE)))
    for one in threads:
        await asyncio.to_thread(one.join)
    waiting.close()
    await tasking.close()
    kill(process)
    good = raised == 0
    for name, stats in (("Client", waiting.stats), ("AsyncClient", tasking.stats)):
        missed = sum(stats.fallbacks.values())
        print(
            f"killed and restarted {RESTARTS} times, {name}: {stats.answered + missed:,} calls, {raised} raised, "
            f"{missed:,} fallbacks {dict(stats.fallbacks)}, told {stats.told:,}, untold {stats.untold:,}"
        )
        good = good and missed == stats.told
    return good


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    where = ["--snapshot", str(folder / "snapshot"), "--spool", str(folder / "spool"), "--admin", "127.0.0.1:0"]
    command = [sys.executable, "-m", "abside", "sidecar", *where, "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/status", timeout=1).close()
            break
        time.sleep(0.01)
    return process


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def never_answer(listening: socket.socket) -> None:
    """Accept connections and never answer."""
    kept = []
    while True:
        connection, _ = listening.accept()
        kept.append(connection)
        if len(kept) > 200:
            kept.pop(0).close()  # long after its caller has gone


def at(seconds: list[float], share: float) -> float:
    """Return a percentile."""
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


if __name__ == "__main__":
    main()
