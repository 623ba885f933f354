"""Measures of masks against scikit-learn, scikit-image and brute force, and what judges a task."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from skimage.segmentation import find_boundaries
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score

from zoo.common.columns import IGNORED, Column
from zoo.metrics import segmentation
from zoo.recipe import resolve
from zoo.tasks.places.segment import Segment

NAMES = ("background", *"0123456789")


def blobs(seed, *, num=4, side=24, classes=5):
    """Masks of rectangles, as true ones and as guesses that are a little off."""
    random = np.random.RandomState(seed)
    masks = np.zeros((num, side, side), np.uint8)
    for mask in masks:
        for _ in range(4):
            top, left, high, wide = random.randint(1, side // 2, size=4)
            mask[top : top + high, left : left + wide] = random.randint(1, classes)
    guesses = np.roll(masks, 1, axis=1)
    wrong = random.uniform(size=masks.shape) < 0.02
    guesses[wrong] = random.randint(0, classes, size=wrong.sum())
    masks[:, :2, :3] = IGNORED
    return masks, guesses


@pytest.mark.oracle
def test_ratios_equal_scikit_learn():
    masks, guesses = blobs(0)
    counts = segmentation.count_pixels(masks, guesses, 7)  # two classes are nowhere
    known = masks != IGNORED
    pair = masks[known], guesses[known]
    dice = segmentation.class_dice(counts)
    np.testing.assert_allclose(dice[:5], f1_score(*pair, average=None))
    assert np.isnan(dice[5:]).all()
    assert segmentation.mean_dice(counts) == pytest.approx(f1_score(*pair, average=None)[1:].mean())
    weighted = jaccard_score(*pair, average="weighted")
    assert segmentation.frequency_iou(counts) == pytest.approx(weighted)
    assert segmentation.mean_accuracy(counts) == pytest.approx(balanced_accuracy_score(*pair))
    assert len({round(value, 3) for value in (weighted, segmentation.mean_iou(counts))}) == 2


def test_a_class_that_is_only_guessed_has_no_accuracy():
    counts = np.array([[6, 0, 2], [0, 0, 0], [1, 0, 3]])
    assert segmentation.mean_accuracy(counts) == pytest.approx((6 / 8 + 3 / 4) / 2)
    assert segmentation.mean_dice(counts) == pytest.approx(6 / 9)
    counts[0] = 5, 1, 2
    assert segmentation.mean_accuracy(counts) == pytest.approx((5 / 8 + 3 / 4) / 2)
    assert segmentation.mean_dice(counts) == pytest.approx((0 + 6 / 9) / 2)


@pytest.mark.oracle
def test_edges_are_scikit_images():
    for mask in blobs(1)[1]:
        np.testing.assert_array_equal(segmentation.edges(mask), find_boundaries(mask, mode="thick"))


def points(mask, label):
    """Pixels of a class that have one of another class at their side, one after the other."""
    height, width = mask.shape
    found = []
    for y, x in np.argwhere(mask == label):
        beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [mask[i, j] for i, j in beside if 0 <= i < height and 0 <= j < width]
        if any(other not in (label, IGNORED) for other in inside):
            found.append((y, x))
    return np.array(found).reshape(-1, 2)


@pytest.mark.oracle
@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_boundaries_equal_all_distances(tolerance):
    masks, guesses = blobs(2)
    expected = np.zeros((6, 4), int)
    for mask, guess in zip(masks, guesses, strict=True):
        guess = np.where(mask == IGNORED, IGNORED, guess)
        for label in range(6):
            true, guessed = points(mask, label), points(guess, label)
            far = cdist(guessed, true)
            near = [(far.min(axis=a) <= tolerance).sum() if far.size else 0 for a in (1, 0)]
            expected[label] += near[0], len(guessed), near[1], len(true)
    found = segmentation.count_boundaries(masks, guesses, 6, tolerance=tolerance)
    np.testing.assert_array_equal(found, expected)
    scores = []
    for near, guessed, reached, true in expected:
        if guessed + true:
            precision, recall = near / max(guessed, 1), reached / max(true, 1)
            both = precision + recall
            scores.append(2 * precision * recall / both if both else 0)
    assert segmentation.boundary_f(found) == pytest.approx(np.mean(scores))


def test_a_boundary_may_be_off_by_the_tolerance():
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[:, 20:40, 20:40] = 1
    assert segmentation.reach(64, 64) == 1 and segmentation.reach(500, 500) == 5
    scores = [
        segmentation.boundary_f(segmentation.count_boundaries(masks, np.roll(masks, n, 1), 2))
        for n in (0, 1, 2)
    ]
    assert scores[0] == scores[1] == 1.0 and 0.4 < scores[2] < 0.7  # two sides of four stay near
    nothing = np.zeros_like(masks)
    assert segmentation.boundary_f(segmentation.count_boundaries(nothing, nothing, 2)) == 0.0
    assert segmentation.boundary_f(segmentation.count_boundaries(masks, nothing, 2)) == 0.0


@pytest.mark.parametrize("foreground", [False, True])
def test_the_meter_reports_them_all(foreground):
    masks, guesses = blobs(3, classes=11)
    column = Column("mask", masks.shape[1:], NAMES)
    task = Segment(foreground=foreground)
    meter = task.meter({"image": Column("image", (24, 24, 3)), "mask": column})
    if foreground:
        guesses = np.minimum(guesses, 1)
    outputs = np.eye(2 if foreground else 11, dtype=np.float32)[guesses]
    for part in (slice(0, 3), slice(3, 4)):
        batch = {"image": np.zeros((*masks[part].shape, 3), "float32"), "mask": masks[part]}
        meter.add(batch, outputs[part])
    found = meter.result()
    truth = np.where(masks == IGNORED, IGNORED, np.minimum(masks, 1)) if foreground else masks
    counts = segmentation.count_pixels(truth, guesses, outputs.shape[-1])
    for name in ("frequency_iou", "mean_accuracy", "mean_dice", "mean_iou"):
        assert found.metrics[name] == getattr(segmentation, name)(counts), name
    lines = segmentation.count_boundaries(truth, guesses, outputs.shape[-1])
    assert found.metrics["boundary_f"] == segmentation.boundary_f(lines)
    dice = [row["dice"] for row in found.tables["per_class"]]
    np.testing.assert_allclose(
        [np.nan if x is None else x for x in dice], segmentation.class_dice(counts)
    )


def test_several_classes_are_judged_by_each_of_them():
    """Guessing one digit everywhere a digit is finds all of the foreground, and no class."""
    assert resolve("unet_small").task.headline.name == "foreground_iou"
    assert resolve("fcn8s_small").task.headline.name == "mean_iou"
    masks = np.random.RandomState(0).randint(0, 11, size=(2, 8, 8)).astype(np.uint8)
    counts = segmentation.count_pixels(masks, np.minimum(masks, 1), 11)
    assert segmentation.foreground_iou(counts) == 1.0
    assert segmentation.mean_iou(counts) < 0.15
    assert Segment().headline.higher and Segment().headline.fraction
