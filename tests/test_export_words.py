"""Integers of what reads words: places that no example reached, shares, cells."""

import keras
import numpy as np
from keras import layers, ops

import export
from export.target import Tolerance
from export.targets import find_target

RANDOM = np.random.RandomState(3)
LOOSE = Tolerance(max_relative=None, min_top1_agreement=0, tie=0)


def written(model, samples, folder):
    """The session of a file of integers, whatever it answers."""
    target = find_target("tflite-int8").model_copy(update={"tolerance": LOOSE})
    done = export.export(model, target, folder / "out", samples=samples)
    return target.open(done.path / done.manifest.file)


def test_a_text_longer_than_those_of_the_calibration_is_read(tmp_path):
    """XNNPACK refuses ranges of a millionth, as of products of states that were always zero.

    The states go further than three places took them, and are cut there.
    """
    keras.utils.set_random_seed(2)
    text = keras.Input((8,), dtype="int32", name="text")
    x = layers.Embedding(6, 5, mask_zero=True, embeddings_initializer="normal")(text)
    x = layers.LSTM(7, recurrent_initializer=keras.initializers.RandomNormal(stddev=0.7))(x)
    model = keras.Model(text, layers.Dense(4)(x))
    model.get_layer(index=1).set_weights([RANDOM.normal(size=(6, 5)).astype("float32")])
    texts = RANDOM.randint(1, 6, (64, 8)).astype("int32")
    short = texts.copy()
    short[:, 3:] = 0
    (got,) = written(model, short, tmp_path).run({"text": texts}).values()
    expected = np.asarray(model(texts))
    assert np.abs(expected - np.asarray(model(short))).max() > 0.3 * np.abs(expected).max()
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.85


def test_small_shares_are_divided_in_floats(tmp_path):
    """Where padding has most of a softmax, what is left is 0 in 8 bits, and no kernel divides."""
    energy = keras.Input((6,), name="energy")
    real = keras.Input((6,), name="real")
    shares = layers.Softmax()(layers.Dense(6, kernel_initializer="identity")(energy)) * real
    model = keras.Model([energy, real], shares / ops.sum(shares, axis=-1, keepdims=True))
    rows = RANDOM.uniform(-8, 0, (64, 6)).astype("float32")
    rows[:, 4:] = 0
    given = {"energy": rows, "real": np.tile(np.float32([1, 1, 1, 1, 0, 0]), (64, 1))}
    (got,) = written(model, given, tmp_path).run(given).values()
    expected = np.asarray(model([rows, given["real"]]))
    assert expected.max() > 0.9 and np.abs(got - expected).max() < 0.1


def test_a_cell_counts_further_than_eight_bits(tmp_path):
    """Of cells in -40 to 40 a step of 8 bits is a third, which is lost at every turn."""
    x, h, c = (keras.Input((n,), name=name) for n, name in ((3, "x"), (5, "h"), (5, "c")))
    _, (new_h, new_c) = layers.LSTMCell(5, bias_initializer="ones")(x, [h, c])
    model = keras.Model([x, h, c], {"next_h": new_h, "next_c": new_c})
    given = {
        name: RANDOM.normal(size=(64, n)).astype("float32") for name, n in (("x", 3), ("h", 5))
    }
    given["h"] = np.tanh(given["h"])
    given["c"] = RANDOM.uniform(-40, 40, (64, 5)).astype("float32")
    got = written(model, given, tmp_path).run(given)
    expected = model([given[name] for name in ("x", "h", "c")])
    wide = np.abs(np.asarray(expected["next_c"]))
    # A step of 8 bits is 80 / 255; here the gate's own rounding is left, a part of the cell.
    error = np.abs(got["next_c"] - np.asarray(expected["next_c"]))
    assert error[wide < 4].max() < 0.08
    assert np.abs(got["next_h"] - np.asarray(expected["next_h"])).mean() < 0.01
