"""Several processes at one address: one that is killed comes again; all end together."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from serving import serve
from tests.serving.kit import GOOD, call

BODY = {"instances": [GOOD]}


@contextlib.contextmanager
def two(directory, *more, read=True):
    command = [sys.executable, "-m", "serving", str(directory), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--set", "num_processes=2", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline() if read else ""
        yield process, line.split(" at ")[-1].split(",")[0].strip()
    finally:
        process.kill()
        process.communicate()


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in listed.split()]


def is_program(number):
    """Whether a process that was begun is its own program already."""
    return b"serving.processes.child" in Path(f"/proc/{number}/cmdline").read_bytes()


def lives(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def soon(check, seconds=20):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def directory(folder, linear):
    return folder / "linear"


def test_a_killed_process_comes_again_and_the_others_answer(directory):
    with two(directory) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        first = children(process)
        assert len(first) == 2
        for _ in range(20):
            assert call(f"{url}:predict", BODY)[0] == 200
        os.kill(first[0], signal.SIGKILL)
        killed, answered = time.monotonic(), None
        while answered is None:
            with contextlib.suppress(OSError, Exception):
                if call(f"{url}:predict", BODY)[0] == 200:
                    answered = time.monotonic()
        assert answered - killed < 2
        soon(lambda: len(children(process)) == 2 and first[0] not in children(process))
        for _ in range(40):
            assert call(f"{url}:predict", BODY)[0] == 200
        (other,) = {number for number in first if lives(number)}
        os.kill(other, signal.SIGSTOP)  # so that the new one answers, and nobody else
        mine = {number for number in children(process) if number != other}

        def answers():
            with contextlib.suppress(OSError):
                return call(f"{url}:predict", BODY)[0] == 200

        soon(answers)
        assert mine == {number for number in children(process) if number != other}
        os.kill(other, signal.SIGCONT)
        with urllib.request.urlopen(url.partition("/v1")[0] + "/metrics") as answer:
            text = answer.read().decode()
        row = 'zoo_requests_total{api="predict",code="200",model="linear",version="1"} '
        (count,) = [float(line.removeprefix(row)) for line in text.splitlines() if row in line]
        assert count >= 60  # of both, and of the one that was killed
        status, payload = call(f"{url}:predict", BODY | {"session": ""})
        assert status == 400 and "several processes serve here" in payload["error"]
        mine = children(process)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in err
        assert "serve: a process ended with -9; another begins." in err
        assert not any(map(lives, mine))


def test_one_that_hangs_while_it_begins_does_not_hold_the_parent(directory):
    with two(directory, "--set", "drain_seconds=0.1", read=False) as (process, _):
        soon(lambda: any(map(is_program, children(process))))
        (child,) = children(process)
        os.kill(child, signal.SIGSTOP)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0


def test_a_taken_port_of_grpc_leaves_nothing_behind(directory):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with socket.socket() as taken, socket.socket() as own:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        own.bind(("127.0.0.1", 0))
        port = own.getsockname()[1]
        own.close()
        settings = {"port": port, "grpc_port": taken.getsockname()[1], "num_processes": 2}
        with pytest.raises(OSError, match="cannot listen on"):
            serve(directory, **settings)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    with socket.socket() as again:
        again.bind(("127.0.0.1", port))


def test_children_end_when_the_parent_is_killed(directory):
    with two(directory, "--set", "grpc_port=0") as (process, url):
        mine = children(process)
        assert len(mine) == 2 and call(url)[0] == 200
        process.kill()
        process.wait()
        soon(lambda: not any(map(lives, mine)))


def test_what_cannot_be_served_ends_the_parent(tmp_path):
    with two(tmp_path) as (process, line):
        assert line == ""
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2 and "manifest.json: not found" in err


def test_clients_of_a_bench_check_every_answer(directory, zoo):
    rows = zoo("bench", "serve", directory, "--clients", 2, "--seconds", 0.5, "--json")["served"]
    assert [(row["api"], row["clients"]) for row in rows] == [("rest", 2), ("grpc", 2)]
    for row in rows:
        assert row["per_second"] > 10 and row["wrong"] == row["refused"] == 0
        assert 0 < row["p50_ms"] <= row["p99_ms"] and row["over_ms"] < row["p50_ms"]
    assert "expected one folder" in zoo("bench", "serv", directory, expect=2)
    line = zoo("bench", "serve", directory, "--set", "num_worker=2", expect=1)
    assert "unknown key. Did you mean 'num_workers'?" in line
