"""Networks with augmentation among their layers are looked into and rounded as they infer."""

import keras
import numpy as np
import pytest
from keras import layers

import compress
import export
from compress.graph import leaf_layers, norms, run_steps, trace
from zoo import explain
from zoo.data.preprocessing import Preprocessing
from zoo.models.perception import Perception

RANDOM = {
    "flip": lambda: layers.RandomFlip(),
    "rotation": lambda: layers.RandomRotation(0.2),
    "zoom": lambda: layers.RandomZoom(0.3),
    "crop": lambda: layers.RandomCrop(12, 12),
    "contrast": lambda: layers.RandomContrast(0.5),
    "brightness": lambda: layers.RandomBrightness(0.5, value_range=(0, 1)),
    "pipeline": lambda: layers.Pipeline([layers.RandomFlip(), layers.RandomZoom(0.3)]),
    "within": lambda: Within(),
}
COPIES = 6
PICTURE = np.random.RandomState(4).uniform(0.2, 0.8, (1, 16, 16, 3)).astype("float32")
COPIED = np.repeat(PICTURE, COPIES, axis=0)


@keras.saving.register_keras_serializable("tests")
class Within(layers.Layer):
    """Holds a layer that changes pictures; its own call does not know of training."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.flip = layers.RandomFlip()

    def call(self, x):
        return self.flip(x)


def net(kind, *, end="softmax"):
    image = keras.Input((16, 16, 3), name="image")
    first = RANDOM[kind]()
    first.name = "random"
    inner = keras.Sequential([keras.Input((16, 16, 3)), first], name="augment")
    x = layers.Conv2D(6, 3, use_bias=False, name="conv")(inner(image))
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, layers.Dense(5, activation=end, name="logits")(x))
    for index, weight in enumerate(model.weights):
        if "seed" not in weight.path:
            values = np.random.RandomState(index).normal(0, 0.4, weight.shape)
            weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def alike(values):
    """Whether all copies of the picture have equal values."""
    return np.ptp(values, axis=0).max() <= 1e-6 * max(np.abs(values).max(), 1e-3)


@pytest.mark.parametrize("kind", RANDOM)
def test_what_is_seen_of_copies_is_alike(kind):
    model = net(kind)
    seen, answers = explain.Classifier(model), model.predict(COPIED, verbose=0)
    named = int(answers[0].argmax())
    assert np.allclose(seen.shares(seen.scores(COPIED)), answers, atol=1e-5)
    assert explain.accuracy(seen, COPIED, np.full(COPIES, named)) == 1
    assert alike(explain.activations(seen, COPIED, "conv"))
    assert alike(explain.saliency(seen, COPIED)) and alike(explain.grad_cam(seen, COPIED))
    assert alike(explain.fgsm(seen, COPIED, np.full(COPIES, named), epsilon=0.1))
    assert alike(explain.deepfool(seen, COPIED, np.full(COPIES, named), steps=3).inputs)
    assert explain.occlusion(seen, PICTURE, named, patch=16, stride=16).max() == pytest.approx(
        float(seen.scores(PICTURE)[0, named] - seen.scores(0 * PICTURE)[0, named]), abs=1e-5
    )


@pytest.mark.parametrize("kind", ["zoom", "crop", "pipeline", "within"])
def test_steps_and_statistics_are_those_of_inference(kind):
    model = net(kind)
    place = [call.path for call in trace(model).calls].index("conv")
    view = keras.Model(model.input, model.get_layer("conv").output)
    expected = view.predict(COPIED, verbose=0)
    found = run_steps(model, [COPIED], [True] * len(trace(model).calls))[place][0]
    assert np.allclose(found, expected, atol=1e-5)
    shown = norms.moments([found], -1)
    assert np.allclose(shown.mean, expected.mean((0, 1, 2)), atol=1e-5)
    assert np.allclose(shown.variance, expected.var((0, 1, 2)), atol=1e-5)


@pytest.mark.parametrize("kind", ["flip", "brightness", "within"])
def test_pictures_are_made_by_what_is_inferred(kind):
    seen = Perception(
        "toy", net(kind), Preprocessing(size=16, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    )
    maps = seen.at(["conv"], (16, 16))
    assert alike(maps(COPIED)["conv"]) and alike(maps(COPIED, training=False)["conv"])


@pytest.mark.parametrize("kind", ["flip", "crop", "contrast"])
def test_rounded_and_exported(kind, tmp_path):
    model = net(kind)
    samples = np.random.RandomState(7).uniform(0, 1, (32, 16, 16, 3)).astype("float32")
    made = [compress.Quantize().apply(model, compress.Context(samples=samples)) for _ in range(2)]
    first, second = (one.model.predict(samples, verbose=0) for one in made)
    assert np.array_equal(first, second)
    assert np.abs(first - model.predict(samples, verbose=0)).max() < 0.05
    pruned = compress.Prune(sparsity=0.5).apply(model, compress.Context(samples=samples)).model
    again = compress.Prune(sparsity=0.5).apply(model, compress.Context(samples=samples)).model
    for one, other in zip(pruned.weights, again.weights, strict=True):
        assert np.allclose(one, other, atol=1e-6), one.path
    done = export.export(model, "tflite", tmp_path / "file", samples=samples[:4])
    assert done


def test_a_graph_that_is_built_again_still_learns_by_changed_pictures():
    copy = compress.graph.copy_model(net("brightness"))
    assert "random" in dict(leaf_layers(copy))[("augment/random")].name
    assert not alike(copy(COPIED, training=True)) and alike(copy(COPIED, training=False))
