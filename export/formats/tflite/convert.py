"""The door to `export.formats.tflite.child`: one process for all conversions, which forks for each.

To import TensorFlow takes that process six seconds, once; a conversion that ends in a segmentation
fault, as integers of loops do, ends a fork and no more.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from export import processes
from export.failures import MOST
from export.recurrent import Writer
from export.target import Source


def convert(
    source: Source,
    path: Path,
    options: Mapping[str, Any],
    *,
    batch: int | None,
    seconds: float,
    writer: Writer | None = None,
) -> None:
    """Writes a `.tflite` file.

    Args:
        source: The model, and the examples to calibrate with.
        path: Path of the file.
        options: Arguments of `export.formats.tflite.child.convert`.
        batch: Number of examples that a call takes; `None` for any.
        seconds: Time that it may take.
        writer: How recurrent layers are written, see `export.recurrent`.

    Raises:
        RuntimeError: The converter failed, with its last words; the whole log is a note of it.
        TimeoutError: It took too long.
    """
    from export.formats.saved_model.signatures import save

    with tempfile.TemporaryDirectory() as scratch:
        save(source, Path(scratch, "saved_model"), batch=batch, writer=writer)
        for name, array in source.calibration.items():
            np.save(Path(scratch, f"{name}.npy"), array)
        job = {"scratch": scratch, "out": str(path.absolute()), "options": dict(options)}
        status = _PROCESS.run(job, seconds)
        log = Path(scratch, "log")
        if status:
            words = log.read_text(errors="replace") if log.exists() else ""
            error = RuntimeError(f"the converter failed: {_cause(status, words)}.")
            error.add_note(words)
            raise error


class _Process:
    """The process that forks; started when it is needed, ended with this one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0  # the process that started it; a fork of that must not write to its pipes
        self._lock = threading.Lock()

    def run(self, job: Mapping[str, Any], seconds: float) -> int:
        """Does one job; returns the status of the fork, below 0 for a signal."""
        with self._lock:
            process = self._started()
            try:
                process.stdin.write(json.dumps(job).encode() + b"\n")
                process.stdin.flush()
                if not select.select([process.stdout], [], [], seconds)[0]:
                    raise TimeoutError
                answer = process.stdout.readline()
            except BaseException:  # Ctrl-C too: what is half done must not answer the next job
                self.end()
                raise
            if not answer:
                status = process.wait()
                self.end()
                return status or 1
            return int(answer)

    def _started(self) -> Any:
        ours = self._owner == os.getpid()
        if self._process is None or not ours or self._process.poll() is not None:
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "export.formats.tflite.child"],
                cwd=processes.ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the caller, who then ends all of it
            )
        return self._process

    def end(self) -> None:
        """Ends the process, and a conversion that it is at."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    pipe and pipe.close()


_PROCESS = _Process()
atexit.register(_PROCESS.end)


def _cause(status: int, words: str) -> str:
    """Finds the one line that says why in the converter's many."""
    if status < 0:
        return f"signal {-status} ended it; integers of loops do that"
    if missing := re.findall(r"(?:Select|Custom) ops: (.+)", words):
        return f"TFLite has no built-in operator for {missing[-1].strip()}"
    if "should be recorded during calibration" in words:
        return (
            "it has no 16 bits for what flows where whole numbers come in, e.g. tokens; take "
            "tflite-dynamic, or quantise the model first (`zoo compress MODEL int8`)"
        )
    # What is told: the layer's own name, and what its operator did not bear.
    if found := re.search(r'fused\["\w+:", "([^"@]+).*?: error: (.+)', words):
        return f"{found[1]}: {found[2].strip().rstrip('.')}"
    errors = re.findall(r"^\S*Error: (.+)", words, flags=re.MULTILINE)
    return errors[-1].strip()[:MOST].rstrip(".") if errors else f"it ended with code {status}"
