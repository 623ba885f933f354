"""Walking, rebuilding and accounting: closed forms, and states that are easily lost."""

import gzip
import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import compress
from compress.graph import copy_model, leaf_layers, replace_layers, trace
from compress.graph.limits import limited
from compress.measure import account
from tests import programs

RANDOM = np.random.RandomState(7)


def dense(size=4, units=3, **settings):
    return keras.Sequential([keras.Input((size,)), layers.Dense(units, name="fc", **settings)])


def siamese():
    """A nested model called twice, and a layer shared between the two levels."""
    fc = layers.Dense(6, name="fc")
    core = keras.Sequential([keras.Input((6,)), fc, layers.ReLU(name="relu")], name="core")
    left, right = keras.Input((6,), name="left"), keras.Input((6,), name="right")
    x = layers.Add(name="add")([core(left), core(right)])
    outputs = {"b": fc(x), "a": layers.Dense(2, name="head")(x)}
    return keras.Model([left, right], outputs, name="siamese")


# --- walking ---


def test_leaves_have_paths_and_appear_once():
    paths = [path for path, _ in leaf_layers(siamese())]
    assert sorted(paths) == ["add", "core/fc", "core/relu", "head"]


def test_every_call_is_listed():
    calls = [call.path for call in trace(siamese()).calls if call.path]
    assert {path: calls.count(path) for path in calls} == {
        "core/fc": 3,
        "core/relu": 2,
        "add": 1,
        "head": 1,
    }


def test_nested_layers_see_the_outer_shapes():
    inside = keras.Input((None, None, 3))
    core = keras.Model(inside, layers.Conv2D(4, 3, name="conv")(inside), name="core")
    image = keras.Input((16, 16, 3))
    model = keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(core(image)))
    assert next(c for c in trace(model).calls if c.path).outputs[0].shape == (None, 14, 14, 4)
    assert account.layer_table(model)[0].macs == 14 * 14 * 4 * 27
    assert account.layer_table(core)[0].macs == 4 * 27  # for each position


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.fc = layers.Dense(2)

    def call(self, x):
        return self.fc(x)


class OwnFunctional(keras.Model):
    """Functional by its constructor, with methods of its own."""


@pytest.mark.parametrize("touch", [copy_model, trace, account.layer_table])
def test_models_that_cannot_be_replayed_are_refused(touch):
    vector = keras.Input((3,))
    for model in (Subclassed(), OwnFunctional(vector, layers.Dense(2)(vector))):
        with pytest.raises(TypeError, match=f"got {type(model).__name__}, a class of its own"):
            touch(model)
    with pytest.raises(ValueError, match=r"is not built; give it a keras\.Input first"):
        touch(keras.Sequential([layers.Dense(2)]))


# --- rebuilding ---


def test_copy_has_equal_graph_and_outputs():
    model = siamese()
    copy = copy_model(model)
    x = [RANDOM.randn(5, 6).astype("float32") for _ in range(2)]
    for name, value in model(x).items():
        np.testing.assert_array_equal(value, copy(x)[name])
    assert copy.output_names == model.output_names
    assert sorted(path for path, _ in leaf_layers(copy)) == ["add", "core/fc", "core/relu", "head"]
    assert copy.count_params() == model.count_params()
    copy.get_layer("head").kernel.assign(np.zeros((6, 2)))
    assert np.any(np.asarray(model.get_layer("head").kernel))


def test_copy_of_a_plain_graph_has_the_same_configuration():
    image = keras.Input((8, 8, 1), name="image", batch_size=2)
    x = layers.Conv2D(4, 3, kernel_regularizer="l2", name="conv", trainable=False)(image)
    x = layers.Flatten(name="flat")(x)[:, ::2] + 1.0
    model = keras.Model(image, layers.Dense(2, dtype="mixed_bfloat16", name="fc")(x))
    assert copy_model(model).get_config() == model.get_config()


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (layers.Normalization(), RANDOM.randn(50, 4).astype("float32") * 5),
        (layers.StringLookup(), tf.constant([["a"], ["b"], ["a"], ["c"]])),
    ],
    ids=["normalization", "string_lookup"],
)
def test_copy_keeps_what_is_not_a_variable(layer, x):
    layer.adapt(x)
    model = keras.Sequential([keras.Input(x.shape[1:], dtype=x.dtype), layer])
    np.testing.assert_array_equal(copy_model(model)(x), model(x))


def test_copy_keeps_random_states():
    model = keras.Sequential([keras.Input((100,)), layers.Dropout(0.5)])
    x = np.ones((1, 100), "float32")
    model(x, training=True)
    copy = copy_model(model)
    np.testing.assert_array_equal(copy(x, training=True), model(x, training=True))


def test_copy_keeps_optional_inputs_and_frozen_layers():
    first, second = keras.Input((4,), name="a"), keras.Input((4,), name="b", optional=True)
    x = layers.Dense(3, name="fc", trainable=False)(first)
    model = keras.Model([first, second], layers.Dense(2, name="head")(x))
    copy = copy_model(model)
    assert copy([np.ones((1, 4)), None]).shape == (1, 2)
    assert [v.path for v in copy.trainable_variables] == ["head/kernel", "head/bias"]
    model.trainable = False
    assert copy_model(model).trainable_variables == []


def test_copy_is_not_compiled():
    model = dense()
    model.compile("adam", lambda a, b: keras.ops.mean((a - b) ** 2))  # cannot be serialised
    assert not copy_model(model).compiled


@pytest.mark.parametrize("key", ["path", "layer"])
def test_one_layer_becomes_two_at_each_call(key):
    model = siamese()
    fc = dict(leaf_layers(model))["core/fc"]
    first, second = layers.Dense(2, use_bias=False, name="fc_u"), layers.Dense(6, name="fc")
    new = replace_layers(model, {"core/fc" if key == "path" else fc: [first, second]})
    x = [RANDOM.randn(5, 6).astype("float32") for _ in range(2)]
    core = [np.maximum(second(first(value)), 0) for value in x]
    np.testing.assert_allclose(new(x)["b"], second(first(core[0] + core[1])), rtol=1e-5, atol=1e-6)
    assert [call.path for call in trace(new).calls].count("core/fc_u") == 3
    assert new.output_names == model.output_names
    assert [path for path, _ in leaf_layers(model)].count("core/fc_u") == 0


def test_replacement_keeps_its_weights():
    layer = layers.Dense(3, name="fc")
    layer.build((None, 4))
    expected = layer.kernel.numpy()
    np.testing.assert_array_equal(replace_layers(dense(), {"fc": layer}).layers[0].kernel, expected)


@pytest.mark.parametrize(
    ("replacements", "message"),
    [
        ({"fd": layers.ReLU(name="fd")}, r"no layer 'fd'\. Did you mean 'fc'\?"),
        ({layers.ReLU(name="fc"): layers.ReLU()}, "'fc' is not a leaf layer of this model"),
        (
            {"fc": [layers.ReLU(name="a"), layers.ReLU(name="b")]},
            r"'fc' becomes \['a', 'b'\]; expected the last one to be named 'fc'",
        ),
        ({"fc": []}, r"'fc' becomes \[\]; expected the last one"),
    ],
)
def test_wrong_replacement_is_refused(replacements, message):
    with pytest.raises(ValueError, match=message):
        replace_layers(dense(), replacements)


# --- accounting ---


def vgg16():
    """Simonyan & Zisserman 2014, arXiv:1409.1556, configuration D, at 224 x 224."""
    x = image = keras.Input((224, 224, 3))
    for num_convs, filters in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(num_convs):
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="zeros")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    for units in (4096, 4096, 1000):
        x = layers.Dense(units, kernel_initializer="zeros")(x)
    return keras.Model(image, x)


def test_vgg16_costs_what_the_paper_says():
    counts = account.total(account.layer_table(vgg16()))
    assert counts.parameters == 138_357_544
    assert counts.macs == 15_346_630_656 + 123_633_664  # 15.47 G: convolutions, dense layers
    assert counts.nonzero == 0
    assert counts.num_uncounted == 0


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (layers.Dense(5), (7,), 35),
        (layers.Dense(5), (4, 3, 7), 4 * 3 * 35),
        (layers.Conv1D(4, 3, strides=2), (9, 2), 4 * (3 * 2 * 4)),
        (layers.Conv2D(4, (3, 2), padding="same"), (8, 6, 2), 48 * (6 * 2 * 4)),
        (layers.Conv2D(4, 3, dilation_rate=2), (8, 8, 2), 16 * (9 * 2 * 4)),
        (layers.Conv2D(4, 3, groups=2), (5, 5, 6), 9 * (9 * 3 * 4)),
        (layers.Conv2D(4, 3, data_format="channels_first"), (2, 8, 8), 36 * (9 * 2 * 4)),
        (layers.Conv3D(2, 2), (3, 3, 3, 1), 8 * (8 * 2)),
        (layers.Conv2DTranspose(4, 3, strides=2), (5, 5, 2), 25 * (9 * 2 * 4)),
        (layers.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 3), 9 * (9 * 3 * 2)),
        (layers.SeparableConv2D(4, 3), (5, 5, 3), 9 * (9 * 3 + 3 * 4)),
        (layers.MaxPooling2D(), (4, 4, 1), 0),
        (layers.BatchNormalization(), (4, 4, 1), 0),
        (layers.Embedding(10, 4), (6,), 0),
        (layers.LSTM(3), (5, 2), 5 * 4 * 3 * (2 + 3)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else str(value),
)
def test_multiply_accumulates(layer, shape, macs):
    (row,) = account.layer_table(keras.Sequential([keras.Input(shape), layer]))
    assert row.macs == macs
    counts = account.total([row])
    assert (counts.macs, counts.num_uncounted) == (macs or 0, macs is None)


def test_row_of_a_layer():
    model = dense(4, 3, dtype="mixed_bfloat16")
    model.layers[0].kernel.assign(np.eye(4, 3))
    (row,) = account.layer_table(model)
    assert row == ("fc", "Dense", (None, 3), 15, 3, 12, 3 * 2)


def test_reload_is_the_files(tmp_path):
    model = dense(300, 200)
    model.compile("adam", "mse")
    model.fit(np.ones((2, 300)), np.ones((2, 200)), verbose=0)
    size = account.reload(model)[1]
    model.save(tmp_path / "with_optimizer.keras")
    copy_model(model).save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    assert size.raw_bytes == pytest.approx(len(content), abs=100)
    assert size.gzip_bytes == pytest.approx(len(gzip.compress(content, 6)), abs=200)
    assert size.raw_bytes < 0.5 * (tmp_path / "with_optimizer.keras").stat().st_size


def test_reload_refuses_weights_that_are_not_finite():
    model = dense()
    model.layers[0].bias.assign([0.0, math.inf, 0.0])
    with pytest.raises(ValueError, match="bias: holds values that are not finite"):
        account.reload(model)


@keras.saving.register_keras_serializable("tests")
class Forgetful(layers.Dense):
    """Saves its kernel, but not its bias."""

    def save_own_variables(self, store):
        store["kernel"] = self.kernel

    def load_own_variables(self, store):
        self.kernel.assign(store["kernel"])


def test_reload_refuses_a_file_that_forgets_a_weight():
    model = keras.Sequential([keras.Input((4,)), Forgetful(3, name="fc")])
    account.reload(model)  # a bias as it is initialised can be forgotten
    model.layers[0].bias.assign([1.0, 2.0, 3.0])
    with pytest.raises(RuntimeError, match=r"weight .*bias' differs after loading"):
        account.reload(model)


def test_a_graph_deeper_than_pythons_recursion():
    """EfficientNetV2L is, with its ranges: Keras walks a graph by recursion, a frame a layer."""
    code = (
        "import keras, compress.layers\n"
        "from compress.graph import copy_model\n"
        "x = image = keras.Input((4,))\n"
        "for _ in range(1100): x = keras.layers.Identity()(x)\n"
        "copy_model(keras.Model(image, x))"
    )
    done = programs.run(code)
    assert done.returncode == 0, done.stderr[-500:]


class Backbone(keras.Model):
    """A class of its own over a graph, as KerasHub's are."""

    def __init__(self, **kwargs):
        x = keras.Input((8,), name="features")
        hidden = keras.layers.Dense(6, activation="relu", name="hidden")
        super().__init__(x, keras.layers.Dense(4, name="top")(hidden(x)), **kwargs)


class Coded(Backbone):
    """One that computes something else than its graph."""

    def call(self, inputs, training=False, mask=None):
        return 2 * super().call(inputs)


def test_the_graph_of_a_class_of_its_own_is_found():
    keras.utils.set_random_seed(0)
    backbone = Backbone(name="backbone")
    x = keras.Input((8,), name="row")
    outer = keras.Model(x, keras.layers.Dense(2, name="head")(backbone(x)))
    rows = np.random.RandomState(0).rand(5, 8).astype("float32")
    for model, paths in (
        (backbone, ["hidden", "top"]),
        (outer, ["backbone/hidden", "backbone/top", "head"]),
        (keras.Sequential([x, backbone]), ["backbone/hidden", "backbone/top"]),
    ):
        plain = compress.functional(model)
        assert [path for path, _ in leaf_layers(plain)] == paths
        np.testing.assert_array_equal(plain(rows), model(rows))
        pruned = compress.Prune(sparsity=0.5, epochs=0).apply(plain)
        assert all(row.changed for row in pruned.report.layers)
    assert compress.functional(keras.Sequential([x])) is not None
    with pytest.raises(TypeError, match=r"compress.functional\(model\) gives it"):
        dict(leaf_layers(backbone))


class Taught(Backbone):
    """One that trains in its own way."""

    def compute_loss(self, *args, **kwargs):
        return 2 * super().compute_loss(*args, **kwargs)


def test_what_a_class_of_its_own_leaves_behind_is_said(caplog):
    model = Backbone(name="backbone")
    compress.functional(model)
    compress.functional(keras.Sequential([keras.Input((8,)), model]))
    assert not caplog.text
    model.compile("sgd", "mse")
    assert not compress.functional(model).compiled
    assert "functional: how 'backbone' was compiled stays behind: compile" in caplog.text
    taught = Taught()
    taught.compile("sgd", "mse")
    compress.functional(taught)
    assert "functional: compute_loss of Taught stays behind: train the graph by" in caplog.text


def test_a_class_without_a_graph_is_refused():
    with pytest.raises(TypeError, match="Coded, which computes by code of its own"):
        compress.functional(Coded())


# --- limits ---


def test_limits_of_several_threads_end_with_their_blocks():
    before, meet = layers.Layer.add_weight, Barrier(3, timeout=60)

    def build(most, late):
        """Builds 15 weights while the others are in their blocks too, or have just left them."""
        with limited(most):
            meet.wait()
            if late:
                meet.wait()
            try:
                dense().count_params()
            except ValueError as error:
                return str(error)
            finally:
                if not late:
                    meet.wait()
        return ""

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(build, 10**9, False), pool.submit(build, 7, True)
        meet.wait()
        assert dense(2000, 1000).count_params() == 2_001_000  # outside of any block
        meet.wait()
    assert not first.result()
    assert second.result().startswith("the layers up to 'fc' want 15 weights")
    assert layers.Layer.add_weight is before
    assert dense(2000, 1000).count_params() == 2_001_000
