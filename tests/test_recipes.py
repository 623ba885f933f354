"""The smoke block of every recipe, from data to bundle, of the row that its command names."""

import re

import pytest

from tests.golden.vector import CLASSIFIERS
from zoo.catalog import CATALOG
from zoo.models.saved import load_model
from zoo.recipe import RECIPES, resolve
from zoo.training.fitting import fit

# One for each kind of learning and of loss: these take seconds.
FAST = {"lenet", "linear", "linear_regression", "linear_svm", "logistic_regression", "perceptron"}


FILES = [
    pytest.param(path.stem, marks=[] if path.stem in FAST else [pytest.mark.slow])
    for path in sorted(RECIPES.glob("*.yaml"))
]


@pytest.mark.parametrize("recipe", FILES)
def test_smoke_block_runs_from_data_to_bundle(recipe, tmp_path):
    text = (RECIPES / f"{recipe}.yaml").read_text()
    row = CATALOG[re.search(r"^# Command: zoo train (\w+)", text, re.MULTILINE)[1]]
    assert row.recipe == recipe
    if resolve(row.name, smoke=True).data.name == "names":
        pytest.importorskip("faker")  # it carries the names
    bundle = fit(row.name, smoke=True, out=tmp_path / row.name)
    expected = resolve(row.name, smoke=True)
    assert bundle.report.status == "complete"
    assert bundle.recipe == expected and bundle.report.epochs <= expected.train.epochs <= 2
    model = load_model(bundle.path)
    if row in CLASSIFIERS.values():
        assert model.name == row.name and model.output_names == ["logits"]
        weights = [weight.value.shape.num_elements() for weight in model.trainable_weights]
        assert bundle.card.parameters == sum(weights)
    assert all(abs(value) < 1e6 for value in bundle.report.metrics.values())
