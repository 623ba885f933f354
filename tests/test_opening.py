"""A bundle whose data set has moved, is gone or has changed: what still works, and what is told."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

import zoo as package
from zoo.bundle import Bundle
from zoo.data.loading import load
from zoo.stages.compress import compress
from zoo.stages.evaluate import evaluate
from zoo.stages.export import export
from zoo.stages.opening import kept, reopen

COUNT = 30  # pictures of each class


def paint(folder, names=("dark", "light")):
    """Pictures of 8x8: noise around one of two greys, so that one epoch tells them apart."""
    random = np.random.RandomState(0)
    for place, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(COUNT):
            pixels = random.randint(0, 100, (8, 8)) + 150 * place
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index:02}.png")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A bundle, and where its pictures were."""
    root = tmp_path_factory.mktemp("root")
    pictures = paint(root / "pictures")
    changes = ["data.size=8", "train.epochs=8", "train.batch_size=16"]
    data = f"folder:{pictures}"
    bundle = package.fit("linear", data=data, out=root / "runs" / "linear", changes=changes)
    whole = evaluate(bundle).evaluation
    assert whole.metrics["top1"] == 1.0 and bundle.report.examples["train"] == 48
    return bundle, pictures


@pytest.fixture
def moved(trained):
    """The same, after the pictures have moved."""
    bundle, pictures = trained
    elsewhere = pictures.with_name("elsewhere")
    pictures.rename(elsewhere)
    yield bundle, elsewhere
    elsewhere.rename(pictures)


def test_a_bundle_keeps_a_few_raw_examples(trained):
    bundle, pictures = trained
    data = load(f"folder:{pictures}", size=8)
    with np.load(bundle.path / "samples.npz") as file:
        found = {name: file[name] for name in file.files}
    assert set(found) == {"train/image", "train/label", "test/image", "test/label"}
    for split, whole in (("train", data.train), ("test", data.test)):
        for name in ("image", "label"):
            expected = np.asarray(whole[name])[: len(found[f"{split}/{name}"])]
            np.testing.assert_array_equal(found[f"{split}/{name}"], expected)
    assert len(found["train/label"]) == 48 and len(found["test/label"]) == 6
    small = kept(bundle)
    assert small.columns == data.columns == dict(bundle.card.columns)
    assert small.name == f"folder:{pictures}" and "48 training and 6 test" in small.source


def test_what_is_kept_has_a_limit(tmp_path):
    """64 and 32 examples, fewer of large ones, 8 at least."""
    changes = ["train.epochs=1", "data.limit=200"]
    for size, counts in ((None, (64, 32)), (400, (26, 26))):
        out = tmp_path / str(size)
        more = [f"data.size={size or 'null'}"]
        bundle = package.fit("linear", data="digits", out=out, changes=[*changes, *more])
        small = kept(bundle)
        assert (len(small.train), len(small.test)) == counts
        assert small.train["image"].nbytes <= 2**22


def test_a_whole_bundle_is_opened_on_its_data(trained):
    bundle, _ = trained
    opened = reopen(bundle)
    assert opened.whole and opened.run.examples("train") == 48
    assert opened.run.data.problems == () and list(opened.run.networks) == ["net"]


def test_a_bundle_is_measured_on_what_it_keeps(moved, caplog):
    bundle, _ = moved
    with caplog.at_level("WARNING", logger="zoo"):
        opened = reopen(bundle)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "is not at hand" in line and "pictures: no such folder" in line
    assert "the 6 examples that the bundle keeps stand in for it" in line and "\n" not in line
    assert not opened.whole
    # What is chosen by is not what is reported on.
    assert [opened.run.examples(split) for split in ("train", "validation", "test")] == [48, 48, 6]
    found = evaluate(bundle)
    assert found.evaluation.metrics == pytest.approx(bundle.report.metrics)
    assert found.same_top1 is None and not found.whole and found.examples == 6


def test_a_bundle_is_exported_with_what_it_keeps(moved, zoo, tmp_path):
    bundle, _ = moved
    done = zoo("export", bundle.path, "tflite", "tflite-int8", "--out", tmp_path, "--json")
    for one in done:
        assert one["parity"]["passed"] and one["parity"]["inputs"] != "random"
        assert one["score"]["file"]["top1"] == 1.0 and one["score"]["examples"] == 6
    found = zoo("evaluate", bundle.path, "--file", tmp_path / "linear-tflite", "--json")
    assert found["metrics"]["top1"] == 1.0 and found["same_top1"] == 1.0
    (pixels,) = export(bundle, "onnx", out=tmp_path / "pixels", pixels=True)
    assert pixels.manifest.signature.inputs[0].dtype == "uint8"
    assert pixels.manifest.score.file["top1"] == 1.0


def test_a_bundle_is_asked_wherever_its_data_are(moved):
    bundle, elsewhere = moved
    pictures = [elsewhere / name / "00.png" for name in ("dark", "light")]
    rows = package.predict(bundle.path, pictures, top=1)
    assert [(row["image"], row["label"]) for row in rows] == [
        (str(pictures[0]), "dark"), (str(pictures[1]), "light"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"^split: got 'tset'; expected train, .*, test or all"):
        package.evaluate(bundle.path, "tset")


def test_a_pass_that_trains_needs_the_data(moved, zoo, tmp_path):
    bundle, elsewhere = moved
    out = tmp_path / "small"
    told = zoo("compress", bundle.path, "prune50", "--out", out, expect=2)
    lines = [line for line in told.splitlines() if line.startswith("zoo compress: ")]
    assert len(lines) == 1 and "Traceback" not in told
    assert "pictures is not at hand, and prune50 trains on it" in lines[0]
    assert "data.name=folder:PATH" in lines[0] and not out.exists()
    assert list(tmp_path.iterdir()) == []
    # It says what to do, and that helps.
    change = f"data.name=folder:{elsewhere}"
    zoo("compress", bundle.path, "prune50", "--set", change, "--out", out)
    small = Bundle(out)
    assert small.report.examples["train"] == 48 and small.recipe.data.name == f"folder:{elsewhere}"


def test_what_is_measured_needs_the_data(moved, tmp_path):
    """The few examples that are kept decide nothing, and excuse no mistake."""
    bundle, elsewhere = moved
    recipe = tmp_path / "budget.yaml"
    recipe.write_text("passes: [{kind: quantize, epochs: 0}]\nbudget: {max_drop: 0.01}")
    with pytest.raises(FileNotFoundError, match="and the budget of budget is measured on it"):
        compress(bundle, recipe, out=tmp_path / "small")
    change = [f"data.name=folder:{elsewhere}", "data.limit=1"]
    with pytest.raises(ValueError, match="limit: got 1 training images; expected at least 2"):
        compress(bundle, "int8", out=tmp_path / "small", changes=change)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        compress(bundle, "int8", out=tmp_path / "small", changes=["data.name=folder:/nowhere"])


def test_passes_that_do_not_train_need_no_data(moved, tmp_path):
    bundle, _ = moved
    recipe = tmp_path / "calibrated.yaml"
    recipe.write_text("passes: [{kind: quantize, epochs: 0}]")
    small = compress(bundle, recipe, out=tmp_path / "small")
    assert small.report.metrics["top1"] == 1.0 and small.report.compress.file["bytes"] > 0
    assert small.report.compress.file["distance"]["sqnr_db"] > 10
    assert "samples.npz of the bundle" in small.report.source
    again = evaluate(small).evaluation
    assert again.metrics == pytest.approx(small.report.metrics)


def test_data_that_are_others_now_are_refused(trained, tmp_path, zoo):
    """The folder is there, but a class has another name."""
    bundle, _ = trained
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    others = paint(tmp_path / "others", ("black", "white"))
    text = (copy / "recipe.yaml").read_text()
    (copy / "recipe.yaml").write_text(text.replace("/pictures", "/nowhere"))
    change = f"data.name=folder:{others}"
    line = zoo("compress", copy, "prune50", "--set", change, "--out", tmp_path / "x", expect=2)
    told = [one for one in line.splitlines() if one.startswith("zoo compress: ")]
    assert len(told) == 1 and "2 names: black, white" in told[0]
    assert "expected image (image, 8 x 8 x 1), label (class, 2 names: dark, light)" in told[0]


def test_a_folder_that_has_grown_is_told(trained, caplog):
    """It is split anew: what was learnt may now be tested."""
    bundle, pictures = trained
    more = pictures / "dark" / "more.png"
    Image.new("L", (8, 8), 40).save(more)
    try:
        with caplog.at_level("WARNING", logger="zoo"):
            assert reopen(bundle).whole
    finally:
        more.unlink()
    (line,) = caplog.messages
    assert "pictures has changed since the model was trained" in line and "has learnt" in line


def test_without_what_it_kept_a_bundle_is_refused(moved, tmp_path, zoo):
    bundle, _ = moved
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    (copy / "samples.npz").unlink()
    line = zoo("evaluate", copy, expect=2)
    assert "pictures: no such folder" in line and len(line.strip().splitlines()) == 1
    card = json.loads((copy / "card.json").read_text())
    assert card["columns"]["label"]["names"] == ["dark", "light"]
