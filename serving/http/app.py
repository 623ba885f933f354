"""The routes of a server that answer without a model: what is served, health, metrics, the page.

What models are asked is answered by `inference`. Sources:
https://www.tensorflow.org/tfx/serving/api_rest; the Open Inference Protocol, version 2, REST.
Differs from the first: no examples as strings; a request holds the same number of examples of each
input.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.engines import one_line
from serving.errors import RefusedError
from serving.http import described, open_inference, openapi
from serving.http.inference import find
from serving.metrics import CONTENT_TYPE, Metrics
from serving.models.repository import Repository
from serving.models.versions import Version

LOG = logging.getLogger("serving")

PAGE = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self' 'unsafe-inline'; img-src 'self' blob: data:",
    "X-Content-Type-Options": "nosniff",
}

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
            routes.append(Route(f"{path}/metadata", self._metadata))
            routes.append(Route(path, self._status))
        for version in _VERSIONS[:2]:
            path = "/v2/models/{name:model}" + version
            routes.append(Route(f"{path}/ready", self._version_ready))
            routes.append(Route(path, self._open_metadata))
        handlers: Any = {HTTPException: self._nowhere, RefusedError: _refused, Exception: _failed}
        return Starlette(routes=[*routes, *others], exception_handlers=handlers)

    def _version(self, request: Request) -> Version:
        return find(self._repository.pick, request.path_params)

    async def _status(self, request: Request) -> Response:
        given = request.path_params
        model, number = self._repository.models.get(given["name"]), given.get("version", "")
        told = number.isdecimal() and len(number) < 20  # digits of a version
        if model is None or "label" in given or ("version" in given and not told):
            version = self._version(request)
            found = described.states(self._repository.models[version.name], version.number)
        else:
            found = described.states(model, int(number) if number else None)
            if not found:  # it is 0, the latest, or `_version` says what there is
                found = described.states(model, self._version(request).number)
        return _json(described.status(found))

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
        return _json(openapi.document(self._repository))

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
        path = request.scope["path"]  # `request.url` decodes the query, which may be any bytes
        message = (
            f"path: got {path[:80]!r}; expected one of GET /healthz, "
            f"GET /openapi.json, {', '.join(models)}."
        )
        return _json({"error": message}, error.status_code)


def _json(payload: Any, status: int = 200, headers: Any = None) -> Response:
    content = json.dumps(payload)
    return Response(content, status, media_type="application/json", headers=headers)


async def _refused(_: Request, refused: RefusedError) -> Response:
    return _json({"error": refused.message}, refused.status, refused.headers)


async def _failed(_: Request, error: Exception) -> Response:
    return _json({"error": f"{type(error).__name__}: {one_line(error)}"}, 500)
