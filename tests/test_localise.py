"""Localisation: boxes against counted pixels and Keras' own, the whole way to deployed files."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss

import compress
import export
from tests import scenes as kit
from tests import toy
from zoo.common.columns import Column
from zoo.data.loading import load
from zoo.metrics.boxes import iou
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.recipe import resolve
from zoo.tasks import pictures
from zoo.tasks.places.localise import Localise
from zoo.training import steps
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = ["settings.width=8", "settings.units=32", "train.batch_size=16"]
SMALL += ["hardware.precision=float32"]
TWICE = [*SMALL, "train.epochs=2"]  # with dropout


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(_few, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "locator"
    return fit("locator", out=out, changes=[*SMALL, "train.epochs=12"])


@pytest.fixture(scope="module")
def run(trained):
    return Run(trained.recipe)


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained.path)


def drawn(seed, num):
    """Boxes on whole pixels of a 12 x 12 picture, some of them empty."""
    corners = np.random.RandomState(seed).randint(0, 13, size=(num, 2, 2))
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype("float32")


def counted(one, other):
    """The union and the intersection, pixel by pixel."""
    masks = []
    for y1, x1, y2, x2 in (one.astype(int), other.astype(int)):
        mask = np.zeros((12, 12), bool)
        mask[y1:y2, x1:x2] = True
        masks.append(mask)
    union = (masks[0] | masks[1]).sum()
    return (masks[0] & masks[1]).sum() / union if union else 0.0


@pytest.mark.oracle
def test_iou_equals_counted_pixels_and_keras():
    one, other = drawn(0, 200), drawn(1, 200)
    found = np.asarray(iou(one, other))
    np.testing.assert_allclose(found, [counted(a, b) for a, b in zip(one, other)], atol=1e-6)  # noqa: B905
    full = (one[:, 2:] > one[:, :2]).all(axis=1) & (other[:, 2:] > other[:, :2]).all(axis=1)
    theirs = keras.utils.bounding_boxes.compute_iou(one[full], other[full], "yxyx")
    np.testing.assert_allclose(found[full], np.diag(theirs), atol=1e-6)
    assert found.min() == 0 and found.max() > 0.5
    assert float(iou(one[:1] * 0, one[:1] * 0)[0]) == 0.0
    turned = np.array([[5, 5, 2, 2]], "float32")  # its end lies before its start
    assert float(iou(turned, np.array([[0, 0, 9, 9]], "float32"))[0]) == 0.0


def test_it_learns(trained):
    rows = np.genfromtxt(trained.path / "history.csv", delimiter=",", names=True)
    assert rows["loss"][-1] < 0.5 * rows["loss"][0]
    assert rows["val_iou"][-1] > max(0.15, rows["val_iou"][0])
    assert set(trained.report.metrics) == {"loss", "top1", "iou", "localised"}
    card = trained.card
    assert {name: column.kind for name, column in card.outputs.items()} == {
        "logits": "class", "box": "box"
    }  # fmt: skip
    assert card.labels == tuple("0123456789") and card.task == "localise"


@pytest.mark.oracle
def test_training_and_report_equal_closed_forms(trained, run, model):
    outputs = model.predict(run.inputs(run.raw("test", 999)), verbose=0)
    labels, boxes = run.data.test["label"], run.data.test["box"] / 64
    shares = np.exp(outputs["logits"] - outputs["logits"].max(axis=1, keepdims=True))
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype("float64")
    far, delta, weight = np.abs(outputs["box"] - boxes), 0.02, 10
    huber = np.where(far <= delta, far**2 / 2, delta * (far - delta / 2)).mean(axis=1)
    overlap = np.diag(keras.utils.bounding_boxes.compute_iou(outputs["box"], boxes, "yxyx"))
    right = outputs["logits"].argmax(axis=1) == labels
    expected = {
        "loss": log_loss(labels, shares, labels=range(10)) + weight * huber.mean() / delta,
        "top1": accuracy_score(labels, outputs["logits"].argmax(axis=1)),
        "iou": overlap.mean(),
        "localised": (right & (overlap >= 0.5)).mean(),
    }
    batch = {
        "image": np.zeros((24, 64, 64, 3), "float32"), "label": labels,
        "box": run.data.test["box"], "weight": np.ones(24, "float32"),
    }  # fmt: skip
    seen = run.task.judge(batch, keras.tree.map_structure(keras.ops.convert_to_tensor, outputs))
    sums = steps.sums({"loss": seen.loss, **seen.measures}, batch)
    for name, value in expected.items():
        assert trained.report.metrics[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
        assert float(sums[name][0] / sums[name][1]) == pytest.approx(value, rel=1e-4), name
    table = trained.report.tables["per_class"]
    assert sum(row["support"] for row in table) == 24
    mean = sum(row["iou"] * row["support"] for row in table) / 24
    assert mean == pytest.approx(trained.report.metrics["iou"], rel=1e-5)
    assert np.trace(trained.report.tables["confusion"]) == right.sum()


def test_boxes_are_fractions_of_both_sides():
    """A picture twice as wide as high: the same fractions, another box."""
    facts = {
        "image": Column("image", (32, 64, 3)), "label": Column("class", (), ("a", "b")),
        "box": Column("box", (4,)),
    }  # fmt: skip
    heads = {
        "logits": np.array([[9.0, 0]], "float32"),
        "box": np.array([[0, 0, 0.5, 0.5]], "float32"),
    }
    columns = {"label": np.zeros(1, "int32"), "box": np.array([[0, 0, 16, 32]], "float32")}
    assert Localise().score(columns, heads, facts).metrics["iou"] == 1.0
    assert Localise().score(columns, heads, facts).metrics["localised"] == 1.0
    heads["logits"] = -heads["logits"]
    assert Localise().score(columns, heads, facts).metrics["localised"] == 0.0
    batch = {"image": np.zeros((1, 32, 64, 3), "float32"), **columns}
    assert float(Localise().measures(batch, heads)["iou"].values[0]) == 1.0


@pytest.fixture(scope="module")
def whole(_few, tmp_path_factory):
    """A run that nothing stopped."""
    return fit("locator", out=tmp_path_factory.mktemp("runs") / "whole", changes=TWICE)


@pytest.mark.parametrize("stop_at", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_a_resumed_run_equals_a_whole_one(whole, tmp_path, stop_at):
    """Six steps make an epoch: within the first, and within the second."""
    toy.check_resumed(whole, tmp_path / "part", changes=TWICE, stop_at=stop_at)


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one(tmp_path):
    changes = ["settings.width=4", "settings.units=16", "settings.batch_norm=false"]
    changes += ["settings.dropout=0"]
    found = kit.two_devices("locator", changes, tmp_path)
    assert found["replicas"] == [2, 1] and found["moved"] == 2
    assert found["weights"] < 1e-6
    assert found["history"] < 1e-5


def test_it_is_pruned(run, model):
    small = compress.apply("prune50", model).model
    kernels = [v for v in small.trainable_variables if v.path.endswith("/kernel")]
    zeros = sum(int((v.numpy() == 0).sum()) for v in kernels)
    assert zeros / sum(v.numpy().size for v in kernels) == pytest.approx(0.5, abs=0.02)
    assert set(small.output) == {"logits", "box"} and run.evaluate(small, "test").metrics


def test_it_is_quantised(run, model):
    small = compress.apply("int8", model, samples=run.samples(32)).model
    before, after = (run.evaluate(x, "test").metrics["iou"] for x in (model, small))
    assert after > before - 0.1
    assert set(small.output) == {"logits", "box"}


@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_it_is_exported(run, model, target, tmp_path):
    done = export.export(model, target, tmp_path / target, samples=run.samples(64))
    parity = done.manifest.parity
    assert parity.passed and {spec.name for spec in done.manifest.signature.outputs} == {
        "logits",
        "box",
    }
    assert parity.relative < (0.5 if target == "tflite-int8" else 1e-4)


def test_each_class_may_have_a_box(tmp_path):
    """The answer has the surest class's, the true one's learns, and files have one box."""
    keras.utils.set_random_seed(0)
    net = create("locator_class_wise", input_shape=(64, 64, 3), num_classes=3, width=4, units=8)
    for weight in net.trainable_weights:
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.1, seed=1))
    random = np.random.RandomState(0)
    images = random.uniform(size=(6, 64, 64, 3)).astype("float32")
    net.get_layer("logits").bias.assign(-np.mean(net(images)["logits"], axis=0))
    found = {name: np.asarray(x) for name, x in net(images).items()}
    surest = found["logits"].argmax(axis=1)
    assert len(set(surest)) > 1
    np.testing.assert_array_equal(found["box"], found["auxiliary_boxes"][np.arange(6), surest])
    labels = (surest + 1) % 3  # another class is the true one
    batch = {"image": images, "label": labels, "box": 64 * random.uniform(size=(6, 4))}
    boxes = tf.Variable(found["auxiliary_boxes"])
    with tf.GradientTape() as tape:
        loss = Localise().judge(batch, {**found, "auxiliary_boxes": boxes}).loss.values
    gradient = tape.gradient(loss, boxes).numpy()
    own = np.eye(3, dtype=bool)[labels]
    assert (gradient[own] != 0).all() and not gradient[~own].any()
    heads = {"logits": found["logits"], "box": found["auxiliary_boxes"][own]}
    one = Localise().loss_of(batch, heads).values
    np.testing.assert_allclose(loss, one, rtol=1e-6)
    answer = Localise().deployed({"net": net})
    for target in ("tflite", "onnx"):
        done = export.export(answer, target, tmp_path / target, samples=images)
        assert {spec.name for spec in done.manifest.signature.outputs} == {"logits", "box"}


def test_parameters_are_counted_by_hand():
    with keras.StatelessScope(initialize_variables=False):
        model = create("locator")
    maps = [3, 16, 16, 32, 32, 64, 64, 128, 128]
    trunk = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(maps))
    trunk += 128 * 32 + 2 * 32  # the fewer maps that the box reads
    heads = [128 * 10 + 10, 8 * 8 * 32 * 128 + 128 + 128 * 4 + 4]
    found = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert trunk + sum(heads) == found == 562_238
    keras.utils.clear_session()


def test_bundle_shows_what_it_sees(trained):
    with Image.open(trained.path / "boxes.png") as picture:
        pixels = np.asarray(picture).reshape(-1, 3)
        assert picture.size == (4 + 8 * 132, 4 + 2 * 132)
    for colour in (pictures.TRUE, pictures.FOUND):
        assert (pixels == colour).all(axis=1).sum() > 100


def test_boxes_are_drawn_where_they_are():
    image = np.zeros((20, 30, 1), "uint8")
    box = np.array([[12, 4, 18, 20]])
    found = pictures.draw_boxes(image, box, colours=[(1, 2, 3)])
    rows, columns = np.nonzero((found == (1, 2, 3)).all(axis=2))
    assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (12, 4, 18, 20)
    assert len(rows) == 2 * 16 + 2 * 4  # an outline of one pixel
    named = pictures.draw_boxes(image, box, ["7"], colours=[(1, 2, 3)])
    assert (named != found).any() and (named[12:] == found[12:]).all()  # the name stands above
    assert pictures.draw_boxes(image, box, times=3).shape == (60, 90, 3)
    assert not pictures.draw_boxes(image, box[:0]).any() and not image.any()
    with pytest.raises(ValueError, match=r"draw_boxes: got 2 names for 1 boxes"):
        pictures.draw_boxes(image, box, ["a", "b"])


def test_other_data_and_other_networks_are_refused():
    with pytest.raises(ValueError, match=r"^task.kind: got localise, which learns box \(box\)"):
        Localise().check(load("digits"))
    changes = ["task={kind: localise}", "data.size=64", "data.augment={}", "train.epochs=1"]
    wrong = Run(resolve("lenet5", data="digit_scenes_one", changes=changes))
    with pytest.raises(ValueError, match=r"localise: got .* one output.*e\.g\. locator"):
        wrong.train(wrong.create())
    with pytest.raises(ValueError, match=r"box_weight: got -1"):
        resolve("locator", changes=["task.box_weight=-1"])
