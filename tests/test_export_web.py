"""The targets for browsers and for Apple's devices: the file beside the Keras model."""

import json
import subprocess

import keras
import numpy as np
import onnx
import pytest
from keras import layers

import export
from export.formats.web import convert_tfjs, node
from export.targets import find_target
from export.targets.coreml import weights
from export.targets.tfjs import packages

LABELS = tuple("abcdefghij")


def here(name):
    """Returns the target, or skips the test where something that it needs is missing."""
    try:
        find_target(name).check_packages()
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))
    return find_target(name)


@pytest.fixture(scope="module")
def convnet():
    """Convolutions with and without bias, each with batch norm; a residual; exact GELU."""
    keras.utils.set_random_seed(0)
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", name="conv1")(image)
    x = layers.BatchNormalization(name="norm1")(x)
    x = skip = layers.ReLU()(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depth2")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.Activation("hard_swish")(x)
    x = layers.Conv2D(16, 1, use_bias=False, name="conv3")(x)
    x = layers.Add()([x, skip])  # a sum with a convolution that is no bias
    x = layers.Conv2D(32, 3, strides=2, activation="gelu", name="conv4")(x)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = {  # not in the order of the alphabet
        "logits": layers.Dense(10, name="fc")(x),
        "box": layers.Dense(4, name="place")(x),
    }
    model = keras.Model(image, outputs, name="convnet")
    rng = np.random.RandomState(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.weights])
        elif layer.weights and layer.use_bias:
            layer.bias.assign(rng.standard_normal(layer.bias.shape))
    return model


@pytest.fixture(scope="module")
def pictures():
    return np.random.RandomState(1).standard_normal((48, 12, 12, 3)).astype("float32")


@pytest.fixture(scope="module")
def deployed(tmp_path_factory, convnet, pictures):
    """Exports the convolutional net to a target, once."""
    done = {}

    def get(name):
        if name not in done:
            here(name)
            out = tmp_path_factory.mktemp("deployed") / name
            about = export.About(name="net", labels=LABELS)
            done[name] = export.export(convnet, name, out, samples=pictures, about=about)
        return done[name]

    return get


@pytest.mark.parametrize("name", ["onnx-web", "tfjs"])
def test_the_file_follows_the_model_in_node(name, deployed, convnet, pictures):
    manifest = deployed(name).manifest
    assert manifest.proof == "numeric"
    assert manifest.parity.samples == 48
    assert manifest.parity.relative < 1e-5 and manifest.edges.relative < 1e-5
    assert manifest.parity.runtime.startswith(f"{find_target(name).runtime} ")
    assert {"keras", *find_target(name).node_packages} <= set(manifest.versions)
    session = find_target(name).open(deployed(name).path / manifest.file, threads=1)
    expected = convnet(pictures[:19])
    got = session.run({"image": pictures[:19]})
    for output, value in expected.items():
        value = value.numpy()
        assert got[output].shape == value.shape and got[output].dtype == np.float32
        assert np.abs(got[output] - value).max() < 1e-5 * np.abs(value).max()


def test_onnx_web_is_the_file_of_onnx(deployed):
    paths = [deployed(name).path / "model.onnx" for name in ("onnx", "onnx-web")]
    one, other = (onnx.load(path).graph for path in paths)
    assert [n.op_type for n in one.node] == [n.op_type for n in other.node]
    weights = [
        [onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer]
        for graph in (one, other)
    ]
    for left, right in zip(*weights, strict=True):
        np.testing.assert_array_equal(left, right)


def test_onnx_web_refuses_two_files(convnet, tmp_path, monkeypatch):
    here("onnx-web")
    monkeypatch.setattr("export.formats.onnx.convert.LARGEST", 1000)
    with pytest.raises(RuntimeError, match="expected one file"):
        export.export(convnet, "onnx-web", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_tfjs_is_fused_and_named(deployed):
    manifest = deployed("tfjs").manifest
    model = json.loads((deployed("tfjs").path / "tfjs" / "model.json").read_text())
    assert sorted(model["signature"]["outputs"]) == ["box", "logits"]
    assert "FusedBatchNormV3" not in manifest.operators and "Const" not in manifest.operators
    assert manifest.operators["_FusedConv2D"] == 2  # and their biases; a residual is no bias
    assert manifest.operators["Conv2D"] == 1
    assert manifest.versions["tensorflowjs"] == "4.22.0"


def test_what_tensorflow_js_cannot_run_is_said_before(tmp_path):
    here("tfjs")
    rows = keras.Input((5, 4), name="rows")
    loop = keras.Model(rows, layers.LSTM(3, name="memory")(rows))
    with pytest.raises(RuntimeError, match=r"layer 'memory' is a loop.*unroll=True"):
        export.export(loop, "tfjs", tmp_path / "out")
    image = keras.Input((6, 6, 4), name="image")
    grouped = keras.Model(image, layers.Conv2D(4, 3, groups=2, name="pair")(image))
    with pytest.raises(RuntimeError, match=r"layer 'pair' has 2 groups.*onnx-web"):
        export.export(grouped, "tfjs", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_tfjs_takes_whole_numbers_and_kernels_that_webassembly_lacks(tmp_path):
    """Of multi-head attention's `Einsum`, TensorFlow.js has one kernel: in JavaScript."""
    here("tfjs")
    tokens = keras.Input((6,), dtype="int64", name="tokens")
    x = layers.Embedding(9, 8)(tokens)
    x = layers.MultiHeadAttention(2, 4)(x, x)
    x = layers.LSTM(4, unroll=True)(x)
    model = keras.Model(tokens, layers.Dense(3, name="logits")(x))
    samples = np.random.RandomState(0).randint(0, 9, (20, 6))
    manifest = export.export(model, "tfjs", tmp_path / "out", samples=samples).manifest
    assert manifest.parity.relative < 1e-5
    assert manifest.operators["Einsum"] >= 2
    assert manifest.signature.inputs[0].dtype == "int32"


def test_a_converter_that_fails_leaves_its_last_words(convnet, tmp_path):
    here("tfjs")
    slow = export.TARGETS["tfjs"](timeout_seconds=0.1)
    with pytest.raises(RuntimeError, match=r"the converter took more than 0\.1 s"):
        export.export(convnet, slow, tmp_path / "out")
    image = keras.Input((8, 8, 3), name="image")
    cubic = keras.Model(image, layers.Resizing(16, 16, interpolation="bicubic")(image))
    with pytest.raises(RuntimeError, match=r"Unsupported Ops .* ResizeBicubic") as caught:
        export.export(cubic, "tfjs", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_only_vectors_are_biases():
    """Three sums that the converter takes for biases: a bias of Keras, a scalar, a residual."""
    from tensorflow import make_tensor_proto
    from tensorflow.core.framework.graph_pb2 import GraphDef

    graph = GraphDef()
    for name, value in (("keras", np.ones((1, 1, 1, 4))), ("scalar", 3.0), ("flat", np.ones(4))):
        constant = graph.node.add(name=name, op="Const")
        constant.attr["value"].tensor.CopyFrom(make_tensor_proto(value))
    graph.node.add(name="residual", op="Relu")
    for name in ("keras", "scalar", "flat", "residual"):
        total = graph.node.add(name=f"{name}_sum", op="BiasAdd", input=["product", name])
        total.attr["data_format"].s = b"NHWC"
    nodes = {one.name: one for one in convert_tfjs.only_biases(graph).node}
    kinds = {name: nodes[f"{name}_sum"].op for name in ("keras", "scalar", "flat", "residual")}
    assert kinds == {
        "keras": "BiasAdd", "scalar": "AddV2", "flat": "BiasAdd", "residual": "AddV2"
    }  # fmt: skip
    (side,) = nodes["keras"].attr["value"].tensor.tensor_shape.dim
    assert side.size == 4


def test_a_session_is_one_process_that_ends_with_it(deployed, monkeypatch):
    path = deployed("onnx-web").path / "model.onnx"
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1]
    )
    session = node.open_in_node("onnx", path)
    for size in (1, 20):
        assert len(session.run({"image": np.zeros((size, 12, 12, 3), np.float32)})["box"]) == size
    assert len(started) == 1 and started[0].poll() is None
    del session
    assert started[0].returncode == 0


def test_what_node_says_is_passed_on(deployed, tmp_path):
    path = deployed("onnx-web").path / "model.onnx"
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(RuntimeError, match=r"^node: .*[Pp]rotobuf"):
        node.open_in_node("onnx", tmp_path / "model.onnx")
    session = node.open_in_node("onnx", path)
    with pytest.raises(RuntimeError, match=r"^node: .*image"):
        session.call({"picture": np.zeros((1, 12, 12, 3), np.float32)})
    with pytest.raises(RuntimeError, match=r"^node: ended with code 1"):
        session.call({"image": np.zeros((1, 12, 12, 3), np.float32)})


def test_a_killed_process_is_an_error(deployed):
    path = deployed("onnx-web").path / "model.onnx"
    process = node._Node("onnx", path, None)
    process._process.kill()
    with pytest.raises(RuntimeError, match=r"^node: ended with code -9: it said nothing"):
        process({"image": np.zeros((1, 12, 12, 3), np.float32)})


@pytest.mark.parametrize("name", ["onnx-web", "tfjs"])
def test_missing_packages_are_named_before_any_work(name, tmp_path, monkeypatch):
    """Needs neither Node nor its packages: it is about their absence."""
    target = find_target(name)
    monkeypatch.delenv("ZOO_NODE_MODULES", raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    monkeypatch.setattr(node.shutil, "which", lambda _: "/bin/node")
    line = f"npm install --prefix {tmp_path / 'node'} {' '.join(target.node_packages)}"
    with pytest.raises(ModuleNotFoundError, match=f"export to {name}: .* Run: {line}$"):
        export.export(None, name, tmp_path / "out")
    for package in target.node_packages:
        place = tmp_path / "elsewhere" / "node_modules" / package
        place.mkdir(parents=True)
        (place / "package.json").write_text('{"version": "1.2.3"}')
    monkeypatch.setenv("ZOO_NODE_MODULES", str(tmp_path / "elsewhere" / "node_modules"))
    if name == "tfjs":
        line = f"pip install --no-deps --target {packages()} tensorflowjs==4.22.0"
        with pytest.raises(ModuleNotFoundError, match=f"Run: {line}$"):
            target.check_packages()
        (packages() / "tensorflowjs").mkdir(parents=True)
        (packages() / "tensorflowjs-4.22.0.dist-info").mkdir()
    target.check_packages()
    assert target.versions()[target.runtime] == "1.2.3"
    monkeypatch.setattr(node.shutil, "which", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"`node` not found\. Install Node.js"):
        target.check_packages()


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("coreml", {"weights": "palette5"}, "coreml.weights: got 'palette5'; expected 'float16'"),
        ("coreml", {"weight": "palette4"}, "coreml.weight: unknown key. Did you mean 'weights'?"),
        ("onnx-web", {"layout": "nchw"}, "onnx-web.layout: unknown key. There is none."),
        ("tfjs", {"timeout": 1}, "tfjs.timeout: unknown key. Did you mean 'timeout_seconds'?"),
    ],
)
def test_wrong_settings_are_refused(name, settings, message):
    with pytest.raises(ValueError, match=message):
        export.TARGETS[name](**settings)


def test_strings_do_not_travel(tmp_path):
    here("onnx-web")
    words = keras.Input((2,), dtype="string", name="words")
    model = keras.Model(words, layers.StringLookup(vocabulary=["a", "b"])(words))
    with pytest.raises(ValueError, match="input 'words' is of strings; expected numbers"):
        export.export(model, "onnx-web", tmp_path / "out", samples=np.array([["a", "b"]]))


# Core ML


@pytest.fixture(scope="module")
def ct():
    return pytest.importorskip("coremltools")


def spec_of(ct, done):
    return ct.utils.load_spec(str(done.path / "model.mlpackage"))


def test_coreml_writes_our_names_in_half_precision(ct, deployed, convnet):
    manifest = deployed("coreml").manifest
    assert (manifest.proof, manifest.parity, manifest.precision) == (
        "convert-only",
        None,
        "float16",
    )
    assert manifest.facts["weights"] == "float16"
    assert manifest.facts["minimum_deployment_target"] == "iOS16"
    assert manifest.facts["input"] == "tensor: no preprocessing of a picture is known"
    assert manifest.operators["conv"] == 4 and "batch_norm" not in manifest.operators
    spec = spec_of(ct, deployed("coreml"))
    assert spec.specificationVersion == ct.target.iOS16
    ends = [*spec.description.input, *spec.description.output]
    shapes = {end.name: tuple(end.type.multiArrayType.shape) for end in ends}
    assert shapes == {"image": (1, 12, 12, 3), "logits": (1, 10), "box": (1, 4)}
    (image,) = manifest.signature.inputs
    assert (image.shape, image.dtype) == ((1, 12, 12, 3), "float32")
    assert json.loads(spec.description.metadata.userDefined["labels"]) == list(LABELS)
    kernels = sum(np.prod(w.shape) for w in convnet.weights if len(w.shape) > 1)
    assert 2 * kernels <= manifest.facts["weights_bytes"] < 2 * kernels + 4096


def test_coreml_holds_the_kernels_of_the_model(ct, deployed, convnet):
    """Dense kernels are in the file as they are in Keras, rounded to float16."""
    path = deployed("coreml").path / "model.mlpackage"
    written = [array for array in weights(path).values() if array.ndim == 2]
    for name in ("fc", "place"):
        kernel = convnet.get_layer(name).kernel.numpy().astype(np.float16)  # (32, units)
        assert any(np.array_equal(array, kernel.T) for array in written)


@pytest.mark.parametrize("bits", [8, 6, 4])
def test_a_palette_has_so_many_colours(bits, ct, convnet, deployed, tmp_path):
    target = export.TARGETS["coreml"](weights=f"palette{bits}")
    done = export.export(convnet, target, tmp_path / "out")
    assert done.manifest.operators["constexpr_lut_to_dense"] == 1
    written = weights(done.path / "model.mlpackage")
    (kernel,) = (array for array in written.values() if array.shape == (32, 16, 3, 3))
    palette = np.unique(kernel)
    assert 2 ** (bits - 1) < len(palette) <= 2**bits
    given = convnet.get_layer("conv4").kernel.numpy().transpose(3, 2, 0, 1)  # the only large one
    nearest = np.abs(given[..., None] - palette.astype(np.float32)).min(axis=-1)
    np.testing.assert_allclose(np.abs(given - kernel), nearest, atol=np.ptp(given) / 2**11)
    before, after = (d.manifest.facts["weights_bytes"] for d in (deployed("coreml"), done))
    saved = given.size * (16 - bits) / 8 - 2 * 2**bits
    assert before - after == pytest.approx(saved, abs=256)


@pytest.mark.parametrize(
    ("channels", "mean", "std"), [(3, (0.5, 0.4, 0.3), (0.25,) * 3), (1, (0.5,), (0.25,))]
)
def test_a_picture_is_normalised_inside(channels, mean, std, ct, tmp_path):
    image = keras.Input((8, 8, channels), name="image")
    model = keras.Model(image, layers.Conv2D(4, 3, name="conv")(image))
    known = export.Preprocessing(size=8, channels=channels, scale=1 / 255, mean=mean, std=std)
    done = export.export(model, "coreml", tmp_path / "out", about=export.About(preprocessing=known))
    assert done.manifest.facts["input"] == "picture, normalised inside"
    assert done.manifest.signature.inputs[0].dtype == "uint8"
    left = export.Preprocessing(size=8, channels=channels)
    assert done.manifest.preprocessing == left.model_dump(mode="json")
    (entry,) = spec_of(ct, done).description.input
    picture = entry.type.imageType
    assert (picture.width, picture.height) == (8, 8)
    assert picture.ColorSpace.Name(picture.colorSpace) == ("RGB" if channels == 3 else "GRAYSCALE")
    assert {"mul", "add"} <= set(done.manifest.operators)
    written = [array.ravel() for array in weights(done.path / "model.mlpackage").values()]
    bias = -np.array(mean) / std  # (channels,)
    for expected in (np.array([1 / 255 / 0.25]), bias):
        assert any(
            array.shape == expected.shape and np.allclose(array, expected, rtol=1e-3)
            for array in written
        )


def test_a_picture_of_several_deviations_stays_a_tensor(ct, tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, layers.Conv2D(4, 3, name="conv")(image))
    known = export.Preprocessing(size=8, channels=3, mean=(0, 0, 0), std=(1, 2, 3))
    done = export.export(model, "coreml", tmp_path / "out", about=export.About(preprocessing=known))
    assert done.manifest.facts["input"].startswith("tensor: a picture has one scale")
    assert spec_of(ct, done).description.input[0].type.WhichOneof("Type") == "multiArrayType"


def test_coreml_refuses_what_it_cannot_hold(ct, tmp_path):
    rows = keras.Input((5, 4), name="rows")
    with pytest.raises(RuntimeError, match=r"layer 'memory' is a loop.*unroll=True"):
        export.export(
            keras.Model(rows, layers.GRU(3, name="memory")(rows)), "coreml", tmp_path / "out"
        )
    flags = keras.Input((5,), dtype="bool", name="flags")
    with pytest.raises(ValueError, match="input 'flags' is bool; expected float32 or int32"):
        export.export(
            keras.Model(flags, keras.ops.cast(flags, "float32")), "coreml", tmp_path / "out"
        )
    broken = keras.Sequential([keras.Input((4,), name="x"), layers.Dense(2, name="y")])
    broken.layers[0].kernel.assign(np.full((4, 2), np.nan))
    with pytest.raises((ValueError, export.ParityError), match="NaN"):
        export.export(broken, "coreml", tmp_path / "out")


def test_an_operation_that_coreml_lacks_is_named(ct, tmp_path):
    rows = keras.Input((4,), name="rows")
    model = keras.Model(rows, keras.ops.erfinv(keras.ops.tanh(rows)))
    with pytest.raises(RuntimeError, match=r"the converter failed: .*Erfinv") as caught:
        export.export(model, "coreml", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
