"""What every request passes: its head, its token, its size; and what is noted of it.

An ASGI middleware. Bodies are read here, within a time, a size, and a sum of sizes, so that clients
that send slowly or much cannot take the memory of others.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from serving.connection import DRAINED_SECONDS
from serving.errors import RefusedError
from serving.settings import Serving

LOG = logging.getLogger("serving.requests")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")  # without a token
_NAMES = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."


class Guard:
    """Reads the body of a request into `scope["state"]["body"]`, or refuses it.

    Args:
        app: What answers.
        settings: Of the server.
    """

    def __init__(self, app: App, settings: Serving) -> None:
        self._app = app
        self._settings = settings
        self._token = settings.token()
        self._taken = 0  # bytes of the bodies of all requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 0
        headers = scope["headers"]
        state = scope.setdefault("state", {})
        state["id"] = _id_of(headers)
        state["held"] = 0

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []), (b"x-request-id", state["id"].encode()),
                ]  # fmt: skip
            await send(message)

        try:
            try:
                self._check(scope, headers)
                state["body"] = await self._body(state, headers, receive)
            except RefusedError as refused:
                await _refuse(refused, receive, noted)
                return
            await self._app(scope, receive, noted)
        finally:
            self._taken -= state["held"]
            if LOG.isEnabledFor(logging.INFO):
                _note(scope, state, status, time.perf_counter() - start)

    def _check(self, scope: Scope, headers: list[tuple[bytes, bytes]]) -> None:
        hosts = sum(name == b"host" for name, _ in headers)
        if hosts > 1 or (hosts == 0 and scope["http_version"] == "1.1"):
            raise RefusedError(400, f"Host: got {hosts}; expected one.")
        if self._token is not None and scope["path"] not in OPEN:
            given = [value for name, value in headers if name == b"authorization"]
            wanted = b"Bearer " + self._token.encode()
            if len(given) != 1 or not hmac.compare_digest(given[0], wanted):
                raise RefusedError(
                    401, "Authorization: expected 'Bearer' and the server's token.",
                    www_authenticate="Bearer",
                )  # fmt: skip

    async def _body(
        self, state: dict[str, Any], headers: list[tuple[bytes, bytes]], receive: Receive
    ) -> bytes:
        """Reads the body of a request."""
        known = {name: value for name, value in headers if name[:1] in b"ct"}
        if (coded := known.get(b"content-encoding", b"identity").lower()) != b"identity":
            raise RefusedError(
                415, f"Content-Encoding: got {coded.decode('latin-1')[:80]!r}; expected none."
            )
        if b"content-length" in known:
            self._take(state, int(known[b"content-length"]))
        elif b"transfer-encoding" not in known:
            return b""
        declared, body = state["held"], bytearray()
        try:
            async with asyncio.timeout(self._settings.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, f"body: got {len(body)} bytes, and no more.")
                    body += message.get("body", b"")
                    if len(body) > declared:
                        self._take(state, len(body) - state["held"])
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise RefusedError(
                408, f"body: got {len(body)} bytes in {self._settings.body_seconds:g} s; expected "
                "all of it.",
            ) from None  # fmt: skip

    def _take(self, state: dict[str, Any], count: int) -> None:
        """Sees to it that there is room for more of a body."""
        total, limit = state["held"] + count, self._settings.max_body_bytes
        if total > limit:
            raise RefusedError(413, f"body: got {total} bytes; expected {limit} at most.")
        if self._taken + count > self._settings.max_bodies_bytes:
            raise RefusedError(503, "body: no room for it now; try again.", retry_after="1")
        state["held"] = total
        self._taken += count


async def _refuse(refused: RefusedError, receive: Receive, send: Send) -> None:
    """Answers, and ends the connection when what still comes was thrown away for a moment."""
    content = json.dumps({"error": refused.message}).encode()
    headers = [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
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


def _id_of(headers: list[tuple[bytes, bytes]]) -> str:
    """The id that a client or a proxy gave, if it is harmless; else a new one."""
    for name, value in headers:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            if 0 < len(text) <= 64 and all(sign in _NAMES for sign in text):
                return text
    return uuid.uuid4().hex


def _note(scope: Scope, state: dict[str, Any], status: int, seconds: float) -> None:
    LOG.info(
        "%s",
        json.dumps(
            {
                "id": state["id"],
                "client": (scope.get("client") or ("",))[0],
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "bytes": len(state.get("body", b"")),
                "milliseconds": round(seconds * 1000, 3),
                **state.get("told", {}),
            }
        ),
    )
