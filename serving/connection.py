"""uvicorn's protocol, with a time and a size for the head of a request, and JSON for refusals."""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 2**10
DRAINED_SECONDS = 2.0
"""How long what a refused client still sends is thrown away: to close over unread bytes would reset
the connection, and a client that still sends would never see the answer."""


def protocol(head_seconds: float) -> type[asyncio.Protocol]:
    """Returns the class of a connection.

    Args:
        head_seconds: How long the head of a request may take to come, and a new connection may
            send nothing.
    """

    class Protocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _in_head, _head_bytes = False, 0
        _over = False  # what still comes is thrown away

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._timer = self.loop.call_later(head_seconds, self.transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._unset_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._over:
                return
            if self._in_head:
                self._head_bytes += len(data)
                if self._head_bytes > MAX_HEAD_BYTES:
                    self._refuse(431, f"head: expected {MAX_HEAD_BYTES} bytes at most")
                    return
            super().data_received(data)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._unset_timer()
            self._in_head, self._head_bytes = True, 0
            self._timer = self.loop.call_later(head_seconds, self.transport.close)

        def on_headers_complete(self) -> None:
            self._unset_timer()
            self._in_head = False
            super().on_headers_complete()

        def eof_received(self) -> bool:  # type: ignore[override]
            """Whether the connection stays open: who has asked and sends no more is answered."""
            if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
                return False
            self.cycle.keep_alive = False
            return not self.transport.get_extra_info("sslcontext")

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, msg.rstrip("."))

        def _refuse(self, status: int, message: str) -> None:
            content = json.dumps({"error": f"HTTP: {message}."}).encode()
            head = (
                b"content-type: application/json\r\nconnection: close\r\ncontent-length: "
                + f"{len(content)}\r\n\r\n".encode()
            )
            self.transport.write(STATUS_LINE[status] + head + content)
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._over = True
            self._unset_timer()
            self._timer = self.loop.call_later(DRAINED_SECONDS, self.transport.close)

        def _unset_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

    made: type[asyncio.Protocol] = Protocol
    return made
