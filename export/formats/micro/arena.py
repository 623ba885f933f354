"""The smallest arena that a model runs with in TFLite-Micro.

One that is too small is refused as a rule, and now and then ends the process in a segmentation
fault: TFLite-Micro places objects in it before it looks. So sizes are tried in another process,
which is this file run as a program; where it dies is a size that is too small.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from subprocess import CompletedProcess

from export import processes

STEP = 16  # bytes; the alignment of an arena


class RefusedError(RuntimeError):
    """TFLite-Micro does not run the model in any arena; the message is its own."""


def smallest(
    content: bytes, enough: int, *, who: str = "TFLite-Micro", seconds: float = 900.0
) -> int:
    """Returns the least arena in bytes, a multiple of `STEP`, by bisection.

    Args:
        content: Bytes of the `.tflite` file.
        enough: Bytes that are certainly enough; memory that is not touched costs nothing.
        who: See `processes.run`.
        seconds: Likewise, of one process; where it dies, another goes on.

    Raises:
        RefusedError: The model does not run with `enough` either.
        RuntimeError: It took too long.
    """
    low, high = 0, -(-enough // STEP)  # in steps: too small, and large enough
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "model.tflite")
        path.write_bytes(content)
        while True:
            arguments = str(path), str(low), str(high)
            done = processes.run("export.formats.micro.arena", *arguments, who=who, seconds=seconds)
            tried = [int(size) for size in re.findall(r"^try (\d+)", done.stdout, re.M)]
            fit = [int(size) for size in re.findall(r"^fits (\d+)", done.stdout, re.M)]
            if high not in fit:
                raise RefusedError(_last_words(done))
            if high - low == 1:  # `high` has just run in a process that had seen no smaller one
                return high * STEP
            high = min(fit)
            low = max([low, *(size for size in tried if size < high)])


def _last_words(done: CompletedProcess[str]) -> str:
    """What TFLite-Micro printed before it gave up, on one line."""
    if missing := re.search(r"builtin opcode '(\w+)'", done.stderr):
        return f"it has no operator {missing[1]}"
    if done.returncode < 0:
        return f"signal {-done.returncode} ended it"
    lines = [line.strip().rstrip(".") for line in done.stderr.splitlines() if line.strip()]
    return "; ".join(lines[-2:]) or f"it ended with code {done.returncode}"


def _try_sizes(content: bytes, low: int, high: int) -> None:
    """Runs the model with `high` steps, then bisects; says each size before it is tried."""
    expected = None
    size = high
    while True:
        _say(f"try {size}")
        outputs = _outputs(content, size * STEP)
        expected = expected or outputs
        if outputs is not None and outputs == expected:
            _say(f"fits {size}")
            high = size
        elif size == high:
            return  # not even this
        else:
            low = size
        if high - low == 1:
            return
        size = (low + high) // 2


def _outputs(content: bytes, arena_bytes: int) -> list[bytes] | None:
    """Runs the model on a fixed input; returns `None` where the arena is too small."""
    import numpy as np
    from tflite_micro import runtime

    graph = runtime.convert_bytearray_to_object(content).subgraphs[0]
    try:
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=arena_bytes)
        for index in range(len(graph.inputs)):
            details = interpreter.get_input_details(index)
            array = np.zeros(details["shape"], details["dtype"])
            if array.dtype == np.int8:  # another integer may be an index into a table: 0 exists
                array = (np.arange(array.size) % 127).astype(np.int8).reshape(array.shape)
            interpreter.set_input(array, index)
        interpreter.invoke()
        return [interpreter.get_output(index).tobytes() for index in range(len(graph.outputs))]
    except RuntimeError:
        return None


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()  # before the process may die


if __name__ == "__main__":
    _try_sizes(Path(sys.argv[1]).read_bytes(), *map(int, sys.argv[2:]))
