"""TF Serving's gRPC: PredictionService and ModelService.

Predict, Classify, Regress, GetModelMetadata; GetModelStatus. MultiInference, SessionService and
HandleReloadConfigRequest are UNIMPLEMENTED. Source: TF Serving's apis/prediction_service.proto and
model_service.proto. Errors have TF Serving's codes: NOT_FOUND, INVALID_ARGUMENT, UNAVAILABLE where
too many wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from serving.admission import LARGE_BYTES, Admission
from serving.engines import Arrays, one_line
from serving.errors import RefusedError
from serving.http.described import END, STATES, sizes, states
from serving.http.rest import SIGNATURE_NAME
from serving.metrics import Metrics
from serving.models.asking import ask
from serving.models.model import MissingError
from serving.models.repository import Repository
from serving.models.versions import Version
from serving.processes.listening import shown_address
from serving.rpc import examples, given
from serving.rpc.calls import Call, Calls
from serving.settings import Serving
from serving.wire.dtypes import DTYPES
from serving.wire.messages import (
    PACKAGE,
    ClassifyRequest,
    MetadataRequest,
    MetadataResponse,
    PredictRequest,
    PredictResponse,
    RegressRequest,
    SignatureDefMap,
    StatusRequest,
    StatusResponse,
)
from serving.wire.tensors import fill_shape, to_proto

SIGNATURES = "signature_def"
INVALID_ARGUMENT = 3  # of error codes

MAX_AGE_SECONDS = 3600.0  # of a connection: a client opens another


class Services:
    """What answers.

    Args:
        repository: The models.
        settings: Of the server.
        admission: Who may ask.
        metrics: Its counters.
    """

    def __init__(
        self, repository: Repository, settings: Serving, admission: Admission, metrics: Metrics
    ) -> None:
        self._repository = repository
        self._settings = settings
        self._calls = Calls(settings, admission, metrics)

    async def start(self) -> tuple[grpc.aio.Server, int]:
        """Listens; returns the server and its port.

        Raises:
            OSError: The address is taken, unknown, or not this machine's.
        """
        settings = self._settings
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", int(settings.num_processes > 1)),
                ("grpc.max_concurrent_streams", settings.max_connections),
                ("grpc.max_connection_idle_ms", int(settings.idle_seconds * 1000)),
                ("grpc.max_connection_age_ms", int(MAX_AGE_SECONDS * 1000)),
            ],
        )
        handler = self._calls.handler
        server.add_generic_rpc_handlers(
            (
                _handler("PredictionService", {
                    "Predict": handler(PredictRequest, self._predict),
                    "Classify": handler(ClassifyRequest, self._classify),
                    "Regress": handler(RegressRequest, self._regress),
                    "GetModelMetadata": handler(MetadataRequest, self._metadata),
                }),
                _handler("ModelService", {
                    "GetModelStatus": handler(StatusRequest, self._status),
                }),
            )
        )  # fmt: skip
        address = shown_address(settings.host, settings.grpc_port or 0)
        try:
            if settings.certificate is not None and settings.key is not None:
                pair = settings.key.read_bytes(), settings.certificate.read_bytes()
                port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
            else:
                port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(
                f"cannot listen on {address} for gRPC: {one_line(error)} Choose another port; 0 "
                "takes a free one."
            ) from None
        await server.start()
        return server, port

    def _find(self, spec: Any, pick: Callable[..., Version]) -> Version:
        number = spec.version.value if spec.HasField("version") else None
        try:
            return pick(spec.name, number, spec.version_label or None)
        except MissingError as missing:
            raise RefusedError(404, str(missing)) from None

    def _version(self, spec: Any) -> Version:
        return self._find(spec, self._repository.pick)

    async def _predict(self, call: Call) -> Any:
        request = call.request
        with self._find(request.model_spec, self._repository.lease) as version:
            call.state["version"] = version.name, version.number
            call.state["told"] = {"model": version.name, "version": version.number}
            wanted = _refusing(given.wanted, request, version)
            kinds = _refusing(given.kinds_of, request, version, self._settings.max_body_bytes)
            size = sum(kind.size_bytes for kind in kinds.values())
            self._calls.take(call, size)
            large = call.large or size > LARGE_BYTES
            inputs = await self._calls.run(large, _refusing, given.inputs, request, kinds)
            outputs = await ask(version, inputs)
            large = call.large or sum(array.nbytes for array in outputs.values()) > LARGE_BYTES
            return await self._calls.run(large, _reply, version, outputs, wanted)

    async def _classify(self, call: Call) -> Any:
        return await self._examples(call, examples.classified)

    async def _regress(self, call: Call) -> Any:
        return await self._examples(call, examples.regressed)

    async def _examples(self, call: Call, write: Callable[[Version, Arrays], Any]) -> Any:
        request = call.request
        with self._find(request.model_spec, self._repository.lease) as version:
            call.state["version"] = version.name, version.number
            call.state["told"] = {"model": version.name, "version": version.number}
            _refusing(given.check_signature, request.model_spec)
            most_bytes = self._settings.max_body_bytes
            read = examples.arrays, request.input, version, most_bytes
            inputs = await self._calls.run(call.large, _refusing, *read)
            self._calls.take(call, sum(array.nbytes for array in inputs.values()))
            outputs = await ask(version, inputs)
            reply = await self._calls.run(call.large, _refusing, write, version, outputs)
            _tell(reply.model_spec, version, SIGNATURE_NAME)
            return reply

    async def _metadata(self, call: Call) -> Any:
        request = call.request
        version, asked = self._version(request.model_spec), list(request.metadata_field)
        if asked != [SIGNATURES]:
            raise RefusedError(
                400, f"metadata_field: got {str(asked)[:80]}; expected [{SIGNATURES!r}]."
            )
        reply, signatures = MetadataResponse(), SignatureDefMap()
        _tell(reply.model_spec, version, "")
        found = signatures.signature_def[SIGNATURE_NAME]
        found.method_name = "tensorflow/serving/predict"
        signature = version.engine.signature
        for place, specs in ((found.inputs, signature.inputs), (found.outputs, signature.outputs)):
            for spec in specs:
                told = place[spec.name]
                told.name, told.dtype = spec.name, DTYPES[spec.dtype].number
                fill_shape(told.tensor_shape, tuple(sizes(spec)))
        reply.metadata[SIGNATURES].Pack(signatures)
        return reply

    async def _status(self, call: Call) -> Any:
        spec = call.request.model_spec
        model, number = self._repository.models.get(spec.name), None
        if model is None or spec.version_label:
            version = self._version(spec)
            model, number = self._repository.models[version.name], version.number
        elif spec.HasField("version"):
            number = spec.version.value
        found = states(model, number) or states(model, self._version(spec).number)
        reply = StatusResponse()
        for one in found:
            row = reply.model_version_status.add(version=one.number, state=STATES[one.name])
            row.status.error_code = INVALID_ARGUMENT if one.name == END else 0
            row.status.error_message = one.why
        return reply


def _refusing(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a request cannot be made of is the client's mistake."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise RefusedError(400, str(error)) from None


def _reply(version: Version, outputs: Arrays, wanted: list[str]) -> Any:
    reply = PredictResponse()
    _tell(reply.model_spec, version, SIGNATURE_NAME)
    for name in wanted:
        reply.outputs[name].CopyFrom(to_proto(outputs[name]))
    return reply


def _tell(spec: Any, version: Version, signature: str) -> None:
    spec.name, spec.signature_name = version.name, signature
    spec.version.value = version.number


def _handler(service: str, methods: dict[str, Any]) -> Any:
    return grpc.method_handlers_generic_handler(f"{PACKAGE}.{service}", methods)
