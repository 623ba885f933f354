"""A server under ten times the load that it can bear, five hot reloads, a killed process: figures.

    python tests/oracles/serve_overload.py [--seconds 60]

Requests are sent at ten times the rate that was answered before, on open connections, whether or
not answers come. Every answer is checked against its request. Returns 1 if one is wrong, if the
memory grows by more than a fifth, if nothing is refused, if it takes more than a second to answer
again, if a request fails while versions change, or more than two after a process was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from onnx import helper

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.serving.kit import spec, write_onnx

TIMES = 10  # the rate that was answered before
WIDTH, DEPTH = 1024, 100  # some milliseconds for each example: a client sends more than that
EXAMPLES = 64
WAITING = 8  # what is answered within a second
CLIENTS, CONNECTIONS = 8, 256
MORE_MEMORY, RECOVERED_SECONDS, AGAIN_SECONDS = 0.2, 1.0, 2.0


@functools.cache
def slow() -> tuple[np.ndarray, ...]:
    """The weights of a model of many products, examples, and what it answers to each."""
    random = np.random.RandomState(0)
    turn = np.linalg.qr(random.randn(WIDTH, WIDTH))[0].astype("float32")
    first = random.randn(8, WIDTH).astype("float32")
    given = random.randn(EXAMPLES, 8).astype("float32")
    last, whole = np.eye(WIDTH, 3), turn.astype("float64")
    for _ in range(DEPTH):  # from the right: what is asked for is three columns wide
        last = whole @ last
    return first, turn, given, given.astype("float64") @ first @ last


def write_slow(directory: Path, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Writes the model, and returns examples and what it answers to each without the shift."""
    first, turn, given, answers = slow()
    nodes = [helper.make_node("MatMul", ["x", "first"], ["h0"])]
    nodes += [
        helper.make_node("MatMul", [f"h{step}", "turn"], [f"h{step + 1}"]) for step in range(DEPTH)
    ]
    nodes.append(helper.make_node("Slice", [f"h{DEPTH}", "zero", "three", "one"], ["few"]))
    nodes.append(helper.make_node("Add", ["few", "shift"], ["y"]))
    held = [("first", first), ("turn", turn), ("shift", np.float32(shift))]
    held += [(name, np.array([value])) for name, value in (("zero", 0), ("three", 3), ("one", 1))]
    write_onnx(directory, nodes, [spec("x", (None, 8))], [spec("y", (None, 3))], held)
    return given, answers


class Client:
    """A connection that is opened anew where it was closed; it asks for one example at a time."""

    def __init__(self, url: str, given: np.ndarray, answers: np.ndarray) -> None:
        self._parts, self._answers, self._pair = urlsplit(url), answers, None
        head = f"POST {self._parts.path}:predict HTTP/1.1\r\nHost: {self._parts.netloc}\r\n"
        bodies = [json.dumps({"instances": [row.tolist()]}).encode() for row in given]
        self._bodies = [
            f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body for body in bodies
        ]
        self.busy = False

    async def ask(self, place: int, shifts: tuple[float, ...] = (0.0,)) -> str:
        """Returns `right`, `wrong`, a status, or `failed` of a connection."""
        self.busy = True
        try:
            status, body = await self._send(self._bodies[place])
        except (OSError, asyncio.IncompleteReadError, ValueError):
            self.close()
            return "failed"
        finally:
            self.busy = False
        if status != 200:
            return str(status)
        found, expected = json.loads(body)["predictions"][0], self._answers[place]
        most = 1e-2 * np.abs(self._answers).max()
        fits = any(np.allclose(found, expected + shift, rtol=0, atol=most) for shift in shifts)
        return "right" if fits else "wrong"

    async def _send(self, request: bytes) -> tuple[int, bytes]:
        if self._pair is None:
            self._pair = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        reader, writer = self._pair
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split()[0])
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), body

    def close(self) -> None:
        """Closes the connection."""
        if self._pair is not None:
            self._pair[1].close()
            self._pair = None


@contextlib.contextmanager
def serving(directory: Path, *settings: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server in its own process, and the address of its model."""
    command = [sys.executable, "-m", "serving", str(directory), "--port", "0"]
    command += [part for setting in settings for part in ("--set", setting)]
    with tempfile.TemporaryFile("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield process, process.stdout.readline().split(" at ")[1].split(",")[0].strip()
        finally:
            process.terminate()
            process.wait()


def resident(number: int) -> int:
    """Kilobytes of memory that a process has."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


async def closed(clients: list[Client], seconds: float, **how: tuple[float, ...]) -> Counter:
    """Lets each client ask again as soon as it was answered."""
    seen: Counter = Counter()
    end = time.perf_counter() + seconds

    async def one(place: int, client: Client) -> None:
        while time.perf_counter() < end:
            seen[await client.ask(place % EXAMPLES, **how)] += 1
            place += 1

    await asyncio.gather(*(one(place, client) for place, client in enumerate(clients)))
    return seen


async def flood(
    clients: list[Client], rate: float, seconds: float
) -> tuple[Counter, int, asyncio.Future]:
    """Sends at a rate; also returns how many found no connection that was free, and the rest."""
    seen: Counter = Counter()
    tasks, skipped, sent = set(), 0, 0
    start = time.perf_counter()

    async def one(client: Client, place: int) -> None:
        seen[await client.ask(place)] += 1

    while (passed := time.perf_counter() - start) < seconds:
        due = int(passed * rate)
        for client in clients:
            if sent >= due:
                break
            if not client.busy:
                client.busy = True
                task = asyncio.create_task(one(client, sent % EXAMPLES))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
        skipped, sent = skipped + max(0, due - sent), max(due, sent)
        await asyncio.sleep(0.002)
    return seen, skipped, asyncio.gather(*tasks)


async def overload(folder: Path, seconds: float) -> list[str]:
    """Ten times what a server bears; returns what should not be."""
    given, answers = write_slow(folder / "slow")
    with serving(folder / "slow", f"max_waiting={WAITING}", "max_batch=1") as (process, url):
        clients = [Client(url, given, answers) for _ in range(CONNECTIONS)]
        await closed(clients[:CLIENTS], 2)
        calm = await closed(clients[:CLIENTS], 5)
        rate, before = calm["right"] / 5, resident(process.pid)
        peaks: list[int] = []

        async def watch() -> None:
            while True:
                peaks.append(resident(process.pid))
                await asyncio.sleep(0.1)

        watching = asyncio.create_task(watch())
        seen, skipped, rest = await flood(clients, TIMES * rate, seconds)
        start, fresh = time.perf_counter(), Client(url, given, answers)
        while await fresh.ask(0) != "right" and time.perf_counter() - start < 30:
            await asyncio.sleep(0.01)
        recovered = time.perf_counter() - start
        await rest
        again = await closed(clients[:CLIENTS], 5)
        watching.cancel()
        after = resident(process.pid)
    sys.stdout.write(
        f"calm: {rate:.0f} requests/s by {CLIENTS} clients; memory {before} kB\n"
        f"overload: {sum(seen.values()) / seconds:.0f} requests/s for {seconds:g} s: "
        f"{dict(seen)}; {skipped} not sent, as all {CONNECTIONS} connections waited\n"
        f"memory: peak {max(peaks)} kB ({max(peaks) / before - 1:+.1%}), after {after} kB "
        f"({after / before - 1:+.1%})\n"
        f"recovery: a new client is answered {recovered:.3f} s after the last was sent; then "
        f"{again['right'] / 5:.0f} requests/s, {dict(again)}\n"
    )
    wrong = {
        "answers that are neither right nor 503": set(seen) - {"right", "503"},
        "no 503": not seen["503"],
        "memory": max(peaks) > (1 + MORE_MEMORY) * before,
        "recovery": recovered > RECOVERED_SECONDS,
        "answers after it": set(again) - {"right"},
    }
    return [what for what, is_so in wrong.items() if is_so]


async def reloads(folder: Path) -> list[str]:
    """Five versions, one after another, under load; returns what should not be."""
    base = folder / "versions"
    base.mkdir()
    shifts = tuple(100.0 * number for number in range(6))
    for number, shift in enumerate(shifts, start=1):
        given, answers = write_slow(folder / f"made-{number}", shift)
    (folder / "made-1").rename(base / "1")
    with serving(base, "poll_seconds=0.2") as (_, url):
        clients = [Client(url, given, answers) for _ in range(CLIENTS)]
        asking = asyncio.create_task(closed(clients, 20, shifts=shifts))
        for number in range(2, 7):
            await asyncio.sleep(3)
            (folder / f"made-{number}").rename(base / str(number))
        seen = await asking
        last = [await clients[0].ask(place, (shifts[-1],)) for place in range(EXAMPLES)]
    sys.stdout.write(f"five hot reloads: {dict(seen)}; the last answers {dict(Counter(last))}\n")
    return ["reloads"] * (set(seen) != {"right"} or set(last) != {"right"})


async def killed(folder: Path) -> list[str]:
    """One of two processes is killed under load; returns what should not be."""
    given, answers = write_slow(folder / "killed")
    with serving(folder / "killed", "num_processes=2") as (process, url):
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        victim = int(listed.read_text().split()[0])
        clients = [Client(url, given, answers) for _ in range(CLIENTS)]
        for _ in range(8):
            await closed(clients, 0.2)
        seen: list[tuple[float, str]] = []
        start = time.perf_counter()

        async def one(place: int, client: Client) -> None:
            while time.perf_counter() - start < 10:
                began = time.perf_counter() - start
                seen.append((began, await client.ask(place % EXAMPLES)))
                place += 1

        asking = asyncio.gather(*(one(place, client) for place, client in enumerate(clients)))
        await asyncio.sleep(1)
        at = time.perf_counter() - start
        os.kill(victim, signal.SIGKILL)
        back = None
        while back is None and time.perf_counter() - start < 9.5:
            await asyncio.sleep(0.05)
            known = set(map(int, listed.read_text().split()))
            if victim not in known and len(known) == 2:
                back = time.perf_counter() - start - at
        await asking
    bad = [began for began, how in seen if how != "right"]
    last = max(bad, default=at) - at
    sys.stdout.write(
        f"SIGKILL of one of two processes: {dict(Counter(how for _, how in seen))}; the last "
        f"request that was not answered began {last:.2f} s after it; another process was begun "
        f"{'never' if back is None else f'{back:.2f} s'} after it\n"
    )
    return ["killed"] * (last > AGAIN_SECONDS or back is None)


def main() -> int:
    """Prints the figures; returns 1 if one of them should not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload (default: 60)")
    seconds = parser.parse_args().seconds
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        wrong += asyncio.run(overload(Path(folder), seconds))
        wrong += asyncio.run(reloads(Path(folder)))
        wrong += asyncio.run(killed(Path(folder)))
    if wrong:
        sys.stdout.write(f"not as it should be: {', '.join(wrong)}\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
