"""ESPCN: its shuffle, its degradations and its figures against others; tiles; and its way out."""

import csv
import json
from functools import partial
from urllib.request import Request, urlopen

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import compress
import zoo as package
from serving import Server
from tests import toy
from zoo.catalog import CATALOG
from zoo.common.columns import Column
from zoo.data.degradation import shrinking
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.data.sets.photographs import NAMES, PHOTOGRAPHS, read, tiles
from zoo.metrics.fidelity import psnr, ssim
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.stages.enhance import MOST, enhance, enlarge, reach
from zoo.tasks.super_resolution import SuperResolution, bicubic, scale_of
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

TASK = SuperResolution()
BLUR = SuperResolution(degradation="blur", sigma=1.2)
SIDE = 96


def small(seed=0, scale=3, side=SIDE):
    keras.utils.set_random_seed(seed)
    return {"net": create("espcn3", input_shape=(side, side, 1), scale=scale)}


@pytest.fixture(scope="module")
def data():
    return load_data("photographs", size=SIDE, limit=32)


def batches(networks, data=None, **options):
    data = data or load_data("photographs", size=SIDE, limit=32)
    scale = {"image": TASK.preprocessing(data.columns["image"])}
    split = data.train if options.get("training") else data.validation[:4]
    return Feed(split, scale, batch_size=8, draws=TASK.draws(networks), **options)


def train(networks, data, *, epochs=3, **options):
    settings = Train(epochs=epochs, optimizer=Optimizer(kind="adam", learning_rate=2e-3))
    machine = choose_machine(Hardware(precision="float32", strategy="one"))
    feeds = batches(networks, data, training=True), batches(networks, data)
    return Trainer(networks, TASK, settings, machine).fit(*feeds, **options)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    changes = [f"data.size={SIDE}", "data.limit=240", "train.epochs=3"]
    changes += ["train.optimizer.learning_rate=3e-3"]
    return fit("espcn3", out=tmp_path_factory.mktemp("runs") / "espcn3", changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


# The network


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters_are_those_counted_by_hand(scale):
    convs = [(5, 1, 64), (3, 64, 32), (3, 32, scale**2)]
    counted = sum(k * k * before * after + after for k, before, after in convs)
    assert counted == CATALOG[f"espcn{scale}"].parameters
    net = create(f"espcn{scale}")
    assert net.count_params() == counted
    assert net.input_shape == (None, 17, 17, 1) and scale_of(net) == scale
    assert net.output_shape == (None, 17 * scale, 17 * scale, 1) and reach(net) == 4


@pytest.mark.oracle
@pytest.mark.parametrize(("scale", "channels"), [(2, 1), (3, 1), (4, 1), (3, 2)])
def test_shuffle_equals_depth_to_space(scale, channels):
    net = create("espcn3", input_shape=(36, 48, channels), scale=scale)
    before = keras.Model(net.input, net.get_layer("pixels").output)
    image = np.random.RandomState(0).rand(2, 36 // scale, 48 // scale, channels).astype("f4")
    expected = tf.nn.depth_to_space(before(image), scale)
    np.testing.assert_array_equal(net(image), expected)
    assert float(tf.math.reduce_std(expected)) > 0.01


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"multiples of the scale. Take data.size=99"):
        create("espcn3", input_shape=(100, 100, 1))
    with pytest.raises(ValueError, match=r"expected pictures, made a whole number of times larger"):
        scale_of(create("lenet5"))


# The degradations


def photograph():
    return read("astronaut")[:240, :240]


@pytest.mark.oracle
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_equals_pillow(scale):
    true = photograph()
    expected = bicubic(true[None], (240 // scale, 240 // scale))[0]
    made = 255 * np.asarray(TASK.degraded(true[None, ..., None] / 255, scale))[0, ..., 0]
    np.testing.assert_allclose(made, made.round(), atol=1e-4)
    assert np.abs(made - expected).max() < 1.01
    assert np.mean(np.abs(made - expected) > 0.5) < 1e-3  # sums that end in a half


@pytest.mark.oracle
@pytest.mark.parametrize("scale", [3, 5])
def test_blur_equals_scipys(scale):
    """Of odd scales, the middle of a block is a pixel; away from the edges."""
    true = photograph()
    blurred = gaussian_filter(true.astype("f8"), 1.2, truncate=8)[scale // 2 :: scale]
    blurred = blurred[:, scale // 2 :: scale]
    made = 255 * np.asarray(BLUR.degraded(true[None, ..., None] / 255, scale))[0, ..., 0]
    inside = np.s_[4:-4, 4:-4]
    assert np.abs(made[inside] - blurred[inside]).max() < 0.51


@pytest.mark.parametrize("kind", ["bicubic", "blur"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_nothing_shifts_and_nothing_is_lost(kind, scale):
    matrix = shrinking(48, scale, kind, 1.0)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(matrix[::-1, ::-1], matrix, atol=1e-7)  # a mirror image's is one
    with pytest.raises(ValueError, match="expected a multiple of 7"):
        shrinking(48, 7, kind, 1.0)


# The figures


@pytest.mark.oracle
def test_figures_equal_scikit_images():
    random = np.random.RandomState(0)
    true = photograph()[None, :100, :120]
    noisy = (true + random.normal(size=true.shape) * 12).clip(0, 255).round().astype(np.uint8)
    error = np.square(noisy.astype("f8") - true).mean()
    theirs = peak_signal_noise_ratio(true[0], noisy[0], data_range=255)
    assert psnr(error) == pytest.approx(theirs, rel=1e-9)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    theirs = structural_similarity(true[0], noisy[0], data_range=255, **options)
    assert ssim(true, noisy)[0] == pytest.approx(theirs, abs=1e-6) and theirs < 0.9
    with pytest.raises(ValueError, match="sides of 11 or more"):
        ssim(true[:, :10], noisy[:, :10])
    assert psnr(0.0) == float("inf")


@pytest.mark.oracle
def test_meter_equals_a_measurement_by_hand(data):
    columns = data.test[:5].columns
    random = np.random.RandomState(0)
    true = columns["image"][..., 0]
    made = (true / 255 + random.normal(size=true.shape) * 0.05)[..., None].astype("f4")
    low = np.asarray(TASK.degraded(columns["image"] / 255, 3))
    meter = TASK.meter(data.columns)
    for part in (np.s_[:2], np.s_[2:]):
        batch = {"image": (columns["image"] / 255)[part], "label": columns["label"][part]}
        meter.add(batch, {"enhanced": made[part], "small": low[part]})
    found = meter.result()
    inside = np.s_[:, 16:-16, 16:-16]
    levels = (255 * made[..., 0].clip(0, 1)).round()
    error = np.square(levels[inside] - true[inside]).mean()
    assert len(set(columns["label"].tolist())) == 1  # the first tiles are of one photograph
    assert found.metrics["psnr"] == pytest.approx(10 * np.log10(255**2 / error), rel=1e-6)
    up = bicubic((255 * low[..., 0]).round().astype(np.uint8), (SIDE, SIDE))
    error = np.square(up[inside].astype("f8") - true[inside]).mean()
    assert found.metrics["psnr_bicubic"] == pytest.approx(10 * np.log10(255**2 / error), rel=1e-6)
    gain = found.metrics["psnr"] - found.metrics["psnr_bicubic"]
    assert found.metrics["gain"] == pytest.approx(gain)
    (row,) = found.tables["photographs"]
    assert row["photograph"] == "astronaut" and row["tiles"] == 5
    alone = TASK.meter(data.columns)  # a file's outputs, of pixels as they are
    alone.add(columns, made)
    metrics = alone.result().metrics
    assert metrics == {name: pytest.approx(found.metrics[name]) for name in metrics}
    assert set(metrics) == {"loss", "psnr", "ssim"}


# The data


def test_photographs_are_in_one_split(data):
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    for name, split in splits.items():
        seen = {NAMES[label] for label in split["label"]}
        assert seen == set(PHOTOGRAPHS[name])  # in a prefix of 32 all of them are
    assert sum(map(len, PHOTOGRAPHS.values())) == len(set(NAMES)) == 14
    assert data.columns["image"] == Column("image", (SIDE, SIDE, 1)) and data.mirror
    for size in (90, 100, 300):
        with pytest.raises(ValueError, match=rf"got {size}; expected a multiple of 12 from 96"):
            load_data("photographs", size=size)


def test_tiles_cover_a_picture():
    picture = np.arange(200 * 130).reshape(200, 130)
    cut = list(tiles(picture, 96, 64))
    assert {tile.shape for tile in cut} == {(96, 96)} and len(cut) == 3 * 2
    assert set(np.concatenate(cut, axis=None).tolist()) == set(range(200 * 130))
    assert list(tiles(picture[:90], 96, 64)) == []


def test_a_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr("zoo.data.sets.carried.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-image"):
        load_data("photographs")


# Training


def test_resumed_run_equals_a_whole_one(data, tmp_path):
    fit = partial(train, data=data, epochs=2)
    toy.resumed(small, fit, tmp_path / "snapshot.npz", step=6)  # in the middle of an epoch


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_super_resolution import TASK, batches, small
    from zoo.recipe import Optimizer, Train

    settings = Train(epochs=2, optimizer=Optimizer(kind="sgd", learning_rate=0.1))
    found, _ = two.trained(small, batches, TASK, settings, ("loss", "val_loss"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    weights, losses, moved = toy.printed(TWO_DEVICES)
    assert moved > 1e-3
    assert weights < 1e-6 and losses < 1e-6


# What becomes of it


def test_bundle_explains_itself(bundle, run):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.task == "super_resolution" and card.networks == ()
    assert card.inputs == {"image": Column("image", (32, 32, 1))}
    assert card.outputs == {"enhanced": Column("image", (SIDE, SIDE, 1))}
    assert metrics["gain"] == pytest.approx(metrics["psnr"] - metrics["psnr_bicubic"])
    assert 20 < metrics["psnr_bicubic"] < 30 and 0.5 < metrics["ssim"] < 1
    assert [row["photograph"] for row in bundle.report.tables["photographs"]] == list(
        PHOTOGRAPHS["test"]
    )
    assert (bundle.path / "enhanced.png").read_bytes().startswith(b"\x89PNG")
    again = run.evaluate(load_model(bundle.path), "test").metrics
    assert again == pytest.approx(metrics, rel=1e-5)
    with (bundle.path / "history.csv").open(newline="") as file:
        losses = [(float(row["loss"]), float(row["val_loss"])) for row in csv.DictReader(file)]
    assert len(losses) == 3
    assert losses[-1][0] < 0.5 * losses[0][0] and losses[-1][1] < losses[0][1]


def test_integers_keep_the_figure(bundle, run, tmp_path):
    model = load_model(bundle.path)
    small = compress.apply("int8", model, samples=run.samples(64))
    before = bundle.report.metrics["psnr"]
    assert run.evaluate(small.model, "test").metrics["psnr"] > 0.97 * before


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("tflite", marks=pytest.mark.slow),
        "onnx",
        pytest.param("tflite-int8", marks=pytest.mark.slow),
    ],
)
def test_deployed_model_is_exported(bundle, tmp_path, zoo, target):
    (done,) = zoo("export", bundle.path, target, "--out", tmp_path, "--json")
    assert done["parity"]["passed"]
    assert done["preprocessing"]["size"] == 32  # what the file reads, not what it learnt from
    found = zoo("evaluate", bundle.path, "--file", tmp_path / f"espcn3-{target}", "--json")[
        "metrics"
    ]
    worst = 0.97 if target == "tflite-int8" else 0.9999
    assert found["psnr"] > worst * bundle.report.metrics["psnr"]
    assert found["psnr_bicubic"] == pytest.approx(bundle.report.metrics["psnr_bicubic"])
    told = zoo("export", bundle.path, "onnx", "--pixels", "--out", tmp_path / "p", expect=2)
    assert "the model reads (32, 32, 1), and was trained on pictures of" in told


def test_what_is_served_is_what_the_model_answers(bundle, run, tmp_path):
    (done,) = package.export(bundle.path, "onnx", out=tmp_path)
    small = run.samples(1)
    with Server(done.path, port=0) as server:
        body = json.dumps({"instances": small.tolist()}).encode()
        request = Request(f"{server.url}:predict", body, {"Content-Type": "application/json"})
        answer = json.load(urlopen(request))["predictions"]
    expected = load_model(bundle.path)(small)
    np.testing.assert_allclose(answer, expected, atol=1e-5)


# Photographs of any size


def filled(side):
    """A network whose answer depends on all that it sees."""
    net = create("espcn3", input_shape=(side, side, 1))
    for index, weight in enumerate(net.weights):
        weight.assign(np.random.RandomState(index).normal(size=weight.shape) * 0.2)
    return net


@pytest.mark.parametrize("shape", [(100, 61), (24, 24), (25, 7), (3, 50), (1, 1)])
def test_tiles_make_what_the_whole_picture_does(shape):
    values = np.random.RandomState(0).rand(*shape).astype("f4")
    made = enlarge(filled(96), values)
    height, width = shape
    side = max(36, 3 * (max(shape) + 8))
    net = filled(side)
    room = side // 3
    frame = ((4, room - height - 4), (4, room - width - 4))
    answer = net(np.pad(values, frame, mode="symmetric")[None, ..., None]).numpy()[0, ..., 0]
    expected = answer[12 : 12 + 3 * height, 12 : 12 + 3 * width]
    assert made.shape == (3 * height, 3 * width)
    np.testing.assert_allclose(made, expected, atol=2e-5)
    assert made.std() > 1e-3 or shape == (1, 1)


@pytest.mark.parametrize("change", ["winograd", "int8"])
def test_tiles_of_a_compressed_network_see_as_much(change):
    net, values = filled(96), np.random.RandomState(0).rand(60, 61).astype("f4")
    if change == "winograd":
        less = compress.Winograd(tile=2).apply(net)[0]
    else:
        samples = np.random.RandomState(1).rand(8, 32, 32, 1).astype("f4")
        less = compress.apply("int8", net, samples=samples).model
    assert less is not net and reach(less) == reach(net) == 4
    # Of a part of the picture, seams would lie elsewhere; its upper edge is another.
    whole, part = enlarge(less, values), enlarge(less, values[7:])
    made, expected = part[12:], whole[33:]
    assert np.mean(np.abs(made - expected) > 0.01 * np.ptp(expected)) < 1e-3


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (keras.layers.Conv2D(1, 3, 2, name="wide"), r"wide \(Conv2D\) has strides of \(2, 2\)"),
        (keras.layers.MaxPooling2D(2, name="most"), "most .* has a reach that is not known"),
        (keras.layers.Conv2DTranspose(1, 3, name="back"), "back .* has a reach that is not known"),
    ],
)
def test_a_reach_that_is_not_known_is_told(layer, told):
    image = keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match=rf"^net: its layer {told}; expected convolutions"):
        reach(keras.Model(image, layer(image), name="net"))


def test_a_tile_that_sees_nothing_whole_is_refused():
    net = create("espcn2", input_shape=(24, 24, 1), scale=3)
    with pytest.raises(ValueError, match="reads 8 x 8 pixels, and one of its answer sees 9"):
        enlarge(net, np.zeros((20, 20), "f4"))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    colours = np.random.RandomState(0).randint(0, 255, (5, 4, 3)).astype(np.uint8)
    Image.fromarray(colours).resize((50, 70), Image.Resampling.BICUBIC).save(path)
    return path


def test_verb_writes_both_pictures(bundle, photo, tmp_path, zoo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = zoo("enhance", bundle.path, photo)
    assert out.splitlines() == [
        "photo-espcn3.png: 150 x 210 pixels",
        "photo-espcn3-bicubic.png: the same, bicubic",
    ]
    one, other = (np.asarray(Image.open(f"photo-espcn3{end}.png")) for end in ("", "-bicubic"))
    assert one.shape == other.shape == (210, 150, 3)
    assert 0.5 < np.abs(one.astype(int) - other).mean() < 25
    colours = [np.asarray(Image.fromarray(x).convert("YCbCr"))[..., 1:] for x in (one, other)]
    assert np.abs(colours[0].astype(int) - colours[1]).mean() < 3  # by the same interpolation
    assert "exists; choose another name" in zoo("enhance", bundle.path, photo, expect=2)
    found = zoo("enhance", bundle.path, photo, "--force", "--json")
    assert found["scale"] == 3 and found["width"] == 150


def test_pictures_of_every_kind(bundle, photo, tmp_path):
    image = Image.open(photo)
    grey = image.convert("L")
    grey.save(tmp_path / "grey.png")
    deep = np.asarray(grey).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    one, other = (enhance(bundle, tmp_path / name) for name in ("grey.png", "deep.png"))
    assert one.pixels.shape == one.bicubic.shape == (210, 150, 1)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    glass = image.convert("RGBA")
    glass.putalpha(0)
    glass.save(tmp_path / "glass.png")
    assert (enhance(bundle, tmp_path / "glass.png").bicubic == 255).all()
    turned = image.getexif()
    turned[274] = 6  # lies on its side
    image.save(tmp_path / "turned.png", exif=turned)
    assert enhance(bundle, tmp_path / "turned.png").pixels.shape == (150, 210, 3)
    image.crop((0, 0, 1, 2)).save(tmp_path / "tiny.png")
    assert enhance(bundle, tmp_path / "tiny.png").pixels.shape == (6, 3, 3)


def test_what_is_refused_is_one_line(bundle, photo, tmp_path, zoo, monkeypatch):
    def told(*arguments):
        line = zoo("enhance", *arguments, expect=2)
        assert line.count("\n") == 1
        return line

    assert "no such file" in told(bundle.path, tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    assert "is a folder; expected a picture file" in told(bundle.path, tmp_path)
    with pytest.raises(ValueError, match="got ndarray; expected the path of a picture file"):
        enhance(bundle.path, np.zeros((8, 8, 3), np.uint8))
    assert "not a picture" in told(bundle.path, tmp_path / "text.png", "--out", tmp_path / "a.png")
    assert "expected a file that ends in .png" in told(bundle.path, photo, "--out", "a.jpg")
    assert "is what is read" in told(bundle.path, photo, "--out", photo, "--force")
    assert "which makes no picture larger" in told("lenet5", photo, "--out", tmp_path / "b.png")
    side = int((MOST / 9) ** 0.5) + 1
    Image.new("L", (side, side)).save(tmp_path / "huge.png")
    assert f"{side} x {side} pixels would become" in told(
        bundle.path, tmp_path / "huge.png", "--out", tmp_path / "c.png"
    )
    told = zoo("predict", bundle.path, tmp_path / "none.png", expect=2)
    assert "which has no answer for a file" in told and "`zoo enhance` asks it." in told


def test_other_data_are_refused():
    with pytest.raises(ValueError, match="learns luminance; cifar has 3 channels"):
        TASK.check(FakeData("cifar", Column("image", (96, 96, 3))))
    with pytest.raises(ValueError, match="got 16 for pictures of 28 x 28 pixels"):
        TASK.check(load_data("mnist5k"))
    with pytest.raises(ValueError, match="learns images; diabetes has features"):
        TASK.check(load_data("diabetes"))


class FakeData:
    input = "image"

    def __init__(self, name, column):
        self.name, self.columns = name, {"image": column}
