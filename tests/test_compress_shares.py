"""Whether a model answers with shares or with logits: by its graph, its loss and its answers."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from compress import graph
from compress.graph.shares import find_ending, find_shares, last_function, takes_logits

MAPS = {
    "flatten": lambda x: layers.Flatten()(x),
    "pooled": lambda x: layers.GlobalAveragePooling2D()(x),
    "pooled by parts": lambda x: layers.Flatten()(layers.AveragePooling2D(2)(x)),
    "largest": lambda x: layers.GlobalMaxPooling2D()(x),
    "cropped": lambda x: layers.Reshape((3,))(layers.Cropping2D(((0, 1), (1, 0)))(x)),
    "picked": lambda x: x[:, 0, 1],
    "mean": lambda x: ops.mean(x, axis=(1, 2)),
    "moved": lambda x: ops.transpose(layers.Permute((3, 1, 2))(x), (0, 2, 3, 1)),
    "nothing done": lambda x: layers.Rescaling(1.0)(layers.Activation("linear")(x)),
    "dropped": lambda x: layers.Dropout(0.5)(layers.SpatialDropout2D(0.5)(x)),
    "of half": lambda x: ops.cast(layers.GaussianNoise(0.1)(x), "float16"),
    "nested": lambda x: keras.Sequential([layers.Flatten(), layers.Reshape((4, 3))])(x),
    "average": lambda x: layers.Average()([x, layers.Softmax()(x)]),
}


@pytest.mark.parametrize("form", MAPS)
@pytest.mark.parametrize("end", ["softmax", None])
def test_what_keeps_shares_is_looked_through(form, end):
    x = keras.Input((2, 2, 5))
    model = keras.Model(x, MAPS[form](layers.Conv2D(3, 1, activation=end)(x)))
    expected = "average" if (form, end) == ("average", None) else end or "linear"
    assert last_function(model) == expected
    assert find_shares(model) == ((end == "softmax"), "")
    assert last_function(graph.copy_model(model)) == expected


MIXED = ("pooled", "pooled by parts", "largest", "mean", "average")


@pytest.mark.parametrize("form", MAPS)
def test_the_step_of_the_softmax_is_found_behind_what_moves_and_rounds(form):
    x = keras.Input((2, 2, 5))
    model = keras.Model(x, MAPS[form](layers.Conv2D(3, 1, activation="softmax", name="end")(x)))
    seen = graph.trace(model)
    found = find_ending(seen)
    if form in MIXED:  # no logit is the mean of two
        assert found.function in ("softmax", "average") and found.step is None
        return
    assert found.function == "softmax" and seen.calls[found.step].path == "end"
    rest = {type(seen.calls[place].operation).__name__ for place in found.behind}
    passed = {
        "dropped": {"Dropout", "SpatialDropout2D"}, "of half": {"GaussianNoise", "Cast"},
        "nothing done": {"Activation", "Rescaling"},
    }  # fmt: skip
    assert rest == passed.get(form, set())


def test_what_does_not_keep_them_is_the_end():
    x = keras.Input((6,))
    h = layers.Dense(3, activation="softmax")(x)
    for end, name in (
        (layers.Dense(3)(h), "linear"),
        (layers.Rescaling(2.0)(h), "rescaling"),
        (layers.BatchNormalization()(h), "batchnormalization"),
        (ops.log(h), "log"),
        (x, ""),
        (layers.Softmax()(x), "softmax"),
        (ops.softmax(x), "softmax"),
        (layers.Activation("log_softmax")(x), "log_softmax"),
    ):
        assert last_function(keras.Model(x, end)) == name
    x = keras.Input((4, 6))
    inner = layers.TimeDistributed(layers.Dense(3, activation="softmax"))
    assert last_function(keras.Model(x, inner(x))) == "softmax"


@pytest.mark.parametrize(
    ("loss", "logits"),
    [
        ("sparse_categorical_crossentropy", False),
        (keras.losses.BinaryCrossentropy(from_logits=True), True),
        (keras.losses.CategoricalFocalCrossentropy(), False),
        (keras.losses.categorical_crossentropy, False),
        ({"class_name": "function", "config": "binary_crossentropy"}, False),
        ({"class_name": "BinaryCrossentropy", "config": {"from_logits": True}}, True),
        ({"answer": "kl_divergence"}, False),
        (["mse", "binary_crossentropy"], None),
        ("mse", None),
        (keras.losses.Hinge(), None),
        (lambda labels, answers: 0.0, None),
        (None, None),
    ],
)
def test_what_a_loss_takes(loss, logits):
    assert takes_logits(loss) is logits


def test_a_yes_or_no_of_an_unknown_function_is_told_by_its_answers():
    x = keras.Input((3,))
    h = layers.Dense(1)(x)
    squashed, plain = keras.Model(x, h / (1 + ops.abs(h)) * 0.5 + 0.5), keras.Model(x, h)
    answers = np.array([[0.1], [0.8]], "float32")
    assert find_shares(squashed, answers).shares
    assert find_shares(plain, answers) == (
        False, "its outputs are read as logits: it ends in linear, though they look like shares"
    )  # fmt: skip
    assert not find_shares(squashed, answers - 0.2).shares
    assert find_shares(plain, answers, loss="binary_crossentropy").shares
