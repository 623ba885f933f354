"""The variational autoencoder: its bounds against quadrature, and its way through the house."""

import itertools
import json
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import compress
import export
from tests import toy
from zoo.catalog import CATALOG, find_architecture
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.stages.evaluate import evaluate
from zoo.stages.generate import generate
from zoo.tasks import made as pictures
from zoo.tasks.latent.bounds import bound, decode, encode, importance_bound, log_likelihood
from zoo.tasks.latent.vae import VAE
from zoo.training import fitting
from zoo.training.callbacks import film
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer
from zoo.training.twin import make_twin

SMALL = {"hidden": 32, "latent": 3}
TASK = VAE(importance_samples=20)


SMALL_CONV = {"widths": (4, 8), "units": 16, "latent": 3}
NETS = {
    "vae": SMALL,
    "conditional_vae": SMALL,
    "conv_vae": SMALL_CONV,
    "conditional conv_vae": SMALL_CONV | {"conditional": True, "num_classes": 10},
}


def small(seed=0, name="vae"):
    keras.utils.set_random_seed(seed)
    return create(name.split()[-1], input_shape=(8, 8, 1), **NETS[name])


def batches(networks, **options):
    data = load_data("digits", limit=320)
    scale = {"image": TASK.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=32, draws=TASK.draws(networks), **options)


def train(networks, *, precision="float32", epochs=3, **options):
    settings = Train(
        epochs=epochs, batch_size=32, optimizer=Optimizer(kind="adam", learning_rate=5e-3)
    )
    machine = choose_machine(Hardware(precision=precision, strategy="one"))
    return Trainer(networks, TASK, settings, machine).fit(
        batches(networks, training=True), batches(networks), **options
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    changes = ["data.name=digits", "train.epochs=15", "task.importance_samples=20"]
    changes += [f"settings.{key}={value}" for key, value in {"hidden": 64, "latent": 4}.items()]
    return fit("vae", out=tmp_path_factory.mktemp("runs") / "vae", changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


def test_parameters_are_those_counted_by_hand():
    """The count of the row, layer by layer: 784-500-20 and back."""
    networks = create("vae")
    counts = {name: network.count_params() for name, network in networks.items()}
    assert counts == {
        "encoder": 784 * 500 + 500 + 2 * (500 * 20 + 20),
        "decoder": 20 * 500 + 500 + 500 * 784 + 784,
    }
    assert sum(counts.values()) == find_architecture("vae").parameters == CATALOG["vae"].parameters
    assert networks["encoder"].input_shape == networks["decoder"].output_shape == (None, 28, 28, 1)
    assert set(networks["encoder"].output) == {"mean", "log_variance"}


def test_parameters_of_the_other_rows_are_those_counted_by_hand():
    given, convolved = create("conditional_vae"), create("conv_vae")
    for network in given.values():  # 500 weights of the hidden layer for each class
        assert network.count_params() == create("vae")[network.name].count_params() + 10 * 500
        assert network.inputs[1].name == "label" and network.inputs[1].shape == (None, 10)
    counts = {name: network.count_params() for name, network in convolved.items()}
    maps, units = 7 * 7 * 64, 256
    assert counts == {
        "encoder": 16 * 32 + 32 + 16 * 32 * 64 + 64 + maps * units + units + 2 * (units * 20 + 20),
        "decoder": 20 * units + units + units * maps + maps + 16 * 64 * 32 + 32 + 16 * 32 + 1,
    }
    assert sum(counts.values()) == CATALOG["conv_vae"].parameters
    again = create("conv_vae", conditional=True, num_classes=10)
    assert again["decoder"].count_params() == counts["decoder"] + 10 * units


@pytest.mark.parametrize(
    ("name", "settings", "told"),
    [
        ("conv_vae", {"input_shape": (10, 10, 1)}, r"multiples of 4, for widths .* data.size=8."),
        ("conv_vae", {"widths": ()}, r"multiples of 1, for widths ()"),
        ("vae", {"conditional": True}, r"conditional: got data of one class, or of none"),
    ],
)
def test_networks_that_cannot_be_are_refused(name, settings, told):
    with pytest.raises(ValueError, match=told):
        create(name, **settings)


# The bounds


def tiny(latent, scale=0.7, **settings):
    """A model whose likelihood can be integrated: 4 pixels, 1 or 2 dimensions of the code."""
    keras.utils.set_random_seed(latent)
    networks = create("vae", input_shape=(2, 2, 1), hidden=3, latent=latent, **settings)
    for network in networks.values():
        for index, weight in enumerate(network.weights):
            weight.assign(np.random.RandomState(index).normal(size=weight.shape) * scale)
    return networks


def integrated(networks, pixels, mean=0.0, deviation=1.0, nodes=60, label=None):
    """log p(x|z) at the nodes of Gauss and Hermite for N(mean, deviation^2), and their weights."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    latent = networks["decoder"].inputs[0].shape[1]
    grid = np.stack(np.meshgrid(*[points] * latent, indexing="ij"), -1).reshape(-1, latent)
    shares = np.stack(np.meshgrid(*[weights] * latent, indexing="ij"), -1).reshape(-1, latent)
    shares = shares.prod(axis=1) / weights.sum() ** latent
    label = None if label is None else np.tile(label, (len(grid), 1))
    logits = decode(networks, tf.constant(mean + deviation * grid, "float32"), label).numpy()
    each = -np.logaddexp(0, np.where(pixels > 0.5, -logits, logits).astype("f8"))
    return each.sum(axis=(1, 2, 3)), shares


@pytest.mark.oracle
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("latent", [1, 2])
def test_bounds_stand_in_order_below_the_integral(latent, classes):
    """Of log p(x), and of conditional networks of log p(x|y), for every image's class y."""
    given = {"conditional": True, "num_classes": classes} if classes else {}
    networks = tiny(latent, **given)
    pixels = np.random.RandomState(0).randint(0, 2, (6, 2, 2, 1)).astype("float32")
    rows = np.eye(classes, dtype="float32")[np.arange(6) % classes] if classes else None
    code = encode(networks, pixels, rows)
    mean, deviation = code["mean"].numpy(), np.exp(code["log_variance"].numpy() / 2)
    exact, elbo = [], []
    labels = [None] * 6 if rows is None else rows
    for x, m, s, y in zip(pixels, mean, deviation, labels, strict=True):
        values, shares = integrated(networks, x, label=y)
        exact.append(np.log(np.exp(values) @ shares))
        values, shares = integrated(networks, x, m, s, label=y)
        elbo.append(values @ shares - 0.5 * np.sum(s**2 + m**2 - 1 - 2 * np.log(s)))
    exact, elbo = np.array(exact), np.array(elbo)
    many = 2000
    noise = tf.constant(np.random.RandomState(1).normal(size=(many, 6, latent)), "float32")
    flat = tf.reshape(tf.tile(pixels[None], [many, 1, 1, 1, 1]), (-1, 2, 2, 1))
    tiled = None if rows is None else tf.tile(rows, [many, 1])
    sampled = bound(networks, flat, tf.reshape(noise, (-1, latent)), label=tiled)["elbo"]
    sampled = sampled.numpy().reshape(many, 6)
    error = sampled.std(axis=0) / np.sqrt(many)
    assert (np.abs(sampled.mean(axis=0) - elbo) < 4 * error + 1e-3).all()
    weighted = tf.function(partial(importance_bound, networks, pixels, label=rows), autograph=False)
    few, most = weighted(samples=5).numpy(), weighted(samples=5000).numpy()
    assert (elbo < exact - 1e-3).all()  # a gap to close, in every image
    assert elbo.mean() < few.mean() < most.mean() + 0.1
    np.testing.assert_allclose(most, exact, atol=0.15)


@pytest.mark.oracle
def test_kl_equals_the_sampled_one():
    networks = tiny(2)
    pixels = np.random.RandomState(0).rand(3, 2, 2, 1).astype("float32")
    code = networks["encoder"](pixels)
    mean, log_variance = code["mean"].numpy(), code["log_variance"].numpy()
    noise = np.random.RandomState(2).normal(size=(200_000, 3, 2))
    z = mean + np.exp(log_variance / 2) * noise
    sampled = 0.5 * (z**2 - noise**2 - log_variance).sum(axis=-1).mean(axis=0)
    analytic = bound(networks, pixels, tf.zeros((3, 2)))["kl"]
    np.testing.assert_allclose(analytic, sampled, rtol=0.02)


def test_grey_is_the_mean_over_all_drawings():
    """Cross-entropy of intensities: what is expected of pixels that are drawn from them."""
    random = np.random.RandomState(0)
    grey, logits = random.rand(1, 3, 1, 1), random.normal(size=(1, 3, 1, 1))
    drawings = np.array(np.meshgrid(*[[0, 1]] * 3)).reshape(3, -1).T.reshape(-1, 3, 1, 1)
    shares = np.where(drawings, grey, 1 - grey).prod(axis=(1, 2, 3))
    each = log_likelihood(
        drawings.astype("f4"), np.broadcast_to(logits, drawings.shape).astype("f4")
    )
    whole = log_likelihood(grey.astype("f4"), logits.astype("f4"))
    assert float(whole[0]) == pytest.approx(float(shares @ each.numpy()), rel=1e-5)


@pytest.mark.parametrize("beta", [0.25, 1.0, 4.0])
def test_beta_weighs_the_kl_of_the_loss_and_not_of_the_bound(beta):
    networks, random = tiny(2), np.random.RandomState(0)
    batch = {"image": random.rand(5, 2, 2, 1).astype("f4"), "noise": random.rand(5, 2).astype("f4")}
    seen = VAE(beta=beta, binarization="none").look("loss", networks, batch, training=True)
    parts = bound(networks, batch["image"], batch["noise"])
    expected = beta * parts["kl"].numpy() - parts["reconstruction"].numpy()
    np.testing.assert_allclose(seen.loss.values, expected, rtol=1e-5)
    np.testing.assert_allclose(seen.measures["elbo"].values, parts["elbo"], rtol=1e-5)
    # So from a weight of 1 on, what is minimised is still a bound: it is below the other.
    assert (beta < 1) or (-np.asarray(seen.loss.values) <= parts["elbo"].numpy() + 1e-5).all()


def test_pixels_are_drawn_with_the_probability_of_their_intensity():
    networks = small()
    batch = {
        "image": tf.fill((4000, 8, 8, 1), 0.3),
        "threshold": tf.random.stateless_uniform((4000, 8, 8, 1), (0, 1)),
    }
    drawn = TASK._pixels(batch).numpy()
    assert set(np.unique(drawn)) == {0, 1} and drawn.mean() == pytest.approx(0.3, abs=0.01)
    grey = VAE(binarization="none")
    assert grey._pixels(batch) is batch["image"] and set(grey.draws(networks)) == {"noise"}


# Training


@pytest.mark.parametrize(
    ("precision", "name", "falls"),
    [
        ("float32", "vae", 0.85),
        ("mixed_bfloat16", "vae", 0.85),
        ("float32", "conditional conv_vae", 0.97),  # of a few maps, in three epochs
    ],
)
def test_trains(precision, name, falls):
    history = train(small(name=name), precision=precision)
    losses = [row["loss"] for row in history.rows]
    assert losses[-1] < falls * losses[0]
    row = history.rows[-1]
    assert row["elbo"] == pytest.approx(-row["loss"], rel=1e-5)
    assert row["elbo"] == pytest.approx(row["reconstruction"] - row["kl"], rel=1e-5)
    assert row["val_elbo"] == pytest.approx(row["elbo"], rel=0.25)


@pytest.mark.parametrize(
    "name", ["vae", pytest.param("conditional conv_vae", marks=pytest.mark.slow)]
)
def test_resumed_run_equals_a_whole_one(tmp_path, name):
    make = partial(small, name=name)
    toy.resumed(make, train, tmp_path / "snapshot.npz", step=14)  # in the middle of an epoch


TWO_DEVICES = """
    import json, sys
    from tests import two
    from tests.test_vae import TASK, batches, small
    from zoo.recipe import Optimizer, Train

    chosen = Optimizer(kind="sgd", learning_rate=1e-3, clip_global_norm=5.0)
    settings = Train(epochs=2, batch_size=32, optimizer=chosen)
    make = lambda: small(name=sys.argv[1])
    found, _ = two.trained(make, batches, TASK, settings, ("loss", "val_elbo"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.parametrize(
    "name", ["vae", pytest.param("conditional conv_vae", marks=pytest.mark.slow)]
)
def test_two_devices_take_the_steps_of_one(name):
    weights, losses, moved = toy.printed(TWO_DEVICES, name)
    assert moved > 1e-3
    assert weights < 1e-6 and losses < 1e-4


# What becomes of it


def test_bundle_explains_itself(bundle):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.task == "vae" and card.networks == ("encoder", "decoder")
    assert card.inputs == {"image": Column("image", (8, 8, 1))}
    assert card.outputs == {"reconstruction": Column("image", (8, 8, 1))}
    assert card.preprocessing["mean"] == [0.0] and card.preprocessing["std"] == [1.0]
    assert metrics["elbo"] == pytest.approx(metrics["reconstruction"] - metrics["kl"], rel=1e-5)
    assert -45 < metrics["elbo"] < metrics["importance_bound"] < -20  # an untrained one: -47
    assert 1 <= metrics["active_units"] <= 4
    for picture in (
        "samples",
        "reconstructions",
        "curves",
        "walk",
        "arithmetic",
        "film",
        "nearest",
    ):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_deployed_model_is_made_of_the_networks(bundle, run):
    model, networks = load_model(bundle.path), load_networks(bundle.path)
    images = run.samples(5)
    mean = networks["encoder"](images)["mean"]
    logits = networks["decoder"](mean).numpy()
    np.testing.assert_allclose(model(images), 1 / (1 + np.exp(-logits)), atol=1e-6)
    again = run.evaluate(model, "test").metrics
    assert again == pytest.approx(bundle.report.metrics, rel=1e-5)
    with pytest.raises(ValueError, match="has no encoder and no decoder"):
        TASK.replaced(networks, networks["encoder"])


def test_a_file_is_measured_by_what_it_answers(bundle, run):
    model = load_model(bundle.path)
    found = run.evaluate(model, "test", answer=lambda columns: model(columns["image"]).numpy())
    assert found.metrics == pytest.approx({"mse": bundle.report.metrics["mse"]}, rel=1e-5)


@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_model_keeps_the_bound(bundle, run, recipe):
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(epochs, rate=rate))

    small = compress.apply(recipe, model, samples=run.samples(128), fit=tune)
    if recipe == "prune50":
        kernels = [w for w in small.model.weights if w.name == "kernel"]
        zeros = sum(int((w.numpy() == 0).sum()) for w in kernels)
        assert zeros == pytest.approx(0.5 * sum(w.numpy().size for w in kernels), rel=0.01)
    before = run.evaluate(model, "validation").metrics["elbo"]
    after = run.evaluate(small.model, "validation").metrics["elbo"]
    assert after != before and after > before - 3


@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_deployed_model_is_exported(bundle, run, tmp_path, target):
    out = export.export(
        load_model(bundle.path), target, tmp_path / target, samples=run.samples(128)
    )
    assert out.manifest.parity.passed
    if target != "tflite-int8":
        assert out.manifest.parity.relative < 1e-4


def test_tables_are_refused():
    with pytest.raises(ValueError, match=r"learns images; diabetes has features"):
        TASK.check(load_data("diabetes"))


def test_settings_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"binarization: got 'static'; expected 'dynamic' or"):
        VAE(binarization="static")
    networks, machine = small(), choose_machine(Hardware(strategy="one"))
    settings = Train(optimizers={"decoder": {"learning_rate": 0.1}})
    trainer = Trainer(networks, TASK, settings, machine)
    with pytest.raises(ValueError, match=r"'decoder'; expected an objective of the task"):
        trainer.fit(batches(networks, training=True))


def test_the_logits_are_in_float32_whatever_the_machine_takes():
    """They are reshaped behind the dense layer that makes them."""
    networks = create("vae", input_shape=(8, 8, 1), num_classes=1)
    twin = make_twin(networks["decoder"], "mixed_bfloat16", replicas=1)
    found = {layer.name: layer.compute_dtype for layer in twin.layers}
    assert found["pixels"] == found["logits"] == "float32"
    assert found["decoder_hidden"] == "bfloat16"


def test_networks_keep_the_order_of_their_builder(bundle):
    assert list(load_networks(bundle.path)) == ["encoder", "decoder"] == list(bundle.card.networks)


# Classes


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A bundle of convolutions that read the class."""
    changes = ["data.name=digits", "train.epochs=4", "task.importance_samples=20"]
    changes += ["settings.conditional=true", "train.batch_size=50", "train.optimizer.ema=null"]
    changes += ["settings.widths=[4, 8]", "settings.units=16", "settings.latent=2"]
    return fit("conv_vae", out=tmp_path_factory.mktemp("runs") / "conv_vae", changes=changes)


def test_conditional_bundle_reads_the_class(conditional):
    card, model = conditional.card, load_model(conditional.path)
    assert list(card.inputs) == ["image", "label"]
    assert card.inputs["label"] == Column("features", (10,))
    run = Run(conditional.recipe, networks=load_networks(conditional.path))
    given = run.samples(5)
    labels = run.raw("train", 5)["label"]
    np.testing.assert_array_equal(given["label"], np.eye(10)[labels])
    assert model(given).shape == (5, 8, 8, 1)
    assert (conditional.path / "classes.png").is_file()
    assert not (conditional.path / "arithmetic.png").exists()
    again = run.evaluate(model, "test").metrics
    assert again == pytest.approx(conditional.report.metrics, rel=1e-5)


@pytest.mark.slow
def test_classes_make_the_bound_tighter():
    """Told the class, the same networks know more of the pixels."""
    found = {}
    for name in ("vae", "conditional_vae"):
        networks = small(name=name)
        found[name] = train(networks, epochs=10).rows[-1]["val_elbo"]
    assert found["conditional_vae"] > found["vae"] + 0.5


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_conditional_model_is_exported(conditional, tmp_path, target):
    run = Run(conditional.recipe, networks=load_networks(conditional.path))
    model, samples = load_model(conditional.path), run.samples(64)
    if target == "tflite":
        small = compress.apply("prune50", model, samples=samples, fit=lambda *_, **__: None)
        model = small.model
    out = export.export(model, target, tmp_path / target, samples=samples)
    assert out.manifest.parity.passed and out.manifest.parity.relative < 1e-4


def test_pixels_beside_a_class_are_refused(conditional, tmp_path, zoo):
    given = ("export", conditional.path, "tflite", "--pixels", "--out", tmp_path)
    told = zoo(*given, expect=2)
    assert "got --pixels; the model reads image, label; expected an image alone." in told


def test_more_codes_are_drawn_where_they_are_asked_for(bundle, tmp_path, zoo):
    """`zoo evaluate` takes changes of how a bundle is measured, and no others."""
    out = tmp_path / "seen"
    change = "task.importance_samples=1"
    found = zoo("evaluate", bundle.path, "--set", change, "--out", out, "--json")
    written = json.loads((out / "evaluation.json").read_text())
    assert found["changes"] == written["changes"] == [change]
    few = found["metrics"]
    many = zoo("evaluate", bundle.path, "--set", "task.importance_samples=200", "--json")["metrics"]
    assert few["importance_bound"] < bundle.report.metrics["importance_bound"]
    assert many["importance_bound"] > bundle.report.metrics["importance_bound"]
    assert many["elbo"] == pytest.approx(bundle.report.metrics["elbo"], rel=1e-5)
    for change in ("task.kind=gan", "train.epochs=3", "task.beta=3", "task.binarization=none"):
        told = zoo("evaluate", bundle.path, "--set", change, expect=2)
        assert f"got {change} for a bundle" in told
        assert "or changes of how it is measured, task.importance_samples." in told
    with pytest.raises(ValueError, match="got data, values, split=test for a bundle"):
        evaluate(bundle.path, values="torch", data="digits", changes=["split=test"])


def test_classes_that_the_data_lack_are_refused():
    networks = small(name="conditional_vae")
    batch = {"image": np.zeros((2, 8, 8, 1), "f4"), "noise": np.zeros((2, 3), "f4")}
    with pytest.raises(ValueError, match=r"expected data with a column label, the class\.$"):
        VAE(binarization="none").look("loss", networks, batch, training=False)


# The film


def frames(path):
    with Image.open(path / "film.gif") as film:
        count = film.n_frames
    with Image.open(path / "film.png") as strip:
        return count, strip.size, np.asarray(strip)


def test_a_film_shows_the_epochs_and_is_resumed(tmp_path):
    changes = ["data.name=digits", "data.limit=160", "train.epochs=4", "train.batch_size=32"]
    changes += ["settings.hidden=16", "settings.latent=2", "task.importance_samples=2"]
    whole = fit("vae", out=tmp_path / "whole", changes=changes)
    count, size, strip = frames(whole.path)
    assert count == 5 and size == (10 * 10 + 2, 5 * 10 + 2)  # before the first epoch, and 1 to 4
    rows = [strip[2 + 10 * row : 10 + 10 * row] for row in range(5)]
    assert all((one != other).any() for one, other in itertools.pairwise(rows))
    first = fit("vae", out=tmp_path / "twice", changes=changes, callbacks=[toy.interrupt(12)])
    assert first.report.status == "interrupted" and frames(first.path)[0] == 3
    second = fit("vae", out=tmp_path / "twice", resume=True)
    assert frames(second.path)[0] == 5
    for name in ("film.png", "film.gif"):
        assert (second.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_film_is_refused_where_no_pictures_are(tmp_path):
    changes = ["data.name=digits", "data.limit=64", "train.epochs=1", "train.film=true"]
    with pytest.raises(ValueError, match=r"^train.film: got true for the task classify of digits"):
        fit("linear", out=tmp_path / "linear", changes=changes)
    text = tmp_path / "text.txt"
    text.write_text("what is written is no picture\n" * 300)
    with pytest.raises(ValueError, match=r"for the task language of text:.*expected a task that"):
        fit("char_lstm", data=f"text:{text}", out=tmp_path / "lstm", changes=changes[2:])
    assert list(tmp_path.iterdir()) == [text]  # before anything is begun


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("multi_scale_small", ["settings.features=4", "settings.blocks=1"]),
        ("rbm", ["settings.hidden=8", "settings.chains=40", "task.temperatures=20"]),
    ],
)
def test_a_film_shows_all_networks_as_they_are(tmp_path, name, settings):
    """Pictures come of networks that are not the deployed one, too."""
    changes = ["data.name=digits", "data.limit=160", "train.epochs=2", "train.batch_size=32"]
    changes += ["train.film=true", "train.optimizer.learning_rate=0.05", *settings]
    made = fit(name, out=tmp_path / name, changes=changes)
    count, _, strip = frames(made.path)
    last = pictures.grid(generate(made, count=10, seed=film.SEED), columns=10)[2:10, :, 0]
    assert count == 3 and (strip[22:30] == last).all() and (strip[2:10] != last).any()


class Counted(keras.callbacks.Callback):
    """Counts the epochs, also of a run that is resumed."""

    count = 0

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1

    def saved_state(self):
        return {"count": np.array(self.count)}

    def restore_state(self, state):
        self.count = int(state["count"])


def test_a_film_leaves_other_callbacks_their_states(tmp_path, monkeypatch):
    """Also of a run that an older version, which made no film, left unfinished."""
    changes = ["data.name=digits", "data.limit=160", "train.epochs=4", "train.batch_size=32"]
    changes += ["settings.hidden=16", "settings.latent=2", "task.importance_samples=2"]
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "film_of", lambda run: None)
        fit("vae", out=tmp_path / "vae", changes=changes, callbacks=[Counted(), toy.interrupt(12)])
    mine = Counted()
    made = fit("vae", out=tmp_path / "vae", resume=True, callbacks=[mine])
    assert mine.count == 4 and frames(made.path)[0] == 2  # the film begins where the run goes on


def test_epochs_of_a_film_lie_closer_at_the_beginning():
    assert film.chosen(1) == {1} and film.chosen(5) == {1, 2, 3, 5}
    found = sorted(film.chosen(200))
    assert found[0] == 1 and found[-1] == 200 and 9 <= len(found) <= film.EPOCHS
    steps = np.diff(found)
    assert (np.diff(steps) >= 0).all()
