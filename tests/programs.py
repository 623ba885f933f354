"""Programs in processes of their own that need not import TensorFlow for seconds each.

Run as `python -m tests.programs` it is a process that has imported TensorFlow and done nothing else
with it; of that each program is a fork. So it can still split the CPU into devices, be killed, join
workers, or find that nothing of the zoo is imported.
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
ALONE = 15  # and those that are left when another worker has ended badly
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
    return _run(code, arguments, [environment])[0]


def run_workers(code, *arguments, workers=2, **environment):
    """Runs a program once for each of some workers, at the same time, with a `TF_CONFIG` each."""
    from zoo.training.supervisor import HOST, free_ports
    from zoo.training.workers import VARIABLE, configuration

    addresses = [f"{HOST}:{port}" for port in free_ports(workers)]
    one = [{**environment, VARIABLE: configuration(addresses, i)} for i in range(workers)]
    return _run(code, arguments, one)


def _run(code, arguments, environments):
    """Runs a program once for each environment, at the same time."""
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
        jobs = [
            {
                "code": textwrap.dedent(code),
                "argv": ["-c", *map(str, arguments)],
                "environment": {**os.environ, **environment},
                "streams": [str(Path(scratch) / f"{name}{number}") for name in ("out", "err")],
            }
            for number, environment in enumerate(environments)
        ]
        told = ""
        with contextlib.suppress(BrokenPipeError):
            _parents[0].stdin.write(json.dumps(jobs) + "\n")
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
        return [
            Done(status, *(Path(stream).read_text() for stream in job["streams"]))
            for status, job in zip(json.loads(told), jobs, strict=True)
        ]


def printed(code, *arguments, **environment):
    """What a program prints last, as JSON."""
    done = run(code, *arguments, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def printed_by_workers(code, *arguments, workers=2, **environment):
    """What each of some workers prints last, as JSON."""
    found = run_workers(code, *arguments, workers=workers, **environment)
    for number, done in enumerate(found):
        assert done.returncode == 0, f"worker {number}: {done.stderr[-3000:]}"
    return [json.loads(done.stdout.splitlines()[-1]) for done in found]


def _serve():
    import keras  # noqa: F401
    import scipy.stats  # noqa: F401
    import sklearn.ensemble  # noqa: F401
    import tensorflow  # noqa: F401

    for line in sys.stdin:
        children = []
        for job in json.loads(line):
            children.append(os.fork())
            if not children[-1]:
                _do(job)
        sys.stdout.write(f"{json.dumps(_ends(children))}\n")
        sys.stdout.flush()


def _ends(children):
    """How each has ended; who is left when another has ended badly is killed after a while."""
    import signal
    import time

    ends, limit = {}, None
    while len(ends) < len(children):
        # One child needs no looking: it is waited for.
        child, status = os.waitpid(-1, os.WNOHANG if len(children) > 1 else 0)
        if child:
            ends[child] = os.waitstatus_to_exitcode(status)
            continue
        if limit is None and any(ends.values()):
            limit = time.monotonic() + ALONE
        if limit is not None and time.monotonic() > limit:
            for left in set(children) - set(ends):
                os.kill(left, signal.SIGKILL)
        time.sleep(0.05)
    return [ends[child] for child in children]


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
