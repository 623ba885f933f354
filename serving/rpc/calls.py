"""What every call by gRPC passes: its token, its size; and what is noted of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import grpc

from serving.admission import LARGE_BYTES, Admission
from serving.errors import RefusedError
from serving.http.guard import LOG, note
from serving.metrics import Metrics
from serving.settings import Serving

_T = TypeVar("_T")
CODES = {  # of a refusal, by its HTTP status
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Call(NamedTuple):
    """A call that was let in.

    Attributes:
        request: Its message.
        large: Whether it is read and answered in a thread.
        state: What is noted of it, see `guard.note`; and `held`, the bytes that it holds of the
            admission.
    """

    request: Any
    large: bool
    state: dict[str, Any]


class Calls:
    """Lets calls in.

    A message is read by the handler, not before it: the token is asked for first, and not more
    messages are read at a time than there is room for.

    Args:
        settings: Of the server.
        admission: Who may ask.
        metrics: Its counters.
    """

    def __init__(self, settings: Serving, admission: Admission, metrics: Metrics) -> None:
        self._settings = settings
        self._admission = admission
        self._metrics = metrics
        self._begun = 0
        self._reading = asyncio.Semaphore(settings.max_bodies_bytes // settings.max_body_bytes)

    def handler(self, kind: Any, answer: Callable[[Call], Awaitable[Any]]) -> Any:
        """Returns what gRPC calls.

        Args:
            kind: Class of the message.
            answer: Gives the message of the answer; a `RefusedError` becomes a code.
        """

        async def answered(_: Any, context: Any) -> bytes:
            with self._noted(kind, context) as state:
                try:
                    call = await self._admit(kind, context, state)
                    reply = await answer(call)
                    large = call.large or reply.ByteSize() > LARGE_BYTES
                    return bytes(await self.run(large, reply.SerializeToString))
                except RefusedError as refused:
                    state["code"] = CODES[refused.status]
                    await context.abort(state["code"], refused.message)
                    raise

        # The stream of a handler's requests is what lets it read them itself.
        return grpc.stream_unary_rpc_method_handler(answered)

    def take(self, call: Call, count: int) -> None:
        """Takes room for the arrays of a call, see `Admission.take`."""
        self._take(call.state, count, "inputs")

    async def run(self, large: bool, function: Callable[..., _T], *arguments: Any) -> _T:
        """Returns what a function returns, in a thread if it is large."""
        if large:
            return await self._admission.large.call(function, *arguments)
        return function(*arguments)

    @contextmanager
    def _noted(self, kind: Any, context: Any) -> Iterator[dict[str, Any]]:
        """Counts and logs a call, and gives back what it held."""
        ok = grpc.StatusCode.OK
        state: dict[str, Any] = {"start": time.perf_counter(), "held": 0, "code": ok}
        self._begun += 1
        try:
            yield state
        except Exception:
            if state["code"] is ok:  # no refusal
                state["code"] = grpc.StatusCode.UNKNOWN
            raise
        except BaseException:
            state["code"] = grpc.StatusCode.CANCELLED
            raise
        finally:
            self._begun -= 1
            self._admission.give(state["held"])
            if "version" in state:
                (name, number), code = state["version"], state["code"].name
                self._metrics.answered(name, number, "grpc", code, state["start"])
            if LOG.isEnabledFor(logging.INFO):
                path, code = kind.DESCRIPTOR.name.removesuffix("Request"), state["code"].name
                note(self._admission.name(), context.peer(), "gRPC", path, code, state)

    async def _admit(self, kind: Any, context: Any, state: dict[str, Any]) -> Call:
        """Reads the message of a call."""
        if self._begun > self._settings.max_connections:
            raise RefusedError(503, "calls: too many at a time; try again.")
        if self._admission.asks:
            known = context.invocation_metadata()
            self._admission.check([_raw(value) for key, value in known if key == "authorization"])
        seconds = self._settings.body_seconds
        try:
            async with asyncio.timeout(seconds), self._reading:
                body = await context.read()
        except TimeoutError:
            raise RefusedError(408, f"message: expected all of it in {seconds:g} s.") from None
        if body is grpc.aio.EOF:
            raise RefusedError(400, "request: got no message; expected one.")
        self._take(state, len(body), "message")
        large = len(body) > LARGE_BYTES
        try:
            return Call(await self.run(large, kind.FromString, body), large, state)
        except RefusedError:
            raise
        except Exception:  # protobuf's own DecodeError, of several modules
            raise RefusedError(400, f"request: no {kind.DESCRIPTOR.full_name}.") from None

    def _take(self, state: dict[str, Any], count: int, what: str) -> None:
        self._admission.take(count, what=what)
        state["held"] += count
        state.setdefault("bytes", count)


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
