"""The games beside the first one: told a class, of perceptrons, of Wasserstein; their measures."""

import tracemalloc
from collections import Counter
from functools import partial
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import NearestNeighbors

import compress
import export
from tests import toy
from zoo.catalog import find_architecture
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.metrics import precision_and_recall
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.stages.evaluate import evaluate
from zoo.stages.generate import generate
from zoo.tasks import made as pictures
from zoo.tasks.games.adversarial import norm_of_gradient, packed
from zoo.tasks.games.gan import GAN
from zoo.tasks.games.likeness import Made
from zoo.tasks.games.wgan_gp import WGANGP
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.steps import part
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

WGAN = WGANGP()
LITTLE = {"doublings": 1, "width": 16, "latent": 16}  # 8x8 from 4x4


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def told(tmp_path_factory, _home):
    """A conditional GAN of digits of 8 x 8."""
    changes = ["data.name=digits", "train.epochs=20", "train.optimizer.learning_rate=2e-3"]
    changes += ["train.optimizer.ema=0.9"]  # few steps, of which the last few are averaged
    changes += [f"settings.{key}={value}" for key, value in LITTLE.items()]
    out = tmp_path_factory.mktemp("runs") / "told"
    return fit("conditional_gan_small", out=out, changes=changes)


def perceptrons(task, *, seed=0):
    """Without batch normalisation, whose statistics are those of a replica; told the class."""
    keras.utils.set_random_seed(seed)
    noise, image = keras.Input((4,), name="noise"), keras.Input((8, 8, 1), name="image")
    label = keras.Input((10,), name="label")
    x = keras.layers.Dense(16, "relu")(keras.layers.Concatenate()([noise, label]))
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64, "tanh")(x))
    y = keras.layers.Concatenate()([keras.layers.Flatten()(image), label])
    y = keras.layers.Dense(1)(keras.layers.Dense(16, "softplus")(y))
    return {
        "generator": keras.Model([noise, label], x, name="generator"),
        task.opponent: keras.Model([image, label], y, name=task.opponent),
    }


def batches(task, networks, **options):
    data = load_data("digits", limit=320)
    scale = {"image": task.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=40, draws=task.draws(networks), **options)


def train(task, networks, *, epochs=3, batch_size=40, **options):
    chosen = Optimizer(kind="adam", learning_rate=1e-3, beta_1=0.5, schedule="constant")
    settings = Train(epochs=epochs, batch_size=batch_size, optimizer=chosen)
    machine = choose_machine(Hardware(precision="float32", strategy="one"))
    trainer = Trainer(networks, task, settings, machine)
    feed = batches(task, networks, training=True)
    return trainer.fit(feed, batches(task, networks), **options)


# The networks


def test_parameters_are_those_counted_by_hand():
    def dense(*widths):
        return sum(a * b + b for a, b in pairwise(widths))

    expected = {
        "gan": (dense(100, 1200, 1200, 784), dense(784, 1200) + dense(240, 1200) + dense(240, 1)),
        "gan_ring": (dense(16, 128, 128, 2), dense(2, 128, 128, 1)),
        "wgan_gp_ring": (dense(16, 128, 128, 2), dense(2, 128, 128, 1)),
        "conditional_gan_small": (
            (64 + 10) * 49 * 64 + 16 * (64 * 32 + 32) + 2 * (64 + 32),
            16 * ((1 + 10) * 32 + 32 * 64) + 49 * 64 + 2 * 64,
        ),
        "pacgan_small": (
            64 * 49 * 64 + 16 * (64 * 32 + 32) + 2 * (64 + 32),
            16 * (2 * 32 + 32 * 64) + 49 * 64 + 2 * 64,
        ),
        "wgan_gp_small": (
            64 * 49 * 64 + 16 * (64 * 32 + 32) + 2 * (64 + 32),
            16 * 32 + 32 + 16 * 32 * 64 + 64 + 49 * 64,
        ),
    }
    for name, counts in expected.items():
        networks = create(name)
        found = [sum(w.numpy().size for w in one.trainable_weights) for one in networks.values()]
        assert tuple(found) == counts, name
        assert sum(counts) == find_architecture(name).parameters
    assert not any("bn" in layer.name for layer in networks["critic"].layers)


# What the discriminator is shown


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_smoothing_is_of_real_pictures_alone(share):
    task = GAN(smoothing=share)
    networks = perceptrons(task)
    batch = next(iter(batches(task, networks).dataset()))
    seen = task.look("discriminator", networks, batch, training=True)
    real, fake = (seen.measures[name].values.numpy().astype("f8") for name in ("real", "fake"))
    expected = -(1 - share) * np.log(real) - share * np.log(1 - real) - np.log(1 - fake)
    np.testing.assert_allclose(seen.loss.values, expected, rtol=1e-4)


# The penalty


@pytest.mark.oracle
def test_norm_of_the_gradient_and_its_own_gradient_are_the_closed_forms():
    """Of the score x W v, with its slope W v, and of the softplus of it, at any point."""
    random = np.random.RandomState(0)
    x, w, v = (random.normal(size=size) for size in ((5, 3), (3, 4), (4,)))
    weights = tf.Variable(w)
    with tf.GradientTape() as tape:
        slope = norm_of_gradient(
            lambda x: tf.linalg.matvec(x @ weights, tf.constant(v)), tf.constant(x)
        )
        total = tf.reduce_sum((slope - 1) ** 2)
    norm = np.linalg.norm(w @ v)
    np.testing.assert_allclose(slope, [norm] * 5, rtol=1e-6)
    expected = 5 * 2 * (norm - 1) * np.outer(w @ v / norm, v)
    np.testing.assert_allclose(tape.gradient(total, weights), expected, rtol=1e-5)
    bent = norm_of_gradient(
        lambda x: tf.math.softplus(tf.linalg.matvec(x, tf.constant(v[:3]))), tf.constant(x)
    )
    at = 1 / (1 + np.exp(-x @ v[:3]))
    np.testing.assert_allclose(bent, at * np.linalg.norm(v[:3]), rtol=1e-6)


def test_the_critics_loss_is_the_papers():
    networks = perceptrons(WGAN)
    batch = next(iter(batches(WGAN, networks).dataset()))
    seen = WGAN.look("critic", networks, batch, training=True)
    distance, slope = (seen.measures[name].values.numpy() for name in ("distance", "slope"))
    np.testing.assert_allclose(seen.loss.values, 10 * (slope - 1) ** 2 - distance, rtol=1e-5)
    label = tf.one_hot(batch["label"], 10)
    score = networks["critic"]([batch["image"], label])[:, 0]
    made = networks["generator"]([batch["noise_critic"], label])
    np.testing.assert_allclose(distance, score - networks["critic"]([made, label])[:, 0], atol=1e-6)
    # By differences: the slope on the line from made to real pictures.
    share = batch["between"][:, None, None, None]
    place = (share * batch["image"] + (1 - share) * made).numpy()
    for pixel in range(3):
        ends = []
        for step in (1e-2, -1e-2):
            other = place.copy()
            other[:, 4, pixel + 2] += step
            ends.append(networks["critic"]([tf.constant(other), label])[:, 0].numpy())
        part_of = (ends[0] - ends[1]) / 2e-2
        assert (np.abs(part_of) <= slope * 1.01).all()
    assert np.abs(part_of).max() > 0


# Turns


def test_every_turn_of_the_critic_sees_pictures_and_noise_of_its_own(monkeypatch):
    """Of 40 examples, eight in each of five turns; the generator sees the first eight."""
    networks, seen = perceptrons(WGAN), []

    def look(self, objective, networks, batch, *, training, usual=WGANGP.look):
        def keep(noise, image, objective=objective):
            seen.append((objective, noise, image))
            return np.float32(0)

        found = usual(self, objective, networks, batch, training=training)
        if not training:
            return found
        kept = tf.numpy_function(keep, [batch["noise_critic"], batch["image"]], tf.float32)
        kept.set_shape(())
        return found._replace(loss=found.loss._replace(values=found.loss.values + kept))

    monkeypatch.setattr(WGANGP, "look", look)
    train(WGAN, networks, epochs=1)
    turns = seen[:6]
    assert Counter(name for name, *_ in turns) == {"critic": 5, "generator": 1}
    assert all(len(noise) == len(image) == 8 for _, noise, image in turns)
    first = next(iter(batches(WGAN, networks, training=True).dataset()))
    for place, column in ((1, "noise_critic"), (2, "image")):
        shown = np.concatenate([turn[place] for turn in turns if turn[0] == "critic"])
        whole = first[column].numpy()
        order = np.concatenate([np.arange(start, 40, 5) for start in range(5)])
        np.testing.assert_array_equal(shown, whole[order])


def test_a_replicas_parts_are_those_of_the_whole():
    whole = {"x": tf.range(40), "weight": tf.ones(40)}
    halves = [
        {name: column[start : start + 20] for name, column in whole.items()} for start in (0, 20)
    ]
    for turn in range(5):
        split = [part(half, turn, 5)["x"] for half in halves]
        np.testing.assert_array_equal(part(whole, turn, 5)["x"], np.concatenate(split))
    assert part(whole, 3, 1) is whole


def test_a_batch_that_turns_cannot_share_is_refused():
    task = WGANGP(turns=3)
    with pytest.raises(
        ValueError, match=r"batch_size: got 40; expected a multiple of 3: a turn of"
    ):
        train(task, perceptrons(task))


@pytest.mark.slow
@pytest.mark.parametrize("task", [WGAN, GAN(smoothing=0.1, penalty=1)], ids=lambda task: task.kind)
def test_resumed_run_equals_a_whole_one(task, tmp_path):
    def make(seed):
        return perceptrons(task, seed=seed)

    losses = (f"{task.opponent}_loss",)
    toy.resumed(make, partial(train, task), tmp_path / "snapshot.npz", step=11, losses=losses)


TWO_DEVICES = """
    import json
    from functools import partial
    from tests import two
    from tests.test_gan_kinds import GAN, WGANGP, batches, perceptrons
    from zoo.recipe import Optimizer, Train

    chosen = Optimizer(kind="sgd", learning_rate=0.02, clip_global_norm=1.0)
    settings, found = Train(epochs=2, batch_size=40, optimizer=chosen), []
    for task in (WGANGP(), GAN(penalty=1)):
        names = (f"{task.opponent}_loss", "generator_loss", "val_generator_loss")
        make, feed = partial(perceptrons, task), partial(batches, task)
        found += two.trained(make, feed, task, settings, names)[0]
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    found = toy.printed(TWO_DEVICES)
    for weights, losses, start in (found[:3], found[3:]):
        assert start > 1e-2
        assert weights < 1e-6 and losses < 1e-4


# The measures


@pytest.mark.oracle
def test_precision_and_recall_are_those_of_scikit_learns_neighbours():
    random = np.random.RandomState(0)
    real, made = random.normal(size=(700, 5)), random.normal(size=(600, 5)) * 0.7 + 0.3

    def covered(points, by):
        radii = NearestNeighbors(n_neighbors=4).fit(by).kneighbors(by)[0][:, -1]
        far = np.linalg.norm(points[:, None] - by, axis=-1)
        return (far <= radii).any(axis=1).mean()

    assert precision_and_recall(real, made) == (covered(made, real), covered(real, made))
    assert precision_and_recall(real, real) == (1.0, 1.0)
    assert precision_and_recall(real, real + 100) == (0.0, 0.0)
    with pytest.raises(ValueError, match="more than 3 of each"):
        precision_and_recall(real[:3], made)


@pytest.mark.oracle
def test_the_nearest_picture_is_that_of_scikit_learn():
    random = np.random.RandomState(0)
    known = random.randint(0, 256, (300, 4, 4, 3)).astype("uint8")
    shown = np.concatenate([random.randint(0, 256, (270, 4, 4, 3)).astype("uint8"), known[7:9]])
    place, far = pictures.nearest(shown, known)
    flat = [x.reshape(len(x), -1) / 255 for x in (known, shown)]
    expected, rows = NearestNeighbors(n_neighbors=1).fit(flat[0]).kneighbors(flat[1])
    np.testing.assert_array_equal(place, rows[:, 0])
    np.testing.assert_allclose(far, expected[:, 0] / np.sqrt(48), atol=1e-6)
    assert tuple(place[-2:]) == (7, 8) and far[-1] == 0
    pairs = pictures.pairs(shown[:2], known[place[:2]])
    np.testing.assert_array_equal(pairs[1::2], known[place[:2]])


def test_the_nearest_picture_is_looked_for_in_blocks(monkeypatch):
    """Of many pictures few are floats at once; equal ones are the first."""
    random = np.random.RandomState(0)
    known = random.randint(0, 256, (50, 4, 4, 1)).astype("uint8")
    shown = np.concatenate([random.randint(0, 256, (20, 4, 4, 1)).astype("uint8"), known[33:34]])
    known = np.concatenate([known, known[30:40]])
    far = np.sqrt(np.square(shown[:, None] / 255 - known / 255).mean(axis=(2, 3, 4)))
    monkeypatch.setattr(pictures, "BLOCK", 7)
    place, found = pictures.nearest(shown, known)
    np.testing.assert_array_equal(place, far.argmin(axis=1))
    np.testing.assert_allclose(found, far.min(axis=1), atol=1e-6)
    assert place[-1] == 33
    monkeypatch.undo()
    many = np.zeros((20_000, 28, 28, 1), "uint8")
    tracemalloc.start()
    pictures.nearest(many[:10], many)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < many.nbytes  # 4 times as much as floats


def test_what_was_learnt_by_heart_shows():
    data = load_data("digits")
    test = data.test[:200]
    metrics = {}
    for name, made in (("copies", data.train["image"][:200]), ("new", test["image"])):
        meter = Made(data.columns, data)
        meter.add(test.columns, made)
        found = meter.result()
        metrics[name] = found.metrics
    assert metrics["copies"]["novelty"] == 0 and metrics["new"]["novelty"] == pytest.approx(1)
    assert metrics["new"]["precision"] == metrics["new"]["recall"] == 1
    assert 0.5 < metrics["copies"]["precision"] == metrics["copies"]["precision_ceiling"] < 1
    assert metrics["copies"]["classes_made"] == 10 and metrics["new"]["as_asked"] > 0.9
    meter = Made(data.columns, data)
    meter.add(
        test.columns, np.repeat(test["image"][:1], 200, axis=0)
    )  # one picture, again and again
    found = meter.result()
    assert found.metrics["classes_made"] == 1
    assert found.metrics["recall"] == 1 / 200  # itself
    (judge,) = found.tables["judge"]
    assert len(judge["digest"]) == 32 and judge["top1"] > 0.9
    assert "samples" in found.pictures


def test_ring_has_eight_places_of_equally_many_points():
    data = load_data("ring")
    assert [len(one) for one in (data.train, data.validation, data.test)] == [4000, 200, 800]
    for split in (data.train, data.validation, data.test):
        assert set(np.bincount(split["label"])) == {len(split) // 8}
    angles = np.arctan2(*data.train["features"].T[::-1])
    np.testing.assert_array_equal(np.round(angles / (np.pi / 4)) % 8, data.train["label"])
    centred = (
        data.train["features"]
        - np.stack(
            [data.train["features"][data.train["label"] == k].mean(axis=0) for k in range(8)]
        )[data.train["label"]]
    )
    assert centred.std() == pytest.approx(0.1, rel=0.03)
    meter = Made(data.columns, data)
    half = data.test["features"] * (data.test["label"] < 4)[:, None]  # the others lie in the middle
    meter.add(data.test.columns, half)
    found = meter.result()
    assert found.metrics["classes_made"] == 4
    assert found.metrics["precision"] == pytest.approx(0.5 * (1 - np.exp(-4.5)), abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gan_ring", "wgan_gp_ring"])
def test_all_eight_places_are_made(name, tmp_path):
    bundle = fit(name, out=tmp_path / name)
    metrics = bundle.report.metrics
    assert metrics["classes_made"] == 8
    assert metrics["precision"] > 0.5
    assert min(row["made"] for row in bundle.report.tables["classes"]) >= 10
    assert (bundle.path / "points.png").is_file()
    with pytest.raises(ValueError, match="makes rows of a table; expected a bundle of pictures"):
        generate(bundle)


# Told a class


@pytest.mark.slow
def test_a_told_generator_makes_what_it_is_asked_for(told):
    metrics = told.report.metrics
    assert metrics["as_asked"] > 0.5  # chance is a tenth
    assert metrics["classes_made"] == 10
    assert told.card.inputs["noise"] == Column("noise", (16,))
    assert told.card.inputs["label"] == Column("features", (10,))  # shares, no index
    sevens, again = (generate(told, count=12, seed=3, label=7) for _ in range(2))
    np.testing.assert_array_equal(sevens, again)
    turns = generate(told, count=12, seed=3)
    np.testing.assert_array_equal(turns[7], sevens[7])  # the same noise, of the same class
    assert not np.array_equal(turns[6], sevens[6])


@pytest.mark.parametrize("label", [-1, 10])
def test_a_class_that_is_not_there_is_refused(label):
    networks = create("conditional_gan_small", input_shape=(8, 8, 1), **LITTLE)
    columns = {"image": Column("image", (8, 8, 1))}
    made = GAN().generate(networks, columns=columns, count=3, seed=0, label=7)
    assert made.shape == (3, 8, 8, 1) and made.dtype == np.uint8
    with pytest.raises(ValueError, match=f"got the class {label}; expected an index, 0 to 9"):
        GAN().generate(networks, columns=columns, count=3, seed=0, label=label)


def test_a_class_is_refused_by_those_that_are_not_told_one():
    networks = create("dcgan_small", input_shape=(8, 8, 1), **LITTLE)
    columns = {"image": Column("image", (8, 8, 1))}
    with pytest.raises(ValueError, match="got a class for networks that read none"):
        GAN().generate(networks, columns=columns, count=2, seed=0, label=3)
    with pytest.raises(ValueError, match="got prompt, which it does not know"):
        GAN().generate(networks, columns=columns, count=2, seed=0, prompt="a")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_a_file_is_measured_as_its_generator_is(told, tmp_path, target):
    run = Run(told.recipe, networks=load_networks(told.path))
    about = export.About(source_sha256=told.sha256)
    out = export.export(
        load_model(told.path), target, tmp_path / target, samples=run.samples(128), about=about
    )
    assert out.manifest.parity.passed
    measured = evaluate(told, "test", file=tmp_path / target)
    found, known = measured.evaluation.metrics, told.report.metrics
    assert found["frechet_floor"] == known["frechet_floor"]
    near = 0.25 if target == "tflite-int8" else 1e-2
    assert found["frechet"] == pytest.approx(known["frechet"], rel=near)
    assert measured.same_top1 is None


@pytest.mark.slow
def test_a_generator_with_fewer_channels_learns_what_it_made_before(told):
    run = Run(told.recipe, networks=load_networks(told.path))
    model, scores = load_model(told.path), {}
    inputs = run.samples(200)
    taught = model(inputs, training=False).numpy()

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(epochs, rate=rate))

    cut = compress.PruneChannels(ratio=0.5, epochs=0)
    for name, passes in {
        "cut": [cut],
        "game": [cut, compress.Distill(of="values", epochs=0)],
        "taught": [cut, compress.Distill(of="values", weight=10, epochs=4)],
    }.items():
        small = compress.apply(compress.Pipeline(passes), model, samples=inputs, fit=tune).model
        scores[name] = np.square(small(inputs, training=False).numpy() - taught).mean()
    assert small.count_params() < 0.7 * model.count_params()
    assert scores["taught"] < 0.5 * scores["cut"] == 0.5 * scores["game"]


def test_the_penalty_of_a_linear_discriminator_is_that_of_its_slope():
    image = keras.Input((8, 8, 1), name="image")
    score = keras.layers.Dense(1, name="logit")
    networks = {
        "generator": perceptrons(GAN())["generator"],
        "discriminator": keras.Model(image, score(keras.layers.Flatten()(image))),
    }
    batch = next(iter(batches(GAN(), networks).dataset()))
    losses = [
        task.look("discriminator", networks, batch, training=True).loss.values.numpy()
        for task in (GAN(), GAN(penalty=3))
    ]
    slope = np.square(score.kernel.numpy()).sum()
    np.testing.assert_allclose(losses[1] - losses[0], 3 / 2 * slope, rtol=1e-4)


def test_a_packed_discriminator_sees_two_pictures_at_once():
    networks = create("pacgan_small", input_shape=(8, 8, 1), **LITTLE)
    task, data = GAN(), load_data("digits", limit=40)
    scale = {"image": task.preprocessing(data.columns["image"])}
    feed = Feed(data.train, scale, batch_size=40, draws=task.draws(networks))
    batch = next(iter(feed.dataset()))
    pairs = packed(batch["image"], 2)
    assert pairs.shape == (20, 8, 8, 2)
    for place in (0, 1):
        np.testing.assert_array_equal(pairs[..., place], batch["image"][place::2, ..., 0])
    seen = task.look("discriminator", networks, batch, training=False)
    logits = networks["discriminator"](pairs, training=False)[:, 0].numpy()
    expected = np.repeat(1 / (1 + np.exp(-logits)), 2)
    np.testing.assert_allclose(seen.measures["real"].values, expected, rtol=1e-4)
    with pytest.raises(ValueError, match=r"task.penalty: got 1 with a discriminator of several"):
        GAN(penalty=1).look("discriminator", networks, batch, training=True)
    with pytest.raises(ValueError, match="pack got 2; expected 1 or more, and 1 of a critic"):
        create("wgan_gp_small", pack=2)
    with pytest.raises(ValueError, match="got 3 pictures on a device; expected a multiple of 2"):
        packed(batch["image"][:3], 2)
