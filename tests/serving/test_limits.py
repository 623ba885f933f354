"""Clients that send slowly, much, or without leave; and what is written of requests."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
import time
import urllib.request
from urllib.parse import urlsplit

import pytest

from serving import Server
from tests.serving.kit import GOOD, call, connect, model_path, predict

BODY = json.dumps({"instances": [GOOD]}).encode()


def dial(server):
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def head(server, length, more=""):
    return (
        f"POST {model_path(server)}:predict HTTP/1.1\r\nHost: x\r\n{more}"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def answer(client):
    begin, _, payload = client.makefile("rb").read().partition(b"\r\n\r\n")
    return int(begin.split()[1]), json.loads(payload)


@pytest.fixture(scope="module")
def strict(folder, linear):
    settings = {"body_seconds": 0.5, "idle_seconds": 1, "max_body_bytes": 2**20,
                "max_bodies_bytes": 2**20 + 2**19}  # fmt: skip
    with Server(folder / "linear", port=0, **settings) as server:
        yield server


def test_a_body_that_comes_too_slowly_is_refused(strict):
    start = time.monotonic()
    with dial(strict) as client:
        client.sendall(head(strict, 100) + b'{"instances"')
        status, payload = answer(client)
    assert status == 408 and "body: got 12 bytes in 0.5 s" in payload["error"]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("sent", [b"", b"POST / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_never_ends_is_cut_off(strict, sent):
    with dial(strict) as client:
        client.sendall(sent)
        start = time.monotonic()
        assert client.recv(1) == b"" and time.monotonic() - start < 5


def test_an_idle_connection_is_closed(strict):
    connection = connect(strict)
    connection.request("GET", model_path(strict))
    connection.getresponse().read()
    assert connection.sock.recv(1) == b""


def test_bodies_share_a_sum(strict):
    """One of 1 MiB that stops short holds the room; others are told to come again."""
    clients = [dial(strict)]
    clients[0].sendall(head(strict, 2**20) + b" " * 2**19)
    time.sleep(0.1)
    with dial(strict) as late:
        late.sendall(head(strict, 2**20))
        status, payload = answer(late)
    assert status == 503 and "no room" in payload["error"]
    assert predict(strict, BODY)[0] == 200  # small ones are still answered
    assert answer(clients[0])[0] == 408
    clients[0].close()
    assert predict(strict, BODY.ljust(2**20))[0] == 200


def test_chunks_are_read_and_counted(strict):
    def chunked(parts):
        connection = connect(strict)
        connection.request(
            "POST", f"{model_path(strict)}:predict", iter(parts), encode_chunked=True
        )
        response = connection.getresponse()
        return response.status, json.load(response)

    assert chunked([BODY[:9], BODY[9:]]) == (200, {"predictions": [[0, 0, 0]]})
    status, payload = chunked([b" " * 2**19] * 3)
    assert status == 413 and "expected 1048576 at most" in payload["error"]


def test_a_token_is_asked_for(folder, linear, tmp_path):
    file = tmp_path / "token"
    file.write_text("secret\n")
    with Server(folder / "linear", port=0, token_file=file) as server:
        for sent, status in (("", 401), ("Bearer wrong", 401), ("Bearer secret", 200)):
            given = {"Authorization": sent} if sent else {}
            connection = connect(server)
            connection.request("POST", f"{model_path(server)}:predict", BODY, given)
            response = connection.getresponse()
            assert response.status == status
            assert "secret" not in response.read().decode()
        assert call(server.root + "/healthz")[0] == call(server.root + "/readyz")[0] == 200
        assert call(server.root + "/openapi.json")[0] == 401


def test_more_connections_than_may_be_are_refused(folder, linear):
    with Server(folder / "linear", port=0, max_connections=4) as server:
        held = [dial(server) for _ in range(4)]
        time.sleep(0.1)
        with dial(server) as late:
            late.sendall(head(server, len(BODY), "Connection: close\r\n") + BODY)
            assert late.recv(12) == b"HTTP/1.1 503"
        for client in held:
            client.close()
        time.sleep(0.1)
        assert predict(server, BODY)[0] == 200


def test_overload_is_refused_and_passes(folder, linear):
    """Sixty-four clients at a queue of two examples: each is answered, rightly or with 503."""
    with Server(folder / "linear", port=0, max_waiting=2, wait_seconds=0.05) as server:
        seen = []

        def ask():
            connection = connect(server)
            for _ in range(5):
                connection.request("POST", f"{model_path(server)}:predict", BODY)
                response = connection.getresponse()
                again = response.headers["Retry-After"]
                seen.append((response.status, json.load(response), again))

        threads = [threading.Thread(target=ask) for _ in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {status for status, *_ in seen} == {200, 503} and len(seen) == 320
        for status, payload, again in seen:
            if status == 200:
                assert payload == {"predictions": [[0, 0, 0]]}
            else:
                assert again == "1" and "too many examples wait" in payload["error"]
        assert predict(server, BODY)[0] == 200


def test_a_line_is_written_of_each_request_and_never_what_it_holds(linear, caplog):
    caplog.set_level(logging.INFO, logger="serving")
    request = urllib.request.Request(
        f"{linear.url}:predict", BODY, {"X-Request-ID": "abc-1", "Authorization": "Bearer hidden"}
    )
    with urllib.request.urlopen(request) as response:
        assert response.headers["X-Request-ID"] == "abc-1"
    time.sleep(0.1)  # it is written behind the answer
    (line,) = [record.getMessage() for record in caplog.records if "abc-1" in record.getMessage()]
    told = json.loads(line)
    assert told["status"] == 200 and told["bytes"] == len(BODY) and told["model"] == "linear"
    assert "hidden" not in line and "instances" not in line
    request = urllib.request.Request(linear.url, headers={"X-Request-ID": "a b\t"})
    with urllib.request.urlopen(request) as response:
        assert len(response.headers["X-Request-ID"]) == 32


def test_what_is_refused_is_counted_and_noted(strict, caplog):
    def counts():
        with urllib.request.urlopen(f"{strict.root}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        told = [line.removeprefix('zoo_http_answers_total{code="') for line in lines]
        return {line[:3]: float(line[5:]) for line in told if line[3:5] == '"}'}

    def took():
        with urllib.request.urlopen(f"{strict.root}/metrics") as answer:
            (line,) = [line for line in answer.read().decode().splitlines()
                       if line.startswith("zoo_request_seconds_sum")]  # fmt: skip
        return float(line.split()[1])

    predict(strict, BODY)
    before, seconds = counts(), took()
    caplog.set_level(logging.INFO, logger="serving")
    sent = {
        "400": b"nonsense\r\n\r\n",
        "404": b"GET /nowhere?a=%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "408": head(strict, 100),
        "413": head(strict, 2**21),
        "431": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000,
    }
    for status, request in sent.items():
        with dial(strict) as client:
            client.sendall(request)
            found, payload = answer(client)
            assert str(found) == status and "error" in payload
    with dial(strict) as client:  # a body that comes slowly takes time
        client.sendall(head(strict, len(BODY), "Connection: close\r\n"))
        time.sleep(0.3)
        client.sendall(BODY)
        assert answer(client)[0] == 200
    after = counts()
    for status in sent:
        assert after[status] == before.get(status, 0) + 1
    assert took() > seconds + 0.25
    noted = [json.loads(record.getMessage()) for record in caplog.records
             if record.name == "serving.requests"]  # fmt: skip
    assert {str(line["status"]) for line in noted} >= set(sent)


def test_encrypted(folder, linear, tmp_path):
    made = certificate(tmp_path)
    with Server(folder / "linear", port=0, certificate=made[0], key=made[1]) as server:
        assert server.url.startswith("https://")
        trusted = ssl.create_default_context(cafile=made[0])
        request = urllib.request.Request(f"{server.url.replace('127.0.0.1', 'localhost')}", None)
        with urllib.request.urlopen(request, context=trusted) as response:
            assert response.status == 200
    with pytest.raises(ValueError, match="a certificate and its key"):
        Server(folder / "linear", port=0, certificate=made[0])


def certificate(folder):
    import subprocess

    paths = folder / "own.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-out", str(paths[0]), "-keyout", str(paths[1])),
        ],
        check=True,
        capture_output=True,
    )
    return paths
