"""Quantize: the rounded model in Keras against the file of integers that `export` makes of it."""

import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers
from sklearn.datasets import load_digits

import compress
import export
from compress.graph import copy_model, leaf_layers
from compress.layers import Parametrized, Range
from compress.layers.binary import BinaryActivation
from compress.layers.quantized import Floats, RangedSilu
from compress.passes.quantize import grids, integers
from compress.passes.quantize.equalisation import equalised
from export.formats.saved_model.signatures import save
from export.formats.tflite.child import convert
from export.source import prepare
from export.target import About, Source
from export.targets.tflite import TFLiteInt8

TYPES = {value: name for name, value in vars(schema.TensorType).items()}
NAMES = {value: name for name, value in vars(schema.BuiltinOperator).items()}
PRODUCTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"}


def examples(model, count=48):
    random = np.random.RandomState(0)
    return {
        tensor.name: random.randn(count, *tensor.shape[1:]).astype(tensor.dtype)
        if "float" in tensor.dtype
        else random.randint(0, 9, (count, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in model.inputs
    }


def filled(model):
    """The model with weights as of a training: He's, and statistics that matter."""
    random = np.random.RandomState(1)
    for weight in model.weights:
        if "variance" in weight.path or "gamma" in weight.path:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif "float" in weight.dtype:
            fan = np.prod(weight.shape[:-1]) if len(weight.shape) > 1 else 100
            weight.assign(random.randn(*weight.shape) / np.sqrt(fan))
    return model


def answers(model, samples):
    return np.concatenate(
        [np.ravel(np.asarray(x)) for x in keras.tree.flatten(predict(model, samples))]
    )


def predict(model, samples):
    values = [samples[tensor.name] for tensor in model.inputs]
    single = isinstance(model, keras.Sequential)
    return model(values[0] if single else keras.tree.pack_sequence_as(model.input, values))


def sequential(shape, *chain):
    return filled(keras.Sequential([keras.Input(shape, name="x"), *chain]))


@pytest.fixture
def in_lsb(tmp_path):
    """Quantises, converts in this process, and compares: the difference in steps of the output."""

    def run(model, **settings):
        samples = examples(model)
        new, report = compress.Quantize(**settings).apply(model, compress.Context(samples=samples))
        net, signature = prepare(new)
        source = Source(net=net, signature=signature, about=About(), calibration={})
        save(source, tmp_path / "saved_model", batch=1)
        path = tmp_path / "model.tflite"
        path.write_bytes(convert(tmp_path, precision="int8"))
        found = TFLiteInt8().open(path).run(samples)
        expected = net([samples[tensor.name] for tensor in model.inputs], training=False)
        ranges = [layer for _, layer in leaf_layers(new) if isinstance(layer, Range)]
        steps = {layer.name: layer.step() for layer in ranges}
        apart = [
            np.abs(found[name] - np.asarray(expected[name])) / steps.get(name, ranges[-1].step())
            for name in found
        ]
        return apart, tensors(path), {row.path: row.note for row in report.layers}

    return run


def tensors(path):
    """The operators of a file: (name, types of the inputs, type of the output)."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(Path(path).read_bytes()))
    found = []
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            name = NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
            inputs = [TYPES[graph.tensors[i].type] for i in operator.inputs if i >= 0]
            found.append((name, inputs, TYPES[graph.tensors[operator.outputs[0]].type]))
    return found


def in_float(operators):
    return {name for name, _, kind in operators if kind == "FLOAT32"} - {"DEQUANTIZE"}


# --- layers ---


def joined():
    """A residual block, a squeeze, and concatenations of branches with one and several readers."""
    a, b = keras.Input((8, 8, 3), name="a"), keras.Input((8, 8, 3), name="b")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="stem")(a)
    x = layers.ReLU(6.0, name="relu6")(layers.BatchNormalization(name="norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.Activation("relu", name="relu")(layers.BatchNormalization(name="norm2")(y))
    x = layers.Add(name="add")([x, y])
    s = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    s = layers.Conv2D(6, 1, activation="sigmoid", name="gate")(s)
    x = layers.Multiply(name="multiply")([x, s])
    z = layers.Conv2D(4, 3, padding="same", name="twice")(b)
    once = layers.Conv2D(4, 3, padding="same", activation="relu", name="once")(z)
    x = layers.Concatenate(name="concat")([x, z, once])
    y = layers.MaxPooling2D(name="pool")(layers.SeparableConv2D(6, 3, name="separable")(x))
    y = layers.Dense(5, activation="softmax", name="p")(layers.Flatten(name="flat")(y))
    q = layers.Dense(4, name="q")(layers.GlobalMaxPooling2D(name="most")(x))
    return filled(keras.Model([a, b], {"p": y, "q": q}))


def maps():
    return sequential(
        (6, 6, 3),
        layers.ZeroPadding2D(1),
        layers.Conv2D(4, 3, name="conv"),
        layers.UpSampling2D(2),
        layers.Cropping2D(1),
        layers.Permute((2, 1, 3)),
        layers.Dropout(0.5),
        layers.Conv2DTranspose(4, 3, strides=2, activation="relu", name="transpose"),
        layers.BatchNormalization(name="alone"),
        layers.Reshape((-1, 4)),
        layers.Dense(3, name="each"),
        layers.Flatten(),
        layers.Dense(5, name="logits"),
    )


def lines():
    return sequential(
        (12, 3),
        layers.Conv1D(8, 3, activation="relu", name="conv"),
        layers.DepthwiseConv1D(3, name="depthwise"),
        layers.SeparableConv1D(5, 3, name="separable"),
        layers.MaxPooling1D(),
        layers.Conv1DTranspose(4, 2, name="transpose"),
        layers.Conv1D(4, 2, padding="causal", name="causal"),
    )


ACTIVATIONS = ("relu6", "leaky_relu", "sigmoid", "tanh", "silu", "gelu", "hard_silu")


def activations():
    dense = [layers.Dense(10, activation=name, name=name) for name in ACTIVATIONS]
    return sequential((6,), *dense, layers.Dense(5, name="logits"))


@pytest.mark.parametrize("build", [joined, maps, lines, activations])
def test_file_of_integers_computes_what_the_model_does(in_lsb, build):
    apart, operators, notes = in_lsb(build())
    assert all(x.mean() < 0.2 and x.max() <= 2 for x in apart)
    assert in_float(operators) <= ({"HARD_SWISH", "MUL"} if build is activations else set())
    for name, inputs, kind in operators:
        if name in PRODUCTS:
            assert kind == "INT8" and set(inputs) <= {"INT8", "INT32"}, name
    assert not any("floats" in note for note in notes.values())


@keras.saving.register_keras_serializable(package="test")
class Centre(layers.Layer):
    """A layer of the user's own, whose mean a converter would round."""

    def call(self, inputs):
        return inputs - keras.ops.mean(inputs, axis=-1, keepdims=True)


FLOAT = {
    "norm": lambda: sequential(
        (6, 6, 3),
        layers.Rescaling(0.5, offset=0.1, name="rescale"),
        layers.Conv2D(4, 3, name="conv"),
        layers.LayerNormalization(name="float"),
        layers.Conv2D(4, 1, activation="relu", name="last"),
    ),
    "custom": lambda: sequential(
        (6,), layers.Dense(8, name="fc"), Centre(name="float"), layers.Dense(4, name="last")
    ),
    "lstm": lambda: sequential(
        (5, 4), layers.Dense(6, name="fc"), layers.LSTM(6, name="float"), layers.Dense(4, name="o")
    ),
    "conv3d": lambda: sequential(
        (5, 5, 5, 2),
        layers.Conv3D(4, 3, activation="relu", name="float"),
        layers.Flatten(),
        layers.Dense(4, name="logits"),
    ),
}


@pytest.mark.parametrize("name", FLOAT)
def test_what_stays_in_floats_is_named_and_exact(in_lsb, name):
    apart, operators, notes = in_lsb(FLOAT[name]())
    assert "floats" in notes["float"], notes
    assert in_float(operators)
    assert apart[0].mean() < 0.01 and apart[0].max() <= 1


def test_what_a_quotient_a_power_and_a_root_read_is_not_rounded_to_zero(in_lsb):
    """Shares of sharpened numbers, as a memory is addressed by: in steps they are 0 over 0."""
    x = keras.Input((6,), name="x")
    positive = keras.ops.relu(x)
    sharp = keras.ops.power(positive + 0.01, 6.0)
    length = keras.ops.sqrt(keras.ops.sum(positive, axis=1, keepdims=True) + 2.0)
    shares = sharp / keras.ops.sum(sharp, axis=1, keepdims=True)
    both = keras.ops.concatenate([shares, positive / length, positive / 2.0], axis=1)
    model = filled(keras.Model(x, layers.Dense(3, name="out")(both), name="net"))
    (apart,), operators, _ = in_lsb(model)
    assert np.isfinite(apart).all() and apart.max() <= 3
    assert {"POW", "DIV"} <= in_float(operators)
    assert "FULLY_CONNECTED" not in in_float(operators)


def test_whole_numbers_as_inputs(in_lsb):
    words = keras.Input((6,), dtype="int32", name="words")
    x = layers.Embedding(11, 8, name="embedding")(words)
    x = layers.Flatten(name="flat")(layers.Dense(6, activation="relu", name="fc")(x))
    apart, operators, notes = in_lsb(filled(keras.Model(words, layers.Dense(5, name="logits")(x))))
    assert apart[0].max() <= 1 and not in_float(operators)
    assert notes["embedding"].startswith("stays in floats")


def test_average_pooling_rounds_as_the_file_does_but_for_ties(in_lsb):
    model = sequential((8, 8, 3), layers.Conv2D(4, 3, name="conv"), layers.AveragePooling2D(2))
    (apart,), operators, _ = in_lsb(model)
    assert not in_float(operators)
    # Of four integers a quarter of the means is a tie; half of those the file rounds the other way.
    assert apart.mean() < 0.25 and apart.max() <= 1 + 1e-3


# --- bits ---


def test_four_bits_are_four_bits_in_the_file(in_lsb):
    model = sequential(
        (8, 8, 3),
        layers.Conv2D(8, 3, activation="relu", name="conv"),
        layers.DepthwiseConv2D(3, name="depthwise"),
        layers.Conv2DTranspose(4, 2, name="transpose"),
        layers.Flatten(),
        layers.Dense(5, name="logits"),
    )
    (apart,), operators, notes = in_lsb(model, bits=4)
    kinds = {name: inputs[1] for name, inputs, _ in operators if name in PRODUCTS}
    assert kinds["CONV_2D"] == kinds["DEPTHWISE_CONV_2D"] == kinds["FULLY_CONNECTED"] == "INT4"
    assert kinds["TRANSPOSE_CONV"] == "INT8" and "of 8 bits" in notes["transpose"]
    # LiteRT's convolutions of 4 bits round twice: their sums are small, so 7 % of the integers
    # are one off behind each, and the dense layer adds up 64 of them.
    assert apart.mean() < 1 and apart.max() <= 4


def test_sixteen_bits_between_kernels(in_lsb):
    apart, operators, notes = in_lsb(joined(), activation_bits=16)
    assert all(x.mean() < 0.6 and x.max() <= 4 for x in apart)
    for name, inputs, kind in operators:
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            assert kind == "INT16" and inputs == ["INT16", "INT8", "INT64"]
    for path in ("gate", "concat", "p"):
        assert notes[path].startswith("computes in floats")
    apart, _, _ = in_lsb(activations(), activation_bits=16)
    assert apart[0].mean() < 0.6


def test_mean_bits_keeps_eight_for_what_moves_the_outputs_most():
    model = joined()
    samples = examples(model)
    new, _ = compress.Quantize(mean_bits=6).apply(model, compress.Context(samples=samples))
    found = {x.name: x for _, x in leaf_layers(new) if isinstance(x, Parametrized)}
    sizes = {name: int(np.prod(x.kernel().shape)) for name, x in found.items()}
    bits = {name: x.chain[-1].bits for name, x in found.items()}
    assert set(bits.values()) == {4, 8}
    assert sum(bits[name] * sizes[name] for name in bits) <= 6 * sum(sizes.values())
    moved = integers.errors(grids.made_ready(model), list(samples.values()), 4)
    rate = {name.removesuffix("_inner"): bits[name] for name in bits}
    order = sorted(
        moved, key=lambda path: moved[path] / sizes.get(path, sizes.get(f"{path}_inner"))
    )
    assert [rate[path] for path in order] == sorted(rate.values())
    for setting, value in {"bits": 3, "mean_bits": 9, "activation_bits": 4}.items():
        with pytest.raises(ValueError, match=f"Quantize.{setting}: got {value}"):
            compress.Quantize(**{setting: value})


# --- export ---


def test_a_model_with_ranges_exports_its_own(tmp_path):
    """Values far beyond the calibration show whose ranges a file has."""
    model = sequential(
        (6,), layers.Dense(8, activation="relu", name="a"), layers.Dense(5, name="b")
    )
    samples = examples(model)
    quantize = compress.Quantize(skip=("a",))
    new = quantize.apply(model, compress.Context(samples=samples)).model
    wide = {"x": 10 * samples["x"]}
    made = export.export(new, TFLiteInt8(io="int8"), tmp_path / "int8", samples=wide)
    found = TFLiteInt8().open(made.path / "model.tflite").run(wide)
    expected = np.asarray(new(wide["x"]))
    assert np.abs(expected).max() < np.abs(np.asarray(model(wide["x"]))).max() / 3  # clipped
    step = new.get_layer("b").step()
    assert np.abs(next(iter(found.values())) - expected).max() <= 1.001 * step
    assert made.manifest.signature.inputs[0].dtype == "int8"
    with pytest.raises(RuntimeError, match="has integer ranges; export it as tflite-int8"):
        export.export(new, "tflite", tmp_path / "float", samples=samples)


# --- equalisation, biases, settling ---


def test_equalisation_is_exact_and_the_closed_form():
    random = np.random.RandomState(3)
    chain = [layers.Dense(5, activation="relu", name="a"), layers.Dense(4, name="b")]
    model = sequential((6,), *chain)
    for layer in chain:
        layer.kernel.assign(layer.kernel * np.exp(random.randn(*layer.kernel.shape)))
    old1, old2 = (layer.kernel.numpy() for layer in chain)
    new, pairs = equalised(model)
    assert pairs == [("a", "b")]
    x = random.randn(40, 6).astype("float32")
    np.testing.assert_allclose(new(x), model(x), rtol=1e-5, atol=1e-5)
    r1, r2 = np.abs(old1).max(0), np.abs(old2).max(1)
    scale = np.sqrt(r1 * r2) / r2
    np.testing.assert_allclose(new.get_layer("a").kernel, old1 / scale, rtol=1e-5)
    np.testing.assert_allclose(new.get_layer("b").kernel, old2 * scale[:, None], rtol=1e-5)
    np.testing.assert_array_equal(model.get_layer("a").kernel, old1)


def test_biases_take_the_mean_error_of_rounding():
    model = sequential((16,), layers.Dense(12, name="a"))
    x = np.abs(examples(model)["x"]) + 1  # a mean, so that rounding shifts the outputs
    wanted = np.asarray(model(x))
    error = {}
    for correct in (False, True):
        ready = integers.assemble(model, {"a": 4}, activation_bits=16)
        integers.calibrate(ready, [x], method="minmax")
        if correct:
            integers.correct_biases(ready, [x])
        error[correct] = np.abs((np.asarray(ready(x)) - wanted).mean(0)).max()
    assert error[True] < 0.01 * error[False]


def test_settling_twice_is_settling_once():
    model = joined()
    samples = examples(model)
    new = compress.Quantize(bits=4).apply(model, compress.Context(samples=samples)).model
    again = integers.settle(new)
    for a, b in zip(new.weights, again.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


# --- training ---

DIGITS = load_digits()
IMAGES, LABELS = (DIGITS.images[..., None] / 16).astype("float32"), DIGITS.target


def fit(model, *, epochs, callbacks=(), rate=1.0):
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3 * rate), loss)
    model.fit(IMAGES[:1300], LABELS[:1300], batch_size=50, epochs=epochs,
              callbacks=list(callbacks), verbose=0)  # fmt: skip


def fit_a_copy(model, **settings):
    twin = copy_model(model)
    fit(twin, **settings)
    model.set_weights(twin.get_weights())


def evaluate(model):
    found = np.argmax(model.predict(IMAGES[1300:], verbose=0), axis=-1)
    return {"top1": float(np.mean(found == LABELS[1300:]))}


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(1)
    chain = [
        layers.Conv2D(12, 3, padding="same", use_bias=False, name="conv1"),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(name="relu"),
        layers.Conv2D(16, 3, strides=2, activation="relu", name="conv2"),
        layers.Flatten(name="flat"),
        layers.Dense(10, name="logits"),
    ]
    model = keras.Sequential([keras.Input((8, 8, 1), name="image"), *chain], name="digits")
    fit(model, epochs=8)
    return model


@pytest.mark.parametrize("trainer", [fit, fit_a_copy])
def test_pruned_shared_and_rounded_weights_survive_training(trained, trainer, tmp_path):
    context = compress.Context(fit=trainer, evaluate=evaluate, samples=IMAGES[:200])
    small = compress.Prune(sparsity=0.7, epochs=2).apply(trained, context).model
    small = compress.ShareWeights(bits=4, epochs=1).apply(small, context).model
    new, report = compress.Quantize(epochs=2).apply(small, context)
    assert "calibrated" in report.note and "trained" in report.note
    kernels = {p: x.kernel().numpy() for p, x in leaf_layers(new) if isinstance(x, Parametrized)}
    assert len(kernels) == 3
    for path, kernel in kernels.items():
        assert np.mean(kernel == 0) >= 0.69, path
    logits = kernels["logits_inner"]
    assert np.unique(logits).size <= 17
    assert evaluate(new)["top1"] > evaluate(trained)["top1"] - 0.03
    assert not integers.learning(new)
    new.save(tmp_path / "new.keras")
    loaded = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(loaded(IMAGES[:50]), new(IMAGES[:50]))


def test_the_better_of_training_and_calibration_is_kept(trained):
    def wreck(model, *, epochs, callbacks, rate=1.0):
        for weight in model.trainable_weights:
            weight.assign(np.random.RandomState(0).randn(*weight.shape))

    context = compress.Context(fit=wreck, evaluate=evaluate, samples=IMAGES[:200])
    new, report = compress.Quantize().apply(trained, context)
    alone = compress.Quantize(epochs=0).apply(trained, context).model
    assert "did worse and is dropped" in report.note
    assert evaluate(new) == evaluate(alone)
    helped, report = compress.Quantize(bits=4).apply(
        trained, compress.Context(fit=fit, evaluate=evaluate, samples=IMAGES[:200])
    )
    calibrated = compress.Quantize(bits=4, epochs=0).apply(trained, context).model
    assert evaluate(helped)["top1"] >= evaluate(calibrated)["top1"]


def test_ranges_stop_where_they_should(trained):
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            ranges = [x for _, x in leaf_layers(self.model) if isinstance(x, Range)]
            seen.append([float(layer.hi.numpy()) for layer in ranges])

    def spied(model, *, epochs, callbacks, rate=1.0):
        fit_a_copy(model, epochs=epochs, callbacks=[*callbacks, Spy()], rate=rate)

    context = compress.Context(fit=spied, samples=IMAGES[:200])
    compress.Quantize(epochs=2, freeze=0.25).apply(trained, context)
    assert len(seen) == 52 and seen[0] != seen[12]
    assert all(ends == seen[12] for ends in seen[12:])  # 13 steps of 52


def test_the_file_has_the_models_answers_on_digits(trained, tmp_path):
    context = compress.Context(samples=IMAGES[:300])
    new = compress.Quantize(equalize=True, bias_correction=True).apply(trained, context).model
    made = export.export(new, "tflite-int8", tmp_path / "digits", samples=IMAGES[:64])
    (found,) = TFLiteInt8().open(made.path / "model.tflite").run({"image": IMAGES[1300:]}).values()
    expected = np.asarray(new(IMAGES[1300:]))
    assert np.mean(found.argmax(1) == expected.argmax(1)) >= 0.995
    assert np.abs(found - expected).mean() < 0.01 * new.get_layer("logits").step()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    chain = [layers.Conv2D(4, 3, activation="relu", dtype=policy), layers.Flatten(),
             layers.Dense(5, dtype=policy, name="logits")]  # fmt: skip
    model = sequential((6, 6, 2), *chain)
    samples = examples(model)
    new = compress.Quantize().apply(model, compress.Context(samples=samples)).model
    expected = np.asarray(model(samples["x"]), "float32")
    error = np.abs(np.asarray(new(samples["x"]), "float32") - expected)
    assert error.max() < 0.05 * np.abs(expected).max()


def test_values_that_overflow_are_refused():
    model = sequential((6,), layers.Dense(8, name="a"), layers.Dense(5, name="b"))
    model.get_layer("a").kernel.assign(np.full((6, 8), 3e38))
    with pytest.raises(ValueError, match=r"'a_range'.*not finite"):
        compress.Quantize().apply(model, compress.Context(samples=examples(model)["x"]))


def test_an_operation_as_an_output_keeps_its_name(tmp_path):
    x = keras.Input((4,), name="x")
    model = keras.Model(x, layers.Dense(3, name="fc")(x) * 0.5)
    samples = np.random.RandomState(0).randn(8, 4).astype("float32")
    new = compress.Quantize().apply(model, compress.Context(samples=samples)).model
    assert new.output_names == model.output_names
    np.testing.assert_allclose(new(samples), model(samples), atol=0.05)
    new.save(tmp_path / "new.keras")
    again = keras.saving.load_model(tmp_path / "new.keras")
    np.testing.assert_array_equal(again(samples), new(samples))


def _masked(name: str) -> keras.Model:
    """A small reader of texts, padded with 0, whose mask a layer of some kind needs."""
    tokens = keras.Input((8,), dtype="int32")
    x = keras.layers.Embedding(20, 8, mask_zero=True)(tokens)
    if name == "MultiHeadAttention":
        x = keras.layers.MultiHeadAttention(2, 4)(x, x)
    elif name == "GroupQueryAttention":
        x = keras.layers.GroupQueryAttention(4, 2, 1)(x, x)
    elif name in ("Attention", "AdditiveAttention"):
        x = getattr(keras.layers, name)()([x, x])
    elif name == "LSTM":
        x = keras.layers.LSTM(8)(keras.layers.Dense(8, "relu")(x))
    else:
        x = keras.layers.Dense(8, "silu")(x)
    if len(x.shape) == 3:
        x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(tokens, keras.layers.Dense(3)(x))


@pytest.mark.parametrize(
    "name",
    [
        "MultiHeadAttention",
        "GroupQueryAttention",
        "Attention",
        "AdditiveAttention",
        "LSTM",
        "Dense",
    ],
)
def test_a_mask_reaches_what_stands_behind_a_range(name: str) -> None:
    keras.utils.set_random_seed(0)
    model = _masked(name)
    rng = np.random.default_rng(0)
    samples = rng.integers(1, 20, (64, 8)).astype("int32")
    samples[:, 2:] *= rng.integers(0, 2, (64, 1))  # half of the texts are short
    with warnings.catch_warnings():
        # Keras' own attention of grouped queries says the same of a layer within it.
        warnings.filterwarnings("error", message="(?s).*type (Range|Floats|Param)")
        quantised = compress.apply("int8", model, samples=samples).model
    want, got = (keras.ops.convert_to_numpy(m(samples)) for m in (model, quantised))
    assert np.square(want - got).sum() < 1e-2 * np.square(want - want.mean(0)).sum()


def test_layers_in_place_of_others_keep_masks() -> None:
    for layer in (Range(), RangedSilu(), Floats(), BinaryActivation()):
        assert layer.supports_masking, type(layer).__name__
    wrapped = Parametrized(layers.Embedding(20, 8, mask_zero=True), [])
    assert wrapped.supports_masking
    assert keras.ops.convert_to_numpy(wrapped.compute_mask(np.array([[1, 0]]))).tolist() == [
        [True, False]
    ]
