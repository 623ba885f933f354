"""20,000 mutants of gRPC messages, and of binary tensors by REST, against a server: codes, memory.

    python tests/oracles/serving_fuzz.py [--mutants 20000]

Bytes of good requests are dropped, doubled and replaced, lengths with them. No answer may be
another than a client's mistake or UNAVAILABLE; the server answers rightly at the end, and is not
larger than after the first tenth by more than a tenth. It has a process of its own.
"""

from __future__ import annotations

import argparse
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import grpc
import numpy as np

from serving.wire.messages import (
    MetadataRequest,
    PredictRequest,
    PredictResponse,
    StatusRequest,
    message,
)
from serving.wire.tensors import to_array, to_proto
from tests.serving.kit import IMAGES, WEIGHTS, write_linear, write_pair

FINE = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}
FINE |= {"200", "400", "413", "503"}
PREDICT, MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"


def seeds() -> list[tuple[str, bytes]]:
    """Good requests: method and message."""
    predict = PredictRequest()
    predict.model_spec.name = "linear"
    predict.inputs["image"].CopyFrom(to_proto(IMAGES))
    listed = PredictRequest()
    listed.model_spec.name = "pair"
    listed.model_spec.version.value = 1
    for name, sizes in (("signal", (1, 5)), ("sensor", (1, 2, 2))):
        tensor = listed.inputs[name]
        tensor.dtype = 1
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)
        tensor.float_val.extend([1.0])
    found = [(f"{PREDICT}Predict", predict), (f"{PREDICT}Predict", listed)]
    for verb in ("Classification", "Regression"):
        asked = message(f"tensorflow.serving.{verb}Request")()
        asked.model_spec.name = "linear"
        example = asked.input.example_list_with_context.examples.add()
        example.features.feature["image"].float_list.value.extend(IMAGES[0].ravel())
        found.append((f"{PREDICT}{'Classify' if verb[0] == 'C' else 'Regress'}", asked))
    metadata = MetadataRequest(metadata_field=["signature_def"])
    status = StatusRequest()
    for one, method in (
        (metadata, f"{PREDICT}GetModelMetadata"),
        (status, f"{MODEL}GetModelStatus"),
    ):
        one.model_spec.name = "pair"
        found.append((method, one))
    return [(method, one.SerializeToString()) for method, one in found]


def of_tensors() -> tuple[bytes, int]:
    """A good request of binary tensors, and the bytes of its JSON."""
    tensor = {"name": "image", "shape": list(IMAGES.shape), "datatype": "FP32",
              "parameters": {"binary_data_size": IMAGES.nbytes}}  # fmt: skip
    asked = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    head = json.dumps(asked).encode()
    return head + IMAGES.tobytes(), len(head)


def send(connection: http.client.HTTPConnection, body: bytes, told: str) -> str:
    """Sends one, and returns the status."""
    headers = {"Inference-Header-Content-Length": told}
    connection.request("POST", "/v2/models/linear/infer", body, headers)
    with connection.getresponse() as reply:
        reply.read()
        return str(reply.status)


def mutant_of_tensors(random: np.random.RandomState) -> tuple[bytes, str]:
    """The JSON, the numbers or what tells where they begin are not as they were."""
    (body, length), kind = of_tensors(), random.randint(4)
    if kind == 0:
        return mutant(random, body), str(length)
    if kind == 1:  # the JSON alone, whose length is told rightly
        head = mutant(random, body[:length])
        return head + body[length:], str(len(head))
    if kind == 2:
        return body[: random.randint(len(body))], str(length)
    told = [length + random.randint(-9, 9), random.randint(2 * len(body)), "", "-1", "1e3", 2**70]
    return body, str(told[random.randint(len(told))])


def mutant(random: np.random.RandomState, good: bytes) -> bytes:
    """A message with a few bytes dropped, doubled or replaced."""
    bad = bytearray(good)
    for place in random.randint(len(good), size=random.randint(1, 4)):
        kind = random.randint(4)
        if kind == 0:
            bad[place : place + random.randint(1, 5)] = b""
        elif kind == 1:
            bad[place:place] = bad[place : place + random.randint(1, 9)]
        elif kind == 2:
            bad[place : place + 1] = random.bytes(1)
        else:  # sizes and numbers become huge
            bad[place : place + 1] = b"\xff" * random.randint(1, 10) + b"\x01"
    return bytes(bad)


def resident(process: subprocess.Popen) -> int:
    """Kilobytes of memory that a process has."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def main() -> int:
    """Prints the codes and the memory; returns 1 if one of them should not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000)
    num = parser.parse_args().mutants
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    random, codes, sizes = np.random.RandomState(0), Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        for write, name in ((write_linear, "linear"), (write_pair, "pair")):
            write(Path(folder) / name)
        command = ["-m", "serving", f"{folder}/linear", f"{folder}/pair", "--port", "0"]
        with (Path(folder) / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *command, "--set", f"grpc_port={port}"], stderr=log,
                stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        address = process.stdout.readline().split("http://")[1].split("/")[0]
        start = time.monotonic()
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                rest = http.client.HTTPConnection(address, timeout=30)
                calls = [(channel.unary_unary(method), good) for method, good in seeds()]
                expected = IMAGES.reshape(5, 16) @ WEIGHTS
                for turn in range(num):
                    call, good = calls[turn % len(calls)]
                    try:
                        call(mutant(random, good), timeout=30)
                        codes["OK"] += 1
                    except grpc.RpcError as error:
                        codes[error.code().name] += 1
                    codes[send(rest, *mutant_of_tensors(random))] += 1
                    if turn in (num // 10, num - 1):
                        sizes.append(resident(process))
                assert send(rest, of_tensors()[0], str(of_tensors()[1])) == "200"
                call, good = calls[0]
                reply = PredictResponse.FromString(call(good, timeout=30))
            found = to_array(reply.outputs["logits"], most_bytes=1000)
            right = np.allclose(found, expected, atol=1e-5) and process.poll() is None
        finally:
            process.terminate()
            code = process.wait()
    sys.stdout.write(
        f"{num} mutants in {time.monotonic() - start:.0f} s: {dict(codes)}\n"
        f"memory {sizes[0]} kB after a tenth, {sizes[1]} kB at the end; right answer {right}\n"
        f"the server ended with {code}\n"
    )
    return int(bool(set(codes) - FINE) or not right or sizes[1] > 1.1 * sizes[0] or code != 0)


if __name__ == "__main__":
    sys.exit(main())
