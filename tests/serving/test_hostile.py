"""One request, or one client, that would keep all others waiting or take the server's memory."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from serving import Server
from serving.answers import pictures
from serving.models import versions
from tests.serving.kit import (
    GOOD,
    IMAGES,
    WEIGHTS,
    call,
    connect,
    model_path,
    predict,
    write_told,
)

BODY = json.dumps({"instances": [GOOD]}).encode()
SOON = 10  # seconds; what is held up here never comes at all


def dial(server, received_bytes=None):
    parts = urlsplit(server.url)
    client = socket.socket()
    if received_bytes:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received_bytes)
    client.settimeout(SOON)
    client.connect((parts.hostname, parts.port))
    return client


def soon(check):
    end = time.monotonic() + SOON
    while not check():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)


class Held:
    """A function that waits until it may go on."""

    def __init__(self, function):
        self._function, self._lock = function, threading.Lock()
        self.go, self.begun, self.running, self.most = threading.Event(), 0, 0, 0

    def __call__(self, *arguments, **settings):
        with self._lock:
            self.begun += 1
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.go.wait(30)
        with self._lock:
            self.running -= 1
        return self._function(*arguments, **settings)


def answers_meanwhile(server):
    """Whether the server answers others: its health, asked by a client that does not wait long."""
    parts = urlsplit(server.root)
    with socket.create_connection((parts.hostname, parts.port), timeout=SOON) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        with contextlib.suppress(TimeoutError):
            return client.recv(12) == b"HTTP/1.1 200"
    return False


def engine_of(server):
    return server._repository.pick(server.name).engine


def test_a_model_of_any_length_runs_in_a_worker(lines, monkeypatch):
    """It was measured at its shortest, which says nothing of a request."""
    held = Held(engine_of(lines)._run)
    monkeypatch.setattr(engine_of(lines), "_run", held)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(predict, lines, {"instances": [[[1, 2, 3]] * 4]})
        soon(lambda: held.begun)
        meanwhile = answers_meanwhile(lines)
        held.go.set()
        assert meanwhile and answer.result()[0] == 200


def test_a_request_runs_in_batches(folder, linear, monkeypatch):
    monkeypatch.setattr(versions, "QUICK_SECONDS", 0)
    with Server(folder / "linear", port=0, max_batch=4) as server:
        engine, sizes = engine_of(server), []
        run = engine._run

        def seen(inputs):
            sizes.append(len(inputs["image"]))
            return run(inputs)

        monkeypatch.setattr(engine, "_run", seen)
        given = np.random.RandomState(0).randn(10, 4, 4, 1).round(3)
        status, payload = predict(server, {"instances": given.tolist()})
    assert status == 200 and sizes == [4, 4, 2]
    np.testing.assert_allclose(payload["predictions"], given.reshape(10, 16) @ WEIGHTS, atol=1e-4)


def coded(image, count=1):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return {"instances": [{"b64": base64.b64encode(buffer.getvalue()).decode()}] * count}


def test_pictures_are_decoded_a_few_at_a_time_beside_the_loop(pictured, monkeypatch):
    held = Held(pictures.read)
    monkeypatch.setattr(pictures, "read", held)
    body = coded(Image.new("L", (8, 8)))
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(predict, pictured, body) for _ in range(6)]
        soon(lambda: held.begun)
        meanwhile = answers_meanwhile(pictured)
        held.go.set()
        assert meanwhile and [answer.result()[0] for answer in asked] == [200] * 6
    assert held.most <= 2


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [6000, 10_000, 20_000])
def test_a_picture_that_would_be_large_is_refused(pictured, side):
    """Of 36, 100 and 400 million pixels; Pillow itself warns beyond 89, and refuses beyond 179."""
    status, payload = predict(pictured, coded(Image.new("1", (side, side))))
    assert status == 400 and "picture 0: more than 33,554,432 pixels" in payload["error"]


def test_the_pictures_of_a_request_are_counted(pictured):
    status, payload = predict(pictured, coded(Image.new("L", (4, 4)), 65))
    assert status == 400 and payload["error"] == "pictures: got 65; expected 64 at most."


def chunked(server, *sent):
    client = dial(server)
    head = f"POST {model_path(server)}:predict HTTP/1.1\r\nHost: x\r\n"
    client.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
    with contextlib.suppress(OSError):  # it may have been cut off already
        for part in sent:
            client.sendall(part)
    with client:
        return client.recv(12)


@pytest.mark.parametrize("between", [b"x: y\r\n" * 2000, b"z" * 12_000])
def test_what_follows_the_last_chunk_is_counted(linear, between):
    whole = b"%x\r\n%s\r\n" % (len(BODY), BODY)
    assert chunked(linear, whole, b"0\r\n", b"a: b\r\n\r\n") == b"HTTP/1.1 200"
    assert chunked(linear, whole, b"0\r\n", *[between] * 50) == b"HTTP/1.1 431"
    assert chunked(linear, whole, b"5;", *[b"z" * 12_000] * 50) == b"HTTP/1.1 431"


def test_a_client_that_does_not_read_is_left(tmp_path):
    """Its answer is larger than what the system keeps for it."""
    directory = write_told(tmp_path / "large", 1, {"y": np.full((1, 300_000), 0.3)})
    with Server(directory, port=0, body_seconds=0.5, idle_seconds=1) as server:
        body = b'{"instances": [[[[0, 0, 0]]]]}'
        head = f"POST {model_path(server)}:predict HTTP/1.1\r\nHost: x\r\n"
        with dial(server, 4096) as client:
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert client.recv(12) == b"HTTP/1.1 200"
            soon(lambda: not server._http.server_state.connections)
        slowly = connect(server)  # who reads on gets all of it
        slowly.request("POST", f"{model_path(server)}:predict", body)
        answer, read = slowly.getresponse(), b""
        for _ in range(8):
            read += answer.read(2**19)
            time.sleep(0.2)
        read += answer.read()
        assert json.loads(read) == {"predictions": [[float(np.float32(0.3))] * 300_000]}


def test_more_connections_than_may_be_are_told_so(folder, linear):
    with Server(folder / "linear", port=0, max_connections=2) as server:
        idle = [connect(server) for _ in range(2)]
        for connection in idle:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
        assert predict(server, BODY)[0] == 200  # for it one that is idle was closed
        held = [dial(server) for _ in range(3)]
        soon(lambda: len(server._http.server_state.connections) >= 3)
        late = connect(server)
        late.request("POST", f"{model_path(server)}:predict", BODY)
        answer = late.getresponse()
        assert answer.status == 503 and answer.headers["Retry-After"] == "1"
        assert json.load(answer) == {"error": "connections: too many; try again."}
        assert call(f"{server.root}/healthz")[0] == call(f"{server.root}/readyz")[0] == 200
        for client in held:
            client.close()
        soon(lambda: predict(server, BODY)[0] == 200)


def generate(server, **options):
    return call(f"{server.url}:generate", options)


def test_a_text_has_a_largest_number_of_steps(letters):
    status, payload = generate(letters, prompt="a" * 10_000, count=64, tokens=1)
    assert status == 400 and "got 640064 tokens of all texts" in payload["error"]
    status, payload = generate(letters, prompt="a" * 10_000 + "\u2603")
    assert status == 400 and "prompt: got '\u2603'" in payload["error"]


def test_texts_that_nobody_waits_for_end(letters, monkeypatch):
    """Sixteen take all places before the model is asked; once they leave, so do their texts."""
    engine = engine_of(letters)
    held = Held(engine.predict)
    monkeypatch.setattr(engine, "predict", held)
    asked = []
    for _ in range(16):
        asked.append(connect(letters))
        body = json.dumps({"prompt": "a" * 2000, "tokens": 100})
        asked[-1].request("POST", f"{model_path(letters)}:generate", body)
    soon(lambda: held.begun == 16)
    status, payload = generate(letters, tokens=1)
    assert status == 503 and "too many texts at a time" in payload["error"]
    assert answers_meanwhile(letters)
    for connection in asked:
        connection.close()
    soon(lambda: letters._inference._writing == 0)
    held.go.set()
    soon(lambda: held.running == 0)
    assert generate(letters, tokens=1)[0] == 200
    assert held.begun < 50


def test_images_are_answered_behind_all_this(linear):
    status, payload = predict(linear, {"instances": IMAGES.tolist()})
    assert status == 200
    np.testing.assert_allclose(payload["predictions"], IMAGES.reshape(5, 16) @ WEIGHTS, atol=1e-4)
