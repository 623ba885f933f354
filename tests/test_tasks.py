"""Tasks: which one a recipe asks for, what it refuses, and what it measures."""

import json
import re

import numpy as np
import pytest
from keras import ops
from sklearn import metrics

import zoo
from serving.engines import open_deployable
from zoo import losses
from zoo.common.columns import Column
from zoo.data import Preprocessing, load
from zoo.models import create
from zoo.models.saved import load_model
from zoo.recipe import Recipe
from zoo.tasks.labels.binary import Binary
from zoo.tasks.labels.classify import Classify
from zoo.tasks.labels.regress import Regress
from zoo.training.fitting import fit

DIGITS, CANCER, DIABETES = (load(name) for name in ("digits", "breast_cancer", "diabetes"))


def named(value):
    return getattr(value, "name", str(value))


def asked(data, model="linear", **task):
    """The task of a recipe on a data set."""
    return Recipe(model=model, data={"name": data.name}, task=task).task


@pytest.mark.parametrize(
    ("data", "loss", "kind", "outputs"),
    [
        (DIGITS, "auto", "classify", 10),
        (DIGITS, "multiclass_svm", "classify", 10),
        (CANCER, "auto", "classify", 2),
        (CANCER, "binary_cross_entropy", "binary", 1),
        (CANCER, "perceptron", "binary", 1),
        (DIABETES, "auto", "regress", 1),
        (DIABETES, "huber", "regress", 1),
    ],
    ids=named,
)
def test_the_kind_follows_data_and_loss(data, loss, kind, outputs):
    task = asked(data, **{} if loss == "auto" else {"loss": loss})
    task.check(data)
    sizes = task.sizes(data)
    assert (task.kind, sizes["num_classes"]) == (kind, outputs)
    assert sizes["input_shape"] == data.train[data.input].shape[1:]
    usual = "mse" if kind == "regress" else "cross_entropy"
    assert task.loss.kind == (usual if loss == "auto" else loss)
    (output,) = task.outputs(data).values()
    assert output.names == data.labels


@pytest.mark.parametrize(
    ("model", "data", "kind"),
    [
        ("logistic_regression", CANCER, "binary"),
        ("linear_regression", DIABETES, "regress"),
        ("linear_regression", DIGITS, "classify"),
        ("logistic_regression", DIABETES, "regress"),
        ("lenet5", DIGITS, "classify"),
    ],
    ids=named,
)
def test_the_kind_is_the_architectures_where_the_data_allow_it(model, data, kind):
    assert asked(data, model=model).kind == kind


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (DIGITS, {"loss": "mse"}, r"got regress, which learns target \(number\); digits has image"),
        (
            DIGITS,
            {"loss": "hinge"},
            "got binary, a yes or no; digits has 10 classes. Take task.kin",
        ),
        (
            DIABETES,
            {"loss": "cross_entropy"},
            r"got classify, which learns label \(class\); diabetes has .* target \(number\)",
        ),
        (
            DIABETES,
            {"loss": "hinge"},
            r"got binary, which learns label \(class\); diabetes has .* target \(number\). Take an",
        ),
    ],
    ids=named,
)
def test_a_loss_of_other_data_is_refused_in_one_line(data, settings, message):
    task = asked(data, **settings)
    with pytest.raises(ValueError, match=message) as caught:
        task.check(data)
    assert str(caught.value).startswith("task.kind: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (
            DIGITS,
            {"loss": "multiclass_svm", "label_smoothing": 0.1},
            r"label_smoothing: got 0.1 with multiclass_svm; expected 0, or a loss that smooths",
        ),
        (DIABETES, {"label_smoothing": 0.1}, r"label_smoothing: got 0.1 with mse; .*cross_entropy"),
        (
            DIGITS,
            {"kind": "classify", "loss": "mse"},
            r"loss: got 'mse', a loss of numbers; expected one of classes, .* Take cross_entropy",
        ),
        (
            DIGITS,
            {"kind": "classify", "loss": "hinge"},
            r"loss: got 'hinge', a loss of a yes or no; expected one of classes",
        ),
        (
            DIABETES,
            {"kind": "regress", "loss": "cross_entropy"},
            r"loss: got 'cross_entropy', a loss of classes; expected one of numbers, .* Take mse",
        ),
        (
            DIABETES,
            {"kind": "regress", "loss": "hinge"},
            r"loss: got 'hinge', a loss of a yes or no; expected one of numbers, .* Take mse",
        ),
        (
            CANCER,
            {"kind": "binary", "loss": "focal"},
            r"loss: got 'focal', .* Take binary_cross_en",
        ),
        (
            DIGITS,
            {"kind": "clasify"},
            r"kind: got 'clasify'; expected a task. Did you mean 'classi",
        ),
        (DIGITS, {"los": "mse"}, r"los: unknown key. Did you mean 'loss'"),
    ],
    ids=named,
)
def test_settings_that_do_not_fit_are_refused_in_one_line(data, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        asked(data, **settings)
    assert str(caught.value).startswith("Recipe.task.") and "\n" not in str(caught.value)


def sample(task, num=200, seed=0, classes=10):
    """Targets and outputs that suit a task."""
    random = np.random.RandomState(seed)
    outputs = random.normal(size=(num, classes if task.kind == "classify" else 1)).astype("float32")
    if task.kind == "regress":
        return (outputs[:, 0] + random.normal(size=num)).astype("float32"), outputs
    return random.randint(0, max(2, outputs.shape[1]), num).astype("int32"), outputs


def scored(task, labels, outputs, names=None):
    """The evaluation of outputs; the classes are numbers when they have no names."""
    if task.kind == "regress":
        return task.score({"target": labels}, outputs, {"target": Column("number")})
    names = names or tuple(map(str, range(max(2, outputs.shape[1]))))
    return task.score({"label": labels}, outputs, {"label": Column("class", (), names)})


def batch_of(task, labels):
    (name,) = task.targets
    return {name: labels}


TASKS = [
    (Classify(), 10),
    (Classify(label_smoothing=0.1), 3),
    (Classify(loss="multiclass_svm"), 10),
    (Classify(loss={"kind": "focal", "gamma": 1.0}, label_smoothing=0.1), 4),
    (Binary(), 1),
    (Binary(label_smoothing=0.1), 1),
    (Binary(loss="hinge"), 1),
    (Regress(), 1),
    (Regress(loss="huber"), 1),
    (Regress(loss={"kind": "huber", "delta": 0.25}), 1),
]


@pytest.mark.parametrize(("task", "classes"), TASKS, ids=named)
def test_training_and_report_measure_the_same(task, classes):
    """`measures`, whose means training prints, and `score`, which a report holds."""
    labels, outputs = sample(task, classes=classes)
    found, batch = scored(task, labels, outputs), batch_of(task, labels)
    measures = task.measures(batch, outputs)
    assert measures
    for name, (values, weights) in measures.items():
        assert values.shape == labels.shape and weights is None
        assert float(ops.mean(values)) == pytest.approx(found.metrics[name], rel=1e-5)
    plain = losses.loss_function(task.loss.kind)(labels, outputs, **task.loss.changes)
    assert found.metrics["loss"] == pytest.approx(float(ops.mean(plain)), rel=1e-5)
    smoothed = float(ops.mean(task.loss_of(batch, outputs).values))
    smooths = getattr(task, "label_smoothing", 0) > 0
    assert (abs(smoothed - found.metrics["loss"]) > 1e-4) == smooths
    assert json.loads(json.dumps([found.metrics, found.tables])) is not None
    classed = {"per_class", "confusion", "reliability"}
    assert set(found.tables) == (set() if task.kind == "regress" else classed)
    assert all(map(len, found.tables.values()))
    assert set(found.pictures) == (set() if task.kind == "regress" else {"confusion"})


def test_a_yes_begins_at_a_half_of_a_probability():
    answers = np.array([[-1.0], [0.2], [0.7]], "float32")
    assert Binary().chosen(answers).tolist() == [False, True, True]
    assert Binary(probabilities=True).chosen(answers[1:]).tolist() == [False, True]


@pytest.mark.oracle
def test_scores_equal_scikit_learn():
    labels, outputs = sample(Classify())
    found = scored(Classify(), labels, outputs).metrics
    assert found["top1"] == pytest.approx(metrics.top_k_accuracy_score(labels, outputs, k=1))
    assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(labels, outputs, k=5))
    labels, outputs = sample(Binary())
    found = scored(Binary(), labels, outputs, ("no", "yes"))
    assert found.metrics["auc"] == pytest.approx(metrics.roc_auc_score(labels, outputs[:, 0]))
    assert found.metrics["top1"] == metrics.accuracy_score(labels, outputs[:, 0] > 0)
    assert [row["label"] for row in found.tables["per_class"]] == ["no", "yes"]
    labels, outputs = sample(Regress())
    found = scored(Regress(), labels, outputs).metrics
    assert set(found) == {"loss", "mse", "mae", "r2"}
    assert found["r2"] == pytest.approx(metrics.r2_score(labels, outputs[:, 0]))


def test_one_output_says_what_two_would():
    """The sigmoid of s is the softmax of (0, s): all that both tasks measure is equal."""
    labels, outputs = sample(Binary())
    two = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    one, both = scored(Binary(), labels, outputs), scored(Classify(), labels, two)
    for name in ("loss", "top1", "ece"):
        assert one.metrics[name] == pytest.approx(both.metrics[name], rel=1e-5)
    assert one.tables["confusion"] == both.tables["confusion"]
    assert both.metrics["top5"] == 1


def test_a_split_of_one_class_has_no_auc():
    found = scored(Binary(), np.ones(4, "int32"), np.ones((4, 1), "float32")).metrics
    assert "auc" not in found and found["top1"] == 1


def test_equal_outputs_are_no_hit():
    """In training as in the report: a dead net is right for the first class only."""
    labels, outputs = np.arange(10, dtype="int32"), np.zeros((10, 10), "float32")
    task = Classify()
    found = scored(task, labels, outputs).metrics
    for name, expected in (("top1", 0.1), ("top5", 0.5)):
        assert found[name] == expected
        (values, _) = task.measures({"label": labels}, outputs)[name]
        assert float(ops.mean(values)) == pytest.approx(expected)


# From a recipe to a bundle


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A yes or no, and a number."""
    runs = tmp_path_factory.mktemp("runs")
    short = ["train.epochs=30", "train.batch_size=32"]
    return {
        name: fit(name, out=runs / name, changes=short)
        for name in ("logistic_regression", "linear_regression")
    }


def test_bundle_of_a_yes_or_no(bundles):
    bundle = bundles["logistic_regression"]
    card, report = bundle.card, bundle.report
    assert card.task == "binary" and card.labels == ("malignant", "benign")
    assert card.input_shape == (30,) and card.parameters == 31
    assert report.metrics["top1"] > 0.9 and report.metrics["auc"] > 0.97
    assert np.sum(report.tables["confusion"]) == report.examples["test"] == 113
    assert {row["label"] for row in report.tables["per_class"]} == {"malignant", "benign"}
    assert (bundle.path / "confusion.png").is_file()


def test_bundle_of_a_number(bundles):
    bundle = bundles["linear_regression"]
    card, report = bundle.card, bundle.report
    assert card.task == "regress" and card.labels == () and card.parameters == 11
    assert report.metrics["r2"] > 0.4 and report.metrics["mae"] > 0
    assert report.metrics["loss"] == pytest.approx(report.metrics["mse"])
    assert report.tables == {}
    assert (bundle.path / "curves.png").is_file()
    assert not (bundle.path / "confusion.png").exists()
    assert "val_mae" in (bundle.path / "history.csv").read_text().splitlines()[0]


def write_csv(path, rows):
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


def test_predict_and_evaluate_a_yes_or_no(bundles, zoo, tmp_path):
    bundle = bundles["logistic_regression"]
    file = write_csv(tmp_path / "rows.csv", CANCER.test["features"])
    best = zoo("predict", bundle.path, file, "--top", "1", "--json")
    assert len(best) == 113 and best[0]["row"] == f"{file}:1"
    right = [row["label"] == CANCER.labels[label]
             for row, label in zip(best, CANCER.test["label"], strict=True)]  # fmt: skip
    assert np.mean(right) == pytest.approx(bundle.report.metrics["top1"])
    both = zoo(
        "predict", bundle.path, write_csv(tmp_path / "1.csv", CANCER.test["features"][:1]), "--json"
    )
    assert {row["label"] for row in both} == set(CANCER.labels)
    assert sum(row["probability"] for row in both) == pytest.approx(1)
    found = zoo("evaluate", bundle.path, "--json")
    assert found["metrics"] == pytest.approx(bundle.report.metrics)
    assert sum(row["num"] for row in found["tables"]["reliability"]) == 113
    out = zoo("evaluate", bundle.path)
    assert "ece" in out and "confidence" in out and "malignant" in out


def test_predict_and_evaluate_a_number(bundles, zoo, tmp_path):
    bundle = bundles["linear_regression"]
    file = write_csv(tmp_path / "rows.csv", DIABETES.test["features"])
    values = np.array([row["value"] for row in zoo("predict", bundle.path, file, "--json")])
    error = np.mean((values - DIABETES.test["target"]) ** 2)
    assert error == pytest.approx(bundle.report.metrics["mse"], rel=1e-4)
    found = zoo("evaluate", bundle.path, "--json")
    assert found["metrics"] == pytest.approx(bundle.report.metrics)
    assert found["tables"] == {}
    assert "confusion" not in zoo("evaluate", bundle.path)


def test_predict_refuses_what_is_no_row(bundles, zoo, tmp_path):
    path = bundles["linear_regression"].path
    short = write_csv(tmp_path / "short.csv", [[1, 2]])
    ragged = write_csv(tmp_path / "ragged.csv", [[1] * 10, [1] * 9])
    words = write_csv(tmp_path / "words.csv", [["age"] * 10])
    empty = write_csv(tmp_path / "empty.csv", [])
    for file in (short, ragged, words, empty, tmp_path / "gone.csv"):
        line = zoo("predict", path, file, expect=2)
        assert str(file) in line and re.search(r"\b10\b", line) and len(line.splitlines()) == 1


@pytest.mark.parametrize("name", ["logistic_regression", "linear_regression"])
def test_one_output_is_exported_and_served(name, bundles, zoo, tmp_path):
    bundle, targets = bundles[name], ("tflite", "onnx", "saved_model", "tflite-int8")
    done = zoo("export", bundle.path, *targets, "--out", tmp_path, "--json")
    assert [row["parity"]["passed"] for row in done] == [True] * 4
    assert all(row["signature"]["outputs"][0]["shape"][1:] == [1] for row in done)
    assert max(row["parity"]["relative"] for row in done[:3]) < 1e-5
    assert done[0]["preprocessing"]["size"] is None
    data = CANCER if name == "logistic_regression" else DIABETES
    inputs = Preprocessing.model_validate(bundle.card.preprocessing).apply(data.test["features"])
    expected = load_model(bundle.path).predict(inputs, verbose=0)
    for target in targets[:2]:
        _, engine = open_deployable(tmp_path / f"{name}-{target}", num_threads=1)
        np.testing.assert_allclose(
            engine.predict({"features": inputs})["logits"], expected, rtol=1e-4
        )


def test_results_of_a_number_have_no_top1(bundles, tmp_path, monkeypatch):
    from zoo import results

    monkeypatch.setattr(results, "HERE", tmp_path)
    assert results.record(bundles["linear_regression"].path) == "train"
    (row,) = results.read_rows("train")
    assert row["top1"] == "" and row["test_images"] == "88"
    assert "| `linear_regression` | diabetes |" in results.tables()


def test_a_loss_with_settings_from_the_recipe_to_the_report(zoo, tmp_path):
    """By their formulas, on the answers of the saved models."""
    changes = ["task.loss={kind: huber, delta: 20}", "train.epochs=8"]
    bundle = fit("linear_regression", out=tmp_path / "huber", changes=changes)
    assert bundle.recipe.task.loss.changes == {"delta": 20}
    inputs = Preprocessing.model_validate(bundle.card.preprocessing).apply
    guesses = load_model(bundle.path).predict(inputs(DIABETES.test["features"]), verbose=0)[:, 0]
    size = np.abs(guesses.astype("float64") - DIABETES.test["target"])
    huber = np.where(size <= 20, size**2 / 2, 20 * size - 200).mean()
    assert bundle.report.metrics["loss"] == pytest.approx(huber, rel=1e-5)
    assert zoo("evaluate", bundle.path, "--json")["metrics"] == bundle.report.metrics

    changes = ["task.loss={kind: focal, gamma: 1, alpha: 0.5}", "task.label_smoothing=0.1"]
    changes += ["train.epochs=30", "train.batch_size=40", "data.limit=400"]
    bundle = fit("linear", data="digits", out=tmp_path / "focal", changes=changes)
    inputs = Preprocessing.model_validate(bundle.card.preprocessing).apply
    outputs = load_model(bundle.path).predict(inputs(DIGITS.test["image"]), verbose=0)
    p = np.exp(outputs.astype("float64"))
    p = (p / p.sum(axis=1, keepdims=True))[np.arange(len(p)), DIGITS.test["label"]]
    focal = (-0.5 * (1 - p) * np.log(p)).mean()  # a report smooths nothing
    assert bundle.report.metrics["loss"] == pytest.approx(focal, rel=1e-4)
    assert bundle.report.metrics["top1"] > 0.7


def test_a_table_is_not_for_a_convolution(tmp_path):
    with pytest.raises(ValueError, match=r"create\('lenet5'\): input_shape got \(30,\); expected"):
        fit("lenet5", out=tmp_path / "a", changes=["data.name=breast_cancer", "data.size=null",
            "data.augment={shift: 0, rotate: 0}"])  # fmt: skip
    with pytest.raises(ValueError, match=r"data\.augment: got a shift"):
        fit("mlp", data="breast_cancer", out=tmp_path / "b")
    with pytest.raises(ValueError, match="rows of a table; expected null for both"):
        fit("linear", data="diabetes", out=tmp_path / "c", changes=["data.size=8"])


@pytest.mark.parametrize("name", ["linear", "linear_regression", "mlp", "mlp_bn"])
def test_a_row_goes_into_what_flattens(name):
    assert create(name, input_shape=(5,), num_classes=1).output_shape == (None, 1)
    assert create(name, input_shape=(2, 3, 1), num_classes=4).output_shape == (None, 4)


def test_settings_of_the_recipe_reach_the_builder(tmp_path):
    changes = ["settings.units=[7]", "train.epochs=1", "data.limit=20", "train.batch_size=20"]
    bundle = fit("mlp", data="digits", out=tmp_path / "a", changes=changes)
    assert bundle.card.parameters == 64 * 7 + 7 + 7 * 10 + 10
    with pytest.raises(ValueError, match=r"unknown setting 'unit'\. Did you mean 'units'"):
        fit("mlp", data="digits", out=tmp_path / "b", changes=["settings.unit=[7]"])


def test_the_same_answer_is_asked_of_the_task(tmp_path):
    """One output has no largest: a file of the opposite would agree on everything."""
    bundle = zoo.fit("logistic_regression", out=tmp_path / "yes", changes=["train.epochs=2"])
    (made,) = zoo.export(bundle, "tflite", out=tmp_path)
    assert zoo.evaluate(bundle, file=made.path).same_top1 == 1.0
    model = load_model(bundle.path)
    for weight in model.get_layer("logits").weights:
        weight.assign(-weight)
    (tmp_path / "no").mkdir()
    model.save(tmp_path / "no" / "model.keras")
    (other,) = zoo.export(tmp_path / "no" / "model.keras", "tflite", out=tmp_path)
    assert zoo.evaluate(bundle, file=other.path).same_top1 == 0.0
    number = zoo.fit("linear_regression", out=tmp_path / "number", changes=["train.epochs=2"])
    (made,) = zoo.export(number, "tflite", out=tmp_path)
    assert zoo.evaluate(number, file=made.path).same_top1 is None


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("vae", "gan", r"got gan for vae, an architecture of vae: has decoder and encoder; expect"),
        ("mlp", "vae", r"has net; expected decoder and encoder. Take an architecture of vae, e.g."),
        ("vae", "autoencoder", r"its networks do not fit .ValueError: .* or task.kind=vae"),
    ],
)
def test_networks_of_another_task_are_refused_in_one_line(model, kind, message, tmp_path):
    changes = ["data.name=digits", f"task.kind={kind}", "train.epochs=1", "data.limit=64"]
    with pytest.raises(ValueError, match=message):
        fit(model, out=tmp_path / "run", changes=changes)
