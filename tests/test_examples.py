"""Data sets of TensorFlow and Keras as examples; what they yield is what arrays give."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.common.examples import MOST, gather

ROWS = np.random.default_rng(0).standard_normal((10, 3)).astype("float32")
MAPS = np.arange(40, dtype="float32").reshape(10, 4)
X, Y = keras.Input((3,), name="x"), keras.Input((4,), name="y")


def of(*tensors):
    return tf.data.Dataset.from_tensor_slices(tensors if len(tensors) > 1 else tensors[0])


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, place):
        part = slice(4 * place, 4 * place + 4)
        return {"y": MAPS[part], "x": ROWS[part]}, np.zeros(len(ROWS[part]))


class Endless(keras.utils.PyDataset):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, place):
        return np.full((50, 3), place), np.zeros(50)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_data_set_of_one_input(batch, count):
    data = of(*(ROWS, np.arange(10), np.ones(10))[:count])
    found = gather(data.batch(batch) if batch else data, [X])
    np.testing.assert_array_equal(found["x"], ROWS)


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("form", ["mapping", "labelled", "tuple"])
def test_a_data_set_of_two_inputs(batch, form):
    named = {"x": ROWS, "y": MAPS}
    data = {"mapping": of(named), "labelled": of(named, MAPS), "tuple": of((ROWS, MAPS), MAPS)}[
        form
    ]
    found = gather(data.batch(batch) if batch else data, [X, Y])
    np.testing.assert_array_equal(found["x"], ROWS)
    np.testing.assert_array_equal(found["y"], MAPS)


def test_data_sets_of_keras_and_what_has_no_end():
    found = gather(Rows(), [X, Y])
    np.testing.assert_array_equal(found["x"], ROWS)
    np.testing.assert_array_equal(found["y"], MAPS)
    (found,) = gather(Endless(), [X]).values()
    np.testing.assert_array_equal(found[:, 0], np.repeat(np.arange(11), 50)[:MOST])
    (found,) = gather(of(ROWS).repeat(), [X]).values()
    np.testing.assert_array_equal(found, np.tile(ROWS, (52, 1))[:MOST])


def test_tensors_and_strings_of_a_data_set():
    np.testing.assert_array_equal(gather(tf.constant(ROWS), [X])["x"], ROWS)
    text = keras.Input((1,), dtype="string", name="text")
    found = gather(of(["a b", "c"], [0, 1]).batch(2), [text])["text"]
    assert found.tolist() == [[b"a b"], [b"c"]]
    ragged = tf.data.Dataset.from_tensors(tf.ragged.constant([[1.0, 2.0], [3.0]]))
    with pytest.raises(ValueError, match="samples"):
        gather(ragged, [X])
