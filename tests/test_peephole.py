"""LSTMs whose gates look into their cells: by the paper's equations, in ONNX Runtime, in files."""

import keras
import numpy as np
import pytest
from keras import layers

import export
from tests.test_recurrent import LINES, answers
from zoo.layers import PeepholeLSTM
from zoo.models import create
from zoo.models.step import states, step_of, through_time

UNITS = 4


def filled(layer, features, scale=0.6):
    layer.build((None, None, features))
    for number, weight in enumerate(layer.weights):
        value = np.random.RandomState(number).normal(scale=scale, size=weight.shape)
        weight.assign(value.astype("float32"))
    return layer


def by_hand(weights, x):
    """Graves 2013, equations 7 to 11, one sequence (time, features), gate by gate."""
    kernel, recurrent, bias, (p_i, p_f, p_o) = (np.asarray(w, "float64") for w in weights)

    def part(number, x, h):
        own = np.s_[number * UNITS : (number + 1) * UNITS]
        return x @ kernel[:, own] + h @ recurrent[:, own] + bias[own]

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    h, c, every = np.zeros(UNITS), np.zeros(UNITS), []
    for now in x:
        i = sigmoid(part(0, now, h) + p_i * c)
        f = sigmoid(part(1, now, h) + p_f * c)
        c = f * c + i * np.tanh(part(2, now, h))
        o = sigmoid(part(3, now, h) + p_o * c)  # the new cell
        h = o * np.tanh(c)
        every.append(h)
    return np.stack(every)


def test_outputs_are_those_of_the_equations_and_masked_places_are_not_read():
    layer = filled(PeepholeLSTM(UNITS, return_sequences=True), 3)
    x = np.random.RandomState(9).randn(5, 7, 3).astype("float32")
    found = np.asarray(layer(x))
    expected = np.stack([by_hand(layer.get_weights(), row) for row in x])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    lengths = np.array([7, 1, 4, 6, 2])
    last = filled(PeepholeLSTM(UNITS), 3)
    known = np.asarray(last(x, mask=np.arange(7)[None] < lengths[:, None]))
    np.testing.assert_allclose(known, expected[np.arange(5), lengths - 1], atol=1e-6)
    seen = list(layer.get_weights())
    seen[3] = np.zeros_like(seen[3])  # without peepholes it is Keras' own
    plain = layers.LSTM(UNITS, return_sequences=True)
    plain.build(x.shape)
    plain.set_weights(seen[:3])
    layer.set_weights(seen)
    np.testing.assert_allclose(layer(x), plain(x), atol=1e-6)
    assert np.abs(found - np.asarray(plain(x))).max() > 0.05


def test_gradients_are_those_of_small_changes():
    import tensorflow as tf

    layer = filled(PeepholeLSTM(UNITS, return_sequences=True, dtype="float64"), 3)
    x = np.random.RandomState(1).randn(2, 5, 3)
    scales = np.random.RandomState(2).randn(2, 5, UNITS)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(x) * scales)
    slopes = tape.gradient(total, [weight.value for weight in layer.weights])
    weights = [np.asarray(weight, "float64") for weight in layer.weights]

    def value():
        return sum(
            (by_hand(weights, row) * scale).sum() for row, scale in zip(x, scales, strict=True)
        )

    assert [w.shape for w in weights] == [(3, 16), (4, 16), (16,), (3, 4)]
    for weight, slope in zip(weights, slopes, strict=True):
        found = np.zeros_like(weight)
        for place in np.ndindex(weight.shape):
            old = weight[place]
            above, below = (value() for weight[place] in (old + 1e-5, old - 1e-5))
            weight[place] = old
            found[place] = (above - below) / 2e-5
        assert np.abs(found).max() > 0.1
        np.testing.assert_allclose(slope, found, atol=1e-7)


def test_onnx_runtime_computes_the_same_of_its_own_operator():
    """The operator's inputs are made here, from what ONNX says of it: i o f c, and P of i o f."""
    import onnx
    import onnxruntime

    layer = filled(PeepholeLSTM(UNITS, return_sequences=True), 3)
    kernel, recurrent, bias, (p_i, p_f, p_o) = layer.get_weights()

    def turned(array):
        i, f, c, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1).T

    values = {
        "W": turned(kernel)[None],
        "R": turned(recurrent)[None],
        "B": np.concatenate([turned(bias), np.zeros(4 * UNITS, "float32")])[None],
        "P": np.concatenate([p_i, p_o, p_f])[None],
    }
    names = ["x", "W", "R", "B", "", "", "", "P"]
    node = onnx.helper.make_node("LSTM", names, ["y"], hidden_size=UNITS)
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "peepholes",
        [onnx.helper.make_tensor_value_info("x", kind, [7, 5, 3])],
        [onnx.helper.make_tensor_value_info("y", kind, [7, 1, 5, UNITS])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in values.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 10
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = np.random.RandomState(9).randn(5, 7, 3).astype("float32")
    (found,) = session.run(None, {"x": x.transpose(1, 0, 2)})
    np.testing.assert_allclose(found[:, 0].transpose(1, 0, 2), layer(x), atol=1e-6)


def net(both_ways=False):
    keras.utils.set_random_seed(1)
    line = keras.Input((9, 6), name="line")
    x = filled(PeepholeLSTM(8, return_sequences=True, name="first"), 6)(line)
    second = PeepholeLSTM(8, name="second")
    x = (layers.Bidirectional(second, name="second") if both_ways else filled(second, 8))(x)
    return keras.Model(line, layers.Dense(3, name="scores")(x), name="net")


@pytest.mark.parametrize(
    ("target", "limit"),
    [pytest.param("tflite", 1e-5, marks=pytest.mark.slow), ("tflite-int8", 0.2), ("onnx", 1e-5)],
)
def test_files_compute_the_same(target, limit, tmp_path):
    model = net(both_ways=target == "onnx")
    done = export.export(model, target, tmp_path / target, samples=LINES)
    operators = done.manifest.operators
    assert done.manifest.parity.passed and done.manifest.parity.relative < limit
    if target == "onnx":
        assert operators["LSTM"] == 3 and "Loop" not in operators
        np.testing.assert_allclose(answers(done), np.asarray(model(LINES)), atol=1e-5)
    else:
        assert "UNIDIRECTIONAL_SEQUENCE_LSTM" not in operators
        assert ("WHILE" in operators) == (target == "tflite")


def test_one_step_of_a_model_of_characters_is_the_model():
    keras.utils.set_random_seed(0)
    model = create("char_lstm", input_shape=(None,), num_classes=11, units=(6, 5), embedding=4,
                   recurrent="peephole")  # fmt: skip
    assert model.get_layer("peephole2").cell.peephole.shape == (3, 5)
    step = step_of(model)
    assert states(step) == {f"peephole{n}_{s}": u for n, u in ((1, 6), (2, 5)) for s in "hc"}
    tokens = np.random.RandomState(0).randint(0, 11, (3, 8)).astype("int32")
    np.testing.assert_allclose(through_time(step, tokens)["logits"], model(tokens), atol=1e-6)


def test_what_is_left_out_is_left_out_before_the_layer():
    cell = PeepholeLSTM(3).cell.__class__(3, dropout=0.5, name="cell")
    with pytest.raises(ValueError, match=r"^cell: got dropout 0\.5 .* Put a Dropout before"):
        cell.build((None, 2))
