"""Starting, stopping, and misuse of the command."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

from serving import Server
from serving.__main__ import main
from serving.models.cores import num_cores
from tests.serving.kit import GOOD, call, connect, model_path
from tests.serving.test_limits import certificate, dial, head


def test_a_taken_port_is_one_line(linear, folder):
    port = urlsplit(linear.url).port
    with pytest.raises(
        OSError, match=f"^cannot listen on 127.0.0.1:{port}: Address already in use"
    ):
        Server(folder / "linear", port=port)


@pytest.mark.usefixtures("linear")
def test_begun_requests_finish_and_idle_connections_close(folder):
    server = Server(folder / "linear", port=0)
    begun = threading.Event()

    def run():
        with server:
            begun.wait(30)

    running = threading.Thread(target=run)
    running.start()
    idle, busy = connect(server), connect(server)
    idle.request("GET", model_path(server))
    idle.getresponse().read()
    body = json.dumps({"instances": [GOOD]}).encode()
    busy.putrequest("POST", f"{model_path(server)}:predict")
    busy.putheader("Content-Length", str(len(body)))
    busy.putheader("Expect", "100-continue")
    busy.endheaders()
    assert busy.sock.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    begun.set()
    assert idle.sock.recv(1) == b""
    running.join(0.3)
    assert running.is_alive()
    busy.send(body)
    response = busy.getresponse()
    assert response.status == 200
    assert response.headers["Connection"] == "close"
    assert json.load(response) == {"predictions": [[0, 0, 0]]}
    running.join(10)
    assert not running.is_alive()
    with pytest.raises(ConnectionRefusedError):
        connect(server).connect()


SERVE = """
import sys
from serving import serve
serve(sys.argv[1], port=0)
print([name for name in ("tensorflow", "keras") if name in sys.modules])
"""


@pytest.mark.parametrize(("name", "runtime"), [("linear", "ONNX Runtime"), ("lite", "LiteRT")])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_process_that_never_loaded_tensorflow(
    name, runtime, number, request, folder
):
    request.getfixturevalue(name)  # writes the directory
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder / name)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        assert line.startswith(f"{name}: {runtime} ")
        url = line.split()[-1]
        kept = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        kept.request("GET", urlsplit(url).path)
        kept.getresponse().read()  # stays open, and must not hold the process up
        assert call(f"{url}:predict", {"instances": [GOOD]}) == (200, {"predictions": [[0, 0, 0]]})
        asked = time.monotonic()
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
        assert time.monotonic() - asked < 5
        assert (process.returncode, out) == (0, "[]\n")
        assert "Traceback" not in err
        kept.close()
    finally:
        process.kill()
        process.communicate()


def test_a_certificate_that_is_none_is_refused_before_it_listens(folder, linear, tmp_path):
    made = certificate(tmp_path)
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    for pair in ((bad, made[1]), (made[0], bad), (tmp_path / "none.pem", made[1])):
        with pytest.raises(OSError, match="no certificate and its key, in PEM"):
            Server(folder / "linear", port=0, certificate=pair[0], key=pair[1])


DIES = """
import asyncio, sys
from serving import serve, server

run = server.Server._serve

async def dies(self):
    serving = asyncio.create_task(run(self))
    await asyncio.sleep(1)
    raise RuntimeError("of an accident")

server.Server._serve = dies
serve(sys.argv[1], port=0)
"""


def test_a_server_that_ends_by_itself_ends_the_process(folder, linear):
    command = [sys.executable, "-c", DIES, str(folder / "linear")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.stdout.startswith("linear: ONNX Runtime") and done.returncode == 1
    assert "of an accident" in done.stderr
    assert done.stderr.rstrip().endswith("OSError: the server ended by itself; see above.")


def test_rest_and_grpc_drain_within_one_time(folder, linear):
    """A body and a message that never come."""
    import grpc

    done, drain_seconds = threading.Event(), 3.0

    def nothing():
        done.wait(30)
        yield from ()

    settings = {"drain_seconds": drain_seconds, "grpc_port": 0}
    with Server(folder / "linear", port=0, **settings) as server:
        client = dial(server)
        client.sendall(head(server, 100))
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        method = channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
        call = method.future(nothing(), timeout=30)
        time.sleep(0.3)
        start = time.monotonic()
    assert drain_seconds - 0.5 < time.monotonic() - start < 2 * drain_seconds - 0.5
    assert isinstance(call.exception(5), grpc.RpcError)
    done.set()
    channel.close()
    client.close()


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as made:
            made.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
def test_an_address_of_ipv6_stands_in_brackets(folder, linear):
    import grpc

    with Server(folder / "linear", host="::1", port=0, grpc_port=0) as server:
        assert server.url.startswith("http://[::1]:")
        assert call(server.url)[0] == 200
        with grpc.insecure_channel(f"[::1]:{server.grpc_port}") as channel:
            grpc.channel_ready_future(channel).result(10)
        with pytest.raises(OSError, match=r"cannot listen on \[::1\]:"):
            Server(folder / "linear", host="::1", port=urlsplit(server.url).port)


@pytest.mark.parametrize(
    ("text", "limit"), [("150000 100000", 1.5), ("max 100000", None), ("", None), (None, None)]
)
def test_cores_are_those_that_a_container_may_use(tmp_path, text, limit):
    file = tmp_path / "cpu.max"
    if text is not None:
        file.write_text(text)
    mine = len(os.sched_getaffinity(0))
    assert num_cores(file) == min(mine, limit or mine)


def test_the_command_reports_misuse_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serving", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "manifest.json: not found" in capsys.readouterr().err
