"""The sum-product network: everything it says against a sum over all assignments of its pixels."""

import itertools

import keras
import numpy as np
import pytest

import compress
import export
from tests import toy
from zoo.catalog import CATALOG
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.layers.sum_product import PixelRegions, ProductNodes, SumNodes, pixel_order
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.tasks.spn import HALVES, SumProduct, completed, drawn, hidden
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer
from zoo.training.twin import make_twin

TASK = SumProduct()
SMALL = {"units": 4, "block": 2, "views": 2}
SHAPE = (2, 5, 1)  # 10 pixels
ALL = np.array(list(itertools.product([0, 1], repeat=10)), "f4").reshape(-1, *SHAPE)


@pytest.fixture(
    scope="module", params=[(1, 1), (1, 2), (2, 3)], ids="block{0[0]}views{0[1]}".format
)
def tiny(request):
    """A network of 10 pixels with random weights, and the probability of each assignment."""
    block, views = request.param
    keras.utils.set_random_seed(block + views)
    net = create("spn", input_shape=SHAPE, units=3, block=block, views=views)
    return net, np.exp(net(ALL).numpy()[:, 0].astype("f8"))


def evidence(seed=0, num=6):
    """Pictures of which some pixels are known, and for each which assignments agree."""
    random = np.random.RandomState(seed)
    pixels = random.randint(0, 2, (num, *SHAPE)).astype("f4")
    pixels[random.random_sample(pixels.shape) < 0.5] = -1
    agree = ((ALL[None] == pixels[:, None]) | (pixels[:, None] < 0)).all(axis=(2, 3, 4))
    return pixels, agree


# Exact inference


@pytest.mark.oracle
def test_all_assignments_sum_to_one(tiny):
    net, chances = tiny
    assert chances.sum() == pytest.approx(1, abs=1e-5)
    assert chances.max() / chances.min() > 10  # it is no uniform distribution
    nothing = np.full((1, *SHAPE), -1, "f4")
    assert float(net(nothing)[0, 0]) == pytest.approx(0, abs=1e-5)


@pytest.mark.oracle
def test_marginals_equal_brute_force(tiny):
    net, chances = tiny
    pixels, agree = evidence()
    np.testing.assert_allclose(np.exp(net(pixels).numpy()[:, 0]), agree @ chances, rtol=1e-4)
    expected = [(own * chances) @ ALL.reshape(len(ALL), -1) / (own @ chances) for own in agree]
    found = completed(net, pixels).numpy().reshape(len(pixels), -1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    known = pixels.reshape(len(pixels), -1) >= 0
    np.testing.assert_array_equal(found[known], pixels.reshape(len(pixels), -1)[known])


@pytest.mark.oracle
def test_draws_follow_the_conditional(tiny):
    net, chances = tiny
    pixels, agree = evidence(seed=1, num=1)
    many = 4000
    made = drawn(net, np.repeat(pixels, many, axis=0), np.random.RandomState(0))
    places = made.reshape(many, -1) @ 2 ** np.arange(9, -1, -1)
    shares = np.bincount(places.astype(int), minlength=len(ALL)) / many
    expected = agree[0] * chances / (agree[0] @ chances)
    assert not shares[expected == 0].any()
    error = np.sqrt(expected * (1 - expected) / many)
    assert (np.abs(shares - expected) <= 4.5 * error + 1e-3).all()


@pytest.mark.oracle
def test_one_node_is_independent_pixels():
    """With one unit and one view nothing is mixed: a product of Bernoullis, in closed form."""
    keras.utils.set_random_seed(0)
    net = create("spn", input_shape=(4, 4, 1), units=1, block=2, views=1)
    leaves = net.get_layer("pixels")
    odds = np.zeros(16)
    odds[leaves.order.ravel()] = leaves.log_odds.numpy()[:, :, 0].ravel()
    pixels = np.random.RandomState(0).randint(0, 2, (5, 16)).astype("f8")
    expected = (pixels * odds - np.log1p(np.exp(odds))).sum(axis=1)
    found = net(pixels.reshape(-1, 4, 4, 1).astype("f4")).numpy()[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.oracle
def test_a_sum_over_a_single_region_is_a_mixture():
    """scikit-learn knows naive Bayes: one region, one node for each class."""
    from sklearn.naive_bayes import BernoulliNB

    random = np.random.RandomState(0)
    pixels, labels = random.randint(0, 2, (60, 9)), np.arange(60) % 3
    model = BernoulliNB().fit(pixels, labels)
    net = create("spn", input_shape=(3, 3, 1), units=3, block=3, views=1)
    chances = np.exp(model.feature_log_prob_)  # (classes, pixels)
    net.get_layer("pixels").log_odds.assign((np.log(chances) - np.log1p(-chances)).T[None])
    net.get_layer("root").logits.assign(model.class_log_prior_[None, :, None])
    expected = np.logaddexp.reduce(model.predict_joint_log_proba(pixels), axis=1)
    found = net(pixels.reshape(-1, 3, 3, 1).astype("f4")).numpy()[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# The layers


@pytest.mark.parametrize(("shape", "block", "views"), [((28, 28, 1), 2, 2), ((3, 5, 2), 1, 3)])
def test_regions_hold_each_pixel_once_and_join_to_rectangles(shape, block, views):
    order, size = pixel_order(shape, block=block, views=views), int(np.prod(shape))
    slots = order.reshape(views, -1)
    for own in slots:
        real = own[own < size]
        assert sorted(real) == list(range(size))
    seen = set()
    regions = order
    while len(regions) > views:
        for region in regions:
            real = region[region < size]
            rows, columns, _ = np.unravel_index(real, shape)
            if len(real):  # a rectangle holds as many pixels as its sides say
                sides = np.ptp(rows) + 1, np.ptp(columns) + 1
                assert sides[0] * sides[1] * shape[2] == len(real)
                seen.add(sides)
        regions = regions.reshape(len(regions) // 2, -1)
    assert len(seen) > 4
    assert views == 1 or (slots[0] != slots[1]).any()


def test_gradients_and_huge_numbers():
    import tensorflow as tf

    layer = SumNodes(3)
    x = tf.Variable(np.random.RandomState(0).normal(size=(2, 4, 5)).astype("f4") * 300 - 2000)
    with tf.GradientTape() as tape:
        y = layer(x)
    assert np.isfinite(y).all()
    logits = layer.logits.numpy()
    weights = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = np.logaddexp.reduce(x.numpy()[..., None].astype("f8") + np.log(weights), axis=2)
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    for slope in tape.gradient(y, [x, layer.logits.value]):
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0
    joined = ProductNodes()(x).numpy()
    np.testing.assert_allclose(joined[:, 1], x[:, 2] + x[:, 3], rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: PixelRegions(3, block=2, views=2),
        lambda: SumNodes(2),
        lambda: SumNodes(2, whole=True),
        ProductNodes,
    ],
    ids=["pixels", "sum", "root", "product"],
)
def test_layers_are_made_again_and_stay_exact(make):
    layer = make()
    shape = (4, 4, 1) if isinstance(layer, PixelRegions) else (4, 3)
    x = np.random.RandomState(0).randint(0, 2, (2, *shape)).astype("f4")
    y = layer(x)
    again = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    again(x)
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(x), y)
    assert y.dtype == "float32" and layer.compute_output_shape((2, *shape)) == tuple(y.shape)


def test_parameters_are_those_counted_by_hand():
    net = create("spn")
    counts = {layer.name: layer.count_params() for layer in net.layers if layer.count_params()}
    sums = sum(count for name, count in counts.items() if name.startswith("sum"))
    assert (counts["pixels"], sums, counts["root"]) == (32_768, 261_120, 32)
    assert net.count_params() == CATALOG["spn"].parameters
    twin = make_twin(net, "mixed_bfloat16", replicas=1)
    assert {layer.compute_dtype for layer in twin.layers[1:]} == {"float32"}


# Training


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return {"net": create("spn", input_shape=(8, 8, 1), **SMALL)}


def batches(networks, **options):
    data = load_data("digits", limit=320)
    scale = {"image": TASK.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=32, draws=TASK.draws(networks), **options)


def train(networks, **options):
    settings = Train(epochs=3, batch_size=32, optimizer=Optimizer(kind="adam", learning_rate=3e-2))
    machine = choose_machine(Hardware(precision="float32", strategy="one"))
    feeds = batches(networks, training=True), batches(networks)
    return Trainer(networks, TASK, settings, machine).fit(*feeds, **options)


def test_trains_and_resumes(tmp_path):
    history = toy.resumed(small, train, tmp_path / "snapshot.npz", step=14)
    losses = [row["loss"] for row in history.rows]
    assert losses[-1] < 0.9 * losses[0]
    row = history.rows[-1]
    assert row["log_likelihood"] == pytest.approx(-row["loss"], rel=1e-5)


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_spn import TASK, batches, small
    from zoo.recipe import Optimizer, Train

    chosen = Optimizer(kind="sgd", learning_rate=0.02)
    settings = Train(epochs=2, batch_size=32, optimizer=chosen)
    found, _ = two.trained(small, batches, TASK, settings, ("loss", "val_loss"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    weights, losses, moved = toy.printed(TWO_DEVICES)
    assert moved > 1e-3
    assert weights < 1e-5 and losses < 1e-4


# What becomes of it


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    changes = ["data.name=digits", "train.epochs=6"]
    changes += [f"settings.{key}={value}" for key, value in SMALL.items()]
    return fit("spn", out=tmp_path_factory.mktemp("runs") / "spn", changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


def test_bundle_explains_itself(bundle):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.inputs == {"image": Column("image", (8, 8, 1))}
    assert card.outputs == {"log_probability": Column("features", (1,))}
    assert -36 < metrics["log_likelihood"] < -20  # 64 fair coins: -44.4; independent pixels: -32
    assert metrics["log_likelihood"] < metrics["lower_half"] < -8
    for picture in ("completed", "curves"):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_is_measured_by_what_it_answers(bundle, run):
    model = load_model(bundle.path)
    found = run.evaluate(
        model,
        "test",
        answer=lambda columns: model(run.task.inputs({"net": model}, columns)).numpy(),
    )
    wanted = {"log_likelihood": bundle.report.metrics["log_likelihood"]}
    assert found.metrics == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("target", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_network_is_exported(bundle, run, tmp_path, target):
    out = export.export(load_model(bundle.path), target, tmp_path / target, samples=run.samples(64))
    assert out.manifest.parity.passed and out.manifest.parity.relative < 1e-4


@pytest.mark.slow
def test_compression_keeps_a_distribution(bundle, run):
    """Whatever becomes of the weights: what nobody knows has probability 1."""
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(epochs, rate=rate))

    less = compress.apply("prune50", model, samples=run.samples(64), fit=tune).model
    nothing = np.full((1, 8, 8, 1), -1, "f4")
    assert float(less(nothing)[0, 0]) == pytest.approx(0, abs=1e-4)
    before, after = (run.evaluate(x, "validation").metrics["log_likelihood"] for x in (model, less))
    assert after > before - 3


def test_generates_and_completes(bundle):
    networks = load_networks(bundle.path)

    def make(**options):
        return TASK.generate(networks, columns={}, count=6, seed=1, **options)

    assert make().shape == (6, 8, 8, 1) and set(np.unique(make())) == {0, 255}
    np.testing.assert_array_equal(make(), make())
    digits = load_data("digits").test["image"][:2]
    for half in HALVES:
        made, known = make(start=digits, hide=half), hidden(digits * 0.0, half).numpy() >= 0
        assert known[0].sum() == 32
        binary = np.where(digits >= 128, 255, 0)[[0, 1] * 3]
        mask = np.broadcast_to(known[[0, 1] * 3], made.shape)
        np.testing.assert_array_equal(made[mask], binary[mask])
        assert (made[~mask] != binary[~mask]).any()
    likely = make(start=digits, mean=True)
    assert len(np.unique(likely)) > 10
    np.testing.assert_array_equal(likely[0], likely[2])


def test_mistakes_get_one_line(bundle):
    networks = load_networks(bundle.path)
    picture = np.zeros((1, 4, 4, 1), np.uint8)
    for options, told in (
        (
            {"start": picture},
            r"--from: got pictures of uint8 \(1, 4, 4, 1\); expected uint8 \(n, 8",
        ),
        ({"start": np.zeros((1, 8, 8, 1), np.uint8), "hide": "middle"}, "hide: got 'middle'"),
        ({"label": 3}, r"got label \(--class\), which it does not know"),
    ):
        with pytest.raises(ValueError, match=told):
            TASK.generate(networks, columns={}, count=1, seed=0, **options)
    with pytest.raises(ValueError, match=r"learns images; diabetes has features"):
        TASK.check(load_data("diabetes"))
