"""Points and ellipses: closed forms, motions of a picture, cascades, and a fit beside."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import zoo
from tests.golden.vector import fill
from zoo.common.columns import Column
from zoo.data.augment.geometry import carry, draw
from zoo.data.sets import eyes
from zoo.layers import SoftArgmax
from zoo.recipe import Augment
from zoo.tasks.places.ellipse import EllipseTask, in_pixels
from zoo.tasks.places.pose import Pose

IMAGE = Column("image", (64, 64, 1))


@pytest.fixture(scope="module")
def drawn():
    random = np.random.RandomState(0)
    rows = [eyes.draw(random) for _ in range(60)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def answers(ellipses):
    """What a net says that knows the ellipses (n, 5)."""
    y, x, a, b, angle = ellipses.T
    parts = [y / 64, x / 64, np.log(a / 64), np.log(b / 64), np.cos(2 * angle), np.sin(2 * angle)]
    return np.stack(parts, axis=-1).astype(np.float32)


def test_points_are_the_ends_of_the_ellipse():
    ellipse = eyes.Ellipse(20.0, 30.0, 9.0, 5.0, 0.7)
    turn = np.linspace(0, 2 * np.pi, 100_000)
    y = 20 + 9 * np.cos(turn) * np.sin(0.7) + 5 * np.sin(turn) * np.cos(0.7)
    x = 30 + 9 * np.cos(turn) * np.cos(0.7) - 5 * np.sin(turn) * np.sin(0.7)
    ends = [y.argmin(), y.argmax(), x.argmin(), x.argmax()]
    expected = [(20, 30), *((y[end], x[end]) for end in ends)]
    np.testing.assert_allclose(ellipse.points(), expected, atol=1e-2)
    np.testing.assert_allclose(ellipse.radius(y, x), 1, atol=1e-9)


def test_the_lid_hides_the_share_that_it_says(drawn):
    hidden = drawn["hidden"]
    assert hidden.min() < 0.05 and 0.35 < hidden.max() <= 0.42
    areas = np.pi * drawn["ellipse"][:, 2] * drawn["ellipse"][:, 3]
    seen = (drawn["mask"] == 1).sum(axis=(1, 2)) / areas
    np.testing.assert_allclose(seen, 1 - hidden, atol=0.06)
    dark = [
        image[mask == 1].mean()
        for image, mask in zip(drawn["image"][..., 0], drawn["mask"], strict=True)
    ]
    assert np.median(dark) < 60  # glints and all


def test_the_same_seed_draws_the_same_eye():
    one, other = (eyes.draw(np.random.RandomState(3)) for _ in range(2))
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
        eyes.COLUMNS[name].check(name, np.asarray(values)[None])


def test_the_mean_under_a_gaussian_is_its_middle():
    y, x = np.mgrid[:16, :16] + 0.5
    middles = np.array([[4.2, 9.1], [8.0, 8.0]])
    maps = [-((y - v) ** 2 + (x - h) ** 2) / 2 for v, h in middles]
    got = SoftArgmax()(np.stack(maps, axis=-1)[None].astype(np.float32))
    np.testing.assert_allclose(got[0], middles / 16, atol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        Augment(shift=5, mirror=True),
        Augment(shift=4, rotate=25, scale=0.2, mirror=True),
    ],
)
def test_all_move_as_the_picture_does(drawn, settings):
    """The middle and the bounds of the moved mask are those of the moved points and ellipse."""
    whole = drawn["hidden"] < 0.03
    count = int(whole.sum())
    batch = {
        name: tf.constant(drawn[name][whole]) for name in ("image", "points", "ellipse", "mask")
    }
    mask = drawn["mask"][whole]
    boxes = np.array([bounds(one) for one in mask], np.float32)[:, None]
    batch |= {"instances": batch["mask"], "boxes": tf.constant(boxes)}
    batch["classes"] = tf.zeros((count, 1), tf.int32)
    moved = carry(batch, draw(count, tf.constant([1, 2]), settings), settings)
    assert not np.allclose(moved["points"], batch["points"], atol=1)
    for index in range(count):
        pixels = np.argwhere(moved["instances"][index] == 1) + 0.5
        if len(pixels) < 0.9 * (mask[index] == 1).sum() * 0.6:
            continue  # out of the picture
        y, x, a, b, angle = moved["ellipse"][index].numpy()
        ellipse = eyes.Ellipse(y, x, a, b, angle)
        np.testing.assert_allclose(pixels.mean(axis=0), [y, x], atol=0.4)
        np.testing.assert_allclose(moved["points"][index, 0], [y, x], atol=1e-3)
        inside = ellipse.radius(*(np.mgrid[:64, :64] + 0.5)) <= 1
        both = inside & (moved["instances"][index].numpy() == 1)
        assert both.sum() / (inside | (moved["instances"][index].numpy() == 1)).sum() > 0.85
        np.testing.assert_array_equal(
            moved["boxes"][index, 0], bounds(moved["instances"][index].numpy())
        )


def bounds(mask):
    rows, columns = np.nonzero(mask == 1)
    return rows.min(), columns.min(), rows.max() + 1, columns.max() + 1


def test_a_box_that_leaves_the_picture_is_none():
    batch = {
        "image": tf.zeros((1, 20, 20, 1), tf.uint8),
        "boxes": tf.constant([[[0.0, 0, 10, 10], [0, 15, 10, 20]]]),
        "classes": tf.constant([[3, 4]]),
    }
    motions = tf.constant([[0.0, 4, 1, 0, 1, 1]])  # four to the right
    moved = carry(batch, motions, Augment(shift=4))
    np.testing.assert_array_equal(moved["classes"], [[3, -1]])
    np.testing.assert_array_equal(moved["boxes"], [[[0, 4, 10, 14], [0, 0, 0, 0]]])


def test_a_box_drawn_around_more_than_is_seen_stays_so():
    """Of a thing that another covers: what is seen of it says nothing of its box."""
    instances = np.zeros((1, 40, 40), np.uint8)
    instances[0, 10:20, 10:20], instances[0, 24:28, 24:28] = 1, 2
    batch = {
        "image": tf.zeros((1, 40, 40, 1), tf.uint8),
        "instances": tf.constant(instances),
        "boxes": tf.constant([[[10.0, 10, 20, 20], [14, 14, 28, 28]]]),
        "classes": tf.constant([[3, 4]]),
    }
    turn = np.radians(45)
    motions = tf.constant([[0.0, 0, np.cos(turn), np.sin(turn), 1, 1]], tf.float32)
    moved = carry(batch, motions, Augment(rotate=45))
    np.testing.assert_array_equal(moved["boxes"][0, 0], bounds(moved["instances"][0].numpy()))
    sides = moved["boxes"][0, 1, 2:] - moved["boxes"][0, 1, :2]
    np.testing.assert_allclose(sides, [14, 14], rtol=1e-4)  # a circle's box does not turn


def test_the_only_thing_is_not_moved_out():
    image = np.zeros((2, 20, 20, 1), np.uint8)
    image[:, 0:10, 12:20] = 9
    batch = {
        "image": tf.constant(image),
        "box": tf.constant([[0.0, 12, 10, 20]] * 2),
        "label": tf.constant([3, 4]),
    }
    motions = tf.constant([[0.0, 7, 1, 0, 1, 1], [0.0, 4, 1, 0, 1, 1]])
    moved = carry(batch, motions, Augment(shift=7))
    np.testing.assert_array_equal(moved["box"], [[0, 12, 10, 20], [0, 16, 10, 20]])
    np.testing.assert_array_equal(moved["image"][0], image[0])
    assert (moved["image"].numpy()[1, :10, 16:] == 9).all()


def test_found_points_are_counted_as_by_hand():
    truth = np.array([[[10, 10], [10, 50], [30, 10]]], np.float32)  # 40 wide: 4 is near
    guesses = (truth + np.array([[[0, 4], [3, 3], [0, 1]]])).astype(np.float32) / 64
    found = Pose().score({"points": truth}, guesses, {"image": IMAGE})
    assert found.metrics["pck"] == pytest.approx(2 / 3)
    assert found.metrics["distance_px"] == pytest.approx((4 + np.sqrt(18) + 1) / 3)
    exact = Pose().score({"points": truth}, truth / 64, {"image": IMAGE})
    assert exact.metrics["loss"] == pytest.approx(0, abs=1e-6) and exact.metrics["pck"] == 1


def test_an_ellipse_that_is_known_has_no_loss(drawn):
    truth = drawn["ellipse"]
    found = EllipseTask().score({"ellipse": truth}, answers(truth), {"image": IMAGE})
    assert found.metrics["loss"] == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(in_pixels(answers(truth), (64, 64)), truth, atol=1e-3)
    # Half a circle further it is the same ellipse.
    turned = truth + np.array([0, 0, 0, 0, np.pi], np.float32)
    np.testing.assert_allclose(answers(turned), answers(truth), atol=1e-5)
    # The angle of a circle counts for nothing.
    circle = np.array([[30, 30, 8, 8, 0.3]], np.float32)
    other = answers(circle) + np.array([0, 0, 0, 0, 1, -1], np.float32)
    same = EllipseTask().score({"ellipse": circle}, other, {"image": IMAGE})
    assert same.metrics["loss"] == pytest.approx(0, abs=1e-6)


def test_a_fit_of_the_edge_stands_beside(drawn):
    """It is right where the whole pupil is seen, and off where a lid hides some of it."""
    columns = {name: drawn[name] for name in ("ellipse", "mask", "hidden")}
    found = EllipseTask().score(columns, answers(drawn["ellipse"]), {"image": IMAGE})
    rows = found.tables["by_hidden"]
    assert sum(row["support"] for row in rows) >= 58
    assert rows[0]["fit_centre_px"] < 0.5 < 1 < rows[-1]["fit_centre_px"]
    assert rows[-1]["arc_centre_px"] < 0.6 * rows[-1]["fit_centre_px"]  # without the lid
    assert rows[-1]["centre_px"] == pytest.approx(0, abs=1e-4)


def test_a_later_stage_looks_at_the_points_of_the_one_before():
    net = zoo.create("deeppose_small3", width=8, units=8)
    fill(net)
    for stage in (2, 3):  # a stage that moves nothing
        moves = net.get_layer(f"stage{stage}_moves")
        moves.set_weights([np.zeros(weight.shape) for weight in moves.get_weights()])
    images = np.random.RandomState(0).uniform(-1, 1, (2, 64, 64, 1)).astype(np.float32)
    got = net(images)
    np.testing.assert_allclose(got["points"], got["auxiliary_stage1"], atol=1e-6)
    moves = net.get_layer("stage3_moves")
    bias = np.arange(10, dtype=np.float32) / 100  # y and x of each point
    moves.set_weights([np.zeros(moves.kernel.shape), bias])
    far = ops.convert_to_numpy(net(images)["points"] - got["points"])
    np.testing.assert_allclose(far[0], 0.3 * bias.reshape(5, 2), atol=1e-6)
    boxes = keras.Model(net.input, net.get_layer("stage3_windows").output)(images)
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    np.testing.assert_allclose(middles / 64, got["auxiliary_stage2"], atol=1e-5)
    np.testing.assert_allclose(boxes[..., 2:] - boxes[..., :2], 0.3 * 64, rtol=1e-5)
