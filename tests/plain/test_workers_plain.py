"""Workers meet, or say who did not come; a supervisor starts all anew where one dies.

The workers here are small programs, so that a supervisor's whole life takes a second.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from zoo.recipe import Hardware
from zoo.training import supervisor, workers
from zoo.training.workers import Worker

ROOT = Path(__file__).parents[2]


def named(cluster, kind="worker", index=0):
    text = json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})
    return workers.of(Hardware(), {workers.VARIABLE: text})


def test_a_worker_knows_who_it_is():
    both = ["a:1", "b:2"]
    assert named({"worker": both}, index=1) == Worker(("a:1", "b:2"), 1)
    assert named({"chief": ["c:3"], "worker": both}, index=1) == Worker(("c:3", "a:1", "b:2"), 2)
    assert named({"chief": ["c:3"], "worker": both}, "chief").chief
    assert named({"worker": ["a:1"]}) is None
    text = {workers.VARIABLE: workers.configuration(both, 1)}
    assert workers.of(Hardware(strategy="multiworker"), text).number == 1
    assert workers.of(Hardware(strategy="one"), text) is None
    assert workers.of(Hardware(), {}) is None


@pytest.mark.parametrize(("text", "told"), [
    ("{", "got '{'; expected e.g. {\"cluster\""),
    ('{"cluster": {"worker": ["a:1"]}}', "expected e.g."),
    ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "expected e.g."),
    ('{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 1}}', "expected e.g"),
    ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}',
     "got the job ps; expected only chief and worker"),
])  # fmt: skip
def test_a_wrong_configuration_is_told_in_a_line(text, told):
    with pytest.raises(ValueError, match=r"^TF_CONFIG: got") as caught:
        workers.of(Hardware(), {workers.VARIABLE: text})
    assert told in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="got multiworker without TF_CONFIG"):
        workers.of(Hardware(strategy="multiworker"), {})


def addresses(count):
    return tuple(f"{supervisor.HOST}:{port}" for port in supervisor.free_ports(count))


def test_workers_meet_in_any_order():
    places, came = addresses(3), []

    def come(number):
        time.sleep(0.2 * (2 - number))
        workers.meet(Worker(places, number), seconds=20)
        came.append(time.monotonic())

    threads = [threading.Thread(target=come, args=(number,)) for number in range(3)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(came) == 3 and min(came) - began >= 0.4  # nobody before the last


def test_a_worker_that_never_comes_is_named():
    places = addresses(2)
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=f"got no answer of worker 1 at {places[1]} within 0.5"):
        workers.meet(Worker(places, 0), seconds=0.5)
    assert time.monotonic() - began < 5


def test_one_who_comes_back_alone_does_not_join():
    """Its fellow is past the meeting: something listens there, and does not answer."""
    import socket

    places = addresses(2)
    with (
        socket.create_server((supervisor.HOST, int(places[0].split(":")[1]))),
        pytest.raises(TimeoutError, match="worker 0 at"),
    ):
        workers.meet(Worker(places, 1), seconds=1.5)


CHILD = """
import json, os, signal, sys, time
number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
place, mode = sys.argv[1:3]
turn = 0
while os.path.exists(f"{place}/{turn}.{number}"):
    turn += 1
open(f"{place}/{turn}.{number}", "w").write(json.dumps([os.getpid(), os.environ["TF_CONFIG"]]))
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif mode == "saves":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
if mode == "well" or turn == 2:
    sys.exit(0)
while number == 1 and not os.path.exists(f"{place}/{turn}.0"):
    time.sleep(0.01)
if number == 1 and mode != "saves":
    print("it went wrong", file=sys.stderr)
    sys.exit({"misused": 2, "fails": 5}[mode]) if mode in ("misused", "fails") else None
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
"""


def launched(tmp_path, mode, **options):
    command = [sys.executable, "-c", CHILD, str(tmp_path), mode]
    code = supervisor.launch(command, num_workers=2, **{"grace": 1.0} | options)
    return code, sorted(path.name for path in tmp_path.iterdir())


def content(path):
    return json.loads(path.read_text())


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_all_start_again_with_the_reason_in_the_log(tmp_path, caplog, capfd):
    code, turns = launched(tmp_path, "dies", restarts=3)
    assert code == 0
    assert turns == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "launch: worker 1 was killed by SIGKILL; all start again (1 of 3)"
    assert "(2 of 3)" in lines[1] and len(lines) == 2
    pids, given = zip(*[content(tmp_path / turn) for turn in turns], strict=True)
    assert all(map(gone, pids))
    assert len(set(given)) == 6  # fresh ports each time


@pytest.mark.parametrize(("mode", "restarts", "code", "turns"), [
    ("fails", 1, 5, 2), ("misused", 3, 2, 1), ("dies", 0, 1, 1), ("well", 0, 0, 1),
])  # fmt: skip
def test_how_often(tmp_path, caplog, mode, restarts, code, turns):
    assert launched(tmp_path, mode, restarts=restarts) == (
        code, sorted(f"{turn}.{number}" for turn in range(turns) for number in range(2))
    )  # fmt: skip
    if mode in ("fails", "misused"):
        assert f"worker 1 ended with {code} (it went wrong); " in caplog.text
        assert f"; {turns - 1} of {restarts} restarts were made" in caplog.text


def test_one_that_ignores_sigterm_is_killed(tmp_path, caplog):
    began = time.monotonic()
    assert launched(tmp_path, "stubborn", grace=0.5)[0] == 1
    assert time.monotonic() - began < 10
    assert "worker 0 did not end and is killed" in caplog.text
    assert gone(content(tmp_path / "0.0")[0])


SUPERVISOR = """
import sys
from zoo.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_supervisor(tmp_path, kind):
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, "launch", "--workers", "2", "--",
         sys.executable, "-c", CHILD, str(tmp_path), "saves"],
        cwd=ROOT, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        files = [tmp_path / "0.0", tmp_path / "0.1"]
        deadline = time.monotonic() + 30
        while not all(path.exists() and path.read_text() for path in files):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(kind)
        assert process.wait(timeout=20) == (143 if kind == signal.SIGTERM else -signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not all(gone(content(path)[0]) for path in files):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()


def test_misuse_is_told_in_a_line(capsys):
    from zoo.cli import main

    assert main(["launch", "--workers", "0", "--", "zoo", "train"]) == 2
    assert "--workers: got 0; expected 1 or more." in capsys.readouterr().err
    assert main(["launch", "--", "no-such-program"]) == 2
    assert "no-such-program: not found; expected a program" in capsys.readouterr().err


# -- the scripts of docs/scale.md -----------------------------------------------------------------

STUBS = {
    "zoo": 'printf "%s %s\\n" "$TF_CONFIG" "$*"; exit ${ZOO_CODE:-0}',
    # A line for each host; each task by its number, as SLURM gives it; the largest code.
    "scontrol": '[ "$1" = show ] && printf "n1\\nn2\\n" || echo "again $2"',
    "srun": 'shift; for i in 0 1; do SLURM_PROCID=$i "$@"; code=$?; done; exit $code',
}


def stubbed(tmp_path, command, **environment):
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    given = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **environment}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)
    assert not done.stderr
    return done.stdout.splitlines()


def block(name):
    text = (ROOT / "docs" / "scale.md").read_text()
    return text.partition(f"<!-- test: file {name} -->\n")[2].split("```")[1].partition("\n")[2]


def check(lines, hosts):
    for number, line in enumerate(lines):
        text, _, rest = line.partition(" train ")
        worker = workers.of(Hardware(), {workers.VARIABLE: text})
        assert worker == Worker(tuple(f"{host}:2222" for host in hosts), number)
        assert "--resume-if-any" in rest


def test_the_script_for_slurm(tmp_path):
    environment = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_ID": "17"}
    script = tmp_path / "train.slurm"
    script.write_text(block(script.name))
    check(stubbed(tmp_path, ["bash", script], **environment), ["n1", "n2"])
    *lines, last = stubbed(tmp_path, ["bash", script], **environment, ZOO_CODE="143")
    check(lines, ["n1", "n2"])
    assert last == "again 17"  # it is queued again


def test_the_manifest_for_kubernetes(tmp_path):
    service, job = yaml.safe_load_all(block("train.yaml"))
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert pod["subdomain"] == service["metadata"]["name"]
    (container,) = pod["containers"]
    hosts = [f"{name}-{i}.{pod['subdomain']}" for i in range(spec["completions"])]
    lines = [
        line
        for i in range(spec["completions"])
        for line in stubbed(
            tmp_path, [*container["command"], *container["args"]], JOB_COMPLETION_INDEX=str(i)
        )
    ]
    check(lines, hosts)
