"""Detectors that are given regions, and those before them: sliding window, R-CNN, Fast R-CNN."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from tests import scenes as kit
from zoo.baselines import crops, sliding_window
from zoo.baselines.rcnn import choose, rcnn, regress
from zoo.data.augment.geometry import carry, draw
from zoo.data.loading import load
from zoo.data.sets import regions
from zoo.models.build import create
from zoo.recipe import Augment, resolve
from zoo.stages.export import export as exported
from zoo.stages.opening import reopen
from zoo.stages.predict import _inputs, predict
from zoo.tasks.places.detect import anchors_of, learnt
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = ["settings.width=8", "settings.units=16", "train.epochs=1", "data.limit=32"]


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def data(_few):
    return load("digit_scenes_regions")


@pytest.fixture(scope="module")
def bundle(_few, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "fast"
    return fit("fast_rcnn_small", out=out, changes=SMALL, force=True)


def test_overlaps_are_those_of_counted_pixels():
    random = np.random.RandomState(0)
    boxes, others = np.sort(random.randint(0, 20, (2, 6, 2, 2)), axis=2).reshape(2, 6, 4)
    found = crops.overlaps(boxes, others)

    def pixels(box):
        mask = np.zeros((20, 20), bool)
        mask[box[0] : box[2], box[1] : box[3]] = True
        return mask

    for i, j in np.ndindex(6, 6):
        one, other = pixels(boxes[i]), pixels(others[j])
        union = (one | other).sum()
        assert found[i, j] == pytest.approx((one & other).sum() / union if union else 0)


def test_a_plain_thing_on_a_plain_ground_is_a_region():
    image = np.full((64, 64, 3), 40, np.uint8)
    image[10:40, 20:35] = 220
    found = regions.propose(image, 8)
    assert found.shape == (8, 4) and found.dtype == np.float32
    assert crops.overlaps(found, np.array([[10, 20, 40, 35]])).max() > 0.9
    assert crops.overlaps(found, np.array([[0, 0, 64, 64]])).max() == 1  # what all became
    np.testing.assert_array_equal(found, regions.propose(image, 8))
    assert regions.propose(image[..., :1], 8).any()


def test_neighbours_that_look_alike_merge_first():
    """Three stripes, two of them of one colour: these two are one before all three are."""
    parts = [
        regions._Segment(40.0, np.eye(24)[kind], (0, 10 * i, 4, 10 * i + 10))
        for i, kind in enumerate((0, 1, 1))
    ]
    boxes = regions._merged(parts, [(0, 1), (1, 2)])
    assert boxes[:2] == [[0, 0, 4, 30], [0, 10, 4, 30]] and len(boxes) == 5


def test_regions_hold_most_digits(data):
    """By the paper's measure, the share of things that some region overlaps by one half."""
    best = [
        crops.overlaps(boxes[kinds >= 0], given).max(axis=1)
        for boxes, kinds, given in zip(
            *(data.train[name] for name in ("boxes", "classes", "regions")), strict=True
        )
    ]
    assert np.mean(np.concatenate(best) > 0.5) > 0.9
    given = data.train["regions"]
    assert given.min() >= 0 and given.max() <= 64
    none = ~given.any(axis=-1)
    assert (np.diff(none.astype(int), axis=1) >= 0).all()  # zeros are behind the last one


def test_the_cache_keeps_regions(data, monkeypatch):
    monkeypatch.setattr(regions, "propose", None)
    again = load("digit_scenes_regions")
    np.testing.assert_array_equal(again.test["regions"], data.test["regions"])


def test_regions_move_with_the_picture(data):
    settings = Augment(shift=6, scale=0.2, rotate=10.0, mirror=True)
    batch = {name: tf.constant(data.train[name][:16]) for name in ("image", "boxes", "classes")}
    batch["regions"] = batch["boxes"]
    moved = carry(batch, draw(16, tf.constant([1, 2]), settings), settings)
    real = moved["classes"].numpy() >= 0
    assert real.any() and not np.allclose(moved["boxes"], batch["boxes"])
    np.testing.assert_array_equal(moved["regions"].numpy()[real], moved["boxes"].numpy()[real])
    assert not moved["regions"].numpy()[~real].any()


def test_the_papers_network():
    """Girshick 2015 on VGG-16, counted by hand: convolutions, fc6, fc7, classes, boxes."""
    with keras.StatelessScope(initialize_variables=False):
        net = create("fast_rcnn", input_shape=(128, 160, 3), regions=8)
    heads = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4097 * 21 + 4097 * 84
    assert net.count_params() == 14_714_688 + heads == 134_690_729
    assert [x.name for x in net.inputs] == ["image", "regions"]
    assert type(net.get_layer("roi")).__name__ == "ROIPooling"


def test_only_the_given_regions_are_looked_at(data):
    keras.utils.set_random_seed(0)
    net = create("fast_rcnn_small", width=8, units=16)
    view = learnt(net)
    assert anchors_of(net) is None and set(view.output) == {"logits", "offsets", "regions"}
    images = data.test["image"][:2].astype(np.float32) / 255
    given = data.test["regions"][:2].copy()
    given[:, 5:] = 0
    heads = view([images, given])
    np.testing.assert_array_equal(heads["regions"], given)
    outputs = net([images, given])
    assert (np.asarray(outputs["scores"]) > 0).any()
    nothing = net([images, np.zeros_like(given)])
    assert not np.asarray(nothing["scores"]).any() and (np.asarray(nothing["classes"]) == -1).all()


def test_fast_rcnn_trains_and_finds_its_regions_itself(bundle, tmp_path):
    card = bundle.card
    assert list(card.inputs) == ["image", "regions"] and card.task == "detect"
    assert {"map", "ap50"} <= set(bundle.report.metrics)
    path = tmp_path / "scene.png"
    scene = load("digit_scenes").test["image"][0]
    Image.fromarray(scene).save(path)
    found = predict(bundle, [path])
    opened = reopen(bundle)
    raw = {"image": scene[None], "regions": regions.propose_all(scene[None], 64)}
    outputs = opened.model(list(opened.run.inputs(raw).values()))
    scores = np.asarray(outputs["scores"])[0]
    np.testing.assert_allclose([row["probability"] for row in found], scores[scores > 0], atol=1e-5)


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_fast_rcnn_is_exported_with_two_inputs(bundle, target, tmp_path):
    (done,) = exported(bundle, target, out=tmp_path)
    assert done.manifest.parity.passed and done.manifest.score
    assert [spec.name for spec in done.manifest.signature.inputs] == ["image", "regions"]


def test_what_no_file_tells_is_refused(bundle, tmp_path):
    image, other = keras.Input((64, 64, 3), name="image"), keras.Input((3,), name="noise")
    mixed = keras.Model([image, other], keras.layers.Flatten()(image))
    pictures = np.zeros((1, 64, 64, 3), np.uint8)
    with pytest.raises(ValueError, match=r"^predict: the model reads noise, which is not in"):
        _inputs(mixed, pictures / 255, pictures, bundle.card, ["one.png"])


def test_data_without_regions_are_refused():
    run = Run(resolve("fast_rcnn_small", data="digit_scenes", changes=SMALL))
    with pytest.raises(ValueError, match=r"reads image, regions; got the columns image, boxes"):
        run.train(run.create())


def test_crops_are_the_boxes_warped():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = [200, 100, 50]
    (whole,) = crops.cut(image, np.array([[10, 30, 20, 50]]))
    assert whole.shape == (32, 32, 3) and (whole[2:-2, 2:-2] == [200, 100, 50]).all()
    (framed,) = crops.cut(image, np.array([[10, 30, 20, 50]]), frame=8)
    assert (framed[10:22, 10:22] == [200, 100, 50]).all() and not framed[:6].any()
    (edge,) = crops.cut(image[10:20, 30:50], np.array([[-5, -5, 15, 25]]))
    assert (edge == [200, 100, 50]).all()  # the last pixels go on


def test_regions_of_a_thing_are_chosen():
    truth, kinds = np.array([[0, 0, 20, 20.0]]), np.array([3])
    given = np.array([[0, 0, 20, 18], [0, 0, 20, 8], [40, 40, 60, 60.0]])  # IoU .9, .4, 0
    boxes, which = choose(np.random.RandomState(0), truth, kinds, given)
    np.testing.assert_array_equal(boxes, [truth[0], given[0], given[2]])
    np.testing.assert_array_equal(which, [0, 0, -1])


def test_ridge_regression_is_scikit_learns():
    from sklearn.linear_model import Ridge

    random = np.random.RandomState(1)
    x, y, kinds = (
        random.normal(size=(90, 7)),
        random.normal(size=(90, 4)),
        random.randint(3, size=90),
    )
    found = regress(x, y, kinds, 4)
    for kind in range(3):
        own = kinds == kind
        theirs = Ridge(alpha=1000.0).fit(x[own], y[own])
        np.testing.assert_allclose(found[kind, :-1], theirs.coef_.T, atol=1e-6)
        np.testing.assert_allclose(found[kind, -1], theirs.intercept_, atol=1e-6)
    assert not found[3].any()


def test_windows_stand_where_the_sliding_net_looks(data):
    """The classifier of one window alone says what the net says at its place."""
    keras.utils.set_random_seed(2)
    net = create("caffe_lenet", input_shape=(32, 32, 3), num_classes=3)
    wide = zoo.convolutionalize(net, size=(48, 56))
    images = np.random.RandomState(2).uniform(size=(1, 48, 56, 3)).astype(np.float32)
    answers = np.asarray(wide(images))[0]
    boxes = sliding_window._boxes(
        answers.shape[:2], (4, 4), (48, 56), (48, 56), np.ones((1, 2))
    ).reshape(*answers.shape[:2], 4)
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    for row, column in np.ndindex(answers.shape[:2]):
        top, left = (middles[row, column] - 16).astype(int)
        window = images[:, top : top + 32, left : left + 32]
        np.testing.assert_allclose(net(window)[0], answers[row, column], atol=1e-4)


@pytest.mark.parametrize("fitted", [rcnn, sliding_window.sliding_window])
def test_what_was_before_networks_of_boxes_runs(fitted, data):
    """Six scenes learnt by heart: more is found in them than chance finds."""
    from zoo.metrics.detection import Things, average_precision

    few = data.train[:6]
    detect = fitted(few, 10, epochs=25)
    found = [detect(image) for image in few["image"]]
    truth = [
        Things(boxes[kinds >= 0], kinds[kinds >= 0])
        for boxes, kinds in zip(few["boxes"], few["classes"], strict=True)
    ]
    metrics, _ = average_precision(truth, found, data.columns["classes"].names)
    assert metrics["ap50"] > 0.3
    assert all(one.boxes.min(initial=0) >= 0 and one.boxes.max(initial=0) <= 64 for one in found)
