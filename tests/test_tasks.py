"""Tasks: which one a recipe asks for, what it refuses, and what it measures."""

import json

import numpy as np
import pytest
from keras import ops
from sklearn import metrics

from serving.engines import load as open_directory
from zoo import losses
from zoo.data import Preprocessing, load
from zoo.models import create
from zoo.models.saved import load as load_model
from zoo.recipe import Train
from zoo.tasks import choose
from zoo.tasks.binary import Binary
from zoo.tasks.classify import Classify
from zoo.tasks.regress import Regress
from zoo.training.run import fit

DIGITS, CANCER, DIABETES = (load(name) for name in ("digits", "breast_cancer", "diabetes"))


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
    ids=str,
)
def test_choose(data, loss, kind, outputs):
    task = choose(Train(loss=loss), data)
    assert (task.kind, task.num_outputs) == (kind, outputs)
    usual = "mse" if kind == "regress" else "cross_entropy"
    assert task.loss_name == (usual if loss == "auto" else loss)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (DIGITS, {"loss": "mse"}, "got 'mse', a loss of numbers; digits has 10 classes"),
        (DIGITS, {"loss": "hinge"}, "got 'hinge', a loss of a yes or no; digits has 10 classes"),
        (DIABETES, {"loss": "cross_entropy"}, "a loss of classes; diabetes has no classes"),
        (
            DIABETES,
            {"loss": "hinge"},
            "diabetes has no classes, and its labels are numbers. Take m",
        ),
        (DIGITS, {"loss": "multiclass_svm", "label_smoothing": 0.1}, "got 0.1 with multiclass_svm"),
        (DIABETES, {"label_smoothing": 0.1}, "expected 0, or one of cross_entropy, binary_cross_"),
    ],
    ids=str,
)
def test_choose_refuses_in_one_line(data, settings, message):
    with pytest.raises(ValueError, match=message) as caught:
        choose(Train(**settings), data)
    assert str(caught.value).startswith("train.") and "\n" not in str(caught.value)


def sample(task, num=200, seed=0):
    random = np.random.RandomState(seed)
    outputs = random.normal(size=(num, task.num_outputs)).astype("float32")
    if task.kind == "regress":
        return (outputs[:, 0] + random.normal(size=num)).astype("float32"), outputs
    return random.randint(0, max(2, task.num_outputs), num).astype("int32"), outputs


TASKS = [
    Classify(10),
    Classify(3, 0.1),
    Classify(10, 0.0, "multiclass_svm"),
    Binary(),
    Binary(0.1),
    Binary(0.0, "hinge"),
    Regress(),
    Regress("huber"),
]


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_training_and_report_measure_the_same(task):
    """`measures`, whose means training prints, and `score`, which a report holds."""
    labels, outputs = sample(task)
    found = task.score(labels, outputs)
    for name, values in task.measures(labels, outputs).items():
        assert values.shape == labels.shape
        assert float(ops.mean(values)) == pytest.approx(found.metrics[name], rel=1e-5)
    plain = losses.load(task.loss_name)(labels, outputs)
    assert found.metrics["loss"] == pytest.approx(float(ops.mean(plain)), rel=1e-5)
    smoothed = float(ops.mean(task.loss(labels, outputs)))
    smooths = getattr(task, "label_smoothing", 0) > 0
    assert (abs(smoothed - found.metrics["loss"]) > 1e-4) == smooths
    assert json.loads(json.dumps([found.metrics, found.per_class])) is not None
    assert bool(found.per_class) == (task.kind != "regress") == bool(found.confusion.size)


@pytest.mark.oracle
def test_scores_equal_scikit_learn():
    labels, outputs = sample(Classify(10))
    found = Classify(10).score(labels, outputs).metrics
    assert found["top1"] == pytest.approx(metrics.top_k_accuracy_score(labels, outputs, k=1))
    assert found["top5"] == pytest.approx(metrics.top_k_accuracy_score(labels, outputs, k=5))
    labels, outputs = sample(Binary())
    found = Binary().score(labels, outputs)
    assert found.metrics["auc"] == pytest.approx(metrics.roc_auc_score(labels, outputs[:, 0]))
    assert found.metrics["top1"] == metrics.accuracy_score(labels, outputs[:, 0] > 0)
    assert [row["label"] for row in found.per_class] == ["no", "yes"]
    labels, outputs = sample(Regress())
    found = Regress().score(labels, outputs).metrics
    assert set(found) == {"loss", "mse", "mae", "r2"}
    assert found["r2"] == pytest.approx(metrics.r2_score(labels, outputs[:, 0]))


def test_one_output_says_what_two_would():
    """The sigmoid of s is the softmax of (0, s): all that both tasks measure is equal."""
    labels, outputs = sample(Binary())
    two = np.concatenate([np.zeros_like(outputs), outputs], axis=1)
    one, both = Binary().score(labels, outputs), Classify(2).score(labels, two)
    for name in ("loss", "top1", "ece"):
        assert one.metrics[name] == pytest.approx(both.metrics[name], rel=1e-5)
    np.testing.assert_array_equal(one.confusion, both.confusion)
    assert both.metrics["top5"] == 1


def test_a_split_of_one_class_has_no_auc():
    assert "auc" not in Binary().score(np.ones(4, "int32"), np.ones((4, 1), "float32")).metrics


def test_equal_outputs_are_no_hit():
    """In training as in the report: a dead net is right for the first class only."""
    labels, outputs = np.arange(10, dtype="int32"), np.zeros((10, 10), "float32")
    task = Classify(10)
    found = task.score(labels, outputs).metrics
    for name, expected in (("top1", 0.1), ("top5", 0.5)):
        assert found[name] == expected
        assert float(ops.mean(task.measures(labels, outputs)[name])) == pytest.approx(expected)


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
    assert np.sum(report.confusion) == report.examples["test"] == 113
    assert {row["label"] for row in report.per_class} == {"malignant", "benign"}
    assert (bundle.path / "confusion.png").is_file()


def test_bundle_of_a_number(bundles):
    bundle = bundles["linear_regression"]
    card, report = bundle.card, bundle.report
    assert card.task == "regress" and card.labels == () and card.parameters == 11
    assert report.metrics["r2"] > 0.4 and report.metrics["mae"] > 0
    assert report.metrics["loss"] == pytest.approx(report.metrics["mse"])
    assert report.per_class == () == report.confusion
    assert (bundle.path / "curves.png").is_file()
    assert not (bundle.path / "confusion.png").exists()
    assert "val_mae" in (bundle.path / "history.csv").read_text().splitlines()[0]


def write_csv(path, rows):
    path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    return path


def test_predict_and_evaluate_a_yes_or_no(bundles, zoo, tmp_path):
    bundle = bundles["logistic_regression"]
    file = write_csv(tmp_path / "rows.csv", CANCER.test.images)
    best = zoo("predict", bundle.path, file, "--top", "1", "--json")
    assert len(best) == 113 and best[0]["row"] == f"{file}:1"
    right = [row["label"] == CANCER.labels[label]
             for row, label in zip(best, CANCER.test.labels, strict=True)]  # fmt: skip
    assert np.mean(right) == pytest.approx(bundle.report.metrics["top1"])
    both = zoo(
        "predict", bundle.path, write_csv(tmp_path / "1.csv", CANCER.test.images[:1]), "--json"
    )
    assert {row["label"] for row in both} == set(CANCER.labels)
    assert sum(row["probability"] for row in both) == pytest.approx(1)
    found = zoo("evaluate", bundle.path, "--json")
    assert found["metrics"] == pytest.approx(bundle.report.metrics)
    assert sum(row["num"] for row in found["reliability"]) == 113
    out = zoo("evaluate", bundle.path)
    assert "ece" in out and "confidence" in out and "malignant" in out


def test_predict_and_evaluate_a_number(bundles, zoo, tmp_path):
    bundle = bundles["linear_regression"]
    file = write_csv(tmp_path / "rows.csv", DIABETES.test.images)
    values = np.array([row["value"] for row in zoo("predict", bundle.path, file, "--json")])
    error = np.mean((values - DIABETES.test.labels) ** 2)
    assert error == pytest.approx(bundle.report.metrics["mse"], rel=1e-4)
    found = zoo("evaluate", bundle.path, "--json")
    assert found["metrics"] == pytest.approx(bundle.report.metrics)
    assert found["per_class"] == found["confusion"] == found["reliability"] == []
    assert "confusion" not in zoo("evaluate", bundle.path)


def test_predict_refuses_what_is_no_row(bundles, zoo, tmp_path):
    path = bundles["linear_regression"].path
    short = write_csv(tmp_path / "short.csv", [[1, 2]])
    ragged = write_csv(tmp_path / "ragged.csv", [[1] * 10, [1] * 9])
    words = write_csv(tmp_path / "words.csv", [["age"] * 10])
    empty = write_csv(tmp_path / "empty.csv", [])
    for file in (short, ragged, words, empty, tmp_path / "gone.csv"):
        line = zoo("predict", path, file, expect=2)
        assert str(file) in line and "10 in a row" in line and len(line.splitlines()) == 1


@pytest.mark.parametrize("name", ["logistic_regression", "linear_regression"])
def test_one_output_is_exported_and_served(name, bundles, zoo, tmp_path):
    bundle, targets = bundles[name], ("tflite", "onnx", "saved_model", "tflite-int8")
    done = zoo("export", bundle.path, *targets, "--out", tmp_path, "--json")
    assert [row["parity"]["passed"] for row in done] == [True] * 4
    assert all(row["signature"]["outputs"][0]["shape"][1:] == [1] for row in done)
    assert max(row["parity"]["relative"] for row in done[:3]) < 1e-5
    assert done[0]["preprocessing"]["size"] is None
    data = CANCER if name == "logistic_regression" else DIABETES
    inputs = Preprocessing.model_validate(bundle.card.preprocessing).apply(data.test.images)
    expected = load_model(bundle.path).predict(inputs, verbose=0)
    for target in targets[:2]:
        _, engine = open_directory(tmp_path / f"{name}-{target}", num_threads=1)
        np.testing.assert_allclose(engine.predict({"image": inputs})["logits"], expected, rtol=1e-4)


def test_results_of_a_number_have_no_top1(bundles, tmp_path, monkeypatch):
    from zoo import results

    monkeypatch.setattr(results, "HERE", tmp_path)
    assert results.record(bundles["linear_regression"].path) == "train"
    (row,) = results.read("train")
    assert row["top1"] == "" and row["test_images"] == "88"
    assert "| `linear_regression` | diabetes |" in results.tables()


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
