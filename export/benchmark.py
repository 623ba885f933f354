"""How fast deployables are on this machine, beside one another.

Each file has a process of its own (`export.worker`), for each number of threads. They take turns of
a few calls, the others stopped meanwhile, so that a busy machine is the same for all; the first
call of a turn, which finds the caches full of another model, does not count.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import export
from export.manifest import Manifest

TURN_SECONDS = 0.25  # that a turn takes, about
MOST_CALLS = 100  # of a turn


@dataclass(frozen=True)
class Timing:
    """What was measured of a file with some number of threads.

    Attributes:
        path: Path of the deployable.
        manifest: Its manifest: size, accuracy and agreement are from there, as exported.
        threads: Threads of one inference.
        precision: The arithmetic that the runtime says it uses.
        load_seconds: To open the file and to run it once.
        seconds: Time of each call with one example.
        model_bytes: Memory of the process when all was done, less that before the file was opened.
        peak_bytes: All of its memory.
        error: Why there is nothing of this; empty as a rule.
    """

    path: Path
    manifest: Manifest
    threads: int
    precision: str = ""
    load_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    model_bytes: int = 0
    peak_bytes: int = 0
    error: str = ""

    def quantile(self, share: float) -> float:
        """Returns the seconds that this share of the calls took at most."""
        ordered = sorted(self.seconds)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def find_deployables(folder: Path) -> list[Path]:
    """Returns the deployables in a folder, or the folder that is one, in the order of their names.

    Raises:
        FileNotFoundError: There is none.
    """
    found = sorted(
        path.parent for path in (*folder.glob("manifest.json"), *folder.glob("*/manifest.json"))
    )
    found = [path for path in found if not path.name.startswith(".")]
    if not found:
        raise FileNotFoundError(f"{folder}: no deployable in it; write one with `zoo export`.")
    return found


def time_files(
    directories: Iterable[Path], *, threads: Sequence[int] = (1, 2), rounds: int = 10
) -> list[Timing]:
    """Times every file that a runtime here can run, in turns.

    Args:
        directories: Deployables.
        threads: Numbers of threads of one inference.
        rounds: Turns of each file.

    Raises:
        ValueError: A file is not the one of its manifest, or was rejected.
    """
    workers = []
    for directory in directories:
        if Manifest.read(directory).proof != "numeric":
            continue
        manifest, _ = Manifest.of_file(directory)
        workers += [_Worker(directory, manifest, number) for number in threads]
    try:
        for worker in workers:
            worker.settle()
        running = [worker for worker in workers if not worker.error]
        for _ in range(rounds):
            for worker in running:
                worker.turn()
        for worker in running:
            worker.finish()
    finally:
        for worker in workers:
            worker.end()
    return [worker.timing() for worker in workers]


class _Worker:
    """A process with a file, stopped while it is not its turn."""

    def __init__(self, directory: Path, manifest: Manifest, threads: int):
        self.directory, self.manifest, self.threads = directory, manifest, threads
        self.error = ""
        self._seconds: list[float] = []
        self._facts: dict[str, Any] = {}
        self._calls = 1
        order = ["-m", "export.worker", str(directory.absolute()), "--threads", str(threads)]
        self._process = subprocess.Popen(
            [sys.executable, *order],
            cwd=Path(export.__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )

    def settle(self) -> None:
        """Waits for the file to be open, finds how many calls make a turn, and stops."""
        self._facts |= self._answer() or {}
        if not self.error:
            seconds = sum(self._run(1))
            self._calls = max(1, min(MOST_CALLS, round(TURN_SECONDS / max(seconds, 1e-6))))
            self._signal(signal.SIGSTOP)

    def turn(self) -> None:
        """Runs some calls; the first does not count."""
        self._signal(signal.SIGCONT)
        self._seconds += self._run(self._calls + 1)[1:]
        self._signal(signal.SIGSTOP)

    def finish(self) -> None:
        """Asks for its memory and lets it end."""
        self._signal(signal.SIGCONT)
        self._process.stdin.close()  # type: ignore[union-attr]
        self._facts |= self._answer() or {}

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                pipe.close()

    def timing(self) -> Timing:
        """Returns what was measured."""
        return Timing(
            path=self.directory,
            manifest=self.manifest,
            threads=self.threads,
            seconds=self._seconds,
            error=self.error,
            **self._facts,
        )

    def _run(self, calls: int) -> list[float]:
        with contextlib.suppress(BrokenPipeError):  # it has ended; its last words are read below
            self._process.stdin.write(f"{calls}\n")  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        found: list[float] = self._answer() or []
        return found

    def _answer(self) -> Any:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if line:
            return json.loads(line)
        words = self._process.stderr.read().strip().splitlines()  # type: ignore[union-attr]
        self.error = words[-1] if words else f"it ended with code {self._process.wait()}"
        return None

    def _signal(self, number: int) -> None:
        self._process.send_signal(number)


def fastest(timings: Sequence[Timing]) -> Timing | None:
    """Returns the timing with the least median; `None` where nothing ran."""
    done = [timing for timing in timings if timing.seconds]
    return min(done, key=lambda timing: statistics.median(timing.seconds)) if done else None
