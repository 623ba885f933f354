"""The routes: a method, a path and a body in; a status and a JSON object out. No sockets here.

Source: https://www.tensorflow.org/tfx/serving/api_rest. Differs: one model, whose only version is
1; `/healthz`; no classify, no regress, no labels of versions.
"""

from __future__ import annotations

import re
import traceback
from typing import Any, NamedTuple
from urllib.parse import unquote

from export.manifest import Signature, TensorSpec
from serving import rest
from serving.engines import DTYPES, Engine, one_line

VERSION = "1"

_PATH = re.compile(
    r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]+))?(?P<action>:predict|/metadata|)"
)


class Reply(NamedTuple):
    """A response; `allow` is the method that the path takes, where another was used."""

    status: int
    payload: dict[str, Any]
    allow: str = ""


class Service:
    """Answers requests for one model; safe to call from several threads at once.

    Args:
        name: The model's name in paths; any text without `/` and `:`.
        engine: The loaded model.
    """

    def __init__(self, name: str, engine: Engine) -> None:
        if not name or re.search("[/:]", name):
            raise ValueError(f"manifest: got name {name!r}; expected one without '/' and ':'.")
        self._name = name
        self._engine = engine

    def respond(self, method: str, path: str, body: bytes) -> Reply:
        """Answers one request. A client's mistake is a 4xx; whatever fails here is a 500."""
        try:
            return self._respond(method, unquote(path.partition("?")[0]), body)
        except Exception as error:
            traceback.print_exc()
            kind = type(error).__name__
            return _error(500, f"{self._engine.runtime}: {kind}: {one_line(error)}")

    def _respond(self, method: str, path: str, body: bytes) -> Reply:
        if path == "/healthz":
            return Reply(200, {"status": "ok"}) if method == "GET" else _not_allowed(method, "GET")
        match = _PATH.fullmatch(path)
        if match is None:
            return _error(404, f"path: got {path[:80]!r}; expected one of {self._routes()}.")
        if match["name"] != self._name:
            return _error(
                404, f"model: got {match['name'][:80]!r}; this server has {self._name!r}."
            )
        if match["version"] not in (None, VERSION):
            return _error(404, f"version: got {match['version'][:80]!r}; expected {VERSION!r}.")
        allowed = "POST" if match["action"] == ":predict" else "GET"
        if method != allowed:
            return _not_allowed(method, allowed)
        if match["action"] == ":predict":
            return self._predict(body)
        return Reply(200, self._metadata() if match["action"] else _STATUS)

    def _predict(self, body: bytes) -> Reply:
        try:
            inputs, by_row = rest.decode(body, self._engine.signature)
        except ValueError as error:
            return _error(400, str(error))
        outputs = self._engine.predict(inputs)
        try:
            return Reply(200, rest.encode(outputs, by_row=by_row))
        except ValueError as error:
            return _error(400, str(error))

    def _metadata(self) -> dict[str, Any]:
        """TF Serving's `GetModelMetadataResponse`."""
        return {
            "model_spec": {"name": self._name, "signature_name": "", "version": VERSION},
            "metadata": {
                "signature_def": {
                    "signature_def": {rest.SIGNATURE_NAME: _signature_def(self._engine.signature)}
                }
            },
        }

    def _routes(self) -> str:
        model = f"/v1/models/{self._name}"
        return f"GET /healthz, GET {model}, GET {model}/metadata, POST {model}:predict"


# TF Serving's `GetModelStatusResponse`.
_STATUS = {
    "model_version_status": [
        {
            "version": VERSION,
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]
}


def _error(status: int, message: str) -> Reply:
    return Reply(status, {"error": message})


def _not_allowed(method: str, allowed: str) -> Reply:
    return Reply(405, {"error": f"method: got {method}; expected {allowed}."}, allow=allowed)


def _signature_def(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": {spec.name: _tensor_info(spec) for spec in signature.inputs},
        "outputs": {spec.name: _tensor_info(spec) for spec in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    """The batch may always vary here, also where the file holds a batch of one."""
    sizes = [-1, *(-1 if size is None else size for size in spec.shape[1:])]
    return {
        "name": spec.name,
        "dtype": DTYPES[spec.dtype],
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes],
            "unknown_rank": False,
        },
    }
