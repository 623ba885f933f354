"""Batch normalisation folded into the layer before it: the same answers."""

import keras
import numpy as np
import pytest
from keras import layers

import compress
from tests.golden import vector
from zoo.models import create


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet20", "mobilenet_v2"])
def test_folding_keeps_the_answers(name):
    model = create(name, input_shape=(32, 32, 3), num_classes=7)
    vector.fill(model)
    small, report = compress.FoldBatchNorm().apply(model)
    image = vector.sample(model)
    expected = np.array(model(image, training=False))
    np.testing.assert_allclose(
        small(image, training=False), expected, rtol=0, atol=2e-5 * np.abs(expected).max()
    )
    assert report.after.parameters < report.before.parameters
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in small.layers)


def kinds():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2DTranspose(6, 3, name="transpose")(image)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, use_bias=False, name="depthwise")(x)
    x = layers.BatchNormalization(center=False, name="norm2")(x)
    x = layers.SeparableConv2D(5, 3, name="separable")(x)
    x = layers.BatchNormalization(scale=False, name="norm3")(x)
    x = layers.Conv2D(4, 1, activation="relu", name="active")(x)
    x = layers.BatchNormalization(name="norm4")(x)
    x = y = layers.Conv2D(4, 1, name="twice")(x)
    x = layers.Add(name="add")([layers.BatchNormalization(name="norm5")(x), y])
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(6, name="fc")(x)
    return keras.Model(image, layers.BatchNormalization(name="norm6")(x))


def test_which_normalisations_fold():
    model = kinds()
    vector.fill(model)
    small, report = compress.FoldBatchNorm().apply(model)
    image = vector.sample(model)
    np.testing.assert_allclose(small(image), model(image), rtol=1e-4, atol=1e-5)
    notes = {row.path: row.note for row in report.layers if row.path.startswith("norm")}
    assert notes == {
        "norm1": "folded into transpose",
        "norm2": "folded into depthwise",
        "norm3": "folded into separable",
        "norm4": "active has an activation",
        "norm5": "twice has other readers",
        "norm6": "folded into fc",
    }
    assert type(small.get_layer("norm1")) is layers.Identity
    assert small.get_layer("depthwise").use_bias
