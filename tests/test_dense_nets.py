"""Networks that answer for each pixel: the papers' counts, and what they are equal to."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo.data
from tests.golden.vector import fill
from zoo.models.convolutional import convolutionalize
from zoo.models.faster_rcnn import faster_rcnn
from zoo.models.fcn import bilinear, fcn
from zoo.models.recurrent_cnn import recurrent_cnn
from zoo.models.segnet import segnet
from zoo.models.vgg import vgg
from zoo.tasks.places.segment import Segment

SMALL = {"input_shape": (64, 64, 3), "num_classes": 11}
FCN = {"convs": (1, 1, 1, 1, 1), "filters": (4, 4, 8, 8, 8), "units": 8, "window": 3, "pad": 0}


@pytest.fixture
def sketch():
    """Builds without memory for the weights."""

    def build(builder, **settings):
        with keras.StatelessScope(initialize_variables=False):
            net = builder(name="net", **settings)
        return sum(int(np.prod(weight.shape)) for weight in net.weights)

    yield build
    keras.utils.clear_session()  # or Keras makes the weights up later


def test_counts_are_those_of_the_papers(sketch):
    voc = {"input_shape": (500, 500, 3), "num_classes": 21}
    assert sketch(fcn, stride=8, **voc) == 134_489_759  # with its upsampling
    assert sketch(fcn, stride=32, **voc) == 134_346_581 + 64 * 64 * 21 * 21
    road = {"input_shape": (352, 480, 3), "num_classes": 12, "batch_norm": False}
    assert sketch(segnet, **road) == 29_434_060
    noh = {"input_shape": (224, 224, 3), "num_classes": 21, "batch_norm": False}
    assert sketch(segnet, units=4096, **noh) == 251_772_245


def test_detectors_that_split_a_resnet_are_counted_by_hand(sketch):
    """He et al. 2017, figure 4 on the left: stages 1 to 3, and stage 4 on each region."""
    coco = {"trunk": "resnet50_c4", "input_shape": (800, 800, 3), "num_classes": 80, "bins": 7}
    stages = 25_557_032 - (2048 * 1000 + 1000)  # ResNet-50 without its logits
    proposals = 9 * 1024 * 1024 + 1024 + 1024 * (15 + 4 * 15) + 5 * 15  # 5 sizes, 3 ratios
    answers = 2048 * (81 + 4 * 81) + 5 * 81
    masks = 2048 * 256 * 2 * 2 + 256 + 256 * 80 + 80
    statistics = 53_120  # of the normalisations, which are no parameters
    whole = stages + proposals + answers
    assert sketch(faster_rcnn, **coco) - statistics == whole == 33_852_960
    assert sketch(faster_rcnn, **coco, masks=7) - statistics == whole + masks == 35_970_928


def test_fcn_scores_what_the_classifier_that_slides_does():
    net = fcn(name="net", **SMALL, convs=(1, 1, 1, 1, 1), units=4096, window=1, pad=0, stride=32)
    known = vgg(name="vgg", input_shape=(32, 32, 3), num_classes=11, convs=(1, 1, 1, 1, 1))
    fill(known)
    wide = convolutionalize(known, size=(64, 64))
    for layer in wide.layers:
        if layer.weights:
            name = {"logits": "score"}.get(layer.name, layer.name)
            net.get_layer(name).set_weights(layer.get_weights())
    images = np.random.RandomState(0).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    score = keras.Model(net.input, net.get_layer("score").output)
    np.testing.assert_allclose(score(images), wide(images), rtol=1e-4, atol=1e-4)


def test_fresh_skips_say_nothing_and_upsampling_interpolates():
    """FCN-8s of zero skips is FCN-32s; a ramp stays a ramp."""
    coarse, fine = (fcn(name="net", **SMALL, stride=s, **FCN) for s in (32, 8))
    for layer in fine.layers:
        if layer.name in ("fc6", "fc7", "score") or layer.name.startswith("stage"):
            layer.set_weights(coarse.get_layer(layer.name).get_weights())
    images = np.random.RandomState(1).uniform(-1, 1, (2, 64, 64, 3)).astype(np.float32)
    both = [ops.convert_to_numpy(net(images)) for net in (coarse, fine)]
    # 32 at once, or 2, 2 and 8: alike but where two pieces of the line meet
    assert np.corrcoef(both[0].ravel(), both[1].ravel())[0, 1] > 0.95
    ramp = np.broadcast_to(np.arange(6.0)[None, :, None, None], (1, 6, 6, 1)).astype(np.float32)
    up = keras.layers.Conv2DTranspose(1, 8, strides=4, padding="same", use_bias=False)
    up.build(ramp.shape)
    up.kernel.assign(bilinear(8, 1))
    inside = ops.convert_to_numpy(up(ramp))[0, 4:-4, 8, 0]
    np.testing.assert_allclose(np.diff(inside), 0.25, atol=1e-6)
    np.testing.assert_allclose(inside.mean(), 2.5, atol=1e-6)


@pytest.mark.parametrize("stride", [32, 16, 8])
def test_the_padded_answer_lies_over_the_picture(stride):
    """Only where something changes does the answer change, in the middle of what sees it."""
    settings = FCN | {"pad": 100, "window": 7}
    net = fcn(name="net", input_shape=(96, 96, 3), num_classes=2, stride=stride, **settings)
    fill(net)
    for weight in net.weights:  # all positive: nothing cancels, nothing dies
        weight.assign(ops.abs(weight))
    one, other = (np.full((1, 96, 96, 3), 0.5, np.float32) for _ in range(2))
    other[:, 40:56, 40:56] = 1.0
    moved = ops.convert_to_numpy(net(other) - net(one))[0, ..., 0]
    rows = (moved.sum(1) * np.arange(96)).sum() / moved.sum()
    assert abs(rows - 47.5) < 6


def test_unpooling_puts_maxima_back():
    """With the identity for convolutions, what comes out is what stood at the maxima."""
    x = np.random.RandomState(2).permutation(64).reshape(1, 8, 8, 1).astype(np.float32)
    net = segnet(
        name="net", input_shape=(8, 8, 1), num_classes=1, convs=(1,), filters=(1,), batch_norm=False
    )
    for layer in net.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.zeros(layer.kernel.shape, np.float32)
            kernel[1, 1, 0, 0] = 1
            layer.set_weights([kernel, np.zeros(1, np.float32)])
    windows = x.reshape(4, 2, 4, 2)
    largest = windows == windows.max(axis=(1, 3), keepdims=True)
    np.testing.assert_array_equal(net(x)[0, ..., 0], (windows * largest).reshape(8, 8))


def test_recurrence_is_the_loop_of_the_paper():
    """The net of three instances, written with a loop over one set of kernels."""
    import tensorflow as tf

    settings = {"input_shape": (16, 16, 3), "num_classes": 4, "filters": (5, 6), "window": 3}
    net = recurrent_cnn(name="net", instances=3, **settings)
    fill(net)
    images = np.random.RandomState(3).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    labels = tf.zeros((2, 4, 4, 4))
    for index in (1, 2, 3):
        times = 2 ** (3 - index)
        x = tf.nn.avg_pool2d(images, times, times, "VALID") if times > 1 else images
        if index > 1:
            labels = tf.image.resize(labels, x.shape[1:3])
        x = tf.concat([x, labels], axis=-1)
        for place in (1, 2):
            x = tf.nn.conv2d(x, net.get_layer(f"conv{place}").kernel, 1, "SAME")
            norm = net.get_layer(f"instance{index}_bn{place}")
            gamma, beta, mean, variance = norm.get_weights()
            x = tf.nn.relu((x - mean) * gamma / np.sqrt(variance + norm.epsilon) + beta)
        score = net.get_layer("score")
        scores = tf.nn.conv2d(x, score.kernel, 1, "SAME") + score.bias
        labels = tf.nn.softmax(scores)
    got = net(images)
    assert set(got) == {"auxiliary1", "auxiliary2", "logits"}
    np.testing.assert_allclose(got["logits"], scores, rtol=1e-4, atol=1e-4)


def test_earlier_instances_are_learnt_too():
    scenes = zoo.data.load("digit_scenes")
    net = recurrent_cnn(name="net", instances=2, filters=(4,), window=3, **SMALL)
    batch = {"image": scenes.train["image"][:2] / np.float32(255), "mask": scenes.train["mask"][:2]}
    seen = Segment().look("loss", {"net": net}, batch, training=False)
    assert seen.loss.values.shape == (2, 64, 64)
    assert float(ops.mean(seen.loss.values)) > 1.2 * float(ops.mean(seen.measures["loss"].values))
    assert Segment().deployed({"net": net}).output_shape == (None, 64, 64, 11)


def test_sides_that_do_not_fit_are_one_line():
    with pytest.raises(ValueError, match=r"fcn: got a picture of 60x64 pixels; expected multiples"):
        fcn(name="net", input_shape=(60, 64, 3), num_classes=2, **FCN)
    with pytest.raises(ValueError, match=r"segnet: got a side of 60 pixels; expected a multiple"):
        segnet(name="net", input_shape=(60, 64, 3), num_classes=2)
    with pytest.raises(ValueError, match=r"expected 1 or more, and sides that are multiples of 4"):
        recurrent_cnn(name="net", input_shape=(62, 64, 3), num_classes=2, instances=3)
