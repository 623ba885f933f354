"""Answers in a picture's own pixels, of pictures that are framed and of those that are resized."""

import numpy as np
import pytest
from pycocotools import mask as rle

from zoo.common.answers import answers
from zoo.common.images import pixels
from zoo.common.placed import placed

SIZES = [(200, 100), (60, 62)]  # width, height: resized to 64 x 64; framed by 2 and 1


def test_a_box_and_points_in_fractions_are_moved():
    box = np.array([[0.25, 0.5, 0.5, 1.5]] * 2)
    outputs = {"logits": np.zeros((2, 3)), "box": box}
    found = placed("localise", answers("localise", outputs, labels="abc"), outputs, SIZES, 64)
    told = [[row[side] for side in ("y1", "x1", "y2", "x2")] for (row,) in found]
    np.testing.assert_allclose(told, [[25, 100, 50, 200], [15, 30, 31, 60]])  # cut at the edge
    points = np.array([[[0.25, 0.5]]] * 2)
    found = placed("pose", answers("pose", points), points, SIZES, 64)
    assert list(found) == [
        [{"point": 0, "y": 25.0, "x": 100.0}], [{"point": 0, "y": 15.0, "x": 30.0}],
    ]  # fmt: skip


def test_the_masks_of_a_segmentation_are_those_of_the_pixels():
    from PIL import Image

    outputs, truths = [], []
    for width, height in SIZES:
        truth = np.zeros((height, width), np.uint8)
        truth[height // 4 : height // 2, width // 4 : width // 2] = 2
        seen = pixels(Image.fromarray(truth * 100).convert("RGB"), size=64, channels=1)[..., 0]
        outputs.append(np.eye(3)[np.rint(seen / 100).astype(int)])
        truths.append(truth)
    outputs = np.array(outputs)
    found = placed("segment", answers("segment", outputs, labels="abc"), outputs, SIZES, 64)
    for rows, truth in zip(found, truths, strict=True):
        masks = {row["label"]: rle.decode(row["mask"]) for row in rows}
        assert masks["a"].shape == truth.shape
        assert (sum(masks.values()) == 1).all()  # each pixel is of one class
        assert np.mean(masks["c"] != (truth == 2)) < 0.01
    np.testing.assert_array_equal(masks["c"], truths[1] == 2)  # a framed picture keeps its pixels


def test_things_have_their_masks():
    outputs = {
        "boxes": np.array([[[16, 16, 48, 32], [0, 0, 9, 9]]] * 2, np.float32),
        "scores": np.array([[0.9, 0.0]] * 2), "classes": np.array([[1, -1]] * 2),
        "masks": np.stack([np.ones((2, 8, 8)), np.zeros((2, 8, 8))], 1),
    }  # fmt: skip
    found = placed("detect", answers("detect", outputs, labels="ab"), outputs, SIZES, 64)
    for (row,), (top, left, bottom, right), (width, height) in zip(
        found, [(25, 50, 75, 100), (15, 14, 47, 30)], SIZES, strict=True
    ):
        assert [row[side] for side in ("y1", "x1", "y2", "x2")] == [top, left, bottom, right]
        expected = np.zeros((height, width))
        expected[top:bottom, left:right] = 1
        np.testing.assert_array_equal(rle.decode(row["mask"]), expected)


@pytest.mark.parametrize("degrees", [0, 30, 100])
def test_an_ellipse_that_is_stretched_is_an_ellipse(degrees):
    turn, a, b = np.radians(degrees), 0.3, 0.1
    out = np.array([[0.5, 0.4, np.log(a), np.log(b), np.cos(2 * turn), np.sin(2 * turn)]])
    ((row,),) = placed("ellipse", answers("ellipse", out), out, SIZES[:1], 64)
    angles = np.linspace(0, 2 * np.pi, 9)
    along, across = 64 * a * np.cos(angles), 64 * b * np.sin(angles)
    y = (32 + along * np.sin(turn) + across * np.cos(turn)) * 100 / 64
    x = (0.4 * 64 + along * np.cos(turn) - across * np.sin(turn)) * 200 / 64
    back, y, x = np.radians(row["degrees"]), y - row["y"], x - row["x"]
    along, across = y * np.sin(back) + x * np.cos(back), y * np.cos(back) - x * np.sin(back)
    np.testing.assert_allclose((along / row["a"]) ** 2 + (across / row["b"]) ** 2, 1, rtol=1e-6)
    assert row["a"] >= row["b"]


def test_what_has_no_place_stays():
    rows = [[{"label": "a", "probability": 1.0}]]
    assert placed("classify", rows, np.zeros((1, 2)), SIZES[:1], 64) == rows
