"""HTTP over real sockets: routes, methods, lengths, and clients that leave."""

from __future__ import annotations

import json
import socket
import struct
from urllib.parse import urlsplit

import pytest

from serving import Server
from tests.serving.kit import GOOD, call, connect, model_path, predict


@pytest.mark.parametrize("path", ["/v1", "/v1/models", "/v1/models/linear:guess", "//["])
def test_an_unknown_path_lists_the_routes(linear, path):
    root = linear.url.removesuffix("/v1/models/linear")
    status, payload = call(root + path)
    assert status == 404
    for route in ("GET /healthz", "GET /v1/models/linear/metadata", "/v1/models/linear:predict"):
        assert route in payload["error"]


def test_an_unknown_version_is_refused(linear):
    status, payload = call(f"{linear.url}/versions/2:predict", {"instances": [GOOD]})
    assert (status, payload) == (404, {"error": "version: got 2; this server has 1."})


def test_health(linear):
    assert call(linear.url.removesuffix("/v1/models/linear") + "/healthz")[0] == 200


@pytest.mark.parametrize(
    ("method", "action", "allowed"),
    [
        ("GET", ":predict", "POST"),
        ("PUT", ":predict", "POST"),
        ("POST", "", "GET"),
        ("DELETE", "", "GET"),
        ("POST", "/metadata", "GET"),
    ],
)
def test_a_wrong_method_names_the_right_one(linear, method, action, allowed):
    connection = connect(linear)
    connection.request(method, model_path(linear) + action, body=b"{}")
    response = connection.getresponse()
    assert response.status == 405
    assert response.headers["Allow"].removesuffix(", HEAD") == allowed
    assert json.load(response) == {"error": f"method: got {method}; expected {allowed}."}
    connection.close()


def test_one_connection_serves_on_after_mistakes(linear):
    connection = connect(linear)
    connection.connect()
    first = connection.sock
    path = model_path(linear)
    for method, action, body, status in [
        ("POST", ":predict", b'{"instances": [1]}', 400),
        ("GET", "/nowhere", b"a body that nobody asked for", 404),
        ("HEAD", "", None, 200),
        ("POST", ":predict", json.dumps({"instances": [GOOD]}), 200),
    ]:
        connection.request(method, path + action, body)
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is first
    connection.close()


def dial(server):
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


def raw(server, sent):
    """Sends bytes, and no more; returns status and payload of the only answer."""
    with dial(server) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        head, _, payload = client.makefile("rb").read().partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(payload or "null")


def test_a_head_has_no_body(linear):
    assert raw(linear, f"HEAD {model_path(linear)} HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == (
        200,
        None,
    )


def test_a_path_may_be_quoted_and_have_a_query(linear):
    url = linear.url.replace("linear", "%6Cinear")
    assert call(f"{url}%3Apredict?", {"instances": [GOOD]})[0] == 200
    path = f"GET {model_path(linear)}?verbose=1 HTTP/1.1\r\nHost: x\r\n\r\n"
    assert raw(linear, path.encode())[0] == 200


@pytest.mark.parametrize(
    ("headers", "status", "part"),
    [
        ("", 400, "not JSON"),
        ("Content-Length: 0\r\nContent-Length: 40\r\n", 400, "HTTP: Invalid"),
        ("Content-Length: 2\r\nContent-Length: 2\r\n", 400, "HTTP: Invalid"),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 400, "HTTP: Invalid"),
        ("Content-Length : 2\r\n", 400, "HTTP: Invalid"),
        ("Content-Length: ten\r\n", 400, "HTTP: Invalid"),
        ("Content-Length: -1\r\n", 400, "HTTP: Invalid"),
        ("Content-Length: " + "9" * 5000 + "\r\n", 400, "HTTP: Invalid"),
        ("Host: y\r\n", 400, "Host: got 2; expected one"),
        ("Content-Encoding: gzip\r\n", 415, "Content-Encoding: got 'gzip'; expected none"),
        ("Content-Length: 99999999999\r\n", 413, "got 99999999999 bytes; expected 16777216"),
    ],
)
def test_a_body_of_unknown_or_excessive_length_is_refused(linear, headers, status, part):
    head = f"POST {model_path(linear)}:predict HTTP/1.1\r\nHost: x\r\n{headers}\r\n"
    got, payload = raw(linear, head.encode())
    assert got == status
    assert part in payload["error"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"a" * 270_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000 + b"\r\n", 431),
        (b"BREW / HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_broken_http_gets_an_answer_in_json(linear, sent, status):
    got, payload = raw(linear, sent)
    assert got == status
    assert payload["error"].startswith("HTTP: ")


@pytest.mark.usefixtures("linear")
def test_a_large_body_is_refused_while_it_is_sent(folder):
    with Server(folder / "linear", port=0, max_body_bytes=1000) as server:
        status, payload = predict(server, b"0" * 20_000_000)
        assert status == 413
        assert payload == {"error": "body: got 20000000 bytes; expected 1000 at most."}
        body = json.dumps({"instances": [GOOD]})
        assert predict(server, body.ljust(1000).encode())[0] == 200
        assert predict(server, body.ljust(1001).encode())[0] == 413


@pytest.mark.usefixtures("linear")
def test_a_client_that_leaves_does_no_harm(folder, capfd):
    abruptly = struct.pack("ii", 1, 0)  # linger for no time: closing resets the connection
    with Server(folder / "linear", port=0) as server:
        line = f"POST {model_path(server)}:predict HTTP/1.1\r\n"
        head = f"{line}Host: x\r\nContent-Length: 100\r\n\r\n".encode()
        for sent in (b"", b"POST", head, head + b"{"):
            with dial(server) as client:
                client.sendall(sent)
            with dial(server) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abruptly)
                client.sendall(sent)
        assert predict(server, {"instances": [GOOD]})[0] == 200
    assert "Traceback" not in capfd.readouterr().err
