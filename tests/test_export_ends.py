"""Operators and names at the ends of users' models: winners, embeddings, booleans, clashes."""

import threading

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import export
from export.source import prepare
from export.targets import find_target
from export.tracing import inlined, plain_winners
from tests.beside import IDS, RANDOM, ROWS, in_litert, in_onnx, x

# Operators that the formats have.


@pytest.mark.parametrize("target", ["tflite", "onnx", "openvino", "tflite-int8", "onnx-int8"])
def test_the_winner_at_the_end(target, tmp_path):
    maps = layers.Conv2D(5, 3, padding="same")(image := keras.Input((6, 6, 3), name="image"))
    model = keras.Model(
        image, {"best": ops.argmax(maps, -1), "least": ops.argmin(maps, -1, keepdims=True)}
    )
    samples = RANDOM.randn(32, 6, 6, 3).astype("float32")
    done = export.export(model, target, tmp_path / "out", samples=samples)
    assert done.manifest.parity.top1_agreement > (0.95 if "int8" in target else 0.999)
    expected = {name: np.asarray(value) for name, value in model(samples).items()}
    if target.startswith(("tflite", "onnx")):
        run = in_litert if target.startswith("tflite") else in_onnx
        for name, got in run(done, {"image": samples}).items():
            assert got.shape == expected[name].shape
            assert (got == expected[name]).mean() > 0.95


def test_tracing_is_one_threads_own():
    """While one thread traces for a file, another has Keras' own winners and compiled functions."""
    zeros = np.array([[0.0, -0.0]], "float32")
    answers, inside, done = {}, threading.Event(), threading.Event()
    compiled = tf.function(lambda: tf.executing_eagerly())

    def trace():
        with plain_winners(), inlined():
            inside.set()
            done.wait(30)
            answers["least in a file"] = int(ops.argmin(zeros, -1)[0])
            answers["in place"] = bool(compiled())

    thread = threading.Thread(target=trace)
    thread.start()
    assert inside.wait(30)
    answers["least"], answers["compiled"] = int(ops.argmin(zeros, -1)[0]), not compiled()
    done.set()
    thread.join()
    assert answers == {"least in a file": 0, "in place": True, "least": 1, "compiled": True}
    assert not tf.config.functions_run_eagerly()


def embedded():
    ids = keras.Input((12,), dtype="int32", name="ids")
    words = layers.Conv1D(8, 3, activation="relu")(layers.Embedding(100, 16)(ids))
    return keras.Model(ids, layers.Dense(4, name="scores")(layers.GlobalAveragePooling1D()(words)))


def placed():
    ids = keras.Input((12,), dtype="int32", name="ids")
    words = layers.Embedding(100, 16)(ids) + layers.Embedding(12, 16)(ops.arange(12))
    return keras.Model(ids, layers.Dense(4, name="scores")(layers.Flatten()(words)))


@pytest.mark.parametrize("build", [embedded, placed])
def test_onnx_integers_of_an_embedding(build, tmp_path):
    model = build()
    done = export.export(model, "onnx-int8", tmp_path / "out", samples=IDS)
    got, expected = in_onnx(done, {"ids": IDS})["scores"], np.asarray(model(IDS))
    assert (got - expected).std() < 0.1 * expected.std()  # single ones lie beyond the range
    assert done.manifest.facts["steps_from_tflite"] <= 1


@pytest.mark.parametrize("target", ["tflite-int8", "onnx-int8", "openvino-int8", "tflm"])
def test_booleans_and_whole_numbers_beside_scores(target, tmp_path):
    scores = layers.Dense(4, name="score")(a := x())
    key = keras.Input((1,), dtype="int64", name="key")
    ends = {"score": scores, "alarm": scores > 0.5, "best": ops.argmax(scores, -1), "key": key}
    samples = {"x": ROWS, "key": np.arange(64)[:, None] * 3}
    done = export.export(keras.Model([a, key], ends), target, tmp_path / "out", samples=samples)
    kinds = {own: spec.dtype for own, spec in by_own_name(done.manifest).items()}
    assert (kinds["alarm"], kinds["key"]) == ("bool", "int64")
    assert 0.8 < done.manifest.parity.top1_agreement <= 1


def by_own_name(manifest):
    return {manifest.names.get(one.name, one.name): one for one in manifest.signature.outputs}


PADDED = [(3, 2, 1, "valid"), (3, 2, 1, "same"), (1, 2, None, "same"), (2, 3, 2, "valid")]


@pytest.mark.parametrize(("kernel", "strides", "behind", "padding"), PADDED)
def test_padding_behind_a_transposed_convolution(kernel, strides, behind, padding, tmp_path):
    image = keras.Input((6, 6, 3), name="image")
    layer = layers.Conv2DTranspose(
        4, kernel, strides=strides, output_padding=behind, padding=padding, bias_initializer="ones"
    )
    model = keras.Model(image, layer(image))
    samples = RANDOM.randn(8, 6, 6, 3).astype("float32")
    done = export.export(model, "onnx", tmp_path / "out", samples=samples)
    (got,) = in_onnx(done, {"image": samples}).values()
    np.testing.assert_allclose(got, model(samples), atol=1e-5)
    if behind and padding == "valid":  # the integers too
        assert export.export(model, "onnx-int8", tmp_path / "int8", samples=samples)


# Names.


def test_names_change_where_they_must_and_the_manifest_tells(tmp_path):
    own = ("_x", "größe", "a/b", "class", "fine")
    given = {name: keras.Input((4,)) for name in own}
    joined = layers.Concatenate()(list(given.values()))
    model = keras.Model(given, {"c/d": layers.Dense(2)(joined), "fine": layers.Dense(3)(joined)})
    samples = {name: RANDOM.randn(16, 4).astype("float32") for name in own}
    expected = {name: np.asarray(value) for name, value in model(samples).items()}
    entries = {"x": "_x", "grosse": "größe", "a_b": "a/b", "class_1": "class"}
    for target, exits in {"saved_model": {}, "tflite": {}, "onnx": {"fine_1": "fine"}}.items():
        done = export.export(model, target, tmp_path / target, samples=samples)
        manifest = done.manifest
        assert manifest.names == {**entries, "c_d": "c/d", **exits}
        assert export.Manifest.read(done.path).names == manifest.names
        by_file = {
            spec.name: samples[manifest.names.get(spec.name, spec.name)]
            for spec in manifest.signature.inputs
        }
        got = find_target(target).open(done.path / manifest.file).run(by_file)
        for name, array in got.items():
            np.testing.assert_allclose(
                array, expected[manifest.names.get(name, name)], atol=1e-5, err_msg=name
            )
    assert "`x` is `_x`" in (done.path / "MODEL_CARD.md").read_text()


class Weighed(layers.Layer):
    """Names that TensorFlow has not, within a layer of the user's own."""

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), name="_größe", initializer="uniform")
        self.inside = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="-x")], name="_in")

    def call(self, inputs):
        return self.inside(inputs * self.factor)

    def compute_output_shape(self, shape):
        return shape


def called_at_will():
    """Layers, weights, nested models and outputs of names that no scope of a graph has."""
    norm = layers.Normalization(name="my norm")
    norm.adapt(ROWS[:, :4] * 7 + 3)
    twice = layers.Dense(4, name="größe")
    nested = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="a:b")], name="ein Netz")
    y = nested(Weighed(name="-x")(twice(twice(norm(a := x(4))))))
    y = layers.BatchNormalization(name="grosse")(y)
    return keras.Model(a, layers.Dense(2, name="_out")(y), name="mein Netz")


@pytest.mark.parametrize("target", ["saved_model", "onnx", "openvino", "tflite", "tflite-int8"])
def test_layers_may_be_called_as_no_scope_is(target, tmp_path):
    keras.utils.set_random_seed(0)
    model, samples = called_at_will(), {"x": ROWS[:, :4]}
    before = [layer.name for layer in model._flatten_layers()]
    done = export.export(model, target, tmp_path / "out", samples=samples)
    manifest = done.manifest
    assert (manifest.name, manifest.names) == ("mein Netz", {})
    assert [spec.name for spec in manifest.signature.outputs] == ["_out"]
    assert [layer.name for layer in model._flatten_layers()] == before
    (got,) = find_target(target).open(done.path / manifest.file).run(samples).values()
    expected = np.asarray(model(samples["x"]))
    if "int8" in target:  # single ones lie beyond the range
        assert (got - expected).std() < 0.1 * expected.std()
    else:
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_what_is_told_of_a_layer_has_the_users_name(tmp_path):
    a = keras.Input((4,), name="x")
    dense = layers.Dense(300, activation="relu", name="größe")
    model = keras.Model(a, layers.Dense(2, name="_out")(dense(a)))
    with pytest.raises(ValueError, match=r"keep: no layer 'große'\. Did you mean 'größe'"):
        export.export(model, find_target("tflite-int4", {"keep": ["große"]}), tmp_path / "no")
    sizes = {}
    for keep in ([], ["größe"]):
        target = find_target("tflite-int4", {"keep": keep})
        done = export.export(model, target, tmp_path / str(len(keep)), samples=ROWS[:, :4])
        sizes[len(keep)] = done.manifest.size_bytes
    assert sizes[1] > sizes[0] + 300
    ids = keras.Input((1,), dtype="int64", name="ids")
    table = layers.IntegerLookup(vocabulary=[10, 20], name="_größe")
    net, _ = prepare(keras.Model(ids, table(ids)))
    with pytest.raises(RuntimeError, match=r"layer '_größe' \(IntegerLookup\) looks up"):
        find_target("onnx").check_model(net)


@pytest.mark.parametrize("name", ["größe", "_x", "my input"])
def test_integers_of_a_model_whose_input_has_such_a_name(name, tmp_path):
    import compress

    a = keras.Input((4,), name=name)
    model = keras.Model(a, layers.Dense(2, name="out")(layers.Dense(3, activation="relu")(a)))
    small = compress.apply("int8", model, samples=ROWS[:, :4]).model
    expected = model.predict(ROWS[:, :4], verbose=0)
    got = small.predict(ROWS[:, :4], verbose=0)  # traces a graph
    assert np.abs(got - expected).max() < 0.1 * np.abs(expected).max()
    assert export.export(small, "tflite-int8", tmp_path / "out", samples=ROWS[:, :4])


def test_a_half_precision_model_keeps_what_a_normalisation_has_learnt(tmp_path):
    norm = layers.Normalization()
    norm.adapt(ROWS * 7 + 3)
    model = keras.Model(a := x(), layers.Dense(2, dtype="mixed_float16")(norm(a)))
    done = export.export(model, "onnx", tmp_path / "out", samples=ROWS)
    (got,) = in_onnx(done, {"x": ROWS}).values()
    expected = np.asarray(model(ROWS), "float32")
    assert np.abs(got - expected).max() < 0.01 * np.abs(expected).max()


def test_core_ml_has_names_of_ascii(tmp_path):
    model = keras.Model(
        {"1x": (a := keras.Input((4,)))}, {"größe": layers.Dense(2)(a), "1x": layers.Dense(3)(a)}
    )
    done = export.export(model, "coreml", tmp_path / "out")
    assert done.manifest.names == {"tensor_1x": "1x", "grosse": "größe", "tensor_1x_1": "1x"}


def test_one_clash_renames_one_output(tmp_path):
    lines = keras.Input((6, 4), name="x")
    y, state = layers.GRU(5, return_sequences=True, return_state=True, name="gru")(lines)
    model = keras.Model(lines, [layers.Dense(2, name="score")(state), y, state])
    done = export.export(model, "onnx", tmp_path / "out")
    assert [spec.name for spec in done.manifest.signature.outputs] == ["score", "gru", "gru_1"]
    assert done.manifest.names == {"gru_1": "gru"}


@pytest.mark.parametrize("target", ["onnx", "openvino", "tflite"])
def test_an_output_may_be_called_as_an_input_is(target, tmp_path):
    key = keras.Input((1,), dtype="int64", name="key")
    a = x(4)
    model = keras.Model({"x": a, "key": key}, {"x": layers.Dense(2)(a), "key": key})
    done = export.export(model, target, tmp_path / "out")
    assert sorted(by_own_name(done.manifest)) == ["key", "x"]


@pytest.mark.parametrize("target", ["onnx", "openvino", "onnx-int8", "openvino-int8", "tflite"])
def test_one_tensor_may_go_out_twice_and_an_input_nowhere(target, tmp_path):
    scores = layers.Dense(3)(a := x())
    model = keras.Model([a, x(4, "idle")], {"p": scores, "q": scores, "r": scores})
    samples = {"x": ROWS, "idle": ROWS[:, :4]}
    done = export.export(model, target, tmp_path / "out", samples=samples)
    got = find_target(target).open(done.path / done.manifest.file).run(samples)
    assert sorted(got) == ["p", "q", "r"]
    np.testing.assert_array_equal(got["p"], got["q"])
    expected = np.asarray(model([samples["x"], samples["idle"]])["p"])
    assert (got["r"] - expected).std() < 0.2 * expected.std()  # single ones beyond the range
