"""uvicorn's protocol, with limits for those who connect, and JSON for refusals.

A time and a size for the head of a request, a number of connections, a time for clients that do not
read what they asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from serving.errors import RefusedError
from serving.settings import Serving

MAX_HEAD_BYTES = 64 * 2**10
"""Of a head, and of what stands between two parts of a body: chunks' own heads, and trailers."""
READ_BYTES = 64 * 2**10  # that a client reads of an answer within `body_seconds`, at least
DRAINED_SECONDS = 2.0
"""How long what a refused client still sends is thrown away: to close over unread bytes would reset
the connection, and a client that still sends would never see the answer."""
CROWDED, WHOLE, LEFT = "crowded", "whole", "left"
"""Keys of a request's state: there are too many connections; its body has come; an `asyncio.Event`,
where one is kept, to be set when its client sends no more."""


def protocol(settings: Serving, refused: Callable[[str, int], None]) -> type[asyncio.Protocol]:
    """Returns the class of a connection.

    Args:
        settings: Of the server.
        refused: Is told of each refusal of what is no request: the client's address, the status.
    """
    seconds, most = settings.body_seconds, settings.max_connections

    class Protocol(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None  # until a head must have come
        _reader: asyncio.TimerHandle | None = None  # until more of an answer must have been read
        _in_head, _between = False, 0  # bytes since a message or a part of a body began
        _crowded = False
        _over = False  # what still comes is thrown away

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > most:
                self._make_room()
            self._set_timer(seconds)

        def _make_room(self) -> None:
            """Closes a connection between two requests; where none is, this one is refused."""
            for other in self.connections:
                if isinstance(other, Protocol) and other.idles():
                    other.transport.close()
                    return
            self._crowded = True

        def idles(self) -> bool:
            """Whether the connection waits for another request."""
            between = self.cycle is not None and self.cycle.response_complete
            return between and not self._in_head and not self.transport.is_closing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._unset_timer()
            self._unset_reader()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._over:
                return
            self._between += len(data)
            if self._in_head and self._between > MAX_HEAD_BYTES:
                self._refuse_long()
                return
            super().data_received(data)  # what it ends, begins to count anew
            if self._between > MAX_HEAD_BYTES and not self.transport.is_closing():
                self._refuse_long()
            if self._in_head and self._timer is None and not self._over:
                self._set_timer(seconds)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._unset_timer()
            self._in_head, self._between = True, 0

        def on_headers_complete(self) -> None:
            self._unset_timer()
            self._in_head, self._between = False, 0
            if self._crowded:
                self.scope["state"][CROWDED] = True
            super().on_headers_complete()
            self.headers = []  # of trailers, which nobody reads
            if self._crowded:
                self.cycle.keep_alive = False

        def on_body(self, body: bytes) -> None:
            self._between = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._between = 0
            self.scope["state"][WHOLE] = True
            super().on_message_complete()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():
                self._watch_reader()

        def eof_received(self) -> bool:  # type: ignore[override]
            """Whether the connection stays open: who has asked and sends no more is answered."""
            if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
                return False
            self.cycle.keep_alive = False
            if (left := self.scope["state"].get(LEFT)) is not None:
                left.set()
            return not self.transport.get_extra_info("sslcontext")

        def pause_writing(self) -> None:
            super().pause_writing()
            self._watch_reader()

        def resume_writing(self) -> None:
            if not self.transport.is_closing():
                self._unset_reader()
            super().resume_writing()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._watch_reader()

        def _watch_reader(self) -> None:
            """Ends the connection, and frees what it holds, unless the client reads on."""
            if self._reader is None:
                left = self.transport.get_write_buffer_size()
                self._reader = self.loop.call_later(seconds, self._check_reader, left)

        def _check_reader(self, before: int) -> None:
            self._reader = None
            if before - self.transport.get_write_buffer_size() < READ_BYTES:
                self.transport.abort()
            else:
                self._watch_reader()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, msg.rstrip("."))

        def _refuse_long(self) -> None:
            self._refuse(431, f"head: expected {MAX_HEAD_BYTES} bytes at most")

        def _refuse(self, status: int, message: str) -> None:
            if self._over:
                return
            content = RefusedError(status, f"HTTP: {message}.").content()
            head = (
                b"content-type: application/json\r\nconnection: close\r\ncontent-length: "
                + f"{len(content)}\r\n\r\n".encode()
            )
            self.transport.write(STATUS_LINE[status] + head + content)
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self._over = True
            self._set_timer(DRAINED_SECONDS)
            refused(self.client[0] if self.client else "", status)

        def _set_timer(self, length: float) -> None:
            self._unset_timer()
            self._timer = self.loop.call_later(length, self._end)

        def _end(self) -> None:
            self.transport.close()
            self._watch_reader()

        def _unset_timer(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _unset_reader(self) -> None:
            if self._reader is not None:
                self._reader.cancel()
                self._reader = None

    made: Any = Protocol
    return made  # type: ignore[no-any-return]
