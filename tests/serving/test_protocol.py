"""TF Serving's Classify and Regress by its own client classes; states of versions; batching."""

from __future__ import annotations

import grpc
import numpy as np
import pytest

from serving import Server
from serving.engines import open_engines
from tests.serving.kit import GOOD, IMAGES, WEIGHTS, call, write_half_plus_three, write_linear

apis = pytest.importorskip("tensorflow_serving.apis.classification_pb2")
from tensorflow.core.example.example_pb2 import Example  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_status_pb2,
    input_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
    regression_pb2,
)


@pytest.fixture(scope="module")
def served(folder, linear, half_plus_three, pair, lookup):
    names = ("linear", "half_plus_three", "pair", "lookup")
    with Server(*(folder / name for name in names), port=0, grpc_port=0) as server:
        yield server


@pytest.fixture(scope="module")
def client(served):
    with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def example(**features):
    made = Example()
    for name, values in features.items():
        feature, values = made.features.feature[name], np.ravel(values)
        if values.dtype.kind in "SO":
            feature.bytes_list.value.extend(values)
        elif values.dtype.kind == "f":
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return made


def asked(kind, name, examples, context=None):
    made = kind()
    made.model_spec.name = name
    if context is None:
        made.input.example_list.examples.extend(examples)
    else:
        made.input.example_list_with_context.examples.extend(examples)
        made.input.example_list_with_context.context.CopyFrom(context)
    return made


def test_classify(client):
    given = asked(
        classification_pb2.ClassificationRequest, "linear", [example(image=x) for x in IMAGES]
    )
    reply = client.Classify(given, 10)
    logits = IMAGES.reshape(5, 16) @ WEIGHTS
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("linear", 1)
    for row, share in zip(reply.result.classifications, shares, strict=True):
        assert [int(one.label) for one in row.classes] == np.argsort(-share).tolist()
        np.testing.assert_allclose([one.score for one in row.classes], np.sort(share)[::-1], 1e-5)


def test_regress_and_a_context(client):
    rows = [example(x=np.float32(2)), example(x=5)]  # a whole number is a number
    given = asked(regression_pb2.RegressionRequest, "half_plus_three", rows)
    assert [one.value for one in client.Regress(given, 10).result.regressions] == [4.0, 5.5]
    given = asked(
        regression_pb2.RegressionRequest, "half_plus_three", [Example(), rows[1]], rows[0]
    )
    assert [one.value for one in client.Regress(given, 10).result.regressions] == [4.0, 5.5]


WRONG = {
    "no examples": ("linear", [], "got no examples"),
    "a name": ("linear", [example(x=1.0)], "examples[0]: got the features 'x'; expected 'image'"),
    "a size": (
        "linear",
        [example(image=IMAGES[0]), example(image=[1.0])],
        "examples[1].image: got",
    ),
    "text": ("linear", [example(image=np.array([b"a"] * 16))], "examples[0].image: expected numb"),
    "a fraction": ("lookup", [example(ids=[0.5, 1])], "expected whole numbers from 0 to 255"),
    "too far": ("lookup", [example(ids=[0, 256])], "expected whole numbers from 0 to 255"),
    "not finite": ("linear", [example(image=np.full(16, np.nan))], "not finite"),
    "no classes": ("half_plus_three", [example(x=1.0)], "expected scores of classes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_examples_that_do_not_fit_are_refused(client, case):
    name, examples, part = WRONG[case]
    with pytest.raises(grpc.RpcError) as caught:
        client.Classify(asked(classification_pb2.ClassificationRequest, name, examples), 10)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert part in caught.value.details()


def test_a_context_is_not_multiplied_without_end(served, client):
    """A few bytes an example, and what all have in common once: terabytes, if it were let."""
    context = input_pb2.ExampleListWithContext()
    context.context.CopyFrom(example(image=IMAGES[0]))
    given = asked(
        classification_pb2.ClassificationRequest, "linear", [Example()] * 400_000, context.context
    )
    with pytest.raises(grpc.RpcError, match="expected arrays of 16777216 bytes at most"):
        client.Classify(given, 60)
    body = {"context": {"image": GOOD}, "examples": [{}] * 400_000}
    status, payload = call(f"{served.root}/v1/models/linear:classify", body)
    assert status == 400 and "6400000 values for 400000 examples" in payload["error"]


def test_a_version_that_was_refused_says_why_by_its_number(tmp_path):
    (tmp_path / "m").mkdir()
    write_linear(tmp_path / "m" / "1", name="m")
    write_linear(tmp_path / "m" / "2", name="m", rejected="too far off")
    with (
        Server(tmp_path / "m", port=0, grpc_port=0) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        status, payload = call(f"{server.url}/versions/2")
        assert status == 200
        (row,) = payload["model_version_status"]
        assert (row["version"], row["state"]) == ("2", "END")
        assert "too far off" in row["status"]["error_message"]
        assert call(f"{server.url}/versions/3")[0] == 404
        assert len(call(server.url)[1]["model_version_status"]) == 2
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        wanted = get_model_status_pb2.GetModelStatusRequest()
        wanted.model_spec.name, wanted.model_spec.version.value = "m", 2
        (row,) = service.GetModelStatus(wanted, 10).model_version_status
        assert (row.version, row.state) == (2, row.END)
        assert "too far off" in row.status.error_message
        wanted.model_spec.version.value = 3
        with pytest.raises(grpc.RpcError) as caught:
            service.GetModelStatus(wanted, 10)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_batching_is_of_each_model(folder, linear, pair):
    chosen = {"linear": {"max_batch": 4, "num_workers": 2}, "pair": {"wait_seconds": 0.5}}
    both = folder / "linear", folder / "pair"
    with Server(*both, port=0, batching=chosen, max_waiting=77) as server:
        batchers = [server._repository.pick(name)._batcher for name in ("linear", "pair")]
    assert [len(one._threads) for one in batchers] == [2, 1]
    assert batchers[1]._wait_seconds == 0.5 and batchers[0]._wait_seconds == 0
    assert {one._max_waiting for one in batchers} == {77}
    for wrong, part in (
        ({"linear": {"max_batch": 0}}, r"batching\.linear\.max_batch: got 0; expected"),
        ({"linear": {"max_batches": 1}}, "Did you mean 'max_batch'"),
        ({"lines": {"max_batch": 1}}, "batching: got 'lines'; expected names of models"),
    ):
        with pytest.raises(ValueError, match=part):
            Server(*both, port=0, batching=wrong)


def test_batches_are_made_where_they_help(tmp_path, monkeypatch):
    from serving.engines.onnx import OnnxRuntime

    directory, clock, each = write_half_plus_three(tmp_path / "m"), [0.0], [0.0]
    whole = OnnxRuntime._run

    def run(engine, inputs):
        clock[0] += 0.01 + each[0] * len(inputs["x"])
        return whole(engine, inputs)

    monkeypatch.setattr(OnnxRuntime, "_run", run)
    monkeypatch.setattr("serving.engines.time.perf_counter", lambda: clock[0])
    assert open_engines(directory, num_threads=1).batches
    each[0] = 1.0  # an example more takes what one alone does
    assert not open_engines(directory, num_threads=1).batches
