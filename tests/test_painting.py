"""Pictures made with networks: Gram matrices beside torch, one loop, four verbs, fast style."""

import json
import re

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from zoo import explain
from zoo.catalog import CATALOG
from zoo.data.preprocessing import Preprocessing
from zoo.explain.pictures import descent
from zoo.explain.pictures.descent import paint, sizes
from zoo.explain.pictures.ways import Blend, Descent
from zoo.losses.pictures import gram, relative, variation
from zoo.models.perception import Perception, open_perception
from zoo.stages.understand.painting import Request, style

SIDE = 48
RANDOM = np.random.RandomState(3)
HOW = Descent(steps=12)


def filled(model):
    for index, weight in enumerate(model.weights):
        spread = np.sqrt(2 / max(np.prod(weight.shape[:-1]), 1)) if len(weight.shape) > 1 else 0.05
        weight.assign(np.random.RandomState(index).normal(0, spread, weight.shape))
    return model


def classifier(channels=3, side=32):
    x = image = keras.Input((side, side, channels), name="image")
    for stage, maps in enumerate((8, 12, 16), start=1):
        x = layers.Conv2D(maps, 3, padding="same", name=f"conv{stage}")(x)
        x = layers.ReLU(name=f"relu{stage}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{stage}")(x)
    x = layers.Flatten(name="flatten")(x)
    return filled(keras.Model(image, layers.Dense(5, name="logits")(x), name="toy"))


def seen(channels=3, model=None):
    known = Preprocessing(
        size=32, channels=channels, mean=(0.4,) * channels, std=(0.25,) * channels
    )
    return Perception("toy", model or classifier(channels), known)


def blobs(seed, height=SIDE, width=SIDE, channels=3):
    small = np.random.RandomState(seed).rand(6, 6, channels).astype("float32")
    return descent.resized(small, (height, width)).clip(0, 1)


@pytest.fixture(scope="module")
def eyes():
    return seen()


@pytest.fixture(scope="module")
def toy_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "toy.keras"
    classifier().save(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("content", "look")):
        Image.fromarray((blobs(seed, 64, 80) * 255).astype("uint8")).save(folder / f"{name}.png")
    Image.fromarray((blobs(5, 60, 60, 1)[..., 0] * 255).astype("uint8")).save(folder / "grey.png")
    Image.fromarray((blobs(6, 4, 90) * 255).astype("uint8")).save(folder / "thin.png")
    (folder / "text.png").write_text("no picture")
    return folder


# What is compared


def test_gram_matrices_and_variation_by_hand():
    maps = RANDOM.rand(2, 3, 4, 5).astype("float32")
    flat = maps.reshape(2, 12, 5)
    expected = np.einsum("bpi,bpj->bij", flat, flat) / 60
    np.testing.assert_allclose(gram(maps), expected, rtol=1e-6)
    np.testing.assert_allclose(
        variation(maps),
        (np.diff(maps, axis=1) ** 2).mean((1, 2, 3)) + (np.diff(maps, axis=2) ** 2).mean((1, 2, 3)),
        rtol=1e-6,
    )
    np.testing.assert_allclose(relative(2 * maps, maps), [1, 1], rtol=1e-6)


@pytest.mark.oracle
def test_gram_matrices_and_their_slope_are_torchs():
    torch = pytest.importorskip("torch", reason="pip install -e '.[oracle]'")
    import tensorflow as tf

    torch.set_num_threads(1)
    maps = RANDOM.rand(2, 9, 7, 6).astype("float32")
    wanted = RANDOM.rand(1, 6, 6).astype("float32")
    x = torch.tensor(maps.transpose(0, 3, 1, 2).copy(), requires_grad=True)
    flat = x.reshape(2, 6, 63)
    theirs = torch.bmm(flat, flat.transpose(1, 2)) / (6 * 63)
    loss = ((theirs - torch.tensor(wanted)) ** 2).mean((1, 2)) / (wanted**2).mean()
    loss.sum().backward()
    with tf.GradientTape() as tape:
        tape.watch(ours := tf.constant(maps))
        made = gram(ours)
        total = relative(made, wanted)
    np.testing.assert_allclose(made, theirs.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(total, loss.detach().numpy(), rtol=1e-5)
    slope = x.grad.numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(tape.gradient(total, ours), slope, atol=1e-5)


# What the network sees


def test_layers_are_those_of_the_network_at_any_size(eyes):
    model, picture = classifier(), blobs(0, 32, 32)
    inner = keras.Model(model.input, model.get_layer("relu3").output)
    expected = inner((picture[None] - 0.4) / 0.25)
    found = eyes.at(["relu3"], (32, 32))(picture[None])["relu3"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert eyes.at(["relu3"], (40, 56)).output["relu3"].shape == (None, 10, 14, 16)
    one, other = (eyes.at(["conv2"], (32, 32), pooling=p)(picture[None])["conv2"]
                  for p in ("max", "average"))  # fmt: skip
    assert np.abs(one - other).max() > 0.01
    assert eyes.usual() == (("relu1", "relu2", "relu3"), "relu2")
    nested = keras.Input((32, 32, 3))
    outer = seen(model=keras.Model(nested, model(nested), name="outer"))
    again = outer.at(["toy/relu3"], (32, 32))(picture[None])["toy/relu3"]
    np.testing.assert_array_equal(again, found)


def test_a_layer_that_cannot_be_had_is_told(eyes):
    with pytest.raises(ValueError, match=r"^layer 'rela3': toy has none. Did you mean 'relu3'\?$"):
        eyes.find_layer("rela3")
    with pytest.raises(ValueError, match=r"layer 'flatten': gives .*; expected maps"):
        eyes.at(["flatten"], (32, 32))
    image = keras.Input((16, 16, 3))
    x = layers.Reshape((8, 32, 3), name="fixed")(image)
    x = layers.Conv2D(2, 3, name="late")(x)
    odd = seen(model=keras.Model(image, x, name="odd"))
    with pytest.raises(ValueError, match=r"layer 'late': cannot be had of 20 x 20 pixels: .*fixed"):
        odd.at(["late"], (20, 20))
    with pytest.raises(ValueError, match="expected a network of pictures"):
        seen(model=keras.Model(x := keras.Input((4,)), layers.Dense(2)(x)))


def test_weights_that_are_not_there_say_how_to_get_them(tmp_path, monkeypatch, zoo, photos):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="fetch it with `zoo weights get vgg16-edges`"):
        open_perception("vgg16-edges")
    line = zoo("style", photos / "content.png", photos / "look.png", expect=2)
    assert "`zoo weights get vgg16-edges`" in line and line.count("\n") == 1
    line = zoo("dream", photos / "look.png", "--network", "mobilenet_v2-imagenet", expect=2)
    assert "`zoo weights get mobilenet_v2`" in line and line.count("\n") == 1


def test_a_bundle_that_comes_with_the_zoo_looks():
    eyes = open_perception("devise_small")
    assert eyes.channels == 3 and len(eyes.layers) > 3
    with pytest.raises(ValueError, match="expected a network of pictures alone"):
        open_perception("char_gru")


def test_convolutions_out_of_a_file(tmp_path, monkeypatch):
    """The first kernel's channels are turned; every layer is filled, in order."""
    import h5py

    from zoo import weights
    from zoo.weights import convolutions, fetch

    row, path = weights.CONVOLUTIONS[0], tmp_path / "some.h5"
    monkeypatch.setitem(CATALOG, "vgg16", CATALOG["vgg16"]._replace(settings={"convs": [1] * 5}))
    monkeypatch.setattr(fetch, "cached", lambda row: path)
    before = (3, 64, 128, 256, 512)
    with h5py.File(path, "w") as file:
        for stage, (given, maps) in enumerate(zip(before, (*before[1:], 512), strict=True), 1):
            place = f"block{stage}/layers/conv2d/vars"
            kernel = RANDOM.rand(3, 3, given, maps).astype("float32")
            file[f"{place}/0"], file[f"{place}/1"] = kernel, np.full(maps, stage, "float32")
    model = convolutions.load_convolutions(row)
    with h5py.File(path) as file:
        first = np.asarray(file["block1/layers/conv2d/vars/0"])
    np.testing.assert_array_equal(model.get_layer("stage1_conv1").kernel, first[:, :, ::-1])
    assert (np.asarray(model.get_layer("stage5_conv1").bias) == 5).all()


# The loop


def bowl(size):
    """A loss whose least is known."""
    target = np.linspace(0.2, 0.8, 3 * size[0] * size[1]).reshape(1, *size, 3).astype("float32")
    return target, lambda x: {"bowl": ((x - target) ** 2)}


@pytest.mark.parametrize(
    ("how", "near"),
    [
        (Descent(steps=20), 1e-4),
        (Descent(steps=150, optimizer="adam", rate=0.05), 0.02),
        (Descent(steps=200, optimizer="gradient", rate=0.005), 0.05),
    ],
    ids=lambda value: getattr(value, "optimizer", ""),
)
def test_every_way_finds_the_bottom(how, near):
    start = np.full((8, 8, 3), 0.5, "float32")
    made = paint(start, lambda size: bowl(size)[1], how)
    assert np.abs(made.picture - bowl((8, 8))[0][0]).max() < near
    assert made.losses[-1] < 1e-2 * made.losses[0]
    if how.optimizer == "lbfgs":
        assert (np.diff(made.losses) <= 0).all()


def test_octaves_add_what_the_smaller_one_has_won():
    how = Descent(steps=3, octaves=3)
    assert sizes((96, 130), how) == [(48, 65), (96, 130)]  # the third would be below 32
    assert sizes((20, 20), how) == [(20, 20)]
    seen_sizes, steps = [], []

    def loss_at(size):
        seen_sizes.append(size)
        return bowl(size)[1]

    paint(blobs(0, 64, 64), loss_at, how, watch=lambda stage: steps.append(stage.step))
    assert seen_sizes == [(32, 32), (64, 64)]
    assert steps == sorted(set(steps)) and steps[0] == 1
    with pytest.raises(ValueError, match="Descent: got 0 steps"):
        paint(blobs(0), loss_at, Descent(steps=0))


def test_the_slope_of_a_style_is_that_of_differences(eyes):
    """By finite differences, of a network whose ReLUs are not at their corners."""
    import tensorflow as tf

    net = eyes.at(["conv1", "conv2"], (6, 6))
    wanted = {path: gram(net(blobs(1, 6, 6)[None])[path]) for path in ("conv1", "conv2")}

    def loss(flat):
        x = tf.constant(flat.reshape(1, 6, 6, 3).astype("float32"))
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.add_n([relative(gram(net(x)[p]), wanted[p])[0] for p in wanted])
        return total, tape.gradient(total, x).numpy().ravel()

    x = blobs(2, 6, 6).ravel().astype(float)
    slope = loss(x)[1].astype(float)
    for seed in range(3):
        way = np.random.RandomState(seed).normal(size=x.shape)
        way /= np.linalg.norm(way)
        rise = float(loss(x + 1e-3 * way)[0]) - float(loss(x - 1e-3 * way)[0])
        assert abs(rise / 2e-3 - slope @ way) < 0.02 * np.linalg.norm(slope)


# The four kinds


def test_a_linear_layer_is_inverted_exactly():
    image = keras.Input((8, 8, 3), name="image")
    model = keras.Model(image, layers.Conv2D(6, 1, name="mixed")(image), name="linear")
    eyes = seen(model=filled(model))
    picture = 0.3 + 0.4 * blobs(4, 8, 8)
    made = explain.invert(
        eyes, picture, "mixed", norm_weight=0, variation_weight=0, how=Descent(steps=80)
    )
    assert np.abs(made.picture - picture).max() < 0.01
    assert made.losses[-1] < 1e-5


def test_inversion_comes_near_and_is_seeded(eyes):
    picture = blobs(4)
    one, again, other = (
        explain.invert(eyes, picture, "relu1", how=HOW._replace(seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.picture, again.picture)
    assert np.abs(one.picture - other.picture).max() > 1e-3
    assert one.losses[-1] < 0.3 * one.losses[0]
    assert set(one.terms) == {"layer", "norm", "variation"}


def test_texture_has_the_gram_matrices(eyes):
    made = explain.texture(eyes, blobs(1), how=Descent(steps=30))
    assert made.losses[-1] < 0.1 * made.losses[0] and (np.diff(made.losses) <= 0).all()
    wide = explain.texture(eyes, blobs(1), size=(40, 64), how=Descent(steps=2))
    assert wide.picture.shape == (40, 64, 3)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_style_falls_and_content_stays(eyes, optimizer):
    content, look = blobs(0), blobs(1, 40, 60)
    how = Descent(steps=15, optimizer=optimizer, octaves=1)
    made = explain.style(eyes, content, look, how=how)
    assert made.losses[-1] < 0.6 * made.losses[0]
    assert set(made.terms) == {"content", "style", "variation"}
    assert sum(made.terms.values()) == pytest.approx(made.losses[-1], rel=1e-3)
    faithful = explain.style(eyes, content, look, blend=Blend(content=1e3), how=how)
    assert np.abs(faithful.picture - content).mean() < np.abs(made.picture - content).mean()
    again = explain.style(eyes, content, look, how=how)
    np.testing.assert_array_equal(again.picture, made.picture)


def test_a_dream_climbs(eyes):
    made = explain.dream(eyes, blobs(0), ["relu3", "relu2"])
    assert made.losses[-1] < 1.2 * made.losses[0] < 0
    assert set(made.terms) == {"relu3", "relu2"}
    still = explain.dream(
        eyes, blobs(0), ["relu3"], how=Descent(steps=3, optimizer="gradient", jitter=0, seed=1)
    )
    other = explain.dream(
        eyes, blobs(0), ["relu3"], how=Descent(steps=3, optimizer="gradient", jitter=0, seed=2)
    )
    np.testing.assert_array_equal(still.picture, other.picture)  # nothing else is drawn


# The verbs


def test_verbs_write_and_repeat(toy_file, photos, tmp_path, zoo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ["--network", toy_file, "--values", "0..1", "--size", 40, "--steps", 2]
    calls = {
        "style": [photos / "content.png", photos / "look.png", "--every", 1],
        "dream": [photos / "content.png", "--layers", "relu2"],
        "texture": [photos / "look.png"],
        "invert": [photos / "grey.png", "--layer", "relu1"],
    }
    names = {"style": "content-look", "dream": "content-dream", "texture": "look-texture",
             "invert": "grey-invert"}  # fmt: skip
    for verb, arguments in calls.items():
        found = zoo(verb, *arguments, *common, "--json")
        assert found["file"] == f"{names[verb]}.png" and max(found["width"], found["height"]) == 40
        assert found["loss"] < found["loss at the start"]
        first = (tmp_path / found["file"]).read_bytes()
        assert "exists; choose another name" in zoo(verb, *arguments, *common, expect=2)
        told = zoo(verb, *arguments, *common, "--force")
        assert "layers" in told and "loss" in told
        assert (tmp_path / found["file"]).read_bytes() == first
        if verb == "style":
            assert found["on the way"] == ["content-look-0001.png", "content-look-0002.png"]
            assert (tmp_path / "content-look-0001.png").read_bytes() != first


def test_what_is_refused_is_one_line(toy_file, photos, tmp_path, zoo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, look = photos / "content.png", photos / "look.png"

    def told(*arguments, network=toy_file):
        line = zoo(*arguments, "--network", network, "--steps", 1, expect=2)
        assert sum("zoo " in one for one in line.splitlines()) == 1 and "Traceback" not in line
        return line

    assert "not a picture" in told("style", content, photos / "text.png")
    assert "no such picture, nor a bundle of fast_style" in told("style", content, "nothing.png")
    assert "which has learnt no manner" in told("style", content, "lenet5")
    assert "thin.png: 90 x 4 pixels" in told("style", content, photos / "thin.png")
    assert "expected sides of 32 or more" in told("texture", photos / "thin.png")
    assert "Did you mean 'relu2'?" in told("invert", look, "--layer", "relu22")
    assert "Did you mean 'relu1'?" in told("dream", look, "--layers", "relu11")
    assert "Did you mean 'relu3'?" in told("style", content, look, "--layers", "rrelu3")
    line = told("style", content, look, "--size", 90000)
    assert re.search(r"the maps of toy take about \d+ GB; this machine has \d+ GB\. Take \d+", line)
    assert "is what is read" in told("dream", look, "--out", look, "--force")
    assert "expected a file that ends in .png" in told("dream", look, "--out", "a.jpg")
    assert "no trained model of that name" in told("dream", look, network="lenet55")
    assert "expected a range" in told("dream", look, "--values", "0..2")
    line = told("texture", look, "--rate", 0.1)
    assert "--rate: got 0.1 for lbfgs" in line and "--optimizer adam or gradient" in line
    assert "--rate" in told("dream", look, "--optimizer", "lbfgs", "--rate", 0.1)


def test_grey_is_said_and_a_grey_network_paints_grey(toy_file, photos, tmp_path, caplog):
    request = Request(toy_file, values="0..1", size=40, how=Descent(steps=1))
    caplog.set_level("INFO", "zoo")
    style(photos / "grey.png", photos / "look.png", request=request)
    assert "grey.png: is grey; red, green and blue are alike" in caplog.text
    assert "look.png: 80 x 64 pixels, brought to 40 x 32" in caplog.text
    grey = request._replace(network=classifier(channels=1))
    made = style(photos / "content.png", photos / "look.png", request=grey)
    assert made.pixels.shape == (32, 40, 3) and (made.pixels == made.pixels[..., :1]).all()


def test_the_catalogue_tells_weights_without_a_head(zoo):
    rows = {(row["model"], row["name"]): row for row in zoo("weights", "list", "--json")}
    assert rows["vgg16", "edges"]["top1"] is None
    assert json.dumps(rows["vgg16", "edges"])
