"""Detection: its pieces against brute force, a network that learns, files with boxes inside."""

import keras
import numpy as np
import pytest
from keras import ops

import zoo
import zoo.data
from zoo.common.placed import pasted
from zoo.layers.proposals import BOX_VARIANCE, Detections, Grid, Proposals, decode, encode
from zoo.layers.roi import ROIAlign, ROIPooling, _gathered, _multiplied, levels
from zoo.metrics.detection import Things, average_precision
from zoo.tasks.places import detection_loss
from zoo.tasks.places.detect import Detect, anchors_of, learnt


def some_boxes(random, batch, num, side):
    """Boxes (batch, num, 4) within a picture, each of at least one pixel."""
    ends = np.sort(random.uniform(0, side - 1, (batch, num, 2, 2)), axis=2)
    ends[:, :, 1] += 1
    return ends.reshape(batch, num, 4).astype(np.float32)


def bilinear(maps, y, x):
    """A sample of one picture's maps, as torchvision's kernel takes it."""
    height, width, _ = maps.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(maps.shape[2])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    down, right = min(top + 1, height - 1), min(left + 1, width - 1)
    v, h = y - top, x - left
    upper = maps[top, left] * (1 - h) + maps[top, right] * h
    return upper * (1 - v) + (maps[down, left] * (1 - h) + maps[down, right] * h) * v


@pytest.mark.parametrize("aligned", [True, False])
def test_aligned_regions_are_means_of_bilinear_samples(aligned):
    random = np.random.RandomState(0)
    maps = random.normal(size=(2, 9, 12, 3)).astype(np.float32)
    regions = some_boxes(random, 2, 5, 36) * 1.2 - 6  # some reach out of the picture
    got = ROIAlign(4, strides=[4], samples=2, aligned=aligned)([maps, regions])
    for picture, region in np.ndindex(2, 5):
        y1, x1, y2, x2 = regions[picture, region] / 4 - (0.5 if aligned else 0)
        tall, wide = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        for row, column in np.ndindex(4, 4):
            mean = np.mean(
                [
                    bilinear(maps[picture], y1 + (row + v) * tall / 4, x1 + (column + h) * wide / 4)
                    for v in (0.25, 0.75)
                    for h in (0.25, 0.75)
                ],
                axis=0,
            )
            np.testing.assert_allclose(got[picture, region, row, column], mean, atol=2e-6)


def test_both_forms_of_alignment_agree():
    random = np.random.RandomState(1)
    maps = random.normal(size=(3, 7, 11, 4)).astype(np.float32)
    places = [random.uniform(-2, size + 1, (3, 6, 8)).astype(np.float32) for size in (7, 11)]
    one, other = (form(maps, *places, 4) for form in (_gathered, _multiplied))
    assert one.shape == (3, 6, 4, 4, 4)
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_pooled_regions_are_maxima_of_whole_places():
    random = np.random.RandomState(2)
    maps = random.normal(size=(2, 9, 9, 2)).astype(np.float32)
    regions = some_boxes(random, 2, 6, 36)
    got = ops.convert_to_numpy(ROIPooling(3, strides=[4])([maps, regions]))
    empty = 0
    for picture, region in np.ndindex(2, 6):
        y1, x1, y2, x2 = (int(np.floor(v / 4 + 0.5)) for v in regions[picture, region])
        tall, wide = max(y2 - y1 + 1, 1), max(x2 - x1 + 1, 1)
        for row, column in np.ndindex(3, 3):
            rows = slice(min(y1 + row * tall // 3, 9), min(y1 + -(-(row + 1) * tall // 3), 9))
            columns = slice(
                min(x1 + column * wide // 3, 9), min(x1 + -(-(column + 1) * wide // 3), 9)
            )
            window = maps[picture, rows, columns]
            empty += not window.size
            expected = window.max(axis=(0, 1)) if window.size else np.zeros(2)
            np.testing.assert_array_equal(got[picture, region, row, column], expected)
    assert empty  # a region at the edge has bins without a place


def test_a_region_of_a_pyramid_reads_the_level_of_its_size():
    sides = np.array([16, 111, 112, 223, 224, 447, 448, 900], np.float32)
    regions = np.stack([0 * sides, 0 * sides, sides, sides], axis=-1)[None]
    np.testing.assert_array_equal(levels(regions, [4, 8, 16, 32])[0], [0, 0, 1, 1, 2, 2, 3, 3])
    random = np.random.RandomState(3)
    maps = [random.normal(size=(1, 64 // s, 64 // s, 2)).astype(np.float32) for s in (4, 8)]
    regions = np.array([[[0, 0, 40, 40], [0, 0, 150, 150]]], np.float32)
    both = ROIAlign(3, strides=[4, 8])([*maps, regions])
    for index, stride in enumerate((4, 8)):
        own = ROIAlign(3, strides=[stride])([maps[index], regions])
        np.testing.assert_allclose(both[0, index], own[0, index], atol=1e-6)


def test_anchors_have_the_size_and_ratio_that_were_asked_for():
    boxes = Grid(2, 3, 8, (16.0, 32.0), (0.5, 2.0)).anchors()
    assert boxes.shape == (2 * 3 * 4, 4)
    tall, wide = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    np.testing.assert_allclose(np.sqrt(tall * wide)[:4], [16, 32, 16, 32], rtol=1e-6)
    np.testing.assert_allclose((tall / wide)[:4], [0.5, 0.5, 2, 2], rtol=1e-6)
    np.testing.assert_allclose((boxes[:4, :2] + boxes[:4, 2:]) / 2, 4.0, rtol=1e-6)
    rounded = Grid(1, 1, 16, (128.0,), (0.5, 1.0, 2.0), centred=False).anchors()
    # torchvision's AnchorGenerator(((128,),), ((0.5, 1.0, 2.0),)), as y1 x1 y2 x2
    expected = [[-45, -91, 45, 91], [-64, -64, 64, 64], [-91, -45, 91, 45]]
    np.testing.assert_array_equal(rounded, expected)


def test_offsets_lead_back_to_the_box():
    random = np.random.RandomState(4)
    boxes, anchors = some_boxes(random, 2, 8, 64), some_boxes(random, 2, 8, 64)
    offsets = encode(boxes, anchors, BOX_VARIANCE)
    np.testing.assert_allclose(decode(offsets, anchors, BOX_VARIANCE, (64, 64)), boxes, atol=1e-3)
    far = ops.convert_to_numpy(
        decode(np.full((2, 8, 4), 1e4, np.float32), anchors, BOX_VARIANCE, (64, 64))
    )
    assert np.isfinite(far).all() and far.min() >= 0 and far.max() <= 64


def test_boxes_are_matched_as_by_hand():
    truth = detection_loss.Truth(
        np.array([[[0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 0, 0]]], np.float32),
        np.array([[3, 5, -1]], np.int32),
    )
    boxes = np.array(
        [[0, 0, 10, 10], [0, 0, 10, 20], [0, 0, 10, 31], [24, 24, 52, 52], [50, 50, 60, 60]],
        np.float32,
    )  # IoU 1, 1/2, 10/31, 256/928, 0
    found = detection_loss.match(boxes, truth, high=0.7, low=0.4, rescue=True)
    np.testing.assert_array_equal(found.positive, [[1, 0, 0, 1, 0]])  # the second thing's best
    np.testing.assert_array_equal(found.negative, [[0, 0, 1, 0, 1]])
    np.testing.assert_array_equal(ops.convert_to_numpy(found.which)[0, [0, 3]], [0, 1])
    plain = detection_loss.match(boxes, truth, high=0.7, low=0.4)
    np.testing.assert_array_equal(plain.positive, [[1, 0, 0, 0, 0]])
    nothing = truth._replace(classes=np.full((1, 3), -1, np.int32))
    alone = detection_loss.match(boxes, nothing, high=0.7, low=0.4, rescue=True)
    assert not np.any(alone.positive) and np.all(ops.convert_to_numpy(alone.negative) == 1)


@pytest.mark.parametrize(("positives", "negatives"), [(2, 50), (30, 50), (0, 50), (5, 3)])
def test_weights_are_the_mean_of_random_draws(positives, negatives):
    """Of 16, at most a half positive, as the papers draw."""
    num, count, random = 90, 16, np.random.RandomState(5)
    positive = (np.arange(num) < positives).astype(np.float32)[None]
    negative = (np.arange(num) >= num - negatives).astype(np.float32)[None]
    found = detection_loss.Match(np.zeros((1, num), np.int32), positive, negative)
    weights, total = detection_loss.drawn(found, count, 0.5)
    counts, drawn = np.zeros(num), []
    for _ in range(4000):
        first = random.permutation(positives)[: count // 2]
        rest = num - negatives + random.permutation(negatives)[: count - len(first)]
        counts[first] += 1
        counts[rest] += 1
        drawn.append(len(first) + len(rest))
    np.testing.assert_allclose(weights[0], counts / 4000, atol=0.04)
    assert float(total[0]) == np.mean(drawn)


def test_detections_are_those_of_the_greedy_loop():
    random = np.random.RandomState(6)
    logits = random.normal(size=(2, 12, 4)).astype(np.float32) * 2
    regions = some_boxes(random, 2, 12, 64)
    regions[:, -2:] = 0  # places that no proposal took
    offsets = random.normal(size=(2, 12, 16)).astype(np.float32)
    layer = Detections(side=(64, 64), num=8, iou_threshold=0.3, score_threshold=0.1)
    boxes, scores, classes = map(ops.convert_to_numpy, layer([logits, offsets, regions]))
    shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for picture in range(2):
        expected = []
        for kind in range(3):
            own = offsets[picture].reshape(12, 4, 4)[:, kind + 1][None]
            moved = decode(own, regions[picture][None], BOX_VARIANCE, (64, 64))
            moved = ops.convert_to_numpy(moved)[0]
            order = np.argsort(-shares[picture, :10, kind + 1])
            kept = []
            for index in order:
                if (
                    shares[picture, index, kind + 1] <= 0.1
                    or (moved[index, 2:] - moved[index, :2]).min() < 0.01
                ):
                    continue
                if all(overlap(moved[index], moved[other]) <= 0.3 for other in kept):
                    kept.append(index)
            expected += [(shares[picture, i, kind + 1], kind, moved[i]) for i in kept]
        expected = sorted(expected, key=lambda row: -row[0])[:8]
        assert len(expected) > 2
        real = scores[picture] > 0
        np.testing.assert_allclose(scores[picture][real], [row[0] for row in expected], rtol=1e-5)
        np.testing.assert_array_equal(classes[picture][real], [row[1] for row in expected])
        np.testing.assert_allclose(boxes[picture][real], [row[2] for row in expected], atol=1e-4)
        assert (classes[picture][~real] == -1).all() and not boxes[picture][~real].any()


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def test_proposals_are_the_best_anchors_that_do_not_overlap():
    grid = Grid(4, 4, 16, (16.0, 30.0), (1.0,))
    logits = np.random.RandomState(7).normal(size=(1, 32)).astype(np.float32)
    layer = Proposals([grid], side=(64, 64), num=10, candidates=32, iou_threshold=0.2)
    got = ops.convert_to_numpy(layer([logits, np.zeros((1, 32, 4), np.float32)]))[0]
    anchors = np.clip(grid.anchors(), 0, 64)
    kept = []
    for index in np.argsort(-logits[0]):
        if all(overlap(anchors[index], anchors[other]) <= 0.2 for other in kept):
            kept.append(index)
    np.testing.assert_allclose(got[: len(kept[:10])], anchors[kept[:10]], atol=1e-4)


def test_masks_are_pasted_where_their_box_is():
    mask = np.zeros((28, 28), np.float32)
    mask[:14] = 1  # the upper half
    whole = pasted(mask, np.array([8, 4, 24, 12]), (32, 32))
    expected = np.zeros((32, 32), bool)
    expected[8:16, 4:12] = True
    np.testing.assert_array_equal(whole, expected)


def test_average_precision_of_what_is_known():
    """One class is found whole; of the other one thing of two, behind a false one."""
    truth = [
        Things(np.array([[0, 0, 10, 10.0], [20, 20, 30, 30]]), np.array([0, 1])),
        Things(np.array([[5, 5, 15, 15.0]]), np.array([1])),
    ]
    found = [
        Things(
            np.array([[0, 0, 10, 10.0], [40, 40, 50, 50]]), np.array([0, 1]), np.array([0.9, 0.8])
        ),
        Things(np.array([[5, 5, 15, 15.0]]), np.array([1]), np.array([0.7])),
    ]
    metrics, each = average_precision(truth, found, ["a", "b", "c"])
    # Precision 1/2 up to a recall of 1/2: 51 of 101 places.
    np.testing.assert_allclose(each[:2], [1.0, 51 / 101 / 2], atol=1e-9)
    assert each[2] is None and "ap_large" not in metrics
    np.testing.assert_allclose(metrics["map"], np.mean(each[:2]))
    none = [Things(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 2
    assert average_precision(truth, none, ["a", "b"])[0]["map"] == 0


def test_masks_are_measured_as_masks():
    """The right box with half of the mask: an overlap of one half."""
    whole, half = (np.zeros((1, 20, 20), bool) for _ in range(2))
    whole[0, :10, :10], half[0, :5, :10] = True, True
    box, kind = np.array([[0, 0, 10, 10.0]]), np.array([0])
    truth = [Things(box, kind, None, whole), Things(box, kind, None, whole)]
    found = [Things(box, kind, np.array([s]), m) for s, m in ((0.9, whole), (0.8, half))]
    boxes, _ = average_precision(truth, found, ["a"])
    masks, _ = average_precision(truth, found, ["a"], masks=True)
    assert boxes["map"] == 1
    # At .50 both count; above it one of two, which is precise up to a recall of 1/2.
    assert masks["ap50"] == 1 and masks["ap75"] == pytest.approx(51 / 101)


@pytest.fixture(scope="module")
def scenes():
    return zoo.data.load("digit_scenes")


def test_areas_of_found_masks_are_their_own():
    """A thin thing in a large box, and a false one: both small, as COCO has it."""
    thin = np.zeros((1, 80, 80), bool)
    thin[0, :60, :8] = True  # 480 pixels
    thin[0, 59, :67] = True
    wrong, box, kind = thin[:, ::-1, ::-1], np.array([[0, 0, 60, 67.0]]), np.array([0])
    truth = [Things(box, kind, None, thin), Things(np.zeros((0, 4)), kind[:0], None, thin[:0])]
    found = [Things(box, kind, np.array([0.8]), thin), Things(box, kind, np.array([0.9]), wrong)]
    masks, _ = average_precision(truth, found, ["a"], masks=True)
    assert masks["ap_small"] == pytest.approx(0.5)


def test_where_nothing_is_there_is_no_precision():
    none = [Things(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))] * 2
    assert np.isnan(average_precision(none, none, ["a"])[0]["map"])


def test_masks_that_could_not_be_learnt_are_refused():
    net = zoo.create("mask_rcnn_small", width=16, units=32)
    batch = {
        "image": np.zeros((1, 64, 64, 3), np.float32),
        "boxes": np.array([[[4, 4, 30, 30]]], np.float32),
        "classes": np.zeros((1, 1), np.int32),
    }
    with pytest.raises(ValueError, match="it would never learn them"):
        Detect().look("loss", {"net": net}, batch, training=True)
    seen = Detect(mask_weight=0).look("loss", {"net": net}, batch, training=True)
    assert "mask_loss" not in seen.measures


@pytest.mark.parametrize("masks", [False, True])
def test_what_is_learnt_is_read_from_the_deployed_network(masks):
    keras.utils.set_random_seed(0)
    net = zoo.create("mask_rcnn_small" if masks else "faster_rcnn_small", width=16, units=32)
    view = learnt(net)
    assert learnt(net) is view and {id(w) for w in view.weights} == {id(w) for w in net.weights}
    images = np.random.RandomState(8).normal(size=(2, 64, 64, 3)).astype(np.float32)
    heads = view(images)
    boxes, scores, classes = net.get_layer("detections")(
        [heads["logits"], heads["offsets"], heads["regions"]]
    )
    answer = net(images)
    for name, values in (("boxes", boxes), ("scores", scores), ("classes", classes)):
        np.testing.assert_allclose(answer[name], values, atol=1e-5)
    assert anchors_of(net).shape == (heads["anchor_logits"].shape[1], 4)
    assert ("masks" in heads) == masks


def test_a_picture_counts_the_same_in_every_batch(scenes):
    keras.utils.set_random_seed(0)
    net = zoo.create("mask_rcnn_small", width=16, units=32)
    batch = {name: values[:6] for name, values in scenes.train.columns.items()}
    batch["image"] = batch["image"].astype(np.float32) / 255
    task, networks = Detect(), {"net": net}
    whole = task.look("loss", networks, batch, training=False)
    parts = [
        task.look("loss", networks, {k: v[i : i + 1] for k, v in batch.items()}, training=False)
        for i in range(6)
    ]
    assert set(whole.measures) == set(task.weights())
    np.testing.assert_allclose(
        whole.loss.values, [float(part.loss.values[0]) for part in parts], rtol=1e-4
    )


def test_a_scene_without_a_thing_has_a_loss_and_a_gradient(scenes):
    import tensorflow as tf

    net = zoo.create("mask_rcnn_small", width=16, units=32)
    batch = {name: values[:2].copy() for name, values in scenes.train.columns.items()}
    batch["image"] = batch["image"].astype(np.float32) / 255
    batch["boxes"][:], batch["classes"][:], batch["instances"][:] = 0, -1, 0
    with tf.GradientTape() as tape:
        seen = Detect().look("loss", {"net": net}, batch, training=True)
        total = tf.reduce_mean(seen.loss.values)
    grads = tape.gradient(total, net.trainable_variables)
    assert np.isfinite(float(total))
    assert all(np.isfinite(ops.convert_to_numpy(g)).all() for g in grads if g is not None)
