"""Ensembles: NumPy's mean of the members' probabilities is the oracle."""

import json

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import log_softmax, logsumexp, softmax

import zoo as package
from zoo.bundle import Bundle
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.layers import LogMeanProbability

QUICK = ["train.epochs=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two seeds of LeNet-5; the second learnt from fewer images and is standardised by these."""
    root = tmp_path_factory.mktemp("runs")
    first = package.fit("lenet5", data="digits", out=root / "first", changes=QUICK)
    changes = ["train.epochs=4", "seed=1", "data.limit=400"]
    second = package.fit("lenet5", data="digits", out=root / "second", changes=changes)
    return first, second


@pytest.fixture(scope="module")
def both(runs):
    return package.ensemble([run.path for run in runs], out=runs[0].path.with_name("both"))


def probabilities(bundle, images):
    """Of the model in a bundle, by its own preprocessing, in float64."""
    inputs = Preprocessing.model_validate(bundle.card.preprocessing).apply(images)
    logits = np.array(package.load(bundle.path)(inputs, training=False), "float64")
    return softmax(logits, axis=1)


def images_of(bundle):
    return load("digits", size=bundle.recipe.data.size).test["image"]


def test_probabilities_are_the_mean_of_the_members(runs, both):
    images = images_of(both)
    assert runs[0].card.preprocessing["mean"] != runs[1].card.preprocessing["mean"]
    expected = np.mean([probabilities(run, images) for run in runs], axis=0)
    np.testing.assert_allclose(probabilities(both, images), expected, atol=1e-5)
    inputs = Preprocessing.model_validate(both.card.preprocessing).apply(images)
    logits = np.array(package.load(both.path)(inputs, training=False))
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, atol=1e-5)  # logarithms already


def test_card_and_report_name_the_members(runs, both, zoo):
    card, report = both.card, both.report
    assert card.architecture == "ensemble" and card.parameters == 2 * 61_706
    assert [member["name"] for member in card.members] == ["first", "second"]
    assert [member["sha256"] for member in card.members] == [run.sha256 for run in runs]
    assert card.custom_layers == ("zoo>LogMeanProbability",)
    for run, metrics in zip(runs, report.ensemble.member_metrics, strict=True):
        assert metrics == pytest.approx(run.report.metrics, abs=1e-5)
    truth = load("digits").test["label"]
    guesses = probabilities(both, images_of(both)).argmax(axis=1)
    assert report.metrics["top1"] == pytest.approx(np.mean(guesses == truth))
    found = zoo("evaluate", both.path, "--json")
    assert found["metrics"] == pytest.approx(report.metrics)


def test_predict_names_a_digit(both, zoo, tmp_path):
    picture = tmp_path / "digit.png"
    Image.fromarray(load("digits").test["image"][0, ..., 0]).save(picture)
    rows = zoo("predict", both.path, picture, "--top", 10, "--json")
    assert sum(row["probability"] for row in rows) == pytest.approx(1, abs=1e-5)


def test_exports_with_parity(both, zoo, tmp_path):
    done = zoo("export", both.path, "tflite", "onnx", "tflite-int8", "--out", tmp_path, "--json")
    assert all(one["parity"]["passed"] for one in done)
    assert max(one["parity"]["relative"] for one in done[:2]) < 1e-5


def test_compresses_like_a_model(both, zoo, tmp_path):
    recipe = tmp_path / "half.yaml"
    recipe.write_text("passes:\n  - {kind: prune, sparsity: 0.5, epochs: 1}\n")
    out = tmp_path / "half"
    report = zoo("compress", both.path, recipe, "--out", out, "--json")
    small = Bundle(out)
    assert report["compress"]["passes"]["after"]["counts"]["nonzero"] < 0.52 * both.card.parameters
    assert report["metrics"]["top1"] > 0.8
    assert small.card.architecture == "ensemble" and small.card.members == both.card.members
    assert small.card.parent == both.sha256


def test_an_ensemble_slides_as_its_members_do(both):
    model = package.load(both.path)
    net = package.convolutionalize(model)
    image = np.random.RandomState(0).normal(size=(2, 36, 32, 1)).astype("float32")
    windows = np.stack([model(image[:, start : start + 32]) for start in (0, 4)], axis=1)
    np.testing.assert_allclose(net(image)[:, :, 0], windows, atol=1e-5)


def test_snapshots_of_one_run(zoo, tmp_path):
    """Huang et al.: the models at the ends of the cycles of one cyclic training."""
    run, out = tmp_path / "cyclic", tmp_path / "snapshots"
    cyclic = ["train.epochs=6", "train.optimizer.schedule=cyclic", "train.optimizer.cycles=3"]
    package.fit("lenet5", data="digits", out=run, changes=cyclic)
    printed = zoo("ensemble", out, run, "--snapshots")
    assert "cyclic/cycles/02.keras" in printed and str(out) in printed
    bundle = Bundle(out)
    members = [keras.saving.load_model(path) for path in sorted((run / "cycles").iterdir())]
    assert len(members) == len(bundle.card.members) == 3
    images = images_of(bundle)
    inputs = Preprocessing.model_validate(bundle.card.preprocessing).apply(images)
    expected = np.mean([softmax(np.array(member(inputs)), axis=1) for member in members], axis=0)
    np.testing.assert_allclose(probabilities(bundle, images), expected, atol=1e-5)
    assert bundle.card.paper == "Huang et al., arXiv:1704.00109"


def renamed(card, names):
    """The outputs of a card, with other names of the classes."""
    return {key: column | {"names": list(names)} for key, column in card["outputs"].items()}


def test_mistakes_get_one_line(runs, both, zoo, tmp_path):
    first, second = (run.path for run in runs)
    out = tmp_path / "out"
    assert "expected two or more" in zoo("ensemble", out, first, expect=2)
    assert "has no cycles/" in zoo("ensemble", out, first, "--snapshots", expect=2)
    assert "--force" in zoo("ensemble", both.path, first, second, expect=2)
    assert "no such directory" in zoo("ensemble", out, first, tmp_path / "nowhere", expect=2)
    changes = [*QUICK, "data.size=16"]
    small = package.fit("lenet5", data="digits", out=tmp_path / "small", changes=changes)
    line = zoo("ensemble", out, first, small.path, expect=2)
    assert "got input (16, 16, 1); expected (32, 32, 1)" in line
    card = json.loads((small.path / "card.json").read_text())
    for change, message in (
        ({"task": "regress"}, "expected classify with cross_entropy"),
        ({"outputs": renamed(card, "abcdefghij")}, "got classes ('a', 'b'"),
    ):
        (small.path / "card.json").write_text(json.dumps(card | change))
        assert message in zoo("ensemble", out, first, small.path, expect=2)
    assert not out.exists()


def test_the_layer_is_finite_and_exact_where_probabilities_underflow():
    logits = [np.array([[0.0, 800.0, -800.0]], "float32"), np.array([[0.0, 1.0, 2.0]], "float32")]
    logs = np.stack([log_softmax(one.astype("float64"), axis=1) for one in logits])
    expected = logsumexp(logs, axis=0) - np.log(2)
    layer = LogMeanProbability()
    np.testing.assert_allclose(layer(logits), expected, rtol=1e-6)
    twin = LogMeanProbability.from_config(layer.get_config())
    np.testing.assert_array_equal(twin(logits), layer(logits))
