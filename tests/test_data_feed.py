"""From images to batches: preprocessing, augmentation, feeding."""

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image

from tests import programs
from zoo.data import Feed, Preprocessing, Split, load
from zoo.data.augment.geometry import augment, draw, move
from zoo.data.feeds.source import Draw
from zoo.recipe import Augment


def random_split(num, size=6, channels=1, classes=3, seed=0):
    random = np.random.RandomState(seed)
    pixels = random.randint(0, 256, (num, size, size, channels)).astype(np.uint8)
    return Split({"image": pixels, "label": np.arange(num, dtype=np.int32) % classes})


def scaled(split):
    """The preprocessing of a split, as a feed takes it."""
    return {"image": Preprocessing.measure(split["image"])}


def repeated(num, size=12):
    """One picture, again and again."""
    pixels = np.tile(random_split(1, size=size)["image"], (num, 1, 1, 1))
    return Split({"image": pixels, "label": np.zeros(num, np.int32)})


def as_numpy(dataset):
    return [{name: part.numpy() for name, part in batch.items()} for batch in dataset]


@pytest.mark.parametrize("channels", [1, 3])
def test_measure_equals_numpy(channels):
    split = random_split(2500, channels=channels)
    measured = Preprocessing.measure(split["image"])
    pixels = split["image"] / 255
    np.testing.assert_allclose(measured.mean, pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(measured.std, pixels.std(axis=(0, 1, 2)), rtol=1e-12)
    inputs = measured.apply(split["image"])
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs.mean(axis=(0, 1, 2), dtype=float), 0, atol=1e-6)
    np.testing.assert_allclose(inputs.std(axis=(0, 1, 2), dtype=float), 1, rtol=1e-6)


def test_a_constant_channel_gives_zeros():
    pixels = np.full((3, 4, 4, 1), 77, np.uint8)
    inputs = Preprocessing.measure(pixels).apply(pixels)
    np.testing.assert_allclose(inputs, 0, atol=1e-4)


def test_preprocessing_survives_json():
    measured = Preprocessing.measure(random_split(9, channels=3)["image"])
    assert Preprocessing.model_validate_json(measured.model_dump_json()) == measured
    assert Preprocessing.parse(measured.model_dump(mode="json"), "card.json") == measured


def test_preprocessing_refuses_wrong_values():
    with pytest.raises(ValueError, match="got 1 means and 3 deviations"):
        Preprocessing(size=4, channels=3, mean=(0.0,), std=(1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="std"):
        Preprocessing(size=4, channels=1, mean=(0.0,), std=(0.0,))
    with pytest.raises(ValueError, match="expected at least one, square"):
        Preprocessing.measure(np.zeros((2, 4, 5, 1), np.uint8))
    measured = Preprocessing.measure(random_split(4)["image"])
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 6, 6, 1\)"):
        measured.apply(np.zeros((1, 6, 6, 3), np.uint8))
    with pytest.raises(ValueError, match="got float32"):
        measured.apply(np.zeros((1, 6, 6, 1), np.float32))


def test_a_picture_reads_back_as_the_image_it_was(tmp_path):
    data = load("mnist5k", size=32, limit=10)
    stored = load("mnist5k", limit=10).train["image"][3]
    Image.fromarray(stored[..., 0]).save(tmp_path / "digit.png")
    read = Preprocessing.measure(data.train["image"]).image(tmp_path / "digit.png")
    np.testing.assert_array_equal(read, data.train["image"][3])


def test_a_picture_takes_the_channels_of_the_model(tmp_path):
    Image.new("RGB", (4, 4), (0, 255, 0)).save(tmp_path / "green.png")
    Image.new("L", (4, 4), 9).save(tmp_path / "grey.png")
    grey = Preprocessing(size=4, channels=1, mean=(0.0,), std=(1.0,))
    colour = Preprocessing(size=4, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert grey.image(tmp_path / "green.png")[0, 0].tolist() == [150]  # 0.587 * 255
    assert colour.image(tmp_path / "grey.png")[0, 0].tolist() == [9, 9, 9]


def test_a_missing_or_broken_picture_is_one_line(tmp_path):
    grey = Preprocessing(size=4, channels=1, mean=(0.0,), std=(1.0,))
    with pytest.raises(FileNotFoundError, match=r"no\.png: no such file"):
        grey.image(tmp_path / "no.png")
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(ValueError, match=r"a\.png: not a picture; expected BMP"):
        grey.image(tmp_path / "a.png")


def shifted(image, down, right):
    """The reference: one image moved by whole pixels, zeros behind it."""
    height, width, _ = image.shape
    margin = max(height, width)
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)))
    top, left = margin - down, margin - right
    return padded[top : top + height, left : left + width]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shift_and_mirror_equal_the_reference(channels, dtype):
    pixels = random_split(64, size=8, channels=channels)["image"].astype(dtype)
    settings = Augment(shift=3, mirror=True)
    motions = draw(64, [1, 2], settings)
    moved = move(tf.constant(pixels), motions, settings).numpy()
    expected = [
        shifted(image[:, ::-1] if sign < 0 else image, int(down), int(right))
        for image, (down, right, _, _, sign, _) in zip(pixels, motions.numpy(), strict=True)
    ]
    assert moved.dtype == dtype
    np.testing.assert_array_equal(moved, expected)


def test_motions_cover_their_range():
    settings = Augment(shift=2, rotate=30, mirror=True)
    down, right, cos, sin, sign, times = draw(2000, [3, 4], settings).numpy().T
    assert (times == 1).all()
    more = draw(2000, [3, 4], settings.model_copy(update={"scale": 0.25})).numpy().T
    np.testing.assert_array_equal(more[:5], [down, right, cos, sin, sign])  # as without
    assert 0.8 <= more[5].min() < 0.81 < 1.24 < more[5].max() <= 1.25
    assert 900 < (more[5] < 1).sum() < 1100
    for shift in (down, right):
        values, counts = np.unique(shift, return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert counts.min() > 320
    degrees = np.degrees(np.arctan2(sin, cos))
    assert -30 <= degrees.min() < -29 < 29 < degrees.max() <= 30
    assert 900 < (sign < 0).sum() < 1100
    assert np.abs(np.corrcoef([down, right, degrees, sign]) - np.eye(4)).max() < 0.1


def test_affine_path_shifts_and_mirrors_like_the_gather():
    pixels = tf.constant(random_split(32, size=9, channels=3)["image"])
    settings = Augment(shift=2, mirror=True)
    motions = draw(32, [0, 0], settings)
    turned = settings.model_copy(update={"rotate": 90.0})  # takes the other path; the motions stay
    gathered, affine = (move(pixels, motions, s).numpy() for s in (settings, turned))
    np.testing.assert_allclose(affine, gathered, atol=1e-3)


@pytest.mark.oracle
@pytest.mark.parametrize("degrees", [-90, -30, 10, 45])
def test_rotation_equals_scipy(degrees):
    pixels = random_split(1, size=17, channels=2)["image"].astype(np.float32)
    angle = np.radians(degrees)
    motions = tf.constant([[0, 0, np.cos(angle), np.sin(angle), 1, 1]], tf.float32)
    ours = move(tf.constant(pixels), motions, Augment(rotate=90)).numpy()[0]
    # SciPy turns anticlockwise for a positive angle.
    theirs = scipy.ndimage.rotate(pixels[0], -degrees, reshape=False, order=1, mode="grid-constant")
    np.testing.assert_allclose(ours, theirs, atol=0.02)


@pytest.mark.oracle
def test_a_whole_motion_equals_scipy():
    pixels = random_split(1, size=17)["image"].astype(np.float32)
    angle = np.radians(20)
    motions = tf.constant([[2, -3, np.cos(angle), np.sin(angle), -1, 1]], tf.float32)
    ours = move(tf.constant(pixels), motions, Augment(rotate=90)).numpy()[0]
    mirrored = pixels[0, :, ::-1]
    turned = scipy.ndimage.rotate(mirrored, -20, reshape=False, order=1, mode="grid-constant")
    # SciPy turned first and cut what left the picture; compare where nothing was cut.
    np.testing.assert_allclose(ours[4:-4, 4:-4], shifted(turned, 2, -3)[4:-4, 4:-4], atol=0.02)


@pytest.mark.oracle
@pytest.mark.parametrize("times", [0.8, 1.25])
def test_scale_equals_scipy(times):
    pixels = random_split(1, size=17, channels=1)["image"].astype(np.float32)
    motions = tf.constant([[0, 0, 1, 0, 1, times]], tf.float32)
    ours = move(tf.constant(pixels), motions, Augment(scale=0.25)).numpy()[0, ..., 0]
    middle = np.array([8.0, 8.0])
    theirs = scipy.ndimage.affine_transform(
        pixels[0, ..., 0], [1 / times] * 2, middle - middle / times, order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(ours[1:-1, 1:-1], theirs[1:-1, 1:-1], atol=0.02)


def test_augment_is_a_function_of_the_seed():
    pixels = tf.constant(repeated(40)["image"])
    settings = Augment(shift=3, rotate=20, mirror=True)
    first, again = (augment(pixels, [5, 6], settings).numpy() for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, augment(pixels, [5, 7], settings).numpy())
    # The same picture forty times: every copy moves in its own way.
    assert len({image.tobytes() for image in first}) == 40


def test_augment_without_settings_changes_nothing():
    pixels = tf.constant(random_split(4)["image"])
    np.testing.assert_array_equal(augment(pixels, [0, 0], Augment(mirror=False)), pixels)


def test_augment_refuses_an_undecided_mirror():
    with pytest.raises(ValueError, match="got 'auto'; expected True or False"):
        augment(tf.zeros((1, 4, 4, 1)), [0, 0], Augment())


def feed(num=50, **settings):
    split = random_split(num)
    return Feed(split, scaled(split), **{"batch_size": 8, **settings})


def test_training_visits_each_image_at_most_once_and_drops_the_remainder():
    split = random_split(50)
    prepare = scaled(split)
    batches = Feed(split, prepare, batch_size=8, training=True)
    known = {image.tobytes(): label for image, label in
             zip(prepare["image"].apply(split["image"]), split["label"], strict=True)}  # fmt: skip
    dropped = []
    for epoch in range(3):
        seen = {}
        for batch in as_numpy(batches.dataset(epoch)):
            assert list(batch) == ["image", "label", "weight"]
            inputs, labels, weights = batch.values()
            assert inputs.shape == (8, 6, 6, 1)
            assert weights.tolist() == [1.0] * 8
            assert (inputs.dtype, labels.dtype, weights.dtype) == (np.float32, np.int32, np.float32)
            seen |= {i.tobytes(): label for i, label in zip(inputs, labels, strict=True)}
        assert len(seen) == batches.steps * 8 == 48
        assert seen.items() <= known.items()
        dropped.append(known.keys() - seen.keys())
    assert dropped[0] != dropped[1] != dropped[2]


def test_inputs_equal_preprocessing_in_numpy():
    split = random_split(20, channels=3)
    prepare = scaled(split)
    batches = as_numpy(Feed(split, prepare, batch_size=5).dataset())
    inputs = np.concatenate([batch["image"] for batch in batches])
    expected = prepare["image"].apply(split["image"])
    np.testing.assert_allclose(inputs, expected, rtol=1e-6, atol=1e-6)


def test_order_is_a_function_of_seed_and_epoch():
    orders = {
        (seed, epoch): tuple(
            batch["image"].tobytes()
            for batch in as_numpy(feed(training=True, seed=seed).dataset(epoch))
        )
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(set(orders.values())) == 4
    again = as_numpy(feed(training=True).dataset(1))
    assert orders[0, 1] == tuple(batch["image"].tobytes() for batch in again)


NOISE = {"noise": Draw("normal", (3,)), "place": Draw("uniform", ())}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("replicas", [1, 2])
def test_start_equals_skipping(training, replicas):
    settings = Augment(shift=2, rotate=10, mirror=True) if training else None
    batches = feed(training=training, augment=settings, draws=NOISE)
    whole = as_numpy(batches.dataset(3, replicas=replicas))
    late = as_numpy(batches.dataset(3, start=4, replicas=replicas))
    assert len(late) == len(whole) - 4 * replicas > 0
    for ours, theirs in zip(late, whole[4 * replicas :], strict=True):
        assert list(ours) == list(theirs)
        for name, expected in theirs.items():
            np.testing.assert_array_equal(ours[name], expected)
    assert as_numpy(batches.dataset(3, start=batches.steps)) == []


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize(
    "settings", [None, Augment(shift=2, mirror=True), Augment(rotate=20, mirror=False)]
)
@pytest.mark.parametrize("training", [True, False])
def test_replicas_share_the_very_same_batch(replicas, settings, training):
    batches = feed(training=training, augment=settings if training else None, draws=NOISE)
    whole = as_numpy(batches.dataset(1))
    shares = as_numpy(batches.dataset(1, replicas=replicas))
    assert len(shares) == replicas * len(whole)
    for step, expected in enumerate(whole):
        parts = shares[step * replicas : (step + 1) * replicas]
        for name, want in expected.items():
            got = np.concatenate([part[name] for part in parts])
            np.testing.assert_array_equal(got, want)


def test_noise_is_drawn_anew_for_every_example_as_its_kind_says():
    def drawn(name, **settings):
        batches = feed(800, training=True, draws=NOISE, batch_size=400, **settings)
        parts = [batch for epoch in range(2) for batch in as_numpy(batches.dataset(epoch))]
        return np.concatenate([part[name] for part in parts])

    normal, uniform = drawn("noise"), drawn("place")
    assert normal.shape == (1600, 3) and uniform.shape == (1600,)
    assert normal.dtype == uniform.dtype == np.float32
    assert np.abs(normal.mean(axis=0)).max() < 0.1 and np.abs(normal.std(axis=0) - 1).max() < 0.1
    assert np.abs(np.corrcoef(normal.T) - np.eye(3)).max() < 0.1
    assert uniform.min() >= 0 and uniform.max() < 1 and abs(uniform.mean() - 0.5) < 0.05
    assert len(np.unique(normal[:, 0])) == len(normal)  # of every step and epoch
    np.testing.assert_array_equal(normal, drawn("noise"))
    assert not np.array_equal(normal, drawn("noise", seed=1))


@pytest.mark.parametrize("rotate", [0, 30])
def test_a_mask_moves_with_its_image(rotate):
    """Where the image is white the mask is of class 1; what moves in from outside counts not."""
    random = np.random.RandomState(0)
    mask = np.kron(random.randint(0, 2, (16, 3, 3)), np.ones((4, 4))).astype(np.uint8)
    split = Split({"image": 255 * mask[..., None], "mask": mask})
    prepare = {"image": Preprocessing(size=12, channels=1, mean=(0.0,), std=(1.0,))}
    settings = Augment(shift=2, rotate=rotate, mirror=True)
    batches = Feed(split, prepare, batch_size=16, training=True, augment=settings)
    (batch,) = as_numpy(batches.dataset())
    moved, image = batch["mask"], batch["image"][..., 0]
    assert moved.dtype == np.uint8 and set(np.unique(moved)) == {0, 1, 255}
    inside = moved != 255
    assert not np.array_equal(moved, mask) and 0.5 < inside.mean() < 1
    if not rotate:
        assert np.array_equal(image[inside], moved[inside]) and not image[~inside].any()
    else:  # the image is interpolated, the mask takes the nearest pixel
        sure = inside & (np.abs(image - 0.5) > 0.3)
        assert sure.mean() > 0.4 and np.mean((image > 0.5)[sure] == (moved == 1)[sure]) > 0.99


def test_augmentation_differs_between_steps_and_epochs():
    split = repeated(64)
    settings = Augment(shift=3, rotate=20, mirror=True)
    batches = Feed(split, scaled(split), batch_size=16, training=True, augment=settings)
    seen = {
        image.tobytes()
        for epoch in range(2)
        for batch in as_numpy(batches.dataset(epoch))
        for image in batch["image"]
    }
    assert len(seen) == 2 * 64


def test_moved_in_pixels_are_black():
    split = Split({"image": np.full((8, 6, 6, 1), 200, np.uint8)})
    prepare = {"image": Preprocessing(size=6, channels=1, mean=(0.5,), std=(0.25,))}
    settings = Augment(shift=3, mirror=False)
    (batch,) = as_numpy(
        Feed(split, prepare, batch_size=8, training=True, augment=settings).dataset()
    )
    assert np.unique(batch["image"]).tolist() == pytest.approx([-2.0, (200 / 255 - 0.5) / 0.25])


def test_evaluation_pads_the_last_batch_with_weight_0():
    split = random_split(50)
    batches = Feed(split, scaled(split), batch_size=8)
    assert batches.steps == 7
    elements = as_numpy(batches.dataset())
    assert [len(batch["image"]) for batch in elements] == [8] * 7
    labels, weights = (
        np.concatenate([batch[name] for batch in elements]) for name in ("label", "weight")
    )
    assert weights.tolist() == [1.0] * 50 + [0.0] * 6
    np.testing.assert_array_equal(labels[:50], split["label"])
    np.testing.assert_array_equal(labels[50:], split["label"][:6])


def test_evaluation_of_fewer_images_than_a_batch():
    (batch,) = as_numpy(feed(3).dataset())
    assert batch["image"].shape == (8, 6, 6, 1)
    assert batch["weight"].sum() == 3


def test_training_on_fewer_images_than_a_batch_says_so():
    with pytest.warns(UserWarning, match="batch_size: got 8 for 5 training images; using 5"):
        batches = feed(5, training=True)
    assert (batches.steps, batches.batch_size) == (1, 5)
    assert [len(batch["image"]) for batch in as_numpy(batches.dataset())] == [5]


def test_shapes_are_static():
    spec = feed(training=True).dataset(replicas=2).element_spec
    assert spec["image"].shape == (4, 6, 6, 1)
    assert spec["label"].shape == spec["weight"].shape == (4,)


def test_feed_refuses_wrong_values():
    with pytest.raises(ValueError, match=r"got 8; expected a multiple of 3, .* e\.g\. 6 or 9"):
        feed().dataset(replicas=3)
    with pytest.raises(ValueError, match="workers: got 3 for 4 devices; expected as many"):
        feed().dataset(replicas=4, workers=3)  # one device's share would be nobody's
    with pytest.raises(ValueError, match="got step 8; expected 0 to 7"):
        feed().dataset(start=8)
    with pytest.raises(ValueError, match="evaluation changes no image"):
        feed(augment=Augment(mirror=False))
    with pytest.raises(ValueError, match="expected 1 or more"):
        feed(batch_size=0)
    with pytest.raises(ValueError, match="got 'auto'"):
        feed(training=True, augment=Augment())
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 5, 5, 1\)"):
        Feed(random_split(4), scaled(random_split(4, size=5)), batch_size=2)


MIRRORED = """
import numpy as np, tensorflow as tf
from zoo.data import Feed, Preprocessing, load
from zoo.data.feeds.source import Draw
from zoo.recipe import Augment

two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], two)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
train = load("digits").train
settings = Augment(shift=1, rotate=5, mirror=True)
scale = {"image": Preprocessing.measure(train["image"])}
draws = {"noise": Draw("normal", (3,))}
options = {"batch_size": 100, "training": True, "augment": settings, "draws": draws}
feed = Feed(train, scale, **options)
shared = strategy.distribute_datasets_from_function(lambda _: feed.dataset(2, start=4, replicas=2))
steps = 0
for whole, parts in zip(feed.dataset(2, start=4), shared, strict=True):
    assert set(whole) == set(parts) == {"image", "label", "weight", "noise"}
    for name, want in whole.items():
        got = [share.numpy() for share in strategy.experimental_local_results(parts[name])]
        assert len(got) == 2 and np.array_equal(np.concatenate(got), want), steps
    steps += 1
print("steps", steps)
"""


@pytest.mark.dist
def test_mirrored_strategy_deals_out_the_same_batches():
    done = programs.run(MIRRORED)
    assert done.stdout == "steps 8\n", done.stderr[-2000:]
