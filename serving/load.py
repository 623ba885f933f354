"""Clients that ask a server as fast as it answers, and check every answer; in a process of its own.

    python -m serving.load exported/lenet5-tflite --url http://127.0.0.1:8501 --clients 16

Examples are drawn from the signature; what the file answers to them is computed first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from serving.engines import Engine, example_shape, open_deployable
from serving.wire.dtypes import DTYPES

EXAMPLES = 16  # different ones, so that a crossed answer is seen
RELATIVE = 1e-3  # of the largest output: a batch adds up in another order
WARM_SECONDS = 1.0


class Load(NamedTuple):
    """What clients saw.

    Attributes:
        clients: Their number.
        seconds: How long they asked.
        answered: Requests that were answered rightly.
        refused: Requests that were answered with 503.
        wrong: Requests with another answer than the file's, or another error.
        p50_ms: Median time of an answered request, in milliseconds.
        p99_ms: What 99 of 100 of them stay below.
    """

    clients: int
    seconds: float
    answered: int
    refused: int
    wrong: int
    p50_ms: float
    p99_ms: float


Ask = Callable[[int], Awaitable[str]]  # of an example's place: "right", "refused" or "wrong"


def examples(
    engine: Engine, labels: Sequence[str] = ()
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns inputs (1, ...) by name, and what the file answers to each.

    Whole numbers are pixels where they are of 8 bits, or indices of the labels; of others it is not
    known what the file takes, and 0 and 1 are drawn.
    """
    random = np.random.RandomState(0)
    inputs = []
    for _ in range(EXAMPLES):
        one = {}
        for spec in engine.signature.inputs:
            shape = (1, *example_shape(spec, 8))
            most = 256 if spec.dtype == "uint8" else max(2, len(labels))
            real = np.dtype(spec.dtype).kind == "f"
            drawn = random.rand(*shape) * (1 if real else most)
            one[spec.name] = drawn.astype(spec.dtype)
        inputs.append(one)
    return inputs, [dict(engine.predict(one)) for one in inputs]


def alike(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether an answer is the file's."""
    return all(
        np.allclose(found[name], array, rtol=0, atol=RELATIVE * max(1e-6, np.abs(array).max()))
        for name, array in expected.items()
    )


Form = tuple[str, Callable[[dict[str, Any]], Any], Callable[[Any, dict[str, Any]], dict[str, Any]]]


def _column(one: dict[str, Any]) -> Any:
    return {"inputs": {key: array.tolist() for key, array in one.items()}}


def _of_column(answer: Any, expected: dict[str, Any]) -> dict[str, Any]:
    found = answer["outputs"]
    return found if len(expected) > 1 else {next(iter(expected)): found}


def _open(one: dict[str, Any]) -> Any:
    return {
        "inputs": [
            {
                "name": key,
                "shape": array.shape,
                "datatype": DTYPES[array.dtype.name].open,
                "data": array.reshape(-1).tolist(),
            }
            for key, array in one.items()
        ]
    }


def _of_open(answer: Any, expected: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: np.reshape(one["data"], one["shape"]) for one in answer["outputs"]}


FORMS: dict[str, Form] = {
    "rest": ("/v1/models/{}:predict", _column, _of_column),
    "open": ("/v2/models/{}/infer", _open, _of_open),
}


async def http(
    form: Form, url: str, name: str, inputs: Any, outputs: Any
) -> tuple[Ask, Callable[[], None]]:
    """Returns a client of its own connection, and what closes it."""
    path, write, read = form
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    bodies = []
    for one in inputs:
        body = json.dumps(write(one)).encode()
        head = f"POST {path.format(name)} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        kind = "Content-Type: application/json\r\n"
        bodies.append(f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def ask(place: int) -> str:
        writer.write(bodies[place])
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split()[0])
        body = await reader.readexactly(length)
        status = int(head.split(b" ", 2)[1])
        if status != 200:
            return "refused" if status == 503 else "wrong"
        expected = outputs[place]
        return "right" if alike(read(json.loads(body), expected), expected) else "wrong"

    return ask, writer.close


async def grpc(url: str, name: str, inputs: Any, outputs: Any) -> tuple[Ask, Callable[[], None]]:
    """Returns a client of its own channel, and what closes it."""
    import grpc as library

    from serving.wire.messages import PACKAGE, PredictRequest, PredictResponse
    from serving.wire.tensors import to_array, to_proto

    own = [("grpc.use_local_subchannel_pool", 1)]
    channel = library.aio.insecure_channel(urlsplit(url).netloc, options=own)
    call = channel.unary_unary(
        f"/{PACKAGE}.PredictionService/Predict", response_deserializer=PredictResponse.FromString
    )
    requests = []
    for one in inputs:
        request = PredictRequest()
        request.model_spec.name = name
        for key, array in one.items():
            request.inputs[key].CopyFrom(to_proto(array))
        requests.append(request.SerializeToString())

    async def ask(place: int) -> str:
        try:
            reply = await call(requests[place])
        except library.RpcError as error:
            return "refused" if error.code() == library.StatusCode.UNAVAILABLE else "wrong"
        found = {key: to_array(proto, most_bytes=2**30) for key, proto in reply.outputs.items()}
        return "right" if alike(found, outputs[place]) else "wrong"

    return ask, lambda: None


APIS = {**{api: partial(http, form) for api, form in FORMS.items()}, "grpc": grpc}


async def measure(make: Any, url: str, name: str, given: Any, clients: int, seconds: float) -> Load:
    """Lets clients ask for a time, after a second of warming up."""
    pairs = [await make(url, name, *given) for _ in range(clients)]
    seen: list[tuple[str, float]] = []

    async def client(number: int, ask: Ask, end: float, into: list[tuple[str, float]]) -> None:
        place = number
        while (start := time.perf_counter()) < end:
            into.append((await ask(place % EXAMPLES), time.perf_counter() - start))
            place += 1

    for length, into in ((min(WARM_SECONDS, seconds), []), (seconds, seen)):
        end = time.perf_counter() + length
        await asyncio.gather(
            *(client(number, ask, end, into) for number, (ask, _) in enumerate(pairs))
        )
    for _, close in pairs:
        close()
    times = [taken for how, taken in seen if how == "right"] or [float("nan")]
    p50, p99 = (1e3 * float(np.quantile(times, share)) for share in (0.5, 0.99))
    count = {how: sum(one == how for one, _ in seen) for how in ("right", "refused", "wrong")}
    return Load(clients, seconds, count["right"], count["refused"], count["wrong"], p50, p99)


def main() -> None:
    """Parses the command line, measures, and prints one line of JSON for each number of clients."""
    parser = argparse.ArgumentParser(prog="python -m serving.load", description=__doc__)
    parser.add_argument("directory", help="what the server serves, to check its answers")
    parser.add_argument("--url", required=True, help="http://HOST:PORT of the interface")
    parser.add_argument("--name", help="the model's name in paths; default: the manifest's")
    parser.add_argument(
        "--api",
        choices=APIS,
        default="rest",
        help="TensorFlow Serving's REST or gRPC, or Open Inference's REST (default: rest)",
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each (default: 5)")
    arguments = parser.parse_args()
    try:
        manifest, engine = open_deployable(arguments.directory, num_threads=1)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    name, given = arguments.name or manifest.name, examples(engine, manifest.labels)
    for clients in arguments.clients:
        make = APIS[arguments.api]
        found = asyncio.run(measure(make, arguments.url, name, given, clients, arguments.seconds))
        sys.stdout.write(json.dumps(found._asdict()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
