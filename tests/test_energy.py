"""Boltzmann machines: energies by brute force, the partition function, and their way to a file."""

import csv
import itertools
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.neural_network import BernoulliRBM

import compress
import export
from tests import toy
from zoo.catalog import find_architecture
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.stages.generate import generate
from zoo.tasks.boltzmann import energy as machines
from zoo.tasks.boltzmann import partition
from zoo.tasks.boltzmann.dbn import DBN
from zoo.tasks.boltzmann.energy import ConvolutionalEnergy, Energy
from zoo.tasks.boltzmann.rbm import RBM, begun
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.steps import gradient
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

PCD = RBM(steps=2, temperatures=50)
CD = RBM(persistent=False, temperatures=50)
SGD = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.5}


def small(seed=0, **settings):
    keras.utils.set_random_seed(seed)
    return create("rbm", input_shape=(8, 8, 1), **{"hidden": 12, "chains": 40, **settings})


def batches(networks, task, **options):
    data = load_data("digits", limit=320)
    scale = {"image": task.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=32, draws=task.draws(networks), **options)


def train(networks, task, *, epochs=3, precision="float32", optimizer=SGD, phases=(), **options):
    settings = Train(epochs=epochs, batch_size=32, optimizer=Optimizer(**optimizer), phases=phases)
    machine = choose_machine(Hardware(precision=precision, strategy="one"))
    feed = batches(networks, task, training=True)
    return Trainer(networks, task, settings, machine).fit(feed, batches(networks, task), **options)


def drawn(shape, seed, scale=0.7):
    return tf.constant(np.random.RandomState(seed).normal(size=shape) * scale, "float32")


def dense(visible, hidden, *, gaussian=False, seed=0):
    parts = ((visible, hidden), (visible,), (hidden,))
    return Energy(*(drawn(shape, seed + i) for i, shape in enumerate(parts)), gaussian=gaussian)


def states(units):
    return np.array(list(itertools.product([0, 1], repeat=units)), "float32")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    changes = ["data.name=digits", "train.epochs=15", "train.batch_size=50"]
    changes += ["task.temperatures=300", "settings.hidden=16", "settings.chains=50"]
    return fit("rbm", out=tmp_path_factory.mktemp("runs") / "rbm", changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


PHASES = [
    {"epochs": 4, "objectives": ["layer1"]},
    {"epochs": 4, "objectives": ["layer2"]},
    {"epochs": 8, "objectives": ["classify"], "optimizer": {"kind": "adam", "learning_rate": 2e-2}},
]
DEEP = ["data.name=digits", "train.epochs=16", "train.batch_size=50", f"train.phases={PHASES}"]


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    changes = [*DEEP, "task.layers=2", "settings.units=[32,24]"]
    return fit("dbn", out=tmp_path_factory.mktemp("runs") / "dbn", changes=changes)


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory):
    changes = [*DEEP, "settings.bases=[8,8]", "settings.sizes=[3,2]"]
    changes += ["task.sparsity=0.05", "train.optimizer.learning_rate=0.01"]
    return fit("cdbn", out=tmp_path_factory.mktemp("runs") / "cdbn", changes=changes)


# The networks


def test_parameters_are_those_counted_by_hand():
    with keras.StatelessScope(initialize_variables=False):
        made = {name: create(name) for name in ("rbm", "dbn", "cdbn")}
    keras.utils.clear_session()
    up = 784 * 500 + 500 + 500 * 500 + 500 + 500 * 2000 + 2000
    counts = {
        "rbm": 784 * 500 + 500 + 784,
        "dbn": up + 2000 * 10 + 10 + 784 + 500 + 500,
        "cdbn": 121 * 40 + 40 + 1 + 16 * 1600 + 40 + 40 + 3600 * 10 + 10,
    }
    for name, networks in made.items():
        weights = [w for network in networks.values() for w in network.trainable_weights]
        assert sum(np.prod(w.shape, dtype=int) for w in weights) == counts[name]
        assert find_architecture(name).parameters == counts[name]
        assert networks["generative"].output_shape == (None, 28, 28, 1)


# The energy


@pytest.mark.oracle
@pytest.mark.parametrize("gaussian", [False, True])
def test_partition_function_and_free_energy_equal_brute_force(gaussian):
    energy = dense(3, 4, gaussian=gaussian)
    kernel, b, c = (x.numpy().astype("f8") for x in energy[:3])
    hidden = states(4)
    if gaussian:  # of each state of the hidden units a Gaussian integral, here by its points
        points, weights = np.polynomial.hermite_e.hermegauss(40)
        visible = np.array(list(itertools.product(points, repeat=3)))
        shares = np.array([np.prod(w) for w in itertools.product(weights, repeat=3)])
        outer = np.exp(visible @ kernel @ hidden.T + (visible @ b)[:, None] + hidden @ c)
        exact = np.log((outer * shares[:, None]).sum())
    else:
        visible, shares = states(3), np.ones(8)
        outer = np.exp(visible @ kernel @ hidden.T + (visible @ b)[:, None] + hidden @ c)
        exact = np.log(outer.sum())
    assert float(partition.exact_log_z(energy)) == pytest.approx(exact, rel=1e-5)
    square = 0.5 * np.square(visible).sum(axis=1) if gaussian else 0
    free = energy.free_energy(tf.constant(visible[:50], "float32"))
    expected = (square - np.log(outer.sum(axis=1)))[:50]
    np.testing.assert_allclose(free, expected, rtol=1e-4, atol=1e-4)
    if not gaussian:
        probabilities = np.exp(-energy.free_energy(tf.constant(visible)).numpy() - exact)
        assert probabilities.sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("gaussian", [False, True])
def test_annealing_is_within_its_error_of_the_exact_sum(gaussian):
    scale = 0.15 if gaussian else 0.6
    energy = Energy(*(scale * x for x in dense(30, 14, seed=3)[:3]), gaussian=gaussian)
    exact = float(partition.exact_log_z(energy))
    base = tf.zeros(30)
    weights = partition.log_weights(
        energy, base, chains=300, steps=300, seed=tf.constant([1, 2])
    ).numpy()
    found = partition.estimated(weights)
    assert 0 < found.error < 0.1 and found.value == pytest.approx(exact, abs=4 * found.error)
    rough = partition.log_weights(energy, base, chains=300, steps=3, seed=tf.constant([1, 2]))
    assert rough.numpy().std() > 2 * weights.std()  # few temperatures: the weights differ more
    betas = partition.temperatures(14_500)
    assert betas[0] == 0 and betas[-1] == 1 and (np.diff(betas) > 0).all()
    np.testing.assert_allclose(betas[[500, 4500]], [0.5, 0.9], rtol=1e-9)
    with pytest.raises(ValueError, match=r"got 17 hidden units; expected 16 at most"):
        partition.exact_log_z(dense(3, 17))


@pytest.mark.oracle
def test_scikit_learn_has_the_same_machine():
    energy = dense(9, 5)
    theirs = BernoulliRBM(5, random_state=0).fit(states(9)[:9])
    theirs.components_ = energy.kernel.numpy().T.astype("f8")
    theirs.intercept_visible_ = energy.visible_bias.numpy().astype("f8")
    theirs.intercept_hidden_ = energy.hidden_bias.numpy().astype("f8")
    visible = states(9)[::7]
    np.testing.assert_allclose(energy.pooled(visible), theirs.transform(visible), rtol=1e-4)
    free = energy.free_energy(tf.constant(visible))
    np.testing.assert_allclose(free, theirs._free_energy(visible), rtol=1e-4, atol=1e-4)


@pytest.mark.oracle
def test_a_convolutional_machine_is_one_with_tied_weights():
    """On 6x6 pixels: the matrix that the convolution is, column by column."""
    kernel, b, c = drawn((3, 3, 1, 2), 0), drawn((1,), 1), drawn((2,), 2)
    shared = ConvolutionalEnergy(kernel, b, c, pool=1)
    places = np.eye(36, dtype="float32").reshape(36, 6, 6, 1)
    matrix = tf.reshape(shared.sent(places) - c, (36, 32))
    tied = Energy(matrix, tf.repeat(b, 36), tf.tile(c, [16]))
    pixels = np.random.RandomState(0).randint(0, 2, (5, 6, 6, 1)).astype("float32")
    np.testing.assert_allclose(shared.free_energy(pixels), tied.free_energy(pixels), rtol=1e-5)
    found = tf.reshape(shared.pooled(pixels), (5, 32))
    np.testing.assert_allclose(found, tied.pooled(pixels), rtol=1e-4)
    hidden = np.random.RandomState(1).randint(0, 2, (5, 32)).astype("float32")
    down = tf.reshape(shared.means(hidden.reshape(5, 4, 4, 2)), (5, 36))
    np.testing.assert_allclose(down, tied.means(hidden), rtol=1e-4)


@pytest.mark.oracle
def test_of_a_pool_one_unit_is_on_at_most():
    energy = ConvolutionalEnergy(drawn((2, 2, 1, 1), 0), drawn((1,), 1), drawn((1,), 2), pool=2)
    pixels = np.random.RandomState(0).randint(0, 2, (4, 3, 3, 1)).astype("float32")
    sent = energy.sent(pixels).numpy().reshape(4, 4)  # one pool of four
    total = 1 + np.exp(sent).sum(axis=1)
    expected = -float(energy.visible_bias[0]) * pixels.sum(axis=(1, 2, 3)) - np.log(total)
    np.testing.assert_allclose(energy.free_energy(pixels), expected, rtol=1e-4)
    shares = energy.shares(pixels).numpy().reshape(4, 4)
    np.testing.assert_allclose(shares.sum(axis=1) + 1 / total, 1, rtol=1e-5)
    pooled = energy.pooled(pixels).numpy().reshape(4)
    np.testing.assert_allclose(pooled, 1 - 1 / total, rtol=1e-5)
    many = np.repeat(pixels[:1], 20_000, axis=0)
    uniform = np.random.RandomState(1).rand(20_000, 1, 1, 1).astype("float32")
    on = energy.drawn(many, uniform).numpy().reshape(-1, 4)
    assert on.sum(axis=1).max() == 1
    np.testing.assert_allclose(on.mean(axis=0), shares[0], atol=0.01)


@pytest.mark.oracle
def test_the_loss_has_the_gradient_of_contrastive_divergence():
    networks = small()
    for network in networks.values():
        for index, weight in enumerate(network.trainable_weights):
            weight.assign(drawn(weight.shape, index, 0.3))
    (batch,) = itertools.islice(batches(networks, CD).dataset(), 1)
    (objective,) = CD.objectives()
    up, down = networks["recognition"], networks["generative"]
    variables = [*up.trainable_variables, *down.trainable_variables]
    _, slopes, _ = gradient(CD, objective, networks, batch, variables=variables)
    kernel, c, b = (v.numpy() for v in variables)

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    image, threshold, uniform, noise = (
        batch[name].numpy() for name in ("image", "threshold", "hidden_noise", "visible_noise")
    )
    visible = (threshold < image).reshape(32, 64).astype("f4")
    before = sigmoid(visible @ kernel + c)
    hidden = (uniform[:, 0] < before).astype("f4")
    made = (noise[:, 0].reshape(32, 64) < sigmoid(hidden @ kernel.T + b)).astype("f4")
    after = sigmoid(made @ kernel + c)
    expected = [
        made.T @ after - visible.T @ before,
        (after - before).sum(axis=0),
        (made - visible).sum(axis=0),
    ]
    for slope, known in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(slope, known / 32, atol=2e-5)


# Training


@pytest.mark.parametrize("task", [PCD, CD, RBM(visible="gaussian", persistent=False)])
def test_trains(task):
    gaussian = task.visible == "gaussian"
    networks = small(visible=task.visible)
    options = {"optimizer": SGD | {"learning_rate": 0.002, "momentum": 0.9}} if gaussian else {}
    history = train(networks, task, epochs=6, precision="mixed_bfloat16", **options)
    first, last = history.rows[0], history.rows[-1]
    assert last["mse"] < 0.9 * first["mse"] and last["val_mse"] < first["val_mse"]
    chains = networks["chains"].get_layer("chains")
    moved = chains.states.numpy()
    assert moved[:32].any() == task.persistent and not moved[32:].any()
    kept = networks["generative"].get_layer("visible1").kernel.numpy()
    kernel = networks["recognition"].get_layer("hidden1").kernel.numpy()
    np.testing.assert_allclose(kept, kernel.T, atol=5e-3)  # but for the last step


@pytest.mark.slow
@pytest.mark.oracle
def test_learns_what_scikit_learn_learns():
    """The exact log-probability of other digits, after as many epochs of persistent chains."""
    networks = small()
    task = RBM(steps=1)
    train(networks, task, epochs=60, optimizer={**SGD, "momentum": 0.0, "schedule": "constant"})
    data = load_data("digits", limit=320)
    random = np.random.RandomState(0)

    def binary(images):
        grey = images.reshape(len(images), 64) / 255
        return (random.rand(*grey.shape) < grey).astype("float32")

    theirs = BernoulliRBM(12, learning_rate=0.1, batch_size=32, n_iter=60, random_state=0)
    theirs.fit(binary(data.train["image"]))
    weights = (theirs.components_.T, theirs.intercept_visible_, theirs.intercept_hidden_)
    test = tf.constant(binary(data.test["image"]))
    found = [
        float(-tf.reduce_mean(one.free_energy(test)) - partition.exact_log_z(one))
        for one in (
            machines.energies(networks)[0],
            Energy(*(tf.constant(x, "float32") for x in weights)),
        )
    ]
    rates = binary(data.train["image"]).mean(axis=0).clip(0.01, 0.99)
    alone = test.numpy() @ np.log(rates) + (1 - test.numpy()) @ np.log(1 - rates)
    assert found[0] > alone.mean() + 1 and found[0] > found[1] - 0.5, (found, alone.mean())


@pytest.mark.slow
def test_sparsity_draws_units_to_their_target():
    ends = []
    for cost in (0.0, 1.0):
        networks = small()
        train(networks, RBM(sparsity=0.05, sparsity_cost=cost, persistent=False), epochs=20)
        pixels = load_data("digits", limit=320).train["image"].reshape(-1, 64) / 255
        ends.append(float(np.mean(machines.energies(networks)[0].pooled(pixels.astype("f4")))))
    activity = networks["chains"].get_layer("chains").activity.numpy().mean()
    assert ends[1] < 0.15 < ends[0] and activity == pytest.approx(ends[1], abs=0.05)


def test_resumed_chains_are_those_of_a_whole_run(tmp_path):
    fit = partial(train, task=RBM(sparsity_cost=0.1))
    toy.resumed(small, fit, tmp_path / "snapshot.npz", step=14)


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_energy import SGD, batches, small
    from zoo.recipe import Optimizer, Train
    from zoo.tasks.boltzmann.rbm import RBM

    task = RBM(sparsity_cost=0.1)
    settings = Train(epochs=2, batch_size=32, optimizer=Optimizer(**SGD))
    feed = lambda networks, **options: batches(networks, task, **options)
    found, ends = two.trained(small, feed, task, settings, ("loss", "val_free_energy"))
    chains = [end["chains"].get_layer("chains").states.numpy() for end in ends]
    print(json.dumps([*found, bool((chains[0] == chains[1]).all())]))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_run_the_chains_of_one():
    weights, losses, moved, same = toy.printed(TWO_DEVICES)
    assert moved > 1e-2 and same
    assert weights < 1e-5 and losses < 1e-3


def test_more_examples_than_chains_are_refused():
    networks = small(chains=20)
    with pytest.raises(ValueError, match=r"got 32; expected 20 at most, the places of the column"):
        batches(networks, PCD, training=True)
    batches(networks, PCD)  # an evaluation has none


# What becomes of a machine


def test_bundle_tells_the_log_probability(bundle, run):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.networks == ("recognition", "generative", "chains")
    assert card.inputs == {"image": Column("image", (8, 8, 1))}
    exact = metrics["log_probability_exact"]
    assert metrics["log_probability"] == pytest.approx(exact, abs=4 * metrics["standard_error"])
    fresh = run.evaluate(small(hidden=16), "test").metrics["log_probability_exact"]
    assert exact > fresh + 5 and 0 < metrics["activity"] < 1
    for picture in ("samples", "reconstructions", "filters"):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_the_way_down_has_the_kernel_of_the_way_up(bundle):
    """Not that of a step before."""
    networks = load_networks(bundle.path)
    up = networks["recognition"].get_layer("hidden1")
    down = networks["generative"].get_layer("visible1")
    np.testing.assert_array_equal(down.kernel, up.kernel.numpy().T)
    np.testing.assert_array_equal(down.hidden_bias, up.bias)


def test_history_and_report_have_one_error(bundle, run):
    with (bundle.path / "history.csv").open() as file:
        *_, last = csv.DictReader(file)
    found = run.evaluate(load_networks(bundle.path), "validation").metrics["mse"]
    assert found == pytest.approx(float(last["val_mse"]), rel=0.02)


def test_chains_that_never_ran_are_not_begun_with():
    states = np.zeros((9, 6), "float32")
    states[:4, ::2] = 1
    found = begun(states, 9, 6, seed=0)
    assert found.shape == (9, 6) and found.any(axis=1).all()
    wrong = np.zeros((2, 4, 16, 1), np.uint8)
    with pytest.raises(ValueError, match=r"--from: got pictures of uint8 \(2, 4, 16, 1\); expect"):
        PCD.generate(small(), columns={}, count=2, seed=0, start=wrong)


def test_pictures_are_drawn_by_the_seed(bundle):
    first, again = (generate(bundle.path, count=60, seed=3, steps=20) for _ in range(2))
    other = generate(bundle.path, count=60, seed=4, steps=20)
    assert first.shape == (60, 8, 8, 1) and first.dtype == np.uint8
    assert (first == again).all() and (first != other).any() and (first[0] != first[1]).any()
    real = load_data("digits").test["image"].astype(float)
    assert np.abs(first.mean(axis=0) - real.mean(axis=0)).mean() < 30
    near = generate(bundle.path, count=2, seed=3, steps=1, start=real[:2].astype(np.uint8))
    far = generate(bundle.path, count=2, seed=3, steps=50)
    away = [np.abs(made - real[:2]).mean() for made in (near, far)]
    assert away[0] < away[1]
    with pytest.raises(ValueError, match=r"task rbm: got stps, which it does not know; expected"):
        generate(bundle.path, count=2, stps=3)
    with pytest.raises(ValueError, match=r"got steps 0 and count 2; expected integers of 1 or"):
        generate(bundle.path, count=2, steps=0)
    with pytest.raises(ValueError, match=r"got uint8 \(1, 9, 8, 1\); expected uint8 \(n, 8"):
        generate(bundle.path, count=2, start=np.zeros((1, 9, 8, 1), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_machine_keeps_its_probability(bundle, run, recipe):
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(2, rate=rate), callbacks=callbacks)

    small_ = compress.apply(recipe, model, samples=run.samples(128), fit=tune)
    after = run.evaluate(small_.model, "validation").metrics["log_probability_exact"]
    before = run.evaluate(model, "validation").metrics["log_probability_exact"]
    assert after != before and after > before - 4


@pytest.mark.parametrize("target", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_deployed_machine_is_exported(bundle, run, tmp_path, target):
    out = export.export(load_model(bundle.path), target, tmp_path / target, samples=run.samples(64))
    assert out.manifest.parity.passed and out.manifest.parity.relative < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bundle", "deep", "convolutional"])
def test_the_way_down_is_a_file_too(name, request, tmp_path, zoo):
    path = request.getfixturevalue(name).path
    networks = ["generative"] if name == "bundle" else ["generative", "head"]
    for network in networks:
        out = ("--out", tmp_path / network, "--json")
        (done,) = zoo("export", path, "tflite", "--network", network, *out)
        assert done["parity"]["passed"]


def test_tables_and_other_sides_are_refused():
    with pytest.raises(ValueError, match=r"learns images; diabetes has features"):
        PCD.check(load_data("diabetes"))
    with pytest.raises(ValueError, match=r"learns images; breast_cancer has features"):
        DBN(loss="cross_entropy").check(load_data("breast_cancer"))
    with pytest.raises(ValueError, match=r"layer 1 would have maps of 11x11, and pools of 2x2"):
        create("cdbn", input_shape=(21, 21, 1))


# Deep ones


def test_deep_network_learns_layer_by_layer(deep):
    rows = {key: deep.report.metrics[key] for key in ("top1", "loss")}
    assert rows["top1"] > 0.85
    networks = load_networks(deep.path)
    top = machines.uppermost(networks)
    kernel = networks["recognition"].get_layer("hidden2").kernel.numpy()
    assert np.abs(top.kernel.numpy() - kernel).max() > 1e-2  # the labels moved the way up alone
    pictures = generate(deep.path, count=3, seed=1, steps=20)
    assert pictures.shape == (3, 8, 8, 1) and (pictures[0] != pictures[1]).any()
    assert (deep.path / "filters.png").is_file()


@pytest.mark.parametrize("optimizer", [SGD, {"kind": "adamw", "weight_decay": 0.1}])
def test_a_layer_that_learns_moves_no_other(optimizer):
    keras.utils.set_random_seed(0)
    task = DBN(layers=2)
    networks = create("dbn", input_shape=(8, 8, 1), units=(16, 12))
    before = {w.path: w.numpy() for n in networks.values() for w in n.weights}
    phases = [{"epochs": 1, "objectives": ["layer2"]}]
    train(networks, task, epochs=1, optimizer=optimizer, phases=phases)
    moved = {
        w.path for n in networks.values() for w in n.weights if (w.numpy() != before[w.path]).any()
    }
    assert moved == {"hidden2/kernel", "hidden2/bias"} | {
        f"visible2/{name}" for name in ("kernel", "bias", "hidden_bias")
    }
    with pytest.raises(ValueError, match=r"task.layers: got 3 for a network of 2 machines"):
        train(networks, DBN(layers=3), phases=[{"epochs": 3, "objectives": ["layer3"]}])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep", "convolutional"])
def test_deep_networks_are_compressed_and_exported(name, request, tmp_path):
    bundle = request.getfixturevalue(name)
    run = Run(bundle.recipe, networks=load_networks(bundle.path))
    model = load_model(bundle.path)
    before = run.evaluate(model, "test").metrics
    assert before["top1"] == pytest.approx(bundle.report.metrics["top1"])

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(2, rate=rate), callbacks=callbacks)

    pruned = compress.apply("prune50", model, samples=run.samples(64), fit=tune).model
    assert run.evaluate(pruned, "test").metrics["top1"] > before["top1"] - 0.15
    for target in ("tflite", "onnx"):
        out = export.export(model, target, tmp_path / target, samples=run.samples(64))
        assert out.manifest.parity.passed


@pytest.mark.slow
def test_pools_feed_a_support_vector_machine(convolutional):
    assert convolutional.report.metrics["top1"] > 0.6
    pictures = generate(convolutional.path, count=2, seed=1, steps=5)
    assert pictures.shape == (2, 8, 8, 1)


@pytest.mark.slow
def test_interrupted_phases_resume(tmp_path):
    """Within the second phase of three."""

    def fresh(seed):
        keras.utils.set_random_seed(seed)
        return create("dbn", input_shape=(8, 8, 1), units=(16, 12))

    phases = [{"epochs": 1, "objectives": [name]} for name in ("layer1", "layer2", "classify")]
    options = {"epochs": 3, "phases": phases}
    task, snapshot = DBN(layers=2), tmp_path / "snapshot.npz"
    whole, stopped, resumed = fresh(0), fresh(0), fresh(7)
    train(whole, task, **options)
    callback = toy.interrupt(14)
    assert train(stopped, task, snapshot=snapshot, callbacks=[callback], **options).interrupted
    train(resumed, task, snapshot=snapshot, resume=True, **options)
    assert toy.difference(whole, resumed) == 0.0
