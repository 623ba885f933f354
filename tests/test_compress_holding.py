"""Zeros and shared weights hold through training, and through a packed file."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import compress
from compress.graph import leaf_layers
from compress.graph.holding import bake, hold, structure
from compress.layers import Masked, Parametrized, Shared
from compress.measure.packed import MAGIC
from compress.passes.share_weights import clustering
from compress.tfmot import import_tfmot

RANDOM = np.random.RandomState(5)


def net():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(8, 3, name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.SeparableConv2D(6, 3, name="separable")(x)
    x = layers.Conv2DTranspose(4, 2, name="transpose")(x)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(image, layers.Dense(5, name="logits")(x), name="net")
    for index, weight in enumerate(model.weights):
        random = np.random.RandomState(index)
        weight.assign(random.uniform(0.5, 1.5, weight.shape) * random.choice([-1, 1], weight.shape))
        if "variance" in weight.path:
            weight.assign(abs(np.array(weight.value)))
    return model


def compressed(bits=2, sparsity=0.6):
    plan = [compress.Prune(sparsity=sparsity), compress.ShareWeights(bits=bits)]
    return compress.apply(compress.Pipeline(plan), net()).model


IMAGES, TARGETS = RANDOM.randn(64, 8, 8, 3).astype("float32"), RANDOM.randn(64, 5)


def train(model, *, epochs=2, callbacks=(), optimizer=None):
    keras.utils.set_random_seed(0)
    model.compile(optimizer or keras.optimizers.Adam(0.01), "mse")
    model.fit(IMAGES, TARGETS, batch_size=16, epochs=epochs, callbacks=list(callbacks), verbose=0)


def answers(model):
    return np.array(model(IMAGES, training=False))


def kernels(model):
    return {
        path: np.array(weight.value)
        for path, layer in leaf_layers(model)
        for weight in layer.weights
        if weight.name in ("kernel", "pointwise_kernel")
    }


# --- parametrized layers ---


@pytest.mark.parametrize("name", ["conv", "depthwise", "separable", "transpose", "logits"])
def test_a_parametrized_layer_is_the_layer_with_another_kernel(name, tmp_path):
    model = compressed()
    held = hold(model)
    layer = held.get_layer(name)
    assert isinstance(layer, Parametrized) == (name in kernels(model))
    np.testing.assert_array_equal(answers(held), answers(model))
    np.testing.assert_array_equal(answers(bake(held)), answers(model))
    assert all(type(a) is type(b) for a, b in zip(bake(held).layers, model.layers, strict=True))
    held.save(tmp_path / "held.keras")
    again = keras.saving.load_model(tmp_path / "held.keras")
    clone = keras.models.clone_model(held)
    clone.set_weights(held.get_weights())
    for other in (again, clone):
        np.testing.assert_array_equal(answers(other), answers(model))


def test_the_chain_is_computed_in_single_precision():
    """In half precision 0.1234567 would be rounded before it is looked up or masked."""
    layer = layers.Dense(3, dtype="mixed_bfloat16", name="fc")
    layer.build((None, 4))
    layer.kernel.assign(np.full((4, 3), 0.1234567))
    wrapped = Parametrized(layer, [Masked()])
    wrapped.build()
    seen = []
    wrapped.chain[0].call = lambda kernel: seen.append(kernel) or kernel
    out = wrapped(np.ones((2, 4)))
    assert out.dtype == tf.bfloat16
    assert seen[0].dtype == tf.float32 and float(seen[0][0, 0]) == np.float32(0.1234567)
    twin = Parametrized.from_config({**wrapped.get_config(), "dtype": "float32"})
    assert twin.layer.compute_dtype == "float32"
    same = Parametrized.from_config(wrapped.get_config())
    assert same.layer.compute_dtype == "bfloat16"


def test_a_shared_value_learns_by_the_sum_of_its_gradients():
    """Han et al. 2016, eq. 3, beside the gradient of a plain layer."""
    kernel = RANDOM.choice([-1.0, 0.5, 2.0], size=(6, 4)).astype("float32")
    shared = Shared(3)
    shared.build(kernel.shape)
    shared.read(kernel)
    x, y = RANDOM.randn(5, 6).astype("float32"), RANDOM.randn(5, 4).astype("float32")
    plain = tf.Variable(kernel)
    with tf.GradientTape(persistent=True) as tape:
        loss = tf.reduce_sum((x @ shared(ops.zeros(kernel.shape)) - y) ** 2)
        plain_loss = tf.reduce_sum((x @ plain - y) ** 2)
    found = tape.gradient(loss, shared.values.value)
    each = np.array(tape.gradient(plain_loss, plain))
    expected = [each[kernel == value].sum() for value in (-1.0, 0.5, 2.0)]
    assert isinstance(found, tf.Tensor)  # not a list of summands, which some optimizers refuse
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.SGD(1e-5, momentum=0.9), keras.optimizers.AdamW(0.01)]
)
def test_zeros_and_sharing_hold_through_training(optimizer):
    model = compressed(bits=2)
    before = kernels(model)
    held = hold(model)
    train(held, optimizer=optimizer)
    after = kernels(bake(held))
    for path, old in before.items():
        new = after[path]
        assert np.isfinite(new).all()
        np.testing.assert_array_equal(new == 0, old == 0)
        for value in np.unique(old[old != 0]):
            assert np.unique(new[old == value]).size == 1
        assert not np.array_equal(new, old)


def test_held_weights_are_found_in_the_weights_alone():
    assert not structure(np.zeros((8, 8), "float32"))
    assert not structure(RANDOM.randn(300, 300).astype("float32"))
    sparse = RANDOM.randn(20, 20).astype("float32")
    sparse[:7] = 0
    assert [type(part) for part in structure(sparse)] == [Masked]
    few = RANDOM.choice([1.0, 2.0, 3.0, 4.0], size=(20, 20)).astype("float32")
    assert [type(part) for part in structure(few)] == [Shared]
    few[:7] = 0
    assert [type(part) for part in structure(few)] == [Shared, Masked]
    assert hold(net()).get_layer("conv").__class__ is layers.Conv2D  # nothing to hold


def test_later_passes_and_later_pipelines_hold():
    def fit(model, *, epochs, callbacks):
        train(model, epochs=epochs, callbacks=callbacks)

    plan = [compress.Prune(sparsity=0.6, epochs=2), compress.ShareWeights(bits=2, epochs=2)]
    first = compress.apply(compress.Pipeline(plan), net(), fit=fit).model
    again = compress.ShareWeights(bits=8, epochs=2).apply(first, compress.Context(fit)).model
    for path, old in kernels(first).items():
        new = kernels(again)[path]
        assert np.unique(old[old != 0]).size <= 4
        np.testing.assert_array_equal(new == 0, old == 0)
        assert np.unique(new[new != 0]).size == np.unique(old[old != 0]).size


@pytest.mark.parametrize(
    "step",
    [
        compress.Quantize(skip=("depthwise", "separable"), rate=1, metric="none", epochs=1),
        compress.Ternarize(epochs=1),
        compress.Binarize(method="binary_connect", epochs=1),
    ],
    ids=lambda step: step.kind,
)
def test_kernels_that_a_pass_leaves_out_hold_while_it_trains(step):
    """Those that `skip` names, and the first and the last, which signs are not for."""

    def fit(model, *, epochs, callbacks, rate=1.0):
        train(model, epochs=epochs, callbacks=callbacks)

    before = compressed()
    after = step.apply(before, compress.Context(fit, samples=IMAGES)).model
    spared = ("depthwise", "separable") if step.kind == "quantize" else ("conv", "logits")
    for path in spared:
        old, new = kernels(before)[path], kernels(after)[path]
        assert not np.array_equal(new, old)
        np.testing.assert_array_equal(new == 0, old == 0)
        assert np.unique(new).size == np.unique(old).size


# --- k-means ---


def test_clusters_are_scikit_learns():
    from sklearn.cluster import KMeans

    weights = RANDOM.randn(3000)
    begin = clustering.begin(np.sort(weights), 16, start="linear")
    ours = clustering.cluster(weights, 16, start="linear")
    theirs = KMeans(16, init=begin[:, None], n_init=1, max_iter=1000, tol=0).fit(weights[:, None])
    np.testing.assert_allclose(ours, np.sort(theirs.cluster_centers_[:, 0]), atol=1e-6)
    error = np.sum((clustering.nearest_of(weights, ours) - weights) ** 2)
    assert error == pytest.approx(theirs.inertia_, rel=1e-6)


@pytest.mark.parametrize("start", clustering.STARTS)
@pytest.mark.parametrize("size", [2, 32, 256])
def test_every_start_ends_in_values_that_are_means(start, size):
    weights = RANDOM.standard_t(4, 5000).astype("float32")
    values = clustering.cluster(weights, size, start=start, seed=3)
    assert 0.5 * size < values.size <= size and (np.diff(values) > 0).all()
    found = clustering.nearest_of(weights, values)
    for value in values[:: max(1, size // 8)]:
        if (found == value).any():
            assert weights[found == value].mean() == pytest.approx(value, abs=2e-3)


def test_few_weights_stay_as_they_are():
    weights = np.array([3.0, -1.0, 3.0, 0.5])
    np.testing.assert_array_equal(clustering.cluster(weights, 4, start="linear"), [-1, 0.5, 3])
    assert clustering.nearest_of(np.array([1.0]), np.array([0.0, 2.0])) == 2.0


@pytest.mark.oracle
def test_the_linear_start_is_tfmots():
    """Its density start reads the distribution off 30 bins; ours takes the quantiles themselves."""
    pytest.importorskip("tf_keras")
    import_tfmot()
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    weights = RANDOM.randn(4000).astype("float32")
    kind = clustering_centroids.LinearCentroidsInitialisation
    theirs = kind(tf.constant(weights), 8).get_cluster_centroids()
    ours = clustering.begin(np.sort(weights), 8, start="linear")
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_values_of_each_channel():
    kernel = RANDOM.randn(5, 5, 4, 6).astype("float32")
    shared = compress.ShareWeights(bits=2, per_channel=True)._share(kernel)
    whole = compress.ShareWeights(bits=2)._share(kernel)
    assert np.unique(whole).size == 4
    assert [np.unique(shared[..., i]).size for i in range(6)] == [4] * 6
    assert np.abs(shared - kernel).mean() < np.abs(whole - kernel).mean()


# --- packed files ---


@pytest.mark.parametrize(
    "model", [net, compressed, lambda: compressed(8, 0.99)], ids=["whole", "small", "sparse"]
)
def test_packed_is_equal_bit_for_bit(model, tmp_path):
    model, path = model(), tmp_path / "net.packed"
    size = compress.pack(model, path)
    assert size == path.stat().st_size and [p.name for p in tmp_path.iterdir()] == ["net.packed"]
    again = compress.unpack(path)
    for a, b in zip(model.weights, again.weights, strict=True):
        assert np.array(a.value).tobytes() == np.array(b.value).tobytes(), a.path
    np.testing.assert_array_equal(answers(again), answers(model))
    assert again.name == model.name


@pytest.mark.parametrize(
    "kernel",
    [
        np.zeros((50, 4)),
        np.full((50, 4), -0.0),
        np.r_[np.zeros(1000), 1.0],  # a gap longer than any symbol
        np.r_[1.0, np.zeros(1000)],
        np.r_[np.zeros(255), 2.0, np.zeros(254), 3.0, 0.0],
        np.ones((30, 30)),
        RANDOM.randn(3, 3, 2, 2),
        np.where(RANDOM.rand(64, 64) < 0.05, RANDOM.randn(64, 64), 0),
    ],
)
def test_every_kernel_comes_back(kernel, tmp_path):
    kernel = np.asarray(kernel, "float32")
    kernel = kernel.reshape(-1, 1) if kernel.ndim == 1 else kernel
    layer = layers.Dense(kernel.reshape(-1, kernel.shape[-1]).shape[1], use_bias=False)
    model = keras.Sequential([keras.Input((kernel.size // kernel.shape[-1],)), layer])
    layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    compress.pack(model, tmp_path / "m")
    found = np.array(compress.unpack(tmp_path / "m").weights[0].value)
    assert found.tobytes() == kernel.tobytes()


def test_the_packed_file_is_near_the_entropy(tmp_path):
    """One weight in twenty, of 16 equally frequent values, at random: 0.286 + 0.2 bits each."""
    random = np.random.RandomState(0)
    kernel = random.randint(1, 17, (1000, 500)) * (random.rand(1000, 500) < 0.05)
    layer = layers.Dense(500, use_bias=False)
    model = keras.Sequential([keras.Input((1000,)), layer])
    layer.kernel.assign(kernel)
    share = 0.05
    bits = -(share * np.log2(share) + (1 - share) * np.log2(1 - share)) + share * 4
    assert compress.pack(model, tmp_path / "m") < 1.01 * bits * kernel.size / 8 + 1000


def test_a_file_of_layers_that_are_not_imported_says_so(tmp_path):
    @keras.saving.register_keras_serializable("theirs")
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    path = tmp_path / "net.packed"
    compress.pack(keras.Sequential([keras.Input((3,)), Twice(), keras.layers.Dense(2)]), path)
    del keras.saving.get_custom_objects()["theirs>Twice"]
    with pytest.raises(ValueError, match=r"net\.packed: has the layer 'Twice', which is neither"):
        compress.unpack(path)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "net.packed"
    compress.pack(compressed(), path)
    data = path.read_bytes()
    for broken, message in [
        (b"PK" + data, "not a packed model"),
        (data[:-5], "is damaged"),
        (data + b"1", "is longer than its header says"),
        (MAGIC + data[6:40], "is damaged"),
    ]:
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=message):
            compress.unpack(path)
    model = net()
    model.get_layer("conv").bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match=r"conv/bias: holds values that are not finite"):
        compress.pack(model, path)


def test_a_file_beside_another_holds_what_is_its_own(tmp_path):
    whole = net()
    part = keras.Model(whole.inputs, layers.Dense(3, name="own")(whole.layers[-2].output))
    (tmp_path / "networks").mkdir()
    beside, path = tmp_path / "net.packed", tmp_path / "networks" / "part.packed"
    compress.pack(whole, beside)
    own = sum(weight.value.numpy().nbytes for weight in part.get_layer("own").weights)
    assert own < compress.pack(part, path, beside=beside) < own + 1500
    found = compress.unpack(path)
    for here, there in zip(found.weights, part.weights, strict=True):
        assert here.path == there.path and np.array_equal(here.value, there.value)
    with pytest.raises(
        ValueError, match=r"elsewhere/m: stands elsewhere; expected it in .*networks"
    ):
        compress.pack(part, path, beside=tmp_path / "elsewhere" / "m")
    compress.pack(part, beside)
    with pytest.raises(
        ValueError, match=r"part\.packed: is damaged \(\.\./net\.packed, whose weights"
    ):
        compress.unpack(path)
    beside.unlink()
    with pytest.raises(ValueError, match=r"part\.packed: is damaged \(.*No such file.*net\.packed"):
        compress.unpack(path)


def test_huffman_counts_the_file(tmp_path):
    plan = [compress.Prune(sparsity=0.9), compress.ShareWeights(bits=4), compress.Huffman()]
    small = compress.apply(compress.Pipeline(plan), net())
    assert small.report.after.size.packed_bytes == compress.pack(small.model, tmp_path / "m")
    assert small.report.before.size.packed_bytes is None
    rows = {row.path: row.note for row in small.report.passes[-1].layers}
    assert rows["flat"] == "has no weights" and " bytes for " in rows["logits"]


def test_shared_weights_are_pruned_before_the_training():
    def fit(model, *, epochs, callbacks):
        assert not callbacks
        zeros.append(sum(int((kernel == 0).sum()) for kernel in kernels(model).values()))

    zeros = []
    shared = compress.ShareWeights(bits=2, epochs=0).apply(net()).model
    small, report = compress.Prune(sparsity=0.5).apply(shared, compress.Context(fit))
    assert "in one shot before, because weights share values" in report.note
    left = sum(int((kernel == 0).sum()) for kernel in kernels(small).values())
    assert left == zeros[0] > 0.4 * sum(kernel.size for kernel in kernels(small).values())
