"""Times a server: requests a second and how long one takes, by REST and by gRPC, on this machine.

The server and its clients are processes of their own, over loopback; every answer is checked
against the file's.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from serving.engines import open_engines

LOOPBACK = "127.0.0.1"


class Served(NamedTuple):
    """What so many clients saw of a server.

    Attributes:
        api: `rest` or `grpc`.
        clients: Their number; each asks again when it is answered.
        per_second: Right answers a second.
        p50_ms: Median time of a request, in milliseconds.
        p99_ms: What 99 of 100 requests stay below.
        over_ms: What the median is above a run of the file alone, of one thread.
        refused: Requests that were answered with 503.
        wrong: Requests with another answer than the file's.
    """

    api: str
    clients: int
    per_second: float
    p50_ms: float
    p99_ms: float
    over_ms: float
    refused: int
    wrong: int


def bench_served(
    directory: str | Path,
    *,
    clients: Sequence[int] = (1, 4, 16),
    seconds: float = 5.0,
    settings: Sequence[str] = (),
) -> list[Served]:
    """Starts a server, and lets clients ask it.

    Args:
        directory: What `zoo.export` wrote for TFLite or ONNX.
        clients: Numbers of clients, 1 or more.
        seconds: How long each number of them asks.
        settings: `KEY=VALUE` of `serving.settings.Serving`.

    Returns:
        A row for each interface and number of clients.

    Raises:
        FileNotFoundError: There is no deployable.
        ValueError: It cannot be served, or a number is below 1.
        RuntimeError: The server or the clients failed.
    """
    if seconds <= 0 or min(clients, default=0) < 1:
        raise ValueError(
            f"bench serve: got {list(clients)} clients and {seconds:g} s; expected 1 or more, and "
            "more than 0."
        )
    opened = open_engines(directory, num_threads=1)
    rows: list[Served] = []
    with _server(Path(directory), settings) as ports:
        for api, port in ports.items():
            command = [sys.executable, "-m", "serving.load", str(directory)]
            command += ["--url", f"http://{LOOPBACK}:{port}", "--seconds", str(seconds)]
            command += ["--clients", *map(str, clients), "--api", api]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"bench serve: the clients failed: {_last(done.stderr)}")
            rows += [
                _row(api, found, 1e3 * opened.seconds)
                for found in map(json.loads, done.stdout.splitlines())
            ]
    return rows


def _row(api: str, found: dict[str, Any], alone_ms: float) -> Served:
    return Served(
        api,
        found["clients"],
        found["answered"] / found["seconds"],
        found["p50_ms"],
        found["p99_ms"],
        found["p50_ms"] - alone_ms,
        found["refused"],
        found["wrong"],
    )


@contextmanager
def _server(directory: Path, settings: Sequence[str]) -> Iterator[dict[str, int]]:
    """A server in a process of its own; its ports by interface."""
    ports = {"rest": _free(), "grpc": _free()}
    command = [sys.executable, "-m", "serving", str(directory), "--port", str(ports["rest"])]
    for setting in (f"grpc_port={ports['grpc']}", *settings):
        command += ["--set", setting]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            if process.stdout is None or not process.stdout.readline():
                process.wait()
                said.seek(0)
                raise RuntimeError(f"bench serve: the server failed: {_last(said.read())}")
            yield ports
        finally:
            process.terminate()
            process.wait()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def _last(text: str) -> str:
    lines: list[Any] = text.strip().splitlines() or ["it said nothing"]
    return str(lines[-1])
