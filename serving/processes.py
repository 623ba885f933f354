"""Several processes that serve one address: each loads the models, and one that dies comes again.

The parent holds the listening socket, which the children share, and serves nothing itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from prometheus_client.multiprocess import mark_process_dead

from serving.listening import listen
from serving.metrics import COUNTED
from serving.settings import Serving

POLL_SECONDS = 0.1
MOST_DEATHS, WITHIN_SECONDS = 5, 60.0  # of one place, before the parent gives up


class _Child:
    """A process that serves.

    Attributes:
        number: Its number in the system.
        lines: What it says when it is ready: a line for each model.
    """

    def __init__(self, directories: Sequence[str | Path], settings: Serving, descriptor: int):
        program = [sys.executable, "-m", "serving.child", str(descriptor), str(os.getpid())]
        self._process = subprocess.Popen(
            [*program, settings.model_dump_json(), *map(str, directories)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=(descriptor,),
            text=True,
        )
        out: IO[str] = self._process.stdout  # type: ignore[assignment]
        self.number = self._process.pid
        self.lines = []
        for line in out:
            if not line.strip():
                break
            self.lines.append(line.rstrip())

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask_to_end(self) -> None:
        """Lets it finish the requests that have begun."""
        if self.lives:
            self._process.terminate()

    def end(self, seconds: float) -> int:
        """Waits, and then kills it; returns how it ended."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def supervise(directories: Sequence[str | Path], settings: Serving) -> None:
    """Serves until Ctrl-C or SIGTERM; call it from the main thread.

    Raises:
        OSError: The address is taken, unknown, or not this machine's.
        ValueError: A directory cannot be served; the processes say why.
        RuntimeError: A process died again and again.
    """
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    listening, held = listen(settings.host, settings.port), None
    if settings.grpc_port is not None:  # the children listen beside one another, at one port
        held = socket.socket()
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind((settings.host, settings.grpc_port))
        settings = settings.model_copy(update={"grpc_port": held.getsockname()[1]})
    children: list[_Child] = []
    try:
        with tempfile.TemporaryDirectory(prefix="zoo-serve-") as counted:
            os.environ[COUNTED] = counted
            _watch(directories, settings, listening, children, stop)
    finally:
        for child in children:
            child.ask_to_end()
        for child in children:
            child.end(settings.drain_seconds + 5)
        os.environ.pop(COUNTED, None)
        for one in filter(None, (listening, held)):
            one.close()
        for number, old in before.items():
            signal.signal(number, old)


def _watch(
    directories: Sequence[str | Path],
    settings: Serving,
    listening: socket.socket,
    children: list[_Child],
    stop: threading.Event,
) -> None:
    def begin() -> _Child:
        return _Child(directories, settings, listening.fileno())

    for _ in range(settings.num_processes):
        children.append(begin())
        if not children[-1].lines:
            raise ValueError(f"serve: a process ended with {children[-1].end(5)}; see above.")
    for line in children[0].lines:
        sys.stdout.write(f"{line}, {settings.num_processes} processes\n")
    sys.stdout.flush()
    deaths: list[float] = []
    while not stop.wait(POLL_SECONDS):
        for place, child in enumerate(children):
            if child.lives:
                continue
            now = time.monotonic()
            deaths = [death for death in deaths if now - death < WITHIN_SECONDS] + [now]
            sys.stderr.write(f"serve: a process ended with {child.end(0)}; another begins.\n")
            mark_process_dead(child.number)  # type: ignore[no-untyped-call]
            if len(deaths) > MOST_DEATHS:
                raise RuntimeError(
                    f"serve: {len(deaths)} processes ended within {WITHIN_SECONDS:g} s; see above."
                )
            children[place] = begin()
