"""A graph that export rewrites stays the user's model, masks and arguments of calls included."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import export
from export.rewrite import without_softmax
from export.source import prepare, run_keras
from tests.beside import RANDOM, ROWS, in_onnx, x


def masked():
    board, legal = x(name="board"), keras.Input((6,), dtype="bool", name="legal")
    scores = layers.Dense(6)(layers.Dense(16, activation="relu")(board))
    return keras.Model([board, legal], layers.Softmax(name="policy")(scores, mask=legal))


def masked_by_an_embedding():
    ids = keras.Input((12,), dtype="int32", name="ids")
    return keras.Model(ids, layers.Softmax()(layers.Embedding(100, 4, mask_zero=True)(ids)))


def over_another_axis(axis):
    return keras.Model(a := x(), layers.Softmax(axis=axis)(layers.Reshape((5, 2))(a)))


def used_in_the_graph_too():
    shares = layers.Softmax()(layers.Dense(4)(a := x()))
    return keras.Model(a, {"shares": shares, "doubt": ops.sum(shares * ops.log(shares), -1)})


def head(**arguments):
    inner = keras.Sequential(
        [keras.Input((10,)), layers.Dropout(0.5), layers.Dense(4, activation="softmax")]
    )
    return keras.Model(a := x(), inner(a, **arguments))


def called_twice(layer):
    a, b = x(name="a"), x(name="b")
    return keras.Model([a, b], {"left": layer(a), "right": layer(b)})


def two_behind_one(*, used=False):
    hidden = layers.Dense(8, activation="relu")(a := x())
    ends = [layers.Dense(n, activation="softmax", name=f"of_{n}")(hidden) for n in (4, 5)]
    first, second = keras.Model(a, ends, name="inner")(b := x())
    return keras.Model(b, {"a": first, "b": layers.Dense(2)(second) if used else second})


def one_behind_one_with_another():
    hidden = layers.Dense(8, activation="relu")(a := x())
    ends = {
        "shares": layers.Dense(4, activation="softmax")(hidden),
        "size": layers.Dense(1)(hidden),
    }
    return keras.Model(b := x(), keras.Model(a, ends, name="inner")(b))


def of_minus_infinity():
    logits = layers.Dense(4)(a := x())
    return keras.Model(a, layers.Softmax()(ops.where(logits > -9, logits, -np.inf)))


KEPT = {
    "a mask": masked,
    "the mask of an embedding": masked_by_an_embedding,
    "the axis before the last": lambda: over_another_axis(1),
    "two axes": lambda: over_another_axis((1, 2)),
    "shares that the graph reads": used_in_the_graph_too,
    "training in a call": lambda: head(training=True),
    "a nested model called twice": lambda: called_twice(head()),
    "a layer called twice": lambda: called_twice(layers.Dense(4, activation="softmax")),
    "a nested output that is read": lambda: two_behind_one(used=True),
}
CUT = {
    "the last axis by its number": (lambda: over_another_axis(2), 1),
    "a nested model": (head, 1),
    "two outputs of a nested model": (two_behind_one, 2),
    "one of two outputs of a nested model": (one_behind_one_with_another, 1),
}


@pytest.mark.parametrize("what", KEPT)
def test_a_softmax_stays_where_it_means_more(what):
    net, _ = prepare(KEPT[what]())
    assert without_softmax(net) == (net, [])


@pytest.mark.parametrize("what", CUT)
def test_a_softmax_that_goes_leaves_the_same_shares(what):
    build, number = CUT[what]
    net, signature = prepare(build())
    bare, cut = without_softmax(net)
    assert len(cut) == number
    inputs = {signature.inputs[0].name: ROWS}
    expected, got = run_keras(net, signature, inputs), run_keras(bare, signature, inputs)
    assert list(got) == list(expected)
    for name, want in expected.items():
        shares = np.asarray(ops.softmax(got[name])) if name in cut else got[name]
        np.testing.assert_allclose(shares, want, atol=1e-6)
        assert (name in cut) == (np.abs(got[name] - want).max() > 1e-3)


def test_a_mask_that_no_integers_hold_is_refused_and_named(tmp_path):
    legal = RANDOM.rand(64, 6) < 0.4
    legal[:, 0] |= ~legal.any(axis=1)
    samples = {"board": ROWS, "legal": legal}
    with pytest.raises(export.ParityError, match="The softmax 'policy' has a mask"):
        export.export(masked(), "tflite-int8", tmp_path / "out", samples=samples)
    done = export.export(masked(), "onnx", tmp_path / "float", samples=samples)
    winner = in_onnx(done, samples)["policy"].argmax(axis=1)
    assert legal[np.arange(64), winner].all()


class Twice(keras.Model):
    """A graph whose class does more than the graph says."""

    def call(self, inputs, training=None):
        return 2 * super().call(inputs, training=training)


@pytest.mark.parametrize("target", ["onnx", "tflite-int8"])
def test_a_graph_that_is_not_the_users_model_is_refused(target, tmp_path):
    model = Twice(a := x(), layers.Dense(3, activation="softmax")(a))
    with pytest.raises(RuntimeError, match=rf"export to {target}: .* does not answer as yours"):
        export.export(model, target, tmp_path / "out", samples=ROWS)
    assert not list(tmp_path.iterdir())


class Scaled(layers.Layer):
    """A call with an argument."""

    def call(self, inputs, by=1.0):
        return inputs * by


def test_half_precision_keeps_the_arguments_of_calls(tmp_path):
    policy = "mixed_bfloat16"
    a, legal = x(), keras.Input((4,), dtype="bool", name="legal")
    scores = Scaled(dtype=policy)(layers.Dense(4, dtype=policy)(a), by=3.0)
    model = keras.Model([a, legal], layers.Softmax(dtype=policy, name="shares")(scores, mask=legal))
    samples = {"x": ROWS, "legal": RANDOM.rand(64, 4) < 0.7}
    done = export.export(model, "onnx", tmp_path / "out", samples=samples)
    got = in_onnx(done, samples)["shares"]
    expected = np.asarray(ops.cast(model([samples["x"], samples["legal"]]), "float32"))
    assert np.abs(got - expected).max() < 0.03
