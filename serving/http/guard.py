"""What every request passes: its head, its token, its size; and what is noted of it.

An ASGI middleware. Bodies are read here, within a time, a size, and a sum of sizes, so that clients
that send slowly or much cannot take the memory of others.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from serving.admission import Admission
from serving.errors import RefusedError
from serving.http.connection import CROWDED, DRAINED_SECONDS, WHOLE
from serving.metrics import Metrics
from serving.settings import Serving

LOG = logging.getLogger("serving.requests")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/")  # without a token
_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."


class Guard:
    """Reads the body of a request into `scope["state"]["body"]`, or refuses it.

    Args:
        app: What answers.
        settings: Of the server.
        admission: Who may ask.
        metrics: Counters of the server.
    """

    def __init__(self, app: App, settings: Serving, admission: Admission, metrics: Metrics) -> None:
        self._app = app
        self._body_seconds = settings.body_seconds
        self._admission = admission
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, headers, state = 0, scope["headers"], scope["state"]
        state["start"], state["held"] = time.perf_counter(), 0
        known = dict(headers)
        given = known.get(b"x-request-id")
        name = (given and _harmless(given)) or self._admission.name()
        state["id"] = name

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        try:
            try:
                self._check(scope, headers, known)
                state["body"] = body = await self._body(state, known, receive)
                state["bytes"] = len(body)
            except RefusedError as refused:
                await _refuse(refused, receive, noted)
                return
            await self._app(scope, receive, noted)
        finally:
            self._admission.give(state["held"])
            self._metrics.answered_http(status)
            if LOG.isEnabledFor(logging.INFO):
                client = (scope["client"] or ("",))[0]
                note(name, client, scope["method"], scope["path"], status, state)

    def refused(self, client: str, status: int) -> None:
        """Counts and notes what was no request, and was refused before it came here."""
        self._metrics.answered_http(status)
        if LOG.isEnabledFor(logging.INFO):
            note("", client, "", "", status, {"start": time.perf_counter()})

    def _check(self, scope: Scope, headers: Headers, known: dict[bytes, bytes]) -> None:
        if len(known) != len(headers) or b"host" not in known:
            hosts = sum(name == b"host" for name, _ in headers)
            if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
                raise RefusedError(400, f"Host: got {hosts}; expected one.")
        if scope["path"] in OPEN:
            return
        if CROWDED in scope["state"]:
            raise RefusedError(503, "connections: too many; try again.", retry_after="1")
        if self._admission.asks:
            self._admission.check([value for name, value in headers if name == b"authorization"])

    async def _body(
        self, state: dict[str, Any], known: dict[bytes, bytes], receive: Receive
    ) -> bytes:
        """Reads the body of a request."""
        if (coded := known.get(b"content-encoding", b"identity").lower()) != b"identity":
            raise RefusedError(
                415, f"Content-Encoding: got {coded.decode('latin-1')[:80]!r}; expected none."
            )
        if b"content-length" in known:
            self._take(state, int(known[b"content-length"]))
        elif b"transfer-encoding" not in known:
            return b""
        body = bytearray()
        if WHOLE in state and await self._more(state, body, receive):
            return bytes(body)
        try:
            async with asyncio.timeout(self._body_seconds):
                while not await self._more(state, body, receive):
                    pass
        except TimeoutError:
            raise RefusedError(
                408, f"body: got {len(body)} bytes in {self._body_seconds:g} s; expected all of "
                "it.",
            ) from None  # fmt: skip
        return bytes(body)

    async def _more(self, state: dict[str, Any], body: bytearray, receive: Receive) -> bool:
        """Reads some more of a body; whether that was its end."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, f"body: got {len(body)} bytes, and no more.")
        body += message.get("body", b"")
        if len(body) > state["held"]:
            self._take(state, len(body) - state["held"])
        return not message.get("more_body", False)

    def _take(self, state: dict[str, Any], count: int) -> None:
        self._admission.take(count, state["held"])
        state["held"] += count


async def send_json(
    send: Send,
    status: int,
    content: bytes,
    headers: Headers = (),
    kind: bytes = b"application/json",
) -> None:
    """Answers with JSON, or with content of another type."""
    told = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(content)),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": told})
    await send({"type": "http.response.body", "body": content})


async def send_refusal(send: Send, refused: RefusedError) -> None:
    """Answers with a refusal."""
    await send_json(send, refused.status, refused.content(), refused.raw_headers())


async def _refuse(refused: RefusedError, receive: Receive, send: Send) -> None:
    """Answers, and ends the connection when what still comes was thrown away for a moment."""
    content = refused.content()
    headers = [
        *refused.raw_headers(),
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(content)),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": content, "more_body": True})
    try:
        async with asyncio.timeout(DRAINED_SECONDS):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _harmless(value: bytes) -> str | None:
    """The id that a client or a proxy gave, if it is harmless."""
    text = value.decode("latin-1")
    return text if 0 < len(text) <= 64 and all(sign in _NAMES for sign in text) else None


def note(
    name: str, client: str, method: str, path: str, status: int | str, state: dict[str, Any]
) -> None:
    """Logs a line of JSON of a request.

    Args:
        name: Its id.
        client: Who asked.
        method: Of HTTP; `gRPC` of a call.
        path: What was asked for; 200 characters of it are written.
        status: How it was answered.
        state: `start`, when it began; perhaps its `bytes`; and further keys of the line, `told`.
    """
    told = {
        "id": name,
        "client": client,
        "method": method,
        "path": path[:200],
        "status": status,
        "bytes": state.get("bytes", 0),
        "milliseconds": round((time.perf_counter() - state["start"]) * 1000, 3),
        **state.get("told", {}),
    }
    LOG.info("%s", msgspec.json.encode(told).decode())
