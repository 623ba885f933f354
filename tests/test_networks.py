"""Every row of the catalogue that is no classifier: its facts, its goldens, its files."""

import keras
import numpy as np
import pytest

from tests.golden import vector
from zoo.models import create

GOLDEN = vector.read()


LARGE = 40_000_000  # weights from which on a row of its papers' size takes too long for every run
ROWS = [
    pytest.param(name, marks=pytest.mark.slow) if row.parameters > LARGE else name
    for name, row in vector.OTHERS.items()
]


@pytest.fixture(scope="module", params=ROWS)
def row(request):
    return vector.OTHERS[request.param]


@pytest.fixture(scope="module")
def networks(row):
    return vector.nets(row)


@pytest.mark.parametrize("name", vector.OTHERS)
def test_parameters_are_those_of_the_row(name):
    row = vector.OTHERS[name]
    with keras.StatelessScope(initialize_variables=False):
        made = create(row.name)
    each = [made] if isinstance(made, keras.Model) else made.values()
    # What networks share counts once.
    weights = {id(weight): weight for network in each for weight in network.trainable_weights}
    assert sum(np.prod(w.shape, dtype=int) for w in weights.values()) == row.parameters
    keras.utils.clear_session()  # or Keras makes the weights up later


def test_outputs_are_the_golden_ones(row, networks):
    """Wrong padding, strides, activations or a missing normalisation move the numbers."""
    found, golden = vector.measure_all(networks), GOLDEN[row.name]
    assert list(found) == list(golden)
    for name, known in golden.items():
        assert found[name]["mean_abs"] == pytest.approx(known["mean_abs"], rel=2e-3)
        np.testing.assert_allclose(
            found[name]["logits"], known["logits"], rtol=2e-3, atol=2e-3 * known["mean_abs"]
        )


def test_every_golden_tells_examples_apart():
    """Of all rows, those of the large networks too, which are measured in the slow run alone."""
    for row in vector.OTHERS:
        for name, known in GOLDEN[row].items():
            first, second, third = map(tuple, known["logits"])
            assert len({first, second, third}) == 3, f"{row}: {name}: examples look alike"
            assert known["mean_abs"] > 0, f"{row}: {name} is nothing but zeros"


def test_networks_are_plain_and_named(row, networks):
    """A name that Keras made up, such as `dense_3`, counts on in the second net."""
    made = create(row.name, input_shape=vector.small(row))
    again = {"net": made} if isinstance(made, keras.Model) else made
    for name, network in networks.items():
        layers = network._flatten_layers(include_self=False)
        assert not any(isinstance(layer, keras.layers.Lambda) for layer in layers)
        assert [x.name for x in network.layers] == [x.name for x in again[name].layers]


def test_files_hold_the_networks(networks, tmp_path):
    for name, network in networks.items():
        network.save(tmp_path / f"{name}.keras")
        again = keras.saving.load_model(tmp_path / f"{name}.keras", compile=False)
        inputs = vector.inputs(network)
        for one, other in zip(
            keras.tree.flatten(network(inputs, training=False)),
            keras.tree.flatten(again(inputs, training=False)),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)
