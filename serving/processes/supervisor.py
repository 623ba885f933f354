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
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from serving.metrics import COUNTED
from serving.processes.listening import bound, listen
from serving.settings import Serving

POLL_SECONDS = 0.1
MOST_DEATHS, WITHIN_SECONDS = 5, 60.0  # of one place, before the parent gives up


class _Child:
    """A process that serves.

    Attributes:
        number: Its number in the system.
        lines: What it says when it is ready: a line for each model; nothing of one that ended.
        begun: Set when it is ready, or has ended.
    """

    def __init__(self, directories: Sequence[str | Path], settings: Serving, descriptor: int):
        program = [
            sys.executable,
            "-m",
            "serving.processes.child",
            str(descriptor),
            str(os.getpid()),
        ]
        self._process = subprocess.Popen(
            [*program, settings.model_dump_json(), *map(str, directories)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=(descriptor,),
            text=True,
        )
        self.number = self._process.pid
        self.lines: list[str] = []
        self.begun = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        """Reads what it says; a thread of its own, as it may hang."""
        said: list[str] = []
        for line in self._process.stdout or ():
            if not line.strip():
                self.lines = said
                break
            said.append(line.rstrip())
        self.begun.set()

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
    with ExitStack() as held:
        held.enter_context(_asked(stop))
        listening = held.enter_context(listen(settings.host, settings.port))
        if settings.grpc_port is not None:  # the children listen beside one another, at one port
            kept = held.enter_context(bound(settings.host, settings.grpc_port, socket.SO_REUSEPORT))
            settings = settings.model_copy(update={"grpc_port": kept.getsockname()[1]})
        os.environ[COUNTED] = held.enter_context(
            tempfile.TemporaryDirectory(prefix="zoo-serve-", ignore_cleanup_errors=True)
        )
        held.callback(os.environ.pop, COUNTED, None)
        children: list[_Child] = []
        held.callback(_end, children, settings.drain_seconds + 5)
        _watch(directories, settings, listening, children, stop)


@contextmanager
def _asked(stop: threading.Event) -> Iterator[None]:
    """Within the block, Ctrl-C and SIGTERM ask to stop."""
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def _end(children: list[_Child], seconds: float) -> None:
    for child in children:
        child.ask_to_end()
    for child in children:
        child.end(seconds)


def _watch(
    directories: Sequence[str | Path],
    settings: Serving,
    listening: socket.socket,
    children: list[_Child],
    stop: threading.Event,
) -> None:
    def begin() -> _Child:
        return _Child(directories, settings, listening.fileno())

    for _ in range(settings.num_processes):  # one after another: the first says what is wrong
        children.append(child := begin())
        while not (child.begun.wait(POLL_SECONDS) or stop.is_set()):
            pass
        if stop.is_set():
            return
        if not child.lines:
            raise ValueError(f"serve: a process ended with {child.end(5)}; see above.")
    for line in children[0].lines:
        sys.stdout.write(f"{line}, {settings.num_processes} processes\n")
    sys.stdout.flush()
    deaths: dict[int, list[float]] = defaultdict(list)
    while not stop.wait(POLL_SECONDS):
        for place, child in enumerate(children):
            if child.lives:
                continue
            now = time.monotonic()
            recent = [death for death in deaths[place] if now - death < WITHIN_SECONDS]
            deaths[place] = [*recent, now]
            sys.stderr.write(f"serve: a process ended with {child.end(0)}; another begins.\n")
            mark_process_dead(child.number)  # type: ignore[no-untyped-call]
            if len(deaths[place]) > MOST_DEATHS:
                raise RuntimeError(
                    f"serve: {len(deaths[place])} processes ended within {WITHIN_SECONDS:g} s; see "
                    "above."
                )
            children[place] = begin()
