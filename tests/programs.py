"""Programs in processes of their own that need not import TensorFlow for seconds each.

Run as `python -m tests.programs` it is a process that has imported TensorFlow and done nothing else
with it; of that each program is a fork. So it can still split the CPU into devices, be killed, or
find that nothing of the zoo is imported.
"""

import atexit
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
LIMIT = 600  # seconds that a program may take
_parents: list[subprocess.Popen] = []  # one, once there is one


class Done(NamedTuple):
    """What became of a program; `returncode` is the negative signal of a killed one."""

    returncode: int
    stdout: str
    stderr: str


def run(code, *arguments, **environment):
    """Runs a program of Python in the root of the checkout.

    Raises:
        RuntimeError: The process that forks has ended.
    """
    if not _parents:
        _parents.append(
            subprocess.Popen(
                [sys.executable, "-m", "tests.programs"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        )
        atexit.register(_parents[0].stdin.close)
    with tempfile.TemporaryDirectory() as scratch:
        streams = [str(Path(scratch) / name) for name in ("out", "err")]
        job = {
            "code": textwrap.dedent(code),
            "argv": ["-c", *map(str, arguments)],
            "environment": {**os.environ, **environment},
            "streams": streams,
        }
        told = ""
        with contextlib.suppress(BrokenPipeError):
            _parents[0].stdin.write(json.dumps(job) + "\n")
            _parents[0].stdin.flush()
            told = _parents[0].stdout.readline()
        if not told:
            parent = _parents.pop()
            with contextlib.suppress(BrokenPipeError):
                parent.stdin.close()
            raise RuntimeError(
                f"tests.programs: the process that forks ended with {parent.wait()} instead of an "
                "answer; its own errors stand above."
            )
        return Done(int(told), *(Path(stream).read_text() for stream in streams))


def printed(code, *arguments, **environment):
    """What a program prints last, as JSON."""
    done = run(code, *arguments, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def _serve():
    import keras  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import tensorflow  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            _do(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _do(job):
    """Does a program, and ends the process."""
    import signal
    import traceback

    signal.alarm(LIMIT)
    for stream, path in enumerate(job["streams"], start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv, status = job["argv"], 0
    try:
        exec(compile(job["code"], "<program>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _serve()
