"""What is written for fleets, read by what reads it: published messages, YAML, the real Triton."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

import serving
from tests.serving.kit import IMAGES, WEIGHTS

BATCHING = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")


@pytest.fixture(scope="module")
def exported(folder, linear, lite, pair, lines):
    return folder


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    import keras

    import export

    keras.utils.set_random_seed(0)
    image = keras.Input((4, 4, 1), name="image")
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(image))
    out = tmp_path_factory.mktemp("saved") / "net"
    export.export(keras.Model(image, logits, name="net"), "saved_model", out, samples=IMAGES)
    return out


def parsed(text, fields):
    """Reads a text of a message whose fields are known by number, e.g. one that no package has."""
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", syntax="proto2")
    message = file.message_type.add(name="A")
    wrapper = file.message_type.add(name="Value")
    wrapper.field.add(name="value", number=1, type=3, label=1)
    group = file.message_type.add(name="Group")
    group.field.add(name="enable", number=1, type=8, label=1)
    group.field.add(name="path", number=2, type=9, label=1)
    for number, (name, kind) in enumerate(fields.items(), 1):
        message.field.add(name=name, number=number, type=11, type_name=f".{kind}", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName("A"))()
    return text_format.Parse(text, made)


def test_tf_serving_reads_its_configuration(saved, tmp_path):
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    start = serving.deploy("tf-serving", saved, out=tmp_path / "d")
    assert start == "docker compose up --build"
    text = (tmp_path / "d" / "config" / "models.config").read_text()
    told = text_format.Parse(text, config.ModelServerConfig()).model_config_list.config[0]
    assert (told.name, told.base_path, told.model_platform) == ("net", "/models/net", "tensorflow")
    assert told.model_version_policy.latest.num_versions == 1
    text = (tmp_path / "d" / "config" / "batching_parameters.txt").read_text()
    batching = parsed(text, dict.fromkeys(BATCHING, "Value"))
    assert batching.max_batch_size.value == 32
    text = (tmp_path / "d" / "config" / "monitoring.config").read_text()
    assert parsed(text, {"prometheus_config": "Group"}).prometheus_config.enable
    flags = [line for line in (tmp_path / "d" / "Dockerfile").read_text().splitlines()
             if line.startswith("ENTRYPOINT")]  # fmt: skip
    words = ast.literal_eval(flags[0].removeprefix("ENTRYPOINT "))
    assert words[0] == "tensorflow_model_server" and "--rest_api_port=8501" in words
    for word in words:
        if "=/config/" in word:
            assert (tmp_path / "d" / word.partition("=/")[2]).is_file()
    compose = yaml.safe_load((tmp_path / "d" / "compose.yaml").read_text())
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["tf-serving"]["ports"])


def test_tf_serving_s_folder_answers_the_requests_of_its_warm_up(saved, tmp_path):
    tf = pytest.importorskip("tensorflow")
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    serving.deploy("tf-serving", saved, out=tmp_path / "d")
    path = tmp_path / "d" / "models" / "net" / "1"
    run = tf.saved_model.load(str(path)).signatures["serving_default"]
    records = tf.data.TFRecordDataset(str(path / "assets.extra" / "tf_serving_warmup_requests"))
    answered = 0
    for record in records:
        request = logs.PredictionLog.FromString(record.numpy()).predict_log.request
        if request.model_spec.signature_name in ("", "serving_default"):
            given = {name: tf.constant(tf.make_ndarray(x)) for name, x in request.inputs.items()}
            answered += np.isfinite(next(iter(run(**given).values())).numpy()).all()
    assert answered


def documents(path):
    return {one["kind"]: one for one in yaml.safe_load_all(path.read_text())}


def test_kubernetes(exported, tmp_path):
    serving.deploy("kubernetes", exported / "lite_int8" if (exported / "lite_int8").is_dir()
                   else exported / "lite", out=tmp_path / "d")  # fmt: skip
    found = documents(tmp_path / "d" / "kubernetes.yaml")
    assert set(found) == {"Deployment", "Service", "HorizontalPodAutoscaler"}
    spec = found["Deployment"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8501, "grpc": 8500}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["runAsNonRoot"]
    name = found["Deployment"]["metadata"]["name"]
    assert found["Service"]["spec"]["selector"] == spec["selector"]["matchLabels"] == {"app": name}
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    entry = (tmp_path / "d" / "Dockerfile").read_text().partition("ENTRYPOINT ")[2]
    words = json.loads(entry.replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "serving"] and "0.0.0.0" in words
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > 30


def test_the_image_s_command_serves(exported, tmp_path):
    """What the Dockerfile would start, started here: its paths and settings are right."""
    serving.deploy("kserve", exported / "linear", out=tmp_path / "d")
    entry = (tmp_path / "d" / "Dockerfile").read_text().partition("ENTRYPOINT ")[2]
    _, *words = json.loads(entry.replace("\\\n", ""))
    base = tmp_path / "models" / "linear"
    base.mkdir(parents=True)
    (tmp_path / "d" / "model").rename(base / "1")
    words = [str(base) if word == "/models/linear" else word for word in words]
    words[words.index("0.0.0.0")] = "127.0.0.1"
    words[words.index("8501")] = "0"
    words[words.index("grpc_port=8500")] = "grpc_port=0"
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline().startswith("linear: ONNX Runtime")
    finally:
        process.terminate()
        process.communicate()
    service = documents(tmp_path / "d" / "inference_service.yaml")["InferenceService"]
    predictor = service["spec"]["predictor"]
    assert predictor["containers"][0]["name"] == "kserve-container"
    assert predictor["minReplicas"] <= predictor["maxReplicas"]


def test_triton_s_text(exported, tmp_path):
    for name, backend in (("linear", "onnxruntime"), ("lite", "python"), ("pair", "onnxruntime")):
        serving.deploy("triton", exported / name, out=tmp_path / name)
        text = (tmp_path / name / name / "config.pbtxt").read_text()
        assert f'backend: "{backend}"' in text and "dynamic_batching" in text
        assert text.count("{") == text.count("}") and text.count("[") == text.count("]")
    assert "dims: [ 2, 2 ]" in text and "reshape { shape: [] }" in text
    ast.parse((tmp_path / "lite" / "lite" / "1" / "model.py").read_text())


def test_what_is_refused(exported, saved, tmp_path, zoo):
    with pytest.raises(ValueError, match=r"unknown 'tritn'\. Did you mean 'triton'"):
        serving.deploy("tritn", exported / "lite", out=tmp_path / "d")
    for engine, directory, part in (
        ("tf-serving", exported / "lite", "expected saved_model"),
        ("triton", saved, "is not written for Triton"),
        ("kubernetes", saved, "is not served by zoo serve"),
    ):
        with pytest.raises(ValueError, match=part):
            serving.deploy(engine, directory, out=tmp_path / "d")
        assert not (tmp_path / "d").exists()
    told = zoo("deploy", "triton", exported / "lite", "--out", tmp_path / "d")
    assert "tritonserver --model-repository" in told
    assert "exists" in zoo("deploy", "triton", exported / "lite", "--out", tmp_path / "d", expect=2)
    zoo("deploy", "kserve", exported / "lite", "--out", tmp_path / "d", "--force")
    assert not (tmp_path / "d" / "lite").exists()


TRITON = os.environ.get("ZOO_TRITON", "")


@pytest.mark.oracle
@pytest.mark.skipif(not TRITON, reason="needs Triton: ZOO_TRITON names its program")
def test_the_real_triton_loads_batches_and_takes_version_2(exported, tmp_path):
    """Of a TFLite file, by its python backend: answers, batches, a second version."""
    serving.deploy("triton", exported / "lite", out=tmp_path / "d")
    command = [TRITON, "--model-repository", str(tmp_path / "d"), "--model-control-mode", "poll",
               "--repository-poll-secs", "1", "--http-port", "8780", "--allow-grpc", "0",
               "--metrics-port", "8781"]  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        root = "http://127.0.0.1:8780/v2/models/lite"
        _until(lambda: _get(f"{root}/ready") is not None, 120)
        body = {"inputs": [{"name": "image", "shape": list(IMAGES.shape), "datatype": "FP32",
                            "data": IMAGES.reshape(-1).tolist()}]}  # fmt: skip
        request = urllib.request.Request(f"{root}/infer", json.dumps(body).encode())
        with urllib.request.urlopen(request) as reply:
            (output,) = json.load(reply)["outputs"]
        found = np.reshape(output["data"], output["shape"])
        np.testing.assert_allclose(found, IMAGES.reshape(5, 16) @ WEIGHTS, atol=1e-5)
        assert json.loads(_get(root))["versions"] == ["1"]
        assert b"nv_inference_count" in _get("http://127.0.0.1:8781/metrics")
        shutil.copytree(tmp_path / "d" / "lite" / "1", tmp_path / "two")
        (tmp_path / "two").rename(tmp_path / "d" / "lite" / "2")
        _until(lambda: json.loads(_get(root) or b"{}").get("versions") == ["2"], 60)
    finally:
        process.terminate()
        process.wait()
        sys.stdout.write((tmp_path / "log").read_text()[-3000:])


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.read()
    except (urllib.error.URLError, OSError):
        return None


def _until(check, seconds):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.2)


def test_names_are_those_that_kubernetes_takes():
    from serving.fleet import dns_name

    for name, told in (("vgg16", "vgg16"), ("VGG_16.b", "vgg-16-b"), ("-ü-", "model"),
                       ("a" * 80, "a" * 63)):  # fmt: skip
        assert dns_name(name) == told
