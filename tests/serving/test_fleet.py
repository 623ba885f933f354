"""What is written for fleets, read by what reads it: published messages and schemas, Triton.

Of TF Serving's batching and monitoring no package has the messages; they are read as text.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import types
import urllib.error
import urllib.request
from typing import NamedTuple

import numpy as np
import pytest
import yaml
from google.protobuf import text_format

import serving
from serving.engines import open_deployable
from tests.serving.kit import IMAGES, WEIGHTS, write_linear, write_sum, write_tflite


@pytest.fixture(scope="module")
def exported(folder, linear, lite, lite_int8, pair, lines):
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


def test_tf_serving_reads_its_configuration(saved, tmp_path):
    config = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    start = serving.deploy("tf-serving", saved, out=tmp_path / "d")
    assert start == "docker compose up --build"
    text = (tmp_path / "d" / "config" / "models.config").read_text()
    told = text_format.Parse(text, config.ModelServerConfig()).model_config_list.config[0]
    assert (told.name, told.base_path, told.model_platform) == ("net", "/models/net", "tensorflow")
    assert told.model_version_policy.latest.num_versions == 1
    told = (tmp_path / "d" / "config" / "batching_parameters.txt").read_text()
    assert "max_batch_size { value: 32 }" in told
    assert "enable: true" in (tmp_path / "d" / "config" / "monitoring.config").read_text()
    flags = [line for line in (tmp_path / "d" / "Dockerfile").read_text().splitlines()
             if line.startswith("ENTRYPOINT")]  # fmt: skip
    words = ast.literal_eval(flags[0].removeprefix("ENTRYPOINT "))
    assert words[0] == "tensorflow_model_server" and "--rest_api_port=8501" in words
    assert "--enable_batching" in words
    for word in words:
        if "=/config/" in word:
            assert (tmp_path / "d" / word.partition("=/")[2]).is_file()
    compose = yaml.safe_load((tmp_path / "d" / "compose.yaml").read_text())
    assert all(port.startswith("127.0.0.1:") for port in compose["services"]["tf-serving"]["ports"])


def test_sizes_that_vary_are_not_batched(saved, exported, tmp_path):
    """TF Serving fails requests of several lengths that it would put together."""
    shutil.copytree(saved, tmp_path / "free")
    manifest = json.loads((tmp_path / "free" / "manifest.json").read_text())
    manifest["signature"]["inputs"][0]["shape"][1] = None
    (tmp_path / "free" / "manifest.json").write_text(json.dumps(manifest))
    serving.deploy("tf-serving", tmp_path / "free", out=tmp_path / "d")
    assert "batching" not in (tmp_path / "d" / "Dockerfile").read_text()
    assert not (tmp_path / "d" / "config" / "batching_parameters.txt").exists()
    serving.deploy("triton", exported / "lines", out=tmp_path / "t")
    assert "dynamic_batching" not in (tmp_path / "t" / "lines" / "config.pbtxt").read_text()


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


@pytest.mark.parametrize("name", ["lite", "linear"])
def test_kubernetes(exported, tmp_path, name):
    start = serving.deploy("kubernetes", exported / name, out=tmp_path / "d")
    found = documents(tmp_path / "d" / "kubernetes.yaml")
    assert set(found) == {"Deployment", "Service", "HorizontalPodAutoscaler"}
    spec = found["Deployment"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": 8501, "grpc": 8500}
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["runAsNonRoot"]
    assert container["image"].rpartition(":")[0] == name and f"-t {container['image']} " in start
    assert found["Deployment"]["metadata"]["name"] == name
    assert found["Service"]["spec"]["selector"] == spec["selector"]["matchLabels"] == {"app": name}
    assert "sessionAffinity" not in found["Service"]["spec"]
    assert found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == name
    file = (tmp_path / "d" / "Dockerfile").read_text()
    words = json.loads(file.partition("ENTRYPOINT ")[2].replace("\\\n", ""))
    assert words[:3] == ["python", "-m", "serving"] and "0.0.0.0" in words
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] > 30
    # Beyond loopback a token is asked for, from a Secret that is mounted where the command reads.
    (secret,) = [one for one in spec["template"]["spec"]["volumes"] if "secret" in one]
    assert f"create secret generic {secret['secret']['secretName']} " in start
    (mount,) = [one for one in container["volumeMounts"] if one["name"] == secret["name"]]
    assert f"token_file={mount['mountPath']}/token" in words
    # The image holds what is pinned, and no TensorFlow.
    runtime = {"lite": "ai-edge-litert", "linear": "onnxruntime"}[name]
    installed = file.partition("--no-cache-dir --no-deps ")[2].partition("COPY")[0]
    assert f"{runtime}==" in installed and "tensorflow" not in installed
    assert all("==" in word for word in installed.split() if word[0].isalpha()
               and word not in ("pip", "install"))  # fmt: skip


def test_what_the_image_installs_is_what_a_server_imports(exported):
    """Each distribution whose module a serving process has is among those, or needed by them."""
    from importlib.metadata import packages_distributions, requires

    from serving.fleet.kubernetes import NEEDED, RUNTIMES

    program = f"""
import json, sys
from serving import Server
from serving.engines import open_deployable
import pycocotools.mask, scipy.special, scipy.ndimage, PIL.Image, multipart
with Server({str(exported / "linear")!r}, port=0, grpc_port=0):
    open_deployable({str(exported / "lite")!r}, num_threads=1)
    print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    owners = packages_distributions()

    def plain(name):
        return name.lower().replace("_", "-")

    known = {plain(name) for name in (*NEEDED, RUNTIMES["tflite"], RUNTIMES["onnx"])}
    assert {"uvicorn", "starlette"} <= known
    todo = list(known)
    while todo:
        for line in requires(todo.pop()) or ():
            name = plain(re.split(r"[^\w.-]", line)[0])
            if "extra ==" not in line and name not in known and name in {
                plain(one) for ones in owners.values() for one in ones
            }:  # fmt: skip
                known.add(name)
                todo.append(name)
    # setuptools has a .pth file; the last two are looked for, and done without.
    known |= {"keras-model-zoo", "setuptools", "charset-normalizer", "sniffio"}
    others = {
        name: owners[name]
        for name in json.loads(done.stdout)
        if name in owners and not {plain(one) for one in owners[name]} & known
    }
    assert not others, done.stderr


def test_a_model_with_states_keeps_to_its_pod(exported, tmp_path):
    serving.deploy("kubernetes", write_sum(tmp_path / "sum"), out=tmp_path / "d")
    service = documents(tmp_path / "d" / "kubernetes.yaml")["Service"]
    assert service["spec"]["sessionAffinity"] == "ClientIP"
    for name, directory, most in (("k", tmp_path / "sum", 1), ("m", exported / "linear", 10)):
        start = serving.deploy("kserve", directory, out=tmp_path / name)
        (found,) = documents(tmp_path / name / "inference_service.yaml").values()
        assert found["spec"]["predictor"]["maxReplicas"] == most
        assert ("one replica" in start) == (most == 1)


def test_a_model_keeps_its_name(exported, tmp_path):
    """What Kubernetes calls its objects has no capitals and no `_`; a client's path has."""
    directory = write_linear(tmp_path / "m", name="Net_1.b")
    for engine in ("kubernetes", "kserve"):
        start = serving.deploy(engine, directory, out=tmp_path / engine)
        file = (tmp_path / engine / "Dockerfile").read_text()
        assert "COPY model /models/Net_1.b/1\n" in file and '"/models/Net_1.b"' in file
        assert "secret generic net-1-b-token " in start and "-t net-1-b:" in start


def test_the_start_line_is_for_a_shell_and_for_the_next_version(
    exported, tmp_path, zoo, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    told = zoo("deploy", "kubernetes", exported / "linear", "--out", "de p").splitlines()[-1]
    assert told.startswith("cd 'de p' && docker build -t linear:")
    (tmp_path / "bin").mkdir()
    for name in ("docker", "kubectl", "openssl"):  # what they were asked
        (tmp_path / "bin" / name).write_text(
            f'#!/bin/sh\necho {name} "$@" >> "$ASKED"\n'
            '[ "$1 $2" != "get secret" ] || [ -e "$KNOWN" ]\n'
        )
        (tmp_path / "bin" / name).chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    for known in (False, True):
        asked = tmp_path / f"asked-{known}"
        more = {"PATH": path, "ASKED": str(asked), "KNOWN": "/" if known else "/none"}
        subprocess.run(["bash", "-ec", told], check=True, env=os.environ | more)
        lines = [" ".join(line.split()[:3]) for line in asked.read_text().splitlines()]
        assert lines[0].startswith("docker build") and lines[-1] == "kubectl apply -f"
        assert ("kubectl create secret" in lines) == (not known)
    zoo("deploy", "triton", exported / "linear")
    assert (tmp_path / "deploy" / "triton" / "linear").is_dir()


@pytest.mark.oracle
def test_kubernetes_own_schemas_hold(exported, tmp_path):
    validate = pytest.importorskip("kubernetes_validate")
    serving.deploy("kubernetes", exported / "lite", out=tmp_path / "d")
    for document in documents(tmp_path / "d" / "kubernetes.yaml").values():
        validate.validate(document, validate.latest_version(), strict=True)


@pytest.mark.oracle
def test_kserve_s_own_classes_know_every_field(exported, tmp_path, monkeypatch):
    """The fields of its generated classes, and of Kubernetes' within them."""
    found = importlib.util.find_spec("kserve")
    kubernetes = pytest.importorskip("kubernetes.client")
    if found is None:
        pytest.skip("needs kserve")
    bare = types.ModuleType("kserve")  # without what it imports to serve
    bare.__path__ = found.submodule_search_locations
    monkeypatch.setitem(sys.modules, "kserve", bare)
    models = importlib.import_module("kserve.models.v1beta1_inference_service")
    known = {models.V1beta1InferenceService.__name__: models.V1beta1InferenceService}

    def of(name):
        if name in known:
            return known[name]
        if hasattr(kubernetes, name):
            return getattr(kubernetes, name)
        file = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        return getattr(importlib.import_module(f"kserve.models.{file}"), name)

    def check(value, kind, where):
        kind = kind.replace("List[", "list[").replace("Dict[", "dict[")
        if kind.startswith("list["):
            for one in value:
                check(one, kind[5:-1], where)
        elif isinstance(value, dict) and not kind.startswith("dict"):
            fields = {new: old for old, new in of(kind).attribute_map.items()}
            for key, one in value.items():
                assert key in fields, f"{where}.{key}: not a field of {kind}"
                check(one, of(kind).openapi_types[fields[key]], f"{where}.{key}")

    serving.deploy("kserve", exported / "lite", out=tmp_path / "d")
    (service,) = documents(tmp_path / "d" / "inference_service.yaml").values()
    check(service, "V1beta1InferenceService", "")


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
    (tmp_path / "token").write_text("secret")
    words[words.index("token_file=/secrets/token")] = f"token_file={tmp_path / 'token'}"
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line.startswith("linear: ONNX Runtime")
        assert _status(f"{line.split()[-1]}/metadata") == 401
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


def test_triton_s_python_answers_as_zoo_serve(exported, tmp_path, monkeypatch):
    """What Triton would run, run here: an int8 file takes and gives real numbers too."""

    class Tensor(NamedTuple):
        name: str
        array: np.ndarray

        def as_numpy(self):
            return self.array

    backend = types.ModuleType("triton_python_backend_utils")
    backend.Tensor = Tensor
    backend.InferenceResponse = list
    backend.get_input_tensor_by_name = lambda request, name: Tensor(name, request[name])
    monkeypatch.setitem(sys.modules, backend.__name__, backend)
    for name in ("lite", "lite_int8"):
        serving.deploy("triton", exported / name, out=tmp_path / name)
        text = (tmp_path / name / name / "config.pbtxt").read_text()
        assert text.count("TYPE_FP32") == 3 and "TYPE_INT8" not in text  # both ends, and warm-up
        scope = {}
        exec((tmp_path / name / name / "1" / "model.py").read_text(), scope)
        model = scope["TritonPythonModel"]()
        model.initialize({
            "model_repository": str(tmp_path / name / name), "model_version": "1",
            "model_config": json.dumps({"output": [{"name": "logits"}]}),
        })  # fmt: skip
        (((logits,),),) = [model.execute([{"image": IMAGES}])]
        _, engine = open_deployable(exported / name, num_threads=1)
        expected = engine.predict({"image": IMAGES})["logits"]
        np.testing.assert_array_equal(logits.array, expected)
        assert logits.array.dtype == np.float32


@pytest.mark.parametrize("engine", ["triton", "kubernetes", "kserve"])
@pytest.mark.parametrize("name", ["../x", "/x", 'x"', "a b", ".", ""])
def test_a_name_that_is_a_path_or_a_text_is_refused(tmp_path, engine, name):
    """A manifest may come from elsewhere."""
    directory = write_linear(tmp_path / "m", name=name)
    with pytest.raises(
        ValueError, match=r"m: got the name .*; expected letters, digits and _.- al"
    ):
        serving.deploy(engine, directory, out=tmp_path / "out" / "d")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*"))


def test_a_file_s_name_is_no_code(tmp_path):
    odd = 'x"); import os; ("y.tflite'
    directory = write_tflite(tmp_path / "odd", "float32")
    (directory / "model.tflite").rename(directory / odd)
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps(manifest | {"file": odd}))
    serving.deploy("triton", directory, out=tmp_path / "d")
    written = {path.name for path in (tmp_path / "d" / "odd" / "1").iterdir()}
    assert written == {"model.tflite", "model.py"}
    assert "import os" not in (tmp_path / "d" / "odd" / "1" / "model.py").read_text()


def test_what_is_refused(exported, saved, tmp_path, zoo):
    write_linear(tmp_path / "other", target="tfjs")
    with pytest.raises(ValueError, match=r"unknown 'tritn'\. Did you mean 'triton'"):
        serving.deploy("tritn", exported / "lite", out=tmp_path / "d")
    for engine, directory, part in (
        ("tf-serving", exported / "lite", "expected saved_model"),
        ("triton", saved, "is not written for Triton"),
        ("kubernetes", tmp_path / "other", "is not served by zoo serve"),
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


@pytest.mark.triton
@pytest.mark.skipif(not TRITON, reason="needs Triton: ZOO_TRITON names its program")
def test_the_real_triton_loads_batches_and_takes_version_2(exported, tmp_path):
    """Of a TFLite file, by its python backend: answers, batches, a second version."""
    serving.deploy("triton", exported / "lite", out=tmp_path / "d")
    serving.deploy("triton", exported / "lite_int8", out=tmp_path / "e")
    (tmp_path / "e" / "lite_int8").rename(tmp_path / "d" / "lite_int8")
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
        whole = json.dumps(body).encode()
        _until(lambda: _get(f"{root}_int8/ready") is not None, 60)
        with urllib.request.urlopen(f"{root}_int8/infer", whole) as reply:
            (output,) = json.load(reply)["outputs"]
        _, engine = open_deployable(exported / "lite_int8", num_threads=1)
        expected = engine.predict({"image": IMAGES})["logits"].reshape(-1)
        np.testing.assert_allclose(output["data"], expected, atol=1e-6)  # floats, as `zoo serve`
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


def _status(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code


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
