"""Networks for pixels and boxes that are built on a trained classifier, still at first."""

import re

import keras
import numpy as np
import pytest

import export
import zoo
from compress.graph import leaf_layers
from tests import scenes as kit
from tests.golden.vector import fill
from zoo import weights
from zoo.bundle import Bundle
from zoo.models.saved import load_model
from zoo.models.trunk import LAYER, trunk_maps
from zoo.tasks.places.detect import learnt
from zoo.training.fitting import fit
from zoo.training.transfer import freeze, thaw

GREY, COLOUR = (64, 64, 1), (64, 64, 3)
ON_RESNET = {
    "fcn8s_small": {"stride": 1, "units": 16},
    "unet_small": {"depth": 2, "width": 4},
    "faster_rcnn_small": {"stride": 4, "anchor_scale": 3, "units": 16, "regions": 8},
}
FIRST_STILL = [
    "settings.trunk=resnet20", "settings.stride=1", "settings.units=16", "data.channels=1",
    "data.limit=32", "train.transfer.weights=fashion_mnist", "train.transfer.frozen_epochs=1",
    "train.epochs=2", "train.batch_size=16",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


def trunk_of(net):
    """What the layers of a trunk hold, by name."""
    layers = {layer.name: layer for _, layer in leaf_layers(net) if layer.weights}
    return {name: x.get_weights() for name, x in layers.items() if LAYER.fullmatch(name)}


def same(mine, theirs):
    pairs = [
        (one, other) for name in theirs for one, other in zip(mine[name], theirs[name], strict=True)
    ]
    return all(np.array_equal(one, other) for one, other in pairs)


@pytest.fixture(scope="module")
def clothes():
    return trunk_of(zoo.create("resnet20", weights="fashion_mnist"))


@pytest.mark.parametrize("name", ON_RESNET)
def test_a_trunk_begins_as_the_trained_classifier(name, clothes):
    settings = {"trunk": "resnet20", **ON_RESNET[name]}
    net = zoo.create(name, input_shape=GREY, weights="fashion_mnist", **settings)
    mine = trunk_of(net)
    assert mine.keys() == clothes.keys() and same(mine, clothes)
    fresh = zoo.create(name, input_shape=GREY, **settings)
    assert not same(trunk_of(fresh), clothes)
    frozen = freeze(net, 0.0)
    still = {layer.name for layer in frozen if layer.weights}
    learning = {layer.name for _, layer in leaf_layers(net) if layer.trainable_weights}
    assert still == clothes.keys() and learning and not learning & still
    thaw(frozen)
    assert len(net.trainable_weights) == len(fresh.trainable_weights)


def test_a_frozen_trunk_stays_as_it_was_then_all_learns(clothes, tmp_path):
    """Its normalisations too: neither what they learn nor what they measure moves."""
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(parts()))
    parts = lambda: (trunk_of(spy.model), spy.model.get_layer("score").get_weights()[0])  # noqa: E731
    bundle = fit("fcn8s_small", out=tmp_path / "run", changes=FIRST_STILL, callbacks=[spy])
    (first, score), (second, later) = seen
    assert same(first, clothes)
    moved = [name for name in clothes if not same({name: second[name]}, {name: clothes[name]})]
    assert moved == list(clothes) and np.abs(later - score).max() > 0
    saved = trunk_of(load_model(bundle.path))
    assert same(saved, second)
    known = Bundle(weights.find_shipped("resnet20", "fashion_mnist")).card.preprocessing
    found = bundle.card.preprocessing
    assert found == {**known, "size": 64} and bundle.card.inputs["image"].shape == GREY


def test_features_of_a_frozen_trunk_are_those_of_inference():
    net = zoo.create("unet_small", input_shape=GREY, trunk="resnet20", **ON_RESNET["unet_small"])
    fill(net)
    x = np.random.RandomState(0).uniform(-1, 1, (2, *GREY)).astype("float32")
    view = keras.Model(net.input, net.get_layer("stage3_block3_relu").output)
    quiet = view(x, training=False)
    frozen = freeze(net, 0.0)
    np.testing.assert_array_equal(view(x, training=True), quiet)
    thaw(frozen)
    assert np.abs(view(x, training=True) - quiet).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("vgg11", [1, 2, 4, 8, 16, 32]),
        ("resnet18", [4, 8, 16, 32]),
        ("resnet20", [1, 2, 4]),
        ("mobilenet_v2", [2, 4, 8, 16, 32]),
        ("efficientnet_lite0", [2, 4, 8, 16, 32]),
        ("resnet50_v2", [4, 8, 16, 32]),
    ],
)
def test_each_stride_has_the_maps_of_its_last_stage(name, strides):
    with keras.StatelessScope(initialize_variables=False):
        _, maps = trunk_maps(name, (96, 64, 3))
    assert sorted(maps) == strides
    assert all(x.shape[1:3] == (96 // stride, 64 // stride) for stride, x in maps.items())
    keras.utils.clear_session()


@pytest.mark.parametrize("target", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_network_on_a_trunk_is_exported(target, tmp_path):
    net = zoo.create("unet_small", input_shape=GREY, trunk="resnet20", **ON_RESNET["unet_small"])
    fill(net)
    images = np.random.RandomState(7).uniform(-1, 1, (8, *GREY)).astype("float32")
    assert export.export(net, target, tmp_path / target, samples=images).manifest.parity.passed


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_a_detector_on_a_pyramid_of_a_trunk_is_exported(target, tmp_path):
    settings = {"trunk": "mobilenet_v2_fpn", "trunk_settings": {"width": 0.35}, "width": 16}
    net = zoo.create("faster_rcnn_small", anchor_scale=4, units=16, regions=8, **settings)
    fill(net)
    images = np.random.RandomState(7).uniform(-1, 1, (8, *COLOUR)).astype("float32")
    assert export.export(net, target, tmp_path / target, samples=images).manifest.parity.passed


@pytest.mark.slow  # 33 million weights
def test_the_digits_vgg16_slides_over_scenes():
    """All its layers but the last: the dense ones are convolutions of 1x1, for 32 pixels."""
    known = zoo.create("vgg16", weights="mnist5k")
    settings = {"trunk": "vgg16", "units": 4096, "window": 1, "dropout": 0.0, "stride": 32}
    net = zoo.create("fcn32s_small", input_shape=(32, 32, 1), weights="mnist5k", **settings)
    assert same(trunk_of(net), trunk_of(known))
    x = np.random.RandomState(0).uniform(0, 2, (2, 32, 32, 1)).astype("float32")
    mine, theirs = (
        keras.Model(one.input, one.get_layer("fc7_relu").output)(x) for one in (net, known)
    )
    np.testing.assert_allclose(np.reshape(mine, theirs.shape), theirs, rtol=1e-4, atol=1e-5)
    assert np.abs(theirs).max() > 0.1


def test_the_weights_of_imagenet_make_a_trunk(monkeypatch):
    monkeypatch.delenv("ZOO_HOME", raising=False)  # where `zoo weights get` puts them
    if not weights.find_weights("mobilenet_v2").file.place.is_file():
        pytest.skip("not fetched: zoo weights get mobilenet_v2")
    settings = {"trunk": "mobilenet_v2_fpn", "anchor_scale": 4, "width": 16, "units": 16}
    net = zoo.create("faster_rcnn_small", weights="imagenet", **settings)
    known = trunk_of(zoo.create("mobilenet_v2", weights="imagenet"))
    mine = trunk_of(net)
    assert len(mine) == 102 and same(known, mine)
    assert {"anchor_logits", "logits"} <= set(learnt(net).output)


SMALL = {"trunk": "resnet20", "depth": 2}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SMALL | {"weights": "fashion_mnist"}, "(64, 64, 3); expected channels: 1. In a recipe: d"),
        (SMALL | {"weights": "mnist5k"}, "resnet20: unknown weights 'mnist5k'. Did you mean 'fa"),
        (SMALL | {"trunk": "resnet32", "weights": "imagenet"}, "resnet32: has no trained weights."),
        (
            SMALL | {"weights": "fashion_mnist", "input_shape": GREY}
            | {"trunk_settings": {"depth": 32}},
            "of resnet20: has no layer 'stage1_block4_conv1'; expected the trunk's own",
        ),
        ({"trunk": "mobilnet_v2"}, "unknown model 'mobilnet_v2'. Did you mean 'mobilenet_v2'?"),
        ({"trunk": "lenet5"}, "trunk: got 'lenet5'; expected a row of vgg, resnet,"),
        ({"trunk": "resnet20"}, "maps have strides 1, 2, 4; expected same, and a depth that leads"),
        ({"trunk": "resnet20_c4"}, "unknown model 'resnet20_c4'"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        zoo.create("unet_small", **settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trunk": "resnet20_fpn"}, "maps have strides 1, 2, 4; expected 4, 8, 16, 32 among them"),
        ({"trunk": "mobilenet_v2_c4"}, "expected a ResNet, e.g. resnet50_c4"),
        ({"trunk": "resnet18_c4", "bins": 5, "masks": 7}, "bins 5 and masks 7; expected a ResNet"),
        (
            {"trunk": "resnet20"},
            "settings.stride: got 16 of resnet20, whose maps have 1, 2, 4; expected one",
        ),
    ],
)
def test_a_detector_on_maps_that_are_not_there_is_one_line(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        zoo.create("faster_rcnn_small", **settings)
