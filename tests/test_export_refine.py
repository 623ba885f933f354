"""Ranges and biases of a file of integers, beside those of the stock converter."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import export
from export.formats.tflite.calibrate import STEPS, _Histogram
from export.targets import find_target

RANDOM = np.random.RandomState(4)


def stock(model, samples, *kinds):
    """The converter's own file, and its outputs (n, ...) on LiteRT's reference kernels."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([one[None]] for one in samples)
    converter.target_spec.supported_ops = list(kinds)
    content = converter.convert()
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    (entry,), (end,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for one in samples:
        interpreter.set_tensor(entry["index"], one[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(end["index"]))
    return content, np.concatenate(outputs)


def ours(model, samples, name, folder):
    """Likewise of the exported file; all samples are calibrated on, for each is there twice."""
    loose = export.target.Tolerance(max_relative=None, min_top1_agreement=0, tie=0)
    target = find_target(name).model_copy(update={"tolerance": loose})
    done = export.export(model, target, folder / "out", samples=np.repeat(samples, 2, axis=0))
    session = target.open(done.path / done.manifest.file)
    (outputs,) = session.run({done.manifest.signature.inputs[0].name: samples}).values()
    return outputs


def test_rounded_kernels_do_not_move_the_means(tmp_path):
    """Strides, dilation, padding, groups, a normalisation to fold, and a layer without a bias."""
    keras.utils.set_random_seed(1)
    image = keras.Input((15, 13, 4))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(image)
    x = layers.BatchNormalization()(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    x = layers.Conv2D(8, 2, groups=4)(x)
    # The drift of a padded map differs from place to place: what follows has to take its mean.
    x = layers.Conv2D(6, 3, dilation_rate=2, padding="same")(x)
    x = layers.Dense(5, use_bias=False)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, layers.Dense(4)(x))
    for weight in model.weights:  # one large weight of each channel: the others round badly
        if len(weight.shape) > 1:
            value = RANDOM.uniform(0, 0.02, weight.shape)
            value[(0,) * (value.ndim - 2)][RANDOM.rand(*value.shape[-2:]) < 0.3] = 1
            weight.assign(value)
    samples = RANDOM.uniform(0.5, 1.5, (64, 15, 13, 4)).astype("float32")
    expected = np.asarray(model(samples, training=False))
    kind = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8

    def drift(outputs):
        return np.abs((outputs - expected).mean(axis=0)) / np.abs(expected).max()

    plain = drift(stock(model, samples, kind)[1])
    better = drift(ours(model, samples, "tflite-int16x8", tmp_path))
    assert plain.max() > 2e-3  # there is something to mend
    assert better.max() < plain.max() / 10


def test_ranges_inside_become_narrower_and_those_of_the_ends_stay(tmp_path):
    """Of a normal distribution the best range is four deviations; a million values reach five."""
    keras.utils.set_random_seed(1)
    image = keras.Input((32, 32, 4))
    hidden = layers.Conv2D(8, 3, name="hidden")(image)
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(hidden)))
    samples = RANDOM.standard_normal((64, 32, 32, 4)).astype("float32")
    plain = scales(stock(model, samples, tf.lite.OpsSet.TFLITE_BUILTINS_INT8)[0])
    ours(model, samples, "tflite-int8", tmp_path)
    better = scales((tmp_path / "out" / "model.tflite").read_bytes())
    assert better[(1, 30, 30, 8)] < 0.9 * plain[(1, 30, 30, 8)]
    assert better[(1, 32, 32, 4)] == pytest.approx(plain[(1, 32, 32, 4)])
    assert better[(1, 3)] == pytest.approx(plain[(1, 3)], rel=1e-3)


def scales(content):
    """The steps of the activations, by shape."""
    from ai_edge_litert.interpreter import Interpreter

    details = Interpreter(model_content=content).get_tensor_details()
    return {
        tuple(map(int, one["shape"])): one["quantization"][0]
        for one in details
        if one["dtype"] == np.int8 and one["shape"][0] == 1
    }


@pytest.mark.parametrize(
    ("draw", "low", "high"),
    [
        (lambda: RANDOM.uniform(-3, 5, 100_000), -3.0, 5.0),  # nothing to gain
        (lambda: np.append(RANDOM.uniform(0, 1, 4_000_000), 10), 0.0, 1.0),  # a lone outlier
        (lambda: RANDOM.standard_normal(100_000), -4.0, 4.0),
    ],
)
def test_ranges_have_the_least_squared_error(draw, low, high):
    values = draw()
    histogram = _Histogram(values.min(), values.max())
    histogram._counts = np.histogram(values, bins=2048)[0].astype(float)
    best = histogram.best()
    assert best == pytest.approx((low, high), abs=0.7)

    def error(first, second):
        step = (second - first) / STEPS
        rounded = np.clip(np.round((values - first) / step), 0, STEPS) * step + first
        return np.square(rounded - values).mean()

    assert error(*best) <= error(values.min(), values.max()) * 1.001
