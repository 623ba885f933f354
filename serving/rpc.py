"""TF Serving's gRPC: PredictionService (Predict, GetModelMetadata), ModelService (GetModelStatus).

Source: TF Serving's apis/prediction_service.proto and model_service.proto. Errors have TF Serving's
codes: NOT_FOUND, INVALID_ARGUMENT, UNAVAILABLE where too many wait.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from serving.asking import ask
from serving.batching import BusyError
from serving.engines import Arrays, one_line
from serving.messages import message
from serving.metrics import Metrics
from serving.repository import MissingError, Repository, Version
from serving.rest import SIGNATURE_NAME
from serving.settings import Serving
from serving.tensors import TYPES, fill_shape, to_array, to_proto

PACKAGE = "tensorflow.serving"
SIGNATURES = "signature_def"
AVAILABLE, END = 30, 50  # of ModelVersionStatus.State
INVALID_ARGUMENT = 3  # of error codes

PredictRequest = message(f"{PACKAGE}.PredictRequest")
PredictResponse = message(f"{PACKAGE}.PredictResponse")
MetadataRequest = message(f"{PACKAGE}.GetModelMetadataRequest")
MetadataResponse = message(f"{PACKAGE}.GetModelMetadataResponse")
StatusRequest = message(f"{PACKAGE}.GetModelStatusRequest")
StatusResponse = message(f"{PACKAGE}.GetModelStatusResponse")
SignatureDefMap = message(f"{PACKAGE}.SignatureDefMap")


class _RefusedError(Exception):
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Services:
    """What answers.

    Args:
        repository: The models.
        settings: Of the server.
        metrics: Its counters.
    """

    def __init__(self, repository: Repository, settings: Serving, metrics: Metrics) -> None:
        self._repository = repository
        self._settings = settings
        self._metrics = metrics
        self._token = settings.token()

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
            ],
            maximum_concurrent_rpcs=settings.max_connections,
        )
        server.add_generic_rpc_handlers(
            (
                _handler("PredictionService", {
                    "Predict": self._answer(PredictRequest, self._predict),
                    "GetModelMetadata": self._answer(MetadataRequest, self._metadata),
                }),
                _handler("ModelService", {
                    "GetModelStatus": self._answer(StatusRequest, self._status),
                }),
            )
        )  # fmt: skip
        address = f"{settings.host}:{settings.grpc_port}"
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

    def _answer(
        self, kind: Any, answer: Callable[[Any], Awaitable[Any]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def answered(body: bytes, context: Any) -> bytes:
            try:
                self._check(context)
                try:
                    request = kind.FromString(body)
                except Exception:  # protobuf's own DecodeError, of several modules
                    raise _RefusedError(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        f"request: no {kind.DESCRIPTOR.full_name}.",
                    ) from None
                reply = await answer(request)
                return bytes(reply.SerializeToString())
            except _RefusedError as refused:
                await context.abort(refused.code, str(refused))
                raise

        return answered

    def _check(self, context: Any) -> None:
        if self._token is None:
            return
        given = [value for key, value in context.invocation_metadata() if key == "authorization"]
        wanted = f"Bearer {self._token}".encode()
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), wanted):
            raise _RefusedError(
                grpc.StatusCode.UNAUTHENTICATED,
                "authorization: expected 'Bearer' and the server's token.",
            )

    def _version(self, spec: Any) -> Version:
        number = spec.version.value if spec.HasField("version") else None
        try:
            return self._repository.pick(spec.name, number, spec.version_label or None)
        except MissingError as missing:
            raise _RefusedError(grpc.StatusCode.NOT_FOUND, str(missing)) from None

    async def _predict(self, request: Any) -> Any:
        start, version, code = time.perf_counter(), self._version(request.model_spec), "INTERNAL"
        try:
            reply = await self._predicted(request, version)
            code = "OK"
            return reply
        except _RefusedError as refused:
            code = refused.code.name
            raise
        finally:
            name, seconds = version.name, time.perf_counter() - start
            self._metrics.requests.labels(name, version.number, "grpc", code).inc()
            self._metrics.seconds.labels(name, "grpc").observe(seconds)

    async def _predicted(self, request: Any, version: Version) -> Any:
        try:
            inputs = self._inputs(request, version)
            wanted = _wanted(request, version)
            outputs, version = await self._run(version, inputs, request.model_spec)
        except ValueError as error:
            raise _RefusedError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from None
        reply = PredictResponse()
        _tell(reply.model_spec, version, SIGNATURE_NAME)
        for name in wanted:
            reply.outputs[name].CopyFrom(to_proto(outputs[name]))
        return reply

    def _inputs(self, request: Any, version: Version) -> Arrays:
        name = request.model_spec.signature_name
        if name not in ("", SIGNATURE_NAME):
            raise ValueError(f"signature_name: got {name[:80]!r}; expected {SIGNATURE_NAME!r}.")
        specs = {spec.name: spec for spec in version.engine.signature.inputs}
        if set(request.inputs) != set(specs):
            given = ", ".join(map(repr, sorted(request.inputs)))[:200] or "none"
            raise ValueError(f"inputs: got {given}; expected {', '.join(map(repr, specs))}.")
        arrays = {}
        for name, spec in specs.items():
            try:
                array = to_array(request.inputs[name], most_bytes=self._settings.max_body_bytes)
            except ValueError as error:
                raise ValueError(f"inputs.{name}.{error}") from None
            free = (None, *spec.shape[1:])
            fits = array.ndim == len(free) and all(
                size > 0 and wanted in (None, size)
                for size, wanted in zip(array.shape, free, strict=True)
            )
            if not fits or array.dtype.name != spec.dtype:
                shape = ", ".join("any" if size is None else str(size) for size in free)
                raise ValueError(
                    f"inputs.{name}: got {array.dtype} of shape {array.shape}; expected "
                    f"{spec.dtype} of shape ({shape})."
                )
            arrays[name] = array
        if len({len(array) for array in arrays.values()}) > 1:
            raise ValueError("inputs: expected the same number of examples of each.")
        return arrays

    async def _run(self, version: Version, inputs: Arrays, spec: Any) -> tuple[Arrays, Version]:
        try:
            return await ask(version, inputs, lambda: self._version(spec))
        except (ValueError, _RefusedError):
            raise
        except BusyError:
            raise _RefusedError(
                grpc.StatusCode.UNAVAILABLE, f"{version.name}: too many examples wait."
            ) from None
        except Exception as error:
            raise _RefusedError(
                grpc.StatusCode.INTERNAL, f"{version.engine.runtime}: {one_line(error)}"
            ) from error

    async def _metadata(self, request: Any) -> Any:
        version, asked = self._version(request.model_spec), list(request.metadata_field)
        if asked != [SIGNATURES]:
            raise _RefusedError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"metadata_field: got {str(asked)[:80]}; expected [{SIGNATURES!r}].",
            )
        reply, signatures = MetadataResponse(), SignatureDefMap()
        _tell(reply.model_spec, version, "")
        found = signatures.signature_def[SIGNATURE_NAME]
        found.method_name = "tensorflow/serving/predict"
        signature = version.engine.signature
        for place, specs in ((found.inputs, signature.inputs), (found.outputs, signature.outputs)):
            for spec in specs:
                told = place[spec.name]
                told.name, told.dtype = spec.name, TYPES[spec.dtype][0]
                sizes = (-1, *(-1 if size is None else size for size in spec.shape[1:]))
                fill_shape(told.tensor_shape, sizes)
        reply.metadata[SIGNATURES].Pack(signatures)
        return reply

    async def _status(self, request: Any) -> Any:
        spec = request.model_spec
        if spec.HasField("version") or spec.version_label or (
            spec.name not in self._repository.models
        ):  # fmt: skip
            version = self._version(spec)
            states = {version.number: ""}
        else:
            model = self._repository.models[spec.name]
            states = dict.fromkeys(model.versions, "")
            states |= {number: str(error) for number, error in model.refused.items()}
        reply = StatusResponse()
        for number, error in sorted(states.items(), reverse=True):
            row = reply.model_version_status.add(version=number, state=END if error else AVAILABLE)
            row.status.error_code = INVALID_ARGUMENT if error else 0
            row.status.error_message = error
        return reply


def _wanted(request: Any, version: Version) -> list[str]:
    """Names of the outputs that are asked for."""
    known = [spec.name for spec in version.engine.signature.outputs]
    for name in request.output_filter:
        if name not in known:
            raise ValueError(f"output_filter: got {name[:80]!r}; expected {', '.join(known)}.")
    return list(dict.fromkeys(request.output_filter)) or known


def _tell(spec: Any, version: Version, signature: str) -> None:
    spec.name, spec.signature_name = version.name, signature
    spec.version.value = version.number


def _handler(service: str, methods: dict[str, Any]) -> Any:
    return grpc.method_handlers_generic_handler(
        f"{PACKAGE}.{service}",
        {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()},
    )
