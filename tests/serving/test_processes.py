"""Several processes at one address: one that is killed comes again; all end together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.serving.kit import GOOD, call

BODY = {"instances": [GOOD]}


@contextlib.contextmanager
def two(directory, *more):
    command = [sys.executable, "-m", "serving", str(directory), "--port", "0"]
    process = subprocess.Popen(
        [*command, "--set", "num_processes=2", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        yield process, line.split(" at ")[-1].split(",")[0].strip()
    finally:
        process.kill()
        process.communicate()


def children(process):
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(number) for number in listed.split()]


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
