"""The sockets: one thread for each connection; HTTP/1.1 with kept connections.

Source: `http.server` of the standard library. Limits: no chunked bodies; as many threads as there
are connections.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import socket
import socketserver
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from serving.routes import Reply, Service

_log = logging.getLogger("serving")


class Listener(ThreadingHTTPServer):
    """The listening socket and its connections.

    Args:
        address: Host and port to listen on.
        service: What answers the requests.
        max_body_bytes: Largest body of a request.

    Raises:
        OSError: The address is taken, unknown, or not this machine's.
    """

    daemon_threads = False  # so that `server_close` waits for them
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], service: Service, *, max_body_bytes: int) -> None:
        super().__init__(address, Connection)
        self.service = service
        self.max_body_bytes = max_body_bytes
        self.stopping = False
        self.idle: set[socket.socket] = set()  # connections that wait for a request

    def server_bind(self) -> None:
        """Skips `HTTPServer`'s look-up of the host's name, which may wait for a name server."""
        socketserver.TCPServer.server_bind(self)

    def stop(self) -> None:
        """Stops listening, wakes the idle connections, and waits for the busy ones."""
        self.shutdown()
        self.stopping = True
        for connection in list(self.idle):
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RD)
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Connection(BaseHTTPRequestHandler):
    """One client's connection, in a thread of its own."""

    server: Listener
    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # 0.9, the library's, would refuse without a status line
    timeout = 60.0  # seconds that a silent client is waited for
    disable_nagle_algorithm = True  # headers and body are two writes; the second must not wait

    def handle_one_request(self) -> None:
        """Reads and answers one request, unless the server stops first."""
        self.server.idle.add(self.connection)
        if self.server.stopping:
            self.close_connection = True
        else:
            super().handle_one_request()

    def parse_request(self) -> bool:
        """Marks the connection busy: its request line has come."""
        self.server.idle.discard(self.connection)
        return super().parse_request()

    def finish(self) -> None:
        """Ends the connection."""
        self.server.idle.discard(self.connection)
        super().finish()

    def answer(self) -> None:
        """Answers a request of any method."""
        body = self._body()
        if isinstance(body, Reply):
            self.close_connection = True
            self._send(body)
            self._drain()
            return
        method = "GET" if self.command == "HEAD" else self.command
        self._send(self.server.service.respond(method, self.path, body))

    do_GET = do_HEAD = do_POST = answer  # noqa: N815  the library's names
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815

    def _body(self) -> bytes | Reply:
        """The request's body, or the refusal of one that cannot be read."""
        text = self.headers.get("Content-Length", "" if self.command == "POST" else "0")
        limit = self.server.max_body_bytes
        if "Transfer-Encoding" in self.headers or not text:
            return Reply(411, {"error": "Content-Length: missing; expected the body's bytes."})
        lengths = self.headers.get_all("Content-Length", [])
        if len(lengths) > 1:  # RFC 9112, 6.3: what is behind the body would be another's request
            return Reply(400, {"error": f"Content-Length: got {len(lengths)}; expected one."})
        if not re.fullmatch("[0-9]{1,18}", text):
            return Reply(400, {"error": f"Content-Length: got {text[:80]!r}; expected a number."})
        if int(text) > limit:
            return Reply(413, {"error": f"body: got {text} bytes; expected {limit} at most."})
        body = self.rfile.read(int(text))
        if len(body) < int(text):
            return Reply(400, {"error": f"body: got {len(body)} bytes; expected {text}."})
        return body

    def _drain(self) -> None:
        """Says that no more comes, and reads on for a moment.

        To close over unread bytes would reset the connection, and a client that still sends would
        never see the answer.
        """
        self.connection.settimeout(2.0)
        deadline = time.monotonic() + 2.0
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            while time.monotonic() < deadline and self.rfile.read1(2**16):
                pass

    def _send(self, reply: Reply) -> None:
        self.close_connection |= self.server.stopping
        content = json.dumps(reply.payload).encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if reply.allow:
            self.send_header("Allow", reply.allow)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answers what the standard library refuses, e.g. a broken request line, as JSON too."""
        self.close_connection = True
        self._send(Reply(code, {"error": f"HTTP: {message or HTTPStatus(code).phrase}"}))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the library's name
        """Logs requests at level INFO, which is silent unless logging is set up."""
        _log.info(format, *args)
