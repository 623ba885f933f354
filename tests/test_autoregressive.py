"""Nets of pixels: exact oracles of what they see and of their probabilities, and their way on."""

import itertools
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import compress
import export
from tests import toy
from zoo.catalog import CATALOG
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.layers import LineLSTM
from zoo.models import create, raster
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train, resolve
from zoo.stages.generate import generate
from zoo.tasks.pixel_nets import pixels
from zoo.tasks.pixel_nets.autoregressive import Autoregressive
from zoo.tasks.pixel_nets.multi_scale import MultiScale
from zoo.tasks.pixel_nets.rasters import Kept, Whole, answers
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

TASK = Autoregressive()
VARIANTS = {  # a row, and settings that make it small
    "pixel_cnn": {"features": 4, "blocks": 3, "head": 4},
    "gated_pixel_cnn_small": {"features": 8, "blocks": 2},
    "conditional_pixel_cnn_small": {"features": 8, "blocks": 2, "classes": 3},
    "row_lstm_small": {"features": 3, "blocks": 2, "head": 4},
    "diagonal_bilstm": {"features": 3, "blocks": 2, "head": 4, "skips": True},
}


def small(variant="gated_pixel_cnn_small", side=8, outputs=1, seed=None, scale=0.4):
    """A net whose weights are drawn from a normal distribution, or by Keras with a seed."""
    if seed is not None:
        keras.utils.set_random_seed(seed)
    shape = (side, side, 1) if isinstance(side, int) else (*side, 1)
    net = create(variant, input_shape=shape, num_classes=outputs, **VARIANTS[variant])
    if seed is None:
        for index, weight in enumerate(net.weights):
            weight.assign(np.random.RandomState(index).normal(size=weight.shape) * scale)
    return net


def read(net, images, number=1):
    """What a net reads: of a conditional one all pictures of a class."""
    if len(net.inputs) == 1:
        return images
    label = np.eye(net.inputs[1].shape[-1], dtype="float32")[[number] * len(images)]
    return {"image": tf.constant(images), "label": tf.constant(label)}


def test_parameters_are_those_counted_by_hand():
    def head(h, size):
        return h * size + size + size + 1

    def cnn(h, blocks, size):
        return 48 * h + 2 * h + blocks * (9 * h * h + 4 * h) + head(2 * h, size)

    def gated(f, blocks, classes):
        first = 28 * 2 * f + 2 * f + 4 * 2 * f + 2 * f + 4 * f * f + 2 * f + f * f + f
        other = 12 * f * f + 2 * f + 4 * f * f + 2 * f + 4 * f * f + 2 * f + f * f + f
        return first + blocks * other + (2 * blocks + 1) * classes * 2 * f + head(f, f)

    def rnn(h, each, size):
        return 48 * h + 2 * h + each + head(2 * h, size)

    expected = {
        "pixel_cnn": cnn(128, 15, 1024),
        "pixel_cnn_small": cnn(32, 7, 64),
        "gated_pixel_cnn_small": gated(32, 6, 0),
        "conditional_pixel_cnn_small": gated(32, 6, 10),
        "row_lstm_small": rnn(16, 5 * (30 * 256 + 96), 32),
        "diagonal_bilstm": rnn(16, 7 * (34 * 256 + 160), 32),
        "diagonal_bilstm_small": rnn(16, 2 * (34 * 256 + 160), 32),
        "multi_scale_small": 2 * rnn(16, 3 * (30 * 256 + 96), 32) + 16 * 16 + 16 + 3 * 64 * 16,
    }
    rows = {name for name, row in CATALOG.items() if row.task in ("autoregressive", "multi_scale")}
    assert {name: CATALOG[name].parameters for name in rows} == expected


# What a pixel sees


@pytest.mark.oracle
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_pixel_sees_what_comes_before_it_and_nothing_else(variant):
    """The Jacobian: exactly zero on the raster diagonal and above, and not below."""
    side = 6
    net, places = small(variant, side), side * side
    image = np.random.RandomState(3).normal(size=(1, side, side, 1)).astype("float32")
    many = tf.constant(np.repeat(image, places, axis=0))
    with tf.GradientTape() as tape:
        tape.watch(many)
        logits = tf.reshape(net(read(net, many)), (places, places))
        total = tf.reduce_sum(tf.linalg.diag_part(logits))  # of copy k, the logit of pixel k
    jacobian = tape.gradient(total, many).numpy().reshape(places, places)
    assert np.abs(np.triu(jacobian)).max() == 0.0
    below = jacobian[np.tril_indices(places, -1)]
    assert (below != 0).mean() > 0.6  # a few layers do not reach over the whole picture
    directly = jacobian[np.arange(1, places), np.arange(places - 1)]
    inside = np.arange(1, places) % side > 0
    assert (directly[inside] != 0).mean() > 0.8  # the left neighbour, where ReLU lets it pass


@pytest.mark.oracle
@pytest.mark.parametrize("variant", VARIANTS)
def test_probabilities_of_all_binary_pictures_sum_to_one(variant):
    net = small(variant, 3)
    images = np.array(list(itertools.product([0, 1], repeat=9)), "float32").reshape(-1, 3, 3, 1)
    nats = TASK.nats(net(read(net, images)), images[..., 0].astype("int32"))
    shares = np.exp(-np.asarray(nats, "float64"))
    assert shares.sum() == pytest.approx(1, abs=1e-5)
    assert shares.max() > 2 * shares.min()


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("kind", "levels", "side"), [("softmax", 3, 2), ("softmax", 256, (1, 2)), ("mixture", 6, 2)]
)
def test_probabilities_of_all_pictures_of_levels_sum_to_one(kind, levels, side):
    task = Autoregressive(pixels=kind, levels=levels, components=2)
    shape = (side, side) if isinstance(side, int) else side
    every = np.array(list(itertools.product(range(levels), repeat=np.prod(shape))), "int32")
    every = every.reshape(-1, *shape)
    outputs = pixels.outputs(kind, levels=levels, components=2)
    net = small(side=side, outputs=outputs, scale=0.2)
    logits = net(every[..., None].astype("float32") / (levels - 1))
    shares = np.exp(-np.asarray(task.nats(logits, every), "float64"))
    assert shares.sum() == pytest.approx(1, abs=2e-5)
    assert shares.max() > 1.2 * shares.min()


@pytest.mark.oracle
@pytest.mark.parametrize("size", [3, 7])
@pytest.mark.parametrize("itself", [False, True])
def test_two_rectangles_equal_a_masked_kernel(size, itself):
    image = keras.Input((9, 8, 2))
    net = keras.Model(image, raster.masked(image, 5, size, itself=itself, name="conv"))
    random = np.random.RandomState(0)
    net.set_weights([random.normal(size=w.shape) for w in net.weights])
    kernel = np.zeros((size, size, 2, 5), "float32")
    half = size // 2
    kernel[:half] = net.get_layer("conv_above").kernel
    kernel[half, : half + itself] = net.get_layer("conv_left").kernel[0]
    x = random.normal(size=(3, 9, 8, 2)).astype("float32")
    expected = tf.nn.conv2d(x, kernel, 1, "SAME") + net.get_layer("conv_left").bias
    np.testing.assert_allclose(net(x), expected, atol=2e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("along", ["row", "diagonal"])
def test_a_line_of_one_pixel_is_an_ordinary_lstm(along):
    """A picture of one column, or of one row: nobody stands beside."""
    features, steps = 4, 7
    layer = LineLSTM(features, along=along)
    shape = (2, steps, 1, 16) if along == "row" else (2, 1, steps, 16)
    gates = np.random.RandomState(0).normal(size=shape).astype("float32")
    layer(gates)
    random = np.random.RandomState(1)
    layer.kernel.assign(random.normal(size=layer.kernel.shape))
    own = np.asarray(layer.kernel)[1]  # of the place itself
    i, f, o, g = np.split(np.arange(16), 4)
    order = np.concatenate([i, f, g, o])  # Keras' own
    plain = keras.layers.LSTM(features, use_bias=False, return_sequences=True)
    series = gates.reshape(2, steps, 16)[..., order]
    plain(series)
    plain.set_weights([np.eye(16, dtype="float32"), own[:, order]])
    np.testing.assert_allclose(
        np.asarray(layer(gates)).reshape(2, steps, 4), plain(series), atol=1e-6
    )


def test_rows_have_no_direction():
    with pytest.raises(ValueError, match=r"along='row', reverse=True; expected row, or diagonal"):
        LineLSTM(2, reverse=True)
    with pytest.raises(ValueError, match=r"got 6 channels; expected 8, four gates for each of 2"):
        LineLSTM(2, name="lines")(np.zeros((1, 3, 3, 6)))


@pytest.mark.oracle
def test_a_picture_in_two_scales_is_a_small_one_and_the_rest():
    """Given any small one the whole ones sum to one; with it, they sum to less."""
    networks = create("multi_scale_small", input_shape=(2, 4, 1), features=3, blocks=1, head=4)
    for net in networks.values():
        for index, weight in enumerate(net.weights):
            weight.assign(np.random.RandomState(index).normal(size=weight.shape))
    task, net = MultiScale(), networks["net"]
    every = np.array(list(itertools.product([0, 1], repeat=8)), "int32").reshape(-1, 2, 4)
    images = every[..., None].astype("float32")
    sums = []
    for small in ([0, 0], [1, 0]):
        coarse = np.broadcast_to(np.reshape(small, (1, 1, 2, 1)), (256, 1, 2, 1))
        nats = TASK.nats(net({"image": images, "coarse": coarse.astype("float32")}), every)
        sums.append(np.exp(-np.asarray(nats, "float64")).sum())
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    outputs = task.logits(networks, {}, every, training=False)
    assert outputs["coarse"].shape == (256, 1, 2, 1)
    shares = np.exp(-np.asarray(task.nats_of(outputs, every), "float64"))
    assert 0.01 < shares.sum() < 1
    given = {"image": np.zeros((3, 2, 4, 1), "float32"), "coarse": images[:3, ::2, ::2]}
    assert isinstance(answers(net, given), Kept)
    uniforms = np.random.RandomState(0).rand(3, 2, 4)
    ours, theirs = (TASK.draw(net, given, uniforms, whole=each) for each in (False, True))
    np.testing.assert_array_equal(ours, theirs)
    start = np.full((1, 2, 4, 1), 255, "uint8")
    found = task.generate(networks, columns={}, count=4, seed=0, start=start)
    assert found.shape == (4, 2, 4, 1) and (found[:, 0] == 255).all()
    with pytest.raises(ValueError, match=r"got \(7, 8, 1\); expected even sides"):
        create("multi_scale_small", input_shape=(7, 8, 1))


# How a pixel is distributed


@pytest.mark.oracle
def test_bins_of_a_mixture_are_those_of_its_definition_and_sum_to_one():
    from scipy.special import expit, softmax

    random = np.random.RandomState(0)
    logits = random.normal(size=(20, 9)).astype("float32") * [1, 1, 1, 0.5, 0.5, 0.5, 1, 1, 1]
    logits[:, 6:] -= 2
    found = pixels.probabilities("mixture", logits.astype("float32"), levels=256)
    weights, means, scales = np.split(logits.astype("float64"), 3, axis=1)
    ends = (np.arange(257) - 0.5) * 2 / 255 - 1  # bins of a level each
    ends[0], ends[-1] = -np.inf, np.inf
    below = expit((ends[None, :, None] - means[:, None]) * np.exp(-scales)[:, None])
    expected = (np.diff(below, axis=1) * softmax(weights, axis=1)[:, None]).sum(axis=-1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("kind", ["binary", "softmax", "mixture"])
def test_huge_logits_leave_finite_gradients(kind):
    outputs = pixels.outputs(kind, levels=256, components=3)
    random = np.random.RandomState(0)
    for size in (1.0, 50.0, 1000.0):
        logits = tf.Variable(random.normal(size=(64, outputs)) * size, dtype="float32")
        values = random.randint(0, 2 if kind == "binary" else 256, 64).astype("int32")
        with tf.GradientTape() as tape:
            nats = pixels.log_likelihood(kind, logits, values, levels=256)
        assert np.isfinite(nats).all() and (nats.numpy() <= 1e-5).all()
        assert np.isfinite(tape.gradient(nats, logits)).all()


def test_pixels_are_drawn_with_their_probabilities():
    shares = np.array([[0.1, 0.0, 0.6, 0.3]] * 8000)
    found = pixels.drawn(shares, np.random.RandomState(0).rand(8000))
    counts = np.bincount(found, minlength=4) / 8000
    np.testing.assert_allclose(counts, shares[0], atol=0.02)
    assert counts[1] == 0
    batch = {
        "image": tf.fill((50, 8, 8, 1), 0.3),
        "threshold": tf.random.stateless_uniform((50, 8, 8, 1), (0, 1)),
    }
    assert np.mean(TASK.levels_of(batch)) == pytest.approx(0.3, abs=0.03)


def test_levels_of_intensities():
    grey = {"image": np.arange(256, dtype="float32").reshape(1, 16, 16, 1) / 255}
    exact = Autoregressive(pixels="softmax").levels_of(grey)
    np.testing.assert_array_equal(np.ravel(exact), np.arange(256))
    few = np.ravel(Autoregressive(pixels="softmax", levels=4).levels_of(grey))
    np.testing.assert_array_equal(np.bincount(few), [64] * 4)
    pictures = Autoregressive(pixels="softmax", levels=4).to_pixels(few.reshape(1, 16, 16))
    assert set(np.unique(pictures)) == {0, 85, 170, 255}


# Drawing


@pytest.mark.oracle
@pytest.mark.parametrize("variant", VARIANTS)
def test_kept_steps_say_what_the_whole_net_says(variant):
    """With the same numbers the same pictures: one is NumPy place by place, one is Keras."""
    net, count = small(variant, (3, 4)), 7
    given = read(net, np.zeros((count, 3, 4, 1), "float32"))
    given = given if isinstance(given, dict) else {"image": given}
    given = {name: np.asarray(values) for name, values in given.items()}
    uniforms = np.random.RandomState(1).rand(count, 3, 4)
    assert isinstance(answers(net, given), Kept)
    ours = TASK.draw(net, given, uniforms)
    theirs = TASK.draw(net, given, uniforms, whole=True)
    np.testing.assert_array_equal(ours, theirs)
    assert 0.1 < ours.mean() < 0.9 and len(np.unique(ours, axis=0)) == count
    steps, whole = Kept(net, given), Whole(net, given)
    for row, column in np.ndindex(3, 4):
        expected = whole.logits(row, column)
        np.testing.assert_allclose(steps.logits(row, column), expected, rtol=1e-4, atol=1e-5)
        for each in (steps, whole):
            each.put(row, column, ours[:, row, column].astype("float32"))


@pytest.mark.parametrize("kind", ["softmax", "mixture"])
def test_levels_are_drawn_too(kind):
    task = Autoregressive(pixels=kind, levels=8, components=2)
    net = small(side=5, outputs=task.sizes(load_data("digits"))["num_classes"], scale=0.2)
    found = task.generate({"net": net}, columns={}, count=6, seed=1)
    assert found.shape == (6, 5, 5, 1) and found.dtype == np.uint8
    assert len(np.unique(found)) > 3


def test_many_pictures_are_drawn_in_parts(monkeypatch):
    net = {"net": small(side=4)}
    start = np.full((1, 4, 4, 1), 255, "uint8")
    whole = TASK.generate(net, columns={}, count=7, seed=1, start=start)
    monkeypatch.setattr("zoo.tasks.pixel_nets.autoregressive.AT_ONCE", 3)
    parts = TASK.generate(net, columns={}, count=7, seed=1, start=start)
    np.testing.assert_array_equal(whole, parts)


def test_a_net_that_sees_ahead_is_refused():
    image = keras.Input((4, 4, 1), name="image")
    ahead = keras.layers.Conv2D(1, (1, 2))(keras.layers.ZeroPadding2D(((0, 0), (0, 1)))(image))
    net = keras.Model(image, ahead)
    with pytest.raises(ValueError, match=r"looks at pixel \(0, 0\), which is not drawn yet"):
        Kept(net, {"image": np.zeros((2, 4, 4, 1), "float32")}).logits(0, 0)


def test_a_net_with_other_steps_is_run_whole():
    net = small(side=4)
    image = keras.Input((4, 4, 1), name="image")
    wrapped = keras.Model(image, keras.layers.Activation("elu")(net(image)))
    given = {"image": np.zeros((2, 4, 4, 1), "float32")}
    assert isinstance(answers(wrapped, given), Whole)
    assert TASK.draw(wrapped, given, np.random.RandomState(0).rand(2, 4, 4)).shape == (2, 4, 4)


# Training


def batches(networks, task=TASK, **options):
    data = load_data("digits", limit=320)
    scale = {"image": task.preprocessing(data.columns["image"])}
    return Feed(data.train, scale, batch_size=32, draws=task.draws(networks), **options)


def train(net, *, task=TASK, precision="float32", epochs=3, **options):
    networks = {"net": net}
    settings = Train(
        epochs=epochs, batch_size=32, optimizer=Optimizer(kind="adam", learning_rate=1e-2)
    )
    machine = choose_machine(Hardware(precision=precision, strategy="one"))
    return Trainer(networks, task, settings, machine).fit(
        batches(networks, task, training=True), batches(networks, task), **options
    )


@pytest.mark.parametrize(
    "precision", ["float32", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "variant",
    [
        "gated_pixel_cnn_small",
        pytest.param("pixel_cnn", marks=pytest.mark.slow),
        pytest.param("row_lstm_small", marks=pytest.mark.slow),
        pytest.param("diagonal_bilstm", marks=pytest.mark.slow),
    ],
)
def test_trains(variant, precision):
    history = train(small(variant, seed=0), precision=precision, epochs=6)
    first, last = history.rows[0], history.rows[-1]
    assert last["nats"] < first["nats"] - 2
    assert last["val_nats"] < 42  # of 64 fair coins: 44.4
    assert last["bits_per_dimension"] == pytest.approx(last["nats"] / 64 / np.log(2), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["softmax", "mixture"])
def test_trains_levels(kind):
    task = Autoregressive(pixels=kind, levels=16, components=3)
    outputs = pixels.outputs(kind, levels=16, components=3)
    history = train(small(outputs=outputs, seed=0), task=task, epochs=6)
    fair = 64 * np.log(16)
    assert history.rows[-1]["val_nats"] < 0.75 * fair


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(tmp_path):
    def make(seed):
        return small(seed=seed)

    fit = partial(train, epochs=2)
    toy.resumed(make, fit, tmp_path / "snapshot.npz", step=14)  # in the middle of an epoch


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_autoregressive import TASK, batches, small
    from zoo.recipe import Optimizer, Train

    chosen = Optimizer(kind="sgd", learning_rate=1e-3, clip_global_norm=5.0)
    settings = Train(epochs=1, batch_size=32, optimizer=chosen)
    make = lambda: {"net": small("conditional_pixel_cnn_small", seed=0)}
    found, _ = two.trained(make, batches, TASK, settings, ("loss", "val_nats"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    weights, losses, moved = toy.printed(TWO_DEVICES)
    assert moved > 1e-3
    assert weights < 1e-6 and losses < 1e-4


# What becomes of it


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A net that is told the class."""
    changes = ["data.name=digits", "data.limit=640", "train.epochs=5", "data.augment.shift=0"]
    changes += ["data.augment.rotate=0", "train.optimizer.learning_rate=1e-2"]
    changes += ["settings.features=8", "settings.blocks=2"]
    out = tmp_path_factory.mktemp("runs") / "told"
    return fit("conditional_pixel_cnn_small", out=out, changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


def test_bundle_explains_itself(bundle):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.task == "autoregressive" and card.networks == ()
    assert card.inputs["image"] == Column("image", (8, 8, 1))
    assert card.inputs["label"] == Column("features", (10,))  # shares, no index
    assert card.outputs == {"logits": Column("image", (8, 8, 1))}
    assert card.custom_layers == ("zoo>GatedActivation",)
    assert 15 < metrics["nats"] < 28 and 0 < metrics["error"] < 1  # of 64 fair coins: 44.4
    assert metrics["bits_per_dimension"] == pytest.approx(metrics["nats"] / 64 / np.log(2))
    for picture in ("samples", "learnt", "curves"):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_the_class_is_told(bundle, run):
    """The right class makes a digit likelier than another does."""
    net = load_model(bundle.path)
    columns = run.columns(run.raw("test", 200))
    given = run.inputs(run.raw("test", 200))
    levels = TASK.levels_of(columns)
    right = TASK.nats(net(given), levels)
    other = TASK.nats(net({**given, "label": np.roll(given["label"], 1, axis=1)}), levels)
    assert float(np.mean(other)) > float(np.mean(right)) + 1


def test_pictures_are_drawn(bundle, tmp_path, zoo):
    first = generate(bundle, count=6, seed=3, label=0)
    again = generate(bundle, count=6, seed=3, label=0)
    np.testing.assert_array_equal(first, again)
    assert first.shape == (6, 8, 8, 1) and set(np.unique(first)) == {0, 255}
    assert (generate(bundle, count=6, seed=3, label=1) != first).any()
    start = load_data("digits").test["image"][:2]
    found = generate(bundle, count=6, seed=3, start=start)
    upper = found[:, :4] / 255
    assert (
        np.abs(upper[0::2] - start[:1, :4] / 255).mean()
        < 0.35
        < np.abs(upper[0::2] - 1 + start[:1, :4] / 255).mean()
    )
    assert (found[0, 4:] != found[2, 4:]).any()
    zoo("generate", bundle.path, "--count", 4, "--out", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (4 * 10 + 2, 12)


def test_mistakes_are_told_in_one_line(bundle):
    with pytest.raises(ValueError, match=r"got 12; expected a class"):
        generate(bundle, count=1, label=12)
    with pytest.raises(ValueError, match=r"^task autoregressive: got walk"):
        generate(bundle, count=1, walk=True)
    for wrong in (np.zeros((1, 8, 8, 1)), np.zeros((1, 9, 8, 1), "uint8")):
        with pytest.raises(ValueError, match=r"got .*expected"):
            generate(bundle, count=1, start=wrong)
        with pytest.raises(ValueError, match=r"^--from: got .*; expected uint8 \(n, 8, 8, 1\)"):
            TASK.generate({"net": small()}, columns={}, count=1, seed=0, start=wrong)
    told = {"net": small("conditional_pixel_cnn_small")}
    with pytest.raises(ValueError, match=r"^--class: got 3; expected a class, 0 to 2\.$"):
        TASK.generate(told, columns={}, count=1, seed=0, label=3)
    plain = {"net": small()}
    with pytest.raises(ValueError, match=r"^--class: got 3 for gated_pixel_cnn_small, which is"):
        TASK.generate(plain, columns={}, count=1, seed=0, label=3)
    with pytest.raises(ValueError, match=r"learns images; diabetes has features"):
        TASK.check(load_data("diabetes"))
    with pytest.raises(ValueError, match=r"learns grey pictures; digits has 3 channels"):
        TASK.check(load_data("digits", channels=3))
    with pytest.raises(ValueError, match=r"input_shape got \(8, 8, 3\); expected one channel"):
        create("pixel_cnn", input_shape=(8, 8, 3))
    with pytest.raises(ValueError, match=r"task\.levels: got 1; expected"):
        resolve("pixel_cnn", changes=["task.levels=1"])


def test_a_file_is_measured_by_what_it_answers(bundle, run):
    model = load_model(bundle.path)

    def answer(columns):
        return np.asarray(model(run.task.inputs({"net": model}, columns)))

    found = run.evaluate(model, "test", answer=answer)
    assert found.metrics == pytest.approx(bundle.report.metrics, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_net_keeps_its_nats(bundle, run, recipe):
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(epochs, rate=rate))

    less = compress.apply(recipe, model, samples=run.samples(128), fit=tune)
    before = run.evaluate(model, "validation").metrics["nats"]
    after = run.evaluate(less.model, "validation").metrics["nats"]
    assert after != before and after < before + 3


@pytest.mark.parametrize("target", ["onnx", pytest.param("tflite", marks=pytest.mark.slow)])
def test_net_is_exported(bundle, run, tmp_path, target):
    model = load_model(bundle.path)
    out = export.export(model, target, tmp_path / target, samples=run.samples(64))
    assert out.manifest.parity.passed and out.manifest.parity.relative < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx"])
@pytest.mark.parametrize("variant", ["pixel_cnn", "row_lstm_small", "diagonal_bilstm"])
def test_other_nets_are_exported(variant, tmp_path, target):
    net = small(variant, seed=0)
    samples = (np.random.RandomState(0).rand(32, 8, 8, 1) < 0.3).astype("float32")
    out = export.export(net, target, tmp_path / target, samples=samples)
    assert out.manifest.parity.passed and out.manifest.parity.relative < 1e-4


@pytest.mark.slow
def test_the_net_of_every_second_pixel_is_a_file_too(tmp_path, zoo):
    """It does not say how a picture becomes what it reads: not by making it smaller."""
    changes = ["data.name=digits", "data.limit=64", "train.epochs=1"]
    changes += ["settings.features=3", "settings.blocks=1", "settings.head=4"]
    path = fit("multi_scale_small", out=tmp_path / "both", changes=changes).path
    for network, known in (("coarse", False), ("net", True)):
        out = ("--out", tmp_path / network, "--json")
        (done,) = zoo("export", path, "tflite", "--network", network, *out)
        assert done["parity"]["passed"]
        (file,) = (tmp_path / network).rglob("manifest.json")
        manifest = export.Manifest.read(file.parent)
        assert bool(manifest.preprocessing) == known
    assert "expected one of coarse, net" in zoo(
        "export", path, "tflite", "--network", "a", expect=2
    )
