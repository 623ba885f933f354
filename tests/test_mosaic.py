"""Four pictures in one: by hand, pixel by pixel, on one device and on two, again and again."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.common.columns import Column
from zoo.data.augment import mosaic
from zoo.data.dataset import Split
from zoo.data.faults import first_fault
from zoo.data.feeds.feed import Feed
from zoo.data.feeds.stream import Stream
from zoo.models.build import create
from zoo.recipe import Augment, resolve
from zoo.tasks.places.detect import Detect

HALF = Augment(mirror=False, mosaic=0.5)
NUM = 40


def scenes():
    """Pictures of 8 x 8 pixels, each with up to two rectangles; a pixel tells of its picture."""
    random = np.random.RandomState(0)
    values = {
        "image": random.randint(0, 256, (NUM, 8, 8, 3)).astype(np.uint8),
        "mask": np.zeros((NUM, 8, 8), np.uint8),
        "boxes": np.zeros((NUM, 2, 4), np.float32),
        "classes": np.full((NUM, 2), -1, np.int32),
        "instances": np.zeros((NUM, 8, 8), np.uint8),
        "count": np.zeros(NUM, np.int32),
    }
    for index in range(NUM):
        for number in range(random.randint(3)):
            y1 = random.randint(0, 6)
            box = [y1, 4 * number, y1 + 3, 4 * number + 3]
            kind = random.randint(4)
            values["boxes"][index, number], values["classes"][index, number] = box, kind
            place = np.s_[index, box[0] : box[2], box[1] : box[3]]
            values["mask"][place], values["instances"][place] = kind + 1, number + 1
            values["count"][index] += 1
    return values


def feed(values=None, *, batch_size=8, seed=3, augment=HALF):
    split = Split(scenes() if values is None else values)
    return Feed(split, {}, batch_size=batch_size, seed=seed, training=True, augment=augment)


def all_of(dataset):
    """The examples of a data set, one after the other."""
    batches = [{name: x.numpy() for name, x in batch.items()} for batch in dataset]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def test_boxes_by_hand():
    """They meet at (3, 5): of the upper left picture the last 3 rows and 5 columns are seen."""
    boxes = np.zeros((1, 4, 2, 4), np.float32)
    boxes[0, :, 0] = [[4, 2, 8, 6], [5, 0, 7, 2], [0, 0, 4, 4], [1, 1, 3, 3]]
    boxes[0, 3, 1] = [0, 0, 8, 8]
    classes = np.array([[[0, -1], [1, -1], [2, -1], [3, 4]]], np.int32)
    four = {
        "image": tf.zeros((1, 4, 8, 8, 1), tf.uint8), "boxes": tf.constant(boxes),
        "classes": tf.constant(classes), "count": tf.constant([[1, 1, 1, 2]]),
    }  # fmt: skip
    found = mosaic.compose(four, tf.constant([[3, 5]]))
    expected = np.zeros((8, 4))
    expected[0] = [0, 0, 3, 3]  # 9 of 16 are left
    expected[2] = [0, 5, 2, 7]
    # Of the lower left one 4 of 16 are left: less than 30 %.
    expected[6] = [4, 6, 6, 8]
    # Of the last one 5 x 3 of 64.
    np.testing.assert_array_equal(found["boxes"][0], expected)
    assert found["classes"][0].numpy().tolist() == [0, -1, 1, -1, -1, -1, 3, -1]
    assert found["count"].numpy().tolist() == [3]


def test_pixels_one_by_one():
    random = np.random.RandomState(1)
    image = random.randint(0, 256, (3, 4, 6, 8, 2)).astype(np.uint8)
    numbers = random.randint(0, 3, (3, 4, 6, 8)).astype(np.uint8)
    meets = np.array([[2, 5], [4, 2], [6, 8]], np.int32)  # the last one stays alone
    four = {
        "image": image, "mask": numbers, "instances": numbers,
        "boxes": np.zeros((3, 4, 2, 4), np.float32), "classes": np.full((3, 4, 2), -1, np.int32),
    }  # fmt: skip
    found = mosaic.compose({k: tf.constant(x) for k, x in four.items()}, tf.constant(meets))
    for one, y, x in np.ndindex(3, 6, 8):
        down, right = meets[one]
        corner = 2 * (y >= down) + (x >= right)
        place = one, corner, y - down + 6 * (y < down), x - right + 8 * (x < right)
        np.testing.assert_array_equal(found["image"][one, y, x], image[place])
        assert found["mask"][one, y, x] == numbers[place]
        own = int(numbers[place])
        assert found["instances"][one, y, x] == (own + 2 * corner if own else 0)
    np.testing.assert_array_equal(found["image"][2], image[2, 0])


def test_what_is_in_a_mosaic_is_where_it_says():
    """Each box that is left encloses the pixels of its instance; the mask has its class there."""
    values = all_of(feed().dataset(0))
    compared = 0
    for index in range(len(values["image"])):
        for place in np.flatnonzero(values["classes"][index] >= 0):
            seen = values["instances"][index] == place + 1
            rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
            ends = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            assert values["boxes"][index, place].tolist() == ends
            assert (values["mask"][index][seen] == values["classes"][index, place] + 1).all()
            compared += 1
    assert compared > 40
    np.testing.assert_array_equal(values["count"], (values["classes"] >= 0).sum(axis=1))
    columns = {"image": Column("image", (8, 8, 3)), "boxes": Column("boxes", (8, 4)),
               "classes": Column("classes", (8,), tuple("abcd"))}  # fmt: skip
    assert first_fault(columns, values) is None


def test_mosaics_are_a_function_of_seed_and_epoch():
    one = all_of(feed().dataset(1))
    for other in (all_of(feed().dataset(1)), all_of(feed().dataset(1, replicas=2)),
                  all_of(feed().dataset(1, replicas=4))):  # fmt: skip
        for name, values in one.items():
            np.testing.assert_array_equal(other[name], values)
    late = all_of(feed().dataset(1, start=3))
    for name, values in one.items():
        np.testing.assert_array_equal(late[name], values[3 * 8 :])
    for other in (feed().dataset(2), feed(seed=4).dataset(1)):
        assert not np.array_equal(all_of(other)["image"], one["image"])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_as_many_as_asked_for_become_mosaics(share):
    values = {name: np.concatenate([column] * 10) for name, column in scenes().items()}
    plain = all_of(feed(values, augment=None).dataset(0))["image"]
    augment = Augment(mirror=False, mosaic=share)
    made = all_of(feed(values, augment=augment).dataset(0))["image"]
    changed = (made != plain).any(axis=(1, 2, 3)).mean()
    assert changed == pytest.approx(share, abs=0.08 if 0 < share < 1 else 0)
    corner = (made[:, 0, 0] == plain[:, 2:7, 2:7].reshape(-1, 25, 3).transpose(1, 0, 2)).all(-1)
    assert corner.any(axis=0)[(made != plain).any(axis=(1, 2, 3))].all()  # its own comes first


def test_a_mosaic_moves_as_any_picture():
    moved = all_of(feed(augment=Augment(mirror=False, mosaic=1.0, shift=1)).dataset(0))
    still = all_of(feed(augment=Augment(mirror=False, mosaic=1.0)).dataset(0))
    inner = 0
    for one, other in zip(still["image"], moved["image"], strict=True):
        shifts = [
            (down, right)
            for down, right in np.ndindex(3, 3)
            if np.array_equal(other[1:-1, 1:-1], one[2 - down : 8 - down, 2 - right : 8 - right])
        ]
        assert len(shifts) == 1
        inner += shifts != [(1, 1)]
    assert inner > 10


def test_a_detector_learns_mosaics():
    random = np.random.RandomState(0)
    columns = {
        "image": random.randint(0, 256, (8, 64, 64, 3)).astype(np.uint8),
        "boxes": np.tile(np.array([[8, 8, 40, 40], [0, 0, 0, 0]], "float32"), (8, 1, 1)),
        "classes": np.tile(np.array([1, -1], "int32"), (8, 1)),
    }
    (batch,) = feed(columns, augment=Augment(mirror=False, mosaic=1.0)).dataset(0)
    assert batch["boxes"].shape == (8, 8, 4)
    keras.utils.set_random_seed(0)
    net = create("faster_rcnn_small", num_classes=3, width=8, units=16)
    batch["image"] = tf.cast(batch["image"], tf.float32) / 255
    seen = Detect().look("loss", {"net": net}, batch, training=True)
    assert np.isfinite(seen.loss.values).all()


def test_what_four_pictures_cannot_share_is_refused():
    values = scenes()
    label = {"image": values["image"], "label": np.zeros(NUM, np.int32)}
    told = r"^data\.augment\.mosaic: got examples of image, label; .* no one label\. Write data"
    with pytest.raises(ValueError, match=told):
        feed(label)
    many = values | {"boxes": np.zeros((NUM, 64, 4), np.float32),
                     "classes": np.full((NUM, 64), -1, np.int32)}  # fmt: skip
    with pytest.raises(ValueError, match="got up to 64 things in a picture; expected at most 63"):
        feed(many)
    columns = {"image": Column("image", (8, 8, 3))}
    rows = [{"image": image} for image in values["image"]]
    stream = Stream(columns, lambda: rows, num=NUM)
    with pytest.raises(ValueError, match=r"^data\.augment\.mosaic: got a stream, whose examples"):
        Feed(stream, {}, batch_size=8, training=True, augment=HALF)
    for change in ("mosaic=0.5", "scale=0.2"):
        with pytest.raises(ValueError, match=r"\.data\.augment: got random changes with lbfgs"):
            resolve("mlp", changes=["train.optimizer={kind: lbfgs}", f"data.augment.{change}"])
