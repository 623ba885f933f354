"""Chairs by their attributes: the renderer against geometry, what is unseen, the network's way."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import compress
import export
from tests import toy
from zoo.catalog import CATALOG
from zoo.common.columns import Column
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load as load_data
from zoo.data.sets import chair_views, chairs
from zoo.datasets import DATASETS
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Optimizer, Train
from zoo.tasks.latent.attributes import Attributes, composed
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

TASK = Attributes()
FEW = {"CHAIRS": 4, "TIMES": {"train": 1, "validation": 1, "test": 1}}
SMALL = {"units": 24, "joined": 32, "widths": (16, 12, 8)}


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        for name, value in FEW.items():
            patch.setattr(chair_views, name, value)
        patch.setattr(chair_views, "TURNS", 24)
        yield


@functools.cache
def data():
    return load_data("chair_views")


# The renderer


def cube(low, high, tone=1.0):
    return chairs.Chair(np.array([low], float), np.array([high], float), np.array([tone]))


def view(azimuth=0.0, elevation=0.0, zoom=0.0, colour=(0.0, 0.0, 0.0)):
    return chairs.View(azimuth, elevation, zoom, colour)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("azimuth", "elevation"), [(0, 0), (90, 0), (30, 20), (135, 35), (250, 60)]
)
def test_a_box_covers_the_hull_of_its_corners(azimuth, elevation):
    """Its picture is convex: a ray meets it where it lies within the hull of the corners."""
    from scipy.spatial import ConvexHull, Delaunay

    low, high, side = np.array([-0.3, -0.2, 0.1]), np.array([0.25, 0.3, 0.7]), 64
    _, mask = chairs.render(cube(low, high), view(azimuth, elevation), side)
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    right, up, _ = chairs.axes(azimuth, elevation)
    flat = np.stack([(corners - [0, 0, chairs.MIDDLE]) @ axis for axis in (right, up)], axis=1)
    x = ((np.arange(2 * side) + 0.5) / side - 1) * chairs.HALF  # of the rays, two by pixel
    places = np.stack(np.meshgrid(x, -x), axis=-1).reshape(-1, 2)
    inside = (Delaunay(flat).find_simplex(places) >= 0).reshape(side, 2, side, 2)
    assert (mask == (inside.mean(axis=(1, 3)) >= 0.5)).mean() > 0.999
    area = inside.mean() * (2 * chairs.HALF) ** 2
    assert area == pytest.approx(ConvexHull(flat).volume, rel=0.03)


def test_sides_are_as_bright_as_they_face_the_light():
    """From ahead a cube shows its front, from above its lid: n . l of each, by hand."""
    box = cube((-0.3, -0.3, 0.18), (0.3, 0.3, 0.78))
    for elevation, facing in ((0, 2), (90, 2)):
        pixels, mask = chairs.render(box, view(elevation=elevation), 32)
        shade = chairs.DARK + (1 - chairs.DARK) * chairs.LIGHT[facing]
        assert set(pixels[mask == 1][:, 0][5:-5]) == {round(255 * 0.55 * shade)}
    pixels, _ = chairs.render(box, view(azimuth=45), 32)
    left, right = pixels[16, 10, 0], pixels[16, 21, 0]
    assert left > right  # the light comes from the left
    assert np.isclose(np.linalg.norm(chairs.LIGHT), 1, atol=0.01)


def test_the_nearest_box_is_seen_and_colours_are_independent():
    near, far = (
        cube((-0.2, -0.4, 0.3), (0.2, -0.2, 0.6), 0.5),
        cube((-0.4, 0.2, 0.2), (0.4, 0.4, 0.8)),
    )
    both = chairs.Chair(*(np.concatenate(pair) for pair in zip(near, far, strict=True)))
    front, _ = chairs.render(both, view(colour=(1, -1, 0)), 32)
    back, _ = chairs.render(both, view(180, colour=(1, -1, 0)), 32)
    assert front[16, 16, 0] == pytest.approx(back[16, 16, 0] / 2, abs=1)
    for pixels in (front, back):
        assert pixels[16, 16, 0] / pixels[16, 16, 1] == pytest.approx(1.0 / 0.1, rel=0.1)
    assert (front[0] == 255).all()


def test_a_turn_mirrors_a_symmetric_chair_and_zoom_makes_it_larger():
    box = cube((-0.3, -0.2, 0.2), (0.3, 0.2, 0.7))
    small, large = (chairs.render(box, view(30, 20, zoom=z), 64)[1].sum() for z in (-1, 1))
    ratio = ((1 + chairs.ZOOM) / (1 - chairs.ZOOM)) ** 2
    assert large / small == pytest.approx(ratio, rel=0.05)
    for index in range(4):
        chair = chairs.design(index, 2015)
        for azimuth in (30, 75):
            _, one = chairs.render(chair, view(azimuth, 20), 48)
            _, other = chairs.render(chair, view(-azimuth, 20), 48)
            assert (one != other[:, ::-1]).mean() < 0.01


# The data


def test_columns_are_as_the_row_says():
    found, row = data(), DATASETS["chair_views"]
    assert tuple(column.kind for column in found.columns.values()) == row.kinds
    assert found.columns["image"].shape == row.shape and found.mirror == row.mirror
    assert found.labels[:2] == ("chair00", "chair01") and len(found.labels) == 4
    for split in (found.train, found.validation, found.test):
        assert np.bincount(split["label"]).min() == len(split) / 4
        pairs = split["view"].reshape(-1, 2, 2)
        np.testing.assert_allclose((pairs**2).sum(axis=2), 1, atol=1e-6)
        assert np.abs(split["transform"]).max() <= 1


def turns_of(split):
    """Pairs of a chair and its turn, by the examples themselves."""
    sine, cosine = split["view"][:, 0], split["view"][:, 1]
    turn = np.rint(np.degrees(np.arctan2(sine, cosine)) / 15).astype(int) % 24
    return list(zip(split["label"].tolist(), turn.tolist(), strict=True))


def test_no_training_example_shows_an_unseen_combination():
    found = data()
    learnt = set(turns_of(found.train))
    hidden = {}
    for name in ("validation", "test"):
        split = getattr(found, name)
        pairs = turns_of(split)
        for pair, unseen in zip(pairs, split["combination"], strict=True):
            assert (pair in learnt) == (not unseen)
        assert split["combination"].mean() == 0.5
        hidden[name] = {pair for pair in pairs if pair not in learnt}
    assert not hidden["validation"] & hidden["test"]
    assert len(learnt) + sum(map(len, hidden.values())) == 4 * 24
    for chair, turn in set.union(*hidden.values()):  # both neighbours, and other chairs there
        assert {(chair, (turn + 1) % 24), (chair, (turn - 1) % 24)} <= learnt


def test_no_picture_is_in_two_splits_and_all_are_made_again(monkeypatch, tmp_path):
    found = data()
    splits = (found.train, found.validation, found.test)
    pictures = [{image.tobytes() for image in split["image"]} for split in splits]
    assert len(set.union(*pictures)) == sum(map(len, splits))
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    again = chair_views.load()
    for name in again.columns:
        np.testing.assert_array_equal(again.test[name], found.test[name])
    with pytest.raises(ValueError, match=r"size: got 16; chairs have sides of 32 to 128"):
        load_data("chair_views", size=16)


# The network


def test_parameters_are_those_counted_by_hand():
    net = create("chairs")
    counts = {}
    for layer in net.layers:
        part = "streams" if "_fc" in layer.name else "together" if "fc" in layer.name else "doubled"
        counts[part] = counts.get(part, 0) + layer.count_params()
    assert counts == {"streams": 1_211_904, "together": 19_417_088, "doubled": 2_342_800}
    assert sum(counts.values()) == CATALOG["chairs"].parameters
    assert {name: x.shape[1:] for name, x in net.output.items()} == {
        "image": (128, 128, 3), "mask": (128, 128)
    }  # fmt: skip
    assert create("chairs_small").count_params() == CATALOG["chairs_small"].parameters
    with pytest.raises(ValueError, match=r"multiples of 16, for 4 doublings. Take data.size=96"):
        create("chairs", input_shape=(100, 100, 3))


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return {"net": create("chairs_small", num_classes=4, **SMALL)}


def batches(**options):
    scale = {"image": TASK.preprocessing(data().columns["image"])}
    return Feed(data().train[:96], scale, batch_size=32, **options)


def train(networks, **options):
    settings = Train(epochs=4, batch_size=32, optimizer=Optimizer(kind="adam", learning_rate=1e-2))
    machine = choose_machine(Hardware(precision="float32", strategy="one"))
    trainer = Trainer(networks, TASK, settings, machine)
    return trainer.fit(batches(training=True), batches(), **options)


def test_trains_and_resumes(tmp_path):
    history = toy.resumed(small, train, tmp_path / "snapshot.npz", step=5)
    losses = [row["loss"] for row in history.rows]
    assert losses[-1] < 0.95 * losses[0]


def test_the_loss_is_the_papers():
    """On numbers by hand: one picture of 2 x 2 pixels, of which two are the thing's."""
    image = np.full((1, 2, 2, 1), 0.5, "f4")
    mask = np.array([[[1, 0], [1, 0]]], "uint8")
    inputs = [keras.Input((size,), name=name) for name, size in
              (("label", 2), ("view", 4), ("transform", 3))]  # fmt: skip
    zero = keras.ops.sum(keras.ops.concatenate(inputs, axis=1), axis=1, keepdims=True) * 0
    made = keras.ops.reshape(keras.ops.repeat(zero + 0.25, 4, axis=1), (-1, 2, 2))
    net = keras.Model(inputs, {"image": made[..., None], "mask": made})
    batch = {"image": tf.constant(image), "mask": tf.constant(mask), "label": tf.constant([1]),
             "view": tf.zeros((1, 4)), "transform": tf.zeros((1, 3)),
             "combination": tf.constant([1])}  # fmt: skip
    seen = TASK.look("loss", {"net": net}, batch, training=False)
    outline = -(np.log(0.25) + np.log(0.75)) / 2
    assert float(seen.measures["outline"].values[0]) == pytest.approx(outline, rel=1e-5)
    assert float(seen.loss.values[0]) == pytest.approx(10 * 0.25**2 + outline, rel=1e-5)
    shown = 0.25 * 0.25 + 0.75  # a quarter of the picture on white
    assert float(seen.measures["mse"].values[0]) == pytest.approx((shown - 0.5) ** 2, rel=1e-5)
    assert float(seen.measures["unseen_mse"].weights[0]) == 1


TWO_DEVICES = """
    import json
    from tests import two
    from tests.test_attributes import FEW, TASK, batches, small
    from zoo.data.sets import chair_views
    from zoo.recipe import Optimizer, Train

    for name, value in FEW.items():
        setattr(chair_views, name, value)
    settings = Train(epochs=2, batch_size=32, optimizer=Optimizer(kind="sgd", learning_rate=0.05))
    feed = lambda networks, **options: batches(**options)
    found, _ = two.trained(small, feed, TASK, settings, ("loss", "val_mse"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one(tmp_path):
    weights, losses, moved = toy.printed(TWO_DEVICES, ZOO_HOME=str(tmp_path))
    assert moved > 1e-3
    assert weights < 1e-6 and losses < 1e-5


# What becomes of it


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    changes = ["train.epochs=40", "train.batch_size=32", "train.optimizer.learning_rate=1e-2"]
    changes += [f"settings.{key}={list(v) if key == 'widths' else v}" for key, v in SMALL.items()]
    return fit("chairs_small", out=tmp_path_factory.mktemp("runs") / "chairs", changes=changes)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


def test_bundle_explains_itself(bundle):
    card, report = bundle.card, bundle.report
    assert card.inputs == {
        "label": Column("features", (4,)),
        "view": Column("features", (4,)),
        "transform": Column("features", (4,)),
    }
    assert set(card.outputs) == {"image", "mask"}
    rows = {row["combination"]: row for row in report.tables["combinations"]}
    assert set(rows) == {"seen", "unseen"} and rows["seen"]["support"] == 24
    metrics = report.metrics
    assert metrics["unseen_mse"] == pytest.approx(rows["unseen"]["mse"])
    assert metrics["ratio"] == pytest.approx(rows["unseen"]["mse"] / rows["seen"]["mse"])
    assert metrics["mse"] == pytest.approx((rows["seen"]["mse"] + rows["unseen"]["mse"]) / 2)
    assert metrics["unseen_mse"] < 0.03 and metrics["mask_iou"] > 0.5
    for picture in ("unseen", "classes", "views", "curves"):
        assert (bundle.path / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_is_measured_by_what_it_answers(bundle, run):
    model = load_model(bundle.path)

    def answer(columns):
        found = model(run.task.inputs({"net": model}, columns))
        return {name: value.numpy() for name, value in found.items()}

    found = run.evaluate(model, "test", answer=answer)
    assert found.metrics == pytest.approx(bundle.report.metrics, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_generator_is_exported(bundle, run, tmp_path, target):
    out = export.export(load_model(bundle.path), target, tmp_path / target, samples=run.samples(64))
    assert out.manifest.parity.passed and out.manifest.parity.relative < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_generator_still_draws(bundle, run, recipe):
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(epochs, rate=rate))

    less = compress.apply(recipe, model, samples=run.samples(64), fit=tune).model
    before, after = (run.evaluate(x, "validation").metrics["mse"] for x in (model, less))
    assert after != before and after < 1.3 * before


def test_generates(bundle, zoo, tmp_path):
    networks = load_networks(bundle.path)
    make = functools.partial(TASK.generate, networks, columns={}, count=16, seed=1)
    assert make().shape == (16, 32, 32, 3) and make().dtype == np.uint8
    np.testing.assert_array_equal(make(), make())
    one = make(label=2, walk=True)
    hot = np.eye(4)[[2] * 16].astype("f4")
    angle = np.arange(16) / 16 * 2 * np.pi
    high = np.radians(25) * np.ones(16)
    view = np.stack([np.sin(angle), np.cos(angle), np.sin(high), np.cos(high)], 1).astype("f4")
    made = networks["net"]({"label": hot, "view": view, "transform": np.zeros((16, 4), "f4")})
    shown = composed(made["image"].numpy(), made["mask"].numpy()).clip(0, 1)
    np.testing.assert_array_equal(one, np.round(255 * shown.astype("f8")).astype("uint8"))
    assert len({picture.tobytes() for picture in make(walk=True)}) == 16
    with pytest.raises(ValueError, match=r"label: got 9; expected 0 to 3"):
        make(label=9)
    with pytest.raises(ValueError, match="got temperature, which it does not know"):
        make(temperature=1)
    zoo("generate", bundle.path, "--count", "4", "--class", "chair03", "--walk",
        "--out", tmp_path / "four.gif")  # fmt: skip


def test_other_data_are_refused():
    with pytest.raises(ValueError, match=r"learns from label \(class\), view .* Take chair_views"):
        TASK.check(load_data("digits"))
