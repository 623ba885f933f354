"""Crops, colours, RandAugment, holes and mixtures of pictures: against Pillow, and by hand."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tests import toy
from zoo.data.augment import appearance, mixing
from zoo.data.dataset import Split
from zoo.data.feeds.feed import Feed
from zoo.data.preprocessing import Preprocessing
from zoo.recipe import Augment, resolve
from zoo.tasks.labels.classify import Classify
from zoo.training.fitting import fit

RANDOM = np.random.RandomState(5)
PICTURES = RANDOM.randint(20, 220, (4, 24, 32, 3)).astype(np.uint8)
PICTURES[1] = np.clip(PICTURES[1] // 8 + 90, 0, 255)  # of little contrast
ALL = {"crop": 0.4, "jitter": 0.4, "rand_augment": 2, "erase": 0.5}


def each(change):
    """What Pillow makes of each picture."""
    return np.stack([np.asarray(change(Image.fromarray(one))) for one in PICTURES])


def made(number, strength):
    return appearance.CHANGES[number](
        tf.constant(PICTURES, tf.float32), tf.fill([len(PICTURES)], float(strength))
    ).numpy()


@pytest.mark.parametrize(
    ("number", "strength", "theirs", "near"),
    [
        (0, 0.7, lambda image: image, 0),
        (1, 0.7, ImageOps.autocontrast, 1),
        (2, 0.7, ImageOps.equalize, 0),
        (4, 0.6, lambda image: ImageOps.solarize(image, 102), 0),
        (5, 0.5, lambda image: ImageEnhance.Color(image).enhance(1.45), 2),
        (5, -0.5, lambda image: ImageEnhance.Color(image).enhance(0.55), 2),
        (6, 0.5, lambda image: ImageOps.posterize(image, 6), 0),
        (7, -0.5, lambda image: ImageEnhance.Contrast(image).enhance(0.55), 2),
        (8, 0.5, lambda image: ImageEnhance.Brightness(image).enhance(1.45), 1),
        (9, -0.5, lambda image: ImageEnhance.Sharpness(image).enhance(0.55), 2),
        (9, 0.5, lambda image: ImageEnhance.Sharpness(image).enhance(1.45), 2),
    ],
)
def test_changes_are_pillows(number, strength, theirs, near):
    """To a grey level for each time that Pillow rounds."""
    np.testing.assert_allclose(made(number, strength), each(theirs), atol=near + 1e-3)


def test_a_turn_is_pillows_and_a_shift_and_a_shear_are_gathers():
    square = tf.constant(PICTURES[:, :, :24], tf.float32)
    turned = appearance._turned(square, tf.fill([4], 0.5)).numpy()  # 15 degrees
    theirs = [
        np.stack(
            [
                np.asarray(Image.fromarray(one[:, :24]).rotate(angle, Image.Resampling.BILINEAR))
                for one in PICTURES
            ]
        )
        for angle in (15, -15)
    ]
    inside = np.s_[:, 6:18, 6:18]
    assert min(abs(turned - each)[inside].max() for each in theirs) < 3
    strength = 8 / (appearance.SHIFT * 32)
    shifted = made(12, strength)
    np.testing.assert_allclose(shifted[:, :, :24], PICTURES[:, :, 8:], atol=1e-2)
    assert (shifted[:, :, 24:] == 0).all()
    line = np.zeros((1, 5, 21, 1), np.float32)
    line[:, :, 10] = 100
    sheared = appearance._sheared(1)(tf.constant(line), tf.ones(1)).numpy()[0, ..., 0]
    middles = (sheared * np.arange(21)).sum(axis=1) / sheared.sum(axis=1)
    np.testing.assert_allclose(middles, 10 - 0.3 * (np.arange(5) - 2), atol=1e-3)


def test_a_crop_is_a_part_of_the_picture_stretched():
    across, down = np.arange(40, dtype=np.float32), np.arange(30, dtype=np.float32)
    ramp = np.stack(np.broadcast_arrays(across[None], down[:, None]), axis=-1)
    images = tf.constant(np.tile(ramp, (200, 1, 1, 1)))
    settings = Augment(mirror=False, crop=0.3)
    found = appearance.change(images, appearance.draw(200, [1, 2], settings), settings).numpy()
    wide = (found[:, 15, 30, 0] - found[:, 15, 10, 0]) / 20  # of the width, a share
    tall = (found[:, 20, 20, 1] - found[:, 10, 20, 1]) / 10
    assert (wide <= 1.001).all() and (tall <= 1.001).all()
    assert 0.27 < (wide * tall).min() < 0.4 and (wide * tall).max() > 0.9
    ratio = (wide / tall)[(wide < 0.99) & (tall < 0.99)]
    assert ratio.min() >= 0.749 and ratio.max() <= 1.334 and np.ptp(ratio) > 0.4
    left = found[:, 15, 20, 0] - 20.5 * wide  # of the crop's edge
    assert left.min() > -1.01 and (left + 40 * wide).max() < 40.01 and np.ptp(left) > 10


def test_a_hole_has_one_colour_and_is_as_large_as_it_says():
    images = tf.zeros((400, 32, 32, 3)) - 1
    settings = Augment(mirror=False, erase=0.5)
    found = appearance.change(images, appearance.draw(400, [1, 2], settings), settings).numpy()
    holes = (found >= 0).all(axis=-1)
    share = holes.mean(axis=(1, 2))
    assert 0.42 < (share > 0).mean() < 0.58
    assert share[share > 0].min() > 0.01 and 0.28 < share.max() < 0.37
    for image, hole in zip(found, holes, strict=True):
        if hole.any():
            rows, columns = np.nonzero(hole)
            assert (1 + np.ptp(rows)) * (1 + np.ptp(columns)) == hole.sum()
            assert len(np.unique(image[hole], axis=0)) == 1


def test_every_change_is_taken_and_each_picture_has_its_own():
    images = tf.constant(np.tile(PICTURES[:1], (300, 1, 1, 1)))
    settings = Augment(mirror=False, rand_augment=1, strength=9)
    found = appearance.change(images, appearance.draw(300, [3, 4], settings), settings).numpy()
    assert 20 <= len(np.unique(found.reshape(300, -1), axis=0)) <= 24  # ten of them have a sign
    again = appearance.change(images, appearance.draw(300, [3, 4], settings), settings).numpy()
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_two_pictures_in_one_by_hand(kind):
    images = RANDOM.randint(0, 256, (64, 12, 12, 1)).astype(np.uint8)
    batch = {"image": tf.constant(images), "label": tf.range(64)}
    others = {name: values[::-1] for name, values in batch.items()}
    drawn = mixing.draw(64, [1, 2], Augment(mirror=False, **{kind: 0.8}))
    found = {key: value.numpy() for key, value in mixing.mix(batch, others, drawn).items()}
    np.testing.assert_array_equal(found["label"], np.arange(64))
    np.testing.assert_array_equal(found["mixed_label"], np.arange(64)[::-1])
    share = found["own_share"]
    assert (share >= 0.5).all() and (share < 0.8).any() and (share > 0.9).any()
    own, other = images.astype("float32"), images[::-1].astype("float32")
    if kind == "mixup":
        want = share[:, None, None, None] * own + (1 - share[:, None, None, None]) * other
        np.testing.assert_allclose(found["image"], want, atol=1e-3)
    else:
        mine, theirs = found["image"] == own, found["image"] == other
        assert (mine | theirs).all()
        put = (~mine).mean(axis=(1, 2, 3))
        assert (put <= 1 - share + 1e-6).all() and np.corrcoef(put, 1 - share)[0, 1] > 0.99
    logits = RANDOM.randn(64, 64).astype("float32")
    nats = np.log(np.exp(logits).sum(axis=1))
    want = nats - share * logits[np.arange(64), np.arange(64)]
    want -= (1 - share) * logits[np.arange(64), np.arange(64)[::-1]]
    loss = Classify().loss_of({key: tf.constant(value) for key, value in found.items()}, logits)
    np.testing.assert_allclose(loss.values, want, rtol=1e-5)


def feed(augment, num=60):
    split = Split(
        {"image": np.tile(PICTURES, (15, 1, 1, 1))[:num, :, :24], "label": np.arange(num) % 7}
    )
    known = Preprocessing(size=24, channels=3, mean=(0.4,) * 3, std=(0.2,) * 3)
    return Feed(split, {"image": known}, batch_size=20, training=True, augment=augment)


@pytest.mark.parametrize(
    "keys", [ALL, {"mixup": 0.4, "cutmix": 1.0, "shift": 2}, ALL | {"mixup": 1}]
)
def test_devices_that_share_a_batch_see_what_one_sees(keys):
    batches = feed(Augment(mirror=True, **keys))
    whole = list(batches.dataset(1).as_numpy_iterator())
    parts = list(batches.dataset(1, replicas=2).as_numpy_iterator())
    for number, batch in enumerate(whole):
        for name, values in batch.items():
            both = np.concatenate([parts[2 * number][name], parts[2 * number + 1][name]])
            np.testing.assert_allclose(values, both, atol=1e-5, err_msg=name)
    first = whole[1]["image"]
    (later, *_) = batches.dataset(1, start=1).as_numpy_iterator()
    np.testing.assert_array_equal(first, later["image"])
    assert not np.allclose(first, next(batches.dataset(2, start=1).as_numpy_iterator())["image"])


@pytest.mark.parametrize(
    ("keys", "columns", "message"),
    [
        (
            {"crop": 0.5},
            {"mask": (8, 8)},
            r"data.augment.crop: got 0.5 for examples with a column mask",
        ),
        (
            {"rand_augment": 2},
            {"boxes": (3, 4)},
            "data.augment.rand_augment: got 2 .* column boxes",
        ),
        ({"jitter": 0.5}, {"tokens": (5,)}, "data.augment.jitter: got 0.5 .* column tokens"),
        (
            {"mixup": 0.5},
            {"value": ()},
            "data.augment.mixup: got 0.5 for examples with a column value",
        ),
    ],
)
def test_what_would_be_untrue_is_refused(keys, columns, message):
    split = Split({"image": PICTURES, **{
        name: np.zeros((4, *shape), np.int32) for name, shape in columns.items()
    }})  # fmt: skip
    with pytest.raises(ValueError, match=message):
        Feed(split, {}, batch_size=4, training=True, augment=Augment(mirror=False, **keys))


def test_only_labels_are_mixed():
    with pytest.raises(
        ValueError, match="got mixup or cutmix for the task segment; expected classify"
    ):
        resolve("unet_small", changes=["data.augment.mixup=0.2"])
    with pytest.raises(ValueError, match="got random changes with lbfgs"):
        resolve("linear", changes=["data.augment.erase=0.2", "train.optimizer.kind=lbfgs"])


CHANGES = ["data.augment={mirror: false, crop: 0.7, jitter: 0.2, rand_augment: 1, erase: 0.3, "
           "mixup: 0.2, cutmix: 0.5}", "data.limit=256", "train.epochs=2", "train.batch_size=32",
           "hardware.precision=float32"]  # fmt: skip


def test_a_run_with_all_of_them_is_resumed_exactly(tmp_path):
    whole = fit("lenet5", data="digits", out=tmp_path / "whole", changes=CHANGES)
    toy.check_resumed(whole, tmp_path / "part", changes=CHANGES, stop_at=11, data="digits")
