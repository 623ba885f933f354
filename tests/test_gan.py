"""The adversarial game: its losses, its distances, two optimizers, and what becomes of it."""

import csv
import os
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.linalg import sqrtm

import compress
import export
from tests import toy
from zoo.catalog import find_architecture
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.metrics import frechet_distance
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train, changed
from zoo.tasks.games import judge as judges
from zoo.tasks.games.gan import GAN
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.steps import gradient
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

TASK = GAN()
DIGITS = {"doublings": 1, "width": 16, "latent": 16}  # 8x8 from 4x4
LITTLE = [part for key, value in DIGITS.items() for part in ("--set", f"settings.{key}={value}")]


@pytest.fixture(scope="module", autouse=True)
def _home(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, _home):
    changes = ["data.name=digits", "train.epochs=20", "train.optimizer.learning_rate=1e-3"]
    changes += ["train.optimizer.ema=0.9"]  # few steps, of which the last few are averaged
    changes += [f"settings.{key}={value}" for key, value in DIGITS.items()]
    return fit("dcgan_small", out=tmp_path_factory.mktemp("runs") / "gan", changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return create("dcgan_small", input_shape=(8, 8, 1), **DIGITS)


def plain(seed=0):
    """Without batch normalisation, whose statistics are those of a replica."""
    keras.utils.set_random_seed(seed)
    noise, image = keras.Input((4,), name="noise"), keras.Input((8, 8, 1), name="image")
    x = keras.layers.Dense(16, "relu")(noise)
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64, "tanh")(x))
    y = keras.layers.Dense(16, "relu")(keras.layers.Flatten()(image))
    return {
        "generator": keras.Model(noise, x, name="generator"),
        "discriminator": keras.Model(image, keras.layers.Dense(1)(y), name="discriminator"),
    }


def batches(networks, **options):
    data = load_data("digits", limit=320)
    scale = {"image": TASK.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=32, draws=TASK.draws(networks), **options)


def train(networks, *, precision="float32", optimizers=None, epochs=3, **options):
    chosen = Optimizer(kind="adam", learning_rate=1e-3, beta_1=0.5, schedule="constant")
    settings = Train(epochs=epochs, batch_size=32, optimizer=chosen, optimizers=optimizers or {})
    machine = choose_machine(Hardware(precision=precision, strategy="one"))
    feed = batches(networks, training=True)
    return Trainer(networks, TASK, settings, machine).fit(feed, batches(networks), **options)


# The networks


def test_parameters_are_those_counted_by_hand():
    """3,576,704 and 2,765,568 are those of PyTorch's example, too."""
    with keras.StatelessScope(initialize_variables=False):
        networks = create("dcgan")
        counts = {
            name: sum(np.prod(w.shape, dtype=int) for w in network.trainable_weights)
            for name, network in networks.items()
        }
    keras.utils.clear_session()
    assert counts == {"generator": 3_576_704, "discriminator": 2_765_568}
    assert sum(counts.values()) == find_architecture("dcgan").parameters
    shapes = [layer.output.shape[1:] for layer in networks["generator"].layers]
    assert (4, 4, 512) in shapes and shapes[-1] == (64, 64, 3)


def test_the_small_ones_parameters():
    networks = create("dcgan_small")
    counts = {
        name: sum(w.numpy().size for w in network.trainable_weights)
        for name, network in networks.items()
    }
    first, kernels = 64 * 7 * 7 * 64, 16 * (64 * 32 + 32 * 1)
    assert counts["generator"] == first + kernels + 2 * (64 + 32)
    assert counts["discriminator"] == 16 * (1 * 32 + 32 * 64) + 7 * 7 * 64 + 2 * 64
    assert sum(counts.values()) == find_architecture("dcgan_small").parameters
    kernel = networks["generator"].get_layer("up1").kernel.numpy()
    assert kernel.std() == pytest.approx(0.02, rel=0.02)


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 16, for 4 doublings. Take data.size=48"):
        create("dcgan", input_shape=(50, 50, 1))


# The losses and the distance


def test_best_discriminator_is_that_of_the_theorem():
    """Goodfellow et al., proposition 1: p / (p + q), for pictures of one of four kinds."""
    p, q = np.array([4, 2, 1, 1]) / 8, np.array([1, 1, 2, 4]) / 8
    noise, image = keras.Input((4,), name="noise"), keras.Input((1, 1, 4), name="image")
    score = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    networks = {
        "generator": keras.Model(noise, keras.layers.Reshape((1, 1, 4))(noise)),
        "discriminator": keras.Model(image, score(keras.layers.Flatten()(image))),
    }
    kinds = np.eye(4, dtype="f4")
    batch = {
        "image": tf.constant(np.repeat(kinds, (8 * p).astype(int), axis=0)[:, None, None]),
        "noise_discriminator": tf.constant(np.repeat(kinds, (8 * q).astype(int), axis=0)),
        "noise": tf.constant(kinds[[0] * 8]),
        "weight": tf.ones(8),
    }
    turns, variables = TASK.objectives(), networks["discriminator"].trainable_variables
    for _ in range(300):
        _, slopes, _ = gradient(TASK, turns[0], networks, batch, variables=variables)
        variables[0].assign_sub(4 * slopes[0])
    found = 1 / (1 + np.exp(-score.kernel.numpy()[:, 0]))
    np.testing.assert_allclose(found, p / (p + q), atol=1e-3)
    # The generator's loss is -log D of what it makes, here always the first kind.
    seen = TASK.look("generator", networks, batch, training=True)
    np.testing.assert_allclose(seen.loss.values, -np.log(found[0]), rtol=1e-4)


@pytest.mark.parametrize("still", ["generator", "discriminator"])
def test_each_turn_changes_its_own_network(still):
    networks, fresh = plain(), plain()
    train(networks, epochs=1, optimizers={still: {"learning_rate": 1e-30}})
    moved = {name: toy.difference({name: networks[name]}, {name: fresh[name]}) for name in networks}
    assert moved.pop(still) < 1e-12 and min(moved.values()) > 1e-3


@pytest.mark.oracle
def test_frechet_distance_equals_the_roots():
    random = np.random.RandomState(0)
    one = random.normal(size=(500, 6)) @ random.normal(size=(6, 6))
    other = random.normal(size=(300, 6)) * 2 + 1
    p, q = np.cov(one.T), np.cov(other.T)
    apart = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    expected = apart + np.trace(p + q - 2 * sqrtm(p @ q).real)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_fewer_points_than_dimensions():
    """On the axes the covariances are diagonal: sum (s1 - s2)^2, and the way between the means."""
    one = np.zeros((6, 50))
    one[0, 0], one[1, 0], one[2, 1], one[3, 1] = 1, -1, 2, -2
    other = 3 * one + 5
    scale = np.array([2, 8]) / 5  # variances of the two axes
    expected = 50 * 25 + np.sum((3 - 1) ** 2 * scale)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(ValueError, match="two or more of each"):
        frechet_distance(one[:1], other)


def test_judge_learns_and_is_kept():
    data = load_data("digits")
    judge = judges.judge_of(data)
    features, guesses = judge.see(data.test["image"])
    assert features.shape == (len(data.test), judges.FEATURES)
    assert (guesses == data.test["label"]).mean() > 0.9
    (kept,) = (Path(os.environ["ZOO_HOME"]) / "judges").glob("*.keras")
    before = kept.read_bytes()
    again, _ = judges.judge_of(data).see(data.test["image"])
    np.testing.assert_array_equal(again, features)
    assert kept.read_bytes() == before
    taught = judges._taught(data.train["image"], data.train["label"], num_classes=10)
    anew, _ = judges.Judge(taught).see(data.test["image"])
    np.testing.assert_allclose(anew, features, atol=1e-2 * features.max())
    other = load_data("digits", limit=100)  # what it learns from differs, and so does the file
    judges.judge_of(other)
    assert len(list(kept.parent.glob("*.keras"))) == 2
    for file in kept.parent.glob("*.keras"):
        if file != kept:
            file.unlink()


# Training


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_trains(precision):
    history = train(small(), precision=precision, epochs=4)
    first, last = history.rows[0], history.rows[-1]
    assert last["discriminator_loss"] < first["discriminator_loss"]
    assert last["discriminator_real"] > last["discriminator_fake"]
    assert {"generator_loss", "val_generator_loss", "val_discriminator_real"} <= set(last)
    assert np.isfinite(list(last.values())).all()


def test_resumed_run_equals_a_whole_one(tmp_path):
    """Two optimizers, of different rates, and batch normalisation in both networks."""
    fit = partial(train, optimizers={"discriminator": {"learning_rate": 3e-4}})
    losses = ("discriminator_loss", "generator_loss")
    toy.resumed(small, fit, tmp_path / "snapshot.npz", step=14, losses=losses)


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_gan import TASK, batches, plain
    from zoo.recipe import Optimizer, Train

    chosen = Optimizer(kind="sgd", learning_rate=0.02, clip_global_norm=1.0)
    settings = Train(epochs=2, batch_size=32, optimizer=chosen)
    names = ("discriminator_loss", "generator_loss", "val_generator_loss")
    found, _ = two.trained(plain, batches, TASK, settings, names)
    print(json.dumps(found))
"""


@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    weights, losses, moved = toy.printed(TWO_DEVICES)
    assert moved > 1e-2
    assert weights < 1e-6 and losses < 1e-5


def test_the_judge_does_not_depend_on_the_limit(bundle, run):
    networks = load_networks(bundle.path)
    few = Run(changed(bundle.recipe, ["data.limit=40"]), networks=networks)
    ours, theirs = (one.evaluate(networks, "test").metrics for one in (run, few))
    assert few.examples("train") == 40
    assert theirs["frechet"] == pytest.approx(ours["frechet"], rel=1e-6)


def test_a_bundle_is_exported_and_not_asked_for_a_picture(bundle, tmp_path, zoo):
    (done,) = zoo("export", bundle.path, "tflite", "--out", tmp_path, "--json")
    assert done["parity"]["passed"] and not done["preprocessing"]
    (tmp_path / "a.png").write_bytes(b"no picture")
    told = zoo("predict", bundle.path, tmp_path / "a.png", expect=2)
    assert "reads noise; expected a model of pictures, rows or signals. `zoo generate`" in told
    options = ("--data", "digits", *LITTLE, "--steps", "50", "--out", tmp_path / "rates", "--json")
    found = zoo("find-lr", "dcgan_small", *options)
    assert found["suggestion"] > 0


def test_the_best_epoch_is_kept_and_found_again(tmp_path):
    """Its headline is no mean over batches: the meter is asked after every epoch."""
    changes = ["data.name=digits", "train.epochs=5", "train.keep=best"]
    changes += ["train.optimizer.learning_rate=3e-3"]
    changes += [f"settings.{key}={value}" for key, value in DIGITS.items()]
    bundle = fit("dcgan_small", out=tmp_path / "gan", changes=changes)
    with (bundle.path / "history.csv").open(newline="") as file:
        seen = [float(row["val_frechet"]) for row in csv.DictReader(file)]
    assert len(set(seen)) == 5
    networks = load_networks(bundle.path)
    found = Run(bundle.recipe, networks=networks).evaluate(networks, "validation").metrics
    assert found["frechet"] == pytest.approx(min(seen), rel=1e-4)
    assert seen[-1] != min(seen), (
        "the last epoch is the best: this shows nothing; take another rate"
    )


# What becomes of it


def test_pictures_come_nearer_to_real_ones(bundle, run):
    metrics = bundle.report.metrics
    fresh = run.evaluate(small(), "test").metrics
    for name in ("frechet", "pixel_frechet"):
        assert metrics[f"{name}_floor"] == fresh[f"{name}_floor"]
        assert 0 < metrics[f"{name}_floor"] < metrics[name] < 0.6 * fresh[name]
    rows = bundle.report.tables["classes"]
    assert sum(row["made"] for row in rows) == sum(row["real"] for row in rows)
    assert sum(row["made"] > 0 for row in rows) >= 3


def test_noise_on_pictures_is_seen_by_the_pixels(run):
    test = run.columns(run.raw("test", 300))
    noisy = test["image"] + np.random.RandomState(0).normal(size=test["image"].shape) * 0.3
    found = {}
    for name, pictures in (("clean", test["image"]), ("noisy", noisy)):
        meter = TASK.meter_of(run.data)
        meter.add(test, pictures)
        found[name] = meter.result().metrics
    assert found["clean"]["pixel_frechet"] == pytest.approx(0, abs=1e-9)
    assert found["noisy"]["pixel_frechet"] > 0.2


def test_bundle_explains_itself(bundle):
    card = bundle.card
    assert card.task == "gan" and card.networks == ("generator", "discriminator")
    assert card.inputs == {"noise": Column("noise", (16,))}
    assert card.outputs == {"image": Column("image", (8, 8, 1))}
    assert card.preprocessing["mean"] == [0.5] and card.preprocessing["std"] == [0.5]
    for picture in ("samples", "curves", "walk", "arithmetic", "film", "nearest"):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_deployed_model_is_the_generator(bundle, run):
    model, noise = load_model(bundle.path), run.samples(32)
    assert noise.shape == (32, 16)
    np.testing.assert_array_equal(model(noise), load_networks(bundle.path)["generator"](noise))
    images = model(noise).numpy()
    assert images.min() >= -1 and images.max() <= 1 and images.std() > 0.1
    assert run.evaluate(model, "test").metrics == pytest.approx(bundle.report.metrics, rel=1e-3)


@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_generator_still_makes_pictures(bundle, run, recipe):
    model, before = (
        load_model(bundle.path),
        run.evaluate(load_model(bundle.path), "validation").metrics,
    )

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(epochs, rate=rate))

    small = compress.apply(recipe, model, samples=run.samples(128), fit=tune).model
    after = run.evaluate(small, "validation").metrics
    assert after != before and after["frechet"] < 2 * before["frechet"] + 5


@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_generator_is_exported(bundle, run, tmp_path, target):
    out = export.export(
        load_model(bundle.path), target, tmp_path / target, samples=run.samples(128)
    )
    assert out.manifest.parity.passed
    if target != "tflite-int8":
        assert out.manifest.parity.relative < 1e-4


def test_tables_are_refused():
    with pytest.raises(ValueError, match=r"judges by their classes; diabetes has features"):
        TASK.check(load_data("diabetes"))
