"""Starting, stopping, and misuse of the command."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest

from serving import Server
from serving.__main__ import main
from tests.serving.kit import GOOD, call, connect, model_path


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


def test_the_command_reports_misuse_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["serving", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "manifest.json: not found" in capsys.readouterr().err
