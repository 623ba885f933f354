"""The routes of a server: TF Serving's REST form, the Open Inference Protocol, health, metrics.

Sources: https://www.tensorflow.org/tfx/serving/api_rest; the Open Inference Protocol, version 2,
REST. Differs from the first: no examples as strings; a request holds the same number of examples of
each input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from serving import described, open_inference, pictures, rest, sessions, text
from serving.asking import ask
from serving.batching import BusyError
from serving.engines import Arrays, one_line
from serving.errors import RefusedError
from serving.metrics import CONTENT_TYPE, Metrics
from serving.repository import MissingError, Repository, Version

LOG = logging.getLogger("serving")

_T = TypeVar("_T")
PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:",
    "X-Content-Type-Options": "nosniff",
}

MOST_FILES, MOST_CLASSES = 64, 1000  # of a request with pictures
LARGE_BYTES = 2**16  # of a body that is read in a thread, so that others are not kept waiting
_MODEL = "/v1/models/{name:model}"
_VERSIONS = ("", "/versions/{version}", "/labels/{label}")


class _Name(StringConvertor):
    regex = "[^/:]+"


register_url_convertor("model", _Name())


class Routes:
    """What answers, by path.

    Args:
        repository: The models.
        metrics: Counters of the server.

    Attributes:
        stopping: Whether the server ends, and is no longer ready.
    """

    def __init__(self, repository: Repository, metrics: Metrics) -> None:
        self._repository = repository
        self._metrics = metrics
        self.stopping = False
        self._writing = 0  # texts that are being written

    def app(self) -> Starlette:
        """Returns the routes."""
        others = [
            Route("/healthz", self._healthy),
            Route("/readyz", self._is_ready),
            Route("/", self._page),
            Route("/models.json", self._listed),
            Route("/metrics", self._numbers),
            Route("/monitoring/prometheus/metrics", self._numbers),
            Route("/openapi.json", self._described),
            Route("/v2", self._server),
            Route("/v2/health/live", self._healthy),
            Route("/v2/health/ready", self._is_ready),
        ]
        routes = []  # are tried in this order
        for versions in _VERSIONS:
            path = _MODEL + versions
            for verb in ("predict", "classify", "regress"):
                answer = self._answer(verb, getattr(rest, verb))
                routes.append(Route(f"{path}:{verb}", answer, methods=["POST"]))
            routes.append(Route(f"{path}:generate", self._generate, methods=["POST"]))
            routes.append(Route(f"{path}/metadata", self._metadata))
            routes.append(Route(path, self._status))
        for version in _VERSIONS[:2]:
            path = "/v2/models/{name:model}" + version
            infer = self._answer("infer", open_inference.infer)
            routes.append(Route(f"{path}/infer", infer, methods=["POST"]))
            routes.append(Route(f"{path}/ready", self._version_ready))
            routes.append(Route(path, self._open_metadata))
        handlers: Any = {HTTPException: self._nowhere, RefusedError: _refused, Exception: _failed}
        return Starlette(routes=[*routes, *others], exception_handlers=handlers)

    def _answer(self, api: str, form: rest.Form) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            version = self._version(request)
            request.state.told = {"model": version.name, "version": version.number}
            with self._counted(version, api):
                return await self._infer(version, form, request)

        return answer

    @contextmanager
    def _counted(self, version: Version, api: str) -> Iterator[None]:
        start, code = time.perf_counter(), 500
        try:
            yield
            code = 200
        except RefusedError as refused:
            code = refused.status
            raise
        finally:
            self._metrics.requests.labels(version.name, version.number, api, code).inc()
            self._metrics.seconds.labels(version.name, api).observe(time.perf_counter() - start)

    async def _infer(self, version: Version, form: rest.Form, request: Request) -> Response:
        body: Any = request.state.body
        apart = len(body) > LARGE_BYTES
        if form is rest.predict and (files := await _files(request)) is not None:
            form, body, apart = rest.Form(_read_pictures(request), pictures.write), files, True
        inputs, shape = await _call(form.read, body, version, apart=apart)
        try:
            outputs, version = await self._run(version, inputs, request, shape)
            apart = apart or sum(array.nbytes for array in outputs.values()) > LARGE_BYTES
            content = await _call(form.write, outputs, shape, version, apart=apart)
        except BaseException:
            if isinstance(shape, sessions.Asked):  # it may be asked again
                version.sessions.end(shape.name, shape.before)
            raise
        return Response(content, media_type="application/json")

    async def _run(
        self, version: Version, inputs: Arrays, request: Request, how: Any
    ) -> tuple[Arrays, Version]:
        def again() -> Version:
            if isinstance(how, sessions.Asked):
                raise RefusedError(404, "session: ended, as another version took over.")
            return self._version(request)

        try:
            return await ask(version, inputs, again)
        except RefusedError:
            raise
        except BusyError:
            raise RefusedError(
                503, f"{version.name}: too many examples wait; try again.", retry_after="1"
            ) from None
        except ValueError as error:
            raise RefusedError(400, str(error)) from None
        except Exception as error:
            kind = type(error).__name__
            raise _of_the_runtime(version, f"{kind}: {one_line(error)}") from error

    async def _generate(self, request: Request) -> Response:
        version = self._version(request)
        request.state.told = {"model": version.name, "version": version.number}
        with self._counted(version, "generate"):
            pieces, streamed = await _call(text.begin, request.state.body, version, apart=True)
            if self._writing >= text.MOST_WRITERS:
                raise RefusedError(503, "generate: too many texts at a time.", retry_after="1")
        if streamed:
            return StreamingResponse(self._lines(pieces), media_type="application/x-ndjson")
        lines = [line async for line in self._lines(pieces)]
        return _json({"texts": text.joined(lines)})

    async def _lines(self, pieces: Iterator[list[str]]) -> AsyncIterator[str]:
        """Lines of JSON, a token of each text in each; a client that leaves ends them."""
        self._writing += 1
        try:
            while (parts := await asyncio.to_thread(next, pieces, None)) is not None:
                yield json.dumps({"pieces": parts}) + "\n"
        finally:
            self._writing -= 1

    def _version(self, request: Request) -> Version:
        given = request.path_params
        try:
            number = given.get("version")
            if number is not None and not number.isdecimal():
                raise MissingError(f"version: got {number[:80]!r}; expected a number.")
            return self._repository.pick(
                given["name"], number and int(number[:18]), given.get("label")
            )
        except MissingError as missing:
            raise RefusedError(404, str(missing)) from None

    async def _status(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._repository.models:
            self._version(request)
        model, chosen = self._repository.models[name], None
        if {"version", "label"} & set(request.path_params):
            chosen = self._version(request).number
        return _json(described.status(model, chosen))

    async def _metadata(self, request: Request) -> Response:
        return _json(described.metadata(self._version(request)))

    async def _open_metadata(self, request: Request) -> Response:
        version = self._version(request)
        model = self._repository.models[version.name]
        return _json(open_inference.metadata(version, sorted(model.versions)))

    async def _version_ready(self, request: Request) -> Response:
        version = self._version(request)
        return _json({"name": version.name, "ready": True})

    async def _page(self, _: Request) -> Response:
        return Response(PAGE, media_type="text/html", headers=PAGE_HEADERS)

    async def _listed(self, _: Request) -> Response:
        return _json(described.models(self._repository))

    async def _server(self, _: Request) -> Response:
        return _json(open_inference.SERVER)

    async def _described(self, _: Request) -> Response:
        return _json(described.openapi(self._repository))

    async def _healthy(self, _: Request) -> Response:
        return _json({"status": "ok", "live": True})

    async def _is_ready(self, _: Request) -> Response:
        ready = not self.stopping
        told = {"status": "ready" if ready else "stopping", "ready": ready}
        return _json(told, 200 if ready else 503)

    async def _numbers(self, _: Request) -> Response:
        return Response(self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _nowhere(self, request: Request, error: HTTPException) -> Response:
        """Starlette's own refusals: there is no such path, or another method."""
        if error.status_code == 405:
            allowed = ", ".join(sorted((error.headers or {}).get("Allow", "").split(", ")))
            message = f"method: got {request.method}; expected {allowed.removesuffix(', HEAD')}."
            return _json({"error": message}, 405, {"Allow": allowed})
        models = [
            f"GET {base}, GET {base}/metadata, POST {base}:predict"
            for base in (f"/v1/models/{name}" for name in self._repository.models)
        ]
        message = (
            f"path: got {request.url.path[:80]!r}; expected one of GET /healthz, "
            f"GET /openapi.json, {', '.join(models)}."
        )
        return _json({"error": message}, error.status_code)


async def _files(request: Request) -> list[bytes] | None:
    """Picture files that a body holds; `None` where its type says that it is something else."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith("image/"):
        return [request.state.body]
    if kind != "multipart/form-data":
        return None

    async def receive() -> Message:
        return {"type": "http.request", "body": request.state.body, "more_body": False}

    try:
        parts = await Request(request.scope, receive).form(max_files=MOST_FILES, max_fields=10)
    except HTTPException as error:
        raise RefusedError(400, f"multipart: {error.detail}") from None
    return [await part.read() for _, part in parts.multi_items() if isinstance(part, UploadFile)]


def _read_pictures(request: Request) -> Callable[[Any, Version], Any]:
    top = request.query_params.get("top", "3")
    if not (top.isdecimal() and 0 < int(top[:4]) <= MOST_CLASSES):
        raise RefusedError(400, f"top: got {top[:80]!r}; expected 1 to {MOST_CLASSES}.")
    return partial(pictures.read, top=int(top))


async def _call(function: Callable[..., _T], *arguments: Any, apart: bool) -> _T:
    """Reads or writes a body, in a thread if `apart`; what it refuses is the client's mistake."""
    try:
        if apart:
            return await asyncio.to_thread(function, *arguments)
        return function(*arguments)
    except ValueError as error:
        raise RefusedError(400, str(error)) from None


def _of_the_runtime(version: Version, message: str) -> RefusedError:
    LOG.error("%s version %d: %s", version.name, version.number, message)
    return RefusedError(500, f"{version.engine.runtime}: {message}")


def _json(payload: Any, status: int = 200, headers: Any = None) -> Response:
    content = json.dumps(payload)
    return Response(content, status, media_type="application/json", headers=headers)


async def _refused(_: Request, refused: RefusedError) -> Response:
    return _json({"error": refused.message}, refused.status, refused.headers)


async def _failed(_: Request, error: Exception) -> Response:
    return _json({"error": f"{type(error).__name__}: {one_line(error)}"}, 500)
