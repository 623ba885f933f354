"""Segmentation: counts of pixels against scikit-learn's, U-Net against its paper, the whole way."""

import json
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, confusion_matrix, jaccard_score, log_loss

import compress
import export
from tests import scenes as kit
from tests import toy
from zoo.bundle import find_bundle
from zoo.common.columns import IGNORED, Column
from zoo.data.loading import load
from zoo.metrics import segmentation
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.models.unet import answered, unet
from zoo.recipe import resolve
from zoo.stages.opening import reopen
from zoo.tasks import pictures
from zoo.tasks.places.segment import Segment, middle, soft_dice
from zoo.training import steps
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = ["settings.width=6", "settings.depth=2", "train.batch_size=16"]
SMALL += ["hardware.precision=float32"]
TWICE = [*SMALL, "train.epochs=2", "settings.dropout=0.3", "data.augment.shift=3"]
TWICE += ["data.augment.mosaic=0.5"]
NAMES = ("background", *"0123456789")


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(_few, tmp_path_factory):
    """A narrow U-Net that has begun to see digits."""
    out = tmp_path_factory.mktemp("runs") / "unet"
    return fit("unet_small", out=out, changes=[*SMALL, "train.epochs=8"])


@pytest.fixture(scope="module")
def run(trained):
    return Run(trained.recipe)


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained.path)


@pytest.fixture(scope="module")
def guesses(run, model):
    """Guessed classes of the test split, by Keras' own prediction."""
    return model.predict(run.inputs(run.raw("test", 999)), verbose=0).argmax(axis=-1)


def logits(seed, *shape):
    return np.random.RandomState(seed).normal(size=shape).astype("float32")


def test_it_learns(trained):
    rows = np.genfromtxt(trained.path / "history.csv", delimiter=",", names=True)
    assert rows["loss"][-1] < 0.6 * rows["loss"][0]
    assert rows["val_foreground_iou"][-1] > 0.25  # half of the pixels guessed at random: 0.07
    assert trained.report.metrics["foreground_iou"] > 0.25
    assert trained.card.outputs["logits"].names == ("background", "foreground")
    assert trained.card.outputs["logits"].kind == "mask" and trained.card.task == "segment"


@pytest.mark.oracle
def test_the_report_equals_scikit_learn(trained, run, guesses):
    masks = (run.data.test["mask"] > 0).ravel().astype(int)
    found, flat = trained.report.metrics, guesses.ravel()
    assert found["pixel_accuracy"] == pytest.approx(accuracy_score(masks, flat), abs=1e-4)
    assert found["foreground_iou"] == pytest.approx(jaccard_score(masks, flat), abs=1e-3)
    each = jaccard_score(masks, flat, average=None)
    assert found["mean_iou"] == pytest.approx(each.mean(), abs=1e-3)
    table = trained.report.tables["per_class"]
    np.testing.assert_allclose([row["iou"] for row in table], each, atol=1e-3)
    assert [row["pixels"] for row in table] == [int((masks == k).sum()) for k in (0, 1)]


def judged(task, mask, outputs):
    """What training would say of a batch, by the engine's own sums."""
    batch = {"mask": mask, "weight": np.ones(len(mask), "float32")}
    means = task.judge(batch, keras.ops.convert_to_tensor(outputs))
    sums = steps.sums({"loss": means.loss, **means.measures}, batch)
    return {name: float(pair[0] / pair[1]) for name, pair in sums.items()}


@pytest.mark.oracle
@pytest.mark.parametrize("foreground", [False, True])
def test_training_and_meter_equal_scikit_learn(foreground):
    """Eleven classes, one of them nowhere, some pixels that do not count, in two batches."""
    random = np.random.RandomState(0)
    masks = random.choice([*range(10), 255], size=(6, 12, 12), p=[0.5, *[0.05] * 10]).astype(
        "uint8"
    )
    outputs = logits(1, 6, 12, 12, 2 if foreground else 11)
    outputs[..., -1] -= 0 if foreground else 9  # the class that is nowhere is not guessed either
    column = Column("mask", (12, 12), NAMES)
    task = Segment(foreground=foreground)
    meter = task.meter({"image": Column("image", (12, 12, 3)), "mask": column})
    for part in (slice(0, 4), slice(4, 6)):
        images = np.zeros((part.stop - part.start, 12, 12, 3), "float32")
        meter.add({"image": images, "mask": masks[part]}, outputs[part])
    found, told = meter.result(), judged(task, masks, outputs)
    known = masks != 255
    truth, guess = masks[known].astype(int), outputs.argmax(axis=-1)[known]
    truth = np.minimum(truth, 1) if foreground else truth
    shares = np.exp(outputs[known]) / np.exp(outputs[known]).sum(axis=-1, keepdims=True)
    expected = {
        "loss": log_loss(truth, shares, labels=range(shares.shape[1])),
        "pixel_accuracy": accuracy_score(truth, guess),
        "foreground_iou": jaccard_score(truth > 0, guess > 0),
    }
    for name, value in expected.items():
        assert told[name] == pytest.approx(value, rel=1e-5), name
        assert found.metrics[name] == pytest.approx(value, rel=1e-5), name
    present = range(2 if foreground else 10)
    each = jaccard_score(truth, guess, labels=present, average=None)
    assert found.metrics["mean_iou"] == pytest.approx(each.mean())
    table = found.tables["per_class"]
    np.testing.assert_allclose([row["iou"] for row in table[: len(each)]], each)
    if not foreground:
        assert table[-1] == {"label": "9", "iou": None, "dice": None, "pixels": 0}
    counts = confusion_matrix(truth, guess, labels=range(len(table)))
    assert found.tables["confusion"] == counts.tolist()


def test_nothing_to_find_is_no_division_by_zero():
    ignored, zeros = np.full((2, 4, 4), 255, "uint8"), np.zeros((2, 4, 4), int)
    counts = segmentation.count_pixels(ignored, zeros, 2)
    assert counts.tolist() == [[0, 0], [0, 0]]
    assert segmentation.foreground_iou(counts) == segmentation.mean_iou(counts) == 0.0
    assert segmentation.pixel_accuracy(counts) == 0.0
    task = Segment(foreground=True)
    loss = task.loss_of({"mask": ignored[:1]}, keras.ops.convert_to_tensor(logits(0, 1, 4, 4, 2)))
    assert float(keras.ops.sum(loss.weights)) == 0.0 and np.isfinite(np.asarray(loss.values)).all()


def test_an_answer_without_padding_is_judged_on_the_middle():
    masks = np.random.RandomState(0).randint(0, 2, size=(2, 12, 10)).astype("uint8")
    outputs, task = logits(0, 2, 6, 4, 2), Segment(foreground=True)
    assert judged(task, masks, outputs) == judged(task, masks[:, 3:9, 3:7], outputs)
    assert judged(task, masks, outputs) != judged(task, masks[:, 2:8, 3:7], outputs)
    np.testing.assert_array_equal(middle(masks, (2, 12, 10, 2)), masks)


def test_the_papers_form_trains_on_the_middle(run):
    """Unpadded, at depth 2 it answers for 24 of 64 pixels."""
    changes = [*SMALL, "settings.padding=valid", "train.epochs=1", "data.limit=32"]
    unpadded = Run(resolve("unet_small", changes=changes))
    networks = unpadded.create()
    assert networks["net"].output_shape == (None, 24, 24, 2)
    history = unpadded.train(networks)
    assert np.isfinite(history.rows[0]["val_loss"])
    found = unpadded.evaluate(networks, "test")
    assert np.sum(found.tables["confusion"]) == kit.COUNTS["test"] * 24 * 24


@pytest.fixture(scope="module")
def whole(_few, tmp_path_factory):
    """A run that nothing stopped."""
    return fit("unet_small", out=tmp_path_factory.mktemp("runs") / "whole", changes=TWICE)


@pytest.mark.slow
@pytest.mark.parametrize("stop_at", [3, 8])
def test_a_resumed_run_equals_a_whole_one(whole, tmp_path, stop_at):
    """Six steps make an epoch: within the first, and within the second."""
    toy.check_resumed(whole, tmp_path / "part", changes=TWICE, stop_at=stop_at)


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one(tmp_path):
    changes = ["settings.width=4", "settings.depth=2", "settings.batch_norm=false"]
    # Without Dice, whose areas of a few pixels magnify rounding to 2e-6.
    changes += ["task.dice=0", "data.augment.rotate=10"]
    found = kit.two_devices("unet_small", changes, tmp_path)
    assert found["replicas"] == [2, 1] and found["moved"] == 2
    assert found["weights"] < 1e-6
    assert found["history"] < 1e-5


def test_bundle_shows_what_it_sees(trained):
    with Image.open(trained.path / "masks.png") as picture:
        assert picture.size == (4 + 8 * 132, 4 + 2 * 132)
        assert len(set(np.asarray(picture).reshape(-1, 3)[:, 0].tolist())) > 50


def test_columns_that_it_does_not_read_may_come_and_go(trained, tmp_path):
    """What came with the zoo learnt of scenes that had no instances yet."""
    copy = tmp_path / "older"
    shutil.copytree(trained.path, copy)
    card = json.loads((copy / "card.json").read_text())
    del card["columns"]["instances"]
    (copy / "card.json").write_text(json.dumps(card))
    assert reopen(find_bundle(copy)).whole
    card["columns"]["mask"]["names"][3] = "two"
    (copy / "card.json").write_text(json.dumps(card))
    told = r"older: the data set digit_scenes has the columns image .* which the model was trained"
    with pytest.raises(ValueError, match=told):
        reopen(find_bundle(copy))


def test_it_is_pruned(run, model):
    small = compress.apply("prune50", model).model
    kernels = [v for v in small.trainable_variables if v.path.endswith("/kernel")]
    zeros = sum(int((v.numpy() == 0).sum()) for v in kernels)
    assert zeros / sum(v.numpy().size for v in kernels) == pytest.approx(0.5, abs=0.02)
    assert small.output_shape == model.output_shape and run.evaluate(small, "test").metrics


def test_it_is_quantised(run, model):
    small = compress.apply("int8", model, samples=run.samples(32)).model
    before, after = (run.evaluate(x, "test").metrics["foreground_iou"] for x in (model, small))
    assert after > before - 0.1
    assert small.output_shape == model.output_shape


@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_it_is_exported(run, model, target, tmp_path):
    """The numeric gate raises where the file does not answer as the model does."""
    done = export.export(model, target, tmp_path / target, samples=run.samples(64))
    parity = done.manifest.parity
    assert parity.passed and parity.samples >= 32
    assert parity.relative < (0.5 if target == "tflite-int8" else 1e-4)


def test_the_papers_network():
    """Section 2 and fig. 1; counted here by hand: 23 convolutions, each with a bias."""
    with keras.StatelessScope(initialize_variables=False):
        model = create("unet")
    assert model.output_shape == (None, 388, 388, 2)
    ins = [1, 64, 64, 128, 128, 256, 256, 512, 512, 1024]
    outs = [64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024]
    total = sum(9 * a * b + b for a, b in zip(ins, outs, strict=True))
    for wide in (1024, 512, 256, 128):
        half = wide // 2
        total += 4 * wide * half + half + 9 * wide * half + half + 9 * half * half + half
    assert total + 64 * 2 + 2 == model.count_params() == 31_030_658
    kernels = [layer for layer in model.layers if layer.weights]
    assert len(kernels) == 23
    sides = [layer.output.shape[1] for layer in model.layers if layer.name.endswith("conv2_relu")]
    assert sides == [568, 280, 136, 64, 28, 52, 100, 196, 388]
    drops = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert drops == ["down4_drop", "bottom_drop"]
    keras.utils.clear_session()


def test_tiles_fit_together_without_a_seam():
    """Fig. 2, the overlap-tile strategy: a tile's answers do not depend on where it was cut."""
    whole = unet(name="u", input_shape=(96, 96, 1), num_classes=2, width=4, depth=2, dropout=0.0)
    tile = unet(name="u", input_shape=(64, 64, 1), num_classes=2, width=4, depth=2, dropout=0.0)
    tile.set_weights(whole.get_weights())
    picture = logits(0, 1, 96, 96, 1)
    expected = whole.predict(picture, verbose=0)
    side, gap = answered(64, 2), (64 - answered(64, 2)) // 2
    assert expected.shape[1] == answered(96, 2) == 96 - 2 * gap
    for top, left in [(0, 0), (8, 16), (32, 32)]:  # multiples of the strides
        found = tile.predict(picture[:, top : top + 64, left : left + 64], verbose=0)
        np.testing.assert_allclose(
            found, expected[:, top : top + side, left : left + side], atol=1e-5
        )
    assert np.abs(expected).max() > 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_shape": (63, 64, 3)}, r"side of 63 pixels.*multiple of 8, e\.g\. 64"),
        ({"padding": "valid"}, r"side of 64 pixels.*expected 92 .*e\.g\. 92"),
        ({"depth": 0}, r"depth 0"),
        ({"padding": "full"}, r"padding 'full'"),
        ({"dropout": 1.0}, r"dropout 1\.0"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    values = {"input_shape": (64, 64, 3), "num_classes": 2, **settings}
    with pytest.raises(ValueError, match=message):
        create("unet_small", **values)


def test_the_paper_refuses_small_pictures():
    with pytest.raises(ValueError, match=r"at least 188"):
        create("unet", input_shape=(64, 64, 1))
    with pytest.raises(ValueError, match=r"e\.g\. 188\. In a recipe: data\.size=188"):
        create("unet", input_shape=(190, 190, 1))


def test_other_data_and_other_networks_are_refused():
    with pytest.raises(ValueError, match=r"^task.kind: got segment, which learns mask \(mask\)"):
        Segment().check(load("digits"))
    changes = ["task={kind: segment}", "data.size=64", "train.epochs=1"]
    wrong = Run(resolve("lenet5", data="digit_scenes", changes=changes))
    with pytest.raises(ValueError, match=r"segment: got outputs .*e\.g\. unet_small"):
        wrong.train(wrong.create())


def test_masks_are_laid_over_pictures():
    image = np.full((4, 6, 1), 100, "uint8")
    mask = np.zeros((2, 4), "uint8")
    mask[0, 0], mask[1, 3], mask[0, 3] = 1, 2, 255
    found = pictures.overlay(image, mask, 3)
    changed = np.argwhere((found != 100).any(axis=-1)).tolist()
    assert changed == [[1, 1], [2, 4]] and found.shape == (4, 6, 3)
    for index, place in enumerate(changed):
        middle_way = (100 + np.array(pictures.colour(index))) / 2
        np.testing.assert_allclose(found[tuple(place)], middle_way, atol=0.5)
    assert (image == 100).all()
    with pytest.raises(ValueError, match=r"overlay: got class 2; expected less than 2"):
        pictures.overlay(image, mask, 2)
    with pytest.raises(ValueError, match=r"mask \(5, 6\)"):
        pictures.overlay(image, np.zeros((5, 6), "uint8"), 2)


def test_inputs_become_pixels():
    ramp = np.linspace(-2, 3, 12, dtype="float32").reshape(2, 2, 3)
    shown = pictures.shown(ramp)
    assert shown.dtype == np.uint8 and shown.ravel()[[0, -1]].tolist() == [0, 255]
    np.testing.assert_allclose(np.diff(shown.ravel().astype(int)), 255 / 11, atol=1)
    assert not pictures.shown(ramp * 0).any()
    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    np.testing.assert_array_equal(pictures.shown(pixels), pixels)


def test_soft_dice_is_what_it_says():
    random = np.random.RandomState(0)
    logits = random.normal(size=(2, 4, 5, 3)).astype(np.float32)
    labels = random.randint(0, 3, (2, 4, 5))
    labels[1][labels[1] == 2] = 0  # nowhere in the second picture
    known = (random.uniform(size=(2, 4, 5)) < 0.8).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    expected = []
    for picture in range(2):
        found = []
        for label in (1, 2):
            p = shares[picture, ..., label] * known[picture]
            t = (labels[picture] == label) * known[picture]
            if t.any():
                found.append(2 * (p * t).sum() / ((p**2).sum() + (t**2).sum()))
        expected.append(1 - np.mean(found))
    got = soft_dice(labels, logits, known)
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    batch = {"mask": np.where(known > 0, labels, IGNORED).astype(np.uint8)}
    plain, more = (Segment(dice=d).loss_of(batch, logits) for d in (0.0, 0.5))
    added = np.broadcast_to(0.5 * np.array(expected)[:, None, None], (2, 4, 5))
    np.testing.assert_allclose(more.values - plain.values, added, rtol=1e-4, atol=1e-6)
    sure = 50.0 * np.eye(3, dtype=np.float32)[labels]
    np.testing.assert_allclose(soft_dice(labels, sure, known), 0, atol=1e-5)
    np.testing.assert_array_equal(soft_dice(0 * labels, logits, known), 0)  # nothing to be seen
