"""One deployable in a process of its own, timed on command: `python -m export.worker DIRECTORY`.

It loads the file and answers with a line of JSON; then each number on standard input is that many
calls, answered with their seconds; the end of the input with the most memory it ever had. So the
memory is that of the runtime and the file, without TensorFlow where the runtime needs none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Opens the file and takes orders."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=Path)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()

    from export.examples import one_example
    from export.manifest import Manifest
    from export.targets import find_target

    manifest, path = Manifest.of_file(given.directory)
    target = find_target(manifest.target, manifest.options)
    before, start = peak_bytes(), time.perf_counter()
    session = target.open(path, threads=given.threads)
    inputs = one_example(manifest.keras or manifest.signature)
    session.call(inputs)
    loaded = time.perf_counter() - start
    _say({"precision": session.precision or manifest.precision, "load_seconds": loaded})
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            start = time.perf_counter()
            session.call(inputs)
            seconds.append(time.perf_counter() - start)
        _say(seconds)
    _say({"peak_bytes": peak_bytes(), "model_bytes": peak_bytes() - before})


def peak_bytes() -> int:
    """Returns the most memory that this process has had.

    `getrusage` would tell that of the process that started it, where that had more.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


def _say(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
