"""What a user's model has besides weights, every pass keeps: ties, frozen layers, penalties."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

import compress
from compress.graph import copy_model, leaf_layers
from compress.layers import Parametrized
from zoo.training.twin import make_twin

RANDOM = np.random.RandomState(0)
X = RANDOM.rand(64, 12).astype("float32")
Y = RANDOM.rand(64, 3).astype("float32")


def trainer(seen=None, data=(X, Y), rate=0.01):
    """A `fit` that notes what it is given."""

    def fit(model, *, epochs, callbacks, rate=1.0):
        model.compile(keras.optimizers.Adam(0.01), "mse")
        model.fit(*data, epochs=epochs, callbacks=callbacks, verbose=0)
        if seen is not None:
            seen.append(model)

    return fit


def context(seen=None, data=(X, Y)):
    return compress.Context(fit=trainer(seen, data), samples=data[0])


# --- ties ---


@keras.saving.register_keras_serializable("kept")
class Mirror(layers.Layer):
    """A decoder whose kernel is the encoder's, transposed."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def build(self, input_shape):
        shape = (self.other.kernel.shape[0],)
        self.bias = self.add_weight(shape=shape, initializer="zeros", name="bias")

    def call(self, inputs):
        return ops.matmul(inputs, ops.transpose(self.other.kernel)) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.other.kernel.shape[0])

    def get_config(self):
        other = keras.saving.serialize_keras_object(self.other)
        return {**super().get_config(), "other": other}

    @classmethod
    def from_config(cls, config):
        other = keras.saving.deserialize_keras_object(config["other"])
        return cls(**{**config, "other": other})


def mirrored():
    x = keras.Input((12,), name="x")
    encoder = layers.Dense(8, activation="relu", name="encoder")
    return keras.Model(x, Mirror(encoder, name="decoder")(encoder(x)))


def embedded():
    """A table of words that is the kernel of the output too."""
    words = keras.Input((5,), dtype="int32", name="words")
    table = layers.ReversibleEmbedding(11, 6, name="table")
    return keras.Model(words, table(layers.Dense(6, name="fc")(table(words)), reverse=True))


def spread():
    """A layer that stands in the graph and within a wrapper."""
    x = keras.Input((4, 12), name="x")
    each = layers.Dense(6, name="each")
    return keras.Model(x, layers.Add()([each(x), layers.TimeDistributed(each, name="timed")(x)]))


def given():
    """A step of `keras.ops` that is given a layer's variable."""
    x = keras.Input((12,), name="x")
    first = layers.Dense(8, use_bias=False, name="first")
    h = layers.Dense(12, name="middle")(first(x))
    return keras.Model(x, ops.matmul(h, first.kernel))


@keras.saving.register_keras_serializable("kept")
class Beside(layers.Layer):
    """Layers of the graph, held in a list."""

    def __init__(self, parts, **kwargs):
        super().__init__(**kwargs)
        self.parts = list(parts)

    def call(self, inputs):
        return sum(part(inputs) for part in self.parts)

    def compute_output_shape(self, input_shape):
        return self.parts[0].compute_output_shape(input_shape)

    def get_config(self):
        parts = [keras.saving.serialize_keras_object(part) for part in self.parts]
        return {**super().get_config(), "parts": parts}

    @classmethod
    def from_config(cls, config):
        parts = [keras.saving.deserialize_keras_object(part) for part in config["parts"]]
        return cls(**{**config, "parts": parts})


def listed():
    """A layer and a nested model that another layer holds in a list."""
    x, inside = keras.Input((12,), name="x"), keras.Input((12,))
    inner = keras.Model(inside, layers.Dense(12, name="deep")(inside), name="inner")
    first = layers.Dense(12, name="first")
    return keras.Model(x, Beside([first, inner], name="beside")(inner(first(x))))


TIED = {
    "listed": (listed, "first", X),
    "mirrored": (mirrored, "encoder", X),
    "embedded": (embedded, "table", RANDOM.randint(0, 11, (8, 5))),
    "spread": (spread, "each", RANDOM.rand(8, 4, 12).astype("float32")),
    "given": (given, "first", X),
}


@pytest.mark.parametrize("name", TIED)
def test_a_copy_keeps_its_ties(name):
    build, path, x = TIED[name]
    model = build()
    for copy in (copy_model(model), make_twin(model, "float32", replicas=1)):
        assert copy.count_params() == model.count_params()
        np.testing.assert_allclose(copy(x), model(x), rtol=1e-5, atol=1e-6)
        ours, theirs = copy.get_layer(path).weights[0], model.get_layer(path).weights[0]
        assert ours is not theirs
        expected = np.asarray(model(x))
        ours.assign(np.asarray(ours) * 0.5)
        np.testing.assert_array_equal(model(x), expected)
        theirs.assign(np.asarray(theirs) * 0.5)
        np.testing.assert_allclose(copy(x), model(x), rtol=1e-5, atol=1e-6)
        theirs.assign(np.asarray(theirs) * 2)


def test_a_tie_that_no_settings_tell_is_refused():
    x = keras.Input((12,), name="x")
    first, second = layers.Dense(12, name="first"), layers.Dense(12, name="second")
    model = keras.Model(x, second(first(x)))
    second._tracker.unlock()
    second._kernel = first._kernel
    second._tracker.lock()
    with pytest.raises(ValueError, match=r"'second' .*shares weights with 'first'"):
        copy_model(model)


def test_tied_kernels_are_pruned_as_one_and_stay_so(tmp_path):
    model = mirrored()
    for rounds in (1, 2):
        step = compress.Prune(sparsity=0.5, epochs=2, rounds=rounds)
        plan = compress.Pipeline([step, compress.Huffman()])
        new = compress.apply(plan, model, fit=trainer(data=(X, X)))
        assert new.report.before.counts.parameters == model.count_params()
        assert new.report.after.counts.parameters == new.model.count_params() == 12 * 8 + 8 + 12
        encoder, decoder = new.model.get_layer("encoder"), new.model.get_layer("decoder")
        assert decoder.other.kernel is encoder.kernel
        assert np.mean(np.asarray(encoder.kernel) == 0) == 0.5
        compress.pack(new.model, tmp_path / "small.packed")
        again = compress.unpack(tmp_path / "small.packed")
        assert again.count_params() == model.count_params()
        np.testing.assert_allclose(again(X), new.model(X), rtol=1e-6)


@pytest.mark.parametrize("updates", ["in place", "loaded", "own"])
def test_tied_kernels_keep_their_zeros_whatever_trains_a_prepared_model(updates, tmp_path, caplog):
    for step in (compress.Prune(sparsity=0.5), compress.Prune(sparsity=0.5, skip=("decoder",))):
        prepared = compress.prepare(step, compress.prepare(step, mirrored()))
        caplog.clear()
        if updates == "loaded":
            prepared.save(tmp_path / "prepared.keras")
            prepared = keras.saving.load_model(tmp_path / "prepared.keras")
        if updates == "own":
            for variable in prepared.trainable_variables:
                variable.assign_sub(np.full(variable.shape, 0.1, "float32"))
        else:
            trainer(data=(X, X))(prepared, epochs=5, callbacks=[])
        small = compress.finish(prepared)
        assert [layer.name for layer in small.layers] == [x.name for x in mirrored().layers]
        encoder, decoder = small.get_layer("encoder"), small.get_layer("decoder")
        assert decoder.other.kernel is encoder.kernel
        assert np.mean(np.asarray(encoder.kernel) == 0) == 0.5
        assert ("'encoder': its zeros" in caplog.text) == (updates != "in place")


@pytest.mark.parametrize(
    "step",
    [compress.Quantize(), compress.LowRank(rank=2), compress.Ternarize(ends=True)],
    ids=lambda step: step.kind,
)
def test_what_would_part_a_tie_is_refused_by_both_names(step):
    with pytest.raises(ValueError, match="'encoder' and 'decoder' share weights") as error:
        step.apply(mirrored(), compress.Context(samples=X))
    assert "\n" not in str(error.value) and "skip: [encoder, decoder]" in str(error.value)
    spared = step.changed(skip=("encoder", "decoder"))
    new = spared.apply(mirrored(), compress.Context(samples=X)).model
    assert new.get_layer("decoder").other.kernel is new.get_layer("encoder").kernel


def test_a_function_that_reads_a_layer_is_refused():
    x = keras.Input((12,), name="x")
    first = layers.Dense(8, name="first")
    back = layers.Lambda(
        lambda h: ops.matmul(h, ops.transpose(first.kernel)), output_shape=(12,), name="back"
    )
    model = keras.Model(x, back(first(x)))
    for run in (copy_model, lambda one: compress.apply(compress.Prune(sparsity=0.5), one)):
        with pytest.raises(ValueError, match=r"'back'.*'kernel' of layer 'first'") as error:
            run(model)
        assert "\n" not in str(error.value)


class Picky(layers.Layer):
    """Reads a kernel that it is not given, after it has looked at what it is given."""

    def __init__(self, reads, accepts, **kwargs):
        super().__init__(**kwargs)
        self.reads, self.accepts = (lambda: reads), accepts

    def call(self, inputs):
        if not isinstance(inputs, keras.KerasTensor):
            self.accepts(inputs)
        return ops.matmul(inputs, ops.transpose(self.reads().kernel))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 12)

    def get_config(self):
        return {**super().get_config(), "reads": self.reads(), "accepts": self.accepts}


def only_ones(x):
    if not (np.asarray(x) == 1).all():  # not to be asked of a graph
        raise ValueError("expected ones")


def only_sums_above_zero(x):
    tf.debugging.assert_greater(tf.reduce_sum(x), 0.0)


def nothing(x):
    raise ValueError("got what nobody wants")


@pytest.mark.parametrize("accepts", [only_ones, only_sums_above_zero])
def test_a_function_that_zeros_do_not_suit_is_asked_otherwise(accepts):
    x = keras.Input((12,), name="x")
    first = layers.Dense(8, name="first")
    model = keras.Model(x, Picky(first, accepts, name="back")(first(x)))
    with pytest.raises(ValueError, match=r"'back'.*'kernel' of layer 'first'"):
        copy_model(model)


def test_a_function_that_cannot_be_asked_is_named_once(caplog):
    x = keras.Input((12,), name="x")
    first = layers.Dense(8, name="first")
    model = keras.Model(x, Picky(first, nothing, name="back")(first(x)))
    for _ in range(2):
        copy_model(model)
    assert caplog.text.count("layer 'back' (Picky) cannot be called on zeros (") == 1
    assert "got what nobody wants" in caplog.text and "`self.other = other`" in caplog.text


def test_channels_of_tied_layers_stay():
    x = keras.Input((12,), name="x")
    encoder = layers.Dense(8, activation="relu", name="encoder")
    h = layers.Dense(16, activation="relu", name="wide")(x)
    h = Mirror(encoder, name="decoder")(encoder(h))
    h = layers.Dense(20, activation="relu", name="free")(h)
    model = keras.Model(x, layers.Dense(3, name="out")(h))
    new = compress.PruneChannels(ratio=0.5).apply(model).model
    assert [new.get_layer(n).units for n in ("wide", "encoder", "free")] == [16, 8, 10]
    assert new.get_layer("decoder").other.kernel is new.get_layer("encoder").kernel


# --- frozen layers ---


def frozen():
    """A frozen layer, a frozen nested model, and a layer of which one weight is frozen."""
    x = keras.Input((12,), name="x")
    inside = keras.Input((8,))
    nested = keras.Model(inside, layers.Dense(8, activation="relu", name="deep")(inside))
    nested.name, nested.trainable = "nested", False
    first, last = layers.Dense(8, activation="relu", name="first"), layers.Dense(3, name="last")
    h = layers.Dense(8, activation="relu", name="half")(nested(first(x)))
    model = keras.Model(x, last(h))
    first.trainable = False
    model.get_layer("half").kernel.trainable = False
    return model


STILL = ("first", "nested/deep", "half")
TRAINED = {
    "prune": compress.Prune(sparsity=0.5, epochs=1),
    "prune rounds": compress.Prune(sparsity=0.5, epochs=1, rounds=2),
    "share_weights": compress.ShareWeights(bits=2, epochs=1),
    "quantize": compress.Quantize(epochs=1, rate=1.0),
    "ternarize": compress.Ternarize(ends=True, epochs=1),
    "binarize": compress.Binarize(ends=True, epochs=1, method="binary_connect"),
    "low_rank": compress.LowRank(rank=1, epochs=1),
    "prune_channels": compress.PruneChannels(ratio=0.5, epochs=1),
    "fold_batch_norm": compress.FoldBatchNorm(epochs=1),
}


def stored(model):
    """The kernels that are used, by path, and whether each learns."""
    found = {}
    for path, layer in leaf_layers(model):
        computed = isinstance(layer, Parametrized)
        kernel = getattr(layer, "within", layer).kernel if layer.weights and computed else None
        kernel = layer.kernel if kernel is None and hasattr(layer, "kernel") else kernel
        if kernel is not None:
            value = layer.kernel() if computed else kernel
            name = path.removesuffix("_inner")
            found[name] = np.asarray(value), layer.learns if computed else kernel.trainable
    return found


@pytest.mark.parametrize("name", TRAINED)
def test_frozen_layers_do_not_learn_and_stay_frozen(name):
    model, step = frozen(), TRAINED[name]
    if name not in ("share_weights", "low_rank", "prune_channels"):  # of shared values too
        model = compress.ShareWeights(bits=3, epochs=0).apply(model).model
    seen = []
    trained = stored(step.apply(model, context(seen)).model)
    assert seen
    # Without training, layers are fitted to examples otherwise, frozen ones too.
    untrained = step.changed(epochs=0, recover="statistics")
    if step.kind == "prune":
        untrained = compress.Prune(sparsity=0.5, epochs=0, recover="statistics")
    alone = stored(untrained.apply(model, compress.Context(samples=X)).model)
    assert trained.keys() == alone.keys()
    for path, (kernel, learns) in trained.items():
        still = path.removesuffix("_u") in STILL
        assert learns != still, path
        same = np.allclose(kernel, alone[path][0], rtol=1e-6, atol=1e-7)
        if still or name != "binarize":  # a sign may well stay
            assert same == still, path


# --- penalties ---


def penalised():
    twos = {"kernel_regularizer": keras.regularizers.L2(0.1), "bias_regularizer": "l1"}
    x = keras.Input((12,), name="x")
    inside = keras.Input((8,))
    deep = layers.Dense(8, activity_regularizer="l2", kernel_regularizer="l1", name="deep")
    nested = keras.Model(inside, deep(inside), name="nested")
    h = layers.Dense(8, activation="tanh", activity_regularizer="l1", name="first", **twos)(x)
    h = layers.Dense(8, activation="relu", name="second", **twos)(nested(h))
    model = keras.Model(x, layers.Dense(3, name="last", **twos)(h))
    random = np.random.RandomState(1)
    for weight in model.weights:
        weight.assign(random.randn(*weight.shape) * 0.3)
    return model


def losses(model):
    model(X, training=True)
    return sorted(float(loss) for loss in model.losses)


@pytest.mark.parametrize("name", [n for n in TRAINED if n not in ("low_rank", "prune_channels")])
def test_penalties_are_those_of_the_model_that_went_in(name):
    """In what `fit` is given: as many as before, and equal at equal weights."""
    seen = []

    def fit(model, *, epochs, callbacks, rate=1.0):
        seen.append(losses(model))

    step = TRAINED[name]
    model = penalised()
    if name.startswith("prune"):
        step = compress.Prune(sparsity=0.5, rounds=2, epochs=1)
    step.apply(model, compress.Context(fit=fit, samples=X))
    expected = losses(model)
    assert len(seen[0]) == len(expected) == 9
    # What is held is what the penalty sees: the input, pruned or shared, has the same.
    if step.kind == "prune":
        once = compress.Prune(sparsity=step.sparsities()[0], epochs=0)
        expected = losses(once.apply(model).model)
    if step.kind == "share_weights":
        expected = losses(step.changed(epochs=0).apply(model).model)
    if name in ("ternarize", "binarize", "quantize"):
        # Penalties on what is stored stay; those on what layers give see other numbers.
        stored_ones = [float(loss) for loss in model._get_regularization_losses()]
        for value in stored_ones:
            assert np.isclose(seen[0], value, rtol=1e-5).any(), value
    else:
        np.testing.assert_allclose(seen[0], expected, rtol=1e-5)


def test_penalties_of_layers_that_take_the_place_of_others():
    x = keras.Input((8, 8, 3), name="x")
    settings = {"kernel_regularizer": "l2", "bias_regularizer": "l1", "activity_regularizer": "l2"}
    h = layers.SeparableConv2D(
        6, 3, depthwise_regularizer="l2", pointwise_regularizer="l1", bias_regularizer="l2",
        activity_regularizer="l1", activation="tanh", name="separable",
    )(x)  # fmt: skip
    h = layers.Conv2D(16, 3, padding="same", activation="silu", name="conv", **settings)(h)
    h = layers.BatchNormalization(activity_regularizer="l1", name="norm")(h)
    h = layers.Flatten()(h)
    model = keras.Model(x, layers.Dense(3, name="last")(h))
    images = RANDOM.rand(4, 8, 8, 3).astype("float32")

    def count(step):
        found = []

        def fit(model, *, epochs, callbacks, rate=1.0):
            model(images, training=True)
            found.append(len(model.losses))

        step.apply(model, compress.Context(fit=fit, samples=images))
        return found[0]

    model(images, training=True)
    assert len(model.losses) == 8
    assert count(compress.Quantize(epochs=1)) == 8
    assert count(compress.Winograd(epochs=1)) == 8
    assert count(compress.FoldBatchNorm(epochs=1)) == 8
    # A penalty on each of the factors.
    assert count(compress.LowRank(rank=2, convolutions="spatial", epochs=1)) == 9


# --- functions ---


def doubled(x):
    return x * FACTOR


FACTOR = 2.0


@keras.saving.register_keras_serializable("kept")
def shifted(x):
    return x + FACTOR


@keras.saving.register_keras_serializable("kept")
class Applied(layers.Layer):
    """Reads its function from data by itself."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, inputs):
        return self.function(inputs)

    def get_config(self):
        function = keras.saving.serialize_keras_object(self.function)
        return {**super().get_config(), "function": function}

    @classmethod
    def from_config(cls, config):
        function = keras.saving.deserialize_keras_object(config.pop("function"))
        return cls(function, **config)


def coded():
    """Functions that no file would give back: they read this module, and what is around them."""
    times, x = 3.0, keras.Input((12,), name="x")
    h = layers.Lambda(lambda t, by: doubled(t) * times + by, arguments={"by": 1.0}, name="code")(x)
    h = Applied(shifted)(h)
    h = layers.Dense(12, activation=doubled, kernel_regularizer=doubled, name="first")(h)
    h = layers.Lambda(ops.abs, name="named")(layers.Reshape((4, 3))(h))
    h = layers.TimeDistributed(layers.Lambda(lambda t: doubled(t) - times), name="each")(h)
    return keras.Model(x, layers.Dense(3, name="last")(layers.Flatten()(h)))


def test_a_copy_keeps_the_functions_themselves():
    model = coded()
    copy = copy_model(model)
    np.testing.assert_array_equal(copy(X), model(X))
    assert copy.get_layer("first").kernel_regularizer is doubled
    prepared = compress.prepare(compress.Prune(sparsity=0.5), model)
    trainer()(prepared, epochs=1, callbacks=[])
    assert np.mean(np.asarray(compress.finish(prepared).get_layer("last").kernel) == 0) == 0.5


def test_a_model_in_memory_with_a_lambda_is_compressed():
    model = keras.Sequential([keras.Input((12,)), layers.Lambda(lambda x: x * 2), layers.Dense(3)])
    new = compress.apply(compress.Prune(sparsity=0.5, epochs=0), model).model
    np.testing.assert_allclose(new(X), (2 * X) @ new.layers[1].kernel.numpy(), rtol=1e-5)
    int8 = compress.apply("int8", model, samples=X)
    assert int8.report.passes[0].agreement[0].sqnr_db > 30
