"""Starts the workers of one host, and starts all of them anew where one dies.

A worker that has lost another one cannot go on, and one that comes back alone meets nobody: so when
one dies the rest are ended, by SIGTERM and then by SIGKILL, and all begin again, from the last
snapshot, on ports that nobody had before.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from zoo.training import signals, workers

HOST = "127.0.0.1"
GRACE = 20.0  # seconds from SIGTERM to SIGKILL, and from the first end to the last
PAUSE = 0.05  # seconds between two looks
AGAIN = "--resume-if-any"
MISUSE, INTERRUPTED, TERMINATED = 2, 130, 143  # see `zoo.cli`
NEVER_AGAIN = (MISUSE, INTERRUPTED)  # what would end in the same way, or was meant
LOG = logging.getLogger("zoo")


class Ended(NamedTuple):
    """The first worker that did not end well.

    Attributes:
        number: Which one.
        code: Its exit code, or the negative number of the signal that killed it.
        reason: What became of it, in a few words.
    """

    number: int
    code: int
    reason: str


def launch(
    command: Sequence[str], *, num_workers: int, restarts: int = 0, grace: float = GRACE
) -> int:
    """Runs a command once for each worker, with its `TF_CONFIG`, until all have ended.

    Args:
        command: A program with its arguments; `zoo train` goes on where it was when it is started
            again.
        num_workers: How many train together.
        restarts: How often all are started again after one has died, at most.
        grace: Seconds that a worker has to end, before it is killed.

    Returns:
        0, or the exit code of the worker that did not end well; 1 if a signal killed it.

    Raises:
        FileNotFoundError: There is no such program.
        KeyboardInterrupt: Ctrl-C, or SIGTERM, ended it and all workers.
    """
    command, turn = list(command), 0
    while True:
        fleet = _Fleet(command, num_workers, grace)
        try:
            ended = fleet.wait()
        finally:
            fleet.kill()
        if ended is None:
            return 0
        told = f"worker {ended.number} {ended.reason}"
        if ended.code in NEVER_AGAIN or turn == restarts:
            LOG.error("launch: %s; %d of %d restarts were made", told, turn, restarts)
            return max(ended.code, 1)
        if Path(command[0]).name == "zoo" and "train" in command[1:2] and AGAIN not in command:
            command.append(AGAIN)
        turn += 1
        LOG.warning("launch: %s; all start again (%d of %d)", told, turn, restarts)


class _Fleet:
    """The processes of one turn."""

    def __init__(self, command: Sequence[str], num_workers: int, grace: float):
        self.grace = grace
        self.last: dict[int, str] = {}  # line of each on standard error
        self.processes: list[subprocess.Popen[bytes]] = []
        self.readers: list[threading.Thread] = []
        addresses = [f"{HOST}:{port}" for port in free_ports(num_workers)]
        try:
            for number in range(num_workers):
                self._start(command, number, addresses)
        except BaseException:
            self.kill()
            raise

    def wait(self) -> Ended | None:
        """Returns when all have ended: `None` if well, else the first that did not.

        Raises:
            KeyboardInterrupt: It was asked to stop; then all have ended.
        """
        try:
            ended = self._first()
            if ended is not None:
                if ended.code == TERMINATED:  # they agree on it, and save
                    self._all_ended(self.grace)
                self.end(signal.SIGTERM, self.grace)
            return ended
        except signals.Terminated:
            self.end(signal.SIGTERM, self.grace)
            raise
        except KeyboardInterrupt:
            self.end(signal.SIGINT, None)  # the chief writes what came of it
            raise

    def end(self, kind: signal.Signals, seconds: float | None) -> None:
        """Asks those who are left to end, and waits, without a limit if `None`."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(kind)
        self._all_ended(seconds)

    def kill(self) -> None:
        """Kills those who are left, with what they have started."""
        for number, process in enumerate(self.processes):
            if process.poll() is None:
                LOG.warning("launch: worker %d did not end and is killed", number)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for reader in self.readers:
            reader.join(1)

    def _start(self, command: Sequence[str], number: int, addresses: Sequence[str]) -> None:
        """Starts a worker: the chief has the terminal, of the others the errors are told."""
        terminal = number == 0 and sys.stderr.isatty()
        process = subprocess.Popen(
            list(command),
            env={**os.environ, workers.VARIABLE: workers.configuration(addresses, number)},
            stdin=subprocess.DEVNULL,
            stdout=None if number == 0 else subprocess.DEVNULL,
            stderr=sys.stderr if terminal else subprocess.PIPE,
            start_new_session=True,  # Ctrl-C reaches it once, by us
            preexec_fn=_ends_with_parent,
        )
        self.processes.append(process)
        if process.stderr is not None:
            start = f"worker {number}: " if number else ""
            reader = threading.Thread(target=self._read, args=(process.stderr, number, start))
            reader.daemon = True
            reader.start()
            self.readers.append(reader)

    def _read(self, stream: IO[bytes], number: int, start: str) -> None:
        for line in stream:
            text = line.decode(errors="replace").rstrip()
            if text:
                self.last[number] = text
                print(start + text, file=sys.stderr)  # noqa: T201  in the name of the worker

    def _first(self) -> Ended | None:
        """Waits for the first bad end, or until all have ended well; the chief's end is all's."""
        finished: float | None = None
        while True:
            codes = [process.poll() for process in self.processes]
            bad = [(code, number) for number, code in enumerate(codes) if code]
            if codes[0] == 0:
                finished = finished or time.monotonic()
                if None not in codes or time.monotonic() > finished + self.grace:
                    return None
            elif bad:
                code, number = min(bad)  # one that was killed before those who miss it
                return Ended(number, code, self._reason(number, code))
            time.sleep(PAUSE)

    def _reason(self, number: int, code: int) -> str:
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        if code == TERMINATED:
            return "was ended by SIGTERM, and saved what was trained"
        said = f" ({self.last[number]})" if number in self.last else ""
        return f"ended with {code}{said}"

    def _all_ended(self, seconds: float | None) -> None:
        """Waits until all have ended, or the time is over."""
        end = None if seconds is None else time.monotonic() + seconds
        while any(process.poll() is None for process in self.processes):
            if end is not None and time.monotonic() > end:
                return
            time.sleep(PAUSE)


def free_ports(count: int) -> list[int]:
    """Returns ports of this host that nobody has; they are told apart by being taken together."""
    with contextlib.ExitStack() as stack:
        doors = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [door.getsockname()[1] for door in doors]


_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # before any fork; Linux has it
_SET_PDEATHSIG = 1


def _ends_with_parent() -> None:
    """In the child: SIGTERM reaches it when the supervisor is killed."""
    if _PRCTL is not None:
        _PRCTL(_SET_PDEATHSIG, int(signal.SIGTERM))
