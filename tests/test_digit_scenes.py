"""Scenes of digits: what is seen is what is told, nothing is shared between splits."""

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests import scenes as kit
from zoo.common import claims
from zoo.data import cache
from zoo.data.cache import cached, key
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load
from zoo.data.sets import digit_scenes, mnist5k, scenes
from zoo.datasets import DATASETS
from zoo.recipe import Augment


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def data(_few):
    return load("digit_scenes")


@functools.cache
def digits():
    return mnist5k.splits()["validation"]


def composed(seed, *, size=96, **changes):
    """A scene without noise on a plain background: its pixels tell where the digits are."""
    images, labels = digits()["image"][..., 0], digits()["label"]
    settings = scenes.Composition(**{"most": 4, "noise": 0.0, "contrast": 20.0} | changes)
    black = [np.zeros((120, 120, 3), np.uint8)]
    return scenes.compose(
        np.random.RandomState(seed), images, labels, black, size=size, settings=settings
    )


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [("digit_scenes", 64, 3), ("digit_scenes", 96, 4), ("digit_scenes_one", 64, 1)],
)
def test_columns_are_as_the_row_says(name, size, most):
    data, row = load(name, size=size), DATASETS[name]
    assert tuple(column.kind for column in data.columns.values()) == row.kinds
    assert data.columns["image"].shape == data.train["image"].shape[1:] == (size, size, 3)
    assert len(data.labels) == row.num_classes and data.mirror == row.mirror
    for split, num in kit.COUNTS.items():
        assert len(getattr(data, split)) == num
    if most > 1:
        assert data.columns["boxes"].shape == (most, 4)
        assert data.train["count"].min() == 1 and data.train["count"].max() == most


def test_boxes_enclose_the_visible_pixels_exactly(data):
    """Of scenes whose digits are all different: then the mask tells them apart."""
    compared = 0
    for mask, boxes, classes, count in zip(
        *(data.train[name] for name in ("mask", "boxes", "classes", "count")), strict=True
    ):
        assert (classes[:count] >= 0).all() and (classes[count:] == -1).all()
        assert not boxes[count:].any()
        assert set(np.unique(mask)) - {0} == set(classes[:count] + 1)
        if len(set(classes[:count])) < count:
            continue
        for box, label in zip(boxes[:count], classes[:count], strict=True):
            own = mask == label + 1
            low = own.any(axis=1).argmax(), own.any(axis=0).argmax()
            high = (
                len(own) - own.any(axis=1)[::-1].argmax(),
                len(own) - own.any(axis=0)[::-1].argmax(),
            )
            assert box.tolist() == [*low, *high]
            compared += 1
    assert compared > 100


@pytest.mark.parametrize("seed", range(5))
def test_a_digit_is_where_its_pixels_are(seed):
    scene = composed(seed, most=1)
    background = np.bincount(scene.image[..., 0].ravel()).argmax()
    far = np.abs(scene.image.astype(int) - scene.image[0, 0]).max(axis=2)
    assert scene.image[0, 0, 0] == background
    assert (far[scene.owners > 0] > 0).all()
    rims = far[scene.owners == 0]  # less than `opaque` of the colour
    assert 0 < rims.max() <= np.ceil(0.35 * 255) < far.max() and (rims == 0).mean() > 0.7
    assert len(scene.classes) == len(scene.boxes) == scene.owners.max() == 1


def test_no_digit_disappears_below_later_ones():
    crowded = [composed(seed, size=64, smallest=40) for seed in range(30)]
    for scene in crowded:
        counts = np.bincount(scene.owners.ravel(), minlength=len(scene.classes) + 1)[1:]
        assert (counts > 0).all()
    assert sum(len(scene.classes) > 1 for scene in crowded) > 5


def test_a_digit_that_hides_too_much_is_refused():
    owners = np.zeros((8, 8), np.uint8)
    owners[:4] = 1  # 32 pixels of the first digit
    four, nine = owners[:1, :4].ravel(), owners[:2, :5].ravel()[:9]
    assert scenes._leaves_enough(owners, four, [32], 0.75)
    assert not scenes._leaves_enough(owners, nine, [32], 0.75)
    owners[0, :4] = 2  # what is gone already counts
    assert not scenes._leaves_enough(owners, owners[1, :5], [32, 4], 0.75)


def test_splits_share_neither_digits_nor_pictures():
    numerals = {
        split: {hashlib.sha256(image).digest() for image in part["image"]}
        for split, part in mnist5k.splits().items()
    }
    pictures = {
        split: {hashlib.sha256(np.ascontiguousarray(x)).digest() for x in scenes.textures(split)}
        for split in scenes.TEXTURES
    }
    for found in (numerals, pictures):
        parts = list(found.values())
        assert sum(map(len, parts)) == len(set().union(*parts)) > len(parts)


def test_scenes_are_frozen(data):
    """The stream of numbers, the digits and the pictures decide; a change makes other scenes."""
    assert data.train["classes"][:4].tolist() == [[4, -1, -1], [1, -1, -1], [5, 4, 8], [9, -1, -1]]
    assert data.test["boxes"][0, 0].tolist() == [25, 26, 59, 44]
    means = [float(getattr(data, split)["image"].mean()) for split in kit.COUNTS]
    np.testing.assert_allclose(means, [75.97, 86.18, 77.05], atol=0.05)


def test_scenes_are_made_once_and_read_thereafter(data, monkeypatch):
    files = sorted(cache.folder().glob("digit_scenes-64-*"))
    assert len(files) == 1 and [path.suffix for path in files] == [".npz"]  # nothing is left over
    monkeypatch.setattr(digit_scenes, "_make", lambda *args: pytest.fail("made again"))
    again = load("digit_scenes")
    for name in data.columns:
        np.testing.assert_array_equal(again.train[name], data.train[name])


def test_every_prefix_of_single_digits_has_all_classes():
    data = load("digit_scenes_one")
    for split in kit.COUNTS:
        labels = getattr(data, split)["label"]
        assert labels[:20].tolist() == [*range(10)] * 2
        boxes = getattr(data, split)["box"]
        assert (boxes[:, :2] < boxes[:, 2:]).all() and boxes.min() >= 0 and boxes.max() <= 64
    assert set(load("digit_scenes_one", limit=10).train["label"]) == set(range(10))


@pytest.mark.parametrize("size", [63, 257])
def test_a_size_out_of_range_is_refused(size):
    with pytest.raises(
        ValueError, match=rf"^size: got {size}; digit scenes have sides of 64 to 256"
    ):
        load("digit_scenes", size=size)


def test_grey_scenes_keep_their_masks(data):
    grey = load("digit_scenes", size=64, channels=1)
    assert grey.columns["image"].shape == (64, 64, 1)
    np.testing.assert_array_equal(grey.train["mask"], data.train["mask"])


def test_boxes_and_masks_move_as_their_picture(data):
    """A batch that is shifted by up to 30 pixels, against the same one that stays."""
    batches = [
        next(iter(Feed(data.train, {}, batch_size=96, training=True, augment=one).dataset()))
        for one in (None, Augment(shift=30, mirror=False))
    ]
    still, moved = ({name: x.numpy() for name, x in batch.items()} for batch in batches)
    shifts = set()
    for index in range(96):
        for place in np.flatnonzero(moved["classes"][index] >= 0):
            one, other = (batch["boxes"][index, place] for batch in (still, moved))
            if other.min() <= 0 or other.max() >= 64:
                continue  # cut at the edge
            down, right = (other - one)[:2].astype(int)
            np.testing.assert_array_equal(other - one, [down, right, down, right])
            y1, x1, y2, x2 = other.astype(int)
            for name in ("image", "mask", "instances"):
                there = still[name][index, y1 - down : y2 - down, x1 - right : x2 - right]
                np.testing.assert_array_equal(moved[name][index, y1:y2, x1:x2], there)
            shifts.add((down, right))
    assert len(shifts) > 5
    kept = moved["classes"] >= 0
    np.testing.assert_array_equal(moved["classes"][kept], still["classes"][kept])
    assert not moved["boxes"][~kept].any() and kept.sum() < (still["classes"] >= 0).sum()
    np.testing.assert_array_equal(moved["count"], kept.sum(axis=1))


def test_the_one_box_moves_as_its_picture():
    one, shift = load("digit_scenes_one"), Augment(shift=6, mirror=False)
    still, moved = (
        next(iter(Feed(one.train, {}, batch_size=16, training=True, augment=x).dataset()))
        for x in (None, shift)
    )
    inside = (moved["box"].numpy() % 64 > 0).all(axis=1)
    steps = (moved["box"] - still["box"]).numpy()[inside]
    assert len(np.unique(steps, axis=0)) > 5 and np.abs(steps).max() <= 6
    np.testing.assert_array_equal(steps[:, :2], steps[:, 2:])


def test_a_changed_generator_makes_a_new_file(tmp_path):
    file = tmp_path / "digits"
    file.write_bytes(b"one")
    keys = [key((1, {"a": 2}), [file]), key((2, {"a": 2}), [file])]
    file.write_bytes(b"two")
    keys.append(key((1, {"a": 2}), [file]))
    assert len(set(keys)) == 3 and key((1, {"a": 2}), [file]) == keys[2]


def test_a_damaged_file_is_made_anew(caplog):
    made = []

    def make():
        made.append(1)
        return {"x": np.arange(3)}

    for _ in range(2):
        assert cached("some", make)["x"].tolist() == [0, 1, 2]
    path = cache.folder() / "some.npz"
    path.write_bytes(path.read_bytes()[:40])
    assert cached("some", make)["x"].tolist() == [0, 1, 2] and len(made) == 2
    assert "not a whole file" in caplog.text
    assert cached("some", make)["x"].tolist() == [0, 1, 2] and len(made) == 2


def test_a_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("ZOO_HOME", os.fspath(blocked))
    assert cached("some", lambda: {"x": np.arange(3)})["x"].tolist() == [0, 1, 2]
    assert "not kept" in caplog.text


def test_two_that_make_the_same_do_not_wait_and_do_not_warn(caplog):
    def at_once():
        with ThreadPoolExecutor() as pool:
            return pool.submit(cached, "both", lambda: {"x": np.arange(3)}).result()

    with claims.claim(cache.folder() / "both.npz"), caplog.at_level("WARNING", "zoo"):
        assert at_once()["x"].tolist() == [0, 1, 2]
    assert not caplog.records
    assert at_once()["x"].tolist() == [0, 1, 2]
    assert [path.name for path in cache.folder().glob("*both*")] == ["both.npz"]


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(scenes, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-image"):
        load("digit_scenes")
