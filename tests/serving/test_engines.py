"""SavedModel and OpenVINO folders, served; the answers are those of the Keras model."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from serving import Server
from tests import programs
from tests.serving.kit import call, write_linear

IMAGES = np.random.RandomState(0).rand(5, 12, 12, 3).astype("float32")
TARGETS = ("saved_model", "openvino")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """The exported directories by their target, and what the Keras model answers."""
    import keras

    import export

    pytest.importorskip("openvino")
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    seen = keras.layers.Conv2D(64, 3, activation="relu", name="seen")(image)
    seen = keras.layers.Conv2D(64, 3, activation="relu", name="seen_again")(seen)
    pooled = keras.layers.GlobalAveragePooling2D(name="pooled")(seen)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(pooled), name="net")
    out = tmp_path_factory.mktemp("engines")
    for target in TARGETS:
        export.export(model, target, out / target, samples=IMAGES)
    return out, model(IMAGES).numpy()


@pytest.mark.parametrize("target", TARGETS)
def test_answers_are_the_model_s(net, target):
    from serving.wire.messages import PACKAGE, PredictRequest, PredictResponse
    from serving.wire.tensors import to_array, to_proto

    out, expected = net
    with Server(out / target, port=0, grpc_port=0) as server:
        status, payload = call(f"{server.url}:predict", {"instances": IMAGES.tolist()})
        assert status == 200
        np.testing.assert_allclose(payload["predictions"], expected, atol=1e-5)

        def one(place):
            body = {"inputs": {"image": IMAGES[place : place + 1].tolist()}}
            return call(f"{server.url}:predict", body)[1]["outputs"][0]

        with ThreadPoolExecutor(5) as pool:
            np.testing.assert_allclose(list(pool.map(one, range(5))), expected, atol=1e-5)
        request = PredictRequest()
        request.model_spec.name = "net"
        request.inputs["image"].CopyFrom(to_proto(IMAGES))
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            ask = channel.unary_unary(f"/{PACKAGE}.PredictionService/Predict")
            reply = PredictResponse.FromString(ask(request.SerializeToString(), timeout=30))
        found = to_array(reply.outputs["logits"], most_bytes=1000)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        _, payload = call(server.url.replace("/v1/", "/v2/"))
        assert payload["platform"] == {
            "saved_model": "tensorflow_savedmodel", "openvino": "openvino_ir"
        }[target]  # fmt: skip


def test_openvino_needs_no_tensorflow(net):
    program = f"""
import sys
from serving import Server
with Server({str(net[0] / "openvino")!r}, port=0):
    print([name for name in sys.modules if name.partition(".")[0] in ("tensorflow", "keras")])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_a_runtime_that_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "serving.engines.openvino", raising=False)
    directory = write_linear(tmp_path / "m", target="openvino")
    with pytest.raises(ValueError, match=r"needs openvino, which is not installed; expected `pip"):
        Server(directory, port=0)


SIGNALLED = """
    import faulthandler, gc, os, signal, sys, threading
    from serving.engines import open_deployable

    faulthandler.enable()  # gives the thread a signal stack, as pytest does
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    held = [open_deployable(sys.argv[1], num_threads=1)[1]]
    thread = threading.Thread(target=held.clear)  # as a server lets go of a version
    thread.start()
    thread.join()
    gc.collect()
    os.kill(os.getpid(), signal.SIGTERM)
    print(seen)
"""


def test_a_signal_after_a_model_is_gone_is_handled(net):
    """OpenVINO's own signal stack is freed with it, and the process died of the next signal."""
    out, _ = net
    assert programs.printed(SIGNALLED, out / "openvino") == [1]
