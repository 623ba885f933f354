"""Every layer of the zoo through one battery; then what is special about each."""

import itertools
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import export
from zoo import layers as zoo_layers
from zoo.layers import (
    BedOfNails2D,
    CeilMaxPooling2D,
    Chains,
    ChannelLPPooling,
    Detections,
    DropConnect,
    FractionalMaxPooling2D,
    GatedActivation,
    LineLSTM,
    LocallyConnected1D,
    LocallyConnected2D,
    LocalResponseNormalization,
    LPPooling2D,
    MaskOfClass,
    Maxout,
    MaxPoolingWithIndices2D,
    MaxUnpooling2D,
    MultiLSTM,
    NonMaxSuppression,
    PeepholeLSTM,
    ProbabilisticMaxPooling2D,
    Proposals,
    RBFOutput,
    ROIAlign,
    ROIPooling,
    ScaledTanh,
    SoftArgmax,
    Subsampling2D,
    SubtractiveNormalization2D,
    TableConv2D,
    VisibleMaps,
    VisibleUnits,
    Windows,
)
from zoo.layers.fractional_pooling import largest_offset, pseudo_random_bounds
from zoo.layers.rbf import digit_codes

# One row: a layer, its settings, and the shape of an input without the batch.
MAP = (7, 6, 4)
CASES = {
    "lrn": (LocalResponseNormalization, {"alpha": 0.1}, MAP),
    "maxout": (Maxout, {"pieces": 2}, MAP),
    "maxout_dense": (Maxout, {"pieces": 5}, (15,)),
    "local2d": (LocallyConnected2D, {"filters": 3, "kernel_size": (3, 2), "strides": (2, 1)}, MAP),
    "local2d_same": (
        LocallyConnected2D,
        {"filters": 1, "kernel_size": 4, "padding": "same", "activation": "tanh"},
        MAP,
    ),
    "local1d": (LocallyConnected1D, {"filters": 2, "kernel_size": 3, "strides": 2}, (8, 3)),
    "local1d_same": (
        LocallyConnected1D,
        {"filters": 2, "kernel_size": 4, "padding": "same", "use_bias": False},
        (8, 3),
    ),
    "peephole_lstm": (PeepholeLSTM, {"units": 3, "return_sequences": True}, (5, 4)),
    "lp_sum": (LPPooling2D, {"pool_size": 2, "p": 2}, MAP),
    "lp_gaussian": (
        LPPooling2D,
        {"pool_size": (3, 2), "p": 4, "strides": 1, "padding": "same", "weighting": "gaussian"},
        MAP,
    ),
    "lp_mean": (LPPooling2D, {"pool_size": 3, "p": 2.5, "strides": 2, "weighting": "mean"}, MAP),
    "lp_channels": (ChannelLPPooling, {"pool_size": 2, "p": 3}, MAP),
    "fractional": (FractionalMaxPooling2D, {"seed": 1}, (9, 10, 2)),
    "fractional_random": (
        FractionalMaxPooling2D,
        {"ratio": (1.3, 2.4), "pseudo_random": False, "overlapping": False, "seed": 2},
        (9, 10, 2),
    ),
    "indices": (MaxPoolingWithIndices2D, {"pool_size": 2}, MAP),
    "indices_same": (
        MaxPoolingWithIndices2D,
        {"pool_size": 3, "strides": 2, "padding": "same"},
        MAP,
    ),
    "nails": (BedOfNails2D, {"size": (2, 3)}, MAP),
    "drop_connect": (DropConnect, {"units": 4, "activation": "tanh", "seed": 3}, (9,)),
    "drop_connect_shared": (
        DropConnect,
        {"units": 4, "rate": 0.3, "per_example": False, "use_bias": False, "seed": 4},
        (9,),
    ),
    "drop_connect_normal": (
        DropConnect,
        {"units": 4, "activation": "relu", "samples": 5, "seed": 5},
        (9,),
    ),
    "scaled_tanh": (ScaledTanh, {}, MAP),
    "subsampling": (Subsampling2D, {"pool_size": (2, 3)}, MAP),
    "subtractive": (SubtractiveNormalization2D, {"size": (3, 5)}, MAP),
    "table": (TableConv2D, {"table": ((0, 2), (1,), (3, 2, 0)), "kernel_size": (3, 2)}, MAP),
    "rbf": (RBFOutput, {"units": 6, "rubbish": 3.0}, (9,)),
    "rbf_digits": (RBFOutput, {"units": 10, "codes": "digits"}, (84,)),
    "gated": (GatedActivation, {}, MAP),
    "lines": (LineLSTM, {"features": 1}, MAP),
    "diagonals": (LineLSTM, {"features": 1, "along": "diagonal", "reverse": True}, MAP),
    "corner": (MultiLSTM, {"features": 1, "upwards": True, "leftwards": True}, (7, 6, 5)),
    "ceil": (CeilMaxPooling2D, {"pool_size": 3, "strides": 2}, (8, 5, 2)),
    "visible_units": (VisibleUnits, {"units": 5}, (9,)),
    "visible_maps": (VisibleMaps, {"channels": 2, "size": 3}, MAP),
    "pools": (ProbabilisticMaxPooling2D, {"pool_size": 2}, (6, 4, 3)),
    "chains": (Chains, {"units": 5}, (9,)),
}
RANDOM = {"fractional", "fractional_random"} | {name for name in CASES if "drop_connect" in name}


@pytest.fixture(params=CASES)
def case(request):
    return request.param


def make(case, dtype=None, **others):
    kind, settings, _ = CASES[case]
    return kind(**{**settings, **others}, dtype=dtype)


def sample(case, batch=2, dtype="float32", seed=0):
    shape = (batch, *CASES[case][2])
    return np.random.RandomState(seed).normal(size=shape).astype(dtype)


def fill(layer):
    """Random weights: a fresh bias is zero, and zero hides mistakes."""
    for index, weight in enumerate(layer.weights):
        if "seed" not in weight.path:
            weight.assign(np.random.RandomState(index).normal(scale=0.5, size=weight.shape))


def reset(layer):
    """Puts the stream of random numbers back to its start."""
    if hasattr(layer, "seed_generator"):
        layer.seed_generator.state.assign(
            keras.random.SeedGenerator(layer.seed_generator._initial_seed).state
        )


def test_every_layer_has_a_case():
    tested = {kind.__name__ for kind, _, _ in CASES.values()}
    two_inputs = {"MaxUnpooling2D"}  # see below
    # test_ensemble, test_suppression, test_stochastic_depth
    own_file = {"LogMeanProbability", "NonMaxSuppression", "StochasticDepth"}
    own_file |= {"Detections", "MaskOfClass", "Proposals", "ROIAlign", "ROIPooling"}  # test_detect
    own_file |= {"SoftArgmax", "Windows"}  # test_pose
    own_file |= {"PixelRegions", "ProductNodes", "SumNodes"}  # test_spn
    own_file |= {"TiedDense"}  # test_autoencoder
    own_file |= {"LineLSTMCell", "MultiLSTMCell", "PeepholeLSTMCell"}  # parts of layers
    assert tested | two_inputs | own_file == {*zoo_layers.__all__} - {"register"}


def test_shapes(case):
    layer, (_, _, shape) = make(case), CASES[case]
    for batch in (1, 3):
        out = layer(sample(case, batch))
        expected = layer.compute_output_shape((batch, *shape))
        for tensor, size in zip(flat(out), shapes(expected), strict=True):
            assert tensor.shape == size
    image = keras.Input(shape)
    symbolic = make(case)(image)
    for tensor, size, real in zip(
        flat(symbolic), shapes(layer.compute_output_shape((None, *shape))), flat(out), strict=True
    ):
        assert tensor.shape == size and tensor.dtype == real.dtype.name


def flat(outputs):
    return outputs if isinstance(outputs, list) else [outputs]


def shapes(shape):
    return shape if isinstance(shape, list) else [shape]


@pytest.mark.parametrize("training", [False, True])
def test_gradients_are_the_finite_differences(case, training):
    """In float64, of inputs and weights, at up to 30 places each."""
    if training and case not in RANDOM:
        pytest.skip("the same in training")
    layer, x = make(case, dtype="float64"), tf.Variable(sample(case, dtype="float64"))
    layer(x)
    fill(layer)
    out = flat(layer(x, training=training) if case in RANDOM else layer(x))[0]
    direction = np.random.RandomState(9).normal(size=out.shape)

    def value():
        reset(layer)
        y = layer(x, training=training) if case in RANDOM else layer(x)
        return tf.reduce_sum(flat(y)[0] * direction)

    variables = [x, *(weight.value for weight in layer.trainable_weights)]
    with tf.GradientTape() as tape:
        loss = value()
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        start, gradient = variable.numpy(), np.array(gradient)
        assert np.abs(gradient).max() > 0
        places = np.random.RandomState(3).permutation(start.size)[:30]
        for place in places:
            step = np.zeros(start.size)
            step[place] = 1e-5
            step = step.reshape(start.shape)
            ends = []
            for sign in (1, -1):
                variable.assign(start + sign * step)
                ends.append(float(value()))
            variable.assign(start)
            np.testing.assert_allclose(
                (ends[0] - ends[1]) / 2e-5, gradient.ravel()[place], rtol=1e-5, atol=1e-7
            )


def test_config_round_trip(case):
    layer, x = make(case), sample(case)
    y = layer(x)
    fill(layer)
    y = layer(x)
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert again.get_config() == layer.get_config()
    again(x)
    again.set_weights(layer.get_weights())
    for mine, theirs in zip(flat(y), flat(again(x)), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_saved_and_cloned(case, tmp_path):
    image = keras.Input(CASES[case][2])
    net = keras.Model(image, make(case)(image))
    fill(net.layers[1])
    net.save(tmp_path / "net.keras")
    clone = keras.models.clone_model(net)
    clone.set_weights(net.get_weights())
    x = sample(case)
    for again in (keras.saving.load_model(tmp_path / "net.keras"), clone):
        for mine, theirs in zip(flat(net(x)), flat(again(x)), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(case, policy):
    """Near float32, and finite also where the values are large, in value and gradient."""
    exact, rough, x = make(case), make(case, dtype=policy), sample(case)
    exact(x), rough(x)
    fill(exact)
    rough.set_weights(exact.get_weights())
    for mine, theirs in zip(flat(rough(x)), flat(exact(x)), strict=True):
        if mine.dtype != tf.int32:
            assert mine.dtype == rough.compute_dtype
            scale = np.abs(theirs).max()
            assert np.abs(ops.cast(mine, "float32") - theirs).max() < 0.03 * scale
    for factor in (0.0, 100.0):
        big = tf.Variable(factor * x)
        with tf.GradientTape() as tape:
            y = flat(rough(big))[0]
        if case.startswith("rbf"):
            continue  # a squared distance of 84 * 100**2 leaves float16: the logits are float32
        assert np.isfinite(ops.cast(y, "float32")).all()
        for gradient in tape.gradient(y, [big, *(w.value for w in rough.trainable_weights)]):
            assert np.isfinite(ops.cast(gradient, "float32")).all()


GRID = {"rows": 3, "columns": 3, "stride": 8, "sizes": (12.0,), "ratios": (1.0,)}
PLACES = {  # a layer of places, its settings, and the shapes of its inputs without the batch
    "non_max": (NonMaxSuppression, {"max_outputs": 5}, [(9, 4), (9, 3)]),
    "proposals": (Proposals, {"grids": [GRID], "side": (24, 24), "num": 4}, [(9,), (9, 4)]),
    "detections": (Detections, {"side": (24, 24), "num": 5}, [(9, 4), (9, 4), (9, 4)]),
    "align": (ROIAlign, {"bins": 3, "strides": (8,)}, [(3, 3, 2), (9, 4)]),
    "align_large": (ROIAlign, {"bins": 3, "strides": (8,)}, [(52, 52, 2), (9, 4)]),
    "pooling": (ROIPooling, {"bins": 3, "strides": (8,)}, [(3, 3, 2), (9, 4)]),
    "masks": (MaskOfClass, {"background": True}, [(4, 4, 5), (1,)]),
    "soft_argmax": (SoftArgmax, {}, [(5, 5, 3)]),
    "windows": (Windows, {"side": (1000, 1000), "share": 0.25}, [(3, 2)]),
}


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
@pytest.mark.parametrize("name", PLACES)
def test_places_are_exact_under_every_policy(name, policy):
    kind, settings, sizes = PLACES[name]
    random = np.random.RandomState(1)
    inputs = [np.abs(random.normal(size=(2, *size))) for size in sizes]
    if sizes[-1] == (9, 4):  # regions
        start = random.randint(0, 16, (2, 9, 2))
        inputs[-1] = np.concatenate([start, start + random.randint(3, 9, (2, 9, 2))], -1)
    if name == "non_max":
        corner = inputs[0][..., :2]
        inputs[0] = np.concatenate([corner, corner + inputs[0][..., 2:]], axis=-1)
    inputs = [ops.convert_to_tensor(x.astype(np.float16), "float32") for x in inputs]
    expected = flat(kind(**settings)(inputs if len(inputs) > 1 else inputs[0]))
    before, floatx = keras.config.dtype_policy(), keras.config.floatx()
    try:
        keras.config.set_dtype_policy(policy)
        keras.config.set_floatx("float16" if policy == "float16" else "float32")
        layer = kind(**settings)
        if policy != "mixed_bfloat16":  # these numbers are exact in float16
            inputs = [ops.cast(x, "float16") for x in inputs]
        got = flat(layer(inputs if len(inputs) > 1 else inputs[0]))
        again = kind.from_config({**layer.get_config(), "dtype": policy})
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(before)
    assert again.compute_dtype == "float32"
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
        assert np.abs(theirs).max() > 0


def test_training_and_inference(case):
    layer, x = make(case), sample(case)
    layer(x)
    fill(layer)
    calm = flat(layer(x))[0]
    np.testing.assert_array_equal(calm, flat(layer(x))[0])
    if case not in RANDOM:
        return
    np.testing.assert_array_equal(calm, layer(x, training=False))
    draws = [np.array(layer(x, training=True)) for _ in range(4)]
    assert all(np.abs(a - b).max() > 1e-3 for a, b in itertools.combinations(draws, 2))
    reset(layer)
    np.testing.assert_array_equal(layer(x, training=True), draws[0])


def test_in_a_graph(case):
    """A `tf.function` draws anew in every step, and gives what eager execution gives."""
    layer, x = make(case), sample(case)
    layer(x)
    fill(layer)
    step = tf.function(layer)
    for mine, theirs in zip(flat(step(x)), flat(layer(x)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    if case in RANDOM:
        step = tf.function(lambda x: layer(x, training=True))
        assert np.abs(np.array(step(x)) - np.array(step(x))).max() > 1e-3


@pytest.fixture(scope="module")
def all_layers():
    """One model with an input and an output for each case; three cases of unpooling."""
    images, outputs = {}, {}
    for case in CASES:
        images[case] = keras.Input(CASES[case][2], name=case)
        layer = make(case, name=f"{case}_layer")
        for index, tensor in enumerate(flat(layer(images[case]))):
            outputs[f"{case}_{index}"] = tensor
        fill(layer)
    for case in ("indices", "indices_same"):
        pooling = dict(CASES[case][1])
        values, places = MaxPoolingWithIndices2D(**pooling)(images[case])
        unpooling = MaxUnpooling2D(**pooling, output_size=MAP[:2])
        outputs[f"{case}_back"] = unpooling([values, places])
    return keras.Model(images, outputs)


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_exports(all_layers, target, tmp_path):
    samples = {case: sample(case, batch=4, seed=6) for case in CASES}
    done = export.export(all_layers, target, tmp_path / "all", samples=samples)
    assert done.manifest.parity.passed
    assert done.manifest.parity.relative < 1e-5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: LocalResponseNormalization(size=4), "size got 4; expected"),
        (lambda: LocalResponseNormalization(size=-1), "size got -1; expected"),
        (lambda: LocalResponseNormalization(k=0.0), "k got 0.0; expected"),
        (lambda: Maxout(1), "Maxout: pieces got 1; expected an integer of at least 2"),
        (lambda: Maxout(2)(np.ones((1, 5))), "got 5 channels; expected a multiple of the 2 pieces"),
        (lambda: LocallyConnected2D(0, 3), "LocallyConnected2D: filters got 0; expected"),
        (lambda: LocallyConnected2D(1, (3, 0)), "kernel_size got (3, 0); expected one or two"),
        (lambda: LocallyConnected2D(1, 3, padding="full"), "padding got 'full'; expected 'valid'"),
        (lambda: LocallyConnected2D(1, 3)(keras.Input((None, 4, 1))), "Give the input a fixed"),
        (lambda: LocallyConnected2D(1, 3)(np.ones((1, 2, 4, 1))), "the output would be empty"),
        (lambda: LocallyConnected1D(1, (3, 3)), "kernel_size got (3, 3); expected an integer"),
        (lambda: LocallyConnected1D(1, 3)(np.ones((1, 2, 4, 1))), "expected 3 axes"),
        (lambda: LPPooling2D(2, 0.5), "LPPooling2D: p got 0.5; expected a number of at least 1"),
        (lambda: LPPooling2D(2, float("inf")), "For infinity, use max pooling"),
        (lambda: LPPooling2D(2, weighting="max"), "weighting got 'max'; expected one of"),
        (lambda: LPPooling2D(2, strides=0), "strides got 0; expected"),
        (lambda: LPPooling2D(9)(np.ones((1, 4, 9, 1))), "axis of 4 for a window of 9; the output"),
        (lambda: ChannelLPPooling(1), "pool_size got 1; expected an integer of at least 2"),
        (lambda: ChannelLPPooling(2)(np.ones((1, 3))), "got 3 channels; expected a multiple of 2"),
        (lambda: FractionalMaxPooling2D(0.9), "ratio got 0.9; expected one or two numbers"),
        (lambda: FractionalMaxPooling2D(3.0)(np.ones((1, 2, 9, 1))), "the output would be empty"),
        (lambda: FractionalMaxPooling2D()(keras.Input((None, 4, 1))), "of a known height"),
        (lambda: MaxPoolingWithIndices2D(0), "MaxPoolingWithIndices2D: pool_size got 0; expected"),
        (lambda: MaxPoolingWithIndices2D()(keras.Input((None, 4, 1))), "Give the input a fixed"),
        (lambda: MaxUnpooling2D(2, output_size=0), "output_size got 0; expected"),
        (
            lambda: MaxUnpooling2D(2, output_size=9)(
                [np.ones((1, 2, 2, 1)), np.ones((1, 2, 2, 1))]
            ),
            "output_size got (9, 9), which pools to (4, 4); expected one that pools to the values'",
        ),
        (
            lambda: MaxUnpooling2D()([np.ones((1, 2, 2, 1)), np.ones((1, 2, 3, 1))]),
            "expected values and places of one shape",
        ),
        (lambda: BedOfNails2D((2, 2, 2)), "size got (2, 2, 2); expected one or two integers"),
        (lambda: DropConnect(0), "DropConnect: units got 0; expected"),
        (lambda: DropConnect(3, 1.0), "rate got 1.0; expected a number in [0, 1)"),
        (lambda: DropConnect(3, samples=-1), "samples got -1; expected an integer of at least 0"),
        (lambda: DropConnect(3)(np.ones((1, 2, 2))), "expected (batch, features). Flatten"),
        (lambda: ScaledTanh(slope=0), "ScaledTanh: slope got 0; expected a number above 0"),
        (lambda: Subsampling2D(1.5), "pool_size got 1.5; expected one or two integers"),
        (lambda: Subsampling2D(3)(np.ones((1, 2, 2, 1))), "the output would be empty"),
        (lambda: SubtractiveNormalization2D(4), "size got 4; expected odd numbers"),
        (lambda: TableConv2D([[0], []], 3), "table got the row (); expected at least one"),
        (lambda: TableConv2D([[0, 0]], 3), "table got the row (0, 0); expected"),
        (lambda: TableConv2D([[-1]], 3), "table got the row (-1,); expected"),
        (lambda: TableConv2D([], 3), "table got no rows; expected"),
        (lambda: TableConv2D([[4]], 3)(np.ones((1, 4, 4, 2))), "got 2 maps; expected at least 5"),
        (lambda: RBFOutput(0), "RBFOutput: units got 0; expected"),
        (lambda: RBFOutput(9, rubbish=0), "RBFOutput: rubbish got 0; expected a number above 0"),
        (lambda: RBFOutput(9, codes="digits"), "units got 9 with codes 'digits'; expected 10"),
        (lambda: RBFOutput(10, codes="letters"), "codes got 'letters'; expected 'digits' or"),
        (lambda: RBFOutput(10, codes="digits")(np.ones((1, 80))), "got 80 features; codes"),
        (lambda: CeilMaxPooling2D(2, strides=3), "strides got (3, 3); expected at most the window"),
        (lambda: CeilMaxPooling2D(4)(np.ones((1, 3, 4, 1))), "the output would be empty"),
    ],
)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        build()


# What is special


@pytest.mark.parametrize("policy", ["float32", "bfloat16", "float16"])
def test_lrn_is_finite_in_every_precision(policy):
    """Also at zero and at squares beyond float16, in the value and in the gradient."""
    x = tf.cast([[0.0, 1e-4, 1.0, 1000.0, -1000.0, 0.0, 0.0]], policy)
    layer = LocalResponseNormalization(dtype=policy)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    assert y.dtype == x.dtype
    assert np.isfinite(ops.cast(y, "float32")).all()
    assert np.isfinite(ops.cast(tape.gradient(y, x), "float32")).all()
    expected = tf.nn.local_response_normalization(
        tf.cast(x, "float32")[None, None], 2, 2.0, 1e-4, 0.75
    )
    np.testing.assert_allclose(ops.cast(y, "float32")[None, None], expected, rtol=1e-2)


@pytest.mark.parametrize("p", [1, 2, 2.5, 12, 100])
@pytest.mark.parametrize("scale", [0.0, 1e-35, 1e-10, 1.0, 1e15])
def test_lp_pooling_stays_in_range(p, scale):
    """Where a plain power leaves float32, and where a root has no gradient."""
    x = tf.Variable(scale * np.random.RandomState(0).uniform(-1, 1, (1, 4, 4, 2)), dtype="float32")
    with tf.GradientTape() as tape:
        y = LPPooling2D(2, p)(x)
    blocks = np.abs(x.numpy().astype("float64")).reshape(1, 2, 2, 2, 2, 2)
    largest = blocks.max((2, 4), keepdims=True)
    safe = np.where(largest > 0, largest, 1)
    expected = largest[:, :, 0, :, 0] * ((blocks / safe) ** p).sum((2, 4)) ** (1 / p)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-30)
    assert np.isfinite(tape.gradient(y, x)).all()


def test_lp_pooling_approaches_the_maximum():
    x = np.random.RandomState(0).uniform(0, 1, (1, 6, 6, 3)).astype("float32")
    largest = keras.layers.MaxPooling2D(3, 2)(x)
    for weighting in ("sum", "mean", "gaussian"):
        y = LPPooling2D(3, 400, strides=2, weighting=weighting)(x)
        np.testing.assert_allclose(y, largest, rtol=0.02)
    np.testing.assert_allclose(
        LPPooling2D(2, 1, weighting="mean")(x), keras.layers.AveragePooling2D(2)(x), rtol=1e-6
    )


@pytest.mark.parametrize(("size", "ratio"), [(9, 1.41), (25, 1.5), (32, 1.3), (10, 2.0), (7, 2.7)])
@pytest.mark.parametrize("pseudo_random", [True, False])
def test_fractional_windows(size, ratio, pseudo_random):
    """K or K + 1 rows each, in all the map, over many draws; all offsets and orders occur."""
    layer = FractionalMaxPooling2D(ratio, pseudo_random=pseudo_random, seed=0)
    windows = int(size // ratio)
    draw = layer._drawn_offset if pseudo_random else layer._drawn_order
    seen = set()
    for _ in range(50):
        bounds = np.array(draw(size, windows))
        assert bounds[0] == 0 and bounds[-1] == size and len(bounds) == windows + 1
        assert set(np.diff(bounds)) <= {size // windows, size // windows + 1}
        seen.add(tuple(bounds))
    assert len(seen) > 1 or size % windows == 0
    still = pseudo_random_bounds(size, windows, largest_offset(size, windows) / 2)
    assert set(np.diff(still)) <= {size // windows, size // windows + 1}


def test_fractional_by_hand():
    x = np.random.RandomState(0).normal(size=(1, 5, 5, 1)).astype("float32")
    bounds = pseudo_random_bounds(5, 3, largest_offset(5, 3) / 2)
    for overlapping in (False, True):
        layer = FractionalMaxPooling2D(5 / 3, overlapping=overlapping)
        expected = [
            [
                x[0, a : b + overlapping, c : d + overlapping].max()
                for c, d in itertools.pairwise(bounds)
            ]
            for a, b in itertools.pairwise(bounds)
        ]
        np.testing.assert_array_equal(layer(x)[0, :, :, 0], expected)
    np.testing.assert_array_equal(  # a whole ratio without overlap is plain max pooling
        FractionalMaxPooling2D(2.5, overlapping=False)(x[:, :4, :4]).shape, (1, 1, 1, 1)
    )
    even = np.random.RandomState(1).normal(size=(1, 6, 8, 2)).astype("float32")
    for training in (False, True):
        np.testing.assert_array_equal(
            FractionalMaxPooling2D(2, overlapping=False)(even, training=training),
            keras.layers.MaxPooling2D(2)(even),
        )


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [
        (2, 2, "valid"),
        (3, 2, "valid"),
        (3, 2, "same"),
        (2, 3, "valid"),
        (3, 1, "same"),
        (5, 2, "same"),
    ],
)
def test_unpooling_is_the_gradient_of_pooling(size, stride, padding):
    """Also where windows overlap, where rows lie behind the last one, and in padding."""
    settings = {"pool_size": size, "strides": stride, "padding": padding}
    x = tf.Variable(np.random.RandomState(0).permutation(2 * 9 * 8 * 3).reshape(2, 9, 8, 3) * 1.0)
    pooling = MaxPoolingWithIndices2D(**settings, dtype="float64")
    with tf.GradientTape() as tape:
        values, places = pooling(x)
    back = np.random.RandomState(1).normal(size=values.shape)
    expected = tape.gradient(values, x, output_gradients=tf.constant(back))
    unpooling = MaxUnpooling2D(**settings, output_size=(9, 8), dtype="float64")
    np.testing.assert_allclose(unpooling([back, places]), expected, rtol=1e-12)


def test_unpooling_takes_the_default_size():
    pooled = [np.ones((1, 3, 4, 2), "float32"), np.zeros((1, 3, 4, 2), "int32")]
    assert MaxUnpooling2D(2)(pooled).shape == (1, 6, 8, 2)
    assert MaxUnpooling2D(3, strides=2)(pooled).shape == (1, 7, 9, 2)
    assert MaxUnpooling2D(3, strides=2, padding="same")(pooled).shape == (1, 6, 8, 2)


def test_equal_values_give_the_first_place():
    _, places = MaxPoolingWithIndices2D(2)(np.zeros((1, 4, 4, 1), "float32"))
    np.testing.assert_array_equal(np.ravel(places), [0, 2, 8, 10])


def test_bed_of_nails_by_hand():
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    expected = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(BedOfNails2D(2)(x)[0, :, :, 0], expected)


def test_drop_connect_draws_what_the_paper_says():
    """Mean and variance over masks, of sums whose normal approximation inference uses."""
    x = np.random.RandomState(0).normal(size=(1, 50)).astype("float32")
    layer = DropConnect(3, 0.3, seed=0)
    layer(x)
    fill(layer)
    draws = np.array(layer(np.repeat(x, 20_000, axis=0), training=True))
    np.testing.assert_allclose(draws.mean(0), layer(x)[0], atol=5 * draws.std() / 20_000**0.5)
    np.testing.assert_allclose(draws.std(0), layer._deviation(tf.constant(x))[0], rtol=0.03)
    assert np.abs(draws[0] - draws[1]).max() > 0  # each example has its own mask
    shared = DropConnect(3, 0.3, per_example=False, seed=0)(np.repeat(x, 2, axis=0), training=True)
    np.testing.assert_array_equal(shared[0], shared[1])


def test_drop_connect_averages_the_activation():
    x = np.random.RandomState(0).normal(size=(4, 50)).astype("float32")
    layer = DropConnect(3, 0.5, activation="relu", samples=1000, seed=0)
    layer(x)
    fill(layer)
    many = np.array(layer(np.repeat(x, 20_000, axis=0), training=True)).reshape(4, 20_000, 3)
    np.testing.assert_allclose(layer(x), many.mean(1), atol=0.1)


def test_scaled_tanh_maps_one_to_one():
    np.testing.assert_allclose(ScaledTanh()(np.array([1.0, -1.0])), [1.0, -1.0], atol=1e-4)


def test_codes_tell_classes_apart():
    codes = digit_codes()
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1.0, 1.0}
    apart = [int((a != b).sum()) for a, b in itertools.combinations(codes, 2)]
    assert min(apart) >= 5
    logits = RBFOutput(10, codes="digits")(codes.astype("float32"))
    np.testing.assert_array_equal(np.argmax(logits, 1), range(10))
    np.testing.assert_array_equal(np.diag(logits), np.zeros(10))
    for units, features in ((2, 1), (8, 3), (62, 84), (1000, 84)):
        layer = RBFOutput(units)
        layer.build((None, features))
        assert len(np.unique(layer._codes, axis=0)) == units


def test_table_counts_what_is_connected():
    layer = TableConv2D([[0, 1, 2], [2]], 5)
    layer.build((None, 9, 9, 3))
    assert layer.count_params() == 4 * 25 + 2
    keras.utils.set_random_seed(0)
    wide = TableConv2D([[0]] * 200 + [range(16)] * 200, 5)
    wide.build((None, 9, 9, 16))
    kernel = np.array(wide.kernel)
    for part, inputs in ((kernel[..., :200], 25), (kernel[..., 200:], 400)):
        np.testing.assert_allclose(part.var(), 1 / inputs, rtol=0.05)
