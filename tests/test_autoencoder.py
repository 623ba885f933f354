"""Autoencoders: closed forms, tied weights that stay tied, codes, and pictures made clean."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.decomposition import PCA

import compress
import export
from compress.graph import copy_model, leaf_layers
from compress.graph.kernels import computed_kernel
from tests import programs, toy
from zoo.catalog import CATALOG
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.layers import TiedDense
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.stages.denoise import denoise, slides, widened
from zoo.tasks.latent import penalties
from zoo.tasks.latent.autoencoder import Autoencoder, corrupted
from zoo.tasks.latent.linear_classifier import measure
from zoo.tasks.latent.reconstructed import Reconstructed
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer
from zoo.training.twin import make_twins

DENOISING = Autoencoder(corruption="masking", level=0.3)


def small(seed=0, **settings):
    keras.utils.set_random_seed(seed)
    settings = {"units": (24,), "tied": True} | settings
    return create("autoencoder", input_shape=(8, 8, 1), **settings)


def batches(networks, task=DENOISING, **options):
    data = load_data("digits", limit=320)
    scale = {"image": task.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=32, draws=task.draws(networks), **options)


def train(networks, task=DENOISING, *, precision="float32", epochs=3, rate=5e-3, **options):
    chosen = Optimizer(kind="adam", learning_rate=rate)
    settings = Train(epochs=epochs, batch_size=32, optimizer=chosen)
    machine = choose_machine(Hardware(precision=precision, strategy="one"))
    return Trainer(networks, task, settings, machine).fit(
        batches(networks, task, training=True), batches(networks, task), **options
    )


def shares(one, other):
    """Whether two networks have a layer in common."""
    return bool({id(v) for v in one.variables} & {id(v) for v in other.variables})


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A denoising autoencoder of small digits, with tied weights."""
    changes = ["data.name=digits", "train.epochs=20", "task.labels=200", "settings.units=[80]"]
    changes += ["data.augment.rotate=0", "data.augment.shift=0"]  # of 8 pixels little is left
    out = tmp_path_factory.mktemp("runs") / "denoising"
    return fit("denoising_autoencoder", out=out, changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


@pytest.fixture(scope="module")
def conv(tmp_path_factory):
    """A convolutional one that has hardly learnt anything."""
    changes = ["data.name=digits", "data.limit=64", "train.epochs=1", "settings.width=8"]
    out = tmp_path_factory.mktemp("runs") / "conv"
    return fit("conv_autoencoder", out=out, changes=changes)


# The networks


def test_parameters_are_those_counted_by_hand():
    deep = create("deep_autoencoder")
    sizes = [784, 1000, 500, 250, 30]
    counts = [sum(a * b + b for a, b in itertools.pairwise(ends)) for ends in (sizes, sizes[::-1])]
    assert [network.count_params() for network in deep.values()] == counts == [1_418_280, 1_419_034]
    assert sum(counts) == CATALOG["deep_autoencoder"].parameters == 2_837_314
    assert deep["encoder"].layers[-1].activation is keras.activations.linear
    tied = create("denoising_autoencoder")
    both = {id(v): v for network in tied.values() for v in network.variables}
    assert sum(v.value.shape.num_elements() for v in both.values()) == 784 * 2000 + 2000 + 784


def test_tied_layers_are_one_matrix_in_both_directions():
    """Three of them, tied, equal products of NumPy."""
    networks = small(units=(40, 20, 6), activation="tanh", code="linear")
    for index, weight in enumerate(networks["encoder"].weights):
        weight.assign(np.random.RandomState(index).normal(size=weight.shape) * 0.3)
    layers = [layer for layer in networks["encoder"].layers if isinstance(layer, TiedDense)]
    image = np.random.RandomState(9).rand(5, 8, 8, 1).astype("f4")
    x = image.reshape(5, 64).astype("f8")
    for number, layer in enumerate(layers):
        x = x @ layer.kernel.numpy() + layer.bias.numpy()
        x = np.tanh(x) if number < 2 else x
    np.testing.assert_allclose(networks["encoder"](image), x, atol=1e-5)
    for number, layer in reversed(list(enumerate(layers))):
        x = x @ layer.kernel.numpy().T + layer.bias_back.numpy()
        x = np.tanh(x) if number else x
    made = networks["decoder"](networks["encoder"](image))
    np.testing.assert_allclose(np.reshape(made, (5, 64)), x, atol=1e-5)


def test_a_tied_layer_knows_which_way_it_is_asked():
    layer = TiedDense(6, 4)
    assert layer.compute_output_shape((None, 6)) == (None, 4)
    assert layer(np.ones((2, 4), "f4")).shape == (2, 6)  # the way back comes first
    again = TiedDense.from_config(layer.get_config())
    again(np.ones((2, 6), "f4"))
    assert [w.shape for w in again.weights] == [(6, 4), (4,), (6,)]
    with pytest.raises(ValueError, match="got 5 features and as many units; expected two numbers"):
        TiedDense(5, 5)
    with pytest.raises(ValueError, match=r"got the shape \(2, 5\); expected 6 features, or 4"):
        layer(np.ones((2, 5), "f4"))
    # Each half of the gradient arrives at the one kernel.
    x = tf.constant(np.random.RandomState(0).normal(size=(3, 6)), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.sigmoid(layer(x))) ** 2)
    (slope,) = tape.gradient(loss, [layer.kernel.value])
    kernel, step = layer.kernel.numpy(), np.zeros((6, 4), "f4")
    step[2, 1] = 1e-3
    ends = []
    for sign in (1, -1):
        layer.kernel.assign(kernel + sign * step)
        ends.append(float(tf.reduce_sum(layer(tf.sigmoid(layer(x))) ** 2)))
    assert float(slope[2, 1]) == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=2e-2)


def test_tied_weights_stay_tied(tmp_path):
    networks = small()
    model = DENOISING.deployed(networks)
    model.save(tmp_path / "model.keras")
    twins = make_twins(networks, "mixed_bfloat16", replicas=1)
    assert shares(*networks.values()) and shares(*twins.values())
    assert not shares(networks["encoder"], twins["encoder"])
    found = {layer.name: layer.compute_dtype for layer in twins["encoder"].layers}
    assert found["code"] == "float32"  # a code of half precision has no rate of 1 %
    for again in (load_model(tmp_path / "model.keras"), copy_model(model)):
        assert len(again.weights) == 3
        image = np.random.RandomState(0).rand(4, 8, 8, 1).astype("f4")
        np.testing.assert_allclose(again(image), model(image), atol=1e-6)
        assert shares(*DENOISING.replaced(networks, again).values())


def test_sides_that_cannot_be_halved_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 4, for 2 halvings\. Take data.size=28"):
        create("conv_autoencoder", input_shape=(30, 30, 1))
    with pytest.raises(ValueError, match="units got none; expected one number or more"):
        create("autoencoder", units=())


# The losses


@pytest.mark.oracle
def test_linear_autoencoder_finds_the_principal_subspace():
    """Squared errors and linear units: the directions of scikit-learn's PCA."""
    random = np.random.RandomState(0)
    axes, _ = np.linalg.qr(random.normal(size=(16, 16)))
    data = random.normal(size=(1000, 16)) * np.r_[5, 4, 3, np.full(13, 0.5)] @ axes.T
    data = (data - data.mean(axis=0)).astype("f4").reshape(-1, 4, 4, 1)
    keras.utils.set_random_seed(1)
    networks = create("autoencoder", input_shape=(4, 4, 1), units=(3,), code="linear")
    task = Autoencoder(reconstruction="squared_error", pixels="linear")
    descend(task, networks, data, steps=800, rate=0.02)
    found, _ = np.linalg.qr(networks["decoder"].get_layer("pixels").kernel.numpy().T)
    wanted = PCA(3).fit(data.reshape(-1, 16)).components_
    cosines = np.linalg.svd(wanted @ found, compute_uv=False)
    assert np.degrees(np.arccos(cosines.clip(max=1))).max() < 1  # principal angles
    rest = PCA(3).fit(data.reshape(-1, 16))
    noise = np.square(
        data.reshape(-1, 16) - rest.inverse_transform(rest.transform(data.reshape(-1, 16)))
    )
    made = task.deployed(networks)(data).numpy()
    assert np.square(made - data).sum() == pytest.approx(noise.sum(), rel=0.01)


@pytest.mark.oracle
def test_denoising_gaussian_data_is_the_optimal_linear_filter():
    """E[x | x + n] = S (S + level^2 I)^-1 (x + n) for x from N(0, S), the Wiener filter."""
    random = np.random.RandomState(0)
    mix = random.normal(size=(4, 4)) * [2, 1, 0.5, 0.2]
    data = (random.normal(size=(4000, 4)) @ mix.T).astype("f4").reshape(-1, 2, 2, 1)
    keras.utils.set_random_seed(1)
    networks = create("autoencoder", input_shape=(2, 2, 1), units=(4,), code="linear")
    task = Autoencoder(
        reconstruction="squared_error", pixels="linear", corruption="gaussian", level=0.7
    )
    descend(task, networks, data, steps=1200, rate=0.02)
    covariance = data.reshape(-1, 4).T @ data.reshape(-1, 4) / len(data)
    wanted = covariance @ np.linalg.inv(covariance + 0.7**2 * np.eye(4))
    found = (
        networks["encoder"].get_layer("code").kernel.numpy()
        @ networks["decoder"].get_layer("pixels").kernel.numpy()
    )
    np.testing.assert_allclose(found.T, wanted, atol=0.06)


def descend(task, networks, data, *, steps, rate):
    """Adam on all of the data, with fresh noise in each step and a rate that falls to 0."""
    variables = [v for network in networks.values() for v in network.trainable_variables]
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimizer.build(variables)
    image, weight = tf.constant(data), tf.ones(len(data))
    kind = tf.random.stateless_uniform
    if task.corruption == "gaussian":
        kind = tf.random.stateless_normal

    @tf.function
    def step(number):
        noise = kind(image.shape, tf.stack([number, 0]))
        batch = {"image": image, "corruption": noise, "weight": weight}
        with tf.GradientTape() as tape:
            seen = task.look("loss", networks, batch, training=True)
            loss = tf.reduce_mean(seen.loss.values)
        optimizer.apply(tape.gradient(loss, [v.value for v in variables]), variables)

    for number in range(steps):
        step(tf.constant(number))


@pytest.mark.oracle
def test_contraction_is_the_norm_of_the_jacobian():
    for tied in (False, True):
        networks = small(tied=tied)
        encoder = networks["encoder"]
        for index, weight in enumerate(encoder.weights):
            weight.assign(np.random.RandomState(index).normal(size=weight.shape) * 0.3)
        image = tf.constant(np.random.RandomState(5).rand(6, 8, 8, 1), "float32")
        with tf.GradientTape() as tape:
            tape.watch(image)
            code = encoder(image)
        jacobian = tape.batch_jacobian(code, image).numpy()
        exact = np.square(jacobian.astype("f8")).sum(axis=(1, 2, 3, 4))
        np.testing.assert_allclose(penalties.contraction(encoder, code), exact, rtol=1e-5)
    for other in (small(units=(9, 5)), small(code="relu")):
        with pytest.raises(ValueError, match="expected one dense layer of logistic units, as in a"):
            penalties.contraction(other["encoder"], None)


@pytest.mark.oracle
def test_divergence_of_rates_by_hand():
    """The value of the textbook, and the gradient of the whole batch's, padding left out."""
    code = tf.constant([[0.1, 0.8], [0.3, 0.6], [0.9, 0.9]], "float32")
    weight, rate = tf.constant([1.0, 1.0, 0.0]), 0.05
    mean = np.array([0.2, 0.7])
    exact = rate * np.log(rate / mean) + (1 - rate) * np.log((1 - rate) / (1 - mean))
    with tf.GradientTape() as tape:
        tape.watch(code)
        values = penalties.rate_divergence(code, weight, rate=rate, tiny=1e-6)
        total = tf.reduce_sum(values * weight) / 2
    np.testing.assert_allclose(values[:2], [exact.sum()] * 2, rtol=1e-5)
    slope = ((1 - rate) / (1 - mean) - rate / mean) / 2
    np.testing.assert_allclose(tape.gradient(total, code), [slope, slope, [0, 0]], rtol=1e-5)
    np.testing.assert_allclose(penalties.magnitude(code), [0.9, 0.9, 1.8], rtol=1e-6)
    with pytest.raises(ValueError, match="got kl for the encoder 'code' with 1 layers of weights"):
        penalties.check_logistic(small(code="relu")["encoder"], "task.sparsity: got kl")


def test_corruption():
    image = np.full((1000, 8, 8, 1), 0.8, "f4")
    uniform = np.random.RandomState(0).uniform(size=image.shape).astype("f4")
    masked = np.asarray(corrupted(image, uniform, "masking", 0.3))
    assert set(np.unique(masked)) == {np.float32(0), np.float32(0.8)}
    assert (masked == 0).mean() == pytest.approx(0.3, abs=0.01)
    noisy = np.asarray(corrupted(image, np.ones_like(image), "gaussian", 0.3))
    np.testing.assert_allclose(noisy, 1.1, rtol=1e-6)


def test_what_is_corrupted_is_a_column():
    """The encoder sees the noise, the loss the clean picture."""
    networks, task = small(), Autoencoder(corruption="gaussian", level=0.5)
    assert task.draws(networks)["corruption"] == ("normal", (8, 8, 1)) and not task.draws({})
    assert DENOISING.draws(networks)["corruption"].kind == "uniform"
    assert Autoencoder().draws(networks) == {}
    batch = next(iter(batches(networks, task).dataset()))
    seen = task.look("loss", networks, batch, training=True)
    code = networks["encoder"](batch["image"] + 0.5 * batch["corruption"])
    p = 1 / (1 + np.exp(-networks["decoder"](code).numpy().astype("f8")))
    x = batch["image"].numpy()
    exact = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(seen.loss.values, exact, rtol=1e-4)


def test_settings_are_refused_in_one_line():
    for values, message in (
        ({"pixels": "linear"}, "got cross_entropy with pixels linear"),
        ({"corruption": "masking"}, "got 0 with corruption masking; expected a level above 0"),
        ({"level": 0.5}, "got 0.5 with corruption none; expected a level"),
        ({"corruption": "masking", "level": 1}, "expected a share of pixels below 1"),
        ({"corruption": "blur", "level": 1}, "corruption: got 'blur'; expected 'none', 'masking'"),
    ):
        with pytest.raises(ValueError, match=message):
            Autoencoder(**values)
    with pytest.raises(ValueError, match=r"learns images; diabetes has features"):
        DENOISING.check(load_data("diabetes"))


# Training


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_trains(precision):
    networks = small()
    history = train(networks, precision=precision)
    losses = [row["loss"] for row in history.rows]
    assert losses[-1] < 0.9 * losses[0]
    assert history.rows[-1]["val_error"] == pytest.approx(history.rows[-1]["error"], rel=0.25)
    assert shares(*networks.values())


@pytest.mark.slow
def test_sparsity_and_contraction_do_what_they_say():
    ends = {}
    for name, task in (
        ("plain", Autoencoder()),
        ("kl", Autoencoder(sparsity="kl", sparsity_weight=5.0, rate=0.05)),
        ("l1", Autoencoder(sparsity="l1", sparsity_weight=1.0)),
        ("contractive", Autoencoder(contraction=0.5)),
    ):
        networks = small(tied=False)
        row = train(networks, task, epochs=6, rate=0.02).rows[-1]
        images = next(iter(batches(networks, task).dataset()))["image"]
        code = networks["encoder"](images)
        ends[name] = (
            float(code.numpy().mean()),
            float(np.mean(penalties.contraction(networks["encoder"], code))),
        )
        assert row["error"] <= row["loss"]
    assert ends["kl"][0] == pytest.approx(0.05, abs=0.04) and ends["plain"][0] > 0.15
    assert ends["l1"][0] < 0.7 * ends["plain"][0]
    assert ends["contractive"][1] < 0.5 * ends["plain"][1]


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(tmp_path):
    toy.resumed(small, train, tmp_path / "snapshot.npz", step=14)  # in the middle of an epoch


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_autoencoder import batches, shares, small
    from zoo.recipe import Optimizer, Train
    from zoo.tasks.latent.autoencoder import Autoencoder

    task = Autoencoder(
        corruption="masking", level=0.3, sparsity="kl", sparsity_weight=1.0, contraction=0.1
    )
    chosen = Optimizer(kind="sgd", learning_rate=1e-3, clip_global_norm=5.0)
    settings = Train(epochs=2, batch_size=32, optimizer=chosen)
    feed = lambda networks, **options: batches(networks, task, **options)
    found, ends = two.trained(small, feed, task, settings, ("loss", "sparsity"))
    print(json.dumps([*found, shares(*ends[1].values())]))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    """A rate is the mean of the whole batch, and a tied kernel learns once."""
    weights, losses, moved, tied = programs.printed(TWO_DEVICES)
    assert moved > 1e-3 and tied
    assert weights < 1e-6 and losses < 1e-4


# What becomes of it


def test_bundle_explains_itself(bundle):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.task == "autoencoder" and card.networks == ("encoder", "decoder")
    assert card.inputs == {"image": Column("image", (8, 8, 1))}
    assert card.outputs == {"reconstruction": Column("image", (8, 8, 1))}
    assert card.parameters == 64 * 80 + 80 + 64  # a tied kernel counts once
    assert card.custom_layers == ("zoo>TiedDense",)
    assert metrics["denoised_squared_error"] < 0.75 * metrics["noisy_squared_error"]
    assert 0 < metrics["squared_error"] < metrics["denoised_squared_error"]
    rows = bundle.report.tables["linear_classifier"]
    assert [row["reads"] for row in rows] == ["pixels", "code"]
    assert [row["dimensions"] for row in rows] == [64, 80] and rows[0]["labels"] == 200
    assert metrics["code_top1"] == rows[1]["top1"] > 0.8 and metrics["pixels_top1"] > 0.8
    for picture in ("reconstructions", "filters", "curves"):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_deployed_model_is_made_of_the_networks(bundle, run):
    model, networks = load_model(bundle.path), load_networks(bundle.path)
    assert shares(*run.task.replaced(networks, model).values())
    images = run.samples(5)
    numbers = networks["decoder"](networks["encoder"](images)).numpy()
    np.testing.assert_allclose(model(images), 1 / (1 + np.exp(-numbers)), atol=1e-6)
    again = run.evaluate(model, "test").metrics
    assert again == pytest.approx(bundle.report.metrics, rel=1e-5)
    with pytest.raises(ValueError, match="has no layers code and reconstruction"):
        DENOISING.replaced(networks, networks["encoder"])
    found = run.evaluate(model, "test", answer=lambda columns: model(columns["image"]).numpy())
    key = "squared_error"
    assert found.metrics == pytest.approx({key: bundle.report.metrics[key]}, rel=1e-5)


@pytest.mark.oracle
def test_components_are_those_of_pca():
    data = load_data("digits", limit=400)
    test = np.asarray(data.test["image"]).astype("f4") / 255
    meter = Reconstructed(data)
    meter.add({"image": test}, {"reconstructed": test, "code": np.zeros((len(test), 5))})
    train = np.asarray(data.train["image"]).reshape(-1, 64) / 255
    pca = PCA(5).fit(train)
    flat = test.reshape(-1, 64)
    rest = flat - pca.inverse_transform(pca.transform(flat))
    found = meter.result().metrics
    assert found["pca_squared_error"] == pytest.approx(np.square(rest).sum(axis=1).mean(), rel=1e-5)
    assert found["squared_error"] == 0


def test_linear_classifier_chooses_its_strength():
    random = np.random.RandomState(0)
    x = random.normal(size=(300, 5))
    found = measure(x[:200], x[:200, 0] > 0, x[200:], x[200:, 0] > 0)
    assert found["dimensions"] == 5 and found["labels"] == 200 and found["top1"] > 0.95
    noise = measure(x[:200], random.randint(0, 2, 200), x[200:], random.randint(0, 2, 100))
    assert noise["top1"] < 0.7
    uneven = x * np.array([1e-3, 1e2, 1, 1, 1])  # what tells is small beside the rest
    found = measure(uneven[:200], x[:200, 0] > 0, uneven[200:], x[200:, 0] > 0)
    assert found["standardized"] and found["top1"] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8", "qat-int8"])
def test_compressed_model_keeps_what_it_can_do(bundle, run, recipe):
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(min(epochs, 3), rate=rate))

    small = compress.apply(recipe, model, samples=run.samples(128), fit=tune)
    assert shares(*run.of(small.model).values())
    if recipe == "prune50":
        kernels = [w.numpy() for w in small.model.weights if w.name == "kernel"]
        assert len(kernels) == 1 and (kernels[0] == 0).mean() == pytest.approx(0.5, abs=0.01)
    before = run.evaluate(model, "validation").metrics["denoised_squared_error"]
    after = run.evaluate(small.model, "validation").metrics["denoised_squared_error"]
    assert after < 1.3 * before


@pytest.mark.parametrize("recipe", ["prune50", "qat-int8"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_compressed_encoder_contracts_by_the_kernel_it_computes_with(recipe, tied):
    """While a pass trains, and when it is measured."""
    task, networks = Autoencoder(contraction=0.1), small(tied=tied)
    seen = []

    def tune(network, *, epochs, callbacks, rate=1.0):
        found = task.replaced(networks, network)
        batch = next(iter(batches(found, task).dataset()))
        measures = task.look("loss", found, batch, training=False).measures
        kernels = [computed_kernel(layer) for layer in found["encoder"].layers]
        (kernel,) = [np.asarray(kernel) for kernel in kernels if kernel is not None]
        code = found["encoder"](batch["image"]).numpy()
        exact = np.square(code * (1 - code)) @ np.square(kernel).sum(axis=0)
        np.testing.assert_allclose(measures["contraction"].values, exact, rtol=1e-4)
        meter = Reconstructed(encoder=found["encoder"])
        meter.add({"image": batch["image"].numpy()}, {"reconstructed": batch["image"].numpy()})
        seen.append("filters" in meter.result().pictures)

    images = np.random.RandomState(0).rand(64, 8, 8, 1).astype("f4")
    compress.apply(recipe, task.deployed(networks), samples=images, fit=tune)
    assert seen and all(seen)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_deployed_model_is_exported(bundle, run, tmp_path, target):
    out = export.export(
        load_model(bundle.path), target, tmp_path / target, samples=run.samples(128)
    )
    assert out.manifest.parity.passed
    if target != "tflite-int8":
        assert out.manifest.parity.relative < 1e-4


def test_a_network_of_a_bundle_is_exported(bundle, run, tmp_path, zoo):
    """The decoder is proved on codes of pictures, which are no random numbers."""
    options = ("--out", tmp_path, "--json")
    (coder,) = zoo("export", bundle.path, "tflite", "--network", "encoder", *options)
    done = zoo("export", bundle.path, "onnx", "tflite", "--network", "decoder", *options)
    assert coder["path"].endswith("denoising-encoder-tflite") and coder["preprocessing"]
    assert all(one["parity"]["passed"] and not one["preprocessing"] for one in done)
    assert [one["name"] for one in coder["signature"]["inputs"]] == ["image"]
    for one in done:
        (given,), (made,) = (one["signature"][end] for end in ("inputs", "outputs"))
        assert given["name"] == "code" and given["shape"][1:] == [80]
        assert made["shape"][1:] == [8, 8, 1]
    networks = load_networks(bundle.path)
    columns = run.columns(run.raw("train", 7))
    codes = run.task.inputs_of("decoder", networks, columns)
    np.testing.assert_allclose(codes, networks["encoder"](columns["image"]), atol=1e-6)
    told = zoo("export", bundle.path, "tflite", "--network", "decodr", *options[:2], expect=2)
    assert "got --network decodr; expected one of encoder, decoder." in told
    model = bundle.path / "model.keras"
    told = zoo("export", model, "tflite", "--network", "decoder", *options[:2], expect=2)
    assert "expected a bundle, not a model's file" in told
    options = ("--network", "decoder", "--pixels", "--out", tmp_path / "pixels")
    told = zoo("export", bundle.path, "tflite", *options, expect=2)
    assert "a network that reads code; expected one of pictures alone" in told


def test_a_network_is_exported_with_its_preprocessing(bundle, tmp_path, zoo):
    options = ("--network", "encoder", "--pixels", "--out", tmp_path, "--json")
    (done,) = zoo("export", bundle.path, "onnx", *options)
    assert done["parity"]["passed"] and done["signature"]["inputs"][0]["dtype"] == "uint8"


# Pictures made clean


@pytest.fixture
def digit(tmp_path):
    path = tmp_path / "digit.png"
    Image.fromarray(load_data("digits").test["image"][0, ..., 0]).save(path)
    return path


def test_pictures_of_the_bundles_size_are_denoised(bundle, digit, tmp_path, zoo):
    out = tmp_path / "made"
    found = zoo("denoise", bundle.path, digit, "--noise", "0.3", "--out", out, "--json")
    assert found[0]["file"] == str(out / "digit-denoised.png")
    assert found[0]["denoised_psnr"] > found[0]["noisy_psnr"] + 1
    whole = np.asarray(Image.open(out / "digit-denoised.png"))
    assert whole.shape == (8 + 4, 3 * 10 + 2)  # noisy, denoised, original
    (one,) = denoise(bundle, digit, noise=0.3)
    np.testing.assert_array_equal(whole[2:10, 2:10], one.noisy[..., 0])
    np.testing.assert_array_equal(whole[2:10, 12:20], one.denoised[..., 0])
    np.testing.assert_array_equal(whole[2:10, 22:30], np.asarray(Image.open(digit)))
    model = load_model(bundle.path)
    exact = model(one.noisy[None].astype("f4") / 255).numpy()[0]
    np.testing.assert_array_equal(one.denoised, np.round(255 * exact.astype("f8")))
    assert "exists; choose another name" in zoo(
        "denoise", bundle.path, digit, "--out", out, expect=2
    )
    out = zoo("denoise", bundle.path, digit, "--out", out, "--force")
    assert out.endswith("digit-denoised.png\n")


def test_pictures_of_any_size_in_tiles(conv, tmp_path):
    """What is made in tiles equals what the whole picture gives, away from its border."""
    model = load_model(conv.path)
    assert slides(model)
    random = np.random.RandomState(0)
    photo = random.randint(0, 255, (301, 150, 3)).astype(np.uint8)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (one,) = denoise(conv, tmp_path / "photo.png", out=tmp_path)
    assert one.denoised.shape == photo.shape and one.noisy is one.given
    assert np.asarray(Image.open(one.file)).shape == (301 + 4, 2 * 152 + 2, 3)
    whole = widened(model)(photo[None, :300, :148].transpose(3, 1, 2, 0).astype("f4") / 255)
    whole = np.asarray(whole)[..., 0].transpose(1, 2, 0) * 255
    inner = np.abs(one.denoised[:300, :148].astype("f4") - whole)[24:-24, 24:-24]
    assert inner.max() <= 0.51  # rounded
    digits = load_data("digits").test["image"][:3]
    found = denoise(conv, digits / 255.0, noise=0.3, seed=2)
    again = denoise(conv, digits, noise=0.3, seed=2)
    np.testing.assert_array_equal(found[2].denoised, again[2].denoised)


def test_no_noise_and_an_infinite_figure(bundle, digit, tmp_path, zoo):
    found = zoo("denoise", bundle.path, digit, "--noise", "0", "--out", tmp_path / "a", "--json")
    assert list(found[0]) == ["picture", "file"]
    black = tmp_path / "black.png"  # masked pixels are black too
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(black)
    options = ("--noise", "0.3", "--out", tmp_path / "b", "--json")
    found = zoo("denoise", bundle.path, black, *options)
    assert found[0]["noisy_psnr"] is None and found[0]["denoised_psnr"] > 0


def test_a_compressed_network_slides_too(conv, monkeypatch):
    model = load_model(conv.path)
    samples = load_data("digits").test["image"][:32].astype("f4") / 255
    less = compress.apply("int8", model, samples=samples).model
    assert slides(less)
    photo = np.random.RandomState(0).randint(0, 255, (1, 200, 80, 1)).astype(np.uint8)
    monkeypatch.setattr("zoo.models.saved.load_model", lambda path: less)
    (one,) = denoise(conv, photo)
    whole = 255 * np.asarray(widened(less)(photo.astype("f4") / 255))[0]
    apart = np.abs(one.denoised - whole)[24:-24, 24:-24]
    assert np.mean(apart > 0.51) < 1e-2 and np.ptp(whole) > 10  # away from its border


def test_a_network_of_colours_takes_grey_pictures(conv, digit, monkeypatch):
    networks = create("conv_autoencoder", input_shape=(8, 8, 3), width=4)
    model = Autoencoder().deployed(networks)
    monkeypatch.setattr("zoo.models.saved.load_model", lambda path: model)
    (one,) = denoise(conv, digit)
    assert one.given.shape == one.denoised.shape == (8, 8, 3)
    np.testing.assert_array_equal(one.given[..., 0], np.asarray(Image.open(digit)))


def test_what_cannot_be_denoised_is_told_in_one_line(bundle, conv, digit, tmp_path, zoo):
    def told(*arguments):
        return zoo("denoise", *arguments, "--out", tmp_path, expect=2)

    twin = tmp_path / "other" / "digit.png"
    twin.parent.mkdir()
    twin.write_bytes(digit.read_bytes())
    large = tmp_path / "large.png"
    Image.fromarray(np.zeros((9, 12), np.uint8)).save(large)
    assert "large.png: got 9 x 12 pixels; expected 8 x 8" in told(bundle.path, large)
    assert "no such file" in told(bundle.path, tmp_path / "none.png")
    assert "several pictures for" in told(bundle.path, digit, twin)
    assert "got this picture twice; expected each once" in told(bundle.path, digit, digit)
    made = tmp_path / "digit-denoised.png"
    made.write_bytes(digit.read_bytes())
    assert f"{made}: is what is read" in told(bundle.path, digit, made, "--force")
    assert made.read_bytes() == digit.read_bytes()
    assert "got '-1'; expected a number of 0 or more" in told(bundle.path, digit, "--noise=-1")
    asked = zoo("predict", bundle.path, tmp_path / "none.png", expect=2)  # not even read
    assert "of the task autoencoder, which has no answer for a file" in asked
    assert "`zoo denoise` asks it." in asked
    assert "got noise 1 and seed 0; expected" in told(bundle.path, digit, "--noise", "1")
    plain = tmp_path / "plain"
    few = ["data.name=digits", "data.limit=64", "train.epochs=1", "task.labels=0"]
    fit("autoencoder", out=plain, changes=[*few, "settings.units=[8]"])
    assert "was trained without noise, for the task autoencoder" in told(plain, digit)
    for array, message in (
        (np.full((1, 8, 8, 1), np.nan), "got NaN or infinite values; expected uint8"),
        (np.full((1, 8, 8, 1), 1.5), "got intensities of 1.5 to 1.5; expected 0 to 1"),
        (np.zeros((1, 8, 8, 1), np.int64), "got int64; expected uint8, or intensities"),
        (np.zeros((8, 8)), r"got an array \(8, 8\); expected \(n, height, width, channels\)"),
        ([], "got no picture; expected files, or an array"),
    ):
        with pytest.raises(ValueError, match=message):
            denoise(bundle, array)
    assert not slides(load_model(bundle.path))
    assert next(path for path, _ in leaf_layers(load_model(conv.path))) == "down1"
