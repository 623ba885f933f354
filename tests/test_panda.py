"""PANDA: figures and their attributes, one network of all or one for each, what is deployed."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.toy import check_resumed, printed
from zoo.common.columns import Column
from zoo.data.sets import figures
from zoo.data.sets.figures import PART, TRAITS
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.tasks.labels.traits import Traits
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = [
    "data.limit=640",
    "settings={width: 8, units: 16}",
    "train.epochs=4",
    "train.optimizer.learning_rate=0.005",
    "hardware={precision: float32, strategy: one}",
]


@pytest.fixture(scope="module", autouse=True)
def _few_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "COUNTS", {"train": 640, "validation": 100, "test": 400})
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return fit("panda", out=tmp_path_factory.mktemp("runs") / "panda", changes=SMALL)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks={"net": load_model(bundle.path)})


# -- data -----------------------------------------------------------------------------------------


def test_boxes_hold_the_parts_and_traits_say_what_is_in_them(run):
    rows = run.data.test[:200]
    boxes, traits = rows["regions"].astype(int), rows["traits"]
    assert (
        (boxes[:, :, 2] - boxes[:, :, 0] == PART).all() and boxes.min() >= 0 and boxes.max() <= 64
    )
    assert (boxes[:, :, 3] - boxes[:, :, 1] == PART).all()
    left = traits[:, TRAITS.index("body left")] > 0.5
    assert ((boxes[:, 1, 1] < boxes[:, 0, 1]) == left).all()
    for part, name in enumerate(figures.PARTS):
        warm = traits[:, TRAITS.index(f"{name} warm")] > 0.5
        inks = []
        for image, (y, x, end_y, end_x) in zip(rows["image"], boxes[:, part], strict=True):
            patch = image[y:end_y, x:end_x].reshape(-1, 3).astype(int)
            inks.append(patch[patch.max(axis=1).argmax()])
        inks = np.array(inks)
        assert ((inks[:, 0] > inks[:, 2]) == warm).mean() > 0.95
    shares = run.data.train["traits"].mean(axis=0)
    assert shares.min() > 0.3 and shares.max() < 0.65


# -- networks -------------------------------------------------------------------------------------


def test_patches_are_the_means_of_the_boxes():
    """A patch of 16x16 over a box of 32x32 whole pixels: each value the mean of four."""
    net = create("panda", input_shape=(64, 64, 3))
    image = np.random.RandomState(0).uniform(size=(1, 64, 64, 3)).astype("f4")
    boxes = np.array([[[0, 8, 32, 40], [10, 0, 42, 32], [32, 32, 64, 64]]], "f4")
    found = net.get_layer("patches")([tf.constant(image), tf.constant(boxes)]).numpy()
    for place, (y, x, end_y, end_x) in enumerate(boxes[0].astype(int)):
        expected = image[0, y:end_y, x:end_x].reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
        np.testing.assert_allclose(found[0, place], expected, atol=1e-5)


def test_one_network_and_ten_are_of_equal_size():
    one, ten = create("panda").count_params(), create("panda_apart").count_params()
    assert abs(one - ten) < 0.01 * one


def test_networks_apart_share_no_weight():
    net = create("panda_apart", num_classes=2, width=3, units=4)
    random = np.random.RandomState(0)
    net.set_weights([random.normal(scale=0.4, size=w.shape).astype("f4") for w in net.weights])
    image = tf.constant(random.uniform(size=(2, 64, 64, 3)).astype("f4"))
    boxes = tf.constant(np.tile([[0, 0, 20, 20]], (2, 3, 1)).astype("f4"))
    with tf.GradientTape() as tape:
        first = tf.reduce_sum(net([image, boxes])[:, 0])
    slopes = tape.gradient(first, net.weights)
    learns = set()
    for weight, slope in zip(net.weights, slopes, strict=True):
        if slope is not None and np.abs(slope).max() > 0:
            learns.add(weight.path.split("_")[0])
    assert learns == {"trait1"}


# -- measures -------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_map_is_counted_by_hand():
    truth = np.array([[1, 0, 1], [0, 0, 1], [1, 1, 1], [0, 0, 1]], "f4")
    logits = np.array([[3, 0, 1], [2, 1, 1], [1, 2, 1], [-1, 3, 1]], "f4")
    facts = {"traits": Column("features", (3,), ("a", "b", "c"))}
    found = Traits().score({"traits": truth}, logits, facts)
    rows = found.tables["per_trait"]
    assert rows[0]["ap"] == pytest.approx((1 / 1 + 2 / 3) / 2)  # places 1 and 3 of the order
    assert rows[1]["ap"] == pytest.approx(1 / 2) and rows[2]["ap"] is None
    assert found.metrics["map"] == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert found.metrics["accuracy"] == pytest.approx((3 + 2 + 4) / 12)
    shares = 1 / (1 + np.exp(-logits.astype("f8")))
    loss = -np.log(np.where(truth > 0.5, shares, 1 - shares)).mean()
    assert found.metrics["loss"] == pytest.approx(loss, rel=1e-6)


# -- learning -------------------------------------------------------------------------------------


def test_it_learns_attributes_of_parts(bundle):
    metrics = bundle.report.metrics
    rows = {row["trait"]: row for row in bundle.report.tables["per_trait"]}
    assert metrics["map"] > 0.65 and rows["head warm"]["ap"] > 0.8
    assert list(bundle.card.inputs) == ["image", "regions"]
    assert bundle.card.outputs["logits"].names == TRAITS
    assert bundle.card.custom_layers == ("zoo>ROIAlign",)


def test_a_figure_and_its_parts_are_asked_about(bundle, run, zoo, tmp_path):
    """Boxes are in the picture's own pixels: of one twice as large they are twice as large."""
    rows = run.data.test[:1]
    logits = load_model(bundle.path)(run.inputs(rows.columns)).numpy()[0]
    told = zoo("predict", bundle.path, _drawn(tmp_path, rows, 1), "--json")
    assert [row["trait"] for row in told] == list(TRAITS)
    shares = [row["probability"] for row in told]
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-logits)), atol=1e-5)
    large = zoo("predict", bundle.path, _drawn(tmp_path, rows, 2), "--json")
    # Pillow's filter makes it smaller, so pixels are those around too.
    np.testing.assert_allclose([row["probability"] for row in large], shares, atol=0.05)
    np.savez(tmp_path / "two.npz", **{name: run.data.test[:2][name] for name in bundle.card.inputs})
    both = zoo("predict", bundle.path, tmp_path / "two.npz", "--json")
    np.testing.assert_allclose([row["probability"] for row in both[:10]], shares, atol=1e-5)
    assert both[10]["example"].endswith("two.npz:2")
    (tmp_path / "1.csv").write_text("0,0,9,9\n")
    line = zoo("predict", bundle.path, tmp_path / "1.png", expect=2)
    assert "1.csv: got 1 boxes, or an empty one; expected 3 lines y1,x1,y2,x2" in line
    (tmp_path / "1.csv").unlink()
    line = zoo("predict", bundle.path, tmp_path / "1.png", expect=2)
    assert "1.csv: no such file; expected 3 lines y1,x1,y2,x2, the boxes of the parts of" in line
    np.savez(tmp_path / "no.npz", image=rows["image"])
    line = zoo("predict", bundle.path, tmp_path / "no.npz", expect=2)
    assert "no.npz: has no regions; expected arrays called as the model's inputs" in line


def _drawn(folder, rows, times):
    picture = np.kron(rows["image"][0], np.ones((times, times, 1), np.uint8))
    Image.fromarray(picture).save(folder / f"{times}.png")
    lines = [",".join(map(str, box)) for box in rows["regions"][0] * times]
    (folder / f"{times}.csv").write_text("\n".join(lines) + "\n")
    return folder / f"{times}.png"


def test_other_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"learns traits \(features\); digits has image"):
        fit("panda", data="digits", out=tmp_path / "x", changes=[])


@pytest.mark.parametrize(
    "target",
    [*(pytest.param(x, marks=pytest.mark.slow) for x in ("tflite", "onnx")), "tflite-int8"],
)
def test_exported_panda_passes_the_gate(target, run, bundle, tmp_path):
    import export

    made = export.export(load_model(bundle.path), target, tmp_path / "x", samples=run.samples(64))
    assert made.manifest.parity.passed


@pytest.mark.parametrize("recipe", ["prune50", pytest.param("int8", marks=pytest.mark.slow)])
def test_compressed_panda_is_measured_itself(recipe, run, bundle):
    import compress
    from compress import layers

    layers.register()
    model = load_model(bundle.path)
    small = compress.apply(recipe, model, samples=run.samples(128))
    before, after = (run.evaluate(m, "test").metrics["map"] for m in (model, small.model))
    assert after > before - 0.1


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=640"]
    whole = fit("panda", out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", changes=changes, stop_at=9)


TWO_DEVICES = """
    import json
    from tests import two

    changes = ["data.limit=160", "train.epochs=2", "train.batch_size=32",
               "settings={width: 4, units: 8}",
               "train.optimizer={kind: sgd, learning_rate: 0.1, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("panda", changes)))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    weights, _, moved = printed(TWO_DEVICES)
    assert moved > 0.001 and weights < 1e-5
