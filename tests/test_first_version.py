"""Bundles of the first version, written by hand as it wrote them, work as before."""

import json
import re

import keras
import numpy as np
import pytest
from PIL import Image

from zoo.bundle import Baseline, Bundle, Compression, Ensemble, Record
from zoo.common.columns import Column
from zoo.data.loading import load as load_data
from zoo.data.preprocessing import Preprocessing
from zoo.recipe import Recipe
from zoo.stages.compress import compress
from zoo.training.ensemble import ensemble

DIGITS, DIABETES = load_data("digits"), load_data("diabetes")

RECIPE = """
model: {model}
settings: {{}}
data:
  name: {data}
  size: null
  channels: null
  limit: null
  augment: {{shift: 0, rotate: 0.0, mirror: auto}}
train:
  epochs: 20
  batch_size: 100
  loss: {loss}
  label_smoothing: {smoothing}
  auxiliary_weight: 0.25
  optimizer:
    kind: adamw
    learning_rate: 0.003
    momentum: 0.9
    nesterov: false
    weight_decay: 0.0
    warmup: 0.05
    schedule: cosine
    milestones: [0.5, 0.75]
    factor: 0.1
    patience: 5
    cycles: 5
    clip_value: null
    clip_norm: null
    clip_global_norm: null
    ema: null
  regularize: {{l1: 0.0, l2: 0.0, max_norm: null}}
  transfer: {{weights: null, frozen_epochs: 0, head_learning_rate: 0.001, unfreeze: 1.0}}
hardware: {{strategy: one, devices: null, precision: float32, jit: auto}}
seed: 0
"""


def card(architecture, task, shape, labels, preprocessing, data):
    return {
        "schema_version": 1,
        "architecture": architecture,
        "task": task,
        "paper": "LeCun et al., Proc. IEEE 86(11)",
        "input_shape": shape,
        "labels": labels,
        "preprocessing": preprocessing,
        "parameters": 650,
        "data": data,
        "licence": "Apache-2.0",
        "passes": [],
        "parent": None,
        "custom_layers": [],
        "members": [],
    }


def report(**changes):
    return {
        "schema_version": 1,
        "status": "complete",
        "metrics": {"loss": 0.25, "top1": 0.94, "top5": 0.99, "ece": 0.02},
        "validation": {"loss": 0.3, "top1": 0.93, "top5": 0.99, "ece": 0.03},
        "examples": {"train": 1257, "validation": 180, "test": 360},
        "source": "scikit-learn 1.8.0, load_digits",
        "problems": [],
        "per_class": [
            {"label": "0", "precision": 1.0, "recall": 0.5, "f1": 0.67, "support": 2},
            {"label": "1", "precision": 0.5, "recall": 1.0, "f1": 0.67, "support": 1},
        ],
        "confusion": [[1, 1], [0, 1]],
        "epochs": 20,
        "seconds": {"total": 5.0, "train": 3.0, "epoch": 0.15},
        "images_per_second": 8380.0,
        "hardware": {"processor": "CPU", "cores": 2, "precision": "float32"},
        "versions": {"keras": "3.15.0", "tensorflow": "2.21.0", "numpy": "2.3.0"},
        "seed": 0,
        "commit": "",
        "compression": {},
        "pipeline": "",
        "changes": [],
        "parent_name": "",
        "parent_metrics": {},
        "file": {},
        "member_metrics": [],
        "baseline": {},
        **changes,
    }


def write(folder, model, the_card, the_report, recipe):
    folder.mkdir()
    model.save(folder / "model.keras")
    (folder / "card.json").write_text(json.dumps(the_card))
    (folder / "report.json").write_text(json.dumps(the_report))
    (folder / "recipe.yaml").write_text(recipe)
    return Bundle(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("first")


@pytest.fixture(scope="module")
def digits(folder):
    """A linear classifier: least squares on the classes, which is right for most digits."""
    scale = Preprocessing.measure(DIGITS.train["image"])
    inputs = scale.apply(DIGITS.train["image"]).reshape(-1, 64)
    matrix = np.column_stack([inputs, np.ones(len(inputs))])
    solution, *_ = np.linalg.lstsq(matrix, 10 * np.eye(10)[DIGITS.train["label"]])
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    model = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="linear")
    model.set_weights([solution[:-1], solution[-1]])
    values = scale.model_dump(mode="json")
    the_card = card("linear", "classify", [8, 8, 1], [str(n) for n in range(10)], values, "digits")
    recipe = RECIPE.format(model="linear", data="digits", loss="auto", smoothing=0.1)
    return write(folder / "digits", model, the_card, report(), recipe)


@pytest.fixture(scope="module")
def number(folder):
    """Least squares; the one input was called `image` then, whatever it read."""
    scale = Preprocessing.measure(DIABETES.train["features"])
    matrix = np.column_stack([scale.apply(DIABETES.train["features"]), np.ones(310)])
    solution, *_ = np.linalg.lstsq(matrix, DIABETES.train["target"])
    rows = keras.Input((10,), name="image")
    x = keras.layers.Flatten(name="flatten")(rows)
    model = keras.Model(rows, keras.layers.Dense(1, name="logits")(x), name="linear_regression")
    model.set_weights([solution[:-1, None], solution[-1:]])
    values = scale.model_dump(mode="json")
    the_card = card("linear_regression", "regress", [10], [], values, "diabetes")
    told = report(
        metrics={"loss": 1.0, "mse": 1.0, "mae": 1.0, "r2": 0.5}, per_class=[], confusion=[]
    )
    recipe = RECIPE.format(model="linear_regression", data="diabetes", loss="huber", smoothing=0.0)
    return write(folder / "number", model, the_card, told, recipe)


# What is read


def test_card_of_the_first_version(digits, number):
    for bundle, shape, labels in ((digits, (8, 8, 1), tuple("0123456789")), (number, (10,), ())):
        found = bundle.card
        assert found.schema_version == 2 and found.input_shape == shape and found.labels == labels
        assert found.columns == {} and found.networks == () and found.parameters == 650
        assert Preprocessing.model_validate(found.preprocessing).shape == shape
    assert digits.card.inputs == {"image": Column("image", (8, 8, 1))}
    assert digits.card.outputs == {"logits": Column("class", (), tuple("0123456789"))}
    assert number.card.inputs == {"image": Column("features", (10,))}
    assert number.card.outputs == {"logits": Column("number")}


def test_report_of_the_first_version(digits, number):
    found = digits.report
    assert found.schema_version == 2 and found.examples_per_second == 8380.0
    assert found.tables["confusion"] == [[1, 1], [0, 1]]
    assert [row["support"] for row in found.tables["per_class"]] == [2, 1]
    assert found.compress is found.ensemble is found.baseline is None
    assert found.metrics["top1"] == 0.94 and found.validation["top1"] == 0.93
    assert number.report.tables == {} and number.report.metrics["r2"] == 0.5


def test_recipe_of_the_first_version(digits, number, tmp_path):
    task = digits.recipe.task
    assert (task.kind, task.loss.kind, task.label_smoothing) == ("classify", "cross_entropy", 0.1)
    assert task.auxiliary_weight == 0.25
    train = digits.recipe.train
    assert (train.epochs, train.batch_size, train.optimizer.warmup) == (20, 100, 0.05)
    assert (train.keep, train.phases, train.optimizers) == ("last", (), {})
    assert (number.recipe.task.kind, number.recipe.task.loss.kind) == ("regress", "huber")
    path = tmp_path / "recipe.yaml"  # written anew it is one of today
    path.write_text(digits.recipe.to_yaml())
    assert Recipe.read(path) == digits.recipe


def test_parts_of_a_report_of_the_first_version(tmp_path):
    """What a compression, an ensemble and a baseline added."""
    passes = {"before": {}, "after": {}, "passes": [], "budget": None, "passed": True}
    file = {"bytes": 5, "metrics": {"top1": 0.9}}
    changes = {
        "compress": {
            "compression": passes,
            "pipeline": "prune90",
            "changes": ["train.batch_size=50"],
            "parent_name": "lenet5",
            "parent_metrics": {"top1": 0.95},
            "file": file,
        },
        "ensemble": {"member_metrics": [{"top1": 0.9}, {"top1": 0.8}]},
        "baseline": {"baseline": {"settings": {"k": 3}, "tried": [{"k": 3, "top1": 0.9}]}},
    }
    expected = {
        "compress": Compression(
            passes=passes,
            recipe="prune90",
            changes=("train.batch_size=50",),
            parent_name="lenet5",
            parent_metrics={"top1": 0.95},
            file=file,
        ),
        "ensemble": Ensemble(member_metrics=({"top1": 0.9}, {"top1": 0.8})),
        "baseline": Baseline(settings={"k": 3}, tried=({"k": 3, "top1": 0.9},)),
    }
    for kind, values in changes.items():
        folder = tmp_path / kind
        folder.mkdir()
        names = [str(n) for n in range(10)]
        (folder / "card.json").write_text(
            json.dumps(card("knn_l2", "classify", [8, 8, 1], names, {}, "digits"))
        )
        (folder / "report.json").write_text(json.dumps(report(**values)))
        found = Record(folder)
        parts = {name: getattr(found.report, name) for name in expected}
        assert parts == {name: expected[name] if name == kind else None for name in expected}
        assert found.card.input_shape == (8, 8, 1) and found.card.labels == tuple(names)


def test_a_wrong_key_is_told_in_the_first_version_too(tmp_path):
    for name, values in (("card.json", {"lisence": "MIT"}), ("report.json", {"metric": 1})):
        wrong = {"card.json": card("linear", "classify", [8, 8, 1], [], {}, "digits")}
        wrong["report.json"] = report()
        wrong[name] |= values
        for file, content in wrong.items():
            (tmp_path / file).write_text(json.dumps(content))
        found, key = Record(tmp_path), name.removesuffix(".json")
        where = re.escape(str(tmp_path / name))
        with pytest.raises(ValueError, match=rf"^{where}\.\w+: unknown key\. Did you mean"):
            getattr(found, key)


# What works


def test_evaluate_a_bundle_of_the_first_version(digits, number, zoo):
    model = keras.saving.load_model(digits.path / "model.keras")
    scale = Preprocessing.model_validate(digits.card.preprocessing)
    logits = model.predict(scale.apply(DIGITS.test["image"]), verbose=0)
    right = np.mean(logits.argmax(axis=1) == DIGITS.test["label"])
    found = zoo("evaluate", digits.path, "--json")
    assert found["metrics"]["top1"] == pytest.approx(right) and right > 0.85
    assert np.sum(found["tables"]["confusion"]) == 360
    assert "confidence" in zoo("evaluate", digits.path, "--split", "validation")
    found = zoo("evaluate", number.path, "--json")
    assert 0.3 < found["metrics"]["r2"] < 0.7 and found["tables"] == {}
    # The loss is that of the recipe: Huber's.
    assert found["metrics"]["loss"] == pytest.approx(found["metrics"]["mae"], abs=0.5)


def test_ask_a_bundle_of_the_first_version(digits, number, zoo, tmp_path):
    picture, rows = tmp_path / "digit.png", tmp_path / "rows.csv"
    Image.fromarray(DIGITS.test["image"][0, ..., 0]).save(picture)
    best = zoo("predict", digits.path, picture, "--top", "10", "--json")
    assert best[0]["label"] == str(DIGITS.test["label"][0])
    assert sum(row["probability"] for row in best) == pytest.approx(1)
    lines = [",".join(map(str, row)) for row in DIABETES.test["features"]]
    rows.write_text("\n".join(lines))
    values = [row["value"] for row in zoo("predict", number.path, rows, "--json")]
    error = np.mean((np.array(values) - DIABETES.test["target"]) ** 2)
    found = zoo("evaluate", number.path, "--json")["metrics"]
    assert error == pytest.approx(found["mse"], rel=1e-4)


def test_export_a_bundle_of_the_first_version(digits, number, zoo, tmp_path):
    targets = ("tflite", "onnx", "tflite-int8")
    done = zoo("export", digits.path, *targets, "--out", tmp_path, "--json")
    assert [one["parity"]["passed"] for one in done] == [True] * 3
    assert done[0]["labels"] == list("0123456789")
    top1 = zoo("evaluate", digits.path, "--json")["metrics"]["top1"]
    assert done[0]["score"]["file"]["top1"] == pytest.approx(top1)
    file = zoo("evaluate", digits.path, "--file", tmp_path / "digits-tflite", "--json")
    assert file["metrics"]["top1"] == pytest.approx(top1) and file["same_top1"] == 1
    (pixels,) = zoo("export", digits.path, "tflite", "--pixels", "--out", tmp_path / "p", "--json")
    assert pixels["score"]["file"]["top1"] == pytest.approx(top1)
    (done,) = zoo("export", number.path, "onnx", "--out", tmp_path, "--json")
    assert done["parity"]["passed"] and done["signature"]["inputs"][0]["name"] == "image"
    assert done["score"]["file"]["mse"] == pytest.approx(done["score"]["model"]["mse"], rel=1e-3)


def test_compress_a_bundle_of_the_first_version(digits, number, tmp_path):
    recipe = tmp_path / "half.yaml"
    recipe.write_text("passes: [{kind: prune, sparsity: 0.5, epochs: 1}]")
    small = compress(digits, recipe, out=tmp_path / "small")
    assert small.card.parent == digits.sha256 and small.card.schema_version == 2
    assert json.loads((small.path / "card.json").read_text())["schema_version"] == 2
    assert small.report.compress.parent_metrics == digits.report.metrics
    assert small.recipe.task.label_smoothing == 0.1
    assert small.report.metrics["top1"] > 0.8
    less = compress(number, recipe, out=tmp_path / "less", changes=["train.batch_size=62"])
    assert less.report.metrics["r2"] > 0.2 and less.card.inputs["image"].kind == "features"


def test_average_bundles_of_the_first_version(digits, tmp_path):
    both = ensemble([digits.path, digits.path], out=tmp_path / "both")
    first, second = both.report.ensemble.member_metrics
    assert first == second and both.report.metrics["top1"] == pytest.approx(first["top1"])
    assert both.card.labels == digits.card.labels


def test_a_bundle_of_the_first_version_needs_its_data(digits, folder, zoo):
    """It kept no examples: what is wrong is told, not guessed around."""
    away = folder / "away"
    away.mkdir()
    for path in digits.path.iterdir():
        (away / path.name).write_bytes(path.read_bytes())
    text = (away / "recipe.yaml").read_text()
    (away / "recipe.yaml").write_text(text.replace("name: digits", "name: folder:nowhere"))
    line = zoo("evaluate", away, expect=2)
    assert "nowhere: no such folder" in line and len(line.strip().splitlines()) == 1
    names = json.loads((away / "card.json").read_text())
    (away / "card.json").write_text(json.dumps(names | {"labels": list("abcdefghij")}))
    (away / "recipe.yaml").write_text(text)
    line = zoo("evaluate", away, expect=2)
    assert "10 names: a, b, c, ..." in line and "which the model was trained on" in line
