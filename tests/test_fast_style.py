"""Fast style transfer: its network, its judge, its training, and its way out."""

from functools import partial

import keras
import numpy as np
import pytest
from PIL import Image

import compress
import zoo as package
from tests import toy
from tests.test_painting import blobs
from zoo.catalog import CATALOG
from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.data.sets.photographs import GREY, NAMES, PHOTOGRAPHS, read
from zoo.models import create
from zoo.models.perception import open_perception
from zoo.models.saved import load_model
from zoo.recipe import Hardware, Optimizer, Train
from zoo.stages.understand.styled import paint_fast
from zoo.tasks.fast_style import FastStyle
from zoo.tasks.judged_pictures import VGG, VGG_CONTENT
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

SIDE = 32
TINY = {"filters": (6, 8, 8), "blocks": 1}
EYES, PATHS = "locator", ("level1_conv2_relu", "level2_conv2_relu")  # one that comes with the zoo
LAYERS = {"network": EYES, "style_layers": PATHS, "content_layer": PATHS[1]}


@pytest.fixture(scope="module")
def look(tmp_path_factory):
    path = tmp_path_factory.mktemp("look") / "look.png"
    Image.fromarray((blobs(9, 40, 40) * 255).astype("uint8")).save(path)
    return path


def task_of(look):
    return FastStyle(style=str(look), style_size=40, **LAYERS)


def made_data(num=16):
    def split(seed, count):
        pictures = [blobs(100 * seed + index, SIDE, SIDE) for index in range(count)]
        return Split({"image": (np.stack(pictures) * 255).astype("uint8")})

    columns = {"image": Column("image", (SIDE, SIDE, 3))}
    return DataSet("blobs", "made", columns, split(1, num), split(2, 4), split(3, 5), mirror=True)


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return {"net": create("fast_style", input_shape=(SIDE, SIDE, 3), **TINY)}


def batches(networks, data=None, task=None, **options):
    data, task = data or made_data(), task or task_of(TEXTURE)
    scale = {"image": task.preprocessing(data.columns["image"])}
    split = data.train if options.get("training") else data.validation
    return Feed(split, scale, batch_size=4, draws=task.draws(networks), **options)


TEXTURE = "ihc"  # of the program of two devices, which has no fixtures


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, look):
    changes = [f"task.style={look}", "task.style_size=40", f"task.network={EYES}"]
    changes += [f"task.style_layers=[{', '.join(PATHS)}]", f"task.content_layer={PATHS[1]}"]
    changes += ["train.epochs=6", "train.batch_size=4", "train.optimizer.learning_rate=0.01"]
    changes += ["settings.filters=[6, 8, 8]", "settings.blocks=1"]
    out = tmp_path_factory.mktemp("runs") / "fast"
    return fit("fast_style", data=made_data(), out=out, changes=changes)


# The network


@pytest.mark.parametrize("name", ["fast_style", "fast_style_small"])
def test_parameters_are_those_counted_by_hand(name):
    row = CATALOG[name]
    f1, f2, f3 = row.settings.get("filters", (32, 64, 128))
    blocks = row.settings.get("blocks", 5)
    convolutions = [(81 * 3, f1), (9 * f1, f2), (9 * f2, f3), *[(9 * f3, f3)] * (2 * blocks)]
    convolutions += [(9 * f3, f2), (9 * f2, f1)]
    total = sum((each + 1) * maps + 2 * maps for each, maps in convolutions) + (81 * f1 + 1) * 3
    assert total == row.parameters


def test_sides_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="expected sides that are multiples of 4"):
        create("fast_style", input_shape=(30, 32, 3))


# The judge


def test_errors_by_hand(look):
    task, eyes = task_of(look), open_perception(EYES)
    images, made = blobs(1, SIDE, SIDE)[None], blobs(2, SIDE, SIDE)[None]
    manner = np.asarray(Image.open(look), np.float32)[None] / 255
    paths = list(PATHS)
    found = {key: np.asarray(value) for key, value in task.errors(images, made).items()}
    one, other = (eyes.at(paths, (SIDE, SIDE))(x) for x in (images, made))
    wanted = eyes.at(paths, (40, 40))(manner)
    style = []
    for path in paths:
        flat = [np.asarray(x[path])[0].reshape(-1, x[path].shape[-1]) for x in (other, wanted)]
        ours, theirs = (x.T @ x / x.size for x in flat)
        style.append(((ours - theirs) ** 2).mean() / (theirs**2).mean())
    assert found["style"] == pytest.approx([np.mean(style)], rel=1e-4)
    error = np.square(other[PATHS[1]] - one[PATHS[1]]).mean() / np.square(wanted[PATHS[1]]).mean()
    assert found["content"] == pytest.approx([error], rel=1e-4)
    expected = found["content"] + 5 * found["style"] + 10 * found["variation"]
    assert task.weighed(found) == pytest.approx(expected)
    assert np.abs(task.errors(images, images)["content"]).max() == 0


def test_vggs_layers_are_the_papers():
    assert VGG == ("stage1_conv2_relu", "stage2_conv2_relu", "stage3_conv3_relu",
                   "stage4_conv3_relu")  # fmt: skip
    assert VGG_CONTENT == "stage3_conv3_relu"


def test_what_cannot_be_learnt_is_told(look, tmp_path, monkeypatch, zoo):
    (tmp_path / "text.png").write_text("no picture")
    data = made_data()
    with pytest.raises(ValueError, match="not a picture"):
        task_of(tmp_path / "text.png").check(data)
    with pytest.raises(FileNotFoundError, match="no such file"):
        task_of(tmp_path / "none.png").sizes(data)
    Image.new("RGB", (100, 4)).save(tmp_path / "thin.png")
    with pytest.raises(ValueError, match=r"task.style: .*100 x 4 pixels, 40 x 2"):
        task_of(tmp_path / "thin.png").check(data)
    with pytest.raises(ValueError, match="Did you mean 'box_conv_relu'"):
        FastStyle(style=str(look), network=EYES, style_layers=("box_conv_relo",)).check(data)
    with pytest.raises(ValueError, match=r"sees 3 channels; .* have 1. Write data.channels=3"):
        task_of(look).check(load_data("mnist5k", size=32))
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    FastStyle(style=str(look)).check(data)  # what is exported needs no judge
    line = zoo("train", "fast_style_small", "--style", look, "--out", tmp_path / "run", expect=2)
    assert "`zoo weights get vgg16-edges`" in line
    told = zoo("train", "fast_style", "--style", "a: b.jpg", "--dry-run", "--json")
    assert told["task"]["style"] == "a: b.jpg"
    assert "task.style" in zoo("train", "lenet5", "--style", "a.jpg", "--dry-run", expect=2)


# Photographs in colour


def test_colour_photographs():
    data = load_data("colour_photographs", size=192, limit=20)
    assert data.columns["image"].shape == (192, 192, 3) and len(data.train) == 20
    names = data.columns["label"].names
    assert set(names) == set(NAMES) - set(GREY) and len(names) == 10
    for name, split in zip(PHOTOGRAPHS, (data.train, data.validation, data.test), strict=True):
        assert {names[label] for label in split["label"]} <= set(PHOTOGRAPHS[name])
    grey = [read(name, channels=3) for name in GREY]
    assert all((picture == picture[..., :1]).all() for picture in grey)
    assert not (data.train["image"] == data.train["image"][..., :1]).all()
    with pytest.raises(ValueError, match=r"got 98; expected a multiple of 4 .* e.g. 256"):
        load_data("colour_photographs", size=98)


# Training


def train(networks, look, *, epochs=3, **options):
    settings = Train(epochs=epochs, optimizer=Optimizer(kind="adam", learning_rate=0.01))
    machine = choose_machine(Hardware(precision="float32", strategy="one"))
    task, data = task_of(look), made_data()
    task.check(data)
    feeds = batches(networks, data, task, training=True), batches(networks, data, task)
    return Trainer(networks, task, settings, machine).fit(*feeds, **options)


def test_resumed_run_equals_a_whole_one(look, tmp_path):
    fit = partial(train, look=look, epochs=2)
    toy.resumed(small, fit, tmp_path / "snapshot.npz", step=6)


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_fast_style import LAYERS, batches, made_data, small
    from zoo.recipe import Optimizer, Train
    from zoo.tasks.fast_style import FastStyle

    task = FastStyle(style="ihc", style_size=48, **LAYERS)
    task.check(made_data())

    def frozen():
        networks = small()
        two.freeze_statistics(networks)
        return networks

    def fed(networks, **options):
        return batches(networks, None, task, **options)

    settings = Train(epochs=2, optimizer=Optimizer(kind="sgd", learning_rate=0.1))
    found, _ = two.trained(frozen, fed, task, settings, ("loss", "val_loss"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    weights, losses, moved = toy.printed(TWO_DEVICES)
    assert moved > 1e-3
    assert weights < 1e-5 and losses < 1e-4  # of losses of some tens


def test_another_picture_of_the_same_path_is_another_manner(look, tmp_path):
    """To judge by, and to go on with."""
    place = tmp_path / "manner.png"
    place.write_bytes(look.read_bytes())
    task, images = task_of(place), blobs(1, SIDE, SIDE)[None]
    before = float(task.errors(images, images)["style"][0])
    out, changes = tmp_path / "run", [
        f"task.style={place}", "task.style_size=40", f"task.network={EYES}", "train.epochs=2",
        "train.batch_size=4", "settings.filters=[6, 8, 8]", "settings.blocks=1",
        f"task.style_layers=[{PATHS[0]}]", f"task.content_layer={PATHS[1]}",
    ]  # fmt: skip
    fit("fast_style", data=made_data(), out=out, changes=changes, callbacks=[toy.interrupt(5)])
    Image.fromarray((blobs(8, 40, 40) ** 3 * 255).astype("uint8")).save(place)
    assert abs(float(task.errors(images, images)["style"][0]) - before) > 0.01 * before
    with pytest.raises(ValueError, match=r"--resume: got files.style .* with which"):
        fit("fast_style", data=made_data(), out=out, resume=True)


# What becomes of it


def test_bundle_has_learnt_the_manner(bundle, look):
    card, metrics = bundle.card, bundle.report.metrics
    assert card.task == "fast_style" and card.outputs == {
        "styled": Column("image", (SIDE, SIDE, 3))
    }
    rows = (bundle.path / "history.csv").read_text().splitlines()
    place = rows[0].split(",").index("loss")
    assert float(rows[-1].split(",")[place]) < 0.9 * float(rows[1].split(",")[place])
    task = bundle.recipe.task
    assert metrics["loss"] == pytest.approx(float(task.weighed(metrics)), rel=1e-5)
    assert (bundle.path / "styled.png").is_file()
    with Image.open(bundle.path / "style.png") as kept, Image.open(look) as given:
        np.testing.assert_array_equal(kept, given)  # it is as large as it was looked at
    run = Run(bundle.recipe, data=made_data())
    again = run.evaluate(load_model(bundle.path), "test").metrics
    assert again == pytest.approx(metrics, rel=1e-4)


def test_integers_keep_the_manner(bundle):
    run, model = Run(bundle.recipe, data=made_data()), load_model(bundle.path)
    small = compress.apply("int8", model, samples=run.samples(16))
    pictures = run.samples(4)
    one, other = (np.asarray(net(pictures)) for net in (model, small.model))
    assert np.abs(one - other).mean() < 0.03
    assert one.std() > 0.02


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("tflite", marks=pytest.mark.slow),
        "onnx",
        pytest.param("tflite-int8", marks=pytest.mark.slow),
    ],
)
def test_deployed_model_is_exported(bundle, tmp_path, target):
    (done,) = package.export(bundle.path, target, out=tmp_path)
    assert done.manifest.parity.passed


def test_photographs_of_any_size(bundle, tmp_path, zoo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray((blobs(3, 45, 70) * 255).astype("uint8")).save("photo.png")
    out = zoo("style", "photo.png", bundle.path)
    assert out == "photo-fast.png: 70 x 45 pixels\n"
    found = zoo("style", "photo.png", bundle.path, "--size", 40, "--force", "--json")
    assert (found["width"], found["height"]) == (40, 26)
    assert "is of the task fast_style, which has no answer" in zoo(
        "predict", bundle.path, "photo.png", expect=2
    )
    told = zoo("style", "photo.png", bundle.path, "--style-weight", 3, "--force", expect=2)
    assert "--style-weight: got 3.0" in told and "takes --size alone" in told
    Image.open("photo.png").convert("L").save("grey.png")
    assert paint_fast(bundle, "grey.png").shape == (45, 70, 3)
    with pytest.raises(ValueError, match="which has learnt no manner"):
        paint_fast("lenet5", "grey.png")


def test_tiles_make_what_the_whole_picture_does(bundle, tmp_path, monkeypatch):
    from zoo.stages.understand import styled

    path = tmp_path / "photo.png"
    Image.fromarray((blobs(3, 96, 160) * 255).astype("uint8")).save(path)
    whole = paint_fast(bundle, path).astype(int)
    monkeypatch.setattr(styled, "TILE", 32)
    assert np.abs(paint_fast(bundle, path).astype(int) - whole).max() <= 1
